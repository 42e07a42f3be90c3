// Tiny models for golden archives and seeds of fuzzing: noise from integers alone, so that every machine makes the same bytes.

import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Integers below n, the same sequence each time. @param {number} seed */
function random(seed) {
	let state = seed >>> 0;
	return (/** @type {number} */ n) => {
		state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
		state = Math.imul(state ^ (state >>> 13), 0x297a2d39) >>> 0;
		return ((state ^ (state >>> 16)) >>> 0) % n;
	};
}

/** 16-bit floats around a power of two that differs by row, some zero, a few large. @param {(n: number) => number} below
 * @param {number} rows @param {number} columns @param {'BF16' | 'F16'} dtype */
function weights(below, rows, columns, dtype) {
	const out = new Uint8Array(2 * rows * columns);
	const mantissaBits = dtype === "BF16" ? 7 : 10;
	const one = dtype === "BF16" ? 127 : 15;
	for (let row = 0; row < rows; row++) {
		const shift = 4 + below(4);
		for (let column = 0; column < columns; column++) {
			let exponent = one - shift;
			while (below(2) && exponent > 2) exponent--;
			if (below(300) === 0) exponent += 3;
			let pattern = (below(2) << 15) | (exponent << mantissaBits) | below(2 ** mantissaBits);
			if (below(40) === 0) pattern &= 0x8000;
			const at = 2 * (row * columns + column);
			out[at] = pattern & 255;
			out[at + 1] = pattern >> 8;
		}
	}
	return out;
}

/** @param {(n: number) => number} below @param {number} n */
const bytes = (below, n) => Uint8Array.from({ length: n }, () => below(256));

/** A safetensors file. @param {Record<string, { dtype: string, shape: number[], data: Uint8Array }>} tensors */
function safetensors(tensors) {
	/** @type {Record<string, object>} */
	const header = { __metadata__: { format: "pt" } };
	let at = 0;
	for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
		header[name] = { dtype, shape, data_offsets: [at, at + data.length] };
		at += data.length;
	}
	const json = Buffer.from(JSON.stringify(header));
	const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, " ")]);
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(padded.length));
	return Buffer.concat([length, padded, ...Object.values(tensors).map((t) => t.data)]);
}

/** @param {number} seed @param {'BF16' | 'F16'} dtype @param {[number, number][]} matrices @param {string} prefix of tensors' names */
function model(seed, dtype, matrices, prefix = "model") {
	const below = random(seed);
	/** @type {Record<string, { dtype: string, shape: number[], data: Uint8Array }>} */
	const tensors = { [`${prefix}.norm.weight`]: { dtype, shape: [40], data: weights(below, 1, 40, dtype) } };
	matrices.forEach(([rows, columns], i) => {
		tensors[`${prefix}.layers.${i}.mlp.up_proj.weight`] = {
			dtype,
			shape: [rows, columns],
			data: weights(below, rows, columns, dtype),
		};
	});
	tensors[`${prefix}.embed_tokens.weight`] = { dtype, shape: [30, 8], data: weights(below, 30, 8, dtype) };
	return safetensors(tensors);
}

/** A tensor of 16-bit floats with more rows and columns, of zeros. @param {{ dtype: string, shape: number[], data: Uint8Array }} tensor
 * @param {number} rows @param {number} columns */
function padded({ dtype, shape, data }, rows, columns) {
	const out = new Uint8Array(2 * rows * columns);
	for (let row = 0; row < shape[0]; row++) out.set(data.subarray(2 * row * shape[1], 2 * (row + 1) * shape[1]), 2 * row * columns);
	return { dtype, shape: [rows, columns], data: out };
}

/** Codes of a matrix in BF16, and a scale in F64 for each row. @param {{ shape: number[], data: Uint8Array }} tensor */
function withDoubleScales({ shape: [rows, columns], data }) {
	const bits = new Uint32Array(data.length / 2).map((_, i) => (data[2 * i] | (data[2 * i + 1] << 8)) * 2 ** 16);
	const values = new Float32Array(bits.buffer), scales = new Float64Array(rows), codes = new Int8Array(values.length);
	for (let row = 0; row < rows; row++) {
		const some = values.subarray(row * columns, (row + 1) * columns);
		scales[row] = some.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
		some.forEach((value, i) => (codes[row * columns + i] = Math.round(value / Math.fround(scales[row]))));
	}
	return {
		"proj.weight": { dtype: "I8", shape: [rows, columns], data: new Uint8Array(codes.buffer) },
		"proj.weight_scale": { dtype: "F64", shape: [rows, 1], data: new Uint8Array(scales.buffer) },
	};
}

