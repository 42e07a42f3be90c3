// A slow, readable decoder of whole .qstore archives, written from native/FORMAT.md alone. It follows that text section by
// section, one element at a time, and shares nothing with the C decoder but the text: what both restore is what the format says.
//
//   node tests/reference/decode.mjs FILE.qstore VARIANT OUTDIR [FILE OF THE BASE]…
//
// zstd and XXH3 come from npm (fzstd, hash-wasm); everything else is here.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { decompress } from "fzstd";
import { xxhash3 } from "hash-wasm";

const NONE = 0xffffffff;

class FormatError extends Error {}

/** @param {unknown} condition @param {string} message */
function need(condition, message) {
	if (!condition) throw new FormatError(message);
}

/** Little-endian integers, front to back. */
class Reader {
	/** @param {Uint8Array} bytes */
	constructor(bytes) {
		this.bytes = bytes;
		this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
		this.at = 0;
	}
	get left() {
		return this.bytes.length - this.at;
	}
	/** @param {number} n */
	take(n) {
		need(n <= this.left, "the data ends too early");
		this.at += n;
		return this.bytes.subarray(this.at - n, this.at);
	}
	u8() {
		return this.take(1)[0];
	}
	u16() {
		return this.take(2) && this.view.getUint16(this.at - 2, true);
	}
	u32() {
		return this.take(4) && this.view.getUint32(this.at - 4, true);
	}
	f32() {
		return this.take(4) && this.view.getFloat32(this.at - 4, true);
	}
	u64() {
		this.take(8);
		const value = Number(this.view.getBigUint64(this.at - 8, true));
		need(Number.isSafeInteger(value), "a number over 2^53");
		return value;
	}
	/** XXH3-64 values do not fit a Number. @param {number} size of the value's low bytes that are stored */
	hash(size = 8) {
		return Buffer.from(this.take(size)).reverse().toString("hex");
	}
	varint() {
		let value = 0;
		for (let shift = 0; shift < 35; shift += 7) {
			const byte = this.u8();
			value += (byte & 127) * 2 ** shift;
			need(value < 2 ** 32, "a varint over 32 bits");
			if (byte < 128) return value;
		}
		throw new FormatError("a varint over 32 bits");
	}
	end() {
		need(this.left === 0, `${this.left} bytes too many`);
	}
}

/** @param {Uint8Array} frame @param {number} size */
function zstd(frame, size) {
	let bytes;
	try {
		bytes = decompress(frame, new Uint8Array(size));
	} catch (error) {
		throw new FormatError(`a bad zstd frame: ${/** @type {Error} */ (error).message}`);
	}
	need(bytes.length === size, "a zstd frame of another size");
	return bytes;
}

/** The window of a zstd frame (RFC 8878, 3.1.1.1), in bytes. @param {Uint8Array} frame */
function windowOf(frame) {
	need(frame.length >= 6, "a zstd frame without its header");
	const [flags, window] = frame.subarray(4), isSingle = flags >> 5 & 1;
	if (!isSingle) return 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
	// It is as large as the content.
	const at = 5 + [0, 1, 2, 4][flags & 3], size = [1, 2, 4, 8][flags >> 6];
	need(frame.length >= at + size, "a zstd frame without its header");
	return frame.subarray(at, at + size).reduceRight((sum, byte) => sum * 256 + byte, 0) + (size === 2 ? 256 : 0);
}

// ---- 2. Index ------------------------------------------------------------------------------------------------------

const DTYPE_SIZES = [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8, 1];
const [BYTES, U8, I8, F16, BF16, I32, F32, F64] = [0, 2, 3, 8, 9, 11, 12, 15];
const [CODES, REFINE, DELTA, LAYOUT, BASE] = [1, 2, 3, 4, 5];
const [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K] = [18, 19, 20, 21, 22, 26, 27, 28];
/** Elements and bytes of a block, of the dtypes from 18 on. */
const BLOCKS = [
	[32, 18], [32, 20], [32, 22], [32, 24], [32, 34], [32, 36], [256, 84], [256, 110], [256, 144], [256, 176], [256, 210], [256, 292],
	[256, 66], [256, 74], [256, 98], [256, 50], [32, 18], [256, 110], [256, 82], [256, 136], [256, 56], [256, 54], [256, 66], [32, 17],
	[2, 1], [2, 1],
];

/** Bytes of n elements. @param {number} dtype @param {number} n */
function sizeOf(dtype, n) {
	if (dtype < 18) return n * DTYPE_SIZES[dtype];
	const [elements, bytes] = BLOCKS[dtype - 18];
	need(n % elements === 0, "a part of a block");
	return (n / elements) * bytes;
}
const [STORED, ZSTD, ASSEMBLED, BASE_FILE] = [0, 1, 2, 3];

/** @param {Uint8Array} archive */
export async function readIndex(archive) {
	const header = new Reader(archive.subarray(512, 512 + 64));
	need(header.left === 64, "too short for an index");
	need(Buffer.from(header.take(8)).toString("latin1") === "\x89QSTORE\n", "not a qstore archive");
	const major = header.u16();
	need(major === 1, `major version ${major}`);
	header.u16(); // any minor version
	const flags = header.u32();
	const codedSize = header.u64();
	const bodySize = header.u64();
	const bodyHash = header.hash();
	const payloadSize = header.u64();
	const draft = header.u32();
	const reserved = header.u32();
	need((await xxhash3(archive.subarray(512, 512 + 56))) === header.hash(), "the header is damaged");
	need(draft === 3, `draft ${draft} of the format`);
	need(flags <= 1 && reserved === 0, "reserved fields are set");
	need(bodySize <= 2 ** 30 && (!(flags & 1) || bodySize <= 2 ** 24 + 4 * codedSize), "the body is too large");
	const coded = archive.subarray(512 + 64, 512 + 64 + codedSize);
	need(coded.length === codedSize && (await xxhash3(coded)) === bodyHash, "the index is damaged");
	const body = flags & 1 ? bodyOfColumns(zstd(coded, bodySize)) : coded;
	need(body.length === bodySize, "the index has another size");
	const payloadOffset = Math.ceil((512 + 64 + codedSize) / 512) * 512;
	need(payloadOffset + payloadSize === archive.length, "the archive has another size than its index says");
	const index = { ...readBody(new Reader(body)), payload: archive.subarray(payloadOffset) };
	checkLimits(index);
	checkSeals(index);
	return index;
}

/** 4.1: what an archive makes its readers hold and do. @param {any} index */
function checkLimits({ objects, parts, extents, files }) {
	for (const { kind, size, codedSize } of files)
		need(kind !== ZSTD || (Math.max(size, codedSize) <= 2 ** 26 && size <= 2 ** 24 + 4 * codedSize), "a compressed file is too large");
	const byColumns = (/** @type {any} */ object) => object.kind === LAYOUT && (object.rule === 3 || object.rule === 5);
	for (const object of objects.filter((/** @type {any} */ each) => each.elements > 0)) {
		const { kind, rule, columns, elements, chunkElements } = object;
		if (byColumns(object)) {
			let coded = 0;
			for (let at = object.coarse; at !== NONE; at = objects[at].coarse)
				coded += objects[at].kind === BASE ? sizeOf(objects[at].dtype, objects[at].elements) : objects[at].codedSize;
			const { dtype, elements: all } = objects[object.coarse];
			need(sizeOf(dtype, all) <= 2 ** 24 + 4 * coded, "a matrix that has to be held as a whole is too large");
		}
		// Other objects of which one part needs elements, and how many.
		/** @type {[number, number][]} */
		const sides = [];
		if (kind === CODES && rule !== 0) {
			const { order, group, rowStride, groupStride, scales, zeroPoints } = object;
			let groups = order === NONE ? Math.ceil(columns / group) : group;
			let rows = chunkElements >= columns ? chunkElements / columns : columns % chunkElements === 0 ? 1 : 2;
			if (chunkElements < columns && rows === 1 && order === NONE) groups = Math.min(groups, Math.floor(chunkElements / group) + 2);
			rows = Math.min(rows, Math.ceil(elements / columns));
			const window = (rows - 1) * rowStride + (groups - 1) * groupStride + 1;
			if (zeroPoints !== NONE) sides.push([zeroPoints, window]);
			if (order !== NONE) sides.push([order, columns]);
			const [record, ofRecord] = { 9: [4, 1], 10: [4, 1], 11: [16, 8], 12: [16, 8], 13: [18, 16] }[/** @type {9} */ (rule)] ?? [0, 0];
			sides.push([scales, record ? (Math.floor(window / ofRecord) + 2) * record : window]);
		} else if (kind === REFINE && object.scales !== NONE) {
			sides.push([object.scales, columns]);
		}
		let size = 0;
		for (const [number, wanted] of sides) {
			const side = objects[number], n = Math.min(wanted, side.elements), bytes = sizeOf(side.dtype, n);
			need(bytes <= 2 ** 22 + 4 * side.codedSize, "a part needs too much of a grid");
			const chunks = Math.min(Math.floor(n / side.chunkElements) + 2, side.nChunks);
			need(chunks <= 64 + Math.floor(bytes / 2 ** 16), "a part needs too many chunks of a grid");
			size += bytes;
		}
		need(size * Math.ceil(elements / chunkElements) <= 2 ** 28 + 256 * sizeOf(object.dtype, elements), "all parts need too much of a grid");
	}
	let uses = 0, size = 0, wholes = 0, whole = NONE;
	for (const { object: number, offset, size: of } of extents) {
		const object = objects[number], part = sizeOf(object.dtype, object.chunkElements);
		uses += Math.floor((offset + of - 1) / part) - Math.floor(offset / part) + 1;
		size += of;
		if (byColumns(object) && object.coarse !== whole) {
			whole = object.coarse;
			wholes += sizeOf(objects[whole].dtype, objects[whole].elements);
		}
	}
	need(uses <= 2 ** 20 + 16 * parts.length + 2 * extents.length && uses <= 2 ** 16 + 2 * extents.length + size / 2 ** 14,
		"files use too many parts");
	need(wholes <= 2 ** 28 + 256 * size, "files use too many matrices that have to be held as a whole");
}

