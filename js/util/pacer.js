/** Long work on the calling thread, with pauses in which the event loop handles input, timers and aborts. */

/** Milliseconds of work between two pauses. */
const WORK_MAX = 20;

/** Says when work that has no pauses of its own has to make one. */
export class Pacer {
	#signal;
	#last = performance.now();

	/** @param {AbortSignal} [signal] is heeded after each pause */
	constructor(signal) {
		this.#signal = signal;
	}

	/** Is it time for a pause? */
	get isDue() {
		return performance.now() - this.#last >= WORK_MAX;
	}

	/** Lets the event loop come around; rejects if the signal has aborted. */
	async pause() {
		await nextRound();
		this.#signal?.throwIfAborted();
		this.#last = performance.now();
	}
}

/**
 * Collects the items of an iterable that takes long to compute them, with pauses.
 * @template T
 * @param {Iterable<T>} items
 * @param {AbortSignal} [signal]
 * @returns {Promise<T[]>}
 */
export async function collect(items, signal) {
	const pacer = new Pacer(signal), all = [];
	for (const item of items) {
		all.push(item);
		if (pacer.isDue)
			await pacer.pause();
	}
	return all;
}

/** Bytes that are copied without a pause. */
const COPY_SIZE = 2 ** 22;

/**
 * Copies bytes, with pauses.
 * @param {Uint8Array} target
 * @param {Uint8Array} bytes
 * @param {number} at where they go in the target
 * @param {AbortSignal} [signal]
 */
export async function copyTo(target, bytes, at, signal) {
	const pacer = new Pacer(signal);
	for (let from = 0; from < bytes.length; from += COPY_SIZE) {
		target.set(bytes.subarray(from, from + COPY_SIZE), at + from);
		if (pacer.isDue)
			await pacer.pause();
	}
}

/** Waits until the event loop has come around. Promises alone do not let it, and browsers delay timers. */
function nextRound() {
	/** @type {{ scheduler?: { yield?: () => Promise<void> }, setImmediate?: (call: () => void) => unknown }} */
	const { scheduler, setImmediate } = /** @type {object} */ (globalThis);
	if (scheduler?.yield)
		return scheduler.yield();
	return /** @type {Promise<void>} */ (new Promise((resolve) => {
		if (setImmediate) {
			setImmediate(resolve);
			return;
		}
		const { port1, port2 } = new MessageChannel();
		port1.onmessage = () => {
			port1.close();
			resolve();
		};
		port2.postMessage(undefined);
	}));
}