/** A GGUF file of one matrix, in BF16 or F16 (gguf.md). @param {number} seed @param {'BF16' | 'F16'} dtype @param {number} rows @param
 * {number} columns */
function gguf(seed, dtype, rows, columns) {
	const u32 = (/** @type {number[]} */ ...values) => Buffer.from(Uint32Array.from(values).buffer);
	const u64 = (/** @type {number[]} */ ...values) => Buffer.from(BigUint64Array.from(values, BigInt).buffer);
	const text = (/** @type {string} */ value) => [u64(value.length), Buffer.from(value)];
	const header = Buffer.concat([
		Buffer.from("GGUF"), u32(3), u64(1, 2), ...text("general.architecture"), u32(8), ...text("llama"), ...text("general.file_type"),
			u32(4, dtype === "BF16" ? 32 : 1),
		...text("blk.0.attn_q.weight"), u32(2), u64(columns, rows), u32(dtype === "BF16" ? 30 : 1), u64(0),
	]);
	return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), weights(random(seed), rows, columns, dtype)]);
}

/** A matrix in BF16 for codes of 8 bits with zero points: rows' scales are powers of two, their zero points odd, and of the values many
 * are half way between two codes, others so small that a sum with the zero point is rounded. @param {number} seed @param {number} rows
 * @param {number} columns */
function ties(seed, rows, columns) {
	const below = random(seed);
	const values = Float32Array.from({ length: rows * columns }, (_, i) => {
		const steps = below(381) - 125, column = i % columns;
		const half = column < 2 ? [384, -126][column] : below(2) ? steps / 64 : steps;
		return half / 2 ** (11 + Math.floor(i / columns) % 4);
	});
	return { dtype: "BF16", shape: [rows, columns], data: new Uint8Array(values.buffer).filter((_, i) => i % 4 > 1) };
}

function odd() {
	const below = random(9);
	const zeros = new Uint8Array(2 * 5 * 64);
	const wild = bytes(below, 2 * 6 * 33); // NaN and infinity among them
	return safetensors({
		"a.weight": { dtype: "BF16", shape: [1, 50], data: weights(below, 1, 50, "BF16") },
		"b.weight": { dtype: "BF16", shape: [70, 1], data: weights(below, 70, 1, "BF16") },
		"zeros.weight": { dtype: "BF16", shape: [5, 64], data: zeros },
		"wild.weight": { dtype: "BF16", shape: [6, 33], data: wild },
		"empty.weight": { dtype: "BF16", shape: [0, 8], data: new Uint8Array() },
		scalar: { dtype: "F32", shape: [], data: bytes(below, 4) },
		single: { dtype: "F32", shape: [41], data: bytes(below, 164) },
		double: { dtype: "F64", shape: [13], data: bytes(below, 104) },
		ids: { dtype: "I64", shape: [64], data: Uint8Array.from({ length: 512 }, (_, i) => (i % 8 ? 0 : i / 8)) },
		mask: { dtype: "BOOL", shape: [2, 100], data: Uint8Array.from({ length: 200 }, (_, i) => (i % 7 ? 0 : 1)) },
		eight: { dtype: "F8_E4M3", shape: [90], data: bytes(below, 90).map((b) => b & 0x8f) },
	});
}

/** Rows of codes whose spread changes along them, and tables whose rows resemble one another. */
function longRows() {
	const below = random(13);
	const codes = Uint8Array.from({ length: 2 * 12288 }, (_, i) => {
		const most = 4 << ((i >> 10) % 5);
		return below(most) - below(most);
	});
	const table = (/** @type {number} */ one, /** @type {number} */ size) => {
		const data = Buffer.alloc(size * 48 * 16);
		for (let i = 0; i < 48 * 16; i++) {
			const row = i >> 4, column = i & 15;
			const pattern = one + row * row * (column + 1) - 100 * row * column + below(3);
			if (size === 4) data.writeUInt32LE((pattern * 4096 + (column & 1) * 2 ** 31) >>> 0, 4 * i);
			else data.writeUInt16LE((pattern & 0x7fff) | (column & 1) << 15, 2 * i);
		}
		return data;
	};
	return safetensors({
		"long.weight": { dtype: "I8", shape: [2, 12288], data: codes },
		"positions.f32": { dtype: "F32", shape: [48, 16], data: table(0x3f800, 4) },
		"positions.bf16": { dtype: "BF16", shape: [48, 16], data: table(0x3f80, 2) },
		"positions.f16": { dtype: "F16", shape: [48, 16], data: table(0x3c00, 2) },
	});
}