/** Compares each stretch of chunks with its seal. @param {any} index */
function checkSeals(index) {
	const { objects, sizes, payload, seals } = index;
	let stretch = createHash("sha256"), size = 0, layer = 0, n = 0;
	const end = () => {
		if (size > 0) need(stretch.digest("hex").slice(0, 32) === seals[n++], "a stretch of chunks is not what its seal promises");
		stretch = createHash("sha256");
		size = 0;
	};
	for (const { variant, offset, firstChunk, nChunks } of objects) {
		if (variant !== layer) end();
		layer = variant;
		let at = offset;
		for (const coded of sizes.slice(firstChunk, firstChunk + nChunks)) {
			stretch.update(payload.subarray(at, at + coded));
			at += coded;
			size += coded;
			if (size >= 163840) end();
		}
	}
	end();
	need(n === seals.length, "there are more seals than stretches of chunks");
}

/** Arrays of the body: which count has the number of records, bytes of a record, offsets of fields that are differences, or null for
 * arrays that are their own columns.
 * @type {[number, number, number[] | null][]} */
const ARRAYS = [
	[0, 64, []],
	[1, 80, [0, 52]],
	[2, 24, [0]],
	[3, 40, [0, 8, 28, 36]],
	[4, 96, [4, 8, 36, 48, 92]],
	[8, 8, null],
	[9, 16, null],
	[5, 4, null],
	[5, 4, []],
	[6, 8, []],
	[7, 1, null],
];

/** The body, of which these are the columns. @param {Uint8Array} columns */
export function bodyOfColumns(columns) {
	const r = new Reader(columns), body = Buffer.alloc(columns.length);
	body.set(r.take(64));
	let start = 64;
	for (const [count, size, differences] of ARRAYS) {
		const n = body.readUInt32LE(4 * count);
		if (differences === null) {
			body.set(r.take(n * size), start);
		} else {
			for (let column = 0; column < size; column++) r.take(n).forEach((byte, i) => (body[start + i * size + column] = byte));
			for (const at of differences)
				for (let i = 1; i < n; i++) {
					const field = start + i * size + at;
					body.writeUInt32LE((body.readUInt32LE(field - size) + body.readUInt32LE(field)) % 2 ** 32, field);
				}
		}
		start += n * size;
	}
	r.end();
	return body;
}

