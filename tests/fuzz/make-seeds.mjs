// Makes tests/fuzz/corpus from tiny archives (tests/golden/models.mjs): what each fuzz target starts from, and what its replay in
// the normal tests runs over. Run it after the format changed; files that it does not make (found by fuzzing) stay.
//
//   node tests/fuzz/make-seeds.mjs

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { decompress } from "fzstd";
import { makeChains, models, writeModel } from "../golden/models.mjs";
import { bodyOfColumns, decodeObject, readIndex } from "../reference/decode.mjs";

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), "../..");
const corpus = path.join(root, "tests/fuzz/corpus");
const work = mkdtempSync(path.join(tmpdir(), "qstore-seeds-"));

/** @param {string} target @param {string} name @param {Uint8Array} bytes */
function seed(target, name, bytes) {
	mkdirSync(path.join(corpus, target), { recursive: true });
	writeFileSync(path.join(corpus, target, name), bytes);
}

/** @param {number} value */
const u64 = (value) => {
	const b = Buffer.alloc(8);
	b.writeBigUInt64LE(BigInt(value));
	return b;
};

/** @param {number} value */
const u16 = (value) => Buffer.from([value & 255, value >> 8]);

/** Index bodies, their headers, and archives whose index is not compressed, so that the fuzzer sees its fields.
 * @param {string} name @param {Buffer} archive */
function seedArchive(name, archive) {
	const header = archive.subarray(512, 576);
	const codedSize = Number(header.readBigUInt64LE(16));
	const coded = archive.subarray(576, 576 + codedSize);
	const columns = header[12] & 1 ? decompress(coded) : undefined;
	const body = columns ? bodyOfColumns(columns) : coded;
	const payload = archive.subarray(Math.ceil((576 + codedSize) / 512) * 512);
	const plain = Buffer.from(header);
	plain[12] = 0;
	plain.writeBigUInt64LE(BigInt(body.length), 16);
	const start = Buffer.concat([archive.subarray(0, 512), plain, body]);
	const padding = Buffer.alloc((512 - (start.length % 512)) % 512);
	seed("fuzz_archive", name, Buffer.concat([start, padding, payload]));
	seed("fuzz_index", `${name}-header`, Buffer.concat([Buffer.from([0]), header]));
	seed("fuzz_index", `${name}-body`, Buffer.concat([Buffer.from([3]), u64(payload.length), body]));
	if (columns) seed("fuzz_index", `${name}-columns`, Buffer.concat([Buffer.from([2]), columns]));
}

/** How tests/fuzz/fuzz_chunk.c has a grid with a scale a row, or one for all. @param {any} codes @param {any} scales
 * @param {Uint8Array} bytes of these */
function gridBytes(codes, scales, bytes) {
	const flags = ([12, 8, 9].indexOf(scales.dtype) << 1) | (Number(codes.rowStride === 0) << 5);
	const padded = Buffer.alloc(16);
	padded.set(bytes);
	return Buffer.concat([Buffer.from([codes.rule - 1, flags, codes.zeroOffset & 255]), padded]);
}

/** The smallest chunk of each kind, dtype and mode that fuzz_chunk can describe. @param {string} name @param {Buffer} archive */
async function seedChunks(name, archive) {
	const index = await readIndex(archive);
	/** @type {Uint8Array[]} */
	const decoded = [];
	/** @type {Map<string, Buffer>} */
	const best = new Map();
	for (const object of index.objects) {
		const bytes = await decodeObject(index, object, decoded);
		decoded.push(bytes);
		if (object.kind > 2 || (object.kind === 1 && object.coarse !== 0xffffffff) || object.nChunks !== 1 || object.elements >= 20000 ||
			object.columns > 65536) continue;
		const coded = index.payload.subarray(object.offset, object.offset + object.codedSize);
		const head = [
			Buffer.from([object.kind, object.kind === 2 || object.kind === 1 ? Number(object.dtype === 9 || object.dtype === 2) :
				object.dtype]),
			u16(object.elements),
			u16(object.columns - 1),
			u16(0),
		];
		if (object.kind === 2) {
			if (object.elements > 255 || object.elements > 4 * object.columns) continue;
			const codes = index.objects[object.coarse];
			const scales = index.objects[codes.scales];
			if (object.scales !== 0xffffffff || codes.rule > 4 || codes.dtype !== 3 || codes.group < codes.columns ||
				codes.zeroPoints !== 0xffffffff) continue;
			if (decoded[codes.scales].length > 16) continue;
			head.push(Buffer.from([object.elements]), Buffer.from(decoded[object.coarse]), gridBytes(codes, scales, decoded[codes.scales]));
		}
		const made = Buffer.concat([...head, coded]);
		const values = Buffer.concat([...head, bytes]);
		values[0] |= 128;
		for (const [key, chunk] of /** @type {const} */ ([
			[`decode-${object.kind}-${object.dtype}-${coded[0]}`, made],
			[`encode-${object.kind}-${object.dtype}`, values],
		])) {
			const known = best.get(key);
			if (chunk.length < 4096 && (!known || known.length > chunk.length)) best.set(key, chunk);
		}
	}
	for (const [key, chunk] of best) seed("fuzz_chunk", `${name}-${key}`, chunk);
}