/** Norms, so many and so small that they share an object, beside a matrix. */
function norms() {
	const below = random(17);
	const tensors = Array.from({ length: 17 }, (_, i) =>
		[`layers.${i}.norm.weight`, { dtype: "BF16", shape: [40], data: weights(below, 1, 40, "BF16") }]);
	return safetensors({
		...Object.fromEntries(tensors),
		"layers.0.weight": { dtype: "BF16", shape: [6, 64], data: weights(below, 6, 64, "BF16") },
	});
}

/** Files by name, and how they are packed: of each model, in tests/golden/make's folder.
 * @type {Record<string, { files: () => Record<string, string | Uint8Array>, pack?: string[] }>} */
export const models = {
	bf16: {
		files: () => ({
			"config.json": '{"model_type": "golden"}\n',
			"model.safetensors": model(1, "BF16", [
				[12, 100],
				[3, 77],
			]),
		}),
	},
	fp16: {
		files: () => ({
			"config.json": "{}",
			"model.safetensors": model(2, "F16", [
				[10, 129],
				[2, 90],
			]),
		}),
	},
	odd: { files: () => ({ "model.safetensors": odd() }) },
	plain: { files: () => ({ "model.safetensors": odd() }), pack: ["--quantize", "none"] },
	"long-rows": { files: () => ({ "model.safetensors": longRows() }), pack: ["--quantize", "none"] },
	norms: { files: () => ({ "model.safetensors": norms() }) },
	wide: { files: () => ({ "model.safetensors": model(3, "BF16", [[131, 501]]) }) },
	folders: {
		files: () => ({
			"README.md": "# Golden\n",
			"model-00001-of-00002.safetensors": model(4, "BF16", [[6, 64]]),
			"model-00002-of-00002.safetensors": model(
				5,
				"BF16",
				[
					[6, 32],
					[2, 300],
				],
				"second",
			),
			"model.safetensors.index.json": '{"metadata": {}, "weight_map": {}}',
			"sub/tokenizer.json": JSON.stringify(Array.from({ length: 4000 }, (_, i) => `token ${i}`)),
			"ünïcode name.txt": "naïve\n",
		}),
	},
};

/** Writes one model into a folder. @param {string} name @param {string} folder */
export function writeModel(name, folder) {
	for (const [file, data] of Object.entries(models[name].files())) {
		mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
		writeFileSync(path.join(folder, file), data);
	}
}

/** The first row of the example matrix, as codec.md works it through. */
const EXAMPLE_ROW = [0.0825, -0.041, 0.0117, 0.126, -0.063, 0.0276, -0.1016, 0.0002];

/** The model of golden/example.qstore, whose bytes native/FORMAT.md and docs/codec.md explain: one matrix of 8 × 8 BF16 weights.
 * Writes it into a folder and returns the weights' bytes. @param {string} folder */
export function writeExample(folder) {
	const below = random(11);
	const noise = () => (below(2001) + below(2001) + below(2001) - 3000) / 20000;
	const values = Float32Array.from({ length: 64 }, (_, i) => EXAMPLE_ROW[i] ?? noise());
	const patterns = Uint16Array.from(new Uint32Array(values.buffer), (bits) => (bits + 0x7fff + ((bits >> 16) & 1)) >>> 16);
	const data = new Uint8Array(patterns.buffer);
	mkdirSync(folder, { recursive: true });
	writeFileSync(path.join(folder, "model.safetensors"), safetensors({ "layer.weight": { dtype: "BF16", shape: [8, 8], data } }));
	return data;
}

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));

