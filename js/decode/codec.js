/** Jobs: a chunk with everything that it builds on, which a thread or a worker decodes at once. */

import { NEWER_CODING, OTHER_BYTES } from "../wasm/decoder.js";
import { QstoreError } from "../error.js";
import { Pacer } from "../util/pacer.js";

/** @typedef {import("../wasm/decoder.js").Decoder} Decoder */

/**
 * @typedef {object} CodedChunk
 * @property {Uint8Array} bytes
 * @property {number} checksum the low half of XXH3-64 of `bytes`. Compared only when decoding fails, to find the chunk that is damaged
 * @property {import("../wasm/decoder.js").ChunkDesc} desc without `coarse` and the grids
 * @property {number} size bytes that it decodes to
 */

/**
 * A chunk (`chunk`), a part of a layout, which has no chunk (`layout`), or a part of the base, which is decoded already (`values`); with
 * the job that it builds on. Or an archive's index (`index`).
 * @typedef {object} Job
 * @property {Uint8Array<ArrayBuffer>} [index] header and coded body, all of a buffer that goes to the codec
 * @property {CodedChunk} [chunk]
 * @property {import("../wasm/decoder.js").LayoutDesc} [layout] without `codes` and `grid`
 * @property {number} [size] bytes of the layout's part
 * @property {Uint8Array} [values]
 * @property {Job} [coarse] makes the values that this one builds on: codes, or floats below a delta
 * @property {Uint8Array<ArrayBuffer>} [codes] the codes of a layout, instead of `coarse`; all of a buffer that goes to the codec
 * @property {import("../wasm/decoder.js").Grid} [coarseGrid] the grid of the codes that it builds on
 * @property {import("../wasm/decoder.js").Grid} [grid] the grid of recoded codes themselves
 * @property {bigint} [check] XXH3-64 of the decoded bytes; without it they are not checked
 */

/**
 * Where jobs are decoded: on the calling thread or in workers. Whoever gave a job gets its result, and nobody else keeps a view of it.
 * @typedef {object} Codec
 * @property {number} concurrency how many jobs it works on at a time
 * @property {(job: Job, options?: import("../source/source.js").ReadOptions) => Promise<Uint8Array>} decode
 * @property {(jobs: number) => void} [prepare] tells it how many jobs will come soon
 * @property {() => unknown} [close]
 */

/** Says which of a job's chunks is damaged, and how. */
export class ChunkError extends QstoreError {
	/**
	 * @param {import("../error.js").StatusName} code
	 * @param {string} message a predicate, "is damaged …" or "needs a newer qstore …", whose subject the caller adds
	 * @param {number} level 0: the job's own chunk; 1: the one that it builds on; 2: the one that that builds on …
	 */
	constructor(code, message, level) {
		super(code, message);
		this.level = level;
	}
}

/**
 * Decodes a job, and compares the decoded bytes with their checksum. The jobs that it builds on need no check: wrong values there would
 * make these bytes wrong.
 * @param {Decoder} decoder
 * @param {Job} job
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function decodeJob(decoder, job) {
	if (job.index)
		return decoder.indexBody(job.index);
	try {
		return decodeLevel(decoder, job, 0);
	} catch (error) {
		// Whichever check failed first, the cause is the coarsest chunk whose coded bytes are damaged. Such bytes may also look like
		// those of a newer version.
		throw error instanceof ChunkError && findDamage(decoder, job) || error;
	}
}

/**
 * @param {Decoder} decoder
 * @param {Job} job
 * @param {number} level how far below the given job this one is
 * @returns {Uint8Array<ArrayBuffer>}
 */
function decodeLevel(decoder, job, level) {
	const { chunk, layout, size = 0, values, coarse, codes, coarseGrid, check } = job;
	/** @param {string} what @param {number} [at] */
	const damaged = (what, at = level) => what === NEWER_CODING ? new ChunkError("NEWER", `needs a newer qstore: ${what}`, at) :
		new ChunkError("CORRUPT", `is damaged: ${what}`, at);
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
 * Decodes a chunk and all chunks below it in one call, so that their values stay in the module's memory.
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
 * Finds the coarsest chunk of a job whose coded bytes are damaged.
 * @param {Decoder} decoder
 * @param {Job} job
 * @returns {ChunkError | undefined}
 */
function findDamage(decoder, job) {
	/** @type {ChunkError | undefined} */
	let found;
	for (let next = /** @type {Job | undefined} */ (job), level = 0; next; next = next.coarse, level++) {
		if (next.chunk && Number(BigInt.asUintN(32, decoder.xxh3(next.chunk.bytes))) !== next.chunk.checksum)
			found = new ChunkError("CORRUPT", "is damaged: its checksum differs", level);
	}
	return found;
}

/**
 * A codec that decodes on the calling thread, with pauses between jobs.
 * @param {Decoder} decoder
 * @returns {Codec}
 */
export function localCodec(decoder) {
	const pacer = new Pacer();
	return {
		concurrency: 1,
		async decode(job, { signal } = {}) {
			if (pacer.isDue)
				await pacer.pause();
			signal?.throwIfAborted();
			return decodeJob(decoder, job);
		},
	};
}

/** Bytes that a job takes and makes, for which sending it to a worker takes longer than decoding it. */
const SMALL_JOB = 2048;

/**
 * A codec that decodes small jobs on the calling thread, and gives others to workers.
 * @param {Codec} workers
 * @param {Decoder} decoder
 * @returns {Codec}
 */
export function sparingCodec(workers, decoder) {
	const local = localCodec(decoder);
	return {
		concurrency: workers.concurrency,
		decode: (job, options) => (isSmall(job) ? local : workers).decode(job, options),
		prepare: (jobs) => workers.prepare?.(jobs),
		close: () => workers.close?.(),
	};
}

/**
 * Is it a chunk that builds on nothing, of a few bytes?
 * @param {Job} job
 */
function isSmall({ chunk, coarse, coarseGrid, grid }) {
	return chunk !== undefined && !coarse && !coarseGrid && !grid && chunk.bytes.length + chunk.size <= SMALL_JOB;
}
