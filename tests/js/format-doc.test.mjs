// The worked archive of native/FORMAT.md and the worked row of docs/codec.md are true: every byte and every number that they show is found
// again in tests/golden/example.qstore, in an archive that is packed anew, and by arithmetic that is written out here.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { decompress } from "fzstd";
import { openQstore } from "../../js/node/open.js";
import { writeExample } from "../golden/models.mjs";
import { createDecoder } from "../../js/wasm/module.js";
import { bodyOfColumns, decodeArchive, decodeChunk, readIndex } from "../reference/decode.mjs";
import { native, temporary } from "./helpers/tools.mjs";

const root = new URL("../../", import.meta.url), folder = temporary({ after });
const golden = readFileSync(new URL("tests/golden/example.qstore", root));
const format = readFileSync(new URL("native/FORMAT.md", root), "utf8"), codec = readFileSync(new URL("docs/codec.md", root), "utf8");
let weights, packed;

before(() => {
	weights = writeExample(join(folder, "model"));
	native("qstore-pack", join(folder, "model"), "--include", "*", "-o", join(folder, "example.qstore"), "--quiet");
	packed = readFileSync(join(folder, "example.qstore"));
});

/** The index's body, decoded. */
const bodyOf = (archive) => bodyOfColumns(decompress(archive.subarray(576, 576 + Number(archive.readBigUInt64LE(528)))));

/** The bytes that FORMAT.md shows of the archive or of the body: [offset, bytes] of each line. */
function shown(of) {
	const blocks = [...format.matchAll(/```hex (\w+)\n([\s\S]*?)```/g)].filter(([, name]) => name === of);
	return blocks.flatMap(([, , lines]) => lines.trimEnd().split("\n").map((line) => {
		const [, offset, hexBytes] = /^([0-9a-f]{4}) {2}((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2,}\S.*)?$/.exec(line) ??
			assert.fail(`not a line of hex: ${line}`);
		return /** @type {const} */ ([parseInt(offset, 16), Buffer.from(hexBytes.replaceAll(" ", ""), "hex")]);
	}));
}

for (const [name, bytes] of [["archive", golden], ["body", bodyOf(golden)]])
	test(`FORMAT.md's hex of the ${name} is that of the example`, () => {
		const lines = shown(name);
		assert.ok(lines.length > 20, "the document shows the archive");
		const left = Buffer.from(bytes);
		for (const [offset, hex] of lines) {
			assert.equal(bytes.subarray(offset, offset + hex.length).toString("hex"), hex.toString("hex"), `at ${offset.toString(16)}`);
			left.fill(0, offset, offset + hex.length);
		}
		if (name === "body")
			assert.ok(left.every((byte) => byte === 0), "the document shows every byte of the body that is not zero");
	});

/** An object's coded bytes. */
function coded({ payload, objects }, number) {
	const { offset, codedSize } = objects[number];
	return payload.subarray(offset, offset + codedSize);
}

test("packing the example's model gives the example again", async () => {
	const made = await readIndex(packed), kept = await readIndex(golden);
	// The index and object 0 are zstd frames, which another version of zstd may write in another way.
	for (const number of [1, 2, 3, 4])
		assert.deepEqual(Buffer.from(coded(made, number)), Buffer.from(coded(kept, number)), `object ${number}`);
	assert.deepEqual(made.parts, kept.parts);
	assert.deepEqual(made.files, kept.files);
});

test("every decoder restores the example's model", async () => {
	const original = readFileSync(join(folder, "model/model.safetensors"));
	assert.deepEqual(Buffer.from((await decodeArchive(golden)).get("bf16").get("model.safetensors")), original);
	const archive = await openQstore(golden, {});
	assert.deepEqual(Buffer.from(await archive.file("model.safetensors", { precision: "bf16" }).read()), original);
	await archive.close();
	const example = fileURLToPath(new URL("tests/golden/example.qstore", root));
	native("qstore-unpack", example, "--precision", "bf16", "-o", join(folder, "restored"), "-q");
	assert.deepEqual(readFileSync(join(folder, "restored/model.safetensors")), original);
});

const single = (pattern) => new Float32Array(new Uint32Array([pattern << 16]).buffer)[0];
const hex = (number) => number.toString(16).padStart(4, "0");

/** Half to even. */
function round(x) {
	const below = Math.floor(x);
	return below + (x - below > 0.5 || (x - below === 0.5 && below % 2) ? 1 : 0);
}

/** The pattern of 2^-14, above which FP16's values are normal, as all of the row are. */
const LEAST = 0x3880;

