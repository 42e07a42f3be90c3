// The library itself in real browsers: an archive that qstore-pack made, read over HTTP.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

browserTest("chromium", "pages that are neither https: nor localhost compare small files too",
	{ flags: ["--host-resolver-rules=MAP qstore.test 127.0.0.1"] }, async (browser, t) => {
	const small = packPair("--layers", "1", "--hidden", "64", "--intermediate", "128", "--vocab", "512"), { folder } = small;
	t.after(() => small.remove());
	const text = readFileSync(join(folder, "bf16/config.json"), "utf8"), bytes = readFileSync(join(folder, "model.qstore"));
	bytes[bytes.indexOf(text) + 1] ^= 1;
	writeFileSync(join(folder, "damaged.qstore"), bytes);
	const site = await serveSite(folder);
	t.after(() => site.close());
	const page = await openPage(browser, { origin: site.origin.replace("127.0.0.1", "qstore.test") });
	assert.deepEqual(await page.call(PAGE, "readSmall", "/data/model.qstore", "config.json"),
		{ isSecureContext: false, subtle: false, text });
	const { code, message } = await page.call(PAGE, "readSmall", "/data/damaged.qstore", "config.json");
	assert.equal(code, "CORRUPT");
	assert.match(message, /file config\.json is damaged: its SHA-256 differs$/);
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
