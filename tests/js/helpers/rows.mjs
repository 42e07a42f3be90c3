// Every kind of pair and chain that is supported, each made by the generators from one model in FP32: what tests/js/rows.test.mjs checks
// and
// tests/bench/rows.mjs measures.
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { native } from "./tools.mjs";

/**
 * A variant: how it is made from another one; without `from`, the model that all come from.
 * @typedef {{ name: string, from?: Variant, make?: (from: string, to: string) => void, file?: string }} Variant
 * file: of the folder that is made, the one file that is meant.
 */

/** @type {Variant} */
const F32 = { name: "fp32" };
const nameOf = (...parts) => parts.join(" ").replaceAll(/[^\w.]+/g, "-");
const words = (options) => options.split(" ").filter(Boolean);

/** By qstore-quantize: a folder. */
function quantized(options, from = BF16) {
	return {
		name: nameOf(options, from.name), from,
		make: (source, to) => native("qstore-quantize", ...words(options), source, "-o", to),
	};
}

const BF16 = quantized("cast --dtype bf16", F32), F16 = quantized("cast --dtype f16", F32);

/** By qstore-gguf: a file, made of a folder or of another such file; or, in shards, a folder. */
function gguf(type, from = F32, options = "--pure") {
	return {
		name: nameOf("gguf", type, options, from.name), from, file: options.includes("--shards") ? undefined : "model.gguf",
		make: (source, to) => {
			mkdirSync(to);
			native("qstore-gguf", ...words(options), type, source, join(to, "model.gguf"));
		},
	};
}

/** By qstore-onnx: a folder of several precisions. */
function onnx(precisions, options = "") {
	return {
		name: nameOf("onnx", precisions, options), from: F32,
		make: (source, to) => native("qstore-onnx", "--precisions", precisions, ...words(options), source, "-o", to),
	};
}

/** One file of a folder of ONNX models; its external data beside it. */
function onnxFile(folder, file) {
	return {
		name: nameOf(file, folder.name), from: folder, file: `${file}.onnx`,
		make: (source, to) => {
			mkdirSync(to);
			for (const name of [`${file}.onnx`, `${file}.onnx_data`].filter((each) => existsSync(join(source, "onnx", each))))
				copyFileSync(join(source, "onnx", name), join(to, name));
		},
	};
}

/**
 * Makes a variant below a folder, unless it is there: a path.
 * @param {string} folder where the model that all come from is, as "fp32"
 * @param {Variant} variant
 */
export function make(folder, variant) {
	const to = join(folder, variant.name);
	if (!existsSync(to))
		variant.make(make(folder, variant.from), to);
	return variant.file ? join(to, variant.file) : to;
}

/** The arguments that qstore-pack takes for a row. */
export function packArguments(folder, row) {
	const [high, ...low] = row.variants.map((variant) => make(folder, variant));
	return [high, ...low.flatMap((path) => ["--low", path]), ...row.alone ? ["--quantize", "none"] : [],
		...row.from ? ["--from", row.from] : [], ...row.base ? ["--base", make(folder, row.base)] : []];
}

/**
 * A row.
 * @typedef {object} Row
 * @property {string} name
 * @property {Variant[]} variants from fine to coarse
 * @property {string[]} [rules] that may be found for its codes
 * @property {number} [exceptions] the largest share of weights that their rules do not explain; without it, none
 * @property {number} [pairs] matrices of 16-bit floats that are coded given codes
 * @property {boolean} [alone] one model, as it is
 * @property {string} [from] the variant that the finest is coded from, when it is not the next coarser one
 * @property {Variant} [base] an earlier version, which the archive is made against
 * @property {number} [share] of what the variants take apart that the archive may have at most, when few of its matrices are paired
 * @property {boolean} [slow] much like another row: not in the fast tests
 */

const LINEAR = 7; // matrices of the models' one layer

