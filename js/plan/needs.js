/** Which other chunks decoding a chunk needs: those that it builds on, and those of the grids. Pure functions of the index: no I/O. */

import { NONE } from "../format/archive-index.js";
import { KIND, KINDS, LAYOUT, RULES, isByColumns } from "../format/facts.js";

/** @typedef {import("../format/archive-index.js").Index} Index */

/**
 * @typedef {object} ChunkId
 * @property {number} object
 * @property {number} chunk counted from 0 within the object
 */

/**
 * Elements [first, first + count) of a plain object.
 * @typedef {object} Window
 * @property {number} object
 * @property {number} first
 * @property {number} count
 * @property {ChunkId[]} chunks that hold the elements
 */

/**
 * The windows of the objects of a grid that some codes need.
 * @typedef {object} GridNeeds
 * @property {number} codes the object that has the grid
 * @property {number} firstScale the number of the first scale in the window
 * @property {Window} scales counted in elements of their object; these are bytes where the scales are stored in records
 * @property {Window} [zeroPoints]
 * @property {Window} [order] the whole object
 * @property {Window} [factors] the whole object; only for a refinement of these codes
 */

/**
 * Everything that decoding a chunk takes beside the chunk itself.
 * @typedef {object} Needs
 * @property {ChunkId} [coarse] the chunk that it builds on, which may have needs of its own
 * @property {number} [whole] the object of codes, or floats, of which a layout by columns needs all chunks
 * @property {ChunkId} [beside] the chunk whose rows come beside those of `coarse`, which may have needs of its own
 * @property {GridNeeds} [coarseGrid] the grid of the codes in `coarse`, for a refinement, recoded codes and blocks
 * @property {GridNeeds} [grid] the grid of recoded codes themselves
 */

/**
 * Plans what decoding a chunk needs directly; the chunk that it builds on has needs of its own (planChain).
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
	if (kind === KIND.LAYOUT && rule === LAYOUT.JOINED)
		return { ...needs, beside: { object: object.beside, chunk } };
	if (kind === KIND.DELTA || (kind === KIND.LAYOUT && rule !== LAYOUT.BLOCKS))
		return needs;
	const first = chunk * object.chunkElems, count = Math.min(object.chunkElems, object.elems - first);
	needs.coarseGrid = planGrid(index, object.coarse, first, count, kind === KIND.REFINE ? object.scales : NONE);
	if (kind === KIND.CODES)
		needs.grid = planGrid(index, number, first, count);
	return needs;
}

/**
 * The windows that elements [first, first + count) of codes need of their grid (FORMAT.md, "Grids").
 * @param {Index} index
 * @param {number} codes
 * @param {number} first
 * @param {number} count at least 1
 * @param {number} [factors] object
 * @returns {GridNeeds}
 */
