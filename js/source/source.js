/**
 * Sources: where an archive's bytes come from. A source reads ranges and knows nothing of archives. Files, blobs, buffers and URLs are
 * sources, and so is any object of the caller's that has `read`.
 */

import { QstoreError } from "../error.js";

/**
 * @typedef {object} ReadOptions
 * @property {AbortSignal} [signal]
 * @property {(bytes: number) => void} [onFetch] is called with the number of bytes each time some have come over the network
 * @property {number} [batchSize] coded bytes that are requested at a time where much is read; default 8 MiB, and less at first. With
 *   smaller batches, a reading that is cancelled has fetched less in vain, but takes more requests
 * @property {boolean} [reload] do not read from a cache, whose bytes were damaged
 * @property {number} [retries] how often this read is tried again when it fails in a way that may pass
 */

/**
 * Identifies a file of a filesystem, by the fields that stat has.
 * @typedef {{ dev: number, ino: number }} FileIdentity
 */

/**
 * @typedef {object} Source
 * @property {number | undefined} [byteLength] its size; undefined while it is not known (for a URL, before the first read)
 * @property {string} [name] for messages
 * @property {(offset: number, length: number, options?: ReadOptions) => Promise<Uint8Array>} read resolves to exactly `length` bytes, or to
 *   fewer when the source ends earlier. It may be called again before it has resolved. The reader must not change the bytes
 * @property {() => void | Promise<void>} [close]
 * @property {boolean} [remote] is it read over a network, so that reading again may give other bytes?
 * @property {boolean} [hasCredentials] is it read with credentials, so that its bytes may be meant for this caller alone?
 * @property {boolean} [keeps] does it keep the bytes that it has read, so that nothing is fetched twice?
 * @property {(offset: number, length: number) => number} [missing] how many bytes reading a range would fetch, since the cache does not
 *   have them
 * @property {boolean} [sealed] are all coded bytes proved by a digest?
 * @property {(info: FileIdentity) => boolean} [isFile] does it read the file of the filesystem that has this identity?
 */

/**
 * A source over bytes in memory; the bytes are not copied.
 * @param {ArrayBuffer | ArrayBufferView} data
 * @param {string} [name] for messages
 * @returns {Source}
 */
export function bytesSource(data, name) {
	const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) :
		new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
	return {
		byteLength: bytes.length,
		name,
		async read(offset, length, { signal } = {}) {
			signal?.throwIfAborted();
			return bytes.subarray(offset, offset + length);
		},
	};
}

/**
 * A source over a Blob or File, of which only the wanted ranges are read.
 * @param {Blob} blob
 * @param {string} [name] for messages; by default a File's own name
 * @returns {Source}
 */
export function blobSource(blob, name = "name" in blob ? String(blob.name) : undefined) {
	return {
		byteLength: blob.size,
		name,
		async read(offset, length, { signal } = {}) {
			signal?.throwIfAborted();
			const buffer = await blob.slice(offset, offset + length).arrayBuffer();
			signal?.throwIfAborted();
			return new Uint8Array(buffer);
		},
	};
}

/**
 * The source for bytes, a Blob, or a source of the caller's.
 * @param {Source | Blob | ArrayBuffer | ArrayBufferView} input
 * @returns {Source}
 */
export function toSource(input) {
	if (input instanceof ArrayBuffer || ArrayBuffer.isView(input))
		return bytesSource(input);
	if (typeof Blob !== "undefined" && input instanceof Blob)
		return blobSource(input);
	if (typeof input === "object" && input !== null && "read" in input && typeof input.read === "function")
		return input;
	throw new QstoreError("USAGE", "an archive is opened from a source, a Blob, a File, an ArrayBuffer or a typed array");
}

/**
 * Reads a range, all of which must be there.
 * @param {Source} source
 * @param {number} offset
 * @param {number} length
 * @param {ReadOptions} [options]
 */
export async function readExactly(source, offset, length, options) {
	const bytes = await source.read(offset, length, options);
	if (bytes.length === length)
		return bytes;
	const name = source.name ? `${source.name}: ` : "";
	if (bytes.length < length)
		throw new QstoreError("TRUNCATED", `${name}ends too early, at byte ${offset + bytes.length}: ` +
			`${length} bytes from byte ${offset} on were needed`);
	throw new QstoreError("IO", `${name}the source gave ${bytes.length} bytes where ${length} were asked for`);
}

/**
 * A source that reads another one in its own way.
 * @param {Source} source
 * @param {Pick<Source, "read" | "missing" | "sealed">} own
 * @returns {Source}
 */
export function sourceOver(source, own) {
	return {
		get byteLength() {
			return source.byteLength;
		},
		name: source.name,
		remote: source.remote,
		get keeps() {
			return source.keeps;
		},
		isFile: (info) => source.isFile?.(info) ?? false,
		close: () => source.close?.(),
		...own,
	};
}

/**
 * A source whose first bytes have been read already and are not read again.
 * @param {Source} source
 * @param {Uint8Array} head the source's first bytes
 * @returns {Source}
 */
export function withHead(source, head) {
	return sourceOver(source, {
		missing: (offset, length) => offset + length > head.length ? bytesToFetch(source, offset, length) : 0,
		async read(offset, length, options) {
			if (offset + length > head.length || options?.reload)
				return source.read(offset, length, options);
			options?.signal?.throwIfAborted();
			return head.subarray(offset, offset + length);
		},
	});
}

/**
 * How many bytes reading a range would fetch over the network.
 * @param {Source} source
 * @param {number} offset
 * @param {number} length
 */
export function bytesToFetch(source, offset, length) {
	return source.missing ? source.missing(offset, length) : source.remote ? length : 0;
}
