/** Names of chunks for messages. */

import { countWhile } from "../format/search.js";
import { BYTES } from "./pieces.js";

/** @typedef {import("../format/archive-index.js").Index} Index */

/**
 * Where a chunk belongs: "tensor NAME: chunk 3 of 7".
 * @param {Index} index
 * @param {import("./needs.js").ChunkId} id
 */
export function describeChunk(index, { object, chunk }) {
	const place = `chunk ${chunk + 1} of ${index.object(object).chunkCount}`, marked = new Set([object]);
	let found = findPlace(index, marked);
	if (found)
		return found.tensor === undefined ? `file ${found.file}: ${place} of the bytes outside its tensors` :
			`tensor ${found.tensor}: ${place}${found.isPart ? " of a part" : ""}`;
	// No tensor consists of these codes, scales or 16-bit casts alone: the message names the first one that builds on them.
	while (!found && markUsers(index, marked))
		found = findPlace(index, marked);
	return found ? `${found.tensor === undefined ? `file ${found.file}` : `tensor ${found.tensor}`}: ${place} of what it builds on` :
		`object ${object}: ${place}`;
}

/**
 * Finds a tensor, else a file, that is made of one of the marked objects.
 * @param {Index} index
 * @param {Set<number>} marked
 * @returns {{ tensor?: string, file?: string, isPart?: boolean } | undefined}
 */
function findPlace(index, marked) {
	for (let i = 0; i < index.tensorCount; i++) {
		const { name, object } = index.tensor(i);
		if (marked.has(object))
			return { tensor: name };
	}
	for (let i = 0; i < index.fileCount; i++) {
		const file = index.file(i), starts = file.extentCount > 0 ? index.extentStarts(i) : [];
		for (let j = 0; j < file.extentCount; j++) {
			const { object } = index.extent(file.firstExtent + j);
			if (marked.has(object))
				return {
					file: file.name, isPart: true,
					tensor: index.object(object).dtype === BYTES ? undefined : tensorAt(index, i, starts[j]),
				};
		}
	}
	return undefined;
}

/**
 * Marks the objects that build on marked ones.
 * @param {Index} index
 * @param {Set<number>} marked
 * @returns {boolean} are there any?
 */
function markUsers(index, marked) {
	const before = marked.size;
	for (let i = 0; i < index.objectCount; i++) {
		const { coarse, beside, scales, zeroPoints, order } = index.object(i);
		if ([coarse, beside, scales, zeroPoints, order].some((each) => marked.has(each)))
			marked.add(i);
	}
	return marked.size > before;
}

/**
 * The name of the tensor that has a byte of a file; undefined if it is outside the tensors.
 * @param {Index} index
 * @param {number} file
 * @param {number} at
 */
export function tensorAt(index, file, at) {
	// Tensors are sorted by file and offset. The last one that does not begin behind the byte is looked for.
	const begun = countWhile(index.tensorCount, (i) => {
		const tensor = index.tensor(i);
		return tensor.file < file || (tensor.file === file && tensor.offset <= at);
	});
	// Tensors without elements begin where others do.
	for (let i = begun - 1; i >= 0; i--) {
		const tensor = index.tensor(i);
		if (tensor.file !== file || (tensor.size > 0 && at >= tensor.offset + tensor.size))
			break;
		if (tensor.size > 0)
			return tensor.name;
	}
	return undefined;
}
