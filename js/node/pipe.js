/** An archive that comes through a pipe: as native/cli/pipe.c does it. */

import { randomUUID } from "node:crypto";
import { open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { INDEX_HEADER_SIZE, INDEX_OFFSET } from "../format/archive-index.js";
import { ioError } from "./io-error.js";

/** @typedef {import("../source/source.js").Source} Source */

const NAME = "standard input";

/**
 * A source over a stream, of which no more is read than is asked for. It is kept in a temporary file.
 * @implements {Source}
 */
export class PipeSource {
	name = NAME;
	#chunks;
	#file;
	/** Bytes that are in the file. */
	#size = 0;
	#ended = false;
	/** @type {Promise<void>} */
	#filling = Promise.resolve();

	/**
	 * @param {AsyncIterator<Uint8Array>} chunks
	 * @param {import("node:fs/promises").FileHandle} file
	 */
	constructor(chunks, file) {
		this.#chunks = chunks;
		this.#file = file;
	}

	/** @param {AsyncIterable<Uint8Array>} stream */
	static async open(stream) {
		const path = join(tmpdir(), `qstore-${randomUUID()}`);
		try {
			const file = await open(path, "wx+", 0o600);
			// Windows does not remove open files; there it stays in the folder for temporary files.
			await unlink(path).catch(() => {});
			return new PipeSource(stream[Symbol.asyncIterator](), file);
		} catch (error) {
			throw ioError(NAME, "cannot create a temporary file", error);
		}
	}

	/** Its size, once the stream has ended, or all that is wanted is here. */
	get byteLength() {
		return this.#ended ? this.#size : undefined;
	}

	/**
	 * Reads the stream until there are `size` bytes of it, or it ends.
	 * @param {number} size
	 */
	fill(size) {
		return this.#filling = this.#filling.then(async () => {
			while (this.#size < size && !this.#ended) {
				const { done, value } = await this.#chunks.next().catch((error) => {
					throw ioError(NAME, "cannot read", error);
				});
				this.#ended = done === true;
				if (value)
					await this.#keep(value);
			}
		});
	}

	/** @param {Uint8Array} bytes */
	async #keep(bytes) {
		try {
			for (let at = 0; at < bytes.length;)
				at += (await this.#file.write(bytes, at, bytes.length - at, this.#size + at)).bytesWritten;
		} catch (error) {
			throw ioError(NAME, "cannot write a temporary file", error);
		}
		this.#size += bytes.length;
	}

	/**
	 * @param {number} offset
	 * @param {number} length
	 */
	async read(offset, length) {
		// The first read of an archive asks for more than its header, in case that there is more.
		await this.fill(offset === 0 ? Math.min(length, INDEX_OFFSET + INDEX_HEADER_SIZE) : offset + length);
		const bytes = new Uint8Array(Math.max(0, Math.min(length, this.#size - offset)));
		for (let at = 0; at < bytes.length;) {
			const { bytesRead } = await this.#file.read(bytes, at, bytes.length - at, offset + at);
			if (bytesRead === 0)
				return bytes.subarray(0, at);
			at += bytesRead;
		}
		return bytes;
	}

	async close() {
		await this.#file.close();
		await this.#chunks.return?.();
	}
}
