/** SHA-256 of sources and of bytes, block by block. */

import { createHash } from "node:crypto";
import { readExactly } from "../source/source.js";
import { Pacer } from "../util/pacer.js";

/** Bytes that are read and hashed at a time. */
const HASH_SIZE = 2 ** 22;

/**
 * The SHA-256 of a whole source, in hexadecimal.
 * @param {import("../source/source.js").Source} source
 * @param {import("../source/source.js").ReadOptions} [options]
 */
export async function hashSource(source, options) {
	const size = source.byteLength ?? 0, sha256 = createHash("sha256");
	for (let at = 0; at < size; at += HASH_SIZE)
		sha256.update(await readExactly(source, at, Math.min(HASH_SIZE, size - at), options));
	return sha256.digest("hex");
}

/**
 * The SHA-256 of bytes in memory.
 * @param {Uint8Array} bytes
 * @param {AbortSignal} [signal]
 * @returns {Promise<Uint8Array>}
 */
export async function digestOf(bytes, signal) {
	const sha256 = createHash("sha256"), pacer = new Pacer(signal);
	for (let at = 0; at < bytes.length; at += HASH_SIZE) {
		sha256.update(bytes.subarray(at, at + HASH_SIZE));
		if (pacer.isDue)
			await pacer.pause();
	}
	return sha256.digest();
}
