// One truth, five decoders: the original files, the native tools, both WebAssembly modules and the reference decoder
// (tests/reference, written from FORMAT.md alone) agree byte for byte, on every odd model of the generator.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore } from "../../js/node/open.js";
import { createDecoder } from "../../js/wasm/module.js";
import { decodeArchive, readIndex } from "../reference/decode.mjs";
import { makeChains, models, writeModel } from "../golden/models.mjs";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "qstore-reference-"));
const decoders = { simd: await createDecoder({ simd: true }), scalar: await createDecoder({ simd: false }) };

after(() => rmSync(folder, { recursive: true, force: true }));

const run = (tool, ...args) => execFileSync(join(bin, tool), args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** "name hash" of all files below a folder, sorted. */
function ofFolder(path) {
	return readdirSync(path, { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile())
		.map((entry) => join(entry.parentPath ?? entry.path, entry.name))
		.map((file) => `${file.slice(path.length + 1)} ${sha256(readFileSync(file))}`)
		.sort();
}

/** By variant, of files in memory. */
const ofMap = (variants) => Object.fromEntries([...variants].map(([variant, files]) =>
	[variant, [...files].map(([name, bytes]) => `${name} ${sha256(bytes)}`).sort()]));

async function ofWasm(bytes, decoder) {
	const archive = await openQstore(bytes, { decoder });
	const variants = {};
	for (const { name: precision } of archive.variants) {
		variants[precision] = [];
		for (const file of archive.filesOf({ precision }))
			variants[precision].push(`${file.name} ${sha256(await file.read())}`);
		variants[precision].sort();
	}
	return variants;
}

/** Packs what is in folder/NAME (and its INT8 twin in NAME-low), and compares all that can be restored from it. */
async function compare(name, ...options) {
	run("qstore-pack", "-q", name, ...options, "-o", `${name}.qstore`);
	const bytes = readFileSync(join(folder, `${name}.qstore`));
	const reference = ofMap(await decodeArchive(bytes));
	const variants = Object.keys(reference);
	assert.deepEqual(reference[variants.at(-1)], ofFolder(join(folder, name)));
	if (options[0] === "--low")
		options.filter((option) => option !== "--low").reverse().forEach((low, i) =>
			assert.deepEqual(reference[variants[i]], ofFolder(join(folder, low))));
	for (const variant of variants) {
		run("qstore-unpack", "-q", `${name}.qstore`, "--precision", variant, "-o", `${name}-${variant}`);
		assert.deepEqual(ofFolder(join(folder, `${name}-${variant}`)), reference[variant]);
	}
	for (const decoder of Object.values(decoders))
		assert.deepEqual(await ofWasm(bytes, decoder), reference);
	return variants;
}

const fixtures = ["all_bf16_patterns", "all_fp16_patterns", "odd_shapes", "all_dtypes", "sparse", "clean", "constant", "non_finite", "gaps"];

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
		const sizes = ["--layers", "2", "--hidden", "72", "--intermediate", "150", "--vocab", "300"];
		run("qstore-generate", "--dtype", dtype, ...sizes, "-o", `model-${dtype}`);
		const variants = await compare(`model-${dtype}`);
		assert.equal(variants.length, dtype === "f32" ? 1 : 2);
	});

const small = ["--layers", "2", "--hidden", "72", "--intermediate", "150", "--vocab", "300"];

for (const rule of ["llm.int8", "divide", "multiply", "compressed-tensors"]) {
	for (const cast of ["bf16", "f16"]) {
		for (const scales of rule === "llm.int8" ? [[]] : [[], ["--per-tensor"]])
			test(`a chain F32, ${cast}, INT8 by ${rule}${scales.join("")}`, async () => {
				const name = `chain-${cast}-${rule}${scales.join("")}`;
				run("qstore-generate", "--dtype", "f32", ...small, "-o", name, "--cast", cast, `${name}-16`,
					"--low", `${name}-8`, "--low-rule", rule, ...scales);
				const variants = await compare(name, "--low", `${name}-16`, "--low", `${name}-8`);
				assert.equal(variants.length, 3);
				assert.match(String(run("qstore-info", `${name}.qstore`)), /delta/);
			});
	}
}

