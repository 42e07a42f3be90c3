// Decoding in Web Workers, where they may run and where not.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { browserTest, openPage, peakMemory, report } from "./helpers/browsers.mjs";
import { packPair } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const PAGE = "/tests/browser/pages/cache.mjs", MODEL = "/data/model.qstore";
let model;

before(async () => {
	model = await packPair("--layers", "2", "--hidden", "512", "--intermediate", "1408", "--vocab", "4000");
});

after(() => model?.remove());

const of = (precision) => Object.fromEntries(Object.entries(model.hashes).filter(([name]) => name.startsWith(`${precision}/`)));

browserTest(["chromium", "firefox"], "several workers, without cross-origin isolation, all ended with the archive", async (browser, t) => {
	const site = await serveSite(model.folder,
		{ csp: "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; img-src data:" });
	try {
		const page = await openPage(browser, site);
		assert.equal(await page.evaluate(() => globalThis.crossOriginIsolated), false);
		const { hashes, created, ended } = await page.call(PAGE, "withWorkers", MODEL, "bf16", { workers: 3 });
		assert.deepEqual(hashes, of("bf16"));
		assert.ok(created > 1 && created <= 3, `${created} workers`);
		assert.equal(ended, created);
		assert.deepEqual(await page.call(PAGE, "ownWorker", MODEL, "int8").then(({ hashes: found, made }) => [found, made > 0]),
			[of("int8"), true]);
		const { result, seen, good } = await page.call(PAGE, "abortWorkers", MODEL);
		assert.deepEqual([result, good], ["AbortError", true]);
		assert.ok(seen > 0);
		assert.deepEqual(page.errors, []);
		report(t, site.sent(/model\.qstore/), await peakMemory(browser));
	} finally {
		await site.close();
	}
});

browserTest(["chromium", "firefox"], "where a policy forbids workers, the page decodes", async (browser) => {
	const site = await serveSite(model.folder,
		{ csp: "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'none'; img-src data:" });
	try {
		const page = await openPage(browser, site);
		assert.deepEqual((await page.call(PAGE, "readPrecision", MODEL, "bf16", { cache: false, workers: 2 })).hashes, of("bf16"));
		assert.deepEqual((await page.call(PAGE, "readPrecision", MODEL, "int8", { cache: false, workers: false })).hashes, of("int8"));
	} finally {
		await site.close();
	}
});

browserTest(["chromium", "firefox"], "where the worker's file is not found, the page decodes", async (browser) => {
	const site = await serveSite(model.folder, { behave: ({ url }, response) => url.includes("/workers/worker.js") &&
		response.writeHead(404).end() });
	try {
		const page = await openPage(browser, site);
		const { hashes } = await page.call(PAGE, "readPrecision", MODEL, "bf16", { cache: false, workers: 2 });
		assert.deepEqual(hashes, of("bf16"));
	} finally {
		await site.close();
	}
});
