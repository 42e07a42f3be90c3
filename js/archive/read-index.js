/** Reading an archive's index. */

import { QstoreError } from "../error.js";
import { INDEX_HEADER_SIZE, INDEX_OFFSET, Index } from "../format/archive-index.js";
import { readExactly } from "../source/source.js";
import { MESSAGES } from "../status.js";
import { copyTo } from "../util/pacer.js";

/** @typedef {import("../source/source.js").Source} Source */
/** @typedef {import("../wasm/decoder.js").Decoder} Decoder */

/** The message for an index that the core refuses because of what it describes (FORMAT.md, 4.1). */
const OVER_LIMIT = "restoring it would take more memory or time than the format allows";

/** Bytes of an index's body that the calling thread decodes and checks in a few milliseconds. */
const SHORT_BODY = 2 ** 20;

/** Bytes of the first read: most models' whole index is among them. */
const FIRST_READ = 65536;

/**
 * Reads the index, with one request, or two when it is large.
 * @param {Source} source
 * @param {Decoder} decoder
 * @param {import("../source/source.js").ReadOptions} [options]
 * @param {import("../decode/codec.js").Codec} [codec] decodes and checks a large index, which takes long for the calling thread
 * @param {(coded: Uint8Array) => void | Promise<void>} [check] gets the index as it is in the archive, and throws if it is not trusted,
 *   before any of it but the header is decoded
 * @returns {Promise<{ index: Index, head: Uint8Array }>} head: the archive's first bytes, all that have been read
 */
export async function readIndex(source, decoder, options, codec, check) {
	const name = source.name ? `${source.name}: ` : "";
	let head = await source.read(0, FIRST_READ, options);
	if (head.length <= INDEX_OFFSET)
		throw new QstoreError("NOT_QSTORE", `${name}not a qstore archive`);
	const newer = `${name}made by a newer qstore: this one reads format version 1.0`;
	const header = await named(() => decoder.indexHeader(head.subarray(INDEX_OFFSET)), {
		NOT_QSTORE: `${name}not a qstore archive`,
		NEWER: newer,
		TRUNCATED: `${name}ends inside the index`,
		OLDER: `${name}made by an older qstore, whose layout is no longer read: pack the model again`,
		CORRUPT: `${name}the index header is damaged`,
		LIMIT: `${name}${OVER_LIMIT}`,
	}, name);
	const size = INDEX_OFFSET + INDEX_HEADER_SIZE + header.bodyCodedSize;
	const checkSize = () => {
		if (source.byteLength !== undefined && source.byteLength < size)
			throw new QstoreError("TRUNCATED", `${name}ends inside the index: ${source.byteLength} of ${size} bytes`);
	};
	checkSize();
	if (head.length < size) {
		const rest = await readExactly(source, head.length, size - head.length, options).catch((error) => {
			// A pipe's size is known only now.
			checkSize();
			throw error;
		});
		const all = new Uint8Array(size);
		all.set(head);
		await copyTo(all, rest, head.length, options?.signal);
		head = all;
	}
	const coded = head.subarray(INDEX_OFFSET, size);
	await check?.(coded);
	const decode = async () => {
		if (!codec || header.bodySize <= SHORT_BODY)
			return decoder.indexBody(coded);
		const copy = new Uint8Array(coded.length);
		await copyTo(copy, coded, 0, options?.signal);
		return codec.decode({ index: copy }, options);
	};
	const body = await named(decode,
		{ NEWER: newer, CORRUPT: `${name}the index is damaged`, LIMIT: `${name}${OVER_LIMIT}` }, name);
	return { index: new Index(/** @type {Uint8Array} */ (body), header), head };
}

/**
 * Calls a function, and gives its errors messages that name the archive.
 * @template T
 * @param {() => T | Promise<T>} call
 * @param {Partial<Record<import("../error.js").StatusName, string>>} messages by the error's code
 * @param {string} prefix goes before the messages of other errors
 * @returns {Promise<T>}
 */
async function named(call, messages, prefix) {
	try {
		return await call();
	} catch (error) {
		if (!(error instanceof QstoreError))
			throw error;
		// An error with a message of its own says more than its code.
		const own = error.message.endsWith(MESSAGES[error.code]) ? messages[error.code] : undefined;
		throw new QstoreError(error.code, own ?? prefix + error.message, { cause: error });
	}
}
