/** Files from servers that do not support Range requests: they are read once, from the start to the end. */

import { unlessAborted } from "../../util/abort.js";
import { QstoreError } from "../../error.js";
import { Retry, bodyOf, causeOf, fullLength } from "./response.js";

/** @typedef {import("../source.js").ReadOptions} ReadOptions */

/**
 * @typedef {object} OpenResponse
 * @property {Response} response
 * @property {AbortController} controller ends the response
 */

/**
 * Serves reads from one body, which only goes forward. Bytes that have passed are kept up to a limit. Archives are read mostly in their
 * order, so that this is enough for the coarsest variant, whatever its size.
 */
export class SequentialReader {
	#name;
	#limit;
	#reopen;
	/** @type {OpenResponse | undefined} */
	#open;
	/** @type {AsyncIterator<Uint8Array> | undefined} */
	#body;
	/** @type {Promise<IteratorResult<Uint8Array>> | undefined} the next bytes of the body, if an aborted read has asked for them */
	#pending;
	/** @type {{ offset: number, bytes: Uint8Array }[]} the bytes that are kept, in order, without gaps */
	#blocks = [];
	#kept = 0;
	#end = 0;
	#ended = false;
	/** @type {Promise<unknown>} the last read in the queue */
	#queue = Promise.resolve();
	#closed = false;

	/**
	 * @param {string} name for messages
	 * @param {number} limit bytes to keep
	 * @param {OpenResponse} open
	 * @param {(signal: AbortSignal | undefined) => Promise<OpenResponse>} reopen asks for the whole file again
	 */
	constructor(name, limit, open, reopen) {
		this.#name = name;
		this.#limit = limit;
		this.#reopen = reopen;
		this.#attach(open);
	}

	/**
	 * @param {number} offset
	 * @param {number} length
	 * @param {ReadOptions} options
	 * @returns {Promise<Uint8Array>}
	 */
	read(offset, length, options) {
		const result = this.#queue.then(() => this.#read(offset, length, options));
		this.#queue = result.catch(() => {});
		return result;
	}

	close() {
		this.#closed = true;
		this.#open?.controller.abort();
	}

	/**
	 * @param {number} offset
	 * @param {number} length
	 * @param {ReadOptions} options
	 */
	async #read(offset, length, { signal, onFetch }) {
		signal?.throwIfAborted();
		const start = this.#blocks[0]?.offset ?? this.#end;
		if (offset < start)
			throw new QstoreError("LIMIT", `${this.#name}: the server does not support Range requests, and byte ${offset} ` +
				`is before the last ${this.#kept} bytes that are kept in memory (limit ${this.#limit}): ` +
				"use a server that supports them, or download the archive first");
		while (this.#end < offset + length && !this.#ended) {
			const came = await this.#advance(signal, offset);
			onFetch?.(came);
		}
		const out = new Uint8Array(Math.max(0, Math.min(length, this.#end - offset)));
		for (const block of this.#blocks) {
			const from = Math.max(0, offset - block.offset);
			const to = Math.min(block.bytes.length, offset + out.length - block.offset);
			if (from < to)
				out.set(block.bytes.subarray(from, to), block.offset + from - offset);
		}
		return out;
	}

	/**
	 * Takes the next bytes of the body.
	 * @param {AbortSignal | undefined} signal
	 * @param {number} needed bytes from this place on are not dropped, whatever the limit
	 * @returns {Promise<number>} how many bytes came
	 */
	async #advance(signal, needed) {
		if (this.#closed)
			throw new QstoreError("CANCELLED", `${this.#name}: closed`);
		if (!this.#body)
			await this.#restart(signal);
		this.#pending ??= /** @type {AsyncIterator<Uint8Array>} */ (this.#body).next();
		let result;
		try {
			result = await unlessAborted(this.#pending, signal);
		} catch (error) {
			signal?.throwIfAborted();
			this.#detach();
			throw this.#broken(`the connection broke at byte ${this.#end}: ${causeOf(error)}`, error);
		}
		this.#pending = undefined;
		if (result.done) {
			const size = this.#open && fullLength(this.#open.response);
			if (size !== undefined && this.#end < size) {
				this.#detach();
				throw this.#broken(`the server sent ${this.#end} of ${size} bytes`);
			}
			this.#ended = true;
			return 0;
		}
		const bytes = result.value;
		this.#blocks.push({ offset: this.#end, bytes });
		this.#end += bytes.length;
		this.#kept += bytes.length;
		while (this.#kept > this.#limit && this.#blocks[0].offset + this.#blocks[0].bytes.length <= needed)
			this.#kept -= /** @type {{ bytes: Uint8Array }} */ (this.#blocks.shift()).bytes.length;
		return bytes.length;
	}

	/**
	 * Asks for the file again, and skips the bytes that had arrived before.
	 * @param {AbortSignal | undefined} signal
	 */
	async #restart(signal) {
		const open = await this.#reopen(signal);
		const body = bodyOf(open.response);
		let at = 0;
		try {
			while (at < this.#end) {
				const { done, value } = await unlessAborted(body.next(), signal);
				if (done)
					throw new Error(`the server sent ${at} of ${this.#end} bytes`);
				at += value.length;
				if (at > this.#end)
					this.#pending = Promise.resolve({ done: false, value: value.subarray(this.#end - at) });
			}
		} catch (error) {
			open.controller.abort();
			signal?.throwIfAborted();
			throw this.#broken(`the connection broke: ${causeOf(error)}`, error);
		}
		this.#open = open;
		this.#body = body;
	}

	/** @param {OpenResponse} open */
	#attach(open) {
		this.#open = open;
		this.#body = bodyOf(open.response);
	}

	/**
	 * A failure of the connection, which may pass.
	 * @param {string} text
	 * @param {unknown} [cause]
	 */
	#broken(text, cause) {
		return new Retry(new QstoreError("IO", `${this.#name}: ${text}`, { cause }));
	}

	#detach() {
		this.#open?.controller.abort();
		this.#open = this.#body = this.#pending = undefined;
	}
}