/** To FP16, for values from 2^-14 to 2. */
function half(x) {
	const spacing = 2 ** (Math.floor(Math.log2(x)) - 10);
	return round(x / spacing) * spacing;
}

/** The numbers of docs/codec.md's tables for the matrix's first row, computed from the example. */
async function firstRow() {
	const index = await readIndex(golden), codes = [...coded(index, 2).subarray(1, 9)].map((byte) => (byte << 24) >> 24);
	const patterns = Array.from({ length: 8 }, (_, i) => weights[2 * i] | (weights[2 * i + 1] << 8));
	const scale = Math.max(...patterns.map((pattern) => Math.abs(single(pattern)))), factor = Math.fround(127 / scale);
	const scaled = (magnitude) => Math.fround(half(single(magnitude)) * factor);
	const chunk = coded(index, 4), bits = [...chunk.subarray(9, 13)].flatMap((byte) => [byte & 15, byte >> 4]);
	let at = 0;
	const states = bits.map((b) => {
		let state = 2 ** (16 + b);
		for (let i = 0; i < 16 + b; i++, at++) state += ((chunk[13 + (at >> 3)] >> (at & 7)) & 1) * 2 ** i;
		return state;
	});
	let unit = 13 + Math.ceil(at / 8);
	const rows = patterns.map((pattern, lane) => {
		const code = codes[lane], k = Math.abs(code), magnitude = pattern & 0x7fff;
		let first = 0, n = 1;
		if (k) {
			for (first = LEAST; round(scaled(first)) < k; first++);
			while (first + n < 0x4000 && round(scaled(first + n)) === k) n++;
			if (k === 127) n = [...Array(n).keys()].filter((i) => single(first + i) <= scale).length; // beyond the absmax is nothing
		}
		const F = Math.min(65535, Math.floor(65536 / n)), slot = states[lane] % 65536, rank = Math.floor(slot / F);
		const step = F * Math.floor(states[lane] / 65536) + (slot % F);
		const taken = step < 65536 ? chunk[unit++] | (chunk[unit++] << 8) : undefined;
		const after = taken === undefined ? step : step * 65536 + taken;
		return { pattern, magnitude, code, first, n, F, slot, rank, state: states[lane], step, taken, after };
	});
	return { scale, factor, scaled, rows };
}

test("docs/codec.md's row of eight weights is worked through rightly", async () => {
	const { scale, factor, scaled, rows } = await firstRow(), number = (x) => `${x}`.replace("-", "−");
	const lines = [
		`127 / ${scale} = ${factor}`,
		...rows.map(({ pattern, magnitude, code }) =>
			`| ${number(single(pattern))} | ${hex(pattern)} | ${code < 0 ? "−" : ""}${scaled(magnitude).toFixed(4)} | ${number(code)} |`),
		...[-1, 0, 1, 2].map((i) => rows[0].first + i).map((magnitude) =>
			`| ${hex(magnitude)} | ${single(magnitude)} | ${scaled(magnitude).toFixed(4)} | ${round(scaled(magnitude))} |`),
		...rows.map(({ code, first, n, rank }) => code ? `| ${number(code)} | ${hex(first)} | ${n} | ${rank} |` : "| 0 | | 1 | escape |"),
		...rows.map(({ state, slot, F, rank, step, taken, after }, lane) =>
			`| ${lane} | ${state} | ${slot} | ${F} | ${rank} | ${step} | ${taken ?? ""} | ${after} |`.replaceAll("|  |", "| |")),
	];
	for (const line of lines)
		assert.ok(codec.includes(line), `docs/codec.md lacks: ${line}`);
	for (const { code, pattern, first, rank } of rows)
		if (code) assert.equal(first + rank + (code < 0 ? 0x8000 : 0), pattern);
});

test("docs/codec.md's block of eight symbols is what decoders make of its bytes", async () => {
	const [, hexBytes] = /^ {4}((?:[0-9a-f]{2} ){9}[0-9a-f]{2})$/m.exec(codec), [, symbols] = /Eight symbols ((?:\d ){8})/.exec(codec);
	const bytes = Buffer.from(hexBytes.replaceAll(" ", ""), "hex"), expected = symbols.trim().split(" ").map(Number);
	assert.deepEqual([...decodeChunk({ kind: 1, dtype: 2, n: 8, columns: 8, first: 0 }, bytes)], expected);
	const decoder = await createDecoder({});
	const dst = new Uint8Array(8);
	decoder.chunks([{ desc: { kind: 1, dtype: 2, elems: 8, cols: 8, first: 0 }, bytes }], dst);
	assert.deepEqual([...dst], expected);
});