/** @param {Reader} r */
function readBody(r) {
	const [nVariants, nFiles, nExtents, nTensors, nObjects, nChunks, nDims, nStrings, nParts, nSeals] = Array.from({ length: 10 }, () => r.u32());
	const zeros = (/** @type {number} */ n) =>
		need(
			r.take(n).every((b) => b === 0),
			"reserved fields are set",
		);
	/** @template T @param {number} n @param {() => T} read @returns {T[]} */
	const list = (n, read) => Array.from({ length: n }, read);
	zeros(24);
	const variants = list(nVariants, () => {
		const v = { nameAt: r.u32(), name: "", dtype: r.u32(), coarser: r.u32() };
		zeros(4);
		const layer = { layerOffset: r.u64(), layerSize: r.u64(), totalSize: r.u64() };
		zeros(24);
		return { ...v, ...layer };
	});
	const files = list(nFiles, () => {
		const f = {
			nameAt: r.u32(),
			name: "",
			variants: r.u32(),
			size: r.u64(),
			sha256: Buffer.from(r.take(32)).toString("hex"),
			kind: r.u32(),
			firstExtent: r.u32(),
			nExtents: r.u32(),
		};
		zeros(4);
		return { ...f, offset: r.u64(), codedSize: r.u64() };
	});
	const extents = list(nExtents, () => {
		const object = r.u32();
		zeros(4);
		return { object, offset: r.u64(), size: r.u64() };
	});
	const tensors = list(nTensors, () => ({
		nameAt: r.u32(),
		name: "",
		file: r.u32(),
		offset: r.u64(),
		size: r.u64(),
		dtype: r.u32(),
		firstDim: r.u32(),
		nDims: r.u32(),
		object: r.u32(),
	}));
	const objects = list(nObjects, () => {
		return {
			kind: r.u8(),
			dtype: r.u8(),
			variant: r.u8(),
			rule: r.u8(),
			coarse: r.u32(),
			scales: r.u32(),
			error: r.f32(),
			elements: r.u64(),
			columns: r.u64(),
			chunkElements: r.u32(),
			firstChunk: r.u32(),
			nChunks: r.u32(),
			zeroPoints: r.u32(),
			offset: r.u64(),
			codedSize: r.u64(),
			order: r.u32(),
			group: r.u32(),
			rowStride: r.u64(),
			groupStride: r.u64(),
			zeroOffset: r.u32() | 0,
			firstPart: r.u32(),
		};
	});
	const parts = list(nParts, () => r.hash());
	const seals = list(nSeals, () => Buffer.from(r.take(16)).toString("hex"));
	const checksums = list(nChunks, () => r.hash(4));
	const sizes = list(nChunks, () => r.u32());
	const dims = list(nDims, () => r.u64());
	const strings = r.take(nStrings);
	r.end();
	const utf8 = new TextDecoder("utf-8", { fatal: true });
	let namesSize = 0;
	for (const named of [...variants, ...files, ...tensors]) {
		const end = strings.indexOf(0, named.nameAt);
		need(end >= 0, "a name without an end");
		need(named.nameAt === 0 || strings[named.nameAt - 1] === 0, "a name that begins within a text");
		if (!variants.includes(/** @type {any} */ (named))) namesSize += end + 1 - named.nameAt;
		need(namesSize <= strings.length + 2 ** 24, "names are used too often");
		named.name = utf8.decode(strings.subarray(named.nameAt, end));
	}
	for (const { name } of variants)
		need(!/[/\\:\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/.test(name) && !/^\.{0,2}$/.test(name), "a variant's name that readers reject");
	for (const file of files) {
		const parts = file.name.split("/");
		const bad = parts.some((part) => part === "" || part === "." || part === "..");
		need(!bad && Buffer.byteLength(file.name) <= 1023, "a file name that readers reject");
	}
	return { variants, files, extents, tensors, objects, checksums, parts, seals, sizes, dims };
}

// ---- 3. Chunks -----------------------------------------------------------------------------------------------------

/**
 * The description that a chunk's bytes are decoded by.
 * @typedef {object} Chunk
 * @property {number} kind
 * @property {number} dtype
 * @property {number} n elements in this chunk
 * @property {number} columns
 * @property {number} first index of the chunk's first element in its object
 * @property {Uint8Array} [coarse] refine and codes: the coarser codes of the same elements; delta: their coarse values
 * @property {number} [coarseDtype] of these
 * @property {Grid} [coarseGrid] refine and codes: of the coarser codes
 * @property {Grid} [grid] codes given coarser ones: their own
 * @property {{ dtype: number, of: (column: number) => number }} [factors] refine: of the columns
 */

/** @param {Chunk} chunk @param {Uint8Array} coded */
export function decodeChunk(chunk, coded) {
	const r = new Reader(coded);
	const mode = r.u8();
	const size = chunk.n * DTYPE_SIZES[chunk.dtype];
	let bytes;
	if (mode === 0) bytes = r.take(size);
	else if (mode === 1) bytes = zstd(r.take(r.left), size);
	else if (mode === 2) bytes = decodePlanes(r, chunk.dtype, chunk.n);
	else if (mode === 3 && (chunk.dtype === I8 || chunk.dtype === U8)) bytes = decodeCodes(r, chunk);
	else if (mode === 4 && chunk.kind === REFINE) bytes = decodeRanks(r, chunk);
	else if (mode === 5 && chunk.kind === DELTA) bytes = decodeDelta(r, chunk);
	else if (mode === 6 && chunk.kind === CODES && chunk.coarse) bytes = decodeRecoded(r, chunk);
	else if (mode === 7 && chunk.dtype === BYTES) bytes = decodeRecords(r, chunk);
	else if (mode === 8 && (chunk.dtype === I8 || chunk.dtype === U8)) bytes = decodeCentred(r, chunk);
	else if (mode === 9 && (chunk.dtype === I8 || chunk.dtype === U8)) bytes = decodePeaks(r, chunk);
	else if (mode === 10 && (chunk.dtype === I8 || chunk.dtype === U8)) bytes = decodeFolded(r, chunk);
	else if (mode === 11 && [F16, BF16, F32].includes(chunk.dtype)) bytes = decodeColumns(r, chunk);
	else throw new FormatError(`mode ${mode} is not for this object`);
	r.end();
	return bytes;
}

/** The chunk's elements row by row: [index of the row in the object, first element, end], counted from the chunk's start.
 * @param {Chunk} chunk @returns {[number, number, number][]} */
function rowParts(chunk) {
	/** @type {[number, number, number][]} */
	const parts = [];
	for (let begin = 0; begin < chunk.n;) {
		const row = Math.floor((chunk.first + begin) / chunk.columns);
		const end = Math.min(chunk.n, (row + 1) * chunk.columns - chunk.first);
		parts.push([row, begin, end]);
		begin = end;
	}
	return parts;
}

// 3.1 Symbol blocks

/** @param {Reader} r @param {number} n @param {boolean} [nested] in a sparse block */
function decodeBlock(r, n, nested = false) {
	const type = r.u8();
	if (type === 0) return r.take(n).slice();
	if (type === 1) return new Uint8Array(n).fill(r.u8());
	if (type === 2) return decodeHuffman(r, n);
	if (type === 3) return zstd(r.take(r.varint()), n);
	if (type === 4 && !nested) return decodeSparse(r, n);
	if (type === 5) return decodeAns(r, n);
	throw new FormatError(`a symbol block of type ${type}`);
}

/** @param {Reader} r @param {number} n */
function decodeSparse(r, n) {
	const out = new Uint8Array(n).fill(r.u8());
	const gapCount = r.varint();
	need(gapCount <= 65536, "more gaps than a sparse block may have");
	const gaps = decodeBlock(r, gapCount, true);
	const others = decodeBlock(r, gaps.filter((gap) => gap < 255).length, true);
	let at = 0, next = 0;
	for (const gap of gaps) {
		at += gap;
		if (gap === 255) continue;
		need(at < n, "a gap that leads out of its block");
		out[at++] = others[next++];
	}
	return out;
}

/** @param {Reader} r @param {number} n */
function decodeHuffman(r, n) {
	const { rawBits, zigzag, tableLog, first, last } = readHead(r);
	need(tableLog === 0, "reserved bits of a Huffman block are not zero");
	const symbols = first < last ? canonicalCodes(readNibbles(r, last - first + 1), first) : new Map();
	const raw = decodeRawBits(r, n, rawBits);
	const top = new Uint8Array(n).fill(first);
	if (first < last)
		for (let at = 0; at < n; at += 65536) decodePiece(r, symbols, top.subarray(at, at + 65536));
	return withRawBits(top, raw, rawBits, zigzag);
}

/** @param {Uint8Array} top @param {Uint8Array} raw @param {number} rawBits @param {number} zigzag */
function withRawBits(top, raw, rawBits, zigzag) {
	return top.map((t, i) => {
		const u = (t << rawBits) | raw[i];
		return zigzag ? (u >> 1) ^ -(u & 1) : u;
	});
}

/** @param {Reader} r @param {number} n */
function decodeAns(r, n) {
	const { rawBits, zigzag, tableLog, first, last } = readHead(r);
	need(tableLog >= 5 && tableLog <= 12, "a table of this log");
	const bitCounts = readNibbles(r, last - first + 1);
	need(
		bitCounts.every((count) => count <= tableLog),
		"a frequency with more bits than the table's log",
	);
	const below = bitCounts.map((count) => Math.max(count - 1, 0));
	const bits = [...r.take(Math.ceil(below.reduce((a, b) => a + b, 0) / 8))].flatMap((byte) =>
		[0, 1, 2, 3, 4, 5, 6, 7].map((b) => (byte >> b) & 1));
	/** @type {{ symbol: number, frequency: number, start: number }[]} by slot */
	const slots = [];
	bitCounts.forEach((count, i) => {
		const frequency = count && bits.splice(0, below[i]).reduce((f, bit) => 2 * f + bit, 1);
		const start = slots.length;
		for (let k = 0; k < frequency; k++) slots.push({ symbol: first + i, frequency, start });
	});
	need(!bits.includes(1), "unused bits behind the frequencies are not zero");
	need(slots.length === 2 ** tableLog, "frequencies that do not fill the table");
	const size = r.varint();
	const raw = decodeRawBits(r, n, rawBits);
	const body = new Reader(r.take(size));
	const states = Array.from({ length: n < 65536 ? 8 : 32 }, () => body.u32());
	const top = new Uint8Array(n);
	for (let j = 0; j < n; j++) {
		const state = states[j % states.length];
		const slot = state % slots.length;
		const { symbol, frequency, start } = slots[slot];
		top[j] = symbol;
		let next = frequency * Math.floor(state / slots.length) + slot - start;
		if (next < 65536) next = next * 65536 + body.u16();
		states[j % states.length] = next;
	}
	need(
		states.every((state) => state === 65536),
		"a lane does not end where it began",
	);
	need(body.left === 0, "units are left over");
	return withRawBits(top, raw, rawBits, zigzag);
}

/** Reads the fields that Huffman and ANS blocks begin with. @param {Reader} r */
function readHead(r) {
	const parameters = r.u8();
	const rawBits = parameters & 7;
	const first = r.u8();
	const last = r.u8();
	need(first <= last && last < 256 >> rawBits, "a range of symbols that does not exist");
	return { rawBits, zigzag: (parameters >> 3) & 1, tableLog: parameters >> 4, first, last };
}

/** @param {Reader} r @param {number} count */
function readNibbles(r, count) {
	/** @type {number[]} */
	const nibbles = [];
	for (const byte of r.take(Math.ceil(count / 2))) nibbles.push(byte & 15, byte >> 4);
	if (count % 2) need(nibbles.pop() === 0, "the unused half of a byte is not zero");
	return nibbles;
}

/** Symbols by their codes, these as text of 0 and 1.
 * @param {number[]} lengths @param {number} first @returns {Map<string, number>} */
function canonicalCodes(lengths, first) {
	const symbols = new Map();
	let code = 0;
	for (let length = 1; length <= 15; length++) {
		code *= 2;
		lengths.forEach((l, i) => {
			if (l === length) symbols.set((code++).toString(2).padStart(length, "0"), first + i);
		});
		need(code <= 2 ** length, "more codes than their lengths allow");
	}
	need(code === 2 ** 15, "code lengths that are no complete prefix code");
	return symbols;
}

/** @param {Reader} r @param {Map<string, number>} symbols @param {Uint8Array} to */
function decodePiece(r, symbols, to) {
	let byte = 0, bitsLeft = 0;
	const nextBit = () => {
		if (bitsLeft === 0) {
			byte = r.u8();
			bitsLeft = 8;
		}
		return (byte >> (8 - bitsLeft--)) & 1;
	};
	/** Nodes of one length: what their codes begin with, and the places of their symbols. @type {[string, number[]][]} */
	let nodes = [["", [...to.keys()]]];
	while (nodes.length) {
		/** @type {typeof nodes} */
		const longer = [];
		for (const [beginning, places] of nodes) {
			if (places.length >= 64) bitsLeft = 0;
			/** @type {[number[], number[]]} */
			const children = [[], []];
			for (const place of places) children[nextBit()].push(place);
			children.forEach((child, bit) => {
				const symbol = symbols.get(beginning + bit);
				if (symbol === undefined) longer.push([beginning + bit, child]);
				else for (const place of child) to[place] = symbol;
			});
		}
		nodes = longer;
	}
}

/** @param {Reader} r @param {number} n @param {number} bits */
function decodeRawBits(r, n, bits) {
	const raw = new Uint8Array(n);
	const groups = Math.floor(n / 128);
	for (let group = 0; group < groups; group++) {
		let below = 0; // raw bits of the planes before
		for (const width of [4, 2, 1]) {
			if (!(bits & width)) continue;
			const plane = r.take(16 * width);
			for (let symbol = 0; symbol < 128; symbol++) {
				const byte = plane[symbol % plane.length];
				const field = Math.floor(symbol / plane.length);
				raw[128 * group + symbol] |= ((byte >> (field * width)) & ((1 << width) - 1)) << below;
			}
			below += width;
		}
	}
	const rest = r.take(Math.ceil(((n % 128) * bits) / 8));
	for (let i = 128 * groups, bit = 0; i < n; i++)
		for (let b = 0; b < bits; b++, bit++) raw[i] |= ((rest[bit >> 3] >> (bit & 7)) & 1) << b;
	return raw;
}

// 3.2 Planes

/** @param {Reader} r @param {number} dtype @param {number} n */
function decodePlanes(r, dtype, n, rotated = [F16, BF16, F32, F64].includes(dtype)) {
	const size = DTYPE_SIZES[dtype];
	const planes = Array.from({ length: size }, () => decodeBlock(r, n));
	const out = new Uint8Array(n * size);
	for (let i = 0; i < n; i++) {
		let value = 0n;
		for (const plane of planes) value = (value << 8n) | BigInt(plane[i]);
		if (rotated) value = (value >> 1n) | ((value & 1n) << BigInt(8 * size - 1));
		for (let b = 0; b < size; b++, value >>= 8n) out[i * size + b] = Number(value & 255n);
	}
	return out;
}

// 3.3 Codes

/** @param {Reader} r @param {Chunk} chunk */
function decodeCodes(r, chunk) {
	const parts = rowParts(chunk);
	const nClasses = r.u8();
	need(nClasses >= 1 && nClasses <= 16, `${nClasses} classes`);
	need(nClasses === 1 || chunk.n <= 2 ** 19, "classes in so large a chunk");
	const classes = nClasses > 1 ? decodeBlock(r, parts.length) : new Uint8Array(parts.length);
	need(
		classes.every((c) => c < nClasses),
		"a class that does not exist",
	);
	const out = new Uint8Array(chunk.n);
	for (let c = 0; c < nClasses; c++) {
		const rows = parts.filter((_, i) => classes[i] === c);
		const codes = decodeBlock(
			r,
			rows.reduce((sum, [, begin, end]) => sum + end - begin, 0),
		);
		let at = 0;
		for (const [, begin, end] of rows) {
			out.set(codes.subarray(at, at + end - begin), begin);
			at += end - begin;
		}
	}
	return out;
}

// 2.4 Grids

/**
 * @typedef {object} Grid
 * @property {number} rule
 * @property {boolean} signed codes
 * @property {(e: number) => number} number of the scale of an element of the object
 * @property {(number: number) => Step} step
 * @property {number} group
 * @property {number} rowStride
 * @property {number[]} [order]
 */

/** A scale s, an offset o and a zero point z. @typedef {{ s: number, o: number, z: number }} Step */

/** @param {{ objects: { dtype: number }[] }} index @param {Pick<Index['objects'][0], 'rule' | 'dtype' | 'columns' | 'scales' | 'zeroPoints' |
 * 'order' |
 * 'group' | 'rowStride' | 'groupStride' | 'zeroOffset'>} codes @param {Uint8Array[]} decoded @returns {Grid} */
export function gridOf(index, codes, decoded) {
	const { rule, columns, group, rowStride, groupStride, zeroOffset } = codes;
	const signed = codes.dtype === I8;
	const order = codes.order === NONE ? undefined : [...new Int32Array(decoded[codes.order].slice().buffer)];
	const zeroPoints = codes.zeroPoints === NONE ? undefined : decoded[codes.zeroPoints];
	const number = (/** @type {number} */ e) => {
		const row = Math.floor(e / columns), column = e % columns;
		return row * rowStride + (order ? order[column] : Math.floor(column / group)) * groupStride;
	};
	const scales = readScales(rule, decoded[codes.scales], index.objects[codes.scales].dtype);
	const rows = Math.ceil(codes.elements / columns), groups = order ? group : Math.ceil(columns / group);
	const recordScales = [8, 8, 16][rule - 11] ?? 1;
	const count = (index.objects[codes.scales].elements / (RECORD_SIZES[rule] ?? 1)) * recordScales;
	need((rows - 1) * rowStride + (groups - 1) * groupStride < count, "scales that are not there");
	need(!order || order.every((g) => g >= 0 && g < group), "a group that is not there");
	const step = (/** @type {number} */ i) => {
		const { s, o } = scales(i);
		const zero = zeroPoints ? (signed ? (zeroPoints[i] << 24) >> 24 : zeroPoints[i]) : 0;
		return { s, o, z: zero + zeroOffset };
	};
	return { rule, signed, number, step, group, rowStride, order };
}

/** The scale and the offset of a number. @param {number} rule @param {Uint8Array} bytes @param {number} dtype
 * @returns {(i: number) => { s: number, o: number }} */
function readScales(rule, bytes, dtype) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const half = (/** @type {number} */ at, type = F16) => {
		const bits = view.getUint16(at, true);
		const v = /** @type {Float32Array} */ (values.get(type))[bits & 0x7fff];
		const value = type === F16 && v === Infinity ? NaN : v; // not finite: unusable
		return bits & 0x8000 ? -value : value;
	};
	const { fround } = Math;
	if (rule === 9 || rule === 10) return (i) => ({ s: half(4 * i), o: half(4 * i + 2) });
	if (rule === 11 || rule === 12)
		return (i) => {
			const record = 16 * Math.floor(i / 8), j = i % 8;
			const p = (/** @type {number} */ k) => bytes[record + 4 + k];
			const a = j < 4 ? p(j) % 64 : (p(j + 4) % 16) + 16 * Math.floor(p(j - 4) / 64);
			const b = j < 4 ? p(j + 4) % 64 : Math.floor(p(j + 4) / 16) + 16 * Math.floor(p(j) / 64);
			return { s: fround(half(record) * a), o: -fround(half(record + 2) * b) };
		};
	if (rule === 13)
		return (i) => {
			const record = 18 * Math.floor(i / 16);
			return { s: fround(half(record + 16) * view.getInt8(record + (i % 16))), o: 0 };
		};
	if (dtype === F32) return (i) => ({ s: view.getFloat32(4 * i, true), o: 0 });
	if (dtype === F64) return (i) => ({ s: fround(view.getFloat64(8 * i, true)), o: 0 });
	return (i) => ({ s: half(2 * i, dtype), o: 0 });
}

