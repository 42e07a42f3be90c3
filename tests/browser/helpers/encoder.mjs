// A small text encoder as transformers.js takes it, in FP16 and in ONNX's dynamic INT8: a folder of config.json, tokenizer and onnx/.
// Its weights are noise; it computes the same wherever it runs.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { roundEven, take, toHalf, weights } from "./numbers.mjs";
import { TYPES, onnxModel } from "./onnx.mjs";

const WIDTH = 256, INNER = 1024;
const WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "archive", "holds", "a", "model", "at", "several", "precisions",
	"losslessly", "coarse", "first"];
/** Rows of the embedding: more than the words that are named, so that there is something to load. */
const VOCABULARY = 4000;

function makeWeights(dims, source) {
	return { dims, values: take(source, dims[0] * dims[1]) };
}

/**
 * ONNX Runtime's dynamic quantization to symmetric INT8, one scale for all (quant_utils.py: compute_scale_zp, quantize_nparray):
 * the scale in double precision, cast to FP32; codes by division in FP32, halves to even.
 */
function quantize(values) {
	const peak = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
	const scale = Math.fround((peak - -peak) / 254);
	return { scale, codes: Int8Array.from(values, (value) => Math.max(-128, Math.min(127, roundEven(Math.fround(value / scale))))) };
}

/** Writes the folder; gives its path. external: with the weights in files beside the models (model_fp16.onnx_data …). */
export function writeEncoder(folder, { seed = 1, external = false } = {}) {
	const source = weights(seed, 11);
	const embedding = makeWeights([VOCABULARY, WIDTH], source);
	const layers = [makeWeights([WIDTH, INNER], source), makeWeights([INNER, WIDTH], source)];
	mkdirSync(join(folder, "onnx"), { recursive: true });
	const write = (name, data) => writeFileSync(join(folder, name), typeof data === "object" && !Buffer.isBuffer(data) ?
		JSON.stringify(data, null, "\t") : data);
	for (const [name, make] of [["model_fp16.onnx", halfModel], ["model_quantized.onnx", quantizedModel]]) {
		const [model, data] = make(embedding, layers, external ? `${name}_data` : undefined);
		write(`onnx/${name}`, model);
		if (external)
			write(`onnx/${name}_data`, data);
	}
	write("config.json", {
		architectures: ["BertModel"], model_type: "bert", hidden_size: WIDTH, intermediate_size: INNER, num_attention_heads: 4,
		num_hidden_layers: 1, vocab_size: VOCABULARY, max_position_embeddings: 128, pad_token_id: 0,
	});
	const special = (id) => ({ id, content: WORDS[id], single_word: false, lstrip: false, rstrip: false, normalized: false,
		special: true });
	write("tokenizer.json", {
		version: "1.0", truncation: null, padding: null, added_tokens: [0, 1, 2, 3].map(special),
		normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
		pre_tokenizer: { type: "BertPreTokenizer" },
		post_processor: {
			type: "TemplateProcessing",
			single: [{ SpecialToken: { id: "[CLS]", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } },
				{ SpecialToken: { id: "[SEP]", type_id: 0 } }],
			pair: [],
			special_tokens: Object.fromEntries([2, 3].map((id) => [WORDS[id], { id: WORDS[id], ids: [id], tokens: [WORDS[id]] }])),
		},
		decoder: { type: "WordPiece", prefix: "##", cleanup: true },
		model: {
			type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100,
			vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
		},
	});
	write("tokenizer_config.json", {
		tokenizer_class: "BertTokenizer", model_max_length: 128, pad_token: "[PAD]", unk_token: "[UNK]", cls_token: "[CLS]",
			sep_token: "[SEP]",
	});
	return folder;
}

const INPUTS = ["input_ids", "attention_mask", "token_type_ids"].map((name) => [name, TYPES.INT64, ["batch", "tokens"]]);
const OUTPUTS = [["last_hidden_state", TYPES.FLOAT, ["batch", "tokens", WIDTH]]];

function halfModel(embedding, layers, location) {
	const initializers = [["embedding", embedding], ["up", layers[0]], ["down", layers[1]]].map(([name, { dims, values }]) =>
		({ name, type: TYPES.FLOAT16, dims, data: toHalf(values), external: location !== undefined }));
	return onnxModel({
		nodes: [
			["Gather", ["embedding", "input_ids"], ["x16"]],
			["MatMul", ["x16", "up"], ["u16"]],
			["Tanh", ["u16"], ["t16"]],
			["MatMul", ["t16", "down"], ["d16"]],
			["Add", ["x16", "d16"], ["y16"]],
			["Cast", ["y16"], ["last_hidden_state"], { to: TYPES.FLOAT }],
		],
		initializers, inputs: INPUTS, outputs: OUTPUTS, location,
	});
}

function quantizedModel(embedding, layers, location) {
	const initializers = [["embedding", embedding], ["up", layers[0]], ["down", layers[1]]].flatMap(([name, { dims, values }]) => {
		const { scale, codes } = quantize(values);
		return [
			{ name: `${name}_quantized`, type: TYPES.INT8, dims, data: codes, external: location !== undefined },
			{ name: `${name}_scale`, type: TYPES.FLOAT, dims: [], data: Float32Array.of(scale) },
			{ name: `${name}_zero_point`, type: TYPES.INT8, dims: [], data: Int8Array.of(0) },
		];
	});
	const multiply = (x, name, y) => [
		["DynamicQuantizeLinear", [x], [`${x}_q`, `${x}_s`, `${x}_z`]],
		["MatMulInteger", [`${x}_q`, `${name}_quantized`, `${x}_z`, `${name}_zero_point`], [`${y}_i`]],
		["Cast", [`${y}_i`], [`${y}_f`], { to: TYPES.FLOAT }],
		["Mul", [`${x}_s`, `${name}_scale`], [`${y}_s`]],
		["Mul", [`${y}_f`, `${y}_s`], [y]],
	];
	return onnxModel({
		nodes: [
			["Gather", ["embedding_quantized", "input_ids"], ["xq"]],
			["DequantizeLinear", ["xq", "embedding_scale", "embedding_zero_point"], ["x"]],
			...multiply("x", "up", "u"),
			["Tanh", ["u"], ["t"]],
			...multiply("t", "down", "d"),
			["Add", ["x", "d"], ["last_hidden_state"]],
		],
		initializers, inputs: INPUTS, outputs: OUTPUTS, location,
	});
}
