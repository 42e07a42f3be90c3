/** Files that are made of selected tensors, as they are or made F32. */

import { decodePieces } from "../decode/pieces.js";
import { QstoreError } from "../error.js";
import { DTYPES } from "../format/facts.js";
import { BYTES, planFile, planTensors } from "../plan/pieces.js";
import { ArchiveBytes, pieceOfTensor } from "./contents.js";

/** @typedef {import("./contents.js").ArchiveTensor} ArchiveTensor */
/** @typedef {import("./contents.js").Context} Context */
/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */

/**
 * A tensor as it is to be written.
 * @typedef {object} Selected
 * @property {string} name
 * @property {string} dtype
 * @property {number[]} shape
 * @property {number} size in bytes
 * @property {number} number in the archive's list of tensors
 * @property {boolean} hasElements is this a type of single elements, which safetensors has a name for?
 * @property {boolean} isConverted is it made F32?
 */

/**
 * @param {Context} context
 * @param {ArchiveTensor} tensor
 * @param {string} [as] "f32": floats of 8 and 16 bits, and blocks of ggml, become F32
 * @returns {Selected}
 */
export function selectTensor({ index, decoder }, { number, name, dtype, shape, size }, as) {
	const type = index.tensor(number).dtype, { blockElems, blockSize } = DTYPES[type];
	if (as !== undefined && as !== "f32")
		throw new QstoreError("USAGE", `tensors can be made f32, not ${as}`);
	if (as && decoder.canDequantize(type))
		return { name, dtype: "F32", shape, size: size / blockSize * blockElems * 4, number, hasElements: true, isConverted: true };
	// Single elements, and integers of 4 bits, stay as they are.
	if (as && blockElems > 2)
		throw new QstoreError("USAGE", `tensor ${name} is ${dtype}, which cannot be made f32`);
	return { name, dtype, shape, size, number, hasElements: type !== BYTES && DTYPES[type].size > 0, isConverted: false };
}

/** @param {Selected[]} tensors */
export function checkElements(tensors) {
	const other = tensors.find(({ hasElements }) => !hasElements);
	if (other)
		throw new QstoreError("USAGE", `tensor ${other.name} is ${other.dtype}, which safetensors does not have: add --as f32, or name a ` +
			"folder or a .bin file");
}

/**
 * A header, and behind it the tensors.
 * @param {Context} context
 * @param {Uint8Array} header
 * @param {Selected[]} tensors
 */
export function tensorFile(context, header, tensors) {
	const size = tensors.reduce((sum, tensor) => sum + tensor.size, header.length);
	const bytes = new ArchiveBytes(context, size, (start, end, options) => readAll(context, header, tensors, start, end, options),
		(at) => pieceOf(context, header, tensors, at));
	return Object.assign(bytes, { headerSize: header.length });
}

/**
 * The piece that has the byte at `at`.
 * @param {Context} context
 * @param {Uint8Array} header
 * @param {Selected[]} tensors
 * @param {number} at
 * @returns {import("./salvage.js").PieceAt}
 */
function pieceOf({ index }, header, tensors, at) {
	let start = header.length;
	for (const { number, name, size, isConverted } of tensors) {
		if (at >= start && at < start + size)
			return isConverted ? { end: start + size, tensor: name } :
				{ end: start + pieceOfTensor(index, number, at - start).end, tensor: name };
		start += size;
	}
	return { end: header.length };
}

/**
 * @param {Context} context
 * @param {Uint8Array} header
 * @param {Selected[]} tensors
 * @param {number} start
 * @param {number} end
 * @param {ReadOptions} options
 */
async function* readAll(context, header, tensors, start, end, options) {
	if (start < header.length)
		yield header.slice(start, end);
	let at = header.length;
	/** @type {Selected[]} */
	let plain = [], plainStart = at;
	// Tensors that stay as they are are planned together, so that one request brings the bytes of several.
	for (const tensor of [...tensors, undefined]) {
		if (tensor && !tensor.isConverted) {
			plain.push(tensor);
			at += tensor.size;
			continue;
		}
		if (plain.length > 0)
			yield* readPlain(context, plain, start - plainStart, end - plainStart, options);
		if (tensor) {
			yield* readConverted(context, tensor, Math.max(start - at, 0), Math.min(end - at, tensor.size), options);
			at += tensor.size;
		}
		plain = [];
		plainStart = at;
	}
}

/**
 * @param {Context} context
 * @param {Selected[]} tensors
 * @param {number} start
 * @param {number} end
 * @param {ReadOptions} options
 */
function readPlain(context, tensors, start, end, options) {
	const { index } = context;
	return decodePieces(context, planTensors(index, tensors.map(({ number }) => index.tensor(number)), start, end), options);
}

/**
 * Reads bytes [start, end) of a tensor that is made F32.
 * @param {Context} context
 * @param {Selected} tensor
 * @param {number} start
 * @param {number} end
 * @param {ReadOptions} options
 */
async function* readConverted(context, { number }, start, end, options) {
	const { index, decoder } = context, { dtype, file, offset } = index.tensor(number);
	const { blockElems, blockSize } = DTYPES[dtype], madeSize = 4 * blockElems;
	if (start >= end)
		return;
	const first = Math.floor(start / madeSize), last = Math.ceil(end / madeSize);
	let at = first * madeSize, rest = new Uint8Array(0);
	const pieces = planFile(index, file, offset + first * blockSize, offset + last * blockSize);
	for await (const piece of decodePieces(context, pieces, options)) {
		const bytes = new Uint8Array(rest.length + piece.length);
		bytes.set(rest);
		bytes.set(piece, rest.length);
		const whole = bytes.length - bytes.length % blockSize;
		rest = bytes.slice(whole);
		const made = decoder.dequantize(dtype, bytes.subarray(0, whole));
		yield made.subarray(Math.max(start - at, 0), end - at);
		at += made.length;
	}
}