/** Codes of a rule are below this. */
const LEVELS = [0, 256, 256, 256, 256, 256, 256, 16, 32, 16, 32, 16, 32, 64, 256, 16, 256, 16];
/** Bytes of a record of scales. @type {Record<number, number>} */
const RECORD_SIZES = { 9: 4, 10: 4, 11: 16, 12: 16, 13: 18 };
/** The zero points of rules 7 on, for what a code is worth. */
const CENTRES = [0, 0, 0, 0, 0, 0, 0, 8, 16, 0, 0, 0, 0, 32, 0, 0, 0, 0];

// 3.4 Ranks

/** Positions of a chunk's elements, in the order in which they are coded. @param {Chunk} chunk */
function codedOrder({ n, columns, first, coarseGrid, factors }) {
	const { group, rowStride, order } = /** @type {Grid} */ (coarseGrid);
	const positions = Array.from({ length: n }, (_, i) => i);
	if (factors || columns < 2 || first % columns || n % columns || n / columns < 2) return positions;
	const rows = n / columns;
	if (!order && group === 1 && rowStride === 0)
		return positions.map((j) => (j % rows) * columns + Math.floor(j / rows));
	if (!order || columns > 65536 || group > 65536) return positions;
	const sorted = order.map((_, c) => c).sort((a, b) => order[a] - order[b] || a - b);
	return positions.map((j) => j - (j % columns) + sorted[j % columns]);
}

/** @param {Reader} r @param {number} lanes */
function readStates(r, lanes) {
	const lengths = readNibbles(r, lanes).map((b) => 16 + b);
	const bytes = r.take(Math.ceil(lengths.reduce((sum, length) => sum + length, 0) / 8));
	let at = 0;
	const states = lengths.map((length) => {
		let state = 2 ** length;
		for (let i = 0; i < length; i++, at++) state += ((bytes[at >> 3] >> (at & 7)) & 1) * 2 ** i;
		return state;
	});
	need(at % 8 === 0 || bytes[at >> 3] >> (at & 7) === 0, "unused bits of the states are not zero");
	return states;
}

/** @param {Reader} r @param {Chunk} chunk */
function decodeRanks(r, chunk) {
	const { n, dtype, first, columns, factors } = chunk;
	let codes = /** @type {Uint8Array} */ (chunk.coarse);
	const grid = /** @type {Grid} */ (chunk.coarseGrid);
	const flags = r.u8();
	need(flags < 32, "unknown flags");
	need(!(flags & 16) || (grid.rule < 7 && !(flags & 12) && !factors), "shared values where there can be none");
	const lanes = flags & 1 ? 64 : 8;
	const exceptions = flags & 2 ? new Reader(r.take(r.varint())) : undefined;
	if (flags & 4) {
		const residual = decodeBlock(r, n);
		codes = codes.map((code, i) => code + residual[i]); // modulo 256
	}
	need(codes.every((code) => code < LEVELS[grid.rule]), "a code beyond the rule's levels");
	const order = codedOrder(chunk);
	const runs = flags & 8 ? runsOf(chunk, order) : [];
	need((runs.at(-1) ?? 0) < 65536 && (!runs.length || grid.rule < 7 || grid.rule === 9 || grid.rule === 10), "shifts that cannot be");
	const shifts = runs.length ? Int8Array.from(decodeBlock(r, runs[runs.length - 1] + 1)) : undefined;
	const nZeros = r.varint();
	need(nZeros <= n, "more elements of index 0 than elements");
	const zeros = new Reader(nZeros ? decodePlanes(r, dtype, nZeros) : new Uint8Array());
	const shared = flags & 16 ? r.take(r.varint()) : undefined;
	need(!shared || order.every((position, j) => position === j), "shared values in another order");
	let nShared = 0;
	const states = readStates(r, lanes);
	const out = new Uint16Array(n);
	order.forEach((position, j) => {
		const { zero, cells } = cellsOf(grid, factors?.dtype ?? dtype, grid.step(grid.number(first + position)), shifts?.[runs[j]],
			shared !== undefined);
		const index = zero === undefined ? 0 : (codes[position] - zero) & 255;
		const cell = index === 0 ? EMPTY : factors ? factored(cells[index], factors, (first + position) % columns, dtype) : cells[index];
		const count = Math.max(cell.n, 1);
		const F = Math.min(65535, Math.floor(65536 / count));
		const lane = j % lanes;
		const slot = states[lane] % 65536;
		const rank = Math.floor(slot / F);
		states[lane] = F * Math.floor(states[lane] / 65536) + (slot % F);
		if (states[lane] < 65536) states[lane] = states[lane] * 65536 + r.u16();
		out[position] = index === 0 ? zeros.u16() : cell.first + rank + (cell.negative ? 0x8000 : 0);
		if (shared && index !== 0 && out[position] === cell.first + (cell.negative ? 0x8000 : 0)) {
			need(nShared < 8 * shared.length, "more shared values than bits");
			if ((shared[nShared >> 3] >> (nShared & 7)) & 1) out[position] += count;
			nShared++;
		}
	});
	zeros.end();
	if (shared) {
		need(Math.ceil(nShared / 8) === shared.length, "more bits than shared values");
		need(nShared % 8 === 0 || shared[nShared >> 3] >> (nShared & 7) === 0, "unused bits are not zero");
	}
	need(
		states.every((state) => state === 65536),
		"a lane does not end where it began",
	);

	if (exceptions) {
		const count = exceptions.varint();
		for (let i = 0, position = -1; i < count; i++) {
			position += exceptions.varint() + 1;
			need(position < n, "an exception beyond the chunk");
			out[position] = exceptions.u16();
		}
		exceptions.end();
	}
	const bytes = new Uint8Array(2 * n);
	const view = new DataView(bytes.buffer);
	out.forEach((value, i) => view.setUint16(2 * i, value, true));
	return bytes;
}

