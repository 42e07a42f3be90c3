// onnxruntime-web, as npm has it, takes an archive's files as external data: INT8 and then FP16, with the same outcome as from the files.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { browserTest, openPage, peakMemory, report } from "./helpers/browsers.mjs";
import { writeEncoder } from "./helpers/encoder.mjs";
import { packFolder, workFolder } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const PAGE = "/tests/browser/pages/onnxruntime.mjs", NAMES = ["model_quantized.onnx", "model_fp16.onnx"];
let work;

before(() => {
	work = workFolder();
	packFolder(join(work.folder, "encoder.qstore"), writeEncoder(join(work.folder, "encoder"), { external: true }));
});

after(() => work.remove());

// jspi streams each tensor from a slice; the others read the whole Blob.
for (const build of ["wasm", "jspi", "webgpu"]) {
	browserTest(["chromium", "firefox"], `onnxruntime-web (${build}), INT8, then FP16`, async (browser, t) => {
		const site = await serveSite(work.folder);
		t.after(() => site.close());
		const page = await openPage(browser, site);
		const archived = await page.call(PAGE, "fromArchive", build, "/data/encoder.qstore", NAMES);
		report(t, site.sent(/\.qstore$/), await peakMemory(browser), statSync(join(work.folder, "encoder.qstore")).size);
		assert.equal(site.sent(/onnx_data$/), 0);
		const originals = await page.call(PAGE, "fromFiles", build, "/data/encoder/", NAMES);
		assert.deepEqual(archived, originals);
		assert.ok(originals[NAMES[0]].data.every(Number.isFinite) && new Set(originals[NAMES[0]].data).size > 500);
		assert.notDeepEqual(originals[NAMES[0]].data, originals[NAMES[1]].data);
		assert.deepEqual(page.errors, []);
	});
}