/** Values to encode, of refinements and of recoded codes, under every rule and every shape of a grid. */
function seedGrids() {
	const rows = 2, scales = Buffer.alloc(16);
	for (let i = 0; i < 8; i++) scales.writeUInt16LE(0x2c00 + 37 * i, 2 * i); // FP16 of 1/16 and more; of other types, small numbers
	const bytes = (/** @type {number} */ n, /** @type {number} */ step) => Buffer.from({ length: n }, () => 0)
		.map((_, i) => (i * step) % 251);
	for (let rule = 1; rule <= 17; rule++) {
		const levels = [16, 32, 16, 32, 16, 32, 64, 256, 16, 256, 16][rule - 7] ?? 256, isK = rule > 10 && rule < 14,
			isUnsigned = rule >= 7 ? 1 : rule % 2;
		const columns = isK ? 256 : 64;
		for (const shape of rule < 5 || rule > 13 ? [0, 1, 2, 3, 4, 8, 16] : [0]) {
			// Shapes above 4 are flags: zero points, an order.
			const flags = isUnsigned | (1 << 1) | (shape > 4 ? shape : shape << 5),
				grid = [Buffer.from([rule - 1, flags, isUnsigned * 3]), scales];
			const head = [u16(rows * columns), u16(columns - 1), u16(0)];
			const coarse = bytes(rows * columns > 255 ? 255 : rows * columns, 7).map((b) => b % levels), values = bytes(4 * columns, 13);
			seed("fuzz_chunk", `grid-${rule}-${shape}-refine`,
				Buffer.concat([Buffer.from([2 | 128, rule % 2]), ...head, Buffer.from([coarse.length]), coarse, ...grid, values]));
			// Column factors: of FP16, of BF16.
			for (const dtype of rule < 5 && (shape < 2 || shape > 4) ? [2, 6] : [])
				seed("fuzz_chunk", `factors-${rule}-${shape}-${dtype}`,
					Buffer.concat([Buffer.from([2 | 128, dtype | rule % 2]), ...head, Buffer.from([coarse.length]), coarse, ...grid,
					...[0x3c00, 0x3a66, 0x3e11, 0xbc00].map(u16), values]));
			const own = bytes(rows * columns, 5).map((b) => b % levels);
			seed("fuzz_chunk", `grid-${rule}-${shape}-recoded`,
				Buffer.concat([Buffer.from([1 | 64 | 128, isUnsigned]), ...head, Buffer.from([coarse.length]), coarse, ...grid, ...grid,
					own]));
		}
	}
}

/** Headers of safetensors, good and bad: a byte, then the JSON and the data. @param {string} name @param {string} json @param {number}
 * size */
function seedSafetensors(name, json, size) {
	seed("fuzz_safetensors", name, Buffer.concat([Buffer.from([0]), Buffer.from(json), Buffer.alloc(size, "x")]));
}

seedSafetensors(
	"good",
	'{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}',
	16,
);
seedSafetensors("empty", "{}", 0);
seedSafetensors(
	"overlap",
	'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
	8,
);
seedSafetensors("beyond", '{"a":{"dtype":"U8","shape":[99],"data_offsets":[0,99]}}', 8);
seedSafetensors(
	"twice",
	'{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}}',
	2,
);
seedSafetensors(
	"repeated",
	'{"__metadata__":{"a":"1","a":"2"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"\\u0061":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}',
	2,
);
seedSafetensors(
	"metadata",
	' {"__metadata__" : null, "\\ud83d\\ude00\\n\\"é" : {"x":[-0.5e+3,true,{"y":[]}],"dtype":"U8","shape":[1,2],"data_offsets":[0,2]} } ',
	2,
);
seedSafetensors(
	"dtypes",
	'{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},"b":{"dtype":"F6_E2M3","shape":[2,2],"data_offsets":[2,5]},' +
		'"c":{"dtype":"F8_E4M3FNUZ","shape":[],"data_offsets":[5,6]},"d":{"dtype":"Q3","shape":[8],"data_offsets":[6,9]}}',
	9,
);
seedSafetensors("large", '{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,18446744073709551615]}}', 8);
seedSafetensors(
	"names",
	'{"é\\u0000\\ud800\\"":{"dtype":"BOOL","shape":[0],"data_offsets":[0,0]},"":{"dtype":"F4","shape":[-1],"data_offsets":[1,0]}}',
	1,
);