/** The number of the run of each element, in coded order. @param {Chunk} chunk @param {number[]} order */
function runsOf({ columns, first, coarseGrid }, order) {
	const { group, order: groups } = /** @type {Grid} */ (coarseGrid);
	const byColumn = order.some((position, j) => position !== j) && !groups;
	let run = -1, before = "";
	return order.map((position) => {
		const row = Math.floor((first + position) / columns), column = (first + position) % columns;
		const g = groups ? groups[column] : Math.floor(column / group);
		const key = byColumn ? `${column}` : `${row} ${g}`;
		run += key !== before ? 1 : 0;
		before = key;
		return run;
	});
}

/** The values whose product with the column's factor is in a cell. @param {Cell} cell @param {NonNullable<Chunk['factors']>} factors
 * @param {number} column @param {number} dtype @returns {Cell} */
function factored({ first, n, negative }, factors, column, dtype) {
	const factor = factors.of(column);
	const products = /** @type {Float32Array} */ (values.get(factors.dtype));
	const own = /** @type {Float32Array} */ (values.get(dtype));
	const [end, productsEnd] = [own, products].map((v) => least(v.length, (m) => !(v[m] < Infinity)));
	/** P(M) @param {number} m */
	const from = (m) => {
		const most = Math.min(m, productsEnd);
		const below = products[most - 1], at = most === productsEnd ? 2 * below - products[most - 2] : products[most];
		const middle = (below + at) / 2, border = most % 2 ? nextSingle(middle) : middle;
		const x = fround(border / factor);
		return least(end, (i) => own[i] >= x);
	};
	const start = from(first);
	return { first: start, n: from(first + Math.max(n, 1)) - start, negative };
}

/** The single above x > 0. @param {number} x */
function nextSingle(x) {
	const view = new DataView(new ArrayBuffer(4));
	view.setFloat32(0, x);
	view.setUint32(0, view.getUint32(0) + 1);
	return view.getFloat32(0);
}

/** Integer nearest to x ≥ 0, half to even; NaN and infinity stay. @param {number} x */
function roundHalfEven(x) {
	if (!Number.isFinite(x)) return x;
	const below = Math.floor(x);
	const rest = x - below;
	return below + (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? 1 : 0);
}

/** The value of a magnitude. @param {number} m @param {number} mantissaBits @param {number} bias */
function magnitudeValue(m, mantissaBits, bias) {
	const exponent = m >> mantissaBits;
	const mantissa = m % 2 ** mantissaBits;
	if (exponent === 2 * bias + 1) return mantissa ? NaN : Infinity;
	if (exponent === 0) return mantissa * 2 ** (1 - bias - mantissaBits);
	return (2 ** mantissaBits + mantissa) * 2 ** (exponent - bias - mantissaBits);
}

/** The value x ≥ 0 rounded to FP16, half to even, subnormals kept. @param {number} x */
function castToHalf(x) {
	if (!(x > 0 && x < Infinity)) return x;
	let exponent = 0;
	while (2 ** exponent > x) exponent--;
	while (2 ** (exponent + 1) <= x) exponent++;
	const spacing = 2 ** (Math.max(exponent, -14) - 10);
	const rounded = roundHalfEven(x / spacing) * spacing;
	return rounded >= 65536 ? Infinity : rounded;
}

/** A single x ≥ 0 rounded to FP16 or BF16, half to even, subnormals kept, exponents without an upper end.
 * @param {number} x @param {number} dtype */
function roundToType(x, dtype) {
	if (!(x > 0 && x < Infinity)) return x;
	const [mantissaBits, leastExponent] = dtype === F16 ? [10, -14] : [7, -126];
	const exponent = Math.max(Math.floor(Math.log2(x)), leastExponent); // exact: singles are far apart for Math.log2
	const spacing = 2 ** (exponent - mantissaBits);
	return roundHalfEven(x / spacing) * spacing;
}

/** v(m) of every magnitude, by dtype, and h(m). */
const values = new Map(
	/** @type {const} */ ([
		[F16, 10, 15],
		[BF16, 7, 127],
	]).map(([dtype, mantissaBits, bias]) => [
		dtype,
		Float32Array.from({ length: 0x8000 }, (_, m) => magnitudeValue(m, mantissaBits, bias)),
	]),
);
const halves = new Map([...values].map(([dtype, v]) => [dtype, v.map(castToHalf)]));

/** Values of one code: magnitudes from first on. @typedef {{ first: number, n: number, negative: boolean }} Cell */
const EMPTY = { first: 0, n: 1, negative: false };

/** By index; no zero: the scale is not usable. @typedef {{ zero: number | undefined, cells: Cell[] }} Cells */
/** @type {Map<string, Cells>} */
const knownCells = new Map();

/** @param {Grid} grid @param {number} dtype @param {Step} step @param {number} [shift] @param {boolean} [shared]
 * @returns {Cells} */
function cellsOf({ rule, signed }, dtype, { s: stored, o, z }, shift, shared = false) {
	const s = shift !== undefined && shift !== -128 && rule > 6 ? recoveredScale(dtype, stored, o, LEVELS[rule] - 1, shift) : stored;
	const key = `${rule} ${signed} ${dtype} ${s} ${o} ${z} ${shift} ${shared}`;
	let cells = knownCells.get(key);
	if (!cells) {
		cells = rule < 7 ? symmetricCells(rule, dtype, s, z, signed, shift ?? 0, shared) : blockCells(rule, dtype, s, o, z, signed);
		knownCells.set(key, cells);
	}
	return cells;
}

/** The least m below end that is so, or end; all m above one that is so are so too, as h and Q ascend with m.
 * @param {number} end @param {(m: number) => boolean} isSo */
function least(end, isSo) {
	let low = 0;
	while (low < end) {
		const middle = Math.floor((low + end) / 2);
		if (isSo(middle)) end = middle;
		else low = middle + 1;
	}
	return low;
}

const fround = Math.fround;

/** The number that each symmetric rule rounds to a code, for value v (rule 1: after its cast) and factor f; a product or quotient of
 * singles that is
 * found in double and rounded to single is the one that single precision gives. @type {Record<number, (v: number, f: number, dtype:
 * number) => number>} */
const scaledBy = {
	1: (v, f) => fround(v * f),
	2: (v, f) => fround(v * f),
	3: (v, f) => fround(v / f),
	4: (v, f, dtype) => roundToType(fround(v / f), dtype),
	5: (v, f) => fround(v * f),
	6: (v, f) => fround(v * f),
};

/** The factors f, before their shift. @type {Record<number, (s: number) => number>} */
const factors = {
	1: (s) => fround(127 / s),
	2: (s) => fround(1 / s),
	3: (s) => s,
	4: (s) => s,
	5: (s) => fround(1 / fround(s / 127)),
	6: (s) => fround(1 / s),
};

/** A single whose pattern is `shift` more. @param {number} value @param {number} shift */
function shifted(value, shift) {
	const view = new DataView(new ArrayBuffer(4));
	view.setFloat32(0, value);
	view.setInt32(0, view.getInt32(0) + shift);
	return view.getFloat32(0);
}

/** @param {number} rule @param {number} dtype @param {number} s @param {number} z @param {boolean} signed @param {number} shift
 * @param {boolean} shared @returns {Cells} */
