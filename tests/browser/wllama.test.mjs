// wllama, as npm has it, runs GGUF files of an archive: Q8_0 and then BF16, with the same words and probabilities as from the files.
import assert from "node:assert/strict";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { browserTest, openPage, peakMemory, report } from "./helpers/browsers.mjs";
import { writeLlama } from "./helpers/llama.mjs";
import { packFiles, workFolder } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const PAGE = "/tests/browser/pages/wllama.mjs", BROWSERS = ["chromium", "firefox"];
let work, names;

before(async () => {
	work = workFolder();
	mkdirSync(join(work.folder, "llama"));
	names = writeLlama(join(work.folder, "llama"));
	const [low, high] = names.map((name) => join(work.folder, "llama", name));
	packFiles(join(work.folder, "llama.qstore"), { q8_0: low, bf16: high });
	mkdirSync(join(work.folder, "other"));
	writeLlama(join(work.folder, "other"), { seed: 2 });
});

after(() => work.remove());

/** The output of the original files, computed once in each browser. */
const originals = {};

browserTest(BROWSERS, "the original files", async (browser, t) => {
	const site = await serveSite(work.folder);
	t.after(() => site.close());
	const page = await openPage(browser, site);
	const results = originals[t.name.split(":")[0]] = await page.call(PAGE, "fromFiles", names.map((name) => `/data/llama/${name}`));
	for (const { text } of results)
		assert.ok(text.length > 5, "the model says something");
	assert.notDeepEqual(results[0].logprobs, results[1].logprobs);
	report(t, site.sent(/\.gguf$/), await peakMemory(browser));
});

browserTest(BROWSERS, "Blobs of an archive", async (browser, t) => {
	const site = await serveSite(work.folder);
	t.after(() => site.close());
	const page = await openPage(browser, site);
	assert.deepEqual(await page.call(PAGE, "fromBlobs", "/data/llama.qstore", names), originals[t.name.split(":")[0]]);
	assert.equal(site.sent(/\.gguf$/), 0);
	assert.deepEqual(page.errors, []);
	report(t, site.sent(/\.qstore$/), await peakMemory(browser), statSync(join(work.folder, "llama.qstore")).size);
});

browserTest(BROWSERS, "loadModelFromUrl with an archive as storage", async (browser, t) => {
	const site = await serveSite(work.folder);
	t.after(() => site.close());
	const page = await openPage(browser, site), folder = `${site.origin}/nowhere/`, foreign = `${site.origin}/data/other/model-q8_0.gguf`;
	const { results, progress, other, again, listed, left, kept } = await page.call(PAGE, "fromUrls", "/data/llama.qstore", folder, names,
		foreign);
	assert.deepEqual(results, originals[t.name.split(":")[0]]);
	const size = (name) => statSync(join(work.folder, "llama", name)).size;
	assert.deepEqual(progress.slice(0, 2), names.map((name) => [size(name), size(name)]));
	assert.deepEqual(site.log.filter(({ path }) => path?.startsWith("/nowhere/")), [], "nothing was asked of the models' own place");

	// A model of another place is downloaded, kept, and removed, as ever; the archive's stay.
	assert.notEqual(other.text, results[0].text);
	assert.deepEqual(again, other);
	assert.equal(site.log.filter(({ path, method }) => path === "/data/other/model-q8_0.gguf" && method === "GET").length, 1);
	assert.deepEqual(listed.sort(), [...names.map((name) => [`${folder}${name}`, size(name)]), [foreign, size(names[0])]].sort());
	assert.deepEqual(left.sort(), names.map((name) => `${folder}${name}`).sort());
	assert.equal(kept, 0);
	assert.deepEqual(page.errors, []);
	report(t, site.sent(/\.qstore$/), await peakMemory(browser), statSync(join(work.folder, "llama.qstore")).size);
});
