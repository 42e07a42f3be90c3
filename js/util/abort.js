/** Signals: waiting for them, handing them on, and waiting with them. */

/** @type {WeakMap<AbortSignal, Set<() => void>>} */
const waiting = new WeakMap();

/**
 * Calls a function when a signal aborts, at once when it has. However many wait, the signal has one listener: Node warns of more than ten.
 * @param {AbortSignal | undefined} signal
 * @param {() => void} call
 * @returns {() => void} no longer
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
 * Aborts a controller when one of the signals does, until it is unlinked.
 * @param {AbortController} controller
 * @param {(AbortSignal | undefined)[]} signals
 * @returns {() => void}
 */
export function link(controller, ...signals) {
	const removes = signals.map((signal) => onAbort(signal, () => controller.abort(signal?.reason)));
	return () => removes.forEach((remove) => remove());
}

/**
 * A promise's result; rejects earlier when the signal aborts.
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