function symmetricCells(rule, dtype, s, z, signed, shift, shared) {
	const usable = rule === 1 ? s > 0 && s <= 65504 : s > 2 ** -119 && s < 2 ** 128;
	if (!usable || z < -128 || z > 255) return { zero: undefined, cells: [] };
	const v = /** @type {Float32Array} */ ((rule === 1 ? halves : values).get(dtype));
	const end = least(v.length, (m) => !(v[m] < Infinity));
	const round = rule < 5 ? roundHalfEven : (/** @type {number} */ x) => (x % 1 === 0.5 ? x + 0.5 : roundHalfEven(x));
	const first = [0];
	const f = shifted(factors[rule](s), shift);
	for (let k = 1; k <= 257; k++) first[k] = least(end, (m) => round(scaledBy[rule](v[m], f, dtype)) >= k);
	if (rule === 1 || rule === 5) {
		const above = least(end, (m) => v[m] > s);
		for (let k = 1; k <= 257; k++) first[k] = k < 128 ? Math.min(first[k], above) : above;
	}
	for (let k = 1; shared && k <= (rule === 1 || rule === 5 ? 127 : 257); k++) {
		if (first[k] >= end) continue;
		const own = /** @type {Float32Array} */ (values.get(dtype));
		const middle = (own[first[k]] + own[first[k] - 1]) / 2;
		if (round(scaledBy[rule](rule === 1 && dtype === BF16 ? castToHalf(middle) : middle, f, dtype)) >= k) first[k]--;
	}
	const P = Math.min(Math.max((signed ? 127 : 255) - z, 0), 255);
	const N = 255 - P;
	const cells = Array.from({ length: 256 }, (_, i) => {
		if (i === 0) return EMPTY;
		const negative = i > P;
		const k = negative ? 256 - i : i;
		const clamped = k === (negative ? N : P) || (negative && k === 127 && z === 0 && signed);
		return { first: first[k], n: first[k + (clamped ? 2 : 1)] - first[k], negative };
	});
	return { zero: z, cells };
}

/** The magnitude of a value ≥ 0 of the type, or the one that it would have if exponents went on. @param {number} x @param {number} dtype */
function magnitudeOf(x, dtype) {
	const [mantissaBits, leastExponent] = dtype === F16 ? [10, -14] : [7, -126];
	const exponent = Math.max(Math.floor(Math.log2(x)), leastExponent);
	return (exponent - leastExponent) * 2 ** mantissaBits + x * 2 ** (mantissaBits - exponent);
}

/** The scale that a block's codes were made with, when the largest value is `shift` places above the one that is nearest.
 * @param {number} dtype @param {number} s @param {number} o @param {number} steps @param {number} shift */
function recoveredScale(dtype, s, o, steps, shift) {
	const t = fround(fround(steps * s) + o);
	const v = /** @type {Float32Array} */ (values.get(dtype));
	const magnitude = magnitudeOf(roundToType(Math.abs(t), dtype), dtype);
	const place = (t < 0 ? -magnitude : magnitude) + shift;
	const M = place < 0 ? -v[-place] : v[place];
	const recovered = fround(fround(M - o) / steps);
	return Math.abs(M) < Infinity && recovered >= fround(s / 2) && recovered <= fround(2 * s) ? recovered : s;
}

/** @param {number} rule @param {number} dtype @param {number} scale @param {number} o @param {number} z @param {boolean} signed
 * @returns {Cells} */
function blockCells(rule, dtype, scale, o, z, signed) {
	const negated = scale < 0 && (rule === 7 || rule === 8 || rule === 13);
	const s = negated ? -scale : scale;
	if (!(s > 2 ** -119 && s <= 2 ** 100 && Math.abs(o) <= 2 ** 100)) return { zero: undefined, cells: [] };
	const levels = LEVELS[rule];
	const adds = rule > 13;
	const zeroPoint = z - (signed ? 0 : levels / 2);
	if (adds && !(zeroPoint >= -levels / 2 && zeroPoint < levels / 2)) return { zero: undefined, cells: [] };
	const round = (/** @type {number} */ x) => (x < 0 ? -roundToType(-x, dtype) : roundToType(x, dtype));
	const v = /** @type {Float32Array} */ (values.get(dtype));
	const end = least(v.length, (m) => !(v[m] < Infinity));
	/** The number that is rounded to the code. @param {number} w */
	const X = (w) => {
		if (rule === 7) return fround(fround(w * fround(1 / s)) + 8.5);
		if (rule === 8) return fround(fround(w * fround(1 / s)) + 16.5);
		if (rule === 9 || rule === 10) return fround(fround(fround(w - o) * fround(1 / s)) + 0.5);
		if (rule === 13) return fround(w / s);
		if (rule === 14 || rule === 15) return round(fround(round(fround(w / s)) + zeroPoint));
		if (adds) return fround(fround(w / s) + zeroPoint);
		return fround(fround(w - o) / s);
	};
	const down = rule < 11;
	const centre = rule === 13 || adds ? levels / 2 : 0;
	/** @param {number} x @param {number} c */
	const reaches = (x, c) => {
		if (c === 0) return down ? x >= -0.75 : x >= -1.25 - centre;
		if (c === levels) return down ? x >= levels + 0.75 : x >= levels + 0.25 - centre;
		return down ? x >= c : x > c - 0.5 - centre || (c % 2 === 0 && x === c - 0.5 - centre);
	};
	/** The finite values in order: place p is that of magnitude |p|. @param {number} p */
	const valueAt = (p) => (p < 0 ? -v[-p] : v[p]);
	const border = Array.from({ length: levels + 1 }, (_, c) => least(2 * end - 1, (i) => reaches(X(valueAt(i + 1 - end)), c)) + 1 - end);
	const zero = border.findIndex((b, c) => c < levels && b <= 0 && border[c + 1] > 0);
	const byteOfFirst = adds && signed ? -128 : 0;
	/** @type {Cells} */
	const found = { zero: zero < 0 ? 128 : zero, cells: [] };
	for (let c = 0; c < levels; c++) {
		const positive = border[c] > 0;
		found.cells[(c - /** @type {number} */ (found.zero)) & 255] =
			{ first: positive ? border[c] : 1 - border[c + 1], n: border[c + 1] - border[c], negative: positive === negated };
	}
	found.zero = /** @type {number} */ (found.zero) + byteOfFirst;
	return found;
}

// 3.5 Delta

/** @param {Reader} r @param {Chunk} chunk */
function decodeDelta(r, { n, dtype, coarse = new Uint8Array(), coarseDtype = 0 }) {
	const size = DTYPE_SIZES[dtype];
	const bits = 8 * size;
	const signBit = 1n << BigInt(bits - 1);
	/** Sign and magnitude to an integer that rises with the value, and back. @param {bigint} x */
	const order = (x) => (x & signBit ? x ^ (signBit - 1n) : x);
	const out = decodePlanes(r, dtype, n, false); // u
	const fine = new DataView(out.buffer);
	const view = new DataView(coarse.buffer, coarse.byteOffset, coarse.byteLength);
	for (let i = 0; i < n; i++) {
		const u = patternAt(fine, i, size);
		const d = (u >> 1n) ^ -(u & 1n);
		let c = patternAt(view, i, DTYPE_SIZES[coarseDtype]);
		if (coarseDtype !== dtype) c = fromSingle(toSingle(c, coarseDtype), dtype);
		const value = BigInt.asUintN(bits, order(BigInt.asUintN(bits, order(c) + d)));
		if (size === 8) fine.setBigUint64(8 * i, value, true);
		else if (size === 4) fine.setUint32(4 * i, Number(value), true);
		else fine.setUint16(2 * i, Number(value), true);
	}
	return out;
}

/** @param {DataView} view @param {number} i @param {number} size */
function patternAt(view, i, size) {
	if (size === 8) return view.getBigUint64(8 * i, true);
	return BigInt(size === 4 ? view.getUint32(4 * i, true) : view.getUint16(2 * i, true));
}

/** The single that a coarse element becomes, as a pattern. @param {bigint} pattern @param {number} dtype */
function toSingle(pattern, dtype) {
	const view = new DataView(new ArrayBuffer(8));
	if (dtype === F32) return Number(pattern);
	if (dtype === BF16) return Number(pattern) * 65536;
	if (dtype === F16) {
		view.setUint32(0, (Number(pattern) & 0x7fff) << 13);
		view.setFloat32(0, view.getFloat32(0) * 2 ** 112);
		return view.getUint32(0) + (Number(pattern) & 0x8000) * 65536;
	}
	view.setBigUint64(0, pattern);
	const value = view.getFloat64(0);
	if (Number.isNaN(value)) return (pattern >> 63n ? 0x80000000 : 0) + 0x7fc00000;
	view.setFloat32(0, value); // rounds half to even
	return view.getUint32(0);
}

/** A single's pattern, converted to another type. @param {number} single @param {number} dtype */
function fromSingle(single, dtype) {
	const view = new DataView(new ArrayBuffer(8));
	view.setUint32(0, single);
	const value = view.getFloat32(0);
	const negative = single >= 0x80000000;
	if (dtype === F32) return BigInt(single);
	if (dtype === F64) {
		if (Number.isNaN(value)) return (negative ? 1n << 63n : 0n) | 0x7ff8000000000000n;
		view.setFloat64(0, value);
		return view.getBigUint64(0);
	}
	if (dtype === BF16 && Number.isNaN(value)) return BigInt((single >>> 16) | 0x40);
	const [digits, least, most] = dtype === BF16 ? [8, -133, 0x7f80] : [11, -24, 0x7c00];
	const sign = negative ? 0x8000n : 0n;
	if (Number.isNaN(value)) return sign | 0x7e00n;
	const magnitude = Math.abs(value);
	if (magnitude === Infinity) return sign | BigInt(most);
	// The spacing of the type's values at this magnitude; numbers of spacings are exact, as are their halves.
	let exponent = magnitude ? Math.floor(Math.log2(magnitude)) : -200;
	if (2 ** exponent > magnitude) exponent--;
	if (2 ** (exponent + 1) <= magnitude) exponent++;
	const spacing = Math.max(exponent - digits + 1, least);
	const steps = magnitude / 2 ** spacing;
	let whole = Math.floor(steps);
	if (steps - whole > 0.5 || (steps - whole === 0.5 && whole % 2)) whole++;
	// Patterns count the values: 2^(digits − 1) for each exponent.
	const pattern = Math.min((spacing - least) * 2 ** (digits - 1) + whole, most);
	return sign | BigInt(pattern);
}

