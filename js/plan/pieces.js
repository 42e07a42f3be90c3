/** Which pieces of decoded chunks the wanted bytes consist of. Pure functions of the index: no I/O. */

import { countWhile } from "../format/search.js";

/** @typedef {import("../format/archive-index.js").Index} Index */

/** The dtype of objects that hold the bytes between tensors. */
export const BYTES = 0;

/**
 * Bytes [skip, skip + size) of a decoded chunk.
 * @typedef {object} Piece
 * @property {number} object
 * @property {number} chunk counted from 0 within the object
 * @property {number} skip
 * @property {number} size
 */

/**
 * The pieces of bytes [start, end) of an assembled file, in order.
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
	for (let i = countWhile(starts.length, (j) => starts[j] <= start) - 1, at = start; at < end; i++) {
		const extent = index.extent(firstExtent + i), skip = at - starts[i];
		const size = Math.min(extent.size - skip, end - at);
		yield* planObject(index, extent.object, extent.offset + skip, size);
		at += size;
	}
}

/**
 * The pieces of a tensor, in order.
 * @param {Index} index
 * @param {number} tensor
 */
export function planTensor(index, tensor) {
	const { file, offset, size } = index.tensor(tensor);
	return planFile(index, file, offset, offset + size);
}

/**
 * The objects that a tensor is made of, in order, with its bytes of each; none if it is among the bytes between tensors.
 * @param {Index} index
 * @param {number} tensor
 * @returns {Map<number, number>}
 */
export function tensorObjects(index, tensor) {
	const objects = new Map();
	for (const { object, size } of planTensor(index, tensor))
		objects.set(object, (objects.get(object) ?? 0) + size);
	return [...objects.keys()].some((number) => index.object(number).dtype === BYTES) ? new Map() : objects;
}

/**
 * The pieces of bytes [start, end) of several tensors that follow one another.
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
 * The pieces of an object's decoded bytes [from, from + size), in order.
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