/** ggml's types: the rule, and the share of weights that it does not explain, since d is rounded, or a value clamped. */
const BLOCKS = {
	q8_0: ["q8_0", 0], q4_0: ["q4_0", 0], q4_1: ["q4_1", 0, 0.002], q5_0: ["q5_0", 0], q5_1: ["q5_1", 0, 0.004],
	q4_k_s: ["q4_k", 2e-4], q5_k_s: ["q5_k", 2e-4], q6_k: ["q6_k", 2e-4],
};

/** Rows that are much like another one. */
const ALIKE =
	/Q5_|in 32 bits|asymmetric, packed|^GGUF F|^FP16 \||one group|8 bits, a|GPTQ 4 bits, asymmetric|groups of|(row|tensor), asymmetric|searched scales, |version 2, asymmetric|reciprocal|^ONNX (FP32 \| u?int8|FP16 \| int8)|^ONNX FP32 \| Q4.*(128|asym|ext)|ONNX.*(external|reduced)|^ONNX FP16.*128/;

/** @returns {Row[]} */
function ggufRows() {
	return ["bf16", "f16", "f32"].flatMap((high) => Object.entries(BLOCKS).map(([type, [rule, share, inF16 = share]]) => ({
		name: `GGUF ${high.toUpperCase()} | ${rule.toUpperCase()}`, variants: [gguf(high), gguf(type, gguf(high))], pairs: LINEAR + 2,
		// Codes of an FP32 model say what its cast to BF16 was rounded from.
		...high === "f32" ? { rules: [rule === "q8_0" ? "q8_0 (stored d)" : rule], exceptions: rule === "q8_0" ? 0.06 : 0.012 } :
			{ rules: [rule], exceptions: high === "f16" ? inF16 : share },
	})));
}

const GPTQ = ["divide", "multiply", "divide-half"], ROUND = ["divide", "multiply"]; // which one is chance where none is exact, or all are

