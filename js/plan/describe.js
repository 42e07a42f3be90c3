/** Names of chunks for messages. */

import { NONE } from "../format/archive-index.js";
import { BYTES } from "./pieces.js";

/** @typedef {import("../format/archive-index.js").Index} Index */

/**
 * Where a chunk belongs: "tensor NAME: chunk 3 of 7".
 * @param {Index} index
 * @param {import("./needs.js").ChunkId} id
 */
export function describeChunk(index, { object: number, chunk }) {
	const place = `chunk ${chunk + 1} of ${index.object(number).chunkCount}`;
	/** @type {string | undefined} */
	let builtOn;
	for (let i = 0; i < index.tensorCount; i++) {
		const { name, object } = index.tensor(i);
		if (object === number)
			return `tensor ${name}: ${place}`;
		// No tensor consists of these codes or this 16-bit cast alone: the message names the first tensor that is made of them.
		for (let next = object; next !== NONE && builtOn === undefined; next = index.object(next).coarse) {
			if (next === number)
				builtOn = `tensor ${name}: ${place} of what it builds on`;
		}
	}
	if (builtOn !== undefined)
		return builtOn;
	for (let i = 0; i < index.fileCount; i++) {
		const file = index.file(i), starts = file.extentCount > 0 ? index.extentStarts(i) : [];
		for (let j = 0; j < file.extentCount; j++) {
			if (index.extent(file.firstExtent + j).object !== number)
				continue;
			const name = index.object(number).dtype === BYTES ? undefined : tensorAt(index, i, starts[j]);
			return name === undefined ? `file ${file.name}: ${place} of the bytes outside its tensors` :
				`tensor ${name}: ${place} of a part`;
		}
	}
	return `object ${number}: ${place}`;
}

/**
 * The name of the tensor, large enough for an object, that has a byte of a file.
 * @param {Index} index
 * @param {number} file
 * @param {number} at
 */
function tensorAt(index, file, at) {
	for (let i = 0; i < index.tensorCount; i++) {
		const tensor = index.tensor(i);
		if (tensor.file === file && tensor.offset <= at && at < tensor.offset + tensor.size)
			return tensor.name;
	}
	return undefined;
}
