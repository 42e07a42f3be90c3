/** Has the codec run jobs, and check their results. A damaged chunk is fetched once more; if that does not help, the error names it. */

import { QstoreError } from "../error.js";
import { describeChunk } from "../plan/describe.js";
import { chunkNumber } from "../plan/needs.js";
import { chunkRange } from "../plan/ranges.js";
import { readExactly } from "../source/source.js";
import { ChunkError } from "./codec.js";

/** @typedef {import("../plan/needs.js").ChunkId} ChunkId */
/** @typedef {import("./codec.js").Job} Job */

export class JobRunner {
	#index;
	#source;
	#codec;
	#options;

	/**
	 * @param {import("./pieces.js").Context} context
	 * @param {import("../source/source.js").ReadOptions} options
	 */
	constructor({ index, source, codec }, options) {
		this.#index = index;
		this.#source = source;
		this.#codec = codec;
		this.#options = options;
	}

	/**
	 * @param {Job} job
	 * @param {ChunkId[]} ids the chunk of each level, the job's own first
	 */
	async run(job, ids) {
		const [{ object, chunk }] = ids;
		job.check = this.#index.partChecksum(this.#index.object(object).firstPart + chunk);
		/** @type {Set<number>} the levels whose chunks were fetched once more */
		const again = new Set();
		for (;;) {
			try {
				return await this.#codec.decode(job, this.#options);
			} catch (error) {
				if (!(error instanceof ChunkError))
					throw error;
				const { level } = error, damaged = atLevel(job, level).chunk;
				// A chunk that needs a newer version has a right checksum: fetching it again would not help.
				if (!this.#source.remote || !damaged || error.code === "NEWER" || again.has(level))
					throw this.#named(error, ids[level], again.has(level));
				// The bytes may have been damaged on their way.
				again.add(level);
				const { offset, size } = chunkRange(this.#index, chunkNumber(this.#index, ids[level]));
				damaged.bytes = await readExactly(this.#source, offset, size, { ...this.#options, reload: true });
			}
		}
	}

	/**
	 * The error for the caller, which says where the damaged chunk belongs.
	 * @param {ChunkError} error
	 * @param {ChunkId} id
	 * @param {boolean} fetchedAgain
	 */
	#named(error, id, fetchedAgain) {
		const name = this.#source.name ? `${this.#source.name}: ` : "";
		return new QstoreError(error.code, `${name}${describeChunk(this.#index, id)} ${error.message}` +
			(fetchedAgain ? ", also when it is fetched again" : ""), { cause: error });
	}
}

/**
 * @param {Job} job
 * @param {number} level 0: the job itself; 1: the job that it builds on …
 * @returns {Job}
 */
function atLevel(job, level) {
	return level === 0 ? job : atLevel(/** @type {Job} */ (job.coarse), level - 1);
}
