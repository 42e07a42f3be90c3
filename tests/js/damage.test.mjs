// Damaged chunks: both WebAssembly modules and the reference decoder accept the same ones, and make the same bytes of them. (That
// nothing is touched out of bounds is for the sanitizers: tests/native/test_chunk.c, tests/fuzz.)
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { DTYPES } from "../../js/format/facts.js";
import { createDecoder } from "../../js/wasm/module.js";
import { decodeChunk, gridOf } from "../reference/decode.mjs";

const corpus = fileURLToPath(new URL("../fuzz/corpus/fuzz_chunk/", import.meta.url));
const simd = await createDecoder({ simd: true }), scalar = await createDecoder({ simd: false });

const F16 = 8, BF16 = 9, F32 = 12, F64 = 15, U8 = 2, I8 = 3, CODES = 1, NONE = 0xffffffff, REFINE = 2, DELTA = 3;
const SCALES = [F32, F16, BF16, F32], FINE = [F32, F32, F32, BF16, F16, BF16, F16, BF16, F16, F64, F64, F64, F64, F32, F16, BF16];
const COARSE = [BF16, F16, F32, BF16, F16, F16, BF16, F32, F32, F32, F64, F16, BF16, F64, F64, F64];

/** A seed of tests/fuzz/fuzz_chunk.c: what describes the chunk, and the chunk. */
function parse(seed) {
	const view = new DataView(seed.buffer, seed.byteOffset, seed.length);
	const desc = {
		kind: seed[0], dtype: seed[1], elems: view.getUint16(2, true), cols: view.getUint16(4, true) + 1,
		first: view.getUint16(6, true),
	};
	let at = 8;
	if (desc.kind === CODES)
		desc.dtype = seed[1] & 1 ? U8 : I8;
	if (desc.kind >= REFINE) {
		desc.coarse = seed.subarray(9, at = 9 + seed[8]);
		if (desc.kind === DELTA)
			Object.assign(desc, { dtype: FINE[seed[1]], coarseDtype: COARSE[seed[1]], coarseSize: DTYPES[COARSE[seed[1]]].size });
	}
	if (desc.kind === REFINE) {
		const [rule, flags, zeroOffset] = [seed[at] + 1, seed[at + 1], seed[at + 2] << 24 >> 24], one = flags >> 5 === 1;
		const rows = one ? 1 : Math.ceil((desc.first % desc.cols + desc.elems) / desc.cols), scalesDtype = SCALES[flags >> 1 & 3];
		const scales = seed.slice(at + 3, at + 3 + rows * DTYPES[scalesDtype].size);
		assert.ok(rule < 5 && flags >> 5 < 2, "seeds have a scale a row, or one for all");
		Object.assign(desc, { dtype: seed[1] & 1 ? BF16 : F16, coarseDtype: I8, coarseGrid: {
			rule, codesDtype: I8, group: desc.cols, rowStride: one ? 0 : 1, groupStride: 0, zeroOffset, scales, scalesDtype,
			firstScale: one ? 0 : Math.floor(desc.first / desc.cols),
		} });
		at += 19;
	}
	return { desc, coded: seed.subarray(at) };
}

/** The bytes in hexadecimal, or the code of the error. */
function outcome(decode) {
	try {
		return Buffer.from(decode()).toString("hex");
	} catch (error) {
		if (!["CORRUPT", "NEWER"].includes(error.code) && error.constructor.name !== "FormatError")
			throw error;
		return "refused";
	}
}

function compare(desc, coded, what) {
	const size = desc.elems * DTYPES[desc.dtype].size;
	const byWasm = (decoder) => outcome(() => {
		const bytes = new Uint8Array(size);
		decoder.chunks([{ desc, bytes: coded }], bytes);
		return bytes;
	});
	const expected = byWasm(scalar);
	assert.equal(byWasm(simd), expected, what);
	// fzstd checks less of a frame than zstd does. A frame is the whole chunk, or a symbol block of it.
	if (coded[0] === 1 || Buffer.from(coded).includes(Buffer.of(0x28, 0xb5, 0x2f, 0xfd)))
		return;
	const { elems: n, cols: columns, coarseGrid: grid, ...rest } = desc;
	const chunk = { ...rest, n, columns, first: desc.first % columns }; // scales are those of the rows from its first on
	if (grid)
		chunk.coarseGrid = gridOf({ objects: [{ dtype: grid.scalesDtype, elements: grid.scales.length / DTYPES[grid.scalesDtype].size }] },
			{ ...grid, dtype: grid.codesDtype, elements: chunk.first + n, columns, scales: 0, zeroPoints: NONE, order: NONE }, [grid.scales]);
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
		// The chunk builds on other codes and scales, some of them zero, infinite or NaN.
		const scales = desc.coarseGrid?.scales;
		for (const base of [desc.coarse, scales])
			for (let i = 0; i < (base?.length ?? 0); i += base === scales ? 1 : 7)
				for (const value of [0, 0x7f, 0x80, 0xff, base[i] ^ 1]) {
					const old = base[i];
					base[i] = value;
					compare(desc, coded, `byte ${i} of ${base === scales ? "scales" : "coarse"} ${value}`);
					base[i] = old;
				}
		for (const value of [0x0000, 0x7c00, 0x7e00, 0x7f80, 0x7fc0, 0xff80, 0x8000, 0x0001, 0x7f7f])
			if (scales) {
				const others = Uint8Array.from(scales, (_, i) => i % 2 ? value >> 8 : value & 255);
				compare({ ...desc, coarseGrid: { ...desc.coarseGrid, scales: others } }, coded, `scales ${value.toString(16)}`);
			}
	});
