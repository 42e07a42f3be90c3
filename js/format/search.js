/** Binary search in tables of the index, which ascend. */

/**
 * How many of the first elements satisfy a condition that no element behind them satisfies.
 * @param {number} count of all elements
 * @param {(i: number) => boolean} holds does element i satisfy it?
 */
export function countWhile(count, holds) {
	let low = 0, high = count;
	while (low < high) {
		const middle = (low + high) >>> 1;
		if (holds(middle))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