/** @param {number} value */
const u32 = (value) => Buffer.from([value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24]);

/** @param {string} text */
const ggufText = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);

/** GGUF files, good and bad. @param {string} name @param {Buffer[]} entries @param {Buffer[]} infos @param {number} size of the data */
function seedGguf(name, entries, infos, size, version = 3) {
	const header = Buffer.concat([Buffer.from("GGUF"), u32(version), u64(infos.length), u64(entries.length), ...entries, ...infos]);
	seed("fuzz_gguf", name, Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), Buffer.alloc(size, "x")]));
}

/** @param {string} name @param {number[]} dims innermost first @param {number} type @param {number} offset */
const ggufTensor = (name, dims, type, offset) =>
	Buffer.concat([ggufText(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)]);

/** @param {string} key @param {number} type @param {...Buffer} value */
const ggufEntry = (key, type, ...value) => Buffer.concat([ggufText(key), u32(type), ...value]);

seedGguf(
	"types",
	[
		ggufEntry("general.architecture", 8, ggufText("llama")),
		ggufEntry("general.alignment", 4, u32(32)),
		ggufEntry("general.file_type", 4, u32(7)),
		ggufEntry("split.no", 2, u16(0)),
		ggufEntry("split.count", 2, u16(1)),
		ggufEntry("split.tensors.count", 5, u32(3)),
		ggufEntry("byte", 0, Buffer.from([1])),
		ggufEntry("float", 6, u32(1)),
		ggufEntry("double", 12, u64(1)),
		ggufEntry("texts", 9, u32(8), u64(2), ggufText("a"), ggufText("")),
		ggufEntry("nested", 9, u32(9), u64(2), u32(9), u64(0), u32(5), u64(1), u32(7)),
	],
	[ggufTensor("a", [32, 2], 8, 0), ggufTensor("b", [2, 3], 0, 96), ggufTensor("new", [9], 77, 128)],
	150,
);
seedGguf(
	"quantizable",
	[ggufEntry("general.file_type", 4, u32(32)), ggufEntry("general.name", 8, ggufText("x"))],
	[ggufTensor("blk.10.ffn_up.weight", [32, 2], 30, 0), ggufTensor("blk.9.attn_norm.weight", [4], 0, 128)],
	144,
);
seedGguf("empty", [], [], 0, 2);
seedGguf("overlap", [], [ggufTensor("a", [256], 12, 0), ggufTensor("b", [8], 1, 32)], 200);
seedGguf("beyond", [], [ggufTensor("a", [64, 64], 30, 0)], 64);
seedGguf("twice", [], [ggufTensor("a", [8], 24, 0), ggufTensor("a", [8], 24, 32)], 64);

/** A field of a protobuf message: a number, or bytes. @param {number} number @param {number | string | Buffer} value */
function field(number, value) {
	/** @param {number} v @returns {number[]} */
	const varint = (v) => (v < 128 ? [v] : [(v % 128) | 128, ...varint(Math.floor(v / 128))]);
	if (typeof value === "number") return Buffer.from([...varint(number * 8), ...varint(value)]);
	const bytes = Buffer.from(value);
	return Buffer.concat([Buffer.from([...varint(number * 8 + 2), ...varint(bytes.length)]), bytes]);
}

/** A field that is a message of such fields. @param {number} number @param {Buffer[]} fields */
const message = (number, ...fields) => field(number, Buffer.concat(fields));

/** A TensorProto's fields (onnx.proto). @param {string} name @param {number} type @param {number[]} dims @param {Buffer[]} values */
const tensor = (name, type, dims, ...values) => [...dims.map((d) => field(1, d)), field(2, type), field(8, name), ...values];

/** @param {string} location @param {number} offset */
const external = (location, offset, /** @type {number | undefined} */ length = undefined) => [
	message(13, field(1, "location"), field(2, location)),
	message(13, field(1, "offset"), field(2, `${offset}`)),
	...(length === undefined ? [] : [message(13, field(1, "length"), field(2, `${length}`))]),
	field(14, 1),
];

/** @param {string} op @param {string[]} inputs @param {Buffer[]} attributes */
const node = (op, inputs, ...attributes) =>
	message(1, ...inputs.map((i) => field(1, i)), field(2, `${op}_out`), field(4, op), ...attributes);

/** @param {string} name @param {Buffer[]} graph */
const seedOnnx = (name, ...graph) => seed("fuzz_onnx", name, Buffer.concat([field(1, 8), message(7, ...graph), message(8, field(2, 17))]));

