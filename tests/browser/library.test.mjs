// The library itself in real browsers: an archive that qstore-pack made, read over HTTP.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { browserTest, openPage, peakMemory, report } from "./helpers/browsers.mjs";
import { packPair } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const PAGE = "/tests/browser/pages/library.mjs";
let model;

before(async () => {
	model = await packPair();
});

after(() => model?.remove());

browserTest(["chromium", "firefox"], "every file of every precision is the original, by a strict policy", async (browser, t) => {
	const csp = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; img-src data:";
	const site = await serveSite(model.folder, { csp });
	try {
		const page = await openPage(browser, site);
		const hashes = await page.call(PAGE, "hashFiles", "/data/model.qstore");
		assert.deepEqual(hashes, model.hashes);
		assert.deepEqual(page.errors, []);
		report(t, site.sent(/model.qstore/), await peakMemory(browser));
		assert.deepEqual([...new Set(site.log.map(({ headers }) => headers.host))], [new URL(site.origin).host]);
	} finally {
		await site.close();
	}
});