/** Files of a matrix of FP16 in all types of floats; BF16 is cut off. @param {Uint8Array} half @param {number} rows @param {number} columns */
function castsOf(half, rows, columns) {
	const patterns = new Uint16Array(half.buffer);
	const values = Array.from(patterns, (pattern) => {
		const exponent = (pattern >> 10) & 31;
		const mantissa = pattern & 1023;
		return (pattern >> 15 ? -1 : 1) * (exponent ? (1024 + mantissa) * 2 ** (exponent - 25) : mantissa * 2 ** -24);
	});
	const singles = new Uint32Array(Float32Array.from(values).buffer);
	const transposed = Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]);
	const tensor = (/** @type {string} */ dtype, /** @type {ArrayBufferView} */ { buffer }, shape = [rows, columns]) =>
		({ dtype, shape, data: new Uint8Array(buffer) });
	return {
		F64: { "proj.weight": tensor("F64", Float64Array.from(values)) },
		F32: {
			"proj.weight": tensor("F32", singles), "again.weight": tensor("F32", singles),
			"transposed.weight": tensor("F32", transposed, [columns, rows]),
		},
		F16: { "proj.weight": tensor("F16", patterns) },
		BF16: { "proj.weight": tensor("BF16", Uint16Array.from(singles, (single) => single >>> 16)) },
	};
}

/**
 * Models of more than one precision, made by the generators: what qstore-pack is to be given for each.
 * @param {string} work folder
 * @returns {Record<string, string[]>}
 */
