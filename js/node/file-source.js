import { open } from "node:fs/promises";
import { QstoreError } from "../error.js";
import { ioError } from "./io-error.js";

/** @typedef {import("../source.js").ReadOptions} ReadOptions */
/** @typedef {import("../source.js").Source} Source */

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
		const info = await handle.stat();
		if (!info.isFile())
			throw new QstoreError("NOT_QSTORE", `${path}: not a qstore archive: not a regular file`);
		return new FileSource(handle, path, info.size);
	} catch (error) {
		await handle.close();
		throw error;
	}
}

/** @implements {Source} */
export class FileSource {
	#handle;

	/**
	 * @param {import("node:fs/promises").FileHandle} handle
	 * @param {string} name for messages
	 * @param {number} byteLength
	 */
	constructor(handle, name, byteLength) {
		this.#handle = handle;
		this.name = name;
		this.byteLength = byteLength;
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
		await this.#handle.close();
	}
}