// 3.6 Recoded codes

/** A code q is worth q × slope + start. @param {Grid} grid @param {number} e */
function lineOf({ rule, number, step }, e) {
	const { s, o, z } = step(number(e));
	const slope = rule === 1 || rule === 5 ? fround(s / 127) : s;
	return { slope, start: fround(o - fround((z + CENTRES[rule]) * slope)) };
}

/** @param {Reader} r @param {Chunk} chunk */
function decodeRecoded(r, chunk) {
	const differences = decodeCodes(r, chunk);
	const own = /** @type {Grid} */ (chunk.grid);
	const coarser = /** @type {Grid} */ (chunk.coarseGrid);
	const [low, high] = own.signed ? [-128, Math.min(127, LEVELS[own.rule] - 1)] : [0, LEVELS[own.rule] - 1];
	return differences.map((difference, i) => {
		const byte = /** @type {Uint8Array} */ (chunk.coarse)[i];
		const q = coarser.signed ? (byte << 24) >> 24 : byte;
		const from = lineOf(coarser, chunk.first + i);
		const to = lineOf(own, chunk.first + i);
		const worth = fround(fround(q * from.slope) + from.start);
		const code = fround(fround(worth - to.start) / to.slope);
		const cut = Number.isNaN(code) ? low : Math.min(Math.max(code, low), high);
		return difference + (cut < 0 ? -roundHalfEven(-cut) : roundHalfEven(cut));
	});
}

// 3.7 Records

/** @param {Reader} r @param {Chunk} chunk */
function decodeRecords(r, { n, columns, first }) {
	need(columns <= 64 && first % columns === 0 && n % columns === 0, "records that are no whole rows");
	const blocks = Array.from({ length: columns }, () => decodeBlock(r, n / columns));
	return Uint8Array.from({ length: n }, (_, i) => blocks[i % columns][Math.floor(i / columns)]);
}

// 3.8 Centred codes

/** @param {Reader} r @param {Chunk} chunk */
function decodeCentred(r, chunk) {
	const flags = r.u8();
	need(flags <= 1, "flags that centred codes do not have");
	const parts = rowParts(chunk);
	const count = flags ? parts.length : chunk.columns;
	need(count <= 65536, "too many centres");
	const centres = decodeBlock(r, count);
	const codes = decodeCodes(r, chunk);
	parts.forEach(([row, begin, end], i) => {
		for (let e = begin; e < end; e++) codes[e] += centres[flags ? i : chunk.first + e - row * chunk.columns];
	});
	return codes;
}

// 3.9 Codes without peaks

/** @param {Reader} r @param {Chunk} chunk */
function decodePeaks(r, chunk) {
	const head = r.u8(), log = head & 15, count = (head >> 4) + 1, size = 2 ** log;
	need(log >= 5 && log <= 7 && count <= 2, "peaks of groups that there are not");
	need([chunk.n, chunk.columns, chunk.first].every((number) => number % size === 0), "groups that do not fill rows or the chunk");
	const centre = r.u8(), groups = chunk.n / size;
	/** @type {Map<number, number>} */
	const peaks = new Map();
	for (let i = 0; i < count; i++) {
		const valueCount = r.u8();
		need(valueCount <= 256 / size, "too many values of peaks");
		const values = r.take(valueCount);
		decodeBlock(r, groups).forEach((place, group) => {
			const element = group * size + (place % size);
			need(Math.floor(place / size) < valueCount, "a peak without a value");
			need(!peaks.has(element), "two peaks at one place");
			peaks.set(element, values[Math.floor(place / size)]);
		});
	}
	const left = (/** @type {number} */ number) => number - (number / size) * count;
	const others = decodeCodes(r, { ...chunk, n: left(chunk.n), columns: left(chunk.columns), first: left(chunk.first) });
	let next = 0;
	return Uint8Array.from({ length: chunk.n }, (_, e) => peaks.get(e) ?? others[next++] + centre);
}

// 3.10 Folded codes

/** @param {Reader} r @param {Chunk} chunk */
function decodeFolded(r, chunk) {
	const log = r.u8();
	need(log >= 6 && log <= 16, "rows of a length that folded codes do not have");
	return decodeCodes(r, { ...chunk, columns: 2 ** log, first: 0 });
}

// 3.11 Columns

/** @param {Reader} r @param {Chunk} chunk */
function decodeColumns(r, { n, dtype, columns, first }) {
	need(first % columns === 0 && n % columns === 0, "columns of rows that are not whole");
	const size = DTYPE_SIZES[dtype];
	const u = decodePlanes(r, dtype, n, false);
	const out = new Uint8Array(n * size);
	for (let row = 0; row < n / columns; row++) {
		// A row is a delta (3.5) to the row above, or to zeros.
		const planes = Array.from({ length: size }, (_, b) =>
			Uint8Array.from({ length: columns }, (_, c) => u[((c * n) / columns + row) * size + size - 1 - b]),
		);
		const delta = new Reader(Uint8Array.from(planes.flatMap((plane) => [0, ...plane])));
		const start = row * columns * size;
		const coarse = row > 0 ? out.slice(start - columns * size, start) : new Uint8Array(columns * size);
		out.set(decodeDelta(delta, { kind: DELTA, n: columns, dtype, columns, first: 0, coarse, coarseDtype: dtype }), start);
	}
	return out;
}

// 2.3 Layouts

/** @param {Index} index @param {Index['objects'][0]} layout @param {Uint8Array[]} decoded */
function makeLayout(index, layout, decoded) {
	const { rule, dtype, elements, group: bits } = layout;
	const codes = decoded[layout.coarse];
	if (rule === 1) return makeBlocks(index, layout, decoded);
	if (rule === 6) return joinRows(index, layout, decoded);
	const { columns } = index.objects[layout.coarse];
	if (rule === 3 && bits > 8) {
		const size = bits / 8, rows = codes.length / size / columns;
		need(index.objects[layout.coarse].dtype === dtype && DTYPE_SIZES[dtype] === size, "floats of another type");
		need(layout.columns === rows, "other columns than the floats have rows");
		return Uint8Array.from(codes, (_, i) => {
			const element = Math.floor(i / size), row = element % rows, column = Math.floor(element / rows);
			return codes[(row * columns + column) * size + (i % size)];
		});
	}
	if (rule === 2 && dtype === U8) {
		need(bits === 4, "a layout that does not exist");
		return Uint8Array.from({ length: elements }, (_, i) => (codes[2 * i] % 16) + (codes[2 * i + 1] % 16) * 16);
	}
	need(rule >= 2 && rule <= 5 && dtype === I32 && (bits === 4 || (bits === 8 && rule < 4)), "a layout that does not exist");
	const perWord = 32 / bits;
	const rows = codes.length / columns;
	need(layout.columns === (rule === 3 ? rows : rule === 5 ? rows / 8 : columns / perWord), "other columns than the codes say");
	const words = new Uint32Array(elements);
	for (let i = 0; i < elements; i++) {
		const eighths = rows / 8;
		const at = rule === 3 ? (i % rows) * columns + Math.floor(i / rows) * perWord :
			rule === 5 ? (i % eighths) * 8 * columns + Math.floor(i / eighths) : i * perWord;
		const places = rule < 4 ? [0, 1, 2, 3, 4, 5, 6, 7] : [0, 4, 1, 5, 2, 6, 3, 7];
		for (let j = 0; j < perWord; j++) words[i] += (codes[at + j * (rule === 5 ? columns : 1)] % 2 ** bits) * 2 ** (places[j] * bits);
	}
	return new Uint8Array(words.buffer);
}

/** @param {Index} index @param {Index['objects'][0]} layout @param {Uint8Array[]} decoded */
function joinRows(index, { dtype, columns, coarse, zeroPoints, chunkElements }, decoded) {
	const size = DTYPE_SIZES[dtype];
	const sides = [coarse, zeroPoints].map((number) => ({ ...index.objects[number], bytes: decoded[number] }));
	need(sides.every((side) => side.kind !== LAYOUT && side.dtype === dtype), "matrices that cannot be joined");
	need(sides[0].columns + sides[1].columns === columns, "other columns than the two matrices have");
	need(sides.every((side) => side.chunkElements / side.columns === chunkElements / columns), "parts of other rows");
	const rows = sides[0].bytes.length / size / sides[0].columns;
	need(sides[1].bytes.length === rows * size * sides[1].columns, "matrices of other rows");
	return Buffer.concat(Array.from({ length: rows }, (_, row) =>
		sides.map((side) => side.bytes.subarray(row * size * side.columns, (row + 1) * size * side.columns))).flat());
}

/** A single x ≥ 0 as an FP16 pattern, half to even. @param {number} x */
function halfPattern(x) {
	const v = /** @type {Float32Array} */ (values.get(F16));
	const rounded = castToHalf(x);
	return v.findIndex((value) => value === rounded);
}

