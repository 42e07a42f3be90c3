// Damaged chunks: both WebAssembly modules and the reference decoder accept the same ones, and make the same bytes of them. (That
// nothing is touched out of bounds is for the sanitizers: tests/native/test_chunk.c, tests/fuzz.)
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { DTYPES } from "../../js/dtypes.js";
import { createDecoder } from "../../js/wasm.js";
import { decodeChunk } from "../reference/decode.mjs";

const corpus = fileURLToPath(new URL("../fuzz/corpus/fuzz_chunk/", import.meta.url));
const simd = await createDecoder({ simd: true }), scalar = await createDecoder({ simd: false });

/** A seed of tests/fuzz/fuzz_chunk.c: what describes the chunk, and the chunk. */
function parse(seed) {
	const view = new DataView(seed.buffer, seed.byteOffset, seed.length);
	const desc = { kind: seed[0], dtype: seed[1], rule: 0, elems: view.getUint16(2, true), cols: view.getUint16(4, true) + 1, first: 0 };
	if (desc.kind !== 2)
		return { desc, coded: seed.subarray(8) };
	const scales = 9 + seed[8], rows = Math.ceil(desc.elems / desc.cols);
	Object.assign(desc, { dtype: seed[1] & 1 ? 9 : 8, rule: 1, coarse: seed.subarray(9, scales), scales: seed.slice(scales, scales + 4 * rows) });
	return { desc, coded: seed.subarray(scales + 16) };
}

/** The bytes in hexadecimal, or the code of the error. */
function outcome(decode) {
	try {
		return Buffer.from(decode()).toString("hex");
	} catch (error) {
		if (error.code !== "CORRUPT" && error.constructor.name !== "FormatError")
			throw error;
		return "refused";
	}
}

function compare(desc, coded, what) {
	const size = desc.elems * DTYPES[desc.dtype].size;
	const byWasm = (decoder) => outcome(() => {
		const bytes = new Uint8Array(size);
		decoder.chunk(desc, coded, bytes);
		return bytes;
	});
	const expected = byWasm(scalar);
	assert.equal(byWasm(simd), expected, what);
	if (coded[0] === 1)
		return; // fzstd checks less of a frame than zstd does
	const { elems: n, cols: columns, scales, ...rest } = desc;
	const chunk = { ...rest, n, columns, scales: scales && new DataView(scales.buffer, scales.byteOffset, scales.length) };
	assert.equal(outcome(() => decodeChunk(chunk, coded)), expected, what);
}

for (const name of readdirSync(corpus).filter((file) => file.includes("-decode-")))
	test(name, () => {
		const { desc, coded } = parse(readFileSync(corpus + name));
		compare(desc, coded, "as it is");
		for (let size = 0; size < coded.length; size += 1 + (size >> 4))
			compare(desc, coded.subarray(0, size), `cut to ${size} bytes`);
		const copy = Uint8Array.from(coded);
		for (let bit = 0, step = 1; bit < 8 * copy.length; bit += step, step = bit < 512 ? 1 : 13) {
			copy[bit >> 3] ^= 1 << (bit & 7);
			compare(desc, copy, `bit ${bit} flipped`);
			copy[bit >> 3] ^= 1 << (bit & 7);
		}
	});
