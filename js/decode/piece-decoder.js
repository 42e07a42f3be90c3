/** Decodes the pieces of batches: makes jobs for the codec, and keeps decoded chunks and matrices that several pieces use. */

import { DTYPES, KIND } from "../format/facts.js";
import { baseRange, hasChunks } from "../plan/needs.js";
import { free } from "../util/free.js";
import { eachOf, quiet } from "../util/promises.js";
import { columnsJob, describeCodedChunk, describeLayout, joinedJob } from "./jobs.js";
import { JobRunner } from "./job-runner.js";

/** @typedef {import("../plan/batches.js").Batch} Batch */
/** @typedef {import("../plan/batches.js").Level} Level */
/** @typedef {import("../plan/batches.js").ReusedChunk} ReusedChunk */
/** @typedef {import("../plan/batches.js").Task} Task */
/** @typedef {import("../plan/batches.js").WholeMatrix} WholeMatrix */
/** @typedef {import("./batch-reader.js").CodedChunks} CodedChunks */
/** @typedef {import("./codec.js").Job} Job */

/**
 * Decoded chunks and matrices are kept in WeakMaps, whose keys are the plan's objects. They go when nothing refers to such an object any
 * more, neither a batch nor the planner: so it is the plan that decides how long something is kept.
 */
export class PieceDecoder {
	#index;
	#base;
	#codec;
	#options;
	#runner;
	/** @type {WeakMap<ReusedChunk, Once<Uint8Array>>} */
	#reused = new WeakMap();
	/** @type {WeakMap<WholeMatrix, Promise<Uint8Array>>} */
	#wholes = new WeakMap();

	/**
	 * @param {import("./pieces.js").Context} context
	 * @param {import("../source/source.js").ReadOptions} options
	 */
	constructor(context, options) {
		this.#index = context.index;
		this.#base = context.base;
		this.#codec = context.codec;
		this.#options = options;
		this.#runner = new JobRunner(context, options);
	}

	/**
	 * Takes note of a batch before its tasks are decoded. Some of its reused chunks may first be needed by a later batch.
	 * @param {Batch} batch
	 * @param {Promise<CodedChunks>} coded the batch's chunks
	 */
	begin({ reused }, coded) {
		for (const chunk of reused)
			this.#reused.set(chunk, new Once(() => this.#decodeAlone(chunk, coded)));
	}

	/**
	 * The bytes of a task's piece; nobody else keeps a view of them.
	 * @param {Task} task
	 * @param {Promise<CodedChunks>} coded the chunks of the task's batch
	 * @returns {Promise<Uint8Array>}
	 */
	async decode({ piece, reused, levels, whole, beside }, coded) {
		const { skip, size } = piece;
		// The consumer may transfer what it gets: a piece of a chunk that is kept is a copy.
		if (reused)
			return (await this.#decodeReused(reused)).slice(skip, skip + size);
		const decoded = whole ? await this.#decodeColumns(piece, whole, coded) :
			beside ? await this.#decodeJoined(piece, levels.slice(1), beside, coded) : await this.#decodeLevels(levels, coded);
		return decoded.subarray(skip, skip + size);
	}

	/**
	 * Decodes a chunk with the chunks that it builds on.
	 * @param {Level[]} levels
	 * @param {Promise<CodedChunks>} codedChunks
	 */
	async #decodeLevels(levels, codedChunks) {
		const coded = await codedChunks;
		/** @type {Job | undefined} */
		let job;
		for (const level of [...levels].reverse())
			job = await this.#levelJob(level, job, coded);
		return this.#runner.run(/** @type {Job} */ (job), levels.map(({ id }) => id));
	}

