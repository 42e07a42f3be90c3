/** Decoding one chunk with what it builds on: the unit of work of a thread or of a worker. */

import { QstoreError } from "./error.js";

/** @typedef {import("./wasm.js").Decoder} Decoder */

/**
 * @typedef {object} CodedChunk
 * @property {Uint8Array} bytes
 * @property {bigint} checksum of the bytes
 * @property {import("./wasm.js").ChunkDesc} desc without what it builds on
 * @property {number} size decoded
 */

/**
 * @typedef {object} Job
 * @property {CodedChunk} chunk
 * @property {CodedChunk} [coarse] refine: the codes
 * @property {Uint8Array} [scales] refine: of the rows that the chunk touches, decoded
 */

/**
 * Decodes jobs, somewhere. Results are the caller's own.
 * @typedef {object} Codec
 * @property {number} concurrency jobs that it works on at a time
 * @property {(job: Job) => Promise<Uint8Array>} decode
 */

/** Which of a job's chunks is bad, and how. */
export class ChunkError extends QstoreError {
	/**
	 * @param {import("./error.js").StatusName} code
	 * @param {string} message a predicate: "is damaged …"
	 * @param {"chunk" | "coarse"} part
	 */
	constructor(code, message, part) {
		super(code, message);
		this.part = part;
	}
}

/**
 * @param {Decoder} decoder
 * @param {Job} job
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function decodeJob(decoder, { chunk, coarse, scales }) {
	const codes = coarse && decodeChunk(decoder, coarse, coarse.desc, "coarse");
	return decodeChunk(decoder, chunk, { ...chunk.desc, coarse: codes, scales }, "chunk");
}

/**
 * @param {Decoder} decoder
 * @param {CodedChunk} chunk
 * @param {import("./wasm.js").ChunkDesc} desc
 * @param {"chunk" | "coarse"} part
 */
function decodeChunk(decoder, { bytes, checksum, size }, desc, part) {
	if (decoder.xxh3(bytes) !== checksum)
		throw new ChunkError("CORRUPT", "is damaged: its checksum differs", part);
	const out = new Uint8Array(size);
	try {
		decoder.chunk(desc, bytes, out);
	} catch (error) {
		if (error instanceof QstoreError && error.code === "CORRUPT")
			throw new ChunkError("CORRUPT", "is damaged: it does not decode", part);
		throw error;
	}
	return out;
}

/**
 * Decodes on the calling thread.
 * @param {Decoder} decoder
 * @returns {Codec}
 */
export function localCodec(decoder) {
	return { concurrency: 1, decode: async (job) => decodeJob(decoder, job) };
}
