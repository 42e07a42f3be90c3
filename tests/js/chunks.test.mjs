// Ranks by every rule, all over the range of scales, with zero points, factors of columns, shifts and shared borders, 8 lanes and 64: what
// the native encoder made, and the native decoder read again (build/bin/qstore-chunks), both WebAssembly modules and the reference decoder
// decode to the same values.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DTYPES } from "../../js/format/facts.js";
import { createDecoder } from "../../js/wasm/module.js";
import { decodeChunk, factorsOf, gridOf } from "../reference/decode.mjs";
import { native } from "./helpers/tools.mjs";

const REFINE = 2, DELTA = 3, RANKS = 4, DIFFERENCES = 5, NONE = 0xffffffff;
const decoders = { simd: await createDecoder({ simd: true }), scalar: await createDecoder({ simd: false }) };

/** A line of qstore-chunks. */
function parse(line) {
	const sample = JSON.parse(line);
	for (const name of ["scales", "zeroPoints", "factors", "codes", "values", "coded"])
		sample[name] = Uint8Array.from(Buffer.from(sample[name], "hex"));
	if (!sample.zeroPoints.length) delete sample.zeroPoints;
	if (!sample.factors.length) delete sample.factors;
	return { ...sample, rowStride: sample.cols / sample.group, groupStride: 1 };
}

function byWasm(decoder, { dtype, elems, cols, codes, codesDtype, coded, zeroPoints, ...grid }) {
	const values = new Uint8Array(2 * elems), coarseGrid = { ...grid, zeroPoints, codesDtype, firstScale: 0 };
	decoder.chunks([{ desc: { kind: REFINE, dtype, elems, cols, first: 0, coarse: codes, coarseDtype: codesDtype, coarseGrid },
		bytes: coded }], values);
	return values;
}

function byReference({ dtype, elems, cols, codes, codesDtype, coded, scales, scalesDtype, zeroPoints, factors, factorsDtype, ...grid }) {
	const objects = [{ dtype: scalesDtype, elements: scales.length / DTYPES[scalesDtype].size }];
	const coarseGrid = gridOf({ objects }, { ...grid, dtype: codesDtype, elements: elems, columns: cols, scales: 0, zeroPoints: zeroPoints ? 1 : NONE,
		order: NONE }, [scales, zeroPoints]);
	return decodeChunk({ kind: REFINE, dtype, n: elems, columns: cols, first: 0, coarse: codes, coarseDtype: codesDtype, coarseGrid,
		factors: factors && factorsOf(factorsDtype, factors) }, coded);
}

test("ranks of all rules, decoded by everything", () => {
	const samples = native("qstore-chunks", "400", "1").trim().split("\n").map(parse);
	samples.forEach((sample, i) => {
		const what = `chunk ${i}, rule ${sample.rule}`;
		for (const [name, decoder] of Object.entries(decoders))
			assert.ok(Buffer.compare(byWasm(decoder, sample), sample.values) === 0, `${what}: ${name}`);
		assert.ok(Buffer.compare(byReference(sample), sample.values) === 0, `${what}: reference`);
	});
	const ranks = samples.filter(({ coded }) => coded[0] === RANKS);
	assert.equal(new Set(ranks.map(({ rule }) => rule)).size, 17);
	for (const flag of [1, 2, 4, 8, 16])
		assert.ok(ranks.some(({ coded }) => coded[1] & flag), `none has flag ${flag}`);
	assert.ok(ranks.some(({ factors }) => factors) && ranks.some(({ zeroPoints }) => zeroPoints));
});

/** A chunk of differences, as planes of raw bytes: the lower two random, the others 0. */
function differences(n, size) {
	const planes = Array.from({ length: size }, (_, i) => [0, ...Array.from({ length: n }, (_, e) => (i < size - 2 ? 0 : Math.imul(e + 1, 0x9e3779b1) >>> 20 & (i === size - 1 ? 255 : 1)))]);
	return Uint8Array.from([DIFFERENCES, ...planes.flat()]);
}

test("differences of any two types, decoded by everything", () => {
	const floats = [8, 9, 12, 15]; // F16, BF16, F32, F64
	for (const dtype of floats)
		for (const coarseDtype of floats) {
			// All patterns of the upper 16 bits; the others random, or such that many values are half way between two.
			const n = 65536, size = DTYPES[coarseDtype].size, coarse = new Uint8Array(n * size);
			for (let i = 0; i < n; i++) {
				for (let b = 0; b < size - 2 && i % 3; b++) coarse[i * size + b] = i % 3 > 1 ? (Math.imul(i * size + b, 0x9e3779b1) >>> 24) : b === size - 3 ? 128 : 0;
				coarse.set([i & 255, i >> 8], (i + 1) * size - 2);
			}
			const coded = differences(n, DTYPES[dtype].size);
			const expected = decodeChunk({ kind: DELTA, dtype, n, columns: 1, first: 0, coarse, coarseDtype }, coded);
			for (const [name, decoder] of Object.entries(decoders)) {
				const values = new Uint8Array(expected.length);
				decoder.chunks([{ desc: { kind: DELTA, dtype, elems: n, cols: 1, first: 0, coarse, coarseDtype }, bytes: coded }], values);
				assert.ok(Buffer.compare(values, expected) === 0, `${DTYPES[dtype].name} from ${DTYPES[coarseDtype].name}: ${name}`);
			}
		}
});
