/**
 * The WebAssembly decoder: what the C core decodes, as functions over byte arrays.
 *
 * A decoder holds one instance of the module and so one memory; it is synchronous, and for one thread. Its memory does not grow with
 * the model: everything that is allocated for a call is freed when it ends, and a heap view never outlives a call, because any
 * allocation may move the heap.
 */

import { DTYPES } from "./dtypes.js";
import { QstoreError } from "./error.js";
import { LAYOUT, RULE_Q8_0, RULES, isByColumns, lineOf } from "./rules.js";
import { STATUS } from "./status.js";

/**
 * The grid of codes, as far as a chunk needs it (native/src/core/grid.h, FORMAT.md §2.4).
 * @typedef {object} Grid
 * @property {number} rule
 * @property {number} codesDtype
 * @property {number} group
 * @property {number} rowStride
 * @property {number} groupStride
 * @property {Uint8Array} scales floats or records, little-endian, from number firstScale on
 * @property {number} scalesDtype
 * @property {number} firstScale
 * @property {Uint8Array} [zeros] of the same scales
 * @property {number} zeroOffset
 * @property {Uint8Array} [order] the group of each column
 * @property {Uint8Array} [factors] of the columns, for what is refined from these codes
 * @property {number} [factorsDtype]
 */

/**
 * What a chunk is, and what it builds on (native/src/core/chunk.h, FORMAT.md §3).
 * @typedef {object} ChunkDesc
 * @property {number} kind of the object: 0 plain, 1 codes, 2 refine, 3 delta
 * @property {number} dtype
 * @property {number} elems elements in this chunk
 * @property {bigint|number} cols columns of the object
 * @property {bigint|number} first the object's number of the chunk's first element
 * @property {Uint8Array} [coarse] the same elements of the coarser object, decoded; refine and codes: its codes
 * @property {number} [coarseDtype] theirs; needed with coarse
 * @property {Grid} [coarseGrid] refine and codes: of these codes
 * @property {Grid} [grid] codes that build on others: their own
 */

/**
 * A coded chunk.
 * @typedef {object} ChunkLevel
 * @property {ChunkDesc} desc
 * @property {Uint8Array} bytes
 */

/**
 * A part of a layout, and what it is made of (native/src/core/layout.h, FORMAT.md §2.3).
 * @typedef {object} LayoutDesc
 * @property {number} rule of LAYOUT
 * @property {number} dtype
 * @property {number} elems in this part
 * @property {number} first the object's number of the first one
 * @property {number} bits of a code, or of a float; not of blocks
 * @property {number} rows layouts by columns: of the codes
 * @property {Uint8Array} [codes] of these elements, decoded; layouts by columns: the columns of codes, or floats, that these words have, of all rows
 * @property {Grid} [grid] blocks: of these codes
 */

/**
 * @typedef {object} IndexHeader
 * @property {number} bodyCodedSize bytes after the header
 * @property {number} bodySize
 * @property {number} payloadOffset in the archive: what the index's offsets are relative to
 * @property {number} payloadSize to the archive's end
 */

/** What is wrong with bytes whose checksum differs. */
export const OTHER_BYTES = "it decodes to other bytes than were packed";

/** Bytes of the index's header, and where it is in an archive. */
export const INDEX_HEADER_SIZE = 64, INDEX_OFFSET = 512;

/** @param {number|bigint} value */
function checkSafe(value) {
	const number = Number(value);
	if (!Number.isSafeInteger(number))
		throw new QstoreError("LIMIT", `${value} is more than this JavaScript engine counts exactly (2^53)`);
	return number;
}

/**
 * The exports of wasm/abi.c.
 * @typedef {object} Abi
 * @property {WebAssembly.Memory} memory
 * @property {() => void} _initialize
 * @property {() => number} qs_version
 * @property {() => number} qs_workspace
 * @property {(size: number) => number} qs_malloc
 * @property {(pointer: number) => void} qs_free
 * @property {(src: number, size: number, out: number) => number} qs_header
 * @property {(src: number, size: number, dst: number, dstSize: number, work: number) => number} qs_body
 * @property {(words: number, src: number, size: number, dst: number, dstSize: number, work: number) => number} qs_chunk
 * @property {(dtype: number, absmax: number, codes: number, scales: number, count: number, dst: number) => void} qs_blocks
 * @property {(bits: number, codes: number, count: number, dst: number) => void} qs_words
 * @property {(bits: number, codes: number, rows: number, cols: number, first: number, count: number, dst: number) => void} qs_words_transposed
 * @property {(codes: number, count: number, dst: number) => void} qs_interleaved
 * @property {(codes: number, rows: number, cols: number, first: number, count: number, dst: number) => void} qs_interleaved_columns
 * @property {(src: number, size: number, out: number) => void} qs_xxh3
 * @property {(src: number, size: number, dst: number, dstSize: number, work: number) => number} qs_zstd
 */

