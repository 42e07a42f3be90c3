/** Describes what jobs decode, from the index: coded chunks, and parts of layouts. */

import { DTYPES, LAYOUT } from "../format/facts.js";
import { lineOf } from "../format/layout.js";
import { chunkNumber } from "../plan/needs.js";

/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("../plan/needs.js").ChunkId} ChunkId */

/**
 * @param {Index} index
 * @param {ChunkId} id
 * @param {import("./batch-reader.js").CodedChunks} coded
 * @returns {import("./codec.js").CodedChunk}
 */
export function describeCodedChunk(index, id, coded) {
	const { kind, dtype, cols, elems, chunkElems } = index.object(id.object);
	const number = chunkNumber(index, id), first = id.chunk * chunkElems;
	const count = Math.min(chunkElems, elems - first);
	return {
		bytes: /** @type {Uint8Array} */ (coded.get(number)),
		checksum: index.checksum(number),
		desc: { kind, dtype, elems: count, cols, first },
		size: count * DTYPES[dtype].size,
	};
}

/**
 * @param {Index} index
 * @param {ChunkId} id a part of a layout
 * @returns {{ layout: import("../wasm/decoder.js").LayoutDesc, size: number }} size: bytes of the part
 */
export function describeLayout(index, { object, chunk }) {
	const { rule, dtype, elems, chunkElems, bits, cols } = index.object(object), { blockElems, blockSize } = DTYPES[dtype];
	const first = chunk * chunkElems, count = Math.min(chunkElems, elems - first);
	const rows = rule === LAYOUT.INTERLEAVED_COLUMNS ? cols * 32 / bits : cols;
	return { layout: { rule, dtype, elems: count, first, bits, rows }, size: count / blockElems * blockSize };
}

/**
 * Makes the job for a part of a layout by columns: the part needs a few columns of the matrix, which are cut out of it here.
 * @param {Index} index
 * @param {ChunkId} id
 * @param {Uint8Array} matrix all codes, or floats, row by row
 * @returns {import("./codec.js").Job & { codes: Uint8Array<ArrayBuffer> }}
 */
export function columnsJob(index, id, matrix) {
	const { layout, size } = describeLayout(index, id), { rule, rows, bits, first, elems } = layout;
	// A line is the words that hold the same columns, of all rows; a row has lineSize bytes of each line. The part is in some lines.
	const stride = matrix.length / rows, { words, size: lineSize } = lineOf(rule, rows, bits), line = Math.floor(first / words);
	const rowsOfWord = rows / words, start = first - line * words;
	// A part within one line needs only the rows of its words, however many rows there are.
	if (start + elems <= words) {
		const count = elems * rowsOfWord, codes = new Uint8Array(count * lineSize);
		for (let row = 0; row < count; row++) {
			const at = (start * rowsOfWord + row) * stride + line * lineSize;
			codes.set(matrix.subarray(at, at + lineSize), row * lineSize);
		}
		return { layout: { ...layout, rows: count, first: 0 }, size, codes };
	}
	const width = (Math.ceil((first + elems) / words) - line) * lineSize, codes = new Uint8Array(rows * width);
	for (let row = 0; row < rows; row++) {
		const at = row * stride + line * lineSize;
		codes.set(matrix.subarray(at, at + width), row * width);
	}
	return { layout: { ...layout, first: start }, size, codes };
}

/**
 * Makes the job for a part of a joined layout.
 * @param {Index} index
 * @param {ChunkId} id
 * @param {Uint8Array} left its rows of the matrix on the left
 * @param {Uint8Array} right
 * @returns {import("./codec.js").Job}
 */
export function joinedJob(index, id, left, right) {
	const { layout, size } = describeLayout(index, id), { coarse, beside } = index.object(id.object);
	const [leftSize, rightSize] = [coarse, beside].map((number) => index.object(number).cols * DTYPES[layout.dtype].size);
	const rows = new Uint8Array(size);
	for (let at = 0, row = 0; at < size; row++) {
		rows.set(left.subarray(row * leftSize, (row + 1) * leftSize), at);
		rows.set(right.subarray(row * rightSize, (row + 1) * rightSize), at + leftSize);
		at += leftSize + rightSize;
	}
	return { layout, size, codes: rows };
}
