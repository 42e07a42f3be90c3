// A small Llama of noise in GGUF v3, in BF16 and in Q8_0 made of it. Layout: ggml's docs/gguf.md; keys and tensor names: llama.cpp's
// constants of the architecture "llama".
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { take, toBf16, toHalf, weights } from "./numbers.mjs";

const WIDTH = 256, INNER = 768, LAYERS = 4, HEADS = 4, CONTEXT = 256;
const ALIGNMENT = 32, F32 = 0, Q8_0 = 8, BF16 = 30;
/** Types of metadata. */
const U32 = 4, I32 = 5, FLOAT = 6, BOOL = 7, STRING = 8, ARRAY = 9;

const SYLLABLES = ["ba", "de", "ki", "lo", "mu", "na", "ri", "so", "ta"];
const WORDS = [...SYLLABLES, ...SYLLABLES.flatMap((a) => SYLLABLES.flatMap((b) => SYLLABLES.map((c) => a + b + c))), "\u2581", "\u2581once",
	"\u2581upon"];

/** Writes model-bf16.gguf and model-q8_0.gguf into the folder; gives their names, coarse first. chat: a template, for a model that
 * chats. */
export function writeLlama(folder, { seed = 1, chat } = {}) {
	const source = weights(seed, 8), vocabulary = vocabularyOf();
	const matrix = (name, columns, rows) => ({ name, dims: [columns, rows], values: take(source, columns * rows) });
	const norm = (name) => ({ name, dims: [WIDTH], values: Float32Array.from(take(source, WIDTH), (value) => 1 + value) });
	const tensors = [matrix("token_embd.weight", WIDTH, vocabulary.length)];
	for (let i = 0; i < LAYERS; i++) {
		const at = (name) => `blk.${i}.${name}.weight`;
		tensors.push(norm(at("attn_norm")), ...["attn_q", "attn_k", "attn_v", "attn_output"].map((name) => matrix(at(name), WIDTH, WIDTH)),
			norm(at("ffn_norm")), matrix(at("ffn_gate"), WIDTH, INNER), matrix(at("ffn_up"), WIDTH, INNER),
				matrix(at("ffn_down"), INNER, WIDTH));
	}
	const output = matrix("output.weight", WIDTH, vocabulary.length);
	// No byte is ever the likeliest token: what is said is then UTF-8.
	output.values.fill(0, 0, WIDTH * vocabulary.findIndex(([word]) => word === WORDS[0]));
	tensors.push(norm("output_norm.weight"), output);
	const names = { 7: "model-q8_0.gguf", 32: "model-bf16.gguf" };
	for (const [fileType, name] of Object.entries(names))
		writeFileSync(join(folder, name), gguf(metadata(vocabulary, Number(fileType), chat), tensors,
			name === "model-bf16.gguf" ? BF16 : Q8_0));
	return Object.values(names);
}

/** SentencePiece's: three special tokens, all bytes, then words. */
function vocabularyOf() {
	const bytes = Array.from({ length: 256 }, (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`, 0, 6]);
	return [["<unk>", 0, 2], ["<s>", 0, 3], ["</s>", 0, 3], ...bytes, ...WORDS.map((word, i) => [word, -i, 1])];
}

function metadata(vocabulary, fileType, chat) {
	const column = (i) => vocabulary.map((row) => row[i]);
	return [
		["general.architecture", STRING, "llama"], ["general.name", STRING, "noise"], ["general.file_type", U32, fileType],
		["general.alignment", U32, ALIGNMENT],
		["llama.context_length", U32, CONTEXT], ["llama.embedding_length", U32, WIDTH], ["llama.block_count", U32, LAYERS],
		["llama.feed_forward_length", U32, INNER], ["llama.attention.head_count", U32, HEADS],
			["llama.attention.head_count_kv", U32, HEADS],
		["llama.attention.layer_norm_rms_epsilon", FLOAT, 1e-5], ["llama.rope.dimension_count", U32, WIDTH / HEADS],
		["llama.vocab_size", U32, vocabulary.length],
		["tokenizer.ggml.model", STRING, "llama"], ["tokenizer.ggml.tokens", ARRAY, [STRING, column(0)]],
		["tokenizer.ggml.scores", ARRAY, [FLOAT, column(1)]], ["tokenizer.ggml.token_type", ARRAY, [I32, column(2)]],
		["tokenizer.ggml.bos_token_id", U32, 1], ["tokenizer.ggml.eos_token_id", U32, 2], ["tokenizer.ggml.unknown_token_id", U32, 0],
		["tokenizer.ggml.add_bos_token", BOOL, true], ...chat ? [["tokenizer.chat_template", STRING, chat]] : [],
	];
}

function value(type, content) {
	const out = Buffer.alloc(type === BOOL ? 1 : 4);
	switch (type) {
	case U32: out.writeUInt32LE(content); return out;
	case I32: out.writeInt32LE(content); return out;
	case FLOAT: out.writeFloatLE(content); return out;
	case BOOL: out.writeUInt8(content ? 1 : 0); return out;
	case STRING: return Buffer.concat([u64(Buffer.byteLength(content)), Buffer.from(content)]);
	default: return Buffer.concat([value(U32, content[0]), u64(content[1].length), ...content[1].map((each) => value(content[0], each))]);
	}
}

function u64(number) {
	const out = Buffer.alloc(8);
	out.writeBigUInt64LE(BigInt(number));
	return out;
}

const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc((ALIGNMENT - bytes.length % ALIGNMENT) % ALIGNMENT)]);

function gguf(entries, tensors, matrixType) {
	let offset = 0;
	const infos = [], data = [];
	for (const { name, dims, values } of tensors) {
		const type = dims.length === 1 ? F32 : matrixType;
		const bytes = type === F32 ? values : type === BF16 ? toBf16(values) : quantize(values);
		const block = padded(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
		infos.push(Buffer.concat([value(STRING, name), value(U32, dims.length), ...dims.map(u64), value(U32, type), u64(offset)]));
		data.push(block);
		offset += block.length;
	}
	const keys = entries.map(([key, type, content]) => Buffer.concat([value(STRING, key), value(U32, type), value(type, content)]));
	return Buffer.concat([padded(Buffer.concat([Buffer.from("GGUF"), value(U32, 3), u64(tensors.length), u64(entries.length), ...keys,
		...infos])), ...data]);
}

/**
 * Q8_0 as ggml's reference makes it (ggml-quants.c, quantize_row_q8_0_ref): blocks of 32, d = amax / 127 in FP32 and stored in FP16, codes
 * by
 * the inverse of the d that is not rounded to FP16, halves away from zero.
 */
function quantize(values) {
	const out = Buffer.alloc(values.length / 32 * 34);
	for (let block = 0; block < values.length / 32; block++) {
		const part = values.subarray(block * 32, block * 32 + 32), peak = part.reduce((max, each) => Math.max(max, Math.abs(each)), 0);
		const d = Math.fround(peak / 127), inverse = d ? Math.fround(1 / d) : 0;
		out.writeUInt16LE(toHalf([d])[0], block * 34);
		part.forEach((each, i) => {
			const scaled = Math.fround(each * inverse);
			out.writeInt8(Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5), block * 34 + 2 + i);
		});
	}
	return out;
}
