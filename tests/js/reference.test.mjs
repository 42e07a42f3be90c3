// One truth, five decoders: the original files, the native tools, both WebAssembly modules and the reference decoder
// (tests/reference, written from FORMAT.md alone) agree byte for byte, on every odd model of the generator and on models of each
// kind. More models are in reference_slow.test.mjs.
import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compare, folder, run, small, testChain, testGguf, testQuantizers } from "./helpers/reference.mjs";

const fixtures = ["all_bf16_patterns", "all_fp16_patterns", "odd_shapes", "all_dtypes", "sparse", "clean", "constant",
	"non_finite", "gaps"];

for (const name of fixtures)
	test(`fixture ${name}`, async () => {
		const low = `${name}-low`;
		run("qstore-generate", "--fixture", name, "-o", name);
		await compare(name, "--quantize", "none");
		rmSync(join(folder, `${name}.qstore`));
		for (const entry of readdirSync(folder))
			if (entry === name || entry.startsWith(`${name}-`))
				rmSync(join(folder, entry), { recursive: true });
		if (name === "gaps") {
			assert.throws(() => run("qstore-generate", "--fixture", name, "-o", name, "--low", low), /fixture gaps has no INT8 twin/);
			rmSync(join(folder, low), { recursive: true });
			run("qstore-generate", "--fixture", name, "-o", name);
			await compare(name);
			return;
		}
		run("qstore-generate", "--fixture", name, "-o", name, "--low", low);
		await compare(name, "--low", low);
	});

for (const dtype of ["bf16", "f16", "f32"])
	test(`a model in ${dtype}`, async () => {
		run("qstore-generate", "--dtype", dtype, ...small, "-o", `model-${dtype}`);
		const variants = await compare(`model-${dtype}`);
		assert.equal(variants.length, dtype === "f32" ? 1 : 2);
	});

for (const rule of ["llm.int8", "divide", "multiply", "compressed-tensors"])
	testChain(rule, "bf16");

test("BF16 and FP16 beside one another, either way", async () => {
	for (const cast of ["bf16", "f16"])
		run("qstore-generate", "--dtype", "f32", ...small, "-o", "casts-f32", "--cast", cast, `casts-${cast}`);
	for (const [high, low] of [["bf16", "f16"], ["f16", "bf16"]]) {
		await compare(`casts-${high}`, "--low", `casts-${low}`);
		assert.match(String(run("qstore-info", `casts-${high}.qstore`)), /delta/);
	}
});

testGguf("bf16", "q4_1");
testQuantizers("bf16");
