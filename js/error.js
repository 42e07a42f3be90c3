/** The errors of this package. */

import { MESSAGES, STATUS } from "./status.js";

/** @typedef {import("./status.js").StatusName} StatusName */

/** Every error that this package throws, aborts excepted: a code of STATUS, and a message that names the file or tensor. */
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
	 * The error for a status that a function of the core returned.
	 * @param {number} status
	 * @param {string} what the subject of the message: "index header"
	 */
	static fromStatus(status, what) {
		const code = /** @type {StatusName | undefined} */ (Object.keys(STATUS)[status]);
		return code ? new QstoreError(code, `${what}: ${MESSAGES[code]}`) :
			new QstoreError("CORRUPT", `${what}: unknown status ${status}`);
	}
}
