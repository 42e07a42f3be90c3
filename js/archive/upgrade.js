/** Upgrading from a coarser variant to a finer one: which tensors are loaded, in which order, and for how many bytes. */

import { NONE } from "../format/archive-index.js";
import { DTYPES, KIND, RULES } from "../format/facts.js";
import { planObject, planTensor, tensorObjects } from "../plan/pieces.js";
import { planRanges } from "../plan/ranges.js";
import { decodePieces } from "../decode/pieces.js";
import { Pacer } from "../util/pacer.js";
import { loadTensors, sumToFetch } from "./tensors.js";

/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("./contents.js").ArchiveTensor} ArchiveTensor */
/** @typedef {import("./contents.js").Context} Context */

/**
 * @typedef {object} OwnUpgradeOptions
 * @property {string} [from] the variant that the caller has; by default the one that this variant refines
 * @property {"file" | "importance"} [order] the order of the tensors: that of the archive (the default), or by what each gains for a byte
 * @property {number} [budgetBytes] bytes that may be fetched for the tensors; tensors that would exceed the budget are left out. The
 *   sample of the coarser variant by which importance is estimated does not count, and is only fetched if no cache has it
 * @property {(tensor: { name: string, shape: number[], gain: number }) => number} [weigh] the worth of upgrading a tensor, for callers that
 *   know more than the error of its weights; default: its gain
 */

/** @typedef {OwnUpgradeOptions & import("./tensors.js").LoadOptions} UpgradeOptions */

/**
 * Loads the finer versions of tensors.
 * @param {Context} context
 * @param {ArchiveTensor[]} tensors of the finer variant
 * @param {number} coarser the number of the coarser variant
 * @param {UpgradeOptions} options
 */
export async function* upgradeTensors(context, tensors, coarser, { order = "file", budgetBytes = Infinity, weigh, ...options }) {
	const { index } = context, pacer = new Pacer(options.signal), cost = new Map(), finer = [];
	for (const tensor of tensors) {
		const { number } = tensor, { object } = index.tensor(number);
		const objects = object === NONE ? [...tensorObjects(index, number).keys()] : [object];
		if (objects.length === 0 || objects.some((each) => index.object(each).variant > coarser)) {
			finer.push(tensor);
			cost.set(tensor, costOf(context, tensor));
		}
		if (pacer.isDue)
			await pacer.pause();
	}
	let fetched = 0;
	if (order === "importance") {
		const gains = await gainsOf(context, finer, coarser, { signal: options.signal, onFetch: (bytes) => fetched += bytes });
		const worth = new Map(finer.map((tensor, i) => {
			const gain = gains[i];
			const value = weigh ? weigh({ name: tensor.name, shape: tensor.shape, gain }) : gain;
			return [tensor, value / Math.max(/** @type {number} */ (cost.get(tensor)), 1)];
		}));
		// The sort is stable: tensors of equal worth stay in the archive's order.
		finer.sort((a, b) => /** @type {number} */ (worth.get(b)) - /** @type {number} */ (worth.get(a)));
	}
	let left = budgetBytes;
	const chosen = finer.filter((tensor) => {
		const bytes = /** @type {number} */ (cost.get(tensor));
		if (bytes > left)
			return false;
		left -= bytes;
		return true;
	});
	// With a budget, no gaps between ranges are read.
	yield* loadTensors(context, chosen, { ...options, fetched, gap: budgetBytes === Infinity ? undefined : 0 });
}

/**
 * How many bytes reading a tensor fetches.
 * @param {Context} context
 * @param {ArchiveTensor} tensor
 */
function costOf({ index, source }, { number }) {
	return sumToFetch(source, planRanges(index, planTensor(index, number), { gap: 0 }));
}

/**
 * The gain of each tensor: how much of the squared error of the model's weights its upgrade removes. That is Σ(coarse − fine)², the index's
 * relative error times Σ fine². The relative error alone would not do: the error of a layer's output is the absolute error of its weights
 * times its inputs, which normalization keeps at one size, and it adds to the errors of other layers. Σ fine² is estimated from the coarse
 * version, whose bytes are there already: from the codes of one chunk and all scales. For tensors of which the caller has floats, or
 * nothing, the gain is not known, and 0.
 * @param {Context} context
 * @param {ArchiveTensor[]} tensors
 * @param {number} coarser the number of the variant that the caller has
 * @param {import("../source/source.js").ReadOptions} options
 * @returns {Promise<number[]>}
 */
