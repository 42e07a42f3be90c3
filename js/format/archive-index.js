/** The index: what is in an archive, and where (FORMAT.md §2). The core checks all of it before it is read here. */

import { DTYPES, KIND } from "./facts.js";
import { QstoreError } from "../error.js";
import { hex } from "../util/hex.js";
import { countWhile } from "./search.js";

/** Bytes of the index's header, and its offset in an archive. */
export const INDEX_HEADER_SIZE = 64, INDEX_OFFSET = 512;

/** "No object", "no coarser variant". */
export const NONE = 0xffffffff;

const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes of the counts, and of each array's records, in the order of the arrays; strings are single bytes. */
const COUNTS_SIZE = 64;
const SEAL_SIZE = 16;
/** A stretch of chunks ends with the one that brings it to this many bytes. */
const STRETCH_SIZE = 163840;
const RECORD = Object.freeze({ variant: 64, file: 80, extent: 24, tensor: 40, object: 96 });

/**
 * @typedef {object} IndexHeader
 * @property {number} bodyCodedSize bytes after the header
 * @property {number} bodySize
 * @property {number} payloadOffset in the archive: what the index's offsets are relative to
 * @property {number} payloadSize to the archive's end
 */

/**
 * @typedef {object} VariantRecord
 * @property {string} name
 * @property {number} dtype of its modelled weights
 * @property {number} coarser the variant that its refinement builds on, or NONE
 * @property {number} layerOffset in the payload
 * @property {number} layerSize
 * @property {number} size of its files, restored
 */

/**
 * @typedef {object} FileRecord
 * @property {string} name
 * @property {number} variants bit v: variant v has it
 * @property {number} size
 * @property {string} sha256 in hexadecimal
 * @property {number} kind
 * @property {number} firstExtent
 * @property {number} extentCount
 * @property {number} offset in the payload
 * @property {number} codedSize
 */

/**
 * @typedef {object} ExtentRecord
 * @property {number} object
 * @property {number} offset in the object's decoded bytes
 * @property {number} size
 */

/**
 * @typedef {object} TensorRecord
 * @property {string} name
 * @property {number} file
 * @property {number} offset in the restored file
 * @property {number} size
 * @property {number} dtype
 * @property {number[]} shape
 * @property {number} object that holds exactly this tensor, or NONE
 */

/**
 * @typedef {object} ObjectRecord
 * @property {number} kind
 * @property {number} dtype
 * @property {number} variant whose layer holds it
 * @property {number} rule codes: an index into RULES; layout: of LAYOUT
 * @property {number} coarse object, or NONE
 * @property {number} scales object, or NONE; refine: the factors of its columns
 * @property {number} zeroPoints object with zero points, or NONE
 * @property {number} beside joined layouts: the object with the columns on the right; else NONE
 * @property {number} order object with each column's group, or NONE
 * @property {number} group codes: columns that share a scale; with an order, the number of groups of a row
 * @property {number} rowStride codes: the distance between the scale numbers of two rows
 * @property {number} groupStride codes: the distance between the scale numbers of two groups of a row
 * @property {number} zeroOffset codes: is added to each zero point
 * @property {number} bits layouts other than blocks: of a code, or of a float
 * @property {number} baseFile base: the number of the file that has the elements
 * @property {number} baseOffset base: the byte offset of the elements in that file
 * @property {number} error refine: Σ(coarse − fine)² / Σ fine²
 * @property {number} elems
 * @property {number} cols
 * @property {number} chunkElems elements of each part but the last, also of layouts and base objects, which have no chunks
 * @property {number} chunkBytes the decoded bytes of such a part
 * @property {number} firstChunk the number of its first chunk, through all objects
 * @property {number} firstPart the number of its first part, through all objects
 * @property {number} chunkCount its chunks in the archive
 * @property {number} size decoded bytes
 * @property {number} offset of its first chunk, in the payload
 * @property {number} codedSize coded bytes of all its chunks
 */

/** Typed access to a body that the core has checked. Records are read from it at each call. */
export class Index {
	#bytes;
	#view;
	#at;
	/** @type {Float64Array | undefined} where chunks start in the archive; 0 for those of objects that nobody has asked for */
	#chunkOffsets;
	/** @type {Map<number, Float64Array>} */
	#extentStarts = new Map();
	/** @type {string | undefined} all strings */
	#text;
	/** @type {Map<number, string>} names by their place: many records may have one name */
	#names = new Map();

