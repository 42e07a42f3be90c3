/**
 * The WebAssembly decoder: the C core as functions over byte arrays.
 *
 * A decoder has one instance of the module, and so one memory. It is synchronous, and for one thread. Its memory does not grow with the
 * model: each call frees what it allocates (heap.js).
 */

import { INDEX_HEADER_SIZE } from "../format/archive-index.js";
import { DTYPES, LAYOUT, RULES, isByColumns } from "../format/facts.js";
import { lineOf } from "../format/layout.js";
import { QstoreError } from "../error.js";
import { Heap } from "./heap.js";
import { STATUS } from "../status.js";

/**
 * The part of a grid that a chunk needs (native/src/core/grid.h, FORMAT.md §2.4).
 * @typedef {object} Grid
 * @property {number} rule
 * @property {number} codesDtype
 * @property {number} group
 * @property {number} rowStride
 * @property {number} groupStride
 * @property {Uint8Array} scales floats or records, little-endian; the first is scale number firstScale of the grid
 * @property {number} scalesDtype
 * @property {number} firstScale
 * @property {Uint8Array} [zeroPoints] a byte for each of these scales
 * @property {number} zeroOffset is added to each zero point
 * @property {Uint8Array} [order] the group of each column
 * @property {Uint8Array} [factors] the column factors, for a refinement of these codes
 * @property {number} [factorsDtype]
 */

/**
 * Describes a chunk and what it builds on (native/src/core/chunk.h, FORMAT.md §3).
 * @typedef {object} ChunkDesc
 * @property {number} kind the object's: 0 plain, 1 codes, 2 refine, 3 delta
 * @property {number} dtype
 * @property {number} elems elements in this chunk
 * @property {number} cols columns of the object
 * @property {number} first the number, within the object, of the chunk's first element
 * @property {Uint8Array} [coarse] these elements of the object that it builds on, decoded: codes for kinds refine and codes, else floats
 * @property {number} [coarseDtype] the dtype of `coarse`, which needs it
 * @property {Grid} [coarseGrid] the grid of the codes in `coarse`
 * @property {Grid} [grid] the grid of recoded codes themselves
 */

/**
 * A coded chunk, one of several that build on one another.
 * @typedef {object} ChunkLevel
 * @property {ChunkDesc} desc
 * @property {Uint8Array} bytes
 */

/**
 * Describes a part of a layout and what it is made of (native/src/core/layout.h, FORMAT.md §2.3).
 * @typedef {object} LayoutDesc
 * @property {number} rule one of LAYOUT
 * @property {number} dtype
 * @property {number} elems elements in this part
 * @property {number} first the number, within the object, of the part's first element
 * @property {number} bits of a code, or of a float; not used for blocks
 * @property {number} rows of the codes; only used for layouts by columns
 * @property {Uint8Array} [codes] the codes, or floats, of these elements, decoded; for layouts by columns all rows of the columns that the
 *   part's words hold; for joined layouts the part itself, which is compared with its checksum
 * @property {Grid} [grid] the grid of the codes; only used for blocks
 */

/** The message for a decoded part whose checksum differs. */
export const OTHER_BYTES = "it decodes to other bytes than were packed";
/** The message for a chunk whose mode, or one of whose symbol blocks, this version does not know. */
export const NEWER_CODING = "it is coded in a way that this one does not know";

/** 32-bit words of a chunk's description, and of each grid in it (wasm/abi.c). */
const CHUNK_WORDS = 43, GRID_WORDS = 16;

/**
 * A 64-bit number as a JavaScript number, which must hold it exactly.
 * @param {bigint} value
 */
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
 * @property {() => number} qs_heap
 * @property {() => number} qs_workspace_size
 * @property {(work: number) => void} qs_workspace_init
 * @property {(src: number, size: number, out: number) => number} qs_header
 * @property {(src: number, size: number, dst: number, dstSize: number, columns: number, work: number) => number} qs_body
 * @property {(words: number, src: number, size: number, dst: number, dstSize: number, work: number) => number} qs_chunk
 * @property {(dtype: number, absmax: number, codes: number, scales: number, count: number, dst: number) => void} qs_blocks
 * @property {(bits: number, codes: number, count: number, dst: number) => void} qs_words
 * @property {(bits: number, codes: number, rows: number, cols: number, first: number, count: number, dst: number) => void
 *   } qs_words_transposed
 * @property {(codes: number, count: number, dst: number) => void} qs_interleaved
 * @property {(codes: number, rows: number, cols: number, first: number, count: number, dst: number) => void} qs_interleaved_columns
 * @property {(dtype: number) => number} qs_has_f32
 * @property {(dtype: number, src: number, count: number, dst: number) => void} qs_to_f32
 * @property {(src: number, size: number, out: number) => void} qs_xxh3
 * @property {(src: number, size: number, dst: number, dstSize: number, work: number) => number} qs_zstd
 */

