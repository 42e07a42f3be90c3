/** Abort signals: calling a function when one aborts, passing it on to a controller, and waiting until it aborts. */

/** @type {WeakMap<AbortSignal, Set<() => void>>} the functions to call, by signal */
const waiting = new WeakMap();

/**
 * Calls a function when a signal aborts, or at once if it has. All functions share one listener, since Node warns of more than ten.
 * @param {AbortSignal | undefined} signal
 * @param {() => void} call
 * @returns {() => void} takes it back
 */
export function onAbort(signal, call) {
	if (!signal)
		return () => {};
	if (signal.aborted) {
		call();
		return () => {};
	}
	const calls = waiting.get(signal) ?? new Set(), own = () => call();
	if (!waiting.has(signal)) {
		waiting.set(signal, calls);
		signal.addEventListener("abort", () => {
			waiting.delete(signal);
			for (const each of calls)
				each();
			calls.clear();
		}, { once: true });
	}
	calls.add(own);
	return () => {
		calls.delete(own);
	};
}

/**
 * Aborts a controller when one of the signals aborts.
 * @param {AbortController} controller
 * @param {(AbortSignal | undefined)[]} signals
 * @returns {() => void} ends this
 */
export function link(controller, ...signals) {
	const removes = signals.map((signal) => onAbort(signal, () => controller.abort(signal?.reason)));
	return () => removes.forEach((remove) => remove());
}

/**
 * Waits for a promise, and rejects as soon as the signal aborts. The promise goes on.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T>}
 */
export function unlessAborted(promise, signal) {
	if (!signal)
		return promise;
	return new Promise((resolve, reject) => {
		const remove = onAbort(signal, () => reject(signal.reason));
		promise.then(resolve, reject).finally(remove);
	});
}

/**
 * Waits for a time, and rejects as soon as the signal aborts.
 * @param {number} milliseconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
export function wait(milliseconds, signal) {
	/** @type {ReturnType<typeof setTimeout>} */
	let timer;
	return unlessAborted(/** @type {Promise<void>} */ (new Promise((resolve) => {
		timer = setTimeout(resolve, milliseconds);
	})), signal).finally(() => clearTimeout(timer));
}
