/** Decoding an archive's chunks in memory, by what they are: the same in Node's workers and in browsers'. */

import { KIND, readIndex } from "../../js/archive-index.js";
import { DTYPES } from "../../js/dtypes.js";
import { planChunk } from "../../js/plan.js";
import { bytesSource } from "../../js/source.js";
import { createDecoder } from "../../js/wasm.js";

const floatName = ({ dtype }) => ({ F16: "FP16", BF16: "BF16" })[DTYPES[dtype].name];

/** Lists of jobs by what they are; a job: calls of the decoder, one after the other. */
async function listJobs(bytes, decoder) {
	const { index } = await readIndex(bytesSource(bytes), decoder);
	const groups = { codes: [], both: [], refine: [], plain: [], copy: [] };
	const prepare = (number, chunk, extra = {}) => {
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
			if (object.kind === KIND.REFINE) {
				const { coarse, scales, firstScale, scaleCount } = planChunk(index, i, c), first = index.object(object.scales);
				const all = new Uint8Array(scales.length * first.chunkBytes), size = first.chunkBytes / first.chunkElems;
				scales.forEach((s, k) => all.set(prepare(s.object, s.chunk).dst, k * first.chunkBytes));
				const from = (firstScale - scales[0].chunk * first.chunkElems) * size;
				const codes = prepare(coarse.object, coarse.chunk);
				const refine = prepare(i, c, { coarse: codes.dst, coarseDtype: index.object(object.coarse).dtype, scalesDtype: first.dtype,
					scales: all.slice(from, from + scaleCount * size) });
				groups.codes.push([codes]);
				groups.refine.push([refine]);
				groups.both.push([codes, refine]);
				high = floatName(object);
			} else if (object.kind === KIND.PLAIN && floatName(object))
				groups.plain.push([prepare(i, c)]);
		}
	}
	const piece = new Uint8Array(1 << 18);
	for (let i = 0; i < 200; i++)
		groups.copy.push([{ src: piece, dst: new Uint8Array(1 << 18) }]);
	return { groups, high };
}

/** What an archive's chunks are, and a function that decodes a share of a group's. */
export async function prepareJobs(bytes) {
	const decoders = { true: await createDecoder({ simd: true }), false: await createDecoder({ simd: false }) };
	const { groups, high } = await listJobs(bytes, decoders.true);
	// What a job gives is what its last call gives.
	const sizes = Object.fromEntries(Object.entries(groups).map(([group, jobs]) =>
		[group, jobs.reduce((sum, calls) => sum + calls.at(-1).dst.length, 0)]));
	const run = ({ group, simd, part, parts }) => {
		const decoder = decoders[simd], jobs = groups[group];
		for (let i = part; i < jobs.length; i += parts)
			for (const { desc, src, dst } of jobs[i]) {
				if (desc)
					decoder.chunk(desc, src, dst);
				else
					dst.set(src);
			}
	};
	return { about: { sizes, high }, run };
}
