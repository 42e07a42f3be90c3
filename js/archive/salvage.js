/** Reading what is whole of damaged archives: piece by piece where a longer read fails. */

import { QstoreError } from "../error.js";

/**
 * Bytes as they are restored, or as they are missing.
 * @typedef {object} Salvaged
 * @property {number} offset of the bytes
 * @property {Uint8Array} [bytes] undefined: they could not be restored
 * @property {number} size how many
 * @property {string} [tensor] of missing bytes: the tensor that they belong to
 * @property {string} [reason] of missing bytes: a line that says which chunk or file is damaged
 */

/**
 * The smallest piece of something restored that can be missing.
 * @typedef {object} PieceAt
 * @property {number} end where it ends
 * @property {string} [tensor] that it belongs to
 */

/** Pieces that are read one by one after one that is missing: whatever damaged it may have damaged its neighbours. */
const ALONE = 32;

/**
 * Reads everything that can be restored, in order. Missing pieces of one tensor that follow one another come as one.
 * @param {(start: number, options: import("../source/source.js").ReadOptions, end: number) => AsyncIterable<Uint8Array>} read
 * @param {number} size
 * @param {(at: number) => PieceAt} pieceAt
 * @param {boolean} remote does the archive come over a network, whose failures are no damage?
 * @param {import("../source/source.js").ReadOptions} options
 * @returns {AsyncGenerator<Salvaged, void, void>}
 */
export async function* salvage(read, size, pieceAt, remote, options) {
	/** @type {Salvaged | undefined} */
	let missing;
	for (let at = 0, alone = 0; at < size;) {
		try {
			for await (const bytes of read(at, options, alone > 0 ? pieceAt(at).end : size)) {
				if (missing)
					yield missing;
				missing = undefined;
				const offset = at;
				at += bytes.length;
				yield { offset, bytes, size: bytes.length };
			}
			alone = Math.max(0, alone - 1);
		} catch (error) {
			if (!isDamage(error, remote))
				throw error;
			if (alone === 0) {
				// The read may have failed for a later piece.
				alone = ALONE;
				continue;
			}
			const { end, tensor } = pieceAt(at);
			if (missing && missing.tensor === tensor) {
				missing.size += end - at;
			} else {
				if (missing)
					yield missing;
				missing = { offset: at, size: end - at, tensor, reason: error.message };
			}
			at = end;
			alone = ALONE;
		}
	}
	if (missing)
		yield missing;
}

/**
 * @param {unknown} error
 * @param {boolean} remote
 * @returns {error is QstoreError}
 */
function isDamage(error, remote) {
	return error instanceof QstoreError &&
		(["CORRUPT", "TRUNCATED", "INTEGRITY", "NEWER"].includes(error.code) || (error.code === "IO" && !remote));
}
