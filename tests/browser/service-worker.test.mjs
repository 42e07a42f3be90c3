// A page that only fetches gets the original files of an archive through a service worker.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { browserTest, openPage } from "./helpers/browsers.mjs";
import { packPair } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const PAGE = "/tests/browser/pages/service-worker.mjs";
const SCRIPT = `import { serve } from "/js/browser/service-worker.js";
	serve({ "/models/llama/{precision}/": "/data/model.qstore", "/models/llama/": "/data/model.qstore", "/gone/": "/data/none.qstore" });`;
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
let model, largest;

before(() => {
	model = packPair("--weights", "4000000");
	largest = Object.keys(model.hashes).filter((name) => name.startsWith("bf16/")).sort((a, b) =>
		statSync(join(model.folder, b)).size - statSync(join(model.folder, a)).size)[0];
});

after(() => model?.remove());

/** A site with a worker at /worker.js, and a page of it. */
async function openServed(browser, t, script = SCRIPT) {
	const site = await serveSite(model.folder, { pages: {
		"/worker.js": script, "/below/worker.js": script, "/broken.js": "throw new Error('broken')",
	} });
	t.after(() => site.close());
	return { site, page: await openPage(browser, site) };
}

browserTest(["chromium", "firefox"], "a page fetches every file, whole and in ranges, through a service worker", async (browser, t) => {
	const { site, page } = await openServed(browser, t);
	assert.equal(await page.call(PAGE, "start", "/worker.js"), "/worker.js");
	const places = Object.keys(model.hashes).map((name) => `/models/llama/${name}`);
	assert.deepEqual(await page.call(PAGE, "hashesOf", places),
		Object.fromEntries(Object.entries(model.hashes).map(([name, hash]) => [`/models/llama/${name}`, hash])));
	assert.equal(site.log.filter(({ path }) => path.startsWith("/models/")).length, 0, "the server is not asked for these");
	const fetched = site.sent(/model\.qstore/), { size } = statSync(join(model.folder, "model.qstore"));
	assert.ok(fetched <= size, `${fetched} bytes of ${size}: coded bytes are kept, not fetched twice`);

	const whole = readFileSync(join(model.folder, largest)), place = `/models/llama/${largest}`;
	for (const [range, bytes] of [["bytes=0-7", whole.subarray(0, 8)], ["bytes=1000000-1999999", whole.subarray(1_000_000, 2_000_000)],
		["bytes=-100", whole.subarray(-100)]]) {
		const { status, headers, hash } = await page.call(PAGE, "ask", place, { range });
		assert.equal(status, 206);
		assert.equal(headers["content-length"], String(bytes.length));
		assert.match(headers["content-range"], new RegExp(`^bytes \\d+-\\d+/${whole.length}$`));
		assert.equal(hash, sha256(bytes), range);
	}
	assert.equal((await page.call(PAGE, "ask", place, {}, "HEAD")).headers.etag, `"${model.hashes[largest]}"`);
	assert.equal((await page.call(PAGE, "ask", `/models/llama/${largest.slice(5)}`)).hash, model.hashes[largest], "the finest");
	assert.deepEqual(await page.call(PAGE, "hashesOf", ["/models/llama/none", "/gone/config.json", "/elsewhere"]),
		{ "/models/llama/none": 404, "/gone/config.json": 502, "/elsewhere": 404 });
	assert.deepEqual(site.log.map(({ path }) => path).filter((path) => path === "/elsewhere"), ["/elsewhere"], "others go to the network");
	assert.deepEqual(page.errors, []);
});

browserTest("chromium", "a worker that the browser ended starts again with its routes, and fetches nothing twice", async (browser, t) => {
	const { site, page } = await openServed(browser, t);
	await page.call(PAGE, "start", "/worker.js", { keepAlive: 0 });
	const places = [`/models/llama/${largest}`];
	await page.call(PAGE, "hashesOf", places);
	const before = site.sent(/model\.qstore/), client = await page.createCDPSession();
	await client.send("ServiceWorker.enable");
	await client.send("ServiceWorker.stopAllWorkers");
	assert.deepEqual(await page.call(PAGE, "hashesOf", places), { [places[0]]: model.hashes[largest] });
	assert.equal(site.sent(/model\.qstore/), before, "all of it was kept");
	// A page that is opened later is served from its first request on; a reload past the worker is taken over.
	const second = await openPage(browser, site);
	assert.deepEqual(await second.call(PAGE, "hashesOf", places), { [places[0]]: model.hashes[largest] });
	const other = await second.createCDPSession();
	await other.send("Page.enable");
	await Promise.all([second.waitForNavigation(), other.send("Page.reload", { ignoreCache: true })]);
	assert.equal(await second.call(PAGE, "start", "/worker.js"), "/worker.js");
	assert.deepEqual(await second.call(PAGE, "hashesOf", places), { [places[0]]: model.hashes[largest] });
});

// The network is slow: the second request and later ones take longer than Firefox lets a worker be without events. (Chromium keeps one
// that streams.)
const SLOW = `import { serve } from "/js/browser/service-worker.js";
	let count = 0;
	serve({ "/models/llama/{precision}/": { archive: "/data/model.qstore", cache: false, fetch: async (url, init) => {
		if (count++ > 0)
			await new Promise((resolve) => setTimeout(resolve, 75_000));
		return fetch(url, init);
	} } });`;

browserTest("firefox", "a body that takes longer than a browser keeps a worker is whole, as the page sends messages",
	async (browser, t) => {
	const { page } = await openServed(browser, t, SLOW);
	await page.call(PAGE, "start", "/worker.js", { keepAlive: 2 });
	const place = `/models/llama/${largest}`;
	assert.deepEqual(await page.call(PAGE, "hashesOf", [place]), { [place]: model.hashes[largest] });
});

browserTest("chromium", "a worker that cannot serve the page is an error that says why", async (browser, t) => {
	const { page } = await openServed(browser, t);
	const below = await page.call(PAGE, "startError", "/below/worker.js");
	assert.equal(below.code, "USAGE");
	assert.match(below.message, /\/below\/, and this one is not there/);
	assert.equal((await page.call(PAGE, "startError", "/broken.js")).name, "TypeError");
	// Another worker's script in its place is waited for.
	assert.equal(await page.call(PAGE, "start", "/worker.js"), "/worker.js");
});
