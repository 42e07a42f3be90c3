/** From a coarser variant to a finer one: which tensors, in which order, for how many bytes. */

import { NONE } from "../format/archive-index.js";
import { DTYPES, KIND, RULES } from "../format/facts.js";
import { planObject, planTensor } from "../plan/pieces.js";
import { planRanges } from "../plan/ranges.js";
import { decodePieces } from "../decode/pieces.js";
import { loadTensors, sumToFetch } from "./tensors.js";

/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("./contents.js").ArchiveTensor} ArchiveTensor */
/** @typedef {import("./contents.js").Context} Context */

/**
 * @typedef {object} OwnUpgradeOptions
 * @property {string} [from] the variant that is loaded; default: the next coarser one
 * @property {"file" | "importance"} [order] as they stand in the archive (the default), or those first that gain most for each byte to fetch
 * @property {number} [budgetBytes] that may be fetched for the tensors; those that would take more are left out. A sample of the coarser variant, by which importance
 *   is found, is fetched beside it when it is not in a cache
 * @property {(tensor: { name: string, shape: number[], gain: number }) => number} [weigh] what an upgrade of a tensor is worth, when its caller knows
 *   more than the error of its weights; default: its gain
 */

/** @typedef {OwnUpgradeOptions & import("./tensors.js").LoadOptions} UpgradeOptions */

/**
 * The finer versions of tensors.
 * @param {Context} context
 * @param {ArchiveTensor[]} tensors of the finer variant
 * @param {number} base the coarser variant
 * @param {UpgradeOptions} options
 */
export async function* upgradeTensors(context, tensors, base, { order = "file", budgetBytes = Infinity, weigh, ...options }) {
	const { index } = context;
	const finer = tensors.filter(({ number }) => {
		const { object } = index.tensor(number);
		return object === NONE || index.object(object).variant > base;
	});
	const cost = new Map(finer.map((tensor) => [tensor, costOf(context, tensor)]));
	let fetched = 0;
	if (order === "importance") {
		const gains = await gainsOf(context, finer, { signal: options.signal, onFetch: (bytes) => fetched += bytes });
		const worth = new Map(finer.map((tensor, i) => {
			const gain = gains[i];
			const value = weigh ? weigh({ name: tensor.name, shape: tensor.shape, gain }) : gain;
			return [tensor, value / Math.max(/** @type {number} */ (cost.get(tensor)), 1)];
		}));
		// Stable: equals stay in the archive's order.
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
	// With a budget nothing is read in passing.
	yield* loadTensors(context, chosen, { ...options, fetched, gap: budgetBytes === Infinity ? undefined : 0 });
}

/**
 * Bytes that reading a tensor fetches.
 * @param {Context} context
 * @param {ArchiveTensor} tensor
 */
function costOf({ index, source }, { number }) {
	return sumToFetch(source, planRanges(index, planTensor(index, number), { gap: 0 }));
}

/**
 * How much of the squared error of a model's weights goes away with each tensor: Σ(coarse − fine)², which is the index's relative error times
 * Σ fine². Not the relative error alone: a layer's output is wrong by its weights' absolute error times its inputs, which normalization keeps
 * of one size, and it is added to what other layers give. Σ fine² is estimated from the coarse version, whose bytes are there already: by the codes of one chunk and
 * all scales. Other kinds of tensors gain nothing that is known.
 * @param {Context} context
 * @param {ArchiveTensor[]} tensors
 * @param {import("../source/source.js").ReadOptions} options
 * @returns {Promise<number[]>}
 */
async function gainsOf(context, tensors, options) {
	const { index } = context;
	const refined = tensors.map(({ number }) => {
		const { object } = index.tensor(number), record = object === NONE ? undefined : index.object(object);
		// Singles given codes: as far as their 16-bit cast.
		const cast = record?.kind === KIND.DELTA ? index.object(record.coarse) : record;
		return cast?.kind === KIND.REFINE && cast.elems > 0 ? { ...cast, grid: index.object(cast.coarse) } : undefined;
	});
	const pieces = refined.flatMap((record) => record ? [[...sampleOf(index, record.coarse)], [...planObject(index, record.grid.scales)]] : []);
	const stream = decodePieces(context, pieces.flat(), options);
	/** @param {import("../plan/pieces.js").Piece[]} parts */
	const read = async (parts) => {
		const all = [];
		for (let i = 0; i < parts.length; i++)
			all.push(/** @type {Uint8Array} */ ((await stream.next()).value));
		return all;
	};
	try {
		const gains = [];
		for (let i = 0, at = 0; i < refined.length; i++) {
			const record = refined[i];
			if (!record) {
				gains.push(0);
				continue;
			}
			const codes = await read(pieces[at++]), scales = await read(pieces[at++]);
			const { rule, dtype, scales: object } = record.grid;
			let energy = 0, count = 0;
			for (const part of scales) {
				for (const step of steps(rule, DTYPES[index.object(object).dtype].name, part)) {
					energy += step ** 2;
					count++;
				}
			}
			energy *= spread(dtype === I8, codes) * record.elems / count;
			gains.push(Number.isFinite(energy) ? record.error * energy : 0);
		}
		return gains;
	} finally {
		await stream.return();
	}
}

const I8 = DTYPES.findIndex(({ name }) => name === "I8");

/**
 * One chunk of an object, from its middle.
 * @param {Index} index
 * @param {number} number
 */
function sampleOf(index, number) {
	const { chunkCount, chunkBytes, size } = index.object(number), start = (chunkCount >> 1) * chunkBytes;
	return planObject(index, number, start, Math.min(chunkBytes, size - start));
}

/**
 * The mean square of codes: around 0, or, without a sign, around their mean, which the weights' 0 is near.
 * @param {boolean} signed
 * @param {Uint8Array[]} parts codes
 */
function spread(signed, parts) {
	let sum = 0, squares = 0, count = 0;
	for (const part of parts) {
		for (const code of signed ? new Int8Array(part.buffer, part.byteOffset, part.length) : part) {
			sum += code;
			squares += code * code;
		}
		count += part.length;
	}
	return squares / count - (signed ? 0 : (sum / count) ** 2);
}

/**
 * The steps between codes that scales stand for.
 * @param {number} rule
 * @param {string} dtype of the scales
 * @param {Uint8Array} bytes whole records of them, or floats
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
 * @param {string} dtype F32, BF16 or F16
 * @param {Uint8Array} bytes
 */
function* numbers(dtype, bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), bits = new DataView(new ArrayBuffer(4));
	for (let at = 0; at < bytes.length; at += dtype === "F32" ? 4 : 2) {
		if (dtype === "F32") {
			yield view.getFloat32(at, true);
			continue;
		}
		const half = view.getUint16(at, true);
		if (dtype === "BF16") {
			bits.setUint32(0, half << 16);
			yield bits.getFloat32(0);
		} else {
			// Exponent 31 (infinite, no number) comes out as something large.
			const exponent = half >> 10 & 31, fraction = half & 1023;
			yield (half & 0x8000 ? -1 : 1) * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
		}
	}
}
