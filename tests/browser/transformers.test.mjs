// transformers.js, as npm has it, loads a repository from an archive: INT8 and then FP16, with the same outcome as from its files.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { browserTest, openPage, peakMemory, report } from "./helpers/browsers.mjs";
import { writeEncoder } from "./helpers/encoder.mjs";
import { packFolder, workFolder } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const PAGE = "/tests/browser/pages/transformers.mjs", REPO = "tests/encoder", DTYPES = ["q8", "fp16"];
let work, folder;

before(() => {
	work = workFolder();
	folder = writeEncoder(join(work.folder, REPO));
	packFolder(join(work.folder, "encoder.qstore"), folder);
	// Elsewhere, and not in the archive.
	writeEncoder(join(work.folder, "foreign/other/model/resolve/main"), { seed: 2 });
});

after(() => work.remove());

const size = (name) => statSync(join(folder, name)).size;

/** The numbers from the original files, computed once in each browser. */
const originals = {};

browserTest(["chromium", "firefox"], "the original files", async (browser, t) => {
	const site = await serveSite(work.folder);
	t.after(() => site.close());
	const page = await openPage(browser, site);
	const found = originals[t.name.split(":")[0]] = await page.call(PAGE, "fromFiles", `${site.origin}/data/`, REPO, DTYPES);
	for (const dtype of DTYPES) {
		assert.deepEqual(found[dtype].dims.slice(0, 1), [1]);
		assert.equal(found[dtype].data.length, found[dtype].dims.reduce((a, b) => a * b));
		assert.ok(found[dtype].data.every(Number.isFinite) && new Set(found[dtype].data).size > 500);
	}
	assert.notDeepEqual(found.q8.data, found.fp16.data);
	report(t, site.sent(/^\/data\/.*\.(onnx|json)$/), await peakMemory(browser));
});

for (const way of ["cache", "fetch"]) {
	browserTest(["chromium", "firefox"], `q8, then fp16, from an archive (${way})`, async (browser, t) => {
		const site = await serveSite(work.folder);
		t.after(() => site.close());
		const page = await openPage(browser, site);
		const { results, totals } = await page.call(PAGE, "fromArchive", "/data/encoder.qstore", REPO, DTYPES,
			{ way, foreign: `${site.origin}/data/foreign/` });
		report(t, site.sent(/\.qstore$/), await peakMemory(browser), statSync(join(work.folder, "encoder.qstore")).size);
		assert.deepEqual(results, originals[t.name.split(":")[0]], "the same numbers as from the files");

		const { answers, tokens, kept, detached } = await page.call(PAGE, "ask"), q8 = size("onnx/model_quantized.onnx");
		const fp16 = size("onnx/model_fp16.onnx");
		assert.deepEqual(answers.probe, [206, `bytes 0-0/${fp16}`, 1, 1]);
		assert.equal(answers.missing[0], 404);
		assert.deepEqual(answers.whole, [200, null, q8, q8]);
		assert.equal(answers.foreign[0], 200);
		assert.deepEqual(tokens, [1, 3]);
		assert.equal(totals["onnx/model_quantized.onnx"], q8);
		assert.equal(totals["onnx/model_fp16.onnx"], fp16);
		assert.ok(detached, "env is as it was");

		const asked = site.log.map(({ path }) => path).filter((path) => path?.includes(REPO));
		assert.deepEqual(asked, [], "no file of the repository was asked of the network");
		const own = kept.filter((path) => path.includes(REPO)).map((path) => path.split("/main/")[1]);
		assert.deepEqual(own, way === "cache" ? [] :
			["config.json", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx", "tokenizer.json", "tokenizer_config.json"]);
		assert.ok(kept.some((path) => path.includes("other/model")), "another repository's files are kept as before");
		assert.deepEqual(page.errors, []);
	});
}
