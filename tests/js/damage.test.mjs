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

const F16 = 8, BF16 = 9, F32 = 12, REFINE = 2, DELTA = 3;
const SCALES = [F32, F16, BF16, F32], FINE = [F32, F32, F32, BF16, F16], COARSE = [BF16, F16, F32, BF16, F16];

/** A seed of tests/fuzz/fuzz_chunk.c: what describes the chunk, and the chunk. */
function parse(seed) {
	const view = new DataView(seed.buffer, seed.byteOffset, seed.length);
	const desc = {
		kind: seed[0], dtype: seed[1], rule: 0, elems: view.getUint16(2, true), cols: view.getUint16(4, true) + 1,
		first: view.getUint16(6, true),
	};
	let at = 8;
	if (desc.kind >= REFINE) {
		desc.coarse = seed.subarray(9, at = 9 + seed[8]);
		if (desc.kind === DELTA)
			Object.assign(desc, { dtype: FINE[seed[1]], coarseDtype: COARSE[seed[1]], coarseSize: DTYPES[COARSE[seed[1]]].size });
	}
	if (desc.kind === REFINE) {
		const rows = seed[1] & 32 ? 1 : Math.ceil((desc.first % desc.cols + desc.elems) / desc.cols);
		const scalesDtype = SCALES[seed[1] >> 3 & 3];
		const scales = seed.slice(at, at + rows * DTYPES[scalesDtype].size);
		Object.assign(desc, { dtype: seed[1] & 1 ? BF16 : F16, rule: 1 + (seed[1] >> 1 & 3), scalesDtype, scales });
		at += 16;
	}
	return { desc, coded: seed.subarray(at) };
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
	const { elems: n, cols: columns, ...rest } = desc;
	const chunk = { ...rest, n, columns, first: desc.first % columns }; // scales are those of the rows from its first on
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
		// What it builds on is another: scales that are zero, infinite or NaN among them.
		for (const base of [desc.coarse, desc.scales])
			for (let i = 0; i < (base?.length ?? 0); i += base === desc.scales ? 1 : 7)
				for (const value of [0, 0x7f, 0x80, 0xff, base[i] ^ 1]) {
					const old = base[i];
					base[i] = value;
					compare(desc, coded, `byte ${i} of ${base === desc.scales ? "scales" : "coarse"} ${value}`);
					base[i] = old;
				}
		for (const value of [0x0000, 0x7c00, 0x7e00, 0x7f80, 0x7fc0, 0xff80, 0x8000, 0x0001, 0x7f7f])
			if (desc.scales) {
				const scales = Uint8Array.from(desc.scales, (_, i) => i % 2 ? value >> 8 : value & 255);
				compare({ ...desc, scales }, coded, `scales ${value.toString(16)}`);
			}
	});
