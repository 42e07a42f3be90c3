import { unlessAborted } from "../../util/abort.js";

/** Lets a few in at a time. */
export class Gate {
	#free;
	/** @type {(() => void)[]} */
	#waiting = [];

	/** @param {number} count */
	constructor(count) {
		this.#free = count;
	}

	/**
	 * @param {AbortSignal | undefined} signal
	 * @returns {Promise<() => void>} to leave with
	 */
	async enter(signal) {
		if (this.#free > 0) {
			this.#free--;
		} else {
			/** @type {() => void} */
			let turn = () => {};
			const come = new Promise((/** @type {(value: void) => void} */ resolve) => {
				turn = resolve;
				this.#waiting.push(turn);
			});
			try {
				await unlessAborted(come, signal);
			} catch (error) {
				const at = this.#waiting.indexOf(turn);
				if (at >= 0)
					this.#waiting.splice(at, 1);
				else
					this.#leave(); // Its turn came at the same time.
				throw error;
			}
		}
		return () => this.#leave();
	}

	#leave() {
		const next = this.#waiting.shift();
		if (next)
			next();
		else
			this.#free++;
	}
}