export class Decoder {
	/** @type {Abi} */
	#abi;
	#work = 0;

	/**
	 * A decoder of its own memory, for this thread.
	 * @param {WebAssembly.Module} module
	 */
	static async instantiate(module) {
		const imports = { env: { emscripten_notify_memory_growth() {} } };
		return new Decoder(await WebAssembly.instantiate(module, imports));
	}

	/** @param {WebAssembly.Instance} instance of dist/qstore.wasm or dist/qstore-scalar.wasm; use createDecoder */
	constructor(instance) {
		this.#abi = /** @type {Abi} */ (/** @type {unknown} */ (instance.exports));
		this.#abi._initialize();
	}

	/** Bytes of the module's memory now: bounded by the largest single call, whatever the model. */
	get memorySize() {
		return this.#abi.memory.buffer.byteLength;
	}

	/**
	 * Reads the index's header.
	 * @param {Uint8Array} bytes from INDEX_OFFSET of the archive on, INDEX_HEADER_SIZE or more
	 * @returns {IndexHeader}
	 */
	indexHeader(bytes) {
		return this.#scope((scope) => {
			const header = bytes.subarray(0, INDEX_HEADER_SIZE), out = scope.alloc(32);
			this.#check(this.#abi.qs_header(scope.copy(header), header.length, out), "index header");
			const view = new DataView(this.#abi.memory.buffer, out, 32);
			/** @param {number} i */
			const size = (i) => checkSafe(view.getBigUint64(8 * i, true));
			return { bodyCodedSize: size(0), bodySize: size(1), payloadOffset: size(2), payloadSize: size(3) };
		});
	}

	/**
	 * Decompresses the index's body and checks all of it: its fields can be used without further checks.
	 * @param {Uint8Array} bytes the header and the whole coded body
	 * @returns {Uint8Array<ArrayBuffer>} the body, a copy
	 */
	indexBody(bytes) {
		const { bodyCodedSize, bodySize } = this.indexHeader(bytes);
		const size = INDEX_HEADER_SIZE + bodyCodedSize;
		if (bytes.length < size)
			throw new QstoreError("TRUNCATED", `index: ${bytes.length} of ${size} bytes`);
		return this.#scope((scope) => {
			const src = scope.copy(bytes.subarray(0, size)), dst = scope.alloc(bodySize);
			this.#check(this.#abi.qs_body(src, size, dst, bodySize, this.#workspace()), "index");
			return this.#bytes(dst, bodySize).slice();
		});
	}

	/**
	 * Decodes one chunk; dst is filled exactly. Checksums are the caller's business (see xxh3).
	 * @param {ChunkDesc} desc
	 * @param {Uint8Array} src exactly the coded chunk
	 * @param {Uint8Array} dst
	 */
	chunk(desc, src, dst) {
		this.#scope((scope) => {
			const out = this.#decode(scope, desc, scope.copy(src), src.length, dst.length);
			dst.set(this.#bytes(out, dst.length));
		});
	}

	/**
	 * Decodes a chunk and before it those that it builds on, whose values stay in the module's memory; dst is filled exactly.
	 * @param {ChunkLevel[]} levels at least one; each builds on the one before, whose values its `coarse` needs not be
	 * @param {Uint8Array} dst the last one's values
	 * @param {(level: number, what: string) => Error} [damaged] what to throw when a level does not decode, or the last one's values are wrong
	 * @param {bigint} [check] XXH3-64 of the last one's values; not checked without
	 */
	chunks(levels, dst, damaged = (_, what) => new QstoreError("CORRUPT", `chunk: ${what}`), check) {
		this.#scope((scope) => {
			/** @type {{ pointer: number, size: number } | undefined} */
			let values;
			for (const [level, { desc, bytes }] of levels.entries()) {
				const size = desc.elems * DTYPES[desc.dtype].size;
				try {
					values = { pointer: this.#decode(scope, desc, scope.copy(bytes), bytes.length, size, values), size };
				} catch (error) {
					throw error instanceof QstoreError && error.code === "CORRUPT" ? damaged(level, "it does not decode") : error;
				}
			}
			const { pointer } = /** @type {{ pointer: number }} */ (values);
			if (check !== undefined && this.#xxh3(scope, pointer, dst.length) !== check)
				throw damaged(levels.length - 1, OTHER_BYTES);
			dst.set(this.#bytes(pointer, dst.length));
		});
	}

	/**
	 * @param {{ alloc: (size: number) => number, copy: (bytes: Uint8Array) => number }} scope
	 * @param {ChunkDesc} desc
	 * @param {number} coded where the chunk is
	 * @param {number} codedSize
	 * @param {number} size of its values
	 * @param {{ pointer: number, size: number }} [coarse] instead of desc.coarse
	 * @returns {number} where its values are, until the scope ends
	 */
	#decode(scope, desc, coded, codedSize, size, coarse) {
		const { coarseDtype = 0, coarseGrid, grid } = desc, { length } = desc.coarse ?? { length: coarse?.size };
		if (length !== undefined && length !== desc.elems * DTYPES[coarseDtype].size)
			throw new QstoreError("USAGE", `${length} coarse bytes for a chunk of ${desc.elems} elements`);
		const work = this.#workspace(), out = scope.alloc(size), values = coarse?.pointer ?? (desc.coarse ? scope.copy(desc.coarse) : 0);
		const words = Uint32Array.of(desc.kind, desc.dtype, desc.elems, ...halves(desc.cols), ...halves(desc.first),
			values, coarseDtype, ...gridWords(scope, coarseGrid), ...gridWords(scope, grid),
			coarseGrid?.factors ? scope.copy(coarseGrid.factors) : 0, coarseGrid?.factorsDtype ?? 0);
		const description = scope.copy(new Uint8Array(words.buffer));
		this.#check(this.#abi.qs_chunk(description, coded, codedSize, out, size, work), "chunk");
		return out;
	}

	/**
	 * Makes a part of a layout; dst is filled exactly.
	 * @param {LayoutDesc} desc
	 * @param {Uint8Array} dst
	 * @param {() => Error} [damaged] what to throw when it has other bytes
	 * @param {bigint} [check] XXH3-64 of them; not checked without
	 */
	layout({ rule, dtype, elems, first, bits, rows, codes = new Uint8Array(0), grid }, dst, damaged = () => new QstoreError("CORRUPT", `layout: ${OTHER_BYTES}`), check) {
		const { blockElems, blockSize } = DTYPES[dtype], count = elems / blockElems, abi = this.#abi;
		const codeSize = bits > 8 ? bits / 8 : 1, words = count * blockSize / 4, perElem = 8 * blockSize * codeSize / bits;
		// What the C functions take on trust.
		if (dst.length !== count * blockSize)
			throw new QstoreError("USAGE", `${dst.length} bytes for ${elems} elements of ${DTYPES[dtype].name}`);
		const byColumns = isByColumns(rule), cols = byColumns ? codes.length / codeSize / rows : 0, line = lineOf(rule, rows, bits);
		const need = rule === LAYOUT.BLOCKS ? elems : byColumns ? Math.ceil((first + elems) / line.words) * line.size * rows : elems * perElem;
		if (codes.length < need || cols % 1 !== 0 || (rule === LAYOUT.PACKED && words % 1 !== 0))
			throw new QstoreError("USAGE", `${codes.length} bytes of codes, not ${need}`);
		this.#scope((scope) => {
			const out = scope.alloc(dst.length), source = scope.copy(codes);
			if (rule === LAYOUT.BLOCKS) {
				const { scales, scalesDtype, rule: codesRule } = /** @type {Grid} */ (grid);
				const { recordSize } = RULES[codesRule];
				const scaleBytes = recordSize === 0 ? DTYPES[scalesDtype].size : recordSize;
				if (scales.length < count * scaleBytes)
					throw new QstoreError("USAGE", `${scales.length} bytes of scales for ${count} blocks`);
				abi.qs_blocks(dtype, codesRule === RULE_Q8_0 ? scalesDtype : 0, source, scope.copy(scales), count, out);
			} else if (rule === LAYOUT.PACKED) {
				abi.qs_words(bits, source, words, out);
			} else if (rule === LAYOUT.INTERLEAVED) {
				abi.qs_interleaved(source, elems, out);
			} else if (rule === LAYOUT.INTERLEAVED_COLUMNS) {
				abi.qs_interleaved_columns(source, rows, cols, first, elems, out);
			} else {
				abi.qs_words_transposed(bits, source, rows, cols, first, elems, out);
			}
			if (check !== undefined && this.#xxh3(scope, out, dst.length) !== check)
				throw damaged();
			dst.set(this.#bytes(out, dst.length));
		});
	}

	/**
	 * XXH3-64 with seed 0: the checksum of coded chunks and of what they decode to.
	 * @param {Uint8Array} bytes
	 * @returns {bigint}
	 */
	xxh3(bytes) {
		return this.#scope((scope) => this.#xxh3(scope, scope.copy(bytes), bytes.length));
	}

	/**
	 * @param {{ alloc: (size: number) => number }} scope
	 * @param {number} pointer
	 * @param {number} size
	 */
	#xxh3(scope, pointer, size) {
		const out = scope.alloc(8);
		this.#abi.qs_xxh3(pointer, size, out);
		return new DataView(this.#abi.memory.buffer, out, 8).getBigUint64(0, true);
	}

	/**
	 * Decompresses one zstd frame.
	 * @param {Uint8Array} bytes
	 * @param {number} size of the decompressed bytes, exactly
	 * @returns {Uint8Array<ArrayBuffer>}
	 */
	zstd(bytes, size) {
		return this.#scope((scope) => {
			const src = scope.copy(bytes), dst = scope.alloc(size);
			this.#check(this.#abi.qs_zstd(src, bytes.length, dst, size, this.#workspace()), "zstd frame");
			return this.#bytes(dst, size).slice();
		});
	}

	/** The C core's version, as "0.1.0". */
	get version() {
		const version = this.#abi.qs_version();
		return `${version >>> 16}.${version >>> 8 & 255}.${version & 255}`;
	}

	/**
	 * Runs a call; what it allocates is freed when it ends, however it ends.
	 * @template T
	 * @param {(scope: { alloc: (size: number) => number, copy: (bytes: Uint8Array) => number }) => T} call
	 * @returns {T}
	 */
	#scope(call) {
		/** @type {number[]} */
		const pointers = [];
		/** @param {number} size */
		const alloc = (size) => {
			const pointer = this.#malloc(size);
			pointers.push(pointer);
			return pointer;
		};
		/** @param {Uint8Array} bytes */
		const copy = (bytes) => {
			const pointer = alloc(bytes.length);
			this.#bytes(pointer, bytes.length).set(bytes);
			return pointer;
		};
		try {
			return call({ alloc, copy });
		} finally {
			for (const pointer of pointers.reverse())
				this.#abi.qs_free(pointer);
		}
	}

	/**
	 * @param {number} size
	 * @returns {number} a pointer, never 0, also for 0 bytes
	 */
	#malloc(size) {
		if (!Number.isSafeInteger(size) || size < 0 || size > 0x7fffffff)
			throw new QstoreError("LIMIT", `${size} bytes at once are more than WebAssembly's memory takes`);
		// Pointers are signed to JavaScript; views need them unsigned.
		const pointer = this.#abi.qs_malloc(size || 1) >>> 0;
		if (!pointer)
			throw new QstoreError("MEMORY", `WebAssembly has no ${size} bytes left`);
		return pointer;
	}

	/** The scratch memory of decoding: of a fixed size, allocated at its first use, kept. */
	#workspace() {
		this.#work ||= this.#abi.qs_workspace() >>> 0;
		if (!this.#work)
			throw new QstoreError("MEMORY", "WebAssembly has no memory left");
		return this.#work;
	}

	/**
	 * A view, good until the next allocation.
	 * @param {number} pointer
	 * @param {number} size
	 */
	#bytes(pointer, size) {
		return new Uint8Array(this.#abi.memory.buffer, pointer, size);
	}

	/**
	 * @param {number} status
	 * @param {string} what
	 */
	#check(status, what) {
		if (status !== STATUS.OK)
			throw QstoreError.fromStatus(status, what);
	}
}

/**
 * The 16 words of a grid (wasm/abi.c).
 * @param {{ copy: (bytes: Uint8Array) => number }} scope
 * @param {Grid} [grid]
 * @returns {number[]}
 */
function gridWords(scope, grid) {
	if (!grid)
		return new Array(16).fill(0);
	const { rule, codesDtype, group, order, rowStride, groupStride, scales, scalesDtype, firstScale, zeros, zeroOffset } = grid;
	return [rule, codesDtype, group, order ? scope.copy(order) : 0, ...halves(rowStride), ...halves(groupStride),
		scope.copy(scales), scales.length, scalesDtype, ...halves(firstScale), zeros ? scope.copy(zeros) : 0, zeros?.length ?? 0, zeroOffset];
}

/**
 * A 64-bit number as two words.
 * @param {bigint|number} value
 */
function halves(value) {
	return [Number(BigInt(value) & 0xffffffffn), Number(BigInt(value) >> 32n & 0xffffffffn)];
}