const raw = (/** @type {number} */ size) => field(9, Buffer.alloc(size, "x"));
seedOnnx(
	"inside",
	message(5, ...tensor("a", 1, [2, 3], raw(24))),
	message(5, ...tensor("b", 10, [5], raw(10))),
	message(5, ...tensor("c", 21, [4], raw(2))),
	message(5, ...tensor("d", 11, [1], field(10, Buffer.alloc(8)))),
	message(5, message(1), field(2, 8), field(8, "text"), field(6, "x")),
);
seedOnnx(
	"external",
	message(5, ...tensor("a", 1, [4], ...external("data", 0))),
	message(5, ...tensor("b", 1, [4], ...external("data", 16))),
	message(5, ...tensor("tied", 1, [2, 2], ...external("./data", 16))),
	message(5, ...tensor("c", 2, [16], ...external("data", 32))),
);
seedOnnx("overlap", message(5, ...tensor("a", 1, [4], ...external("data", 0))), message(5, ...tensor("b", 1, [4], ...external("data", 8))));
seedOnnx(
	"parts",
	message(5, ...tensor("whole", 3, [2, 16], ...external("data", 0, 0))),
	message(5, ...tensor("w_quantized", 3, [8], ...external("data", 0, 8))),
	message(5, ...tensor("across", 3, [40], ...external("data", 24, 40))),
	message(5, ...tensor("w_scale", 1, [1], raw(4))),
	node("DequantizeLinear", ["w_quantized", "w_scale"]),
);
seedOnnx(
	"typed",
	message(5, ...tensor("w_quantized", 3, [2], field(5, Buffer.from([1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1])))),
	message(5, ...tensor("one", 3, [2], field(5, 1), field(5, 2))),
	message(5, ...tensor("long", 7, [1], field(7, Buffer.from([5])))),
	message(5, ...tensor("w_scale", 1, [1], field(4, Buffer.alloc(4)))),
);
seedOnnx("outside", message(5, ...tensor("a", 1, [4], ...external("../data", 0))));
seedOnnx(
	"quantized",
	message(5, ...tensor("w_quantized", 3, [2, 3], raw(6))),
	message(5, ...tensor("w_scale", 1, [3], field(4, Buffer.alloc(12, 1)))),
	message(5, ...tensor("w_zero_point", 3, [3], field(5, Buffer.from([0, 1, 2])))),
	node("MatMulInteger", ["x", "w_quantized", "x_zero_point", "w_zero_point"]),
	message(5, ...tensor("v", 2, [2, 8], raw(16))),
	message(5, ...tensor("s", 10, [4], raw(8))),
	node("MatMulNBits", ["x", "v", "s"], message(5, field(1, "bits"), field(3, 4)), message(5, field(1, "block_size"), field(3, 32))),
	message(5, ...tensor("u", 3, [4, 2], raw(8))),
	message(5, ...tensor("t", 1, [4], raw(16))),
	node("DequantizeLinear", ["u", "t"], message(5, field(1, "axis"), field(3, 0))),
);
seedOnnx(
	"nested",
	node(
		"If",
		["c"],
		message(5, field(1, "then_branch"), message(6, message(5, ...tensor("w", 1, [1], raw(4))))),
		message(5, field(1, "else_branch"), message(6, message(5, ...tensor("w", 1, [1], raw(4))))),
	),
	node("Constant", [], message(5, field(1, "value"), message(5, ...tensor("", 1, [2], raw(8))))),
);

seedGrids();

try {
	const inputs = makeChains(path.join(work, "chains"));
	for (const name of Object.keys(models).filter((n) => n !== "wide")) {
		writeModel(name, path.join(work, name));
		inputs[name] = [path.join(work, name), ...(models[name].pack ?? [])];
	}
	execFileSync(path.join(root, "build/bin/qstore-quantize"),
		["finetune", path.join(work, "bf16"), "-o", path.join(work, "tuned"), "--seed", "2"]);
	inputs.based = [path.join(work, "tuned"), "--base", path.join(work, "bf16")];
	for (const [name, input] of Object.entries(inputs)) {
		const file = path.join(work, `${name}.qstore`);
		execFileSync(path.join(root, "build/bin/qstore-pack"), ["-q", ...input, "-o", file]);
		const archive = readFileSync(file);
		seedArchive(name, archive);
		if (name !== "based") await seedChunks(name, archive);
	}
	// Chunks that the packer does not make (yet), or not so small, from the tests' own samples.
	const env = { ...process.env, QSTORE_SEEDS: path.join(corpus, "fuzz_chunk") };
	for (const test of ["test_chunk", "test_chunk_codes", "test_chunk_delta", "test_chunk_refine",
		"test_factors"]) execFileSync(path.join(root, "build/tests", test), [], { env, stdio: "ignore" });
} finally {
	rmSync(work, { recursive: true });
}
