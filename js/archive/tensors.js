/** Loading tensors one after the other, with progress. */

import { QstoreError } from "../error.js";
import { planReads } from "../plan/batches.js";
import { planTensors } from "../plan/pieces.js";
import { coalesce } from "../plan/ranges.js";
import { bytesToFetch, readExactly } from "../source/source.js";
import { collect } from "../util/pacer.js";
import { decodePieces } from "../decode/pieces.js";
import { TensorData } from "./tensor-data.js";

/** @typedef {import("./contents.js").ArchiveTensor} ArchiveTensor */
/** @typedef {import("./contents.js").Context} Context */
/** @typedef {import("../plan/ranges.js").Range} Range */

/**
 * How far loading has come. Fetched bytes are coded, and fewer than the bytes that they decode to; none are fetched from a file or a full
 * cache. `toFetch` grows by bytes that nobody can foresee: chunks that arrive damaged, bytes of a base, and bytes before a range if the
 * server sends files from their start only.
 * @typedef {object} Progress
 * @property {number} fetched bytes that have come over the network
 * @property {number} toFetch bytes that will have come over the network in the end
 * @property {number} decoded bytes that have been restored
 * @property {number} toDecode bytes that will have been restored in the end
 */

/**
 * @typedef {object} LoadOptions
 * @property {AbortSignal} [signal]
 * @property {(progress: Progress) => void} [onProgress]
 */

/** Counts bytes for a caller's onProgress. */
export class Meter {
	#report;
	#progress;

	/**
	 * @param {((progress: Progress) => void) | undefined} report
	 * @param {{ fetched?: number, toFetch: number, toDecode: number }} start fetched: bytes of toFetch that have been fetched before
	 */
	constructor(report, { fetched = 0, toFetch, toDecode }) {
		this.#report = report;
		this.#progress = { fetched, toFetch, decoded: 0, toDecode };
	}

	/** @param {number} bytes */
	fetched = (bytes) => {
		const now = this.#progress;
		now.fetched += bytes;
		now.toFetch = Math.max(now.toFetch, now.fetched);
		this.#report?.({ ...now });
	};

	/** @param {number} bytes */
	decoded(bytes) {
		this.#progress.decoded += bytes;
		this.#report?.({ ...this.#progress });
	}
}

/**
 * How many bytes reading some ranges fetches. The ranges may overlap.
 * @param {import("../source/source.js").Source} source
 * @param {Range[]} ranges
 */
export function sumToFetch(source, ranges) {
	const each = source.keeps ? coalesce(ranges, { gap: 0, max: Infinity }) : ranges;
	return each.reduce((sum, { offset, size }) => sum + bytesToFetch(source, offset, size), 0);
}

/** Ranges that are fetched at a time. */
const FETCHES = 3;

/**
 * Reads ranges into the source's cache, a few at a time.
 * @param {import("../source/source.js").Source} source
 * @param {Range[]} ranges
 * @param {LoadOptions} options
 */
export async function fetchRanges(source, ranges, { signal, onProgress }) {
	const meter = new Meter(onProgress, { toFetch: sumToFetch(source, ranges), toDecode: 0 });
	const waiting = ranges.filter(({ offset, size }) => bytesToFetch(source, offset, size) > 0).reverse();
	await Promise.all(Array.from({ length: FETCHES }, async () => {
		for (let range; (range = waiting.pop());)
			await readExactly(source, range.offset, range.size, { signal, onFetch: meter.fetched }).catch((error) => {
				waiting.length = 0;
				throw error;
			});
	}));
}

/**
 * Loads tensors in the given order. The yielded tensors belong to the consumer; beside that it holds a bounded amount.
 * @param {Context} context
 * @param {ArchiveTensor[]} tensors
 * @param {LoadOptions & { gap?: number, fetched?: number }} [options] gap: see CoalesceOptions; fetched: bytes that the caller has fetched
 *   before, to choose the tensors
 * @returns {AsyncGenerator<TensorData, void, void>}
 */
export async function* loadTensors(context, tensors, { signal, onProgress, gap, fetched = 0 } = {}) {
	const { index, source } = context, records = tensors.map(({ number }) => index.tensor(number));
	const reads = onProgress ? (await collect(planReads(index, planTensors(index, records), { gap }), signal)).flat() : [];
	const meter = new Meter(onProgress, {
		fetched,
		toFetch: fetched + sumToFetch(source, reads),
		toDecode: tensors.reduce((sum, { size }) => sum + size, 0),
	});
	const pieces = decodePieces(context, planTensors(index, records), { signal, onFetch: meter.fetched, gap });
	try {
		for (const tensor of tensors) {
			const bytes = allocate(tensor);
			for (let at = 0; at < bytes.length;) {
				// No piece has bytes of two tensors.
				const { value } = await pieces.next();
				bytes.set(/** @type {Uint8Array} */ (value), at);
				at += /** @type {Uint8Array} */ (value).length;
				meter.decoded(/** @type {Uint8Array} */ (value).length);
			}
			yield new TensorData(tensor, bytes);
		}
	} finally {
		await pieces.return();
	}
}

/** @param {ArchiveTensor} tensor */
function allocate({ name, size }) {
	try {
		return new Uint8Array(size);
	} catch (error) {
		throw new QstoreError("MEMORY", `tensor ${name}: ${size} bytes cannot be allocated at once: read it with chunks()`,
			{ cause: error });
	}
}
