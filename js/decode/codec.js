/** Decoding one chunk with what it builds on: the unit of work of a thread or of a worker. */

import { OTHER_BYTES } from "../wasm/decoder.js";
import { QstoreError } from "../error.js";

/** @typedef {import("../wasm/decoder.js").Decoder} Decoder */

/**
 * @typedef {object} CodedChunk
 * @property {Uint8Array} bytes
 * @property {bigint} checksum of the bytes: what is looked at when something is wrong
 * @property {import("../wasm/decoder.js").ChunkDesc} desc without what it builds on
 * @property {number} size decoded
 */

/**
 * A chunk with what it builds on; or a part of a layout, which has no chunk of its own; or what is decoded already.
 * @typedef {object} Job
 * @property {CodedChunk} [chunk]
 * @property {import("../wasm/decoder.js").LayoutDesc} [layout] without what it is made of
 * @property {number} [size] of the layout's part
 * @property {Uint8Array} [values] decoded: a base's
 * @property {Job} [coarse] refine, recoded codes, layout: the codes; delta: the coarser values
 * @property {Uint8Array} [codes] layout: instead of `coarse`
 * @property {import("../wasm/decoder.js").Grid} [coarseGrid] refine, recoded codes, blocks: of the codes that it builds on
 * @property {import("../wasm/decoder.js").Grid} [grid] recoded codes: their own
 * @property {bigint} [check] XXH3-64 of what comes out; nothing is checked without
 */

/**
 * Decodes jobs, somewhere. Results are the caller's own.
 * @typedef {object} Codec
 * @property {number} concurrency jobs that it works on at a time
 * @property {(job: Job, options?: import("../source/source.js").ReadOptions) => Promise<Uint8Array>} decode
 * @property {(jobs: number) => void} [prepare] so many jobs will come soon
 * @property {() => unknown} [close]
 */

/** Which of a job's chunks is bad, and how. */
export class ChunkError extends QstoreError {
	/**
	 * @param {import("../error.js").StatusName} code
	 * @param {string} message a predicate: "is damaged …"
	 * @param {number} level 0: the job's own; 1: its coarse one; 2: that one's …
	 */
	constructor(code, message, level) {
		super(code, message);
		this.level = level;
	}
}

/**
 * Decodes a job, and compares what comes out with its checksum. What it builds on needs no check of its own: it is right when this is.
 * @param {Decoder} decoder
 * @param {Job} job
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function decodeJob(decoder, job) {
	try {
		return decodeLevel(decoder, job, 0);
	} catch (error) {
		// Whatever was noticed first: bytes that are not those that were written are the reason.
		throw error instanceof ChunkError && findDamage(decoder, job) || error;
	}
}

/**
 * @param {Decoder} decoder
 * @param {Job} job
 * @param {number} level of it, in the job that was given
 * @returns {Uint8Array<ArrayBuffer>}
 */
function decodeLevel(decoder, job, level) {
	const { chunk, layout, size = 0, values, coarse, codes, coarseGrid, check } = job;
	/** @param {string} what @param {number} [at] */
	const damaged = (what, at = level) => new ChunkError("CORRUPT", `is damaged: ${what}`, at);
	if (values) {
		if (check !== undefined && decoder.xxh3(values) !== check)
			throw damaged("it is not what the base had");
		return /** @type {Uint8Array<ArrayBuffer>} */ (values);
	}
	if (chunk)
		return decodeChunks(decoder, job, level, damaged);
	const out = new Uint8Array(size), decoded = coarse && decodeLevel(decoder, coarse, level + 1);
	decoder.layout({ .../** @type {import("../wasm/decoder.js").LayoutDesc} */ (layout), codes: codes ?? decoded, grid: coarseGrid }, out,
		() => damaged(OTHER_BYTES), check);
	return out;
}

/**
 * A chunk and all those below it, in one go.
 * @param {Decoder} decoder
 * @param {Job} job
 * @param {number} level
 * @param {(what: string, level: number) => Error} damaged
 */
function decodeChunks(decoder, job, level, damaged) {
	/** @type {import("../wasm/decoder.js").ChunkLevel[]} */
	const levels = [];
	for (let next = /** @type {Job | undefined} */ (job), below = level + 1; next?.chunk; next = next.coarse, below++) {
		const { chunk, coarse, coarseGrid, grid } = next, given = coarse && !coarse.chunk ? decodeLevel(decoder, coarse, below) : undefined;
		levels.unshift({ ...chunk, desc: { ...chunk.desc, coarse: given, coarseGrid, grid } });
	}
	const out = new Uint8Array(/** @type {CodedChunk} */ (job.chunk).size);
	decoder.chunks(levels, out, (number, what) => damaged(what, level + levels.length - 1 - number), job.check);
	return out;
}

/**
 * The coarsest chunk of a job whose bytes are not those that were written.
 * @param {Decoder} decoder
 * @param {Job} job
 * @returns {ChunkError | undefined}
 */
function findDamage(decoder, job) {
	/** @type {ChunkError | undefined} */
	let found;
	for (let next = /** @type {Job | undefined} */ (job), level = 0; next; next = next.coarse, level++) {
		if (next.chunk && decoder.xxh3(next.chunk.bytes) !== next.chunk.checksum)
			found = new ChunkError("CORRUPT", "is damaged: its checksum differs", level);
	}
	return found;
}

/**
 * Decodes on the calling thread.
 * @param {Decoder} decoder
 * @returns {Codec}
 */
export function localCodec(decoder) {
	return { concurrency: 1, decode: async (job) => decodeJob(decoder, job) };
}
