/** In which portions pieces are read and decoded, and what each reads. No I/O: stream.js does that, and puts its promises into what is planned here. */

import { KIND } from "../format/archive-index.js";
import { chunkNumber, chunkRange, chunksOf, coalesce, hasChunks, planChain, windowsOf } from "./plan.js";

/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("./plan.js").ChunkId} ChunkId */
/** @typedef {import("./plan.js").Needs} Needs */
/** @typedef {import("./plan.js").Piece} Piece */
/** @typedef {import("./plan.js").Range} Range */
/** @typedef {import("./plan.js").Window} Window */

/** Coded bytes that are read at a time if a caller does not say so; less at first, so that something is there soon. */
const LOT_SIZE = 8 * 2 ** 20, FIRST_LOT = 4 * 2 ** 20;
/** Lots that are planned together: ranges of theirs that are no larger than this, in bytes, are read with the first, as neighbours often lie side by side. */
const GROUP_LOTS = 4, SMALL_RANGE = 2 ** 16;
/** Decoded chunks that stay for the pieces that follow: of the bytes between tensors, and of grids. */
const SHARED_MAX = 16;
/** The dtype of objects of bytes between tensors. */
const BYTES = 0;

/**
 * A chunk that several pieces use: decoded at its first use, and kept for a while.
 * @typedef {object} Shared
 * @property {ChunkId} id
 * @property {Lot} [lot] that reads it, until it is decoded
 * @property {Promise<Uint8Array>} [decoded]
 */

/**
 * All codes of a matrix that stands by columns in a file.
 * @typedef {object} Whole
 * @property {number} object
 * @property {Level[][]} [chains] of its chunks, until they are decoded
 * @property {Lot} [lot] that reads them
 * @property {Promise<Uint8Array>} [decoded]
 */

/**
 * A piece and what it needs.
 * @typedef {object} Task
 * @property {Piece} piece
 * @property {Shared} [shared] the chunk itself, when it is a shared one
 * @property {Level[]} levels the chunk, then what it builds on, down to the coarsest; none for a shared one
 * @property {Whole} [whole] layouts by columns
 */

/**
 * @typedef {object} Level
 * @property {ChunkId} id
 * @property {Needs} needs
 * @property {Map<Window, Shared[]>} windows
 */

/**
 * @typedef {object} Lot
 * @property {Task[]} tasks
 * @property {Set<number>} chunks to read
 * @property {Range[]} ranges that hold them, but for those of its group
 * @property {Group} group
 * @property {Promise<Map<number, Uint8Array>>} [coded] by chunk
 */

/**
 * What several lots need a little of.
 * @typedef {object} Group
 * @property {Range[]} ranges
 * @property {Promise<Block[]>} [blocks] when they are read
 */

/** @typedef {{ offset: number, bytes: Uint8Array }} Block a range that was read */

/** @typedef {{ gap?: number, lot?: number }} LotOptions gap: see CoalesceOptions; lot: see ReadOptions */

/**
 * @param {Index} index
 * @param {Iterable<Piece>} pieces
 * @param {LotOptions} [options]
 * @returns {Generator<Lot, void, void>}
 */
export function planLots(index, pieces, { gap, lot = LOT_SIZE } = {}) {
	return groupLots(index, makeLots(index, pieces, lot), gap);
}

/**
 * The ranges that decoding pieces reads, lot by lot: what one has read in passing a later one may read again.
 * @param {Index} index
 * @param {Iterable<Piece>} pieces
 * @param {LotOptions} [options]
 * @returns {Range[]}
 */
export function planReads(index, pieces, options) {
	/** @type {Range[]} */
	const ranges = [];
	let last;
	for (const { ranges: own, group } of planLots(index, pieces, options)) {
		ranges.push(...own, ...group === last ? [] : group.ranges);
		last = group;
	}
	return ranges;
}

/**
 * Cuts pieces into lots, and finds out which chunks each has to read: what an earlier lot read and is still kept is not
 * read again.
 * @param {Index} index
 * @param {Iterable<Piece>} pieces
 * @param {number} lotSize coded bytes of each lot; of the first ones less
 * @returns {Generator<Lot, void, void>}
 */
function* makeLots(index, pieces, lotSize) {
	/** @type {Map<number, Shared>} the most recently used one last */
	const kept = new Map();
	/** @type {Lot} */
	let lot = emptyLot();
	let size = 0, enough = Math.min(FIRST_LOT, lotSize);
	/** @param {ChunkId} id */
	const add = (id) => {
		const number = chunkNumber(index, id);
		if (!lot.chunks.has(number))
			size += index.chunkSize(number);
		lot.chunks.add(number);
	};
	/** @param {ChunkId} id */
	const share = (id) => {
		const number = chunkNumber(index, id);
		let shared = kept.get(number);
		if (!shared) {
			shared = { id, lot };
			add(id);
		}
		kept.delete(number);
		kept.set(number, shared);
		if (kept.size > SHARED_MAX)
			kept.delete(/** @type {number} */ (kept.keys().next().value));
		return shared;
	};
	/**
	 * @param {ChunkId} id
	 * @returns {Level[]}
	 */
	const chain = (id) => planChain(index, id).map((level) => {
		if (hasChunks(index, level.id.object))
			add(level.id);
		return { ...level, windows: new Map(windowsOf(level.needs).map((window) => [window, window.chunks.map(share)])) };
	});
	/** @type {Whole | undefined} the last one: the pieces of a matrix follow one another */
	let last;
	/** @param {number} object */
	const keepWhole = (object) => {
		if (last?.object !== object)
			last = { object, chains: chunksOf(index, object).map(chain), lot };
		return last;
	};
	for (const piece of pieces) {
		// The bytes between tensors come up again and again while a file is restored.
		const { dtype, kind } = index.object(piece.object), isShared = dtype === BYTES && kind !== KIND.BASE;
		const shared = isShared ? share({ object: piece.object, chunk: piece.chunk }) : undefined;
		const levels = shared ? [] : chain(piece), needs = levels[0]?.needs;
		lot.tasks.push({ piece, shared, levels, whole: needs?.whole === undefined ? undefined : keepWhole(needs.whole) });
		if (size >= enough) {
			yield lot;
			lot = emptyLot();
			size = 0;
			enough = Math.min(enough * 2, lotSize);
		}
	}
	if (lot.tasks.length > 0)
		yield lot;
}

/** @returns {Lot} */
function emptyLot() {
	return { tasks: [], chunks: new Set(), ranges: [], group: { ranges: [] } };
}

/**
 * Finds the ranges that lots read.
 * @param {Index} index
 * @param {Iterable<Lot>} lots
 * @param {number} [gap] see CoalesceOptions
 * @returns {Generator<Lot, void, void>}
 */
function* groupLots(index, lots, gap) {
	/** @type {Lot[]} */
	let group = [];
	const finish = () => {
		/** @type {Group} */
		const shared = { ranges: [] };
		for (const lot of group) {
			lot.group = shared;
			for (const range of coalesce([...lot.chunks].map((number) => chunkRange(index, number)), { gap }))
				(range.size <= SMALL_RANGE ? shared : lot).ranges.push(range);
		}
		shared.ranges = coalesce(shared.ranges, { gap });
		return group.splice(0);
	};
	for (const lot of lots) {
		if (group.push(lot) === GROUP_LOTS)
			yield* finish();
	}
	yield* finish();
}