	/**
	 * @param {Uint8Array} body
	 * @param {IndexHeader} header
	 */
	constructor(body, { payloadOffset, payloadSize }) {
		this.#bytes = body;
		const view = this.#view = new DataView(body.buffer, body.byteOffset, body.byteLength);
		/** @param {number} i */
		const count = (i) => view.getUint32(4 * i, true);
		this.variantCount = count(0);
		this.fileCount = count(1);
		this.extentCount = count(2);
		this.tensorCount = count(3);
		this.objectCount = count(4);
		this.chunkCount = count(5);
		this.dimCount = count(6);
		const partCount = count(8), sealCount = count(9);
		/** Where the payload starts in the archive. */
		this.payloadOffset = payloadOffset;
		/** Bytes of the complete archive. */
		this.archiveSize = safe(payloadOffset + payloadSize, "the archive's size");

		const variants = COUNTS_SIZE;
		const files = variants + RECORD.variant * this.variantCount;
		const extents = files + RECORD.file * this.fileCount;
		const tensors = extents + RECORD.extent * this.extentCount;
		const objects = tensors + RECORD.tensor * this.tensorCount;
		const parts = objects + RECORD.object * this.objectCount;
		const seals = parts + 8 * partCount;
		const checksums = seals + SEAL_SIZE * sealCount;
		const sizes = checksums + 4 * this.chunkCount;
		const dims = sizes + 4 * this.chunkCount;
		const strings = dims + 8 * this.dimCount;
		this.#at = { variants, files, extents, tensors, objects, parts, seals, checksums, sizes, dims, strings };
	}

	/**
	 * @param {number} i below variantCount; so below
	 * @returns {VariantRecord}
	 */
	variant(i) {
		const at = this.#at.variants + RECORD.variant * i;
		return {
			name: this.#string(at), dtype: this.#u32(at + 4), coarser: this.#u32(at + 8),
			layerOffset: this.#u64(at + 16), layerSize: this.#u64(at + 24), size: this.#u64(at + 32),
		};
	}

