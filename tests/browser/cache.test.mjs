// The cache in the browser's own file system: reloads, tabs, quotas, files that change.
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { browserTest, openPage, peakMemory, report } from "./helpers/browsers.mjs";
import { packPair } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const PAGE = "/tests/browser/pages/cache.mjs", MODEL = "/data/model.qstore", PATTERN = /model\.qstore/;
const SHAPE = ["--layers", "2", "--hidden", "512", "--intermediate", "1408", "--vocab", "4000"];
let model, other;

before(async () => {
	model = await packPair(...SHAPE);
	other = await packPair(...SHAPE, "--seed", "2");
});

after(() => {
	model?.remove();
	other?.remove();
});

const of = (precision) => Object.fromEntries(Object.entries(model.hashes).filter(([name]) => name.startsWith(`${precision}/`)));

browserTest(["chromium", "firefox"], "a reload costs no network, the finer precision only its refinement", async (browser, t) => {
	const site = await serveSite(model.folder), size = statSync(join(model.folder, "model.qstore")).size;
	try {
		const page = await openPage(browser, site);
		const cold = await page.call(PAGE, "readPrecision", MODEL, "int8");
		assert.deepEqual(cold.hashes, of("int8"));
		const coarse = site.sent(PATTERN);
		assert.equal(cold.cache.size, coarse);
		await page.reload();
		const warm = await page.call(PAGE, "readPrecision", MODEL, "int8");
		assert.deepEqual(warm, { ...cold, fetched: 0 });
		assert.equal(site.sent(PATTERN), coarse);
		const { last } = await page.call(PAGE, "upgrade", MODEL);
		assert.equal(last.fetched, site.sent(PATTERN) - coarse);
		assert.deepEqual((await page.call(PAGE, "readPrecision", MODEL, "bf16")).hashes, of("bf16"));
		assert.ok(site.sent(PATTERN) <= size, `${site.sent(PATTERN)} of ${size}`);
		// Another tab, at the same time as this one; then without a network.
		const tab = await openPage(browser, site);
		for (const { hashes, fetched } of await Promise.all([page, tab].map((each) => each.call(PAGE, "readPrecision", MODEL, "bf16")))) {
			assert.deepEqual(hashes, of("bf16"));
			assert.equal(fetched, 0);
		}
		report(t, site.sent(PATTERN), await peakMemory(browser));
		await page.call(PAGE, "clear");
		assert.equal(await page.call(PAGE, "stored"), 0);
	} finally {
		await site.close();
	}
});

browserTest(["chromium", "firefox"], "two tabs fill the cache at once, one is left in the middle", async (browser) => {
	const site = await serveSite(model.folder);
	try {
		const tabs = [await openPage(browser, site), await openPage(browser, site)];
		const [both, interrupted] = await Promise.all([
			tabs[0].call(PAGE, "readPrecision", MODEL, "bf16"),
			tabs[1].call(PAGE, "interrupt", MODEL),
		]);
		assert.deepEqual(both.hashes, of("bf16"));
		assert.equal(interrupted, "AbortError");
		const before = site.sent(PATTERN);
		await tabs[1].reload();
		const again = await tabs[1].call(PAGE, "readPrecision", MODEL, "bf16");
		assert.deepEqual(again.hashes, of("bf16"));
		assert.equal(site.sent(PATTERN), before);
		assert.deepEqual(tabs.flatMap(({ errors }) => errors), []);
	} finally {
		await site.close();
	}
});

browserTest(["chromium", "firefox"], "another file on the server is noticed, and nothing of the old one is used", async (browser) => {
	const path = join(model.folder, "model.qstore"), original = readFileSync(path);
	const site = await serveSite(model.folder);
	try {
		const page = await openPage(browser, site);
		await page.call(PAGE, "readPrecision", MODEL, "int8");
		writeFileSync(path, readFileSync(join(other.folder, "model.qstore")));
		const first = await page.call(PAGE, "readChanged", MODEL);
		if (readFileSync(path).length !== original.length)
			assert.equal(first, "changed");
		const now = await page.call(PAGE, "readPrecision", MODEL, "int8", { cache: { revalidate: 0 } });
		assert.deepEqual(now.hashes, Object.fromEntries(Object.entries(other.hashes).filter(([name]) => name.startsWith("int8/"))));
	} finally {
		writeFileSync(path, original);
		await site.close();
	}
});

browserTest("chromium", "when the quota is used up, reading goes on without keeping", async (browser) => {
	const site = await serveSite(model.folder);
	try {
		const page = await openPage(browser, site), client = await page.createCDPSession();
		await client.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: 200_000 });
		const { hashes, cache } = await page.call(PAGE, "readPrecision", MODEL, "bf16");
		assert.deepEqual(hashes, of("bf16"));
		// Chromium says the one or the other of a file that it could not finish for want of room.
		assert.match(cache.error, /^(QuotaExceededError|AbortError)$/);
		assert.ok(cache.size < 300_000);
		assert.deepEqual(page.errors, []);
	} finally {
		await site.close();
	}
});
