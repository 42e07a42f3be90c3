/**
 * The memory of the WebAssembly module behind its own data. The module allocates nothing itself: the memory for a call is allocated here,
 * as on a stack whose top is reset when the call ends. Only alloc() grows the memory and renews its views.
 */

import { QstoreError } from "../error.js";

/** Bytes of a page, by which WebAssembly's memory grows. */
const PAGE_SIZE = 65536;

/** Every allocation is aligned to a vector's size, which is more than C asks for. */
const ALIGNMENT = 16;

export class Heap {
	#memory;
	/** Where free memory begins. */
	#top;
	/** All of the memory, as bytes, 32-bit and 64-bit words. Growing replaces these views: do not keep one over an allocation. */
	bytes = new Uint8Array(0);
	words = new Uint32Array(0);
	longs = new BigUint64Array(0);

	/**
	 * @param {WebAssembly.Memory} memory
	 * @param {number} start the end of the module's own data
	 */
	constructor(memory, start) {
		this.#memory = memory;
		this.#top = alignUp(start);
		this.#renewViews();
	}

	/**
	 * Calls a function, and frees the memory that it allocated when it returns or throws.
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
	 * @param {number} size in bytes
	 * @returns {number} a pointer, which is never 0, not even for 0 bytes
	 */
	alloc(size) {
		if (!Number.isSafeInteger(size) || size < 0 || size > 0x7fffffff)
			throw new QstoreError("LIMIT", `${size} bytes in one piece are more than WebAssembly's memory can hold`);
		const pointer = this.#top, end = alignUp(pointer + size), more = end - this.bytes.length;
		if (more > 0) {
			try {
				this.#memory.grow(Math.ceil(more / PAGE_SIZE));
			} catch (cause) {
				throw new QstoreError("MEMORY", `WebAssembly's memory cannot grow by ${more} bytes`, { cause });
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
	 * Copies bytes into the memory.
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
	 * @returns {number} a pointer, or 0 for undefined
	 */
	copyIfThere(bytes) {
		return bytes ? this.copy(bytes) : 0;
	}
}

/** @param {number} size */
function alignUp(size) {
	return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}
