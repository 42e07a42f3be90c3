/** Signals that many wait for. */

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