// Rule 4 rounds to the type of the values, of which FP16 has more digits; the codes of no other model of these are taken for its.
for (const dtype of ["bf16", "f16"])
	test(`compressed-tensors of ${dtype}`, async () => {
		const name = `half-${dtype}`;
		run("qstore-generate", "--dtype", dtype, ...small, "-o", name);
		run("qstore-quantize", "compressed-tensors", name, "-o", `${name}-low`);
		await compare(name, "--low", `${name}-low`);
		const { tensors } = JSON.parse(String(run("qstore-info", `${name}.qstore`, "--json"))), codes = tensors.filter(({ kind }) => kind === "codes");
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

/** The flags that the ranks chunks of an archive have, all of them together. */
async function flagsOf(bytes) {
	const { objects, sizes, payload } = await readIndex(bytes);
	let flags = 0;
	for (const { offset, firstChunk, nChunks } of objects)
		for (let i = 0, at = offset; i < nChunks; at += sizes[firstChunk + i++])
			flags |= payload[at] === 4 ? payload[at + 1] : 0;
	return flags;
}

/** Quantizers, their rules, and the flags of ranks chunks that they are there for. @type {[string, string, number][]} */
const quantizers = [
	["llm.int8 --ulps 2", "llm.int8", 8],
	["compressed-tensors --asymmetric", "add-half", 0],
	["compressed-tensors --asymmetric --single", "add", 0],
	["compressed-tensors --packed --asymmetric", "add-half", 0],
	["compressed-tensors --packed --bits 4 --group 72", "add-half-4", 0],
	["compressed-tensors --packed --bits 4 --group 72 --asymmetric --single", "add-4", 0],
];

for (const rule of ["llm.int8", "round"])
	test(`codes by ${rule} of a model in FP32, beside its cast`, async () => {
		const name = `finer-${rule}`, f32 = `${name}-f32`;
		run("qstore-generate", ..."--dtype f32 --layers 1 --hidden 288 --intermediate 144 --vocab 30 --shards 1 -o".split(" "), f32);
		run("qstore-quantize", "cast", "--dtype", "bf16", f32, "-o", name);
		run("qstore-quantize", rule, f32, "-o", `${name}-low`);
		await compare(name, "--low", `${name}-low`);
		assert.equal(await flagsOf(readFileSync(join(folder, `${name}.qstore`))) & 16, 16);
	});

for (const [high, low] of [["bf16", "q4_1"], ["f16", "q5_1"]])
	test(`a GGUF model, ${high} and ${low}`, async () => {
		const name = `gguf-${high}`;
		run("qstore-generate", ..."--dtype f32 --layers 1 --hidden 288 --intermediate 160 --vocab 64 --shards 1 -o".split(" "), `${name}-f32`);
		for (const [type, from, to] of [[high, `${name}-f32`, name], [low, join(name, "model.gguf"), `${name}-low`]]) {
			mkdirSync(join(folder, to));
			run("qstore-gguf", "--pure", type, from, join(to, "model.gguf"));
		}
		await compare(name, "--low", `${name}-low`);
		assert.equal(await flagsOf(readFileSync(join(folder, `${name}.qstore`))) & 8, 8);
	});

for (const dtype of ["bf16", "f16"])
	for (const [options, rule, flags] of quantizers)
		test(`a model in ${dtype} quantized by ${options}`, async () => {
			const name = `${dtype} ${options}`.replaceAll(" ", "-");
			run("qstore-generate", ..."--layers 1 --hidden 288 --intermediate 144 --vocab 30 --shards 1 --dtype".split(" "), dtype, "-o", name);
			run("qstore-quantize", ...options.split(" "), name, "-o", `${name}-low`);
			await compare(name, "--low", `${name}-low`);
			if (dtype === "bf16") // FP16 is so fine that few values are next to a border
				assert.equal(await flagsOf(readFileSync(join(folder, `${name}.qstore`))) & flags, flags);
			const { tensors } = JSON.parse(String(run("qstore-info", `${name}.qstore`, "--json")));
			assert.deepEqual([...new Set(tensors.flatMap((tensor) => tensor.rule ?? []))], [rule]);
		});
