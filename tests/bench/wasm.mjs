/**
 * The WebAssembly decoder's speed on an archive, one thread, in memory: node tests/bench/wasm.mjs FILE.qstore [--label TEXT]
 * [--passes N] [--json FILE]. Prints what qstore-bench prints of the native decoder.
 */

import { appendFileSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { KIND, readIndex } from "../../js/archive-index.js";
import { planChunk } from "../../js/plan.js";
import { bytesSource } from "../../js/source.js";
import { createDecoder } from "../../js/wasm.js";

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: { label: { type: "string" }, passes: { type: "string", default: "5" }, json: { type: "string" } },
});
if (positionals.length !== 1) {
	console.error("usage: node tests/bench/wasm.mjs FILE.qstore [--label TEXT] [--passes N] [--json FILE]");
	process.exit(2);
}
const [path] = positionals, bytes = new Uint8Array(readFileSync(path)), passes = Number(options.passes);

/** Coded chunks with all that decoding them takes, by what they are. */
async function load() {
	const decoder = await createDecoder();
	const { index } = await readIndex(bytesSource(bytes), decoder);
	const groups = { codes: [], refine: [], plain: [] };
	const decode = (number, chunk, extra = {}) => {
		const object = index.object(number), id = object.firstChunk + chunk, offset = index.chunkOffset(id);
		const elems = Math.min(object.chunkElems, object.elems - chunk * object.chunkElems);
		const desc = { kind: object.kind, dtype: object.dtype, rule: object.rule, elems, cols: object.cols,
			first: chunk * object.chunkElems, ...extra };
		const src = bytes.subarray(offset, offset + index.chunkSize(id));
		const dst = new Uint8Array(elems * (object.chunkBytes / object.chunkElems));
		decoder.chunk(desc, src, dst);
		return { desc, src, dst };
	};
	let high = "";
	for (let i = 0; i < index.objectCount; i++) {
		const object = index.object(i);
		for (let c = 0; c < object.chunkCount; c++) {
			if (object.kind === KIND.CODES)
				groups.codes.push(decode(i, c));
			else if (object.kind === KIND.REFINE) {
				const { coarse, scales, firstScale, scaleCount } = planChunk(index, i, c), first = index.object(object.scales);
				const all = new Uint8Array(scales.length * first.chunkBytes), size = first.chunkBytes / first.chunkElems;
				scales.forEach((s, k) => all.set(decode(s.object, s.chunk).dst, k * first.chunkBytes));
				const from = (firstScale - scales[0].chunk * first.chunkElems) * size;
				groups.refine.push(decode(i, c, { coarse: decode(coarse.object, coarse.chunk).dst,
					coarseDtype: index.object(object.coarse).dtype, scalesDtype: first.dtype,
					scales: all.slice(from, from + scaleCount * size) }));
				high = object.dtype === 8 ? "FP16" : "BF16";
			} else if (object.dtype === 8 || object.dtype === 9)
				groups.plain.push(decode(i, c));
		}
	}
	return { groups, high };
}

/** Seconds of the fastest pass. */
function time(decoder, chunks) {
	let best = Infinity;
	for (let pass = 0; pass < passes; pass++) {
		const start = performance.now();
		for (const { desc, src, dst } of chunks)
			decoder.chunk(desc, src, dst);
		best = Math.min(best, (performance.now() - start) / 1000);
	}
	return best;
}

const { groups, high } = await load();
const size = (chunks) => chunks.reduce((sum, { dst }) => sum + dst.length, 0);
const weights = size(groups.codes);
console.log(`${options.label ?? path}: ${(weights / 1e6).toFixed(1)} M paired weights, ${high} + INT8, WebAssembly in Node ${process.versions.node}, one thread`);
console.log(`  ${"".padEnd(34)} ${"SIMD GB/s".padStart(10)} ${"scalar GB/s".padStart(12)}`);
const decoders = [await createDecoder({ simd: true }), await createDecoder({ simd: false })];
const rows = [];
const add = (name, bytesOut, seconds) => {
	const speeds = seconds.map((s) => bytesOut / s / 1e9);
	rows.push({ name, simd_gbs: +speeds[0].toFixed(3), scalar_gbs: +speeds[1].toFixed(3) });
	console.log(`  ${name.padEnd(34)} ${speeds[0].toFixed(2).padStart(10)} ${speeds[1].toFixed(2).padStart(12)}`);
};
const codes = decoders.map((d) => time(d, groups.codes)), refine = decoders.map((d) => time(d, groups.refine));
add("INT8, base layer", weights, codes);
add(`${high}, refinement alone`, 2 * weights, refine);
add(`both; ${high} decode`, 2 * weights, codes.map((t, i) => t + refine[i]));
if (size(groups.plain) > 1e6) // a few norms would measure calls, not decoding
	add(`${high} alone, plain`, size(groups.plain), decoders.map((d) => time(d, groups.plain)));
const copy = new Uint8Array(1 << 18), from = new Uint8Array(1 << 18);
let best = Infinity;
for (let pass = 0; pass < passes; pass++) {
	const start = performance.now();
	for (let i = 0; i < 2000; i++)
		copy.set(from);
	best = Math.min(best, (performance.now() - start) / 1000);
}
add("copying 256 KiB (TypedArray.set)", 2000 * copy.length, [best, best]);
console.log();
if (options.json)
	appendFileSync(options.json, JSON.stringify({ data: options.label ?? path, platform: "wasm", high, weights, rows }) + "\n");
