import { QstoreError } from "../error.js";

/**
 * What the operating system said, with the path and what was tried: "out/a: cannot write: no space left on device".
 * @param {string} path
 * @param {string} tried
 * @param {unknown} error
 */
export function ioError(path, tried, error) {
	const { message } = /** @type {Error} */ (error);
	// Node's messages are "CODE: reason, call 'path'".
	const reason = /^[A-Z0-9_]+: (.*?)(?:, [a-z]+(?: '.*)?)?$/s.exec(message)?.[1] ?? message;
	return new QstoreError("IO", `${path}: ${tried}: ${reason}`, { cause: error });
}