export class Decoder {
	/** @type {Abi} */
	#abi;
	#heap;
	/** A pointer to the core's workspace, its scratch memory. */
	#work;

	/**
	 * Makes a decoder, with a memory of its own, for the calling thread.
	 * @param {WebAssembly.Module} module
	 */
	static async instantiate(module) {
		return new Decoder(await WebAssembly.instantiate(module));
	}

	/** @param {WebAssembly.Instance} instance of dist/qstore.wasm or dist/qstore-scalar.wasm; use createDecoder */
	constructor(instance) {
		this.#abi = /** @type {Abi} */ (/** @type {unknown} */ (instance.exports));
		this.#abi._initialize();
		this.#heap = new Heap(this.#abi.memory, this.#abi.qs_heap());
		this.#work = this.#heap.alloc(this.#abi.qs_workspace_size());
		this.#abi.qs_workspace_init(this.#work);
	}

	/** Bytes of the module's memory now. The largest single call bounds them, whatever the model's size. */
	get memorySize() {
		return this.#heap.bytes.length;
	}

	/**
	 * Reads the index's header.
	 * @param {Uint8Array} bytes the archive from INDEX_OFFSET on, INDEX_HEADER_SIZE bytes or more
	 * @returns {import("../format/archive-index.js").IndexHeader}
	 */
	indexHeader(bytes) {
		return this.#heap.scope(() => {
			const header = bytes.subarray(0, INDEX_HEADER_SIZE), out = this.#heap.alloc(32);
			this.#check(this.#abi.qs_header(this.#heap.copy(header), header.length, out), "index header");
			const numbers = Array.from(this.#heap.longs.subarray(out / 8, out / 8 + 4), checkSafe);
			const [bodyCodedSize, bodySize, payloadOffset, payloadSize] = numbers;
			return { bodyCodedSize, bodySize, payloadOffset, payloadSize };
		});
	}

	/**
	 * Decompresses the index's body and checks all of it, so that its fields can be used without further checks.
	 * @param {Uint8Array} bytes the header and the whole coded body
	 * @returns {Uint8Array<ArrayBuffer>} the body, a copy
	 */
	indexBody(bytes) {
		const { bodyCodedSize, bodySize } = this.indexHeader(bytes);
		const size = INDEX_HEADER_SIZE + bodyCodedSize;
		if (bytes.length < size)
			throw new QstoreError("TRUNCATED", `index: ${bytes.length} of ${size} bytes`);
		return this.#heap.scope(() => {
			const src = this.#heap.copy(bytes.subarray(0, size)), dst = this.#heap.alloc(bodySize), columns = this.#heap.alloc(bodySize);
			this.#check(this.#abi.qs_body(src, size, dst, bodySize, columns, this.#work), "index");
			return this.#heap.bytes.slice(dst, dst + bodySize);
		});
	}

	/**
	 * Decodes a chunk after those that it builds on, whose values stay in the module's memory. Fills dst exactly.
	 * @param {ChunkLevel[]} levels at least one. Each builds on the one before it, unless its `coarse` has the values to build on
	 * @param {Uint8Array} dst gets the values of the last level
	 * @param {(level: number, what: string) => Error} [damaged] makes the error for a level that does not decode, or for wrong values of
	 *   the last level; `what` is NEWER_CODING for a level that only a newer version decodes
	 * @param {bigint} [check] XXH3-64 of the last level's values; without it they are not checked
	 */
	chunks(levels, dst, damaged = (_, what) => new QstoreError(what === NEWER_CODING ? "NEWER" : "CORRUPT", `chunk: ${what}`), check) {
		this.#heap.scope(() => {
			let values = 0, size = 0;
			for (const [level, { desc, bytes }] of levels.entries()) {
				const coarse = desc.coarse ? this.#heap.copy(desc.coarse) : values, coarseSize = desc.coarse?.length ?? size;
				if (coarse && coarseSize !== desc.elems * DTYPES[desc.coarseDtype ?? 0].size)
					throw new QstoreError("USAGE", `${coarseSize} coarse bytes for a chunk of ${desc.elems} elements`);
				size = desc.elems * DTYPES[desc.dtype].size;
				values = this.#heap.alloc(size);
				const words = this.#describe(desc, coarse), src = this.#heap.copy(bytes);
				const status = this.#abi.qs_chunk(words, src, bytes.length, values, size, this.#work);
				if (status === STATUS.CORRUPT || status === STATUS.NEWER)
					throw damaged(level, status === STATUS.NEWER ? NEWER_CODING : "it does not decode");
				this.#check(status, "chunk");
			}
			if (dst.length !== size)
				throw new QstoreError("USAGE", `${dst.length} bytes for a chunk of ${size}`);
			this.#give(values, dst, () => damaged(levels.length - 1, OTHER_BYTES), check);
		});
	}

	/**
	 * Stores a chunk's description in the module's memory (wasm/abi.c).
	 * @param {ChunkDesc} desc
	 * @param {number} coarse a pointer to the values that it builds on, or 0
	 * @returns {number} a pointer to the description
	 */
	#describe({ kind, dtype, elems, cols, first, coarseDtype = 0, coarseGrid, grid }, coarse) {
		const factors = this.#heap.copyIfThere(coarseGrid?.factors), words = this.#heap.alloc(4 * CHUNK_WORDS), at = words / 4;
		this.#store(at, [kind, dtype, elems, cols, high(cols), first, high(first), coarse, coarseDtype]);
		this.#storeGrid(at + 9, coarseGrid);
		this.#storeGrid(at + 9 + GRID_WORDS, grid);
		this.#store(at + 9 + 2 * GRID_WORDS, [factors, coarseGrid?.factorsDtype ?? 0]);
		return words;
	}

	/**
	 * Stores a grid, or zeros where there is none.
	 * @param {number} at in words
	 * @param {Grid} [grid]
	 */
	#storeGrid(at, grid) {
		if (!grid) {
			this.#heap.words.fill(0, at, at + GRID_WORDS);
			return;
		}
		const { rule, codesDtype, group, order, rowStride, groupStride, scales, scalesDtype, firstScale, zeroPoints, zeroOffset } = grid;
		this.#store(at, [rule, codesDtype, group, this.#heap.copyIfThere(order), rowStride, high(rowStride), groupStride, high(groupStride),
			this.#heap.copy(scales), scales.length, scalesDtype, firstScale, high(firstScale),
			this.#heap.copyIfThere(zeroPoints), zeroPoints?.length ?? 0, zeroOffset]);
	}

	/**
	 * Stores the low 32 bits of each number.
	 * @param {number} at in words
	 * @param {number[]} numbers
	 */
	#store(at, numbers) {
		for (let i = 0; i < numbers.length; i++)
			this.#heap.words[at + i] = numbers[i];
	}

	/**
	 * Makes a part of a layout. Fills dst exactly.
	 * @param {LayoutDesc} desc
	 * @param {Uint8Array} dst
	 * @param {() => Error} [damaged] makes the error for bytes whose checksum differs
	 * @param {bigint} [check] XXH3-64 of the bytes; without it they are not checked
	 */
	layout(desc, dst, damaged = () => new QstoreError("CORRUPT", `layout: ${OTHER_BYTES}`), check) {
		const { rule, dtype, elems, first, bits, rows, codes = new Uint8Array(0), grid } = desc;
		const { blockElems, blockSize } = DTYPES[dtype], count = elems / blockElems, abi = this.#abi;
		const codeSize = bits > 8 ? bits / 8 : 1, words = count * blockSize / 4, perElem = 8 * blockSize * codeSize / bits;
		// The C functions do not check sizes.
		if (dst.length !== count * blockSize)
			throw new QstoreError("USAGE", `${dst.length} bytes for ${elems} elements of ${DTYPES[dtype].name}`);
		const byColumns = isByColumns(rule), cols = byColumns ? codes.length / codeSize / rows : 0, line = lineOf(rule, rows, bits);
		const need = rule === LAYOUT.BLOCKS ? elems : rule === LAYOUT.JOINED ? dst.length :
			byColumns ? Math.ceil((first + elems) / line.words) * line.size * rows : elems * perElem;
		if (codes.length < need || cols % 1 !== 0 || (rule === LAYOUT.PACKED && words % 1 !== 0))
			throw new QstoreError("USAGE", `${codes.length} bytes of codes, not ${need}`);
		this.#heap.scope(() => {
			const source = this.#heap.copy(codes), out = rule === LAYOUT.JOINED ? source : this.#heap.alloc(dst.length);
			if (rule === LAYOUT.BLOCKS) {
				const { scales, scalesDtype, rule: codesRule } = /** @type {Grid} */ (grid);
				const { recordSize } = RULES[codesRule];
				const scaleBytes = recordSize === 0 ? DTYPES[scalesDtype].size : recordSize;
				if (scales.length < count * scaleBytes)
					throw new QstoreError("USAGE", `${scales.length} bytes of scales for ${count} blocks`);
				abi.qs_blocks(dtype, RULES[codesRule].hasAbsmax ? scalesDtype : 0, source, this.#heap.copy(scales), count, out);
			} else if (rule === LAYOUT.PACKED) {
				abi.qs_words(bits, source, words, out);
			} else if (rule === LAYOUT.INTERLEAVED) {
				abi.qs_interleaved(source, elems, out);
			} else if (rule === LAYOUT.INTERLEAVED_COLUMNS) {
				abi.qs_interleaved_columns(source, rows, cols, first, elems, out);
			} else if (rule !== LAYOUT.JOINED) {
				abi.qs_words_transposed(bits, source, rows, cols, first, elems, out);
			}
			this.#give(out, dst, damaged, check);
		});
	}

	/**
	 * Can elements of this dtype be made singles (native/src/core/dequantize.h)?
	 * @param {number} dtype
	 */
	canDequantize(dtype) {
		return this.#abi.qs_has_f32(dtype) !== 0;
	}

	/**
	 * Makes singles of blocks, or of floats of 8 and 16 bits.
	 * @param {number} dtype one that canDequantize()
	 * @param {Uint8Array} bytes whole blocks
	 * @returns {Uint8Array<ArrayBuffer>} 4 bytes for each element
	 */
	dequantize(dtype, bytes) {
		const { blockElems, blockSize } = DTYPES[dtype], count = bytes.length / blockSize;
		if (!Number.isInteger(count) || !this.canDequantize(dtype))
			throw new QstoreError("USAGE", `${bytes.length} bytes of ${DTYPES[dtype].name} cannot be made f32`);
		return this.#heap.scope(() => {
			const src = this.#heap.copy(bytes), size = 4 * count * blockElems, dst = this.#heap.alloc(size);
			this.#abi.qs_to_f32(dtype, src, count, dst);
			return this.#heap.bytes.slice(dst, dst + size);
		});
	}

	/**
	 * XXH3-64 with seed 0, the checksum of coded chunks and of decoded parts.
	 * @param {Uint8Array} bytes
	 * @returns {bigint}
	 */
	xxh3(bytes) {
		return this.#heap.scope(() => this.#xxh3(this.#heap.copy(bytes), bytes.length));
	}

	/**
	 * XXH3-64 of bytes in the module's memory.
	 * @param {number} pointer
	 * @param {number} size
	 */
	#xxh3(pointer, size) {
		const out = this.#heap.alloc(8);
		this.#abi.qs_xxh3(pointer, size, out);
		return this.#heap.longs[out / 8];
	}

	/**
	 * Decompresses one zstd frame.
	 * @param {Uint8Array} bytes
	 * @param {number} size the exact number of decompressed bytes
	 * @returns {Uint8Array<ArrayBuffer>}
	 */
	zstd(bytes, size) {
		return this.#heap.scope(() => {
			const src = this.#heap.copy(bytes), dst = this.#heap.alloc(size);
			this.#check(this.#abi.qs_zstd(src, bytes.length, dst, size, this.#work), "zstd frame");
			return this.#heap.bytes.slice(dst, dst + size);
		});
	}

	/** The C core's version, for example "0.1.0". */
	get version() {
		const version = this.#abi.qs_version();
		return `${version >>> 16}.${version >>> 8 & 255}.${version & 255}`;
	}

	/**
	 * Checks a result and copies it to the caller.
	 * @param {number} pointer
	 * @param {Uint8Array} dst
	 * @param {() => Error} damaged makes the error for a checksum that differs
	 * @param {bigint} [check] XXH3-64 of the result; without it the result is not checked
	 */
	#give(pointer, dst, damaged, check) {
		if (check !== undefined && this.#xxh3(pointer, dst.length) !== check)
			throw damaged();
		dst.set(this.#heap.bytes.subarray(pointer, pointer + dst.length));
	}

	/**
	 * Throws unless a function of the core succeeded.
	 * @param {number} status
	 * @param {string} what the subject of the message
	 */
	#check(status, what) {
		if (status !== STATUS.OK)
			throw QstoreError.fromStatus(status, what);
	}
}

/**
 * The upper 32 bits of a 64-bit number; storing the number itself as a word keeps the lower 32 bits.
 * @param {number} value
 */
function high(value) {
	return Math.floor(value / 2 ** 32);
}
