// Ranks by every rule, all over the range of scales, with zero points, factors of columns, shifts and shared borders, 8 lanes and 64: what
// the native encoder made, and the native decoder read again (build/bin/qstore-chunks), both WebAssembly modules and the reference decoder
// decode to the same values.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DTYPES } from "../../js/format/facts.js";
import { createDecoder } from "../../js/wasm/module.js";
import { decodeChunk, factorsOf, gridOf } from "../reference/decode.mjs";
import { native } from "./helpers/tools.mjs";

const REFINE = 2, RANKS = 4, NONE = 0xffffffff;
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