function planGrid(index, codes, first, count, factors = NONE) {
	const { rule, cols, scales, zeroPoints, order, group, rowStride, groupStride } = index.object(codes);
	const { recordSize, recordScales } = RULES[rule];
	const row = Math.floor(first / cols), lastRow = Math.floor((first + count - 1) / cols);
	let begin = 0, end = Math.floor((cols - 1) / group);
	if (order !== NONE) {
		end = group - 1; // with an order, the field is the number of groups
	} else if (row === lastRow) {
		begin = Math.floor((first - row * cols) / group);
		end = Math.floor((first + count - 1 - row * cols) / group);
	}
	// The window begins and ends with whole records.
	const low = row * rowStride + begin * groupStride, firstScale = low - low % recordScales;
	const scaleCount = lastRow * rowStride + end * groupStride - firstScale + 1;
	return {
		codes, firstScale,
		scales: recordSize === 0 ? planWindow(index, scales, firstScale, scaleCount) :
			planWindow(index, scales, firstScale / recordScales * recordSize, Math.ceil(scaleCount / recordScales) * recordSize),
		zeroPoints: zeroPoints === NONE ? undefined : planWindow(index, zeroPoints, firstScale, scaleCount),
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
 * All windows that decoding a chunk needs.
 * @param {Needs} needs
 * @returns {Window[]}
 */
export function windowsOf({ coarseGrid, grid }) {
	const windows = [coarseGrid, grid].flatMap((each) => each ? [each.scales, each.zeroPoints, each.order, each.factors] : []);
	return windows.filter((window) => window !== undefined);
}

/**
 * A chunk, then the one that it builds on, and so on down to one that needs nothing coarser. The chain is a few chunks long: each object
 * builds on codes, or on an object in a coarser layer.
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
 * Does the archive have chunks of an object? Layouts are made of other objects, and the bytes of base objects are in another model.
 * @param {Index} index
 * @param {number} object
 */
export function hasChunks(index, object) {
	return KINDS[index.object(object).kind].hasChunks;
}

/**
 * The bytes of one part of a base object, in the base's file.
 * @param {Index} index
 * @param {ChunkId} id
 * @returns {{ file: number, offset: number, size: number }}
 */
export function baseRange(index, { object, chunk }) {
	const { baseFile, baseOffset, chunkBytes, size } = index.object(object), start = chunk * chunkBytes;
	return { file: baseFile, offset: baseOffset + start, size: Math.min(chunkBytes, size - start) };
}

/**
 * A chunk's number, counted through all objects.
 * @param {Index} index
 * @param {ChunkId} id
 */
export function chunkNumber(index, { object, chunk }) {
	return index.object(object).firstChunk + chunk;
}

/**
 * All chunks that pieces need, each once: their numbers through all objects, ascending.
 * @param {Index} index
 * @param {Iterable<import("./pieces.js").Piece>} pieces
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
			if (needs.beside)
				add(needs.beside);
			if (needs.whole !== undefined)
				chunksOf(index, needs.whole).forEach(add);
		}
	};
	for (const piece of pieces)
		add(piece);
	return [...numbers].sort((a, b) => a - b);
}

/** The chunks that extents need. They are marked for many parts at a time, since a model has millions of them. */
export class NeededChunks {
	#index;
	#marks;
	/** @type {Set<number>} objects of which all parts are needed */
	#wholes = new Set();

	/** @param {Index} index */
	constructor(index) {
		this.#index = index;
		this.#marks = new Uint8Array(index.chunkCount);
	}

	/** @param {number} number a chunk's, through all objects */
	has(number) {
		return this.#marks[number] === 1;
	}

	/** @param {import("../format/archive-index.js").ExtentRecord} extent */
	addExtent({ object, offset, size }) {
		const { chunkBytes } = this.#index.object(object);
		this.#add(object, Math.floor(offset / chunkBytes), Math.floor((offset + size - 1) / chunkBytes));
	}

	/**
	 * Adds parts [first, last] of an object.
	 * @param {number} number
	 * @param {number} first
	 * @param {number} last
	 */
	#add(number, first, last) {
		const index = this.#index, object = index.object(number), { kind, rule, coarse, elems, chunkElems } = object;
		if (kind === KIND.BASE || last < first)
			return;
		if (object.chunkCount > 0) {
			const marks = this.#marks.subarray(object.firstChunk + first, object.firstChunk + last + 1);
			if (!marks.includes(0))
				return;
			marks.fill(1);
		}
		if (coarse === NONE)
			return;
		if (kind === KIND.LAYOUT && isByColumns(rule)) {
			if (this.#wholes.has(coarse))
				return;
			this.#wholes.add(coarse);
			this.#add(coarse, 0, Math.ceil(index.object(coarse).elems / index.object(coarse).chunkElems) - 1);
			return;
		}
		this.#add(coarse, first, last);
		if (kind === KIND.LAYOUT && rule === LAYOUT.JOINED)
			this.#add(object.beside, first, last);
		if (kind === KIND.DELTA || (kind === KIND.LAYOUT && rule !== LAYOUT.BLOCKS))
			return;
		const from = first * chunkElems, count = Math.min((last + 1) * chunkElems, elems) - from;
		const grids = [planGrid(index, coarse, from, count, kind === KIND.REFINE ? object.scales : NONE),
			...(kind === KIND.CODES ? [planGrid(index, number, from, count)] : [])];
		for (const { scales, zeroPoints, order, factors } of grids)
			for (const window of [scales, zeroPoints, order, factors])
				for (const id of window?.chunks ?? [])
					this.#marks[chunkNumber(index, id)] = 1;
	}
}