export function makeChains(work) {
	const at = (/** @type {string[]} */ ...parts) => path.join(work, ...parts);
	const run = (/** @type {string} */ tool, /** @type {string[]} */ ...args) =>
		execFileSync(path.join(bin, tool), args, { stdio: "ignore" });
	const small = ["--layers", "1", "--hidden", "24", "--intermediate", "32", "--vocab", "16", "--shards", "1"];
	const weightsOf = (/** @type {string} */ name) => at(name, "model.safetensors");
	const low = (/** @type {string[]} */ ...paths) => paths.flatMap((each) => ["--low", each]);
	mkdirSync(work, { recursive: true });
	// FP32 | BF16 | INT8 made of the FP32 with one scale a tensor (a residual), and compressed-tensors with BF16 scales.
	run("qstore-generate", ...small, "--dtype", "f32", "--cast", "bf16", at("cast"), "--low", at("low"), "--low-rule", "divide",
		"--per-tensor", "-o", at("fp32"));
	run("qstore-generate", ...small, "--low", at("ct-low"), "--low-rule", "compressed-tensors", "-o", at("ct"));
	/** @type {Record<string, string[]>} */
	const made = {
		chain: [weightsOf("fp32"), ...low(weightsOf("cast"), weightsOf("low"))],
		"compressed-tensors": [weightsOf("ct"), ...low(weightsOf("ct-low"))],
	};
	// ggml's blocks: of every rule, recoded from one to the next; Q8_0's codes without peaks; Q4_1's scales before they were rounded.
	for (const [name, dtype, rows, columns, types] of /** @type {const} */ ([
		["blocks", "F16", 6, 64, ["q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]], ["absmax", "BF16", 6, 64, ["q8_0"]],
			["peaks", "BF16", 32, 64, ["q8_0"]], ["q4-1", "BF16", 64, 64, ["q4_1"]],
				["k-quants", "BF16", 3, 256, ["q6_k", "q5_k_s", "q4_k_s"]],
	])) {
		const file = (/** @type {string} */ type) => at(`${name}-${type}.gguf`);
		writeFileSync(file("fine"), gguf(6, dtype, rows, columns));
		for (const type of types) run("qstore-gguf", "--pure", type, file("fine"), file(type));
		made[name] = [file("fine"), ...low(...types.map(file))];
	}
	// GPTQ: words along columns, zero points, an order; the second from the first.
	mkdirSync(at("gptq"));
	writeFileSync(at("gptq", "model.safetensors"), model(7, "BF16", [[16, 64], [8, 96]]));
	writeFileSync(at("gptq", "config.json"), "{}");
	run("qstore-quantize", "gptq", "--group", "32", "--asymmetric", at("gptq"), "-o", at("gptq-8"));
	run("qstore-quantize", "gptq", "--group", "32", "--bits", "4", "--act-order", at("gptq"), "-o", at("gptq-4"));
	run("qstore-quantize", "compressed-tensors", "--packed", "--bits", "4", "--group", "32", at("gptq"), "-o", at("packed"));
	made.gptq = [weightsOf("gptq"), ...low(weightsOf("gptq-8"), weightsOf("gptq-4"))];
	made.packed = [weightsOf("gptq"), ...low(weightsOf("packed"))];
	// Column factors, and codes in AWQ's order. LLM.int8 whose divisions are off, as a GPU's. Distances to the centres of columns. Codes
	// with
	// two peaks in each group. Zero points that are added before rounding, of 8 and 4 bits, in both arithmetics.
	for (const [name, data] of /** @type {const} */ ([["square", model(8, "BF16", [[64, 64]])],
		["ties", safetensors({ "proj.weight": ties(10, 16, 64) })]])) {
		mkdirSync(at(name));
		writeFileSync(at(name, "model.safetensors"), data);
		writeFileSync(at(name, "config.json"), "{}");
	}
	for (const [name, of, ...options] of [
		["awq", "square", "awq", "--group", "32"], ["smooth", "square", "compressed-tensors", "--smooth"],
			["gpu", "square", "llm.int8", "--ulps", "2"],
		["centred", "square", "round", "--per", "column", "--asymmetric"],
			["two-peaks", "square", "round", "--group", "32", "--asymmetric"], ["add-half", "gptq", "compressed-tensors", "--asymmetric"],
		["add-half-4", "gptq", "compressed-tensors", "--asymmetric", "--packed", "--bits", "4", "--group", "32"],
		["add", "ties", "compressed-tensors", "--asymmetric", "--single"],
		["add-4", "gptq", "compressed-tensors", "--asymmetric", "--packed", "--bits", "4", "--group", "32", "--single"],
	]) {
		run("qstore-quantize", ...options, at(of), "-o", at(name));
		made[name] = [weightsOf(of), ...low(weightsOf(name))];
	}
	// A matrix with more rows and columns in the coarser model: parts, and rows side by side.
	const matrix = { dtype: "BF16", shape: [40, 64], data: weights(random(12), 40, 64, "BF16") };
	for (const [name, tensor] of /** @type {const} */ ([["parts", matrix], ["parts-padded", padded(matrix, 44, 72)]])) {
		mkdirSync(at(name));
		writeFileSync(at(name, "model.safetensors"), safetensors({ "proj.weight": tensor }));
		writeFileSync(at(name, "config.json"), "{}");
	}
	run("qstore-quantize", "llm.int8", at("parts-padded"), "-o", at("parts-low"));
	made.parts = [weightsOf("parts"), ...low(weightsOf("parts-low"))];
	writeFileSync(at("double-scales.safetensors"), safetensors(withDoubleScales(matrix)));
	made["double-scales"] = [weightsOf("parts"), ...low(at("double-scales.safetensors"))];
	// FP64 | FP32 | FP16 | BF16 of the same values, each a difference to the next, and BF16 to FP16; in FP32 also a copy, and a transposed one.
	const half = weights(random(13), 32, 48, "F16");
	const files = castsOf(half, 32, 48);
	for (const [dtype, tensors] of Object.entries(files)) writeFileSync(at(`casts-${dtype}.safetensors`), safetensors(tensors));
	const [fp64, fp32, fp16, bf16] = ["F64", "F32", "F16", "BF16"].map((dtype) => at(`casts-${dtype}.safetensors`));
	made.casts = [fp64, ...low(fp32, fp16, bf16)];
	made["casts-back"] = [bf16, ...low(fp16)];
	// ONNX: floats that are transposed, codes of 4 bits in bytes, with and without zero points.
	for (const [name, hidden, precisions, ...options] of [["onnx", "16", "fp32,fp16,q4f16"],
		["onnx-zeros", "32", "fp16,q4f16", "--asymmetric"]]) {
		run("qstore-generate", ...small, "--hidden", hidden, "--intermediate", hidden, "--dtype", "f32", "-o", at(`${name}-32`));
		run("qstore-onnx", "--block", "16", "--precisions", precisions, ...options, at(`${name}-32`), "-o", at(name));
		const [fine, ...others] = precisions.split(",").map((precision) =>
			at(name, "onnx", precision === "fp32" ? "model.onnx" : `model_${precision}.onnx`));
		made[name] = [fine, ...low(...others)];
	}
	return made;
}
