/** What has to be read and decoded for what is wanted. Pure functions of the index: no I/O. */

import { FILE, KIND, NONE } from "./archive-index.js";

/** @typedef {import("./archive-index.js").Index} Index */

/**
 * Bytes [skip, skip + size) of a decoded chunk.
 * @typedef {object} Piece
 * @property {number} object
 * @property {number} chunk of the object, from 0
 * @property {number} skip
 * @property {number} size
 */

/**
 * @typedef {object} ChunkId
 * @property {number} object
 * @property {number} chunk of the object, from 0
 */

/**
 * @typedef {object} Range
 * @property {number} offset in the archive
 * @property {number} size
 */

/**
 * The pieces that bytes [start, end) of an assembled file consist of, in order.
 * @param {Index} index
 * @param {number} file
 * @param {number} start
 * @param {number} end
 * @returns {Generator<Piece, void, void>}
 */
export function* planFile(index, file, start, end) {
	if (start >= end)
		return;
	const starts = index.extentStarts(file), { firstExtent } = index.file(file);
	for (let i = lastAtMost(starts, start), at = start; at < end; i++) {
		const extent = index.extent(firstExtent + i), skip = at - starts[i];
		const size = Math.min(extent.size - skip, end - at);
		yield* planObject(index, extent.object, extent.offset + skip, size);
		at += size;
	}
}

/**
 * The pieces that a tensor consists of, in order.
 * @param {Index} index
 * @param {number} tensor
 */
export function planTensor(index, tensor) {
	const { file, offset, size } = index.tensor(tensor);
	return planFile(index, file, offset, offset + size);
}

/**
 * The pieces that bytes [start, end) of several tensors, one after the other, consist of.
 * @param {Index} index
 * @param {Iterable<import("./archive-index.js").TensorRecord>} tensors
 * @param {number} [start]
 * @param {number} [end]
 * @returns {Generator<Piece, void, void>}
 */
export function* planTensors(index, tensors, start = 0, end = Infinity) {
	let at = 0;
	for (const { file, offset, size } of tensors) {
		const from = Math.max(start - at, 0), to = Math.min(end - at, size);
		yield* planFile(index, file, offset + from, offset + to);
		at += size;
	}
}

/**
 * The pieces that decoded bytes of an object consist of.
 * @param {Index} index
 * @param {number} number
 * @param {number} [from]
 * @param {number} [size]
 * @returns {Generator<Piece, void, void>}
 */
export function* planObject(index, number, from = 0, size = index.object(number).size - from) {
	const { chunkBytes } = index.object(number);
	for (let at = from; at < from + size;) {
		const skip = at % chunkBytes, length = Math.min(chunkBytes - skip, from + size - at);
		yield { object: number, chunk: Math.floor(at / chunkBytes), skip, size: length };
		at += length;
	}
}

/**
 * What decoding a chunk takes beside itself.
 * @typedef {object} Needs
 * @property {ChunkId} [coarse] refine: the chunk of its codes; delta: of its coarser values, which may have needs of its own
 * @property {ChunkId[]} scales refine: the chunks that hold its rows' scales
 * @property {number} firstScale the first of these scales, counted in their object
 * @property {number} scaleCount of the rows that the chunk touches; 1 when all rows have the same
 */

/**
 * What decoding a chunk takes beside itself, one step: coarse ones need what they need themselves (see planChain).
 * @param {Index} index
 * @param {number} number object
 * @param {number} chunk
 * @returns {Needs}
 */
export function planChunk(index, number, chunk) {
	const object = index.object(number);
	if (object.kind !== KIND.REFINE && object.kind !== KIND.DELTA)
		return { scales: [], firstScale: 0, scaleCount: 0 };
	const coarse = { object: object.coarse, chunk };
	if (object.kind === KIND.DELTA)
		return { coarse, scales: [], firstScale: 0, scaleCount: 0 };
	const { chunkElems, elems: scaleElems } = index.object(object.scales);
	if (scaleElems === 1)
		return { coarse, scales: [{ object: object.scales, chunk: 0 }], firstScale: 0, scaleCount: 1 };
	const first = chunk * object.chunkElems, last = Math.min(first + object.chunkElems, object.elems) - 1;
	const firstRow = Math.floor(first / object.cols), lastRow = Math.floor(last / object.cols);
	const scales = [];
	for (let i = Math.floor(firstRow / chunkElems); i <= Math.floor(lastRow / chunkElems); i++)
		scales.push({ object: object.scales, chunk: i });
	return { coarse, scales, firstScale: firstRow, scaleCount: lastRow - firstRow + 1 };
}

/**
 * A chunk, then the one that it builds on, and so on down to one that needs nothing coarser. Coarser objects are in coarser
 * layers or are codes, so that there are at most a few.
 * @param {Index} index
 * @param {ChunkId} id
 * @returns {{ id: ChunkId, needs: Needs }[]}
 */
export function planChain(index, id) {
	const levels = [];
	for (let next = /** @type {ChunkId | undefined} */ (id); next;) {
		const needs = planChunk(index, next.object, next.chunk);
		levels.push({ id: next, needs });
		next = needs.coarse;
	}
	return levels;
}

/**
 * A chunk's number through all objects.
 * @param {Index} index
 * @param {ChunkId} id
 */
