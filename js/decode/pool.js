/** Decoding in several workers: Web Workers (../browser/workers.js) or Node's threads (../node/threads.js). */

import { onAbort } from "../util/abort.js";
import { ChunkError, localCodec } from "./codec.js";
import { Decoder } from "../wasm/decoder.js";
import { QstoreError } from "../error.js";

/** @typedef {import("./codec.js").Codec} Codec */
/** @typedef {import("./codec.js").Job} Job */
/** @typedef {import("./serve.js").Reply} Reply */
/** @typedef {import("./serve.js").Task} Task */

/**
 * A worker, of either kind.
 * @typedef {object} Handle
 * @property {(task: Task, transfer?: ArrayBuffer[]) => void} post
 * @property {() => unknown} terminate
 * @property {(busy: boolean) => void} [hold] says whether the worker has work and so keeps the process alive (Node)
 */

/**
 * Starts a worker that runs serve.js; throws when starting workers is not allowed.
 * @callback Spawn
 * @param {{ reply: (reply: Reply) => void, failed: (text: string, cause?: unknown) => void }} on
 * @returns {Handle}
 */

/**
 * @typedef {object} PoolOptions
 * @property {Spawn} spawn
 * @property {WebAssembly.Module} module
 * @property {number} count how many workers there are at most
 * @property {number} [idle] milliseconds without work after which the workers end; they start again when they are needed
 */

/**
 * A job, and the promise of its result.
 * @typedef {object} Waiting
 * @property {Job} job
 * @property {(bytes: Uint8Array) => void} resolve
 * @property {(error: unknown) => void} reject
 */

/**
 * A worker of the pool.
 * @typedef {object} Member
 * @property {Handle} handle
 * @property {boolean} ready
 * @property {Map<number, Waiting>} jobs that it has been given
 */

/** The most jobs that a worker has at a time: the one that it decodes, and the next one. */
const AT_ONCE = 2;

/**
 * Workers that decode jobs. Each has its own instance of the module; no memory is shared. They start when there is work, and end when there
 * has been none for a while. Where no worker can be started (because of a content security policy, or a bundler that did not include the
 * worker's file) the calling thread decodes.
 * @implements {Codec}
 */
export class WorkerPool {
	#spawn;
	#module;
	#idle;
	/** @type {Set<Member>} */
	#members = new Set();
	/** @type {Waiting[]} */
	#queue = [];
	#next = 0;
	#blocked = false;
	/** @type {Promise<Codec> | undefined} */
	#local;
	/** @type {QstoreError | undefined} */
	#closed;
	/** @type {ReturnType<typeof setTimeout> | undefined} */
	#timer;

	/** @param {PoolOptions} options */
	constructor({ spawn, module, count, idle = 30_000 }) {
		this.#spawn = spawn;
		this.#module = module;
		this.#idle = idle;
		this.concurrency = count;
	}

	/** How many workers there are now. */
	get size() {
		return this.#members.size;
	}

	/** Did starting a worker fail, so that the calling thread decodes? */
	get blocked() {
		return this.#blocked;
	}

