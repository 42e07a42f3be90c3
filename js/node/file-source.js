/** Files of the filesystem as sources. */

import { open } from "node:fs/promises";
import { QstoreError } from "../error.js";
import { ioError } from "./io-error.js";

/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */
/** @typedef {import("../source/source.js").Source} Source */

/**
 * An open file: what is used here of a FileHandle of node:fs/promises, so that these types do not need Node's.
 * @typedef {object} OpenFile
 * @property {number} fd
 * @property {() => Promise<{ isFile: () => boolean, size: number, dev: number, ino: number }>} stat
 * @property {(buffer: Uint8Array, offset: number, length: number, position: number) => Promise<{ bytesRead: number }>} read
 */

/**
 * A source over a file of the filesystem.
 * @param {string} path
 * @returns {Promise<FileSource>}
 */
export async function openFile(path) {
	let handle;
	try {
		handle = await open(path);
	} catch (error) {
		throw ioError(path, "cannot open", error);
	}
	try {
		return await fromHandle(handle, path, () => handle.close());
	} catch (error) {
		await handle.close();
		throw error;
	}
}

/**
 * A source over an open file, which the caller closes.
 * @param {OpenFile} handle
 * @returns {Promise<FileSource>}
 */
export function handleSource(handle) {
	return fromHandle(handle, `file ${handle.fd}`);
}

/**
 * @param {OpenFile} handle
 * @param {string} name
 * @param {() => Promise<void>} [close]
 */
async function fromHandle(handle, name, close) {
	const info = await handle.stat();
	if (!info.isFile())
		throw new QstoreError("NOT_QSTORE", `${name}: not a qstore archive: not a regular file`);
	return new FileSource(handle, name, info, close);
}

/** @implements {Source} */
export class FileSource {
	#handle;
	#close;
	#info;

	/**
	 * Use openFile or handleSource.
	 * @param {OpenFile} handle
	 * @param {string} name for messages
	 * @param {{ size: number, dev: number, ino: number }} info
	 * @param {() => Promise<void>} [close]
	 */
	constructor(handle, name, info, close) {
		this.#handle = handle;
		this.#close = close;
		this.name = name;
		this.byteLength = info.size;
		this.#info = info;
	}

	/** @param {import("../source/source.js").FileIdentity} info */
	isFile({ dev, ino }) {
		return dev === this.#info.dev && ino === this.#info.ino;
	}

	/**
	 * @param {number} offset
	 * @param {number} length
	 * @param {ReadOptions} [options]
	 * @returns {Promise<Uint8Array>}
	 */
	async read(offset, length, { signal } = {}) {
		signal?.throwIfAborted();
		const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(length, this.byteLength - offset)));
		for (let filled = 0; filled < bytes.length;) {
			let bytesRead;
			try {
				({ bytesRead } = await this.#handle.read(bytes, filled, bytes.length - filled, offset + filled));
			} catch (error) {
				throw ioError(this.name, "cannot read", error);
			}
			signal?.throwIfAborted();
			if (bytesRead === 0)
				return bytes.subarray(0, filled);
			filled += bytesRead;
		}
		return bytes;
	}

	async close() {
		await this.#close?.();
	}
}
