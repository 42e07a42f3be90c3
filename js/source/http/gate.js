/** A limit for work that goes on at the same time. */

import { unlessAborted } from "../../util/abort.js";

/** Lets a few callers in at a time; the others wait in the order in which they came. */
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
	 * @returns {Promise<() => void>} the function to call when leaving
	 */
	async enter(signal) {
		if (this.#free > 0) {
			this.#free--;
		} else {
			/** @type {() => void} */
			let letIn = () => {};
			const entered = new Promise((/** @type {(value: void) => void} */ resolve) => {
				letIn = resolve;
				this.#waiting.push(letIn);
			});
			try {
				await unlessAborted(entered, signal);
			} catch (error) {
				const at = this.#waiting.indexOf(letIn);
				if (at >= 0)
					this.#waiting.splice(at, 1);
				else
					this.#leave(); // It was let in at the same moment.
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
