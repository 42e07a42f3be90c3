// Models that are packed and restored by all decoders: the native tools, both WebAssembly modules and the reference decoder.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore } from "../../../js/node/open.js";
import { createDecoder } from "../../../js/wasm/module.js";
import { decodeArchive, readIndex } from "../../reference/decode.mjs";

const bin = fileURLToPath(new URL("../../../build/bin/", import.meta.url));
export const folder = mkdtempSync(join(tmpdir(), "qstore-reference-"));
export const decoders = { simd: await createDecoder({ simd: true }), scalar: await createDecoder({ simd: false }) };

after(() => rmSync(folder, { recursive: true, force: true }));

export const run = (tool, ...args) => execFileSync(join(bin, tool), args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** "name hash" of all files below a folder, sorted. */
export function ofFolder(path) {
	return readdirSync(path, { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile())
		.map((entry) => join(entry.parentPath ?? entry.path, entry.name))
		.map((file) => `${file.slice(path.length + 1)} ${sha256(readFileSync(file))}`)
		.sort();
}

/** By variant, of files in memory. */
export const ofMap = (variants) => Object.fromEntries([...variants].map(([variant, files]) =>
	[variant, [...files].map(([name, bytes]) => `${name} ${sha256(bytes)}`).sort()]));

export async function ofWasm(bytes, decoder) {
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
export async function compare(name, ...options) {
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

/** Sizes of a small model. */
export const small = ["--layers", "2", "--hidden", "72", "--intermediate", "150", "--vocab", "300"];

/** The flags that the ranks chunks of an archive have, all of them together. */
export async function flagsOf(bytes) {
	const { objects, sizes, payload } = await readIndex(bytes);
	let flags = 0;
	for (const { offset, firstChunk, nChunks } of objects)
		for (let i = 0, at = offset; i < nChunks; at += sizes[firstChunk + i++])
			flags |= payload[at] === 4 ? payload[at + 1] : 0;
	return flags;
}

/** A test of a model in FP32, its cast and INT8 of that. @param {string} rule @param {string} cast @param {string[]} scales */
export function testChain(rule, cast, scales = []) {
	test(`a chain F32, ${cast}, INT8 by ${rule}${scales.join("")}`, async () => {
		const name = `chain-${cast}-${rule}${scales.join("")}`;
		run("qstore-generate", "--dtype", "f32", ...small, "-o", name, "--cast", cast, `${name}-16`,
			"--low", `${name}-8`, "--low-rule", rule, ...scales);
		const variants = await compare(name, "--low", `${name}-16`, "--low", `${name}-8`);
		assert.equal(variants.length, 3);
		assert.match(String(run("qstore-info", `${name}.qstore`)), /delta/);
	});
}

/** A test of a GGUF model in 16 bits and its quantized copy. @param {string} high @param {string} low */
export function testGguf(high, low) {
	test(`a GGUF model, ${high} and ${low}`, async () => {
		const name = `gguf-${high}`;
		const options = "--dtype f32 --layers 1 --hidden 288 --intermediate 160 --vocab 64 --shards 1";
		run("qstore-generate", ...options.split(" "), "-o", `${name}-f32`);
		for (const [type, from, to] of [[high, `${name}-f32`, name], [low, join(name, "model.gguf"), `${name}-low`]]) {
			mkdirSync(join(folder, to));
			run("qstore-gguf", "--pure", type, from, join(to, "model.gguf"));
		}
		await compare(name, "--low", `${name}-low`);
		assert.equal(await flagsOf(readFileSync(join(folder, `${name}.qstore`))) & 8, 8);
	});
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

/** Tests of models quantized in each of these ways. @param {string} dtype */
export function testQuantizers(dtype) {
	for (const [options, rule, flags] of quantizers)
		test(`a model in ${dtype} quantized by ${options}`, async () => {
			const name = `${dtype} ${options}`.replaceAll(" ", "-");
			const model = "--layers 1 --hidden 288 --intermediate 144 --vocab 30 --shards 1";
			run("qstore-generate", ...model.split(" "), "--dtype", dtype, "-o", name);
			run("qstore-quantize", ...options.split(" "), name, "-o", `${name}-low`);
			await compare(name, "--low", `${name}-low`);
			if (dtype === "bf16") // FP16 is so fine that few values are next to a border
				assert.equal(await flagsOf(readFileSync(join(folder, `${name}.qstore`))) & flags, flags);
			const { tensors } = JSON.parse(String(run("qstore-info", `${name}.qstore`, "--json")));
			assert.deepEqual([...new Set(tensors.flatMap((tensor) => tensor.rule ?? []))], [rule]);
		});
}
