/**
 * The memory of the WebAssembly module beyond its own data. The module allocates nothing: what a call takes is laid out here, as a stack, whose top is
 * put back when the call ends. There is one place where the memory grows, and where its views are renewed.
 */

import { QstoreError } from "../error.js";

/** What memory grows by. */
const PAGE_SIZE = 65536;

/** What each piece of memory is aligned to: a vector, which is more than C asks for. */
const ALIGNMENT = 16;

export class Heap {
	#memory;
	/** Where free memory begins. */
	#top;
	/** All of the memory, as bytes and as numbers. Growing replaces them: nobody keeps them over an allocation. */
	bytes = new Uint8Array(0);
	words = new Uint32Array(0);
	longs = new BigUint64Array(0);

	/**
	 * @param {WebAssembly.Memory} memory
	 * @param {number} start where the module's own data end
	 */
	constructor(memory, start) {
		this.#memory = memory;
		this.#top = alignUp(start);
		this.#renewViews();
	}

	/**
	 * Runs a call; the memory that it takes is free again when it ends, however it ends.
	 * @template T
	 * @param {() => T} call
	 * @returns {T}
	 */
	scope(call) {
		const top = this.#top;
		try {
			return call();
		} finally {
			this.#top = top;
		}
	}

	/**
	 * @param {number} size
	 * @returns {number} a pointer, never 0, also for 0 bytes
	 */
	alloc(size) {
		if (!Number.isSafeInteger(size) || size < 0 || size > 0x7fffffff)
			throw new QstoreError("LIMIT", `${size} bytes at once are more than WebAssembly's memory takes`);
		const pointer = this.#top, end = alignUp(pointer + size), more = end - this.bytes.length;
		if (more > 0) {
			try {
				this.#memory.grow(Math.ceil(more / PAGE_SIZE));
			} catch (cause) {
				throw new QstoreError("MEMORY", `WebAssembly has no ${size} bytes left`, { cause });
			}
			this.#renewViews();
		}
		this.#top = end;
		return pointer;
	}

	#renewViews() {
		const { buffer } = this.#memory;
		this.bytes = new Uint8Array(buffer);
		this.words = new Uint32Array(buffer);
		this.longs = new BigUint64Array(buffer);
	}

	/**
	 * @param {Uint8Array} bytes
	 * @returns {number} a pointer
	 */
	copy(bytes) {
		const pointer = this.alloc(bytes.length);
		this.bytes.set(bytes, pointer);
		return pointer;
	}

	/**
	 * @param {Uint8Array} [bytes]
	 * @returns {number} 0 when there are none
	 */
	copyIfThere(bytes) {
		return bytes ? this.copy(bytes) : 0;
	}
}

/** @param {number} size */
function alignUp(size) {
	return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}
