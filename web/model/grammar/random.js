/** Random choices that are the same on every machine. */

/**
 * A generator for one story: xorshift32 (G. Marsaglia, "Xorshift RNGs", 2003), started from the mixed seed and number.
 */
export class Random {
	/**
	 * @param {number} seed of the whole collection, a 32-bit number
	 * @param {number} number of the story in it
	 */
	constructor(seed, number) {
		const mixed = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(number + 1, 0xc2b2ae35);
		const spread = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
		/** @type {number} */
		this.state = (spread ^ (spread >>> 13)) || 1;
		this.below(1);
		this.below(1);
	}

	/** A whole number from 0 to count − 1. @param {number} count */
	below(count) {
		this.state ^= this.state << 13;
		this.state ^= this.state >>> 17;
		this.state ^= this.state << 5;
		return Math.floor((this.state >>> 0) / 2 ** 32 * count);
	}

	/** One of a list. @template T @param {readonly T[]} list @returns {T} */
	pick(list) {
		return list[this.below(list.length)];
	}

	/** True once in `count` times. @param {number} count */
	once(count) {
		return this.below(count) === 0;
	}
}
