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

const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

browserTest("chromium", "tensors of both precisions into WebGPU buffers and back", { flags: WEBGPU }, async (browser, t) => {
	const small = packPair("--layers", "1", "--hidden", "64", "--intermediate", "128", "--vocab", "512");
	t.after(() => small.remove());
	const site = await serveSite(small.folder);
	t.after(() => site.close());
	const page = await openPage(browser, site);
	for (const [precision, array] of [["int8", "Int8Array"], ["bf16", "Uint16Array"]]) {
		const results = await page.call(PAGE, "throughGpu", "/data/model.qstore", precision);
		if (!results) {
			t.skip("this Chromium has no WebGPU adapter");
			return;
		}
		assert.ok(results.length > 10);
		assert.deepEqual(results.filter(([, , same]) => !same), []);
		assert.ok(results.some(([, type]) => type === array));
	}
});
