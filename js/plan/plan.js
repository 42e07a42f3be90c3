/** What has to be read and decoded for what is wanted. Pure functions of the index: no I/O. */

import { FILE, KIND, NONE } from "../format/archive-index.js";
import { LAYOUT, RULES, isByColumns } from "../format/rules.js";

/** @typedef {import("../format/archive-index.js").Index} Index */

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
 * @param {Iterable<import("../format/archive-index.js").TensorRecord>} tensors
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
 * Elements [first, first + count) of a plain object.
 * @typedef {object} Window
 * @property {number} object
 * @property {number} first
 * @property {number} count
 * @property {ChunkId[]} chunks that hold them
 */

/**
 * What some elements need of the grid of codes.
 * @typedef {object} GridNeeds
 * @property {number} codes the object that has the grid
 * @property {number} firstScale the number of the first scale of the window
 * @property {Window} scales counted in elements of their object: bytes, where they stand in records
 * @property {Window} [zeros]
 * @property {Window} [order] all of it
 * @property {Window} [factors] all of them; of what is refined from these codes
 */

/**
 * What decoding a chunk takes beside itself.
 * @typedef {object} Needs
 * @property {ChunkId} [coarse] the chunk of the object that it builds on, which may have needs of its own
 * @property {number} [whole] the object of codes, or floats, that a layout by columns needs all of
 * @property {GridNeeds} [coarseGrid] refine, recoded codes, blocks: of the codes in `coarse`
 * @property {GridNeeds} [grid] recoded codes: their own
 */

/**
 * What decoding a chunk takes beside itself, one step: coarse ones need what they need themselves (see planChain).
 * @param {Index} index
 * @param {number} number object
 * @param {number} chunk
 * @returns {Needs}
 */
export function planChunk(index, number, chunk) {
	const object = index.object(number), { kind, rule } = object;
	if (object.coarse === NONE)
		return {};
	if (kind === KIND.LAYOUT && isByColumns(rule))
		return { whole: object.coarse };
	/** @type {Needs} */
	const needs = { coarse: { object: object.coarse, chunk } };
	if (kind === KIND.DELTA || (kind === KIND.LAYOUT && rule !== LAYOUT.BLOCKS))
		return needs;
	const first = chunk * object.chunkElems, count = Math.min(object.chunkElems, object.elems - first);
	needs.coarseGrid = planGrid(index, object.coarse, first, count, kind === KIND.REFINE ? object.scales : NONE);
	if (kind === KIND.CODES)
		needs.grid = planGrid(index, number, first, count);
	return needs;
}

/**
 * The part of a grid that elements [first, first + count) of codes need (FORMAT.md, "Grids").
 * @param {Index} index
 * @param {number} codes
 * @param {number} first
 * @param {number} count at least 1
 * @param {number} [factors] object
 * @returns {GridNeeds}
 */
function planGrid(index, codes, first, count, factors = NONE) {
	const { rule, cols, scales, zeros, order, group, rowStride, groupStride } = index.object(codes);
	const { recordSize, recordScales } = RULES[rule];
	const row = Math.floor(first / cols), lastRow = Math.floor((first + count - 1) / cols);
	let begin = 0, end = Math.floor((cols - 1) / group);
	if (order !== NONE) {
		end = group - 1;
	} else if (row === lastRow) {
		begin = Math.floor((first - row * cols) / group);
		end = Math.floor((first + count - 1 - row * cols) / group);
	}
	// Records are read as a whole.
	const low = row * rowStride + begin * groupStride, firstScale = low - low % recordScales;
	const scaleCount = lastRow * rowStride + end * groupStride - firstScale + 1;
	return {
		codes, firstScale,
		scales: recordSize === 0 ? planWindow(index, scales, firstScale, scaleCount) :
			planWindow(index, scales, firstScale / recordScales * recordSize, Math.ceil(scaleCount / recordScales) * recordSize),
		zeros: zeros === NONE ? undefined : planWindow(index, zeros, firstScale, scaleCount),
		order: order === NONE ? undefined : planWindow(index, order, 0, cols),
		factors: factors === NONE ? undefined : planWindow(index, factors, 0, cols),
	};
}

/**
 * @param {Index} index
 * @param {number} object plain
 * @param {number} first
 * @param {number} count at least 1
 * @returns {Window}
 */
function planWindow(index, object, first, count) {
	const { chunkElems } = index.object(object), chunks = [];
	for (let chunk = Math.floor(first / chunkElems); chunk * chunkElems < first + count; chunk++)
		chunks.push({ object, chunk });
	return { object, first, count, chunks };
}

/**
 * The windows that decoding a chunk needs.
 * @param {Needs} needs
 * @returns {Window[]}
 */
export function windowsOf({ coarseGrid, grid }) {
	return [coarseGrid, grid].flatMap((each) => each ? [each.scales, each.zeros, each.order, each.factors] : []).filter((window) => window !== undefined);
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
 * All chunks of an object.
 * @param {Index} index
 * @param {number} object
 * @returns {ChunkId[]}
 */
export function chunksOf(index, object) {
	return Array.from({ length: index.object(object).chunkCount }, (_, chunk) => ({ object, chunk }));
}

/**
 * Has it chunks in the archive? Layouts are made of other objects, and base objects stand in another model.
 * @param {Index} index
 * @param {number} object
 */
export function hasChunks(index, object) {
	const { kind } = index.object(object);
	return kind !== KIND.LAYOUT && kind !== KIND.BASE;
}

/**
 * The bytes of a base object's part in the file of the base.
 * @param {Index} index
 * @param {ChunkId} id
 * @returns {Range & { file: number }}
 */
export function baseRange(index, { object, chunk }) {
	const { group, rowStride, chunkBytes, size } = index.object(object), start = chunk * chunkBytes;
	return { file: group, offset: rowStride + start, size: Math.min(chunkBytes, size - start) };
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
	/** @param {ChunkId} of */
	const add = (of) => {
		for (const { id, needs } of planChain(index, of)) {
			if (hasChunks(index, id.object))
				numbers.add(chunkNumber(index, id));
			for (const { chunks } of windowsOf(needs))
				chunks.forEach((each) => numbers.add(chunkNumber(index, each)));
			if (needs.whole !== undefined)
				chunksOf(index, needs.whole).forEach(add);
		}
	};
	for (const piece of pieces)
		add(piece);
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
	/** @type {string | undefined} */
	let builtOn;
	for (let i = 0; i < index.tensorCount; i++) {
		const { name, object } = index.tensor(i);
		if (object === number)
			return `tensor ${name}: ${place}`;
		// Codes and 16-bit casts that no tensor is: one that is made of them.
		for (let next = object; next !== NONE && builtOn === undefined; next = index.object(next).coarse) {
			if (next === number)
				builtOn = `tensor ${name}: ${place} of what it builds on`;
		}
	}
	if (builtOn !== undefined)
		return builtOn;
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
 * @param {import("../format/archive-index.js").TensorRecord} tensor
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
