/** What answers say, and how they fail. */

/** @typedef {import("../../error.js").QstoreError} QstoreError */

/** In milliseconds. */
const RETRY_AFTER_MAX = 120_000;

/** A failure that may pass: the connection, a busy server. */
export class Retry extends Error {
	/**
	 * @param {QstoreError} error what to throw when there is no more hope
	 * @param {number} [after] milliseconds that the server asked for
	 */
	constructor(error, after = 0) {
		super(error.message);
		this.error = error;
		this.after = after;
	}
}

/**
 * A body's bytes; by a reader, because not every browser iterates over streams.
 * @param {Response} response
 * @returns {AsyncGenerator<Uint8Array, void, void>}
 */
export async function* bodyOf(response) {
	const reader = response.body?.getReader();
	if (!reader)
		return;
	try {
		for (;;) {
			const { done, value } = await reader.read();
			if (done)
				return;
			yield value;
		}
	} finally {
		reader.releaseLock();
	}
}

/**
 * Content-Length, where it is the length of the body that one gets.
 * @param {Response} response
 */
export function fullLength(response) {
	const text = response.headers.get("content-length");
	const coded = response.headers.get("content-encoding") ?? "identity";
	return text !== null && /^\d+$/.test(text) && coded === "identity" ? Number(text) : undefined;
}

/** @param {Response} response */
export async function discard(response) {
	await response.body?.cancel().catch(() => {});
}

/** @param {unknown} error */
export function causeOf(error) {
	const { cause, message } = /** @type {Error} */ (error);
	const inner = cause instanceof Error ? cause.message || /** @type {{ code?: string }} */ (cause).code : undefined;
	return inner || message || String(error);
}

/** @param {string | null} text seconds, or a date */
export function retryAfter(text) {
	const wanted = text === null ? 0 : /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
	return Math.min(Math.max(wanted || 0, 0), RETRY_AFTER_MAX);
}