export function chunkNumber(index, { object, chunk }) {
	return index.object(object).firstChunk + chunk;
}

/**
 * All chunks that pieces need, each once, by their numbers through all objects, in ascending order.
 * @param {Index} index
 * @param {Iterable<Piece>} pieces
 * @returns {number[]}
 */
export function planChunks(index, pieces) {
	/** @type {Set<number>} */
	const numbers = new Set();
	for (const piece of pieces) {
		for (const { id, needs } of planChain(index, piece)) {
			for (const each of [id, ...needs.scales])
				numbers.add(chunkNumber(index, each));
		}
	}
	return [...numbers].sort((a, b) => a - b);
}

/**
 * Where a chunk stands.
 * @param {Index} index
 * @param {number} number through all objects
 * @returns {Range}
 */
export function chunkRange(index, number) {
	return { offset: index.chunkOffset(number), size: index.chunkSize(number) };
}

/**
 * @typedef {object} CoalesceOptions
 * @property {number} [gap] bytes between two ranges that are rather read than made a request of; default 32 KiB
 * @property {number} [max] bytes of a range that is not extended any further; default 8 MiB
 */

/**
 * Joins ranges that are near each other.
 * @param {Iterable<Range>} ranges in any order
 * @param {CoalesceOptions} [options]
 * @returns {Range[]} in order
 */
export function coalesce(ranges, { gap = 32768, max = 2 ** 23 } = {}) {
	/** @type {Range[]} */
	const joined = [];
	for (const { offset, size } of [...ranges].sort((a, b) => a.offset - b.offset || b.size - a.size)) {
		const last = joined.at(-1), end = offset + size, lastEnd = last ? last.offset + last.size : 0;
		if (last && (end <= lastEnd || (offset <= lastEnd + gap && end - last.offset <= max)))
			last.size = Math.max(last.size, end - last.offset);
		else
			joined.push({ offset, size });
	}
	return joined;
}

/**
 * The ranges of the archive that pieces need.
 * @param {Index} index
 * @param {Iterable<Piece>} pieces
 * @param {CoalesceOptions} [options]
 */
export function planRanges(index, pieces, options) {
	return coalesce(planChunks(index, pieces).map((number) => chunkRange(index, number)), options);
}

/**
 * The ranges of the archive that all files of a variant need.
 * @param {Index} index
 * @param {number} variant
 * @param {CoalesceOptions} [options]
 */
export function planVariant(index, variant, options) {
	/** @type {Set<number>} */
	const chunks = new Set();
	/** @type {Range[]} */
	const ranges = [];
	for (let i = 0; i < index.fileCount; i++) {
		const file = index.file(i);
		if (!hasVariant(file.variants, variant))
			continue;
		if (file.kind === FILE.ASSEMBLED)
			planChunks(index, planFile(index, i, 0, file.size)).forEach((number) => chunks.add(number));
		else if (file.codedSize > 0)
			ranges.push({ offset: index.payloadOffset + file.offset, size: file.codedSize });
	}
	for (const number of chunks)
		ranges.push(chunkRange(index, number));
	return coalesce(ranges, options);
}

/**
 * What a chunk belongs to, for messages: "tensor NAME: chunk 3 of 7".
 * @param {Index} index
 * @param {ChunkId} id
 */
export function describeChunk(index, { object: number, chunk }) {
	const place = `chunk ${chunk + 1} of ${index.object(number).chunkCount}`;
	for (let i = 0; i < index.tensorCount; i++) {
		const tensor = index.tensor(i);
		if (tensor.object === number)
			return `tensor ${tensor.name}: ${place}`;
	}
	for (let i = 0; i < index.fileCount; i++) {
		const file = index.file(i);
		for (let j = 0; j < file.extentCount; j++) {
			if (index.extent(file.firstExtent + j).object === number)
				return `file ${file.name}: ${place} of the bytes outside its tensors`;
		}
	}
	return `object ${number}: ${place}`;
}

/**
 * The number of a variant by name; "low" is the coarsest and "high" the finest one.
 * @param {Index} index
 * @param {string} name
 * @returns {number | undefined}
 */
export function findVariant(index, name) {
	for (let i = 0; i < index.variantCount; i++) {
		if (index.variant(i).name === name)
			return i;
	}
	return name === "low" ? 0 : name === "high" ? index.variantCount - 1 : undefined;
}

/**
 * @param {number} mask
 * @param {number} variant
 */
export function hasVariant(mask, variant) {
	return (mask >>> variant & 1) === 1;
}

/**
 * Is a tensor's content the same in a coarser variant, whose layer holds it?
 * @param {Index} index
 * @param {import("./archive-index.js").TensorRecord} tensor
 */
export function isShared(index, tensor) {
	return tensor.object !== NONE && !hasVariant(index.file(tensor.file).variants, index.object(tensor.object).variant);
}

/**
 * The last place in an ascending array whose value is at most `value`.
 * @param {Float64Array} array
 * @param {number} value at least the first one
 */
function lastAtMost(array, value) {
	let low = 0, high = array.length;
	while (high - low > 1) {
		const middle = (low + high) >>> 1;
		if (array[middle] <= value)
			low = middle;
		else
			high = middle;
	}
	return low;
}
