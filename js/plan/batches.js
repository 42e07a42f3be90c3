/**
 * Batches: how much is requested and decoded at a time, and which chunks each batch reads. A plan is plain data; its reader
 * (../decode/pieces.js) keeps the bytes and promises that belong to it.
 */

import { KIND } from "../format/facts.js";
import { chunkNumber, chunksOf, hasChunks, planChain, windowsOf } from "./needs.js";
import { chunkRange, coalesce } from "./ranges.js";

/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("./needs.js").ChunkId} ChunkId */
/** @typedef {import("./needs.js").Needs} Needs */
/** @typedef {import("./needs.js").Window} Window */
/** @typedef {import("./pieces.js").Piece} Piece */
/** @typedef {import("./ranges.js").Range} Range */

/** Coded bytes of a batch unless a caller says otherwise; the first batch is smaller, so that something is there soon. */
const BATCH_SIZE = 8 * 2 ** 20, FIRST_BATCH = 4 * 2 ** 20;
/**
 * Batches that are planned together, as a group. Ranges of at most SMALL_RANGE bytes that they need are read with the first of them, since
 * these ranges often are neighbours.
 */
const GROUP_BATCHES = 4, SMALL_RANGE = 2 ** 16;
/** Pieces of a batch: chunks of few coded bytes take memory too, and time to plan. */
const BATCH_TASKS = 256;
/** Decoded chunks of grids, and of the bytes between tensors, that are kept for the pieces that follow. */
const REUSED_MAX = 16;
/** The dtype of objects that hold the bytes between tensors. */
const BYTES = 0;

/**
 * A chunk that several pieces use: it is decoded when the first of them needs it. A later batch that refers to this same object reads
 * nothing for it.
 * @typedef {object} ReusedChunk
 * @property {ChunkId} id
 */

/**
 * All codes, or floats, of a matrix whose layout in a file is by columns: every piece of the file needs some of each row. The batch
 * whose task is the first to refer to it reads its chunks; later ones that refer to this same object read nothing for it.
 * @typedef {object} WholeMatrix
 * @property {number} object
 * @property {Level[][]} chains how each of its chunks is decoded
 */

/**
 * A chunk to decode, with what it needs beside the chunk that it builds on.
 * @typedef {object} Level
 * @property {ChunkId} id
 * @property {Needs} needs
 * @property {Map<Window, ReusedChunk[]>} windows the chunks of each window that it needs
 */

/**
 * One piece, and how it is decoded: it is bytes of `reused`, or else of the chunk levels[0].
 * @typedef {object} Task
 * @property {Piece} piece
 * @property {ReusedChunk} [reused]
 * @property {Level[]} levels the chunk, then those that it builds on, the coarsest last; none for a reused chunk
 * @property {WholeMatrix} [whole] for layouts by columns
 * @property {Level[]} [beside] for joined layouts: the chunk on the right and those that it builds on
 */

/**
 * @typedef {object} Batch
 * @property {Task[]} tasks in the order of their pieces
 * @property {Set<number>} chunks to read, by their numbers through all objects
 * @property {ReusedChunk[]} reused those of `chunks` that are reused
 * @property {Range[]} ranges that hold the chunks, except for ranges of the group
 * @property {BatchGroup} group
 */

/**
 * Small ranges that several batches need; they are read once, for the first of these batches.
 * @typedef {object} BatchGroup
 * @property {Range[]} ranges
 */

/**
 * @typedef {object} BatchOptions
 * @property {number} [gap] see CoalesceOptions
 * @property {number} [batchSize] coded bytes of a batch; see ReadOptions
 */

/**
 * Plans how pieces are read and decoded.
 * @param {Index} index
 * @param {Iterable<Piece>} pieces
 * @param {BatchOptions} [options]
 * @returns {Generator<Batch, void, void>}
 */
export function planBatches(index, pieces, { gap, batchSize = BATCH_SIZE } = {}) {
	return groupBatches(index, new Cutter(index, batchSize).cut(pieces), gap);
}

/**
 * The ranges that decoding pieces reads, batch by batch. Ranges of different batches may overlap: the bytes of a gap that one batch reads
 * may be chunks of another.
 * @param {Index} index
 * @param {Iterable<Piece>} pieces
 * @param {BatchOptions} [options]
 * @returns {Generator<Range[], void, void>} of each batch
 */
export function* planReads(index, pieces, options) {
	let last;
	for (const { ranges, group } of planBatches(index, pieces, options)) {
		yield group === last ? ranges : [...ranges, ...group.ranges];
		last = group;
	}
}

