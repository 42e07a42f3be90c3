/** Which byte ranges of the archive the wanted bytes need. Pure functions of the index: no I/O. */

import { FILE } from "../format/facts.js";
import { hasVariant } from "../format/variants.js";
import { NeededChunks, planChunks } from "./needs.js";

/** @typedef {import("../format/archive-index.js").Index} Index */

/**
 * @typedef {object} Range
 * @property {number} offset in the archive
 * @property {number} size in bytes
 */

/**
 * @typedef {object} CoalesceOptions
 * @property {number} [gap] two ranges with at most this many bytes between them become one, since reading the gap costs less than another
 *   request; default 32 KiB
 * @property {number} [max] a range of this many bytes is not extended any further; default 8 MiB
 */

/**
 * Joins ranges that are near each other.
 * @param {Iterable<Range>} ranges in any order
 * @param {CoalesceOptions} [options]
 * @returns {Range[]} by ascending offsets
 */
export function coalesce(ranges, options = {}) {
	/** @type {Range[]} */
	const joined = [];
	for (const { offset, size } of [...ranges].sort((a, b) => a.offset - b.offset || b.size - a.size))
		join(joined, offset, size, options);
	return joined;
}

/**
 * Adds a range to joined ones.
 * @param {Range[]} joined
 * @param {number} offset at least that of the last range
 * @param {number} size
 * @param {CoalesceOptions} options
 */
function join(joined, offset, size, { gap = 32768, max = 2 ** 23 }) {
	const last = joined.at(-1), end = offset + size, lastEnd = last ? last.offset + last.size : 0;
	if (last && (end <= lastEnd || (offset <= lastEnd + gap && end - last.offset <= max)))
		last.size = Math.max(last.size, end - last.offset);
	else
		joined.push({ offset, size });
}

/**
 * The range of one chunk.
 * @param {Index} index
 * @param {number} number counted through all objects
 * @returns {Range}
 */
export function chunkRange(index, number) {
	return { offset: index.chunkOffset(number), size: index.chunkSize(number) };
}

/**
 * The ranges that pieces need.
 * @param {Index} index
 * @param {Iterable<import("./pieces.js").Piece>} pieces
 * @param {CoalesceOptions} [options]
 */
export function planRanges(index, pieces, options) {
	return coalesce(planChunks(index, pieces).map((number) => chunkRange(index, number)), options);
}

/**
 * The ranges that all files of a variant need.
 * @param {Index} index
 * @param {number} variant
 * @param {CoalesceOptions} [options]
 */
export function planVariant(index, variant, options = {}) {
	const chunks = new NeededChunks(index);
	/** @type {Range[]} */
	const members = [];
	/** @type {Range[]} */
	const joined = [];
	for (let i = 0; i < index.fileCount; i++) {
		const file = index.file(i);
		if (!hasVariant(file.variants, variant))
			continue;
		if (file.kind === FILE.ASSEMBLED)
			for (let j = file.firstExtent; j < file.firstExtent + file.extentCount; j++)
				chunks.addExtent(index.extent(j));
		else if (file.codedSize > 0)
			members.push({ offset: index.payloadOffset + file.offset, size: file.codedSize });
	}
	// Chunks are many, and in order.
	members.sort((a, b) => b.offset - a.offset);
	/** @param {number} end */
	const joinMembers = (end) => {
		for (let next; (next = members.at(-1)) && next.offset < end; members.pop())
			join(joined, next.offset, next.size, options);
	};
	for (let number = 0; number < index.chunkCount; number++) {
		if (!chunks.has(number))
			continue;
		const offset = index.chunkOffset(number);
		joinMembers(offset);
		join(joined, offset, index.chunkSize(number), options);
	}
	joinMembers(Infinity);
	return joined;
}

/**
 * Bytes that reading all files of a variant fetches, with the index and the short gaps between ranges.
 * @param {Index} index
 * @param {number} variant
 */
export function sumDownload(index, variant) {
	const ranges = [{ offset: 0, size: index.payloadOffset }, ...planVariant(index, variant, { max: Infinity })];
	return coalesce(ranges, { max: Infinity }).reduce((sum, { size }) => sum + size, 0);
}