/** Quantizers of a model in 16 bits: what they are called, their options, rules, and the share of exceptions under BF16 and under FP16. */
const QUANTIZERS = [
	["LLM.int8", "llm.int8", ["llm.int8"]],
	["LLM.int8, a GPU's division", "llm.int8 --ulps 2", ["llm.int8"], 2e-4, 2e-4],
	["torchao", "torchao", ROUND],
	["compressed-tensors", "compressed-tensors", GPTQ],
	["compressed-tensors, groups of 128", "compressed-tensors --group 128", GPTQ],
	// The zero point is added, and the sum rounded, in 16 bits; or, by the library's Triton kernel, in 32.
	["compressed-tensors, asymmetric", "compressed-tensors --asymmetric", ["add-half"]],
	["compressed-tensors, asymmetric, in 32 bits", "compressed-tensors --asymmetric --single",
		["add", "divide"]] /* FP16 values are seldom between the two */,
	["compressed-tensors, asymmetric, packed, 8 bits", "compressed-tensors --asymmetric --packed", ["add-half"]],
	["compressed-tensors, packed, 8 bits", "compressed-tensors --packed", GPTQ],
	// The largest values are clamped to the 15th code.
	["compressed-tensors, packed, 4 bits", "compressed-tensors --packed --bits 4 --group 128", ["add-half-4"]],
	["compressed-tensors, packed, 4 bits, in 32 bits", "compressed-tensors --packed --bits 4 --group 128 --single", ["add-4"]],
	// Zero points are packed along the rows; they were once taken for none.
	["compressed-tensors, packed, 4 bits, asymmetric", "compressed-tensors --packed --bits 4 --group 128 --asymmetric", ["add-half-4"]],
	["compressed-tensors after GPTQ", "compressed-tensors --feedback", GPTQ, 0.3, 0.3],
	["compressed-tensors after SmoothQuant", "compressed-tensors --smooth", GPTQ, 0, 0.0005],
	["round by row, after SmoothQuant", "round --smooth", ROUND, 0, 0.0005],
	["round by tensor, after SmoothQuant", "round --smooth --per tensor", ROUND, 0, 0.0005],
	["LLM.int8 after SmoothQuant", "llm.int8 --smooth", ["llm.int8"], 0, 0.0005],
	// Once refused: "both are bf16". Products are rounded to BF16 by the generator, and to FP16 by what quantizes them.
	["AWQ", "awq", GPTQ, 0.003, 0.003],
	["GPTQ 8 bits", "gptq", GPTQ, 0.35, 0.35],
	["GPTQ 4 bits", "gptq --bits 4", GPTQ, 0.35, 0.35],
	["GPTQ 8 bits, act-order", "gptq --act-order", GPTQ, 0.35, 0.35],
	["GPTQ 4 bits, act-order", "gptq --bits 4 --act-order", GPTQ, 0.35, 0.35],
	["GPTQ 8 bits, asymmetric", "gptq --asymmetric", GPTQ, 0.35, 0.35],
	["GPTQ 4 bits, asymmetric", "gptq --bits 4 --asymmetric", GPTQ, 0.35, 0.35],
	["GPTQ 8 bits, one group", "gptq --group 0", GPTQ, 0.35, 0.35],
	["GPTQ 4 bits, one group", "gptq --bits 4 --group 0", GPTQ, 0.35, 0.35],
	["GPTQ 4 bits, static groups", "gptq --bits 4 --act-order --static-groups", GPTQ, 0.35, 0.35],
	["GPTQ 4 bits, searched scales", "gptq --bits 4 --search", GPTQ, 0.35, 0.35],
	["GPTQ 8 bits, searched scales, asymmetric", "gptq --search --asymmetric --group 32", GPTQ, 0.35, 0.35],
	["GPTQ 4 bits, version 2", "gptq --bits 4 --v2", GPTQ, 0.35, 0.35],
	["GPTQ 8 bits, version 2, asymmetric", "gptq --v2 --asymmetric --act-order", GPTQ, 0.35, 0.35],
	["round, by row", "round", ROUND],
	["round, by column", "round --per column", ROUND],
	["round, by tensor", "round --per tensor", ROUND],
	["round, groups of 64", "round --group 64", ROUND],
	["round, by row, asymmetric", "round --asymmetric", ROUND],
	["round, by column, asymmetric", "round --per column --asymmetric", ROUND],
	["round, by tensor, asymmetric", "round --per tensor --asymmetric", ROUND],
	["round, groups of 64, asymmetric", "round --group 64 --asymmetric", ROUND],
	["round, by the reciprocal", "round --multiply", ROUND],
];

function quantizerRows() {
	return [[BF16, "BF16", 3], [F16, "FP16", 4]].flatMap(([high, name, share]) => [
		...QUANTIZERS.map((quantizer) => ({
			name: `${name} | ${quantizer[0]}`, variants: [high, quantized(quantizer[1], high)], rules: quantizer[2],
			exceptions: quantizer[share] ?? 0, pairs: LINEAR,
		})),
	]);
}

function onnxRows() {
	const options = [["by tensor", ""], ["by channel", "--per-channel"], ["reduced range", "--reduce-range"],
		["external data", "--external"]];
	return options.flatMap(([text, option]) => [["int8", "int8"], ["uint8", "uint8"]].flatMap(([low, lowFile]) =>
		[["FP32", "model"], ["FP16", "model_fp16"]].map(([name, file]) => {
		const folder = onnx("fp32,fp16,int8,uint8", option);
		return {
			name: `ONNX ${name} | ${low}, ${text}`, variants: [onnxFile(folder, file), onnxFile(folder, `model_${lowFile}`)],
				rules: ["divide"],
			// Codes are made of FP32, and say what their cast to 16 bits was rounded from.
			exceptions: name === "FP32" ? 0.05 : 0.006, pairs: LINEAR + 2,
		};
	})));
}

const ZEROS = [...ROUND, "add", "add-4"]; // zero points may be added before rounding