/** Cuts pieces into batches, and finds the chunks that each has to read: those that are kept since an earlier batch are not read again. */
class Cutter {
	#index;
	#batchSize;
	#batch = emptyBatch();
	/** Coded bytes of the batch's chunks. */
	#size = 0;
	/** @type {Map<number, ReusedChunk>} by number through all objects, the most recently used one last */
	#kept = new Map();
	/** @type {WholeMatrix | undefined} the last one: pieces of one matrix follow one another */
	#whole;

	/**
	 * @param {Index} index
	 * @param {number} batchSize coded bytes of each batch but the first ones, which are smaller
	 */
	constructor(index, batchSize) {
		this.#index = index;
		this.#batchSize = batchSize;
	}

	/**
	 * @param {Iterable<Piece>} pieces
	 * @returns {Generator<Batch, void, void>}
	 */
	* cut(pieces) {
		let enough = Math.min(FIRST_BATCH, this.#batchSize);
		for (const piece of pieces) {
			this.#batch.tasks.push(this.#task(piece));
			if (this.#size >= enough || this.#batch.tasks.length >= BATCH_TASKS) {
				yield this.#batch;
				this.#batch = emptyBatch();
				this.#size = 0;
				enough = Math.min(enough * 2, this.#batchSize);
			}
		}
		if (this.#batch.tasks.length > 0)
			yield this.#batch;
	}

	/**
	 * @param {Piece} piece
	 * @returns {Task}
	 */
	#task(piece) {
		const { dtype, kind } = this.#index.object(piece.object);
		// Restoring a file comes back to the bytes between its tensors again and again.
		if (dtype === BYTES && kind !== KIND.BASE)
			return { piece, reused: this.#reuse({ object: piece.object, chunk: piece.chunk }), levels: [] };
		const levels = this.#chain(piece), { whole, beside } = levels[0].needs;
		return {
			piece, levels, whole: whole === undefined ? undefined : this.#wholeMatrix(whole), beside: beside && this.#chain(beside),
		};
	}

	/**
	 * @param {ChunkId} id
	 * @returns {Level[]}
	 */
	#chain(id) {
		return planChain(this.#index, id).map((level) => {
			if (hasChunks(this.#index, level.id.object))
				this.#read(level.id);
			/** @type {Level["windows"]} */
			const windows = new Map();
			for (const window of windowsOf(level.needs))
				windows.set(window, window.chunks.map((each) => this.#reuse(each)));
			return { ...level, windows };
		});
	}

	/** @param {number} object */
	#wholeMatrix(object) {
		if (this.#whole?.object !== object)
			this.#whole = { object, chains: chunksOf(this.#index, object).map((id) => this.#chain(id)) };
		return this.#whole;
	}

	/** @param {ChunkId} id */
	#reuse(id) {
		const number = chunkNumber(this.#index, id), kept = this.#kept;
		let reused = kept.get(number);
		if (!reused) {
			reused = { id };
			this.#read(id);
			this.#batch.reused.push(reused);
		}
		kept.delete(number);
		kept.set(number, reused);
		if (kept.size > REUSED_MAX)
			kept.delete(/** @type {number} */ (kept.keys().next().value));
		return reused;
	}

	/** @param {ChunkId} id */
	#read(id) {
		const number = chunkNumber(this.#index, id);
		if (!this.#batch.chunks.has(number))
			this.#size += this.#index.chunkSize(number);
		this.#batch.chunks.add(number);
	}
}

/** @returns {Batch} */
function emptyBatch() {
	return { tasks: [], chunks: new Set(), reused: [], ranges: [], group: { ranges: [] } };
}

/**
 * Finds the ranges that batches read.
 * @param {Index} index
 * @param {Iterable<Batch>} batches
 * @param {number} [gap] see CoalesceOptions
 * @returns {Generator<Batch, void, void>}
 */
function* groupBatches(index, batches, gap) {
	/** @type {Batch[]} */
	let grouped = [];
	for (const batch of batches) {
		if (grouped.push(batch) === GROUP_BATCHES) {
			yield* setRanges(index, grouped, gap);
			grouped = [];
		}
	}
	yield* setRanges(index, grouped, gap);
}

/**
 * @param {Index} index
 * @param {Batch[]} batches of one group
 * @param {number} [gap]
 */
function setRanges(index, batches, gap) {
	/** @type {Range[]} */
	const small = [];
	for (const batch of batches) {
		for (const range of coalesce([...batch.chunks].map((number) => chunkRange(index, number)), { gap }))
			(range.size <= SMALL_RANGE ? small : batch.ranges).push(range);
	}
	const group = { ranges: coalesce(small, { gap }) };
	for (const batch of batches)
		batch.group = group;
	return batches;
}
