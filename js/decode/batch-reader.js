/** Reads the coded chunks of batches. */

import { chunkRange } from "../plan/ranges.js";
import { readExactly } from "../source/source.js";
import { quiet } from "../util/promises.js";

/** @typedef {import("../plan/batches.js").Batch} Batch */
/** @typedef {import("../plan/batches.js").BatchGroup} BatchGroup */
/** @typedef {import("../plan/ranges.js").Range} Range */

/** @typedef {Map<number, Uint8Array>} CodedChunks the coded bytes of chunks, by their numbers through all objects */
/** @typedef {{ offset: number, bytes: Uint8Array }} Bytes a range of the archive that was read */

export class BatchReader {
	#index;
	#source;
	#options;
	/** @type {WeakMap<BatchGroup, Promise<Bytes[]>>} the ranges of each group; they go when the last batch of the group is gone */
	#groups = new WeakMap();

	/**
	 * @param {import("../format/archive-index.js").Index} index
	 * @param {import("../source/source.js").Source} source
	 * @param {import("../source/source.js").ReadOptions} options
	 */
	constructor(index, source, options) {
		this.#index = index;
		this.#source = source;
		this.#options = options;
	}

	/**
	 * Reads all chunks of a batch.
	 * @param {Batch} batch
	 * @returns {Promise<CodedChunks>}
	 */
	async read({ chunks, ranges, group }) {
		const blocks = (await Promise.all([this.#readRanges(ranges), this.#readGroup(group)])).flat().sort((a, b) => a.offset - b.offset);
		const places = [...chunks].map((number) => ({ number, ...chunkRange(this.#index, number) })).sort((a, b) => a.offset - b.offset);
		/** @type {CodedChunks} */
		const coded = new Map();
		let at = 0;
		for (const { number, offset, size } of places) {
			while (offset + size > blocks[at].offset + blocks[at].bytes.length)
				at++;
			const start = offset - blocks[at].offset;
			coded.set(number, blocks[at].bytes.subarray(start, start + size));
		}
		return coded;
	}

	/** @param {BatchGroup} group */
	#readGroup(group) {
		let blocks = this.#groups.get(group);
		if (!blocks) {
			blocks = quiet(this.#readRanges(group.ranges));
			this.#groups.set(group, blocks);
		}
		return blocks;
	}

	/**
	 * @param {Range[]} ranges
	 * @returns {Promise<Bytes[]>}
	 */
	#readRanges(ranges) {
		return Promise.all(ranges.map(async ({ offset, size }) =>
			({ offset, bytes: await readExactly(this.#source, offset, size, this.#options) })));
	}
}
