/** Errors of the operating system. */

import { QstoreError } from "../error.js";

/**
 * The error for a failed call to the filesystem: "out/a: cannot write: no space left on device".
 * @param {string} path
 * @param {string} tried
 * @param {unknown} error
 */
export function ioError(path, tried, error) {
	const { message } = /** @type {Error} */ (error);
	// Node's messages have the form "CODE: reason, call 'path'".
	const reason = /^[A-Z0-9_]+: (.*?)(?:, [a-z]+(?: '.*)?)?$/s.exec(message)?.[1] ?? message;
	return new QstoreError("IO", `${path}: ${tried}: ${reason}`, { cause: error });
}
