/** Decoding an archive's chunks in memory, kind by kind, for workers of Node and of browsers. */

import { readIndex } from "../../js/archive/read-index.js";
import { KIND } from "../../js/format/facts.js";
import { decodeJob } from "../../js/decode/codec.js";
import { DTYPES } from "../../js/format/facts.js";
import { planObject } from "../../js/plan/plan.js";
import { bytesSource } from "../../js/source/source.js";
import { decodePieces } from "../../js/decode/pieces.js";
import { createDecoder } from "../../js/wasm/module.js";

const floatName = ({ dtype }) => ({ F16: "FP16", BF16: "BF16" })[DTYPES[dtype].name];

/** The jobs that the library makes for the chunks of an object. */
async function jobsOf(bytes, index, number, decoder) {
	const jobs = [];
	const codec = { concurrency: 1, decode: async (job) => {
		jobs.push(job);
		return decodeJob(decoder, job);
	} };
	const pieces = decodePieces({ index, source: bytesSource(bytes), codec }, planObject(index, number));
	while (!(await pieces.next()).done)
		; // the pieces are not used: only their jobs are
	// Jobs of the object's scales are left out.
	const { kind, dtype } = index.object(number);
	return jobs.filter(({ chunk }) => chunk.desc.kind === kind && chunk.desc.dtype === dtype);
}

/** Lists jobs by the kind of their chunks. A job has chunks that build on one another, and memory for the decoded bytes. */
export async function listJobs(bytes, decoder) {
	const { index } = await readIndex(bytesSource(bytes), decoder);
	const groups = { codes: [], both: [], refine: [], plain: [], copy: [] };
	// Checksums are left out, as in qstore-bench.
	const level = ({ chunk: { desc, bytes: coded, size }, coarseGrid }, coarse) =>
		({ desc: { ...desc, coarse, coarseGrid }, bytes: coded.slice(), size });
	const decode = (levels) => {
		const dst = new Uint8Array(levels.at(-1).size);
		decoder.chunks(levels, dst);
		return { levels, dst };
	};
	let high = "";
	for (let i = 0; i < index.objectCount; i++) {
		const object = index.object(i);
		if (object.kind === KIND.REFINE) {
			for (const job of await jobsOf(bytes, index, i, decoder)) {
				const codes = level(job.coarse);
				groups.codes.push(decode([codes]));
				groups.refine.push(decode([level(job, groups.codes.at(-1).dst)]));
				groups.both.push(decode([codes, level(job)]));
			}
			high = floatName(object);
		} else if (object.kind === KIND.PLAIN && floatName(object)) {
			for (const job of await jobsOf(bytes, index, i, decoder))
				groups.plain.push(decode([level(job)]));
			high ||= floatName(object);
		}
	}
	const piece = new Uint8Array(1 << 18);
	for (let i = 0; i < 200; i++)
		groups.copy.push({ piece, dst: new Uint8Array(1 << 18) });
	return { groups, high };
}

/**
 * A worker's share of the jobs, of about as many bytes as the other shares: each job goes to the worker that has the fewest bytes so far,
 * like in the library's pool.
 */
function shareOf(jobs, part, parts) {
	const given = new Array(parts).fill(0);
	return jobs.filter(({ dst }) => {
		const least = given.indexOf(Math.min(...given));
		given[least] += dst.length;
		return least === part;
	});
}

/** Returns an archive's chunks in groups, and a function that decodes a share of a group several times and returns the seconds. */
export async function prepareJobs(bytes) {
	const decoders = { true: await createDecoder({ simd: true }), false: await createDecoder({ simd: false }) };
	const { groups, high } = await listJobs(bytes, decoders.true);
	const sizes = Object.fromEntries(Object.entries(groups).map(([group, jobs]) =>
		[group, jobs.reduce((sum, { dst }) => sum + dst.length, 0)]));
	const same = new Uint8Array(1 << 20), shares = new Map();
	const run = ({ group, simd, pieces, part, parts, times }) => {
		const decoder = decoders[simd], name = `${group} ${part} ${parts}`;
		if (!shares.has(name))
			shares.set(name, shareOf(groups[group], part, parts));
		const jobs = shares.get(name), start = performance.now();
		for (let i = 0; i < times; i++)
			for (const { levels, piece, dst } of jobs) {
				const to = pieces ? same.subarray(0, dst.length) : dst;
				if (levels)
					decoder.chunks(levels, to);
				else
					to.set(piece);
			}
		return (performance.now() - start) / 1000;
	};
	return { about: { sizes, high }, run };
}