/** MatMulNBits: symmetric codes are made as ggml's Q4_0. */
function bitsRows() {
	const options = [["blocks of 32", "", ["q4_0"]], ["blocks of 128", "--block 128", ["q4_0"]], ["asymmetric", "--asymmetric", ZEROS],
		["external data", "--external", ["q4_0"]]];
	return options.flatMap(([text, option, rules]) => [["FP32", "", "q4"], ["FP16", "_fp16", "q4f16"]].map(([name, suffix, low]) => {
		const folder = onnx("fp32,fp16,q4,q4f16", option);
		return {
			name: `ONNX ${name} | ${low.toUpperCase()}, ${text}`,
				variants: [onnxFile(folder, `model${suffix}`), onnxFile(folder, `model_${low}`)], rules,
			// Scales in FP16 are those of the weights' cast; those in FP32 say what it was rounded from.
			exceptions: name === "FP32" ? 0.008 : 0.002, pairs: LINEAR + 1,
		};
	}));
}

const GPTQ8 = quantized("gptq"), GPTQ4 = quantized("gptq --bits 4");

/** @type {Row[]} */
const rows = [
	...ggufRows(),
	{ name: "GGUF BF16 | Q4_K and Q6_K", variants: [gguf("bf16"), gguf("q4_k_m", gguf("bf16"), "")], rules: ["q4_k", "q6_k"],
		exceptions: 2e-4, pairs: LINEAR + 2 },
	// Q4_0's scales are fitted to codes that another scale gave.
	...[["q4_0", ["q4_0"], 0.006], ["q4_k_s", ["q4_k"], 0.003], ["q6_k", ["q6_k"], 0.003]].map(([type, rules, exceptions]) => ({
		name: `GGUF BF16 | ${rules[0].toUpperCase()}, with an importance matrix`,
			variants: [gguf("bf16"), gguf(type, gguf("bf16"), "--pure --imatrix")], rules, exceptions, pairs: LINEAR + 2,
	})),
	{ name: "GGUF BF16 | Q8_0, version 2, aligned by 64", variants: [gguf("bf16", F32, "--version 2 --alignment 64"),
		gguf("q8_0", gguf("bf16", F32, "--version 2 --alignment 64"), "--pure --version 2 --alignment 64")], rules: ["q8_0"],
			pairs: LINEAR + 2 },
	{ name: "GGUF BF16 | Q8_0, in three files each", variants: [gguf("bf16", F32, "--shards 3"),
		gguf("q8_0", gguf("bf16"), "--pure --shards 3")], rules: ["q8_0"], pairs: LINEAR + 2 },
	{ name: "GGUF BF16 | Q8_0 | Q4_0", variants: [gguf("bf16"), gguf("q8_0", gguf("bf16")), gguf("q4_0", gguf("bf16"))], rules: ["q8_0"],
		pairs: LINEAR + 2 },
	...quantizerRows(),
	...onnxRows(),
	...bitsRows(),
	{ name: "ONNX, a folder of FP32, FP16, Q4, Q4F16", variants: [onnx("fp32,fp16,q4,q4f16")], rules: ["q4_0"], exceptions: 0.002,
		pairs: LINEAR + 1 },
	{ name: "ONNX, a folder of FP16, INT8, Q4F16", variants: [onnx("fp16,int8,q4f16")], rules: ["divide"], exceptions: 0.006,
		pairs: LINEAR + 1 },
	{ name: "ONNX, a folder of FP32, FP16, INT8", variants: [onnx("fp32,fp16,q8")], rules: ["divide"], exceptions: 0.006,
		pairs: LINEAR + 2 },
	{ name: "ONNX, a folder of five, external data", variants: [onnx("fp32,fp16,int8,uint8,q8", "--external --per-channel")],
		rules: ["divide"], exceptions: 0.006, pairs: LINEAR + 2 },
	{ name: "FP32 | BF16", variants: [F32, BF16] },
	{ name: "FP32 | FP16", variants: [F32, F16] },
	{ name: "FP32 | BF16 | LLM.int8", variants: [F32, BF16, quantized("llm.int8")], rules: ["llm.int8"], pairs: LINEAR },
	{ name: "FP32 | LLM.int8", variants: [F32, quantized("llm.int8")], rules: ["llm.int8"], pairs: LINEAR },
	{ name: "FP32 | round, by row", variants: [F32, quantized("round", F32)], rules: ["divide"], exceptions: 0.045, pairs: LINEAR },
	{ name: "BF16 | GPTQ 8 bits | GPTQ 4 bits", variants: [BF16, GPTQ8, GPTQ4], rules: GPTQ, exceptions: 0.35, pairs: LINEAR },
	{ name: "BF16 | GPTQ 8 bits | GPTQ 4 bits, BF16 from 4 bits", variants: [BF16, GPTQ8, GPTQ4], from: "int4", rules: GPTQ,
		exceptions: 0.35, pairs: LINEAR },
	{ name: "GPTQ 8 bits | GPTQ 4 bits", variants: [GPTQ8, GPTQ4] },
	{ name: "GPTQ 8 bits | GPTQ 4 bits, version 2", variants: [quantized("gptq --v2"), quantized("gptq --bits 4 --v2")] },
	{ name: "GPTQ 8 bits | GPTQ 4 bits, version 2, asymmetric",
		variants: [quantized("gptq --v2 --asymmetric"), quantized("gptq --bits 4 --v2 --asymmetric")] },
	{ name: "GPTQ 8 bits | GPTQ 4 bits, asymmetric", variants: [quantized("gptq --asymmetric"), quantized("gptq --bits 4 --asymmetric")] },
	{ name: "FP32 | BF16 | GPTQ 8 bits | GPTQ 4 bits", variants: [F32, BF16, GPTQ8, GPTQ4], rules: GPTQ, exceptions: 0.35, pairs: LINEAR },
	{ name: "round 8 bits | compressed-tensors 4 bits", variants: [quantized("round"),
		quantized("compressed-tensors --packed --bits 4 --group 128")] },
	{ name: "BF16, finetuned, against its base", variants: [quantized("finetune")], base: BF16 },
	{ name: "FP32 alone", variants: [F32], alone: true },
	{ name: "BF16 alone", variants: [BF16], alone: true },
	{ name: "FP16 alone", variants: [F16], alone: true },
	{ name: "FP8 E4M3 alone", variants: [quantized("cast --dtype f8_e4m3", F32)], alone: true },
	{ name: "FP8 E5M2 alone", variants: [quantized("cast --dtype f8_e5m2", F32)], alone: true },
];

