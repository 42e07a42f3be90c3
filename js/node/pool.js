/** Decoding on several threads. */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { ChunkError } from "../codec.js";
import { QstoreError } from "../error.js";
import { compileWasm } from "../wasm.js";

/** @typedef {import("../codec.js").Codec} Codec */
/** @typedef {import("../codec.js").Job} Job */

/**
 * @typedef {object} PoolOptions
 * @property {number} [threads] default: one for each core
 * @property {WebAssembly.Module} [module] compiled by default
 */

/**
 * A worker and the jobs that it has been given.
 * @typedef {object} Thread
 * @property {Worker} worker
 * @property {Map<number, { resolve: (bytes: Uint8Array) => void, reject: (error: unknown) => void }>} jobs
 */

/**
 * Worker threads that decode chunks, each with an instance of the module of its own. They start when there is work for
 * them, and they do not keep the process alive by themselves; close() ends them.
 * @implements {Codec}
 */
export class WorkerPool {
	#module;
	/** @type {Thread[]} */
	#threads = [];
	#next = 0;
	/** @type {QstoreError | undefined} */
	#failure;

	/**
	 * @param {PoolOptions} [options]
	 */
	static async create({ threads = availableParallelism(), module } = {}) {
		return new WorkerPool(module ?? await compileWasm(), threads);
	}

	/**
	 * @param {WebAssembly.Module} module
	 * @param {number} concurrency
	 */
	constructor(module, concurrency) {
		this.#module = module;
		this.concurrency = concurrency;
	}

	/**
	 * @param {Job} job
	 * @returns {Promise<Uint8Array>}
	 */
	decode(job) {
		if (this.#failure)
			return Promise.reject(this.#failure);
		const thread = this.#idle();
		const id = this.#next++;
		/** @type {ArrayBuffer[]} */
		const buffers = [];
		const own = detach(job, buffers);
		return new Promise((resolve, reject) => {
			thread.jobs.set(id, { resolve, reject });
			thread.worker.ref();
			thread.worker.postMessage({ id, job: own }, buffers);
		});
	}

	/** Ends the threads; jobs under way are rejected. */
	async close() {
		this.#reject(new QstoreError("CANCELLED", "the pool of threads was closed"));
		await Promise.all(this.#threads.splice(0).map(({ worker }) => worker.terminate()));
	}

	/** The thread with the least to do; a new one rather than one that is busy. */
	#idle() {
		const [least] = [...this.#threads].sort((a, b) => a.jobs.size - b.jobs.size);
		return least && (least.jobs.size === 0 || this.#threads.length >= this.concurrency) ? least : this.#start();
	}

	#start() {
		const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: this.#module, execArgv: [] });
		/** @type {Thread} */
		const thread = { worker, jobs: new Map() };
		worker.on("message", (/** @type {import("./worker.js").Result} */ { id, bytes, error }) => {
			const job = thread.jobs.get(id);
			if (!job)
				return; // The pool was closed meanwhile, and waits for the thread's end.
			thread.jobs.delete(id);
			if (thread.jobs.size === 0)
				worker.unref();
			if (bytes)
				job.resolve(bytes);
			else
				job.reject(error?.level !== undefined ? new ChunkError(error.code, error.message, error.level) :
					new QstoreError(error?.code ?? "IO", error?.message ?? "a decoding thread failed"));
		});
		worker.on("error", (error) => this.#fail(`a decoding thread failed: ${error.message}`, error));
		worker.on("exit", () => this.#fail("a decoding thread ended"));
		this.#threads.push(thread);
		return thread;
	}

	/**
	 * @param {string} text
	 * @param {Error} [cause]
	 */
	#fail(text, cause) {
		this.#reject(new QstoreError("MEMORY", text, { cause }));
	}

	/** @param {QstoreError} failure for all jobs, from now on */
	#reject(failure) {
		this.#failure ??= failure;
		for (const { jobs } of this.#threads) {
			for (const { reject } of jobs.values())
				reject(this.#failure);
			jobs.clear();
		}
	}
}

/**
 * A job with bytes that can be transferred: a job's are part of larger buffers.
 * @param {Job} job
 * @param {ArrayBuffer[]} buffers to transfer; the copy's are added
 * @returns {Job}
 */
function detach({ chunk, coarse, scales }, buffers) {
	/** @param {Uint8Array} bytes */
	const copy = (bytes) => {
		const own = new Uint8Array(bytes);
		buffers.push(own.buffer);
		return own;
	};
	return {
		chunk: { ...chunk, bytes: copy(chunk.bytes) },
		coarse: coarse && detach(coarse, buffers),
		scales: scales && copy(scales),
	};
}