	/**
	 * @param {Job} job
	 * @param {import("../source/source.js").ReadOptions} [options]
	 * @returns {Promise<Uint8Array>}
	 */
	decode(job, { signal } = {}) {
		if (this.#closed)
			return Promise.reject(this.#closed);
		if (signal?.aborted)
			return Promise.reject(signal.reason);
		return new Promise((resolve, reject) => {
			/** @type {Waiting} */
			const waiting = {
				job,
				resolve(bytes) {
					stop();
					resolve(bytes);
				},
				reject(error) {
					stop();
					reject(error);
				},
			};
			// A job that a worker has is decoded all the same; one that is still in the queue is taken out of it.
			const stop = onAbort(signal, () => {
				const at = this.#queue.indexOf(waiting);
				if (at >= 0)
					this.#queue.splice(at, 1);
				reject(signal?.reason);
			});
			this.#queue.push(waiting);
			this.#assign();
		});
	}

	/**
	 * Starts workers for jobs that will come soon: they start while the jobs' bytes are fetched.
	 * @param {number} jobs
	 */
	prepare(jobs) {
		if (!this.#closed)
			this.#startFor(jobs - this.#members.size);
	}

	/** Ends the workers, and rejects all jobs. */
	async close() {
		this.#closed ??= new QstoreError("CANCELLED", "the pool of workers was closed");
		clearTimeout(this.#timer);
		for (const { reject } of this.#queue.splice(0))
			reject(this.#closed);
		await Promise.all([...this.#members].map((member) => this.#end(member, this.#closed)));
	}

	/** Gives queued jobs to the workers with the fewest jobs, and starts workers when there are too few. */
	#assign() {
		clearTimeout(this.#timer);
		const ready = [...this.#members].filter((member) => member.ready);
		while (this.#queue.length > 0) {
			const least = ready.reduce((/** @type {Member | undefined} */ a, b) => a && a.jobs.size <= b.jobs.size ? a : b, undefined);
			if (!least || least.jobs.size >= AT_ONCE)
				break;
			this.#give(least, /** @type {Waiting} */ (this.#queue.shift()));
		}
		this.#startFor(this.#queue.length - (this.#members.size - ready.length));
		if (this.#blocked && this.#members.size === 0)
			this.#decodeHere();
		for (const { handle, ready: started, jobs } of this.#members)
			handle.hold?.(jobs.size > 0 || (!started && this.#queue.length > 0));
		if (this.#members.size > 0 && this.#queue.length === 0 && [...this.#members].every(({ jobs }) => jobs.size === 0))
			this.#rest();
	}

	/** Ends the workers after a while; #assign takes this back when there is work again. */
	#rest() {
		this.#timer = setTimeout(() => {
			for (const member of this.#members)
				this.#end(member);
		}, this.#idle);
		/** @type {{ unref?: () => void }} */ (/** @type {unknown} */ (this.#timer)).unref?.();
	}

	/**
	 * @param {Member} member
	 * @param {Waiting} waiting
	 */
	#give(member, waiting) {
		const id = this.#next++;
		/** @type {ArrayBuffer[]} */
		const buffers = [];
		const job = detach(waiting.job, buffers);
		member.jobs.set(id, waiting);
		member.handle.post({ id, job, buffers }, buffers);
	}

	/** @param {number} jobs how many jobs have no worker yet */
	#startFor(jobs) {
		for (; jobs > 0 && this.#members.size < this.concurrency && !this.#blocked; jobs--)
			this.#start();
	}

	#start() {
		/** @type {Member} */
		let member;
		try {
			const handle = this.#spawn({
				reply: (reply) => this.#reply(member, reply),
				failed: (text, cause) => this.#fail(member, text, cause),
			});
			member = { handle, ready: false, jobs: new Map() };
		} catch {
			this.#blocked = true;
			return;
		}
		this.#members.add(member);
		member.handle.post({ module: this.#module });
	}

	/**
	 * @param {Member} member
	 * @param {Reply} reply
	 */
	#reply(member, reply) {
		if (!this.#members.has(member))
			return;
		if ("ready" in reply) {
			member.ready = true;
		} else if ("id" in reply) {
			const waiting = /** @type {Waiting} */ (member.jobs.get(reply.id));
			member.jobs.delete(reply.id);
			if ("bytes" in reply)
				waiting.resolve(reply.bytes);
			else
				waiting.reject(revive(reply.error));
		} else {
			this.#fail(member, reply.failed);
			return;
		}
		this.#assign();
	}

	/**
	 * Removes a worker that did not start, or that ended by itself, for example because it ran out of memory.
	 * @param {Member} member
	 * @param {string} text
	 * @param {unknown} [cause]
	 */
	#fail(member, text, cause) {
		if (!this.#members.has(member))
			return;
		if (!member.ready)
			this.#blocked = true;
		this.#end(member, new QstoreError("MEMORY", `a decoding worker failed: ${text}`, { cause }));
		this.#assign();
	}

	/**
	 * Ends a worker.
	 * @param {Member} member
	 * @param {QstoreError} [error] rejects its jobs
	 */
	#end(member, error) {
		this.#members.delete(member);
		for (const { reject } of member.jobs.values())
			reject(error);
		member.jobs.clear();
		return member.handle.terminate();
	}

	/** Decodes the queued jobs on the calling thread. */
	#decodeHere() {
		this.#local ??= Decoder.instantiate(this.#module).then(localCodec).catch((error) => {
			this.#local = undefined;
			throw error;
		});
		for (const { job, resolve, reject } of this.#queue.splice(0))
			this.#local.then((codec) => codec.decode(job)).then(resolve, reject);
	}
}

/**
 * The error that a worker described.
 * @param {import("./serve.js").Failure} failure
 */
function revive({ code, message, level }) {
	return level === undefined ? new QstoreError(code, message) : new ChunkError(code, message, level);
}

/**
 * A copy of a job whose bytes can be transferred: those of the job itself are views of larger buffers.
 * @param {Job} job
 * @param {ArrayBuffer[]} buffers to transfer; the copy's buffers are added
 * @returns {Job}
 */
function detach({ index, chunk, values, coarse, codes, coarseGrid, grid, ...rest }, buffers) {
	/** @param {Uint8Array} bytes */
	const copy = (bytes) => {
		const own = new Uint8Array(bytes);
		buffers.push(own.buffer);
		return own;
	};
	/** @param {import("../wasm/decoder.js").Grid} grid */
	const copyGrid = ({ scales, zeroPoints, order, factors, ...numbers }) => ({
		...numbers, scales: copy(scales), zeroPoints: zeroPoints && copy(zeroPoints), order: order && copy(order),
		factors: factors && copy(factors),
	});
	for (const own of [index, codes])
		if (own)
			buffers.push(own.buffer);
	return {
		...rest,
		index,
		chunk: chunk && { ...chunk, bytes: copy(chunk.bytes) },
		values: values && copy(values),
		coarse: coarse && detach(coarse, buffers),
		codes,
		coarseGrid: coarseGrid && copyGrid(coarseGrid),
		grid: grid && copyGrid(grid),
	};
}
