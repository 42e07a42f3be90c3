// The examples of docs/runtimes.md run as they stand, in Chromium, but for the archives' addresses.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { browserTest, openPage } from "./helpers/browsers.mjs";
import { writeEncoder } from "./helpers/encoder.mjs";
import { writeLlama } from "./helpers/llama.mjs";
import { packFiles, packFolder, packPair } from "./helpers/models.mjs";
import { serveSite } from "./helpers/site.mjs";

const text = readFileSync(new URL("../../docs/runtimes.md", import.meta.url), "utf8");
const examples = text.split(/^## /m).slice(1).flatMap((section) =>
	[...section.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code], i) => ({ title: `${section.split("\n")[0]} ${i + 1}`, code })));

const MODULES = "/tests/browser/node_modules/", RUNTIME = "@huggingface/transformers/node_modules/onnxruntime-web/dist/";
const IMPORTS = {
	"qstore-decode": "/js/index.js", "qstore-decode/transformers": "/js/adapters/transformers.js",
		"qstore-decode/wllama": "/js/adapters/wllama.js",
	"@huggingface/transformers": `${MODULES}@huggingface/transformers/dist/transformers.min.js`,
	// The same version as that of transformers.js, as /onnxruntime/ has one only.
	"onnxruntime-web/jspi": `${MODULES}${RUNTIME}ort.jspi.min.mjs`,
	"@wllama/wllama": `${MODULES}@wllama/wllama/esm/index.js`,
};
/** The lines that each example prints, by its title. */
const EXPECTED = {
	"Files as Blobs and Responses 1": [/^\d+ GGUF$/, /^\d+$/],
	"transformers.js 1": [/^q8 \[?1,4,256\]?$/, /^fp16 \[?1,4,256\]?$/],
	"onnxruntime-web 1": [/^\[?last_hidden_state\]?$/],
	"wllama 1": [/^low .+/, /^high .+/],
	"wllama 2": [/^true 2$/],
	"WebGPU 1": [/^\d\d+ tensors on the GPU$/],
};
let work;

before(async () => {
	work = packPair("--layers", "1", "--hidden", "64", "--intermediate", "128", "--vocab", "512");
	const at = (name) => join(work.folder, name);
	mkdirSync(at("llama"));
	const [low, high] = writeLlama(at("llama"));
	packFiles(at("llama.qstore"), { q8_0: at(`llama/${low}`), bf16: at(`llama/${high}`) });
	packFolder(at("encoder.qstore"), writeEncoder(at("encoder")));
	packFolder(at("external.qstore"), writeEncoder(at("external"), { external: true }));
});

after(() => work?.remove());

test("each example has its expectation", () => {
	assert.deepEqual(examples.map(({ title }) => title), Object.keys(EXPECTED));
});

for (const { title, code } of examples) {
	// WebGPU without a GPU: Chromium's own software one.
	const flags = title.startsWith("WebGPU") ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : [];
	browserTest("chromium", title, { flags }, async (browser, t) => {
		const head = `<!doctype html><meta charset=utf-8><link rel=icon href=data:,><script type=importmap>${JSON.stringify(
			{ imports: IMPORTS })}</script>`;
		const program = (origin) => code.replaceAll(/https:\/\/example\.org\/([\w-]+\.qstore)/g, `${origin}/data/$1`);
		const root = new URL("../../", import.meta.url).pathname;
		const site = await serveSite(work.folder, {
			pages: { "/example.html": head },
			folders: { "/onnxruntime/": join(root, MODULES, RUNTIME), "/wllama/": join(root, MODULES, "@wllama/wllama/esm/wasm") },
		});
		t.after(() => site.close());
		site.pages["/example.mjs"] = program(site.origin);
		const page = await openPage(browser, site, { path: "/example.html" });
		if (flags.length > 0 && !await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()))) {
			t.skip("this Chromium has no WebGPU adapter");
			return;
		}
		const printed = await page.evaluate(async () => {
			const lines = [];
			console.log = (...values) => lines.push(values.join(" "));
			await import("/example.mjs");
			return lines;
		});
		const own = printed.filter((line) => EXPECTED[title].some((pattern) => pattern.test(line)));
		assert.equal(own.length, EXPECTED[title].length, printed.join("\n"));
		EXPECTED[title].forEach((pattern, i) => assert.match(own[i], pattern));
		assert.deepEqual(page.errors, []);
	});
}