	/**
	 * @param {number} i
	 * @returns {FileRecord}
	 */
	file(i) {
		const at = this.#at.files + RECORD.file * i;
		return {
			name: this.#string(at), variants: this.#u32(at + 4), size: this.#u64(at + 8),
			sha256: hex(this.#bytes.subarray(at + 16, at + 48)), kind: this.#u32(at + 48),
			firstExtent: this.#u32(at + 52), extentCount: this.#u32(at + 56), offset: this.#u64(at + 64), codedSize: this.#u64(at + 72),
		};
	}

	/**
	 * The variants of a file, as its record has them.
	 * @param {number} i
	 */
	fileVariants(i) {
		return this.#u32(this.#at.files + RECORD.file * i + 4);
	}

	/**
	 * The variant whose layer holds an object.
	 * @param {number} i
	 */
	objectVariant(i) {
		return this.#bytes[this.#at.objects + RECORD.object * i + 2];
	}

	/**
	 * @param {number} i
	 * @returns {ExtentRecord}
	 */
	extent(i) {
		const at = this.#at.extents + RECORD.extent * i;
		return { object: this.#u32(at), offset: this.#u64(at + 8), size: this.#u64(at + 16) };
	}

	/**
	 * @param {number} i
	 * @returns {TensorRecord}
	 */
	tensor(i) {
		const at = this.#at.tensors + RECORD.tensor * i;
		const dims = this.#at.dims + 8 * this.#u32(at + 28), shape = [];
		for (let dim = dims, end = dims + 8 * this.#u32(at + 32); dim < end; dim += 8)
			shape.push(this.#u64(dim));
		return {
			name: this.#string(at), file: this.#u32(at + 4), offset: this.#u64(at + 8), size: this.#u64(at + 16),
			dtype: this.#u32(at + 24), object: this.#u32(at + 36), shape,
		};
	}

	/**
	 * @param {number} i
	 * @returns {ObjectRecord}
	 */
	object(i) {
		const at = this.#at.objects + RECORD.object * i, bytes = this.#bytes;
		const elems = this.#u64(at + 16), chunkElems = this.#u32(at + 32);
		const { blockElems, blockSize } = DTYPES[bytes[at + 1]];
		// These two fields have a meaning for each kind of object.
		const kind = bytes[at], field = this.#u32(at + 68), wideField = this.#u64(at + 72);
		return {
			kind, dtype: bytes[at + 1], variant: bytes[at + 2], rule: bytes[at + 3],
			coarse: this.#u32(at + 4), scales: this.#u32(at + 8), error: this.#view.getFloat32(at + 12, true),
			elems, cols: this.#u64(at + 24), chunkElems, chunkBytes: chunkElems / blockElems * blockSize,
			firstChunk: this.#u32(at + 36), chunkCount: this.#u32(at + 40), size: safe(elems / blockElems * blockSize, "an object's size"),
			zeroPoints: kind === KIND.LAYOUT ? NONE : this.#u32(at + 44), beside: kind === KIND.LAYOUT ? this.#u32(at + 44) : NONE,
			offset: this.#u64(at + 48), codedSize: this.#u64(at + 56), order: this.#u32(at + 64),
			group: kind === KIND.CODES ? field : 0, rowStride: kind === KIND.CODES ? wideField : 0, groupStride: this.#u64(at + 80),
			bits: kind === KIND.LAYOUT ? field : 0,
			baseFile: kind === KIND.BASE ? field : NONE, baseOffset: kind === KIND.BASE ? wideField : 0,
			zeroOffset: this.#view.getInt32(at + 88, true), firstPart: this.#u32(at + 92),
		};
	}

	/**
	 * @param {number} i counted through all objects
	 * @returns {number} its coded bytes
	 */
	chunkSize(i) {
		return this.#u32(this.#at.sizes + 4 * i);
	}

	/**
	 * @param {number} i counted through all objects
	 * @returns {number} where it starts in the archive
	 */
	chunkOffset(i) {
		this.#chunkOffsets ??= new Float64Array(this.chunkCount);
		if (this.#chunkOffsets[i] === 0)
			this.#sumChunks(this.#chunkOffsets, i);
		return this.#chunkOffsets[i];
	}

	/**
	 * @param {number} i counted through all objects
	 * @returns {number} the low half of XXH3-64 of its coded bytes
	 */
	checksum(i) {
		return this.#u32(this.#at.checksums + 4 * i);
	}

	/**
	 * @param {number} i counted through all objects
	 * @returns {bigint} XXH3-64 of what it decodes to
	 */
	partChecksum(i) {
		return this.#view.getBigUint64(this.#at.parts + 8 * i, true);
	}

	/**
	 * @param {number} stretch its number, as in stretches()
	 * @returns {Uint8Array} the first 16 bytes of the SHA-256 of the stretch's coded bytes
	 */
	seal(stretch) {
		const at = this.#at.seals + SEAL_SIZE * stretch;
		return this.#bytes.subarray(at, at + SEAL_SIZE);
	}

	/**
	 * The stretches of chunks that have a seal each, in order.
	 * @returns {{ start: number, end: number }[]} their bytes in the archive
	 */
	stretches() {
		const stretches = [];
		/** @type {{ start: number, end: number } | undefined} */
		let stretch;
		let layer = 0;
		for (let i = 0; i < this.objectCount; i++) {
			const { variant, firstChunk, chunkCount } = this.object(i);
			if (variant !== layer)
				stretch = undefined;
			layer = variant;
			for (let j = firstChunk; j < firstChunk + chunkCount; j++) {
				if (!stretch || stretch.end - stretch.start >= STRETCH_SIZE) {
					const start = this.chunkOffset(j);
					stretch = { start, end: start };
					stretches.push(stretch);
				}
				stretch.end += this.chunkSize(j);
			}
		}
		return stretches;
	}

	/**
	 * Where each extent of a file starts in it.
	 * @param {number} i file
	 * @returns {Float64Array}
	 */
	extentStarts(i) {
		let starts = this.#extentStarts.get(i);
		if (!starts) {
			const { firstExtent, extentCount } = this.file(i);
			starts = new Float64Array(extentCount);
			for (let j = 1; j < extentCount; j++)
				starts[j] = starts[j - 1] + this.extent(firstExtent + j - 1).size;
			this.#extentStarts.set(i, starts);
		}
		return starts;
	}

	/**
	 * Computes where the chunks of one object start.
	 * @param {Float64Array} offsets
	 * @param {number} chunk one of them, counted through all objects
	 */
	#sumChunks(offsets, chunk) {
		const { objects } = this.#at;
		// Objects have their chunks in order. The last one that does not begin behind the chunk has it: others before have none.
		const object = countWhile(this.objectCount, (i) => this.#u32(objects + RECORD.object * i + 36) <= chunk) - 1;
		const at = objects + RECORD.object * object, first = this.#u32(at + 36), end = first + this.#u32(at + 40);
		let offset = this.payloadOffset + this.#u64(at + 48);
		for (let i = first; i < end; i++) {
			offsets[i] = offset;
			offset += this.chunkSize(i);
		}
	}

	/** @param {number} at */
	#u32(at) {
		return this.#view.getUint32(at, true);
	}

	/** @param {number} at */
	#u64(at) {
		const value = this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
		return safe(value, "a number in the index");
	}

	/** @param {number} at of a record's first field, the name's place in the strings */
	#string(at) {
		const offset = this.#u32(at), start = this.#at.strings + offset, strings = this.#bytes.subarray(this.#at.strings);
		this.#text ??= TEXT.decode(strings);
		// Names are parts of one text, where each of its characters is a byte.
		if (this.#text.length === strings.length)
			return this.#text.slice(offset, this.#text.indexOf("\0", offset));
		let name = this.#names.get(start);
		if (name === undefined) {
			name = TEXT.decode(this.#bytes.subarray(start, this.#bytes.indexOf(0, start)));
			this.#names.set(start, name);
		}
		return name;
	}
}

/**
 * @param {number} value
 * @param {string} what
 */
function safe(value, what) {
	if (!Number.isSafeInteger(value))
		throw new QstoreError("LIMIT", `${what} is more than JavaScript counts exactly (2^53): ${value}`);
	return value;
}
