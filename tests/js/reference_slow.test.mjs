// The decoders of reference.test.mjs over more models: in FP16, of other quantizers, and the golden ones.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { decodeArchive } from "../reference/decode.mjs";
import { makeChains, models, writeModel } from "../golden/models.mjs";
import { compare, decoders, flagsOf, folder, ofMap, ofWasm, run, sha256, small, testChain, testGguf,
	testQuantizers } from "./helpers/reference.mjs";

for (const rule of ["divide", "multiply", "compressed-tensors"])
	testChain(rule, "bf16", ["--per-tensor"]);
for (const [rule, scales] of [["llm.int8"], ["divide"], ["multiply"], ["compressed-tensors"], ["divide", ["--per-tensor"]],
	["multiply", ["--per-tensor"]], ["compressed-tensors", ["--per-tensor"]]])
	testChain(rule, "f16", scales);

testGguf("f16", "q5_1");
testQuantizers("f16");

// Rule 4 rounds to the type of the values, of which FP16 has more digits; the codes of no other model of these are taken for its.
for (const dtype of ["bf16", "f16"])
	test(`compressed-tensors of ${dtype}`, async () => {
		const name = `half-${dtype}`;
		run("qstore-generate", "--dtype", dtype, ...small, "-o", name);
		run("qstore-quantize", "compressed-tensors", name, "-o", `${name}-low`);
		await compare(name, "--low", `${name}-low`);
		const { tensors } = JSON.parse(String(run("qstore-info", `${name}.qstore`, "--json")));
		const codes = tensors.filter(({ kind }) => kind === "codes");
		assert.ok(codes.length > 0 && codes.every(({ rule }) => rule === "divide-half"));
	});

const chains = makeChains(join(folder, "chains"));
for (const [name, [fine, ...options]] of Object.entries(chains))
	test(`golden chain ${name}`, async () => {
		run("qstore-pack", "-q", fine, ...options, "-o", `${name}.qstore`);
		const bytes = readFileSync(join(folder, `${name}.qstore`)), reference = ofMap(await decodeArchive(bytes));
		const files = [fine, ...options.filter((option) => option !== "--low")].reverse();
		assert.deepEqual(Object.values(reference), files.map((file) => [`${basename(file)} ${sha256(readFileSync(file))}`]));
		for (const decoder of Object.values(decoders))
			assert.deepEqual(await ofWasm(bytes, decoder), reference);
	});

for (const name of Object.keys(models))
	test(`golden model ${name}`, async () => {
		writeModel(name, join(folder, `golden-${name}`));
		await compare(`golden-${name}`, ...models[name].pack ?? []);
	});

for (const rule of ["llm.int8", "round"])
	test(`codes by ${rule} of a model in FP32, beside its cast`, async () => {
		const name = `finer-${rule}`, f32 = `${name}-f32`;
		run("qstore-generate", ..."--dtype f32 --layers 1 --hidden 288 --intermediate 144 --vocab 30 --shards 1 -o".split(" "), f32);
		run("qstore-quantize", "cast", "--dtype", "bf16", f32, "-o", name);
		run("qstore-quantize", rule, f32, "-o", `${name}-low`);
		await compare(name, "--low", `${name}-low`);
		assert.equal(await flagsOf(readFileSync(join(folder, `${name}.qstore`))) & 16, 16);
	});
