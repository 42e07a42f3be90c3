/** Promises that are awaited later, and work on a few items at a time. */

/**
 * Marks a promise as one that is awaited later, so that its failure is not reported as unhandled until then.
 * @template T
 * @param {Promise<T>} promise
 */
export function quiet(promise) {
	promise.catch(() => {});
	return promise;
}

/**
 * Calls `act` with each item, a few at a time; stops at the first that fails.
 * @template T
 * @param {T[]} items
 * @param {number} atOnce
 * @param {(item: T) => Promise<unknown>} act
 */
export async function eachOf(items, atOnce, act) {
	let next = 0;
	const work = async () => {
		while (next < items.length)
			await act(items[next++]);
	};
	await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
}
