// The rows of helpers/rows.mjs that rows.test.mjs leaves out, and chains of real weights, where they are.
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ROWS } from "./helpers/rows.mjs";
import { checkRow, generateModel, testRows } from "./helpers/row-checks.mjs";
import { native, temporary } from "./helpers/tools.mjs";

const folder = temporary({ after }), data = fileURLToPath(new URL("../../../shared/data/", import.meta.url));
before(() => generateModel(folder));
testRows(folder, ROWS.filter((row) => row.slow));

/** A copy of the shared model's own files, without its other precisions: as the rows' FP32. */
function realModel(name) {
	const real = join(folder, name);
	mkdirSync(join(real, "fp32"), { recursive: true });
	for (const file of ["config.json", "model.safetensors"])
		copyFileSync(join(data, name, file), join(real, "fp32", file));
	return real;
}

const STORIES = [
	"FP32 | BF16", "FP32 | BF16 | LLM.int8", "BF16 | LLM.int8", "BF16 | GPTQ 8 bits", "GPTQ 8 bits | GPTQ 4 bits",
		"BF16 | GPTQ 8 bits | GPTQ 4 bits",
	"BF16 | GPTQ 4 bits", "BF16 | GPTQ 4 bits, act-order", "BF16 | GPTQ 4 bits, static groups", "BF16 | GPTQ 4 bits, searched scales",
	"BF16 | GPTQ 8 bits, version 2, asymmetric", "GGUF BF16 | Q8_0 | Q4_0", "FP16 | LLM.int8", "FP32 alone", "BF16 alone",
];
const STORIES_PAIRS = 42;

test("stories15M", { skip: !existsSync(join(data, "stories15M-llama")) && "no shared data" }, async (t) => {
	const real = realModel("stories15M-llama");
	for (const name of STORIES) {
		const row = ROWS.find((each) => each.name === name);
		await t.test(name, async () => {
			await checkRow(real, { ...row, pairs: row.pairs && STORIES_PAIRS });
		});
	}
});

test("GGUF models in use", { skip: !existsSync(join(data, "tiny1m-llama")) && "no shared data" }, async (t) => {
	const tiny = (type) => ({ name: `tiny1m-${type}.gguf` }), real = join(data, "tiny1m-llama");
	// The quantized ones were made of the BF16 weights.
	for (const [high, low, share] of [["bf16", "q8_0", 0], ["bf16", "q4_0", 0], ["f16", "q8_0", 0.06], ["f16", "q4_0", 0.005]])
		await t.test(`${high} | ${low}`, async () => {
			await checkRow(real, { name: "", variants: [tiny(high), tiny(low)], rules: [low, `${low} (stored d)`], exceptions: share,
				pairs: 30 }, folder);
		});
});

/** A safetensors file's tensors. */
function readTensors(path) {
	const bytes = readFileSync(path), size = Number(bytes.readBigUInt64LE()),
		{ __metadata__: _, ...header } = JSON.parse(bytes.toString("utf8", 8, 8 + size));
	return Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) =>
		({ name, dtype, shape, data: bytes.subarray(8 + size + from, 8 + size + to) }));
}

function writeTensors(path, tensors) {
	let at = 0;
	const header = Object.fromEntries(tensors.map(({ name, dtype, shape, data }) =>
		[name, { dtype, shape, data_offsets: [at, at += data.length] }]));
	const text = Buffer.from(JSON.stringify(header)), size = Buffer.alloc(8);
	size.writeBigUInt64LE(BigInt(text.length));
	writeFileSync(path, Buffer.concat([size, text, ...tensors.map(({ data }) => data)]));
}

/** The same INT8 model, but with the codes that the BF16 weights have under its scales. */
function exactCodes(fine, coarse) {
	return coarse.map((tensor) => {
		const scale = coarse.find(({ name }) => name === `${tensor.name}.scale`), weights = fine.find(({ name }) => name === tensor.name);
		if (tensor.dtype !== "I8" || !scale)
			return tensor;
		const step = scale.data.readFloatLE(), data = Buffer.alloc(tensor.data.length), bits = Buffer.alloc(4);
		data.forEach((_, i) => {
			bits.writeUInt16LE(weights.data.readUInt16LE(2 * i), 2);
			const quotient = Math.fround(bits.readFloatLE() / step), below = Math.floor(quotient), over = quotient - below;
			const code = over > 0.5 || over === 0.5 && below % 2 !== 0 ? below + 1 : below;
			data.writeInt8(Math.max(-127, Math.min(127, code)), i);
		});
		return { ...tensor, data };
	});
}

test("an INT8 of FP32 beside its BF16 takes at most 2 % more than an exact pair",
	{ skip: !existsSync(join(data, "pair-dtln")) && "no shared data" }, async (t) => {
	for (const name of ["model_1", "model_2"])
		await t.test(name, () => {
			const real = join(folder, name), file = (which) => join(data, "pair-dtln", `${name}.${which}.safetensors`),
				exact = join(real, "exact.safetensors");
			mkdirSync(real);
			native("qstore-quantize", "cast", "--dtype", "bf16", file("float"), "-o", join(real, "bf16"));
			writeTensors(exact, exactCodes(readTensors(join(real, "bf16", "model.safetensors")), readTensors(file("int8"))));
			const pack = (low) => JSON.parse(native("qstore-pack", join(real, "bf16"), "--low", low, "-o", join(real, "row.qstore"), "-f",
				"--json"));
			const given = pack(file("int8")), ideal = pack(exact);
			assert.equal(ideal.exceptions, 0);
			assert.equal(ideal.pairedTensors, given.pairedTensors);
			t.diagnostic(`figures: ${name}: ${(100 * (given.pairedSize / ideal.pairedSize - 1)).toFixed(2)} % above the exact pair`);
			assert.ok(given.pairedSize < 1.02 * ideal.pairedSize, `${given.pairedSize} and ${ideal.pairedSize}`);
		});
});
