// Native runtimes read models out of a mounted archive, and compute the same as from the files.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { writeEncoder } from "../browser/helpers/encoder.mjs";
import { writeLlama } from "../browser/helpers/llama.mjs";
import { packFiles, packFolder } from "../browser/helpers/models.mjs";
import { mounted, run, whyNoMount } from "../js/helpers/mount.mjs";
import { temporary } from "../js/helpers/tools.mjs";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const skipWithout = (...packages) => whyNoMount() ?? packages.map((name) => !existsSync(here(`node_modules/${name}/package.json`)) &&
	`${name} is not here: make setup installs it`).find(Boolean);
const shared = here("../../../shared/data/tiny1m-llama");
const folder = temporary({ after });

/** The output of one of the programs beside this file. */
async function outputOf(program, model) {
	const { code, stdout, stderr } = await run(process.execPath, here(program), model);
	assert.equal(code, 0, stderr);
	return JSON.parse(stdout);
}

async function comparesLlama(archive, { q8_0: low, bf16: high }) {
	packFiles(archive, { q8_0: low, bf16: high });
	const said = await mounted(archive, [], async (place) => {
		for (const [precision, path] of [["q8_0", low], ["bf16", high]]) {
			const tokens = await outputOf("llama.mjs", path);
			assert.ok(tokens.length > 5 && new Set(tokens).size > 1, "the model says something");
			assert.deepEqual(await outputOf("llama.mjs", join(place, precision, path.split("/").at(-1))), tokens, precision);
		}
	});
	assert.deepEqual(said, []);
}

const withoutLlama = skipWithout("node-llama-cpp", "@node-llama-cpp/linux-x64");

test("llama.cpp: a model of noise, in Q8_0 and BF16", { skip: withoutLlama, timeout: 300_000 }, async () => {
	mkdirSync(join(folder, "llama"));
	const [low, high] = writeLlama(join(folder, "llama")).map((name) => join(folder, "llama", name));
	await comparesLlama(join(folder, "llama.qstore"), { q8_0: low, bf16: high });
});

test("llama.cpp: a trained model, in Q8_0 and BF16", {
	skip: withoutLlama ?? (existsSync(shared) ? undefined : "no shared data"), timeout: 300_000,
}, () => comparesLlama(join(folder, "tiny.qstore"), { q8_0: join(shared, "tiny1m-q8_0.gguf"), bf16: join(shared, "tiny1m-bf16.gguf") }));

test("onnxruntime-node: external data, in INT8 and FP16", { skip: skipWithout("onnxruntime-node"), timeout: 300_000 }, async () => {
	const archive = join(folder, "encoder.qstore"), encoder = writeEncoder(join(folder, "encoder"), { external: true });
	packFolder(archive, encoder);
	const said = await mounted(archive, [], async (place) => {
		for (const name of ["model_quantized.onnx", "model_fp16.onnx"]) {
			const precision = readdirSync(place).find((each) => existsSync(join(place, each, "onnx", name)));
			const expected = await outputOf("onnx.mjs", join(encoder, "onnx", name));
			assert.ok(expected.data.every(Number.isFinite) && new Set(expected.data).size > 500);
			assert.deepEqual(await outputOf("onnx.mjs", join(place, precision, "onnx", name)), expected, precision);
		}
	});
	assert.deepEqual(said, []);
});