async function gainsOf(context, tensors, coarser, options) {
	const { index } = context;
	const terms = tensors.map(({ number }) => gainTerms(index, number, coarser));
	/** The pieces of each term: first those of its codes, then those of its scales. */
	const lists = terms.flat().flatMap(({ codes, error }) =>
		[error === undefined ? [] : [...sampleOf(index, codes)], [...planObject(index, index.object(codes).scales)]]);
	const stream = decodePieces(context, lists.flat(), options);
	/** @param {number} count of pieces */
	const read = async (count) => {
		const pieces = [];
		for (let i = 0; i < count; i++)
			pieces.push(/** @type {Uint8Array} */ ((await stream.next()).value));
		return pieces;
	};
	try {
		const gains = [];
		let at = 0;
		for (const ofTensor of terms) {
			let gain = 0;
			for (const { codes: number, error, share } of ofTensor) {
				const codes = await read(lists[at++].length), scales = await read(lists[at++].length);
				const { rule, dtype, scales: object, elems } = index.object(number);
				let squares = 0, count = 0;
				for (const piece of scales) {
					for (const step of steps(rule, DTYPES[index.object(object).dtype].name, piece)) {
						squares += step ** 2;
						count++;
					}
				}
				squares *= elems / count;
				// The error of rounding is a twelfth of the step's square for each element.
				const term = share * squares * (error === undefined ? 1 / 12 : error * spread(dtype === I8, codes));
				gain += Number.isFinite(term) ? term : 0;
			}
			gains.push(gain);
		}
		return gains;
	} finally {
		await stream.return();
	}
}

/**
 * By which codes the gain of a tensor is estimated, as a sum of terms.
 * @typedef {object} GainTerm
 * @property {number} codes an object that the caller has
 * @property {number} [error] the codes' squared error relative to Σ fine², where the index has it: of codes that were refined. The error of
 *   other codes is about that of rounding
 * @property {number} share how much of these codes the tensor has
 */

/**
 * The terms of a tensor: those of its object, or of the objects of its parts.
 * @param {Index} index
 * @param {number} number of the tensor
 * @param {number} coarser the number of the variant that the caller has
 * @returns {GainTerm[]}
 */
function gainTerms(index, number, coarser) {
	/** @param {number} each @param {number} share @returns {GainTerm[]} */
	const termsOf = (each, share) => {
		const { kind, variant, coarse, beside, error, elems } = index.object(each);
		if (variant <= coarser || elems === 0 || coarse === NONE)
			return [];
		const right = beside === NONE ? [] : termsOf(beside, share), below = index.object(coarse);
		if (below.kind !== KIND.CODES || below.variant > coarser || kind === KIND.LAYOUT)
			return [...right, ...termsOf(coarse, share)];
		return [{ codes: coarse, error: kind === KIND.CODES ? undefined : error, share }];
	};
	const { object } = index.tensor(number);
	return object !== NONE ? termsOf(object, 1) :
		[...tensorObjects(index, number)].flatMap(([each, size]) => termsOf(each, size / index.object(each).size));
}

const I8 = DTYPES.findIndex(({ name }) => name === "I8");

/**
 * A sample of an object: the chunk in its middle.
 * @param {Index} index
 * @param {number} number
 */
function sampleOf(index, number) {
	const { chunkCount, chunkBytes, size } = index.object(number), start = (chunkCount >> 1) * chunkBytes;
	return planObject(index, number, start, Math.min(chunkBytes, size - start));
}

/**
 * The mean square of codes. Signed codes are measured from 0, others from their mean, which is near the code of a weight of 0.
 * @param {boolean} signed
 * @param {Uint8Array[]} pieces
 */
function spread(signed, pieces) {
	let sum = 0, squares = 0, count = 0;
	for (const piece of pieces) {
		for (const code of signed ? new Int8Array(piece.buffer, piece.byteOffset, piece.length) : piece) {
			sum += code;
			squares += code * code;
		}
		count += piece.length;
	}
	return squares / count - (signed ? 0 : (sum / count) ** 2);
}

/**
 * The distances between neighbouring codes, by their scales.
 * @param {number} rule
 * @param {string} dtype of the scales
 * @param {Uint8Array} bytes scales: whole records, or floats
 */
function* steps(rule, dtype, bytes) {
	const { recordSize, recordScales, hasAbsmax } = RULES[rule];
	if (recordSize === 0) {
		for (const scale of numbers(dtype, bytes))
			yield hasAbsmax ? scale / 127 : scale;
		return;
	}
	for (let at = 0; at + recordSize <= bytes.length; at += recordSize) {
		const record = bytes.subarray(at, at + recordSize), last = recordScales === 16;
		const [d] = numbers("F16", last ? record.subarray(16) : record);
		for (let j = 0; j < recordScales; j++)
			yield d * (last ? record[j] << 24 >> 24 : recordScales === 1 ? 1 :
				j < 4 ? record[4 + j] & 63 : record[8 + j] & 15 | record[j] >> 6 << 4);
	}
}

/**
 * The values of floats.
 * @param {string} dtype F64, F32, BF16 or F16
 * @param {Uint8Array} bytes
 */
function* numbers(dtype, bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), bits = new DataView(new ArrayBuffer(4));
	for (let at = 0; at < bytes.length; at += dtype === "F64" ? 8 : dtype === "F32" ? 4 : 2) {
		if (dtype === "F64" || dtype === "F32") {
			yield dtype === "F64" ? view.getFloat64(at, true) : view.getFloat32(at, true);
			continue;
		}
		const half = view.getUint16(at, true);
		if (dtype === "BF16") {
			bits.setUint32(0, half << 16);
			yield bits.getFloat32(0);
		} else {
			// Exponent 31 (infinities and NaN) gives a large number here.
			const exponent = half >> 10 & 31, fraction = half & 1023;
			yield (half & 0x8000 ? -1 : 1) * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
		}
	}
}