/** @param {Index} index @param {Index['objects'][0]} layout @param {Uint8Array[]} decoded */
function makeBlocks(index, { dtype, elements, coarse, scales }, decoded) {
	const [perBlock, size] = BLOCKS[dtype - 18];
	const { rule } = index.objects[coarse];
	need([Q8_0, Q8_0, Q4_0, Q5_0, Q4_1, Q5_1, Q4_K, Q5_K, Q6_K][rule - 5] === dtype, "blocks of another type than their codes' rule");
	const scalesBytes = decoded[scales];
	const blocks = elements / perBlock;
	const each = RECORD_SIZES[rule] ?? DTYPE_SIZES[index.objects[scales].dtype]; // bytes of s
	const out = new Uint8Array(blocks * size);
	for (let b = 0; b < blocks; b++) {
		const c = decoded[coarse].subarray(b * perBlock, (b + 1) * perBlock);
		const s = scalesBytes.subarray(b * each, (b + 1) * each);
		out.set(blockOf(dtype, rule, c, s, index.objects[scales].dtype, b), b * size);
	}
	return out;
}

/** Low nibbles of the first `half` codes, high ones of the others. @param {Uint8Array} c @param {number} half */
const nibbles = (c, half) => [...c.subarray(0, half)].map((low, i) => (low % 16) | ((c[half + i] % 16) << 4));

/** The bytes of one block. @param {number} dtype @param {number} rule @param {Uint8Array} c @param {Uint8Array} s
 * @param {number} scalesDtype @param {number} b */
function blockOf(dtype, rule, c, s, scalesDtype, b) {
	const bitOf = (/** @type {number} */ i) => (c[i] >> 4) & 1;
	const by64 = () => [0, 64, 128, 192].flatMap((at) => nibbles(c.subarray(at, at + 64), 32));
	const fifths = () => [0, 8, 16, 24].map((at) => Array.from({ length: 8 }, (_, i) => bitOf(at + i) << i).reduce((a, x) => a | x));
	if (dtype === Q8_0) {
		let d = [...s];
		if (rule === 5) {
			const { s: scale } = readScales(rule, s, scalesDtype)(0);
			const pattern = halfPattern(Math.abs(fround(scale / 127))) | (scale < 0 || Object.is(scale, -0) ? 0x8000 : 0);
			d = [pattern & 255, pattern >> 8];
		}
		return [...d, ...c];
	}
	if (dtype === Q4_0 || dtype === Q4_1) return [...s, ...nibbles(c, 16)];
	if (dtype === Q5_0 || dtype === Q5_1) return [...s, ...fifths(), ...nibbles(c, 16)];
	if (dtype === Q4_K) return [...s, ...by64()];
	if (dtype === Q5_K) {
		const high = Array.from({ length: 32 }, (_, i) => Array.from({ length: 8 }, (_, j) => bitOf(32 * j + i) << j)
			.reduce((a, x) => a | x));
		return [...s, ...high, ...by64()];
	}
	need(dtype === Q6_K, `block ${b} of a type that is no layout`);
	const low = [0, 128].flatMap((at) => [
		...Array.from({ length: 32 }, (_, i) => (c[at + i] % 16) | ((c[at + i + 64] % 16) << 4)),
		...Array.from({ length: 32 }, (_, i) => (c[at + i + 32] % 16) | ((c[at + i + 96] % 16) << 4)),
	]);
	const high = [0, 128].flatMap((at) => Array.from({ length: 32 }, (_, i) =>
		[0, 32, 64, 96].map((from, k) => ((c[at + from + i] >> 4) & 3) << (2 * k)).reduce((a, x) => a | x)));
	return [...low, ...high, ...s];
}

// ---- Whole archives --------------------------------------------------------------------------------------------------

/**
 * Every file of every variant.
 * @param {Uint8Array} archive
 * @param {Uint8Array[]} [base] files of the model that it is a difference to
 * @returns {Promise<Map<string, Map<string, Uint8Array>>>} variant → file name → bytes
 */
export async function decodeArchive(archive, base) {
	const index = await readIndex(archive);
	/** @type {Uint8Array[]} */
	const decoded = [];
	for (const object of index.objects) {
		const bytes = await decodeObject(index, object, decoded, base);
		const partSize = sizeOf(object.dtype, object.chunkElements);
		for (let i = 0; i * partSize < bytes.length; i++)
			need((await xxhash3(bytes.subarray(i * partSize, (i + 1) * partSize))) === index.parts[object.firstPart + i],
				"a part has another checksum");
		decoded.push(bytes);
	}
	const result = new Map(index.variants.map((v) => [v.name, new Map()]));
	for (const file of index.files) {
		if (file.kind === BASE_FILE) continue;
		const bytes = restoreFile(index, file, decoded);
		need(bytes.length === file.size, `${file.name} has another size`);
		need(createHash("sha256").update(bytes).digest("hex") === file.sha256, `${file.name} is damaged`);
		index.variants.forEach((v, i) => {
			if ((file.variants >>> i) & 1) result.get(v.name)?.set(file.name, bytes);
		});
	}
	return result;
}

/** @typedef {Awaited<ReturnType<typeof readIndex>>} Index */

/** @param {Index} index @param {Index['objects'][0]} object @param {Uint8Array[]} decoded objects before
 * @param {Uint8Array[]} [base] files of the base */
export async function decodeObject(index, object, decoded, base = []) {
	const { kind, dtype, elements, columns, chunkElements } = object;
	if (kind === LAYOUT) {
		const made = makeLayout(index, object, decoded);
		need(made.length === sizeOf(dtype, elements), "a layout has another size");
		return made;
	}
	const size = DTYPE_SIZES[dtype];
	if (kind === BASE) {
		const from = baseFile(index.files[object.group], base);
		return from.subarray(object.rowStride, object.rowStride + elements * size);
	}
	const out = new Uint8Array(elements * size);
	const coarseObject = object.coarse === NONE ? undefined : index.objects[object.coarse];
	const coarseGrid = coarseObject && kind !== DELTA ? gridOf(index, coarseObject, decoded) : undefined;
	const grid = coarseObject && kind === CODES ? gridOf(index, object, decoded) : undefined;
	const factors = kind === REFINE && object.scales !== NONE ? factorsOf(index.objects[object.scales].dtype, decoded[object.scales]) :
		undefined;
	let at = object.offset;
	for (let i = 0; i < object.nChunks; i++) {
		const first = i * chunkElements;
		const n = Math.min(chunkElements, elements - first);
		const coded = index.payload.subarray(at, at + index.sizes[object.firstChunk + i]);
		at += coded.length;
		need((await xxhash3(coded)).endsWith(index.checksums[object.firstChunk + i]), "a chunk is damaged");
		/** @type {Chunk} */
		const chunk = { kind, dtype, n, columns, first, coarseGrid, grid, factors };
		if (coarseObject) {
			chunk.coarseDtype = coarseObject.dtype;
			const coarseSize = DTYPE_SIZES[chunk.coarseDtype];
			chunk.coarse = decoded[object.coarse].subarray(coarseSize * first, coarseSize * (first + n));
		}
		out.set(decodeChunk(chunk, coded), first * size);
	}
	need(at === object.offset + object.codedSize, "chunks do not fill their object");
	return out;
}

/** The factors of columns; what cannot be one is 1. @param {number} dtype @param {Uint8Array} bytes */
export function factorsOf(dtype, bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const of = (/** @type {number} */ column) => {
		const pattern = view.getUint16(2 * column, true);
		const factor = pattern < 0x8000 ? /** @type {Float32Array} */ (values.get(dtype))[pattern] : 0;
		return factor > 0 && factor < Infinity ? factor : 1;
	};
	return { dtype, of };
}

/** The file of the base that the archive means, whatever its name. @param {Index['files'][0]} file @param {Uint8Array[]} base */
function baseFile({ name, size, sha256 }, base) {
	const found = base.find((bytes) => bytes.length === size && createHash("sha256").update(bytes).digest("hex") === sha256);
	need(found, `the base's file ${name} is not there`);
	return /** @type {Uint8Array} */ (found);
}

/** @param {Index} index @param {Index['files'][0]} file @param {Uint8Array[]} decoded */
function restoreFile(index, file, decoded) {
	const member = index.payload.subarray(file.offset, file.offset + file.codedSize);
	if (file.kind === STORED) return member;
	if (file.kind === ZSTD) {
		need(windowOf(member) <= 2 ** 23, `the window of ${file.name} is too large`);
		return zstd(member, file.size);
	}
	need(file.kind === ASSEMBLED, `a file of kind ${file.kind}`);
	const out = new Uint8Array(file.size);
	let at = 0;
	for (const extent of index.extents.slice(file.firstExtent, file.firstExtent + file.nExtents)) {
		out.set(decoded[extent.object].subarray(extent.offset, extent.offset + extent.size), at);
		at += extent.size;
	}
	need(at === file.size, `${file.name} is not filled by its extents`);
	return out;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const [archive, variant, folder, ...base] = process.argv.slice(2);
	if (!folder) {
		console.error("usage: node tests/reference/decode.mjs FILE.qstore VARIANT OUTDIR [FILE OF THE BASE]…");
		process.exit(1);
	}
	const files = (await decodeArchive(readFileSync(archive), base.map((name) => readFileSync(name)))).get(variant);
	if (!files) throw new Error(`${archive} has no variant ${variant}`);
	for (const [name, bytes] of files) {
		mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
		writeFileSync(path.join(folder, name), bytes);
	}
}