	/**
	 * Makes a part of a joined layout.
	 * @param {import("../plan/pieces.js").Piece} piece
	 * @param {Level[]} left
	 * @param {Level[]} right
	 * @param {Promise<CodedChunks>} coded
	 */
	async #decodeJoined(piece, left, right, coded) {
		const [codes, beside] = await Promise.all([left, right].map((levels) => this.#decodeLevels(levels, coded)));
		return this.#runner.run(joinedJob(this.#index, piece, codes, beside), [piece]);
	}

	/**
	 * Makes the job of one level.
	 * @param {Level} level
	 * @param {Job | undefined} coarse the job of the level that it builds on
	 * @param {CodedChunks} coded
	 * @returns {Promise<Job>}
	 */
	async #levelJob({ id, needs, windows }, coarse, coded) {
		const index = this.#index, { kind } = index.object(id.object);
		/** @type {Job} */
		let job;
		if (kind === KIND.BASE) {
			const { file, offset, size } = baseRange(index, id);
			job = { values: await this.#base.read(file, offset, size, this.#options) };
		} else if (kind === KIND.LAYOUT) {
			job = { ...describeLayout(index, id), coarse };
		} else {
			const chunk = describeCodedChunk(index, id, coded);
			if (needs.coarse)
				chunk.desc.coarseDtype = index.object(needs.coarse.object).dtype;
			job = { chunk, coarse };
		}
		job.coarseGrid = await this.#loadGrid(needs.coarseGrid, windows);
		job.grid = await this.#loadGrid(needs.grid, windows);
		return job;
	}

	/**
	 * Loads the part of a grid that a chunk needs.
	 * @param {import("../plan/needs.js").GridNeeds | undefined} needs
	 * @param {Level["windows"]} windows
	 * @returns {Promise<import("../wasm/decoder.js").Grid | undefined>}
	 */
	async #loadGrid(needs, windows) {
		if (!needs)
			return undefined;
		const index = this.#index, { rule, dtype, group, rowStride, groupStride, zeroOffset } = index.object(needs.codes);
		const [scales, zeroPoints, order, factors] = await Promise.all([needs.scales, needs.zeroPoints, needs.order, needs.factors]
			.map((window) => window && this.#loadWindow(window, /** @type {ReusedChunk[]} */ (windows.get(window)))));
		return {
			rule, codesDtype: dtype, group, rowStride, groupStride, zeroOffset, firstScale: needs.firstScale,
			scales: /** @type {Uint8Array} */ (scales), scalesDtype: index.object(needs.scales.object).dtype, zeroPoints, order,
			factors, factorsDtype: needs.factors && index.object(needs.factors.object).dtype,
		};
	}

	/**
	 * The bytes of a window.
	 * @param {import("../plan/needs.js").Window} window
	 * @param {ReusedChunk[]} reused the chunks that hold it
	 */
	async #loadWindow({ object, chunks: [{ chunk }], first, count }, reused) {
		const { dtype, chunkElems } = this.#index.object(object), { size } = DTYPES[dtype];
		const decoded = await Promise.all(reused.map((each) => this.#decodeReused(each)));
		const start = (first - chunk * chunkElems) * size;
		return (decoded.length === 1 ? decoded[0] : concat(decoded)).subarray(start, start + count * size);
	}

	/** @param {ReusedChunk} reused */
	#decodeReused(reused) {
		return /** @type {Once<Uint8Array>} */ (this.#reused.get(reused)).get();
	}

	/**
	 * Decodes a plain chunk, which builds on nothing.
	 * @param {ReusedChunk} reused
	 * @param {Promise<CodedChunks>} coded
	 */
	async #decodeAlone({ id }, coded) {
		return this.#runner.run({ chunk: describeCodedChunk(this.#index, id, await coded) }, [id]);
	}

	/**
	 * Makes a part of a layout by columns.
	 * @param {import("../plan/pieces.js").Piece} piece
	 * @param {WholeMatrix} whole
	 * @param {Promise<CodedChunks>} coded the chunks of the first batch that refers to the matrix
	 */
	async #decodeColumns(piece, whole, coded) {
		let matrix = this.#wholes.get(whole);
		if (!matrix) {
			matrix = quiet(this.#decodeWhole(whole, coded));
			this.#wholes.set(whole, matrix);
		}
		const job = columnsJob(this.#index, piece, await matrix), { buffer } = job.codes;
		const bytes = await this.#runner.run(job, [piece]);
		free(buffer);
		return bytes;
	}

	/**
	 * Decodes all chunks of a matrix.
	 * @param {WholeMatrix} whole
	 * @param {Promise<CodedChunks>} coded
	 */
	async #decodeWhole({ object, chains }, coded) {
		const { size, chunkBytes } = this.#index.object(object), out = new Uint8Array(size);
		// The base may have bytes that are not only ours.
		const isOurs = hasChunks(this.#index, object);
		await eachOf(chains, this.#codec.concurrency * 2, async (levels) => {
			const bytes = await this.#decodeLevels(levels, coded);
			out.set(bytes, levels[0].id.chunk * chunkBytes);
			if (isOurs)
				free(/** @type {ArrayBuffer} */ (bytes.buffer));
		});
		return out;
	}
}

/**
 * A result that is computed when it is first asked for. The function that computes it is let go then, with the coded bytes that it holds.
 * @template T
 */
class Once {
	/** @type {(() => Promise<T>) | undefined} */
	#compute;
	/** @type {Promise<T> | undefined} */
	#result;

	/** @param {() => Promise<T>} compute */
	constructor(compute) {
		this.#compute = compute;
	}

	get() {
		if (this.#compute) {
			this.#result = quiet(this.#compute());
			this.#compute = undefined;
		}
		return /** @type {Promise<T>} */ (this.#result);
	}
}

/** @param {Uint8Array[]} blocks */
function concat(blocks) {
	const out = new Uint8Array(blocks.reduce((sum, block) => sum + block.length, 0));
	let at = 0;
	for (const block of blocks) {
		out.set(block, at);
		at += block.length;
	}
	return out;
}
