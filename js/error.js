import { MESSAGES, STATUS } from "./status.js";

/** @typedef {import("./status.js").StatusName} StatusName */

/** Every error of this package: a code of the core's list (status.js), and a message with names and numbers. */
export class QstoreError extends Error {
	/**
	 * @param {StatusName} code
	 * @param {string} message
	 * @param {ErrorOptions} [options]
	 */
	constructor(code, message, options) {
		super(message, options);
		this.name = "QstoreError";
		/** @type {StatusName} */
		this.code = code;
	}

	/**
	 * @param {number} status that a function of the core returned
	 * @param {string} what was being done
	 */
	static fromStatus(status, what) {
		const code = /** @type {StatusName | undefined} */ (Object.keys(STATUS)[status]);
		return code ? new QstoreError(code, `${what}: ${MESSAGES[code]}`) :
			new QstoreError("CORRUPT", `${what}: unknown status ${status}`);
	}
}