const ODD_ONNX = onnx("fp32,fp16,q4,q4f16", "--block 16 --asymmetric");

/** Rows of a model whose sizes are no multiples of 32, so that last groups are smaller. @type {Row[]} */
export const ODD_ROWS = [
	// Blocks that are padded are not modelled; one matrix has whole ones, an odd number of them in a row, so that zero points are padded.
	{ name: "ONNX FP16 | Q4F16, asymmetric, odd sizes", variants: [onnxFile(ODD_ONNX, "model_fp16"), onnxFile(ODD_ONNX, "model_q4f16")],
		rules: ZEROS, exceptions: 0.002, pairs: 1, share: 1 },
	...[
		["GPTQ 4 bits", "gptq --bits 4 --group 64"],
		["GPTQ 4 bits, version 2, act-order, asymmetric", "gptq --bits 4 --v2 --act-order --asymmetric --group 32"],
		["GPTQ 8 bits, static groups", "gptq --group 32 --act-order --static-groups"],
		["compressed-tensors, packed, 4 bits", "compressed-tensors --packed --bits 4 --group 8"],
	].map(([name, options]) => ({ name: `BF16 | ${name}, odd sizes`, variants: [BF16, quantized(options)], rules: [...GPTQ, "add-half-4"],
		exceptions: 0.4, pairs: LINEAR })),
];

export const ROWS = rows.map((row) => ({ ...row, slow: ALIKE.test(row.name) }));
