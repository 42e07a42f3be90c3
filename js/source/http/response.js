/** HTTP responses: their bodies, lengths, and failures. */

/** @typedef {import("../../error.js").QstoreError} QstoreError */

/** Milliseconds; a server that asks for a longer pause is asked again after this one. */
const RETRY_AFTER_MAX = 120_000;

/** A failure that may pass, such as a broken connection or a busy server. */
export class Retry extends Error {
	/**
	 * @param {QstoreError} error the error to throw when trying again does not help
	 * @param {number} [after] milliseconds that the server asked to wait
	 */
	constructor(error, after = 0) {
		super(error.message);
		this.error = error;
		this.after = after;
	}
}

/**
 * A body's bytes as they arrive. A reader is used because some browsers cannot iterate over streams.
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
 * Content-Length; undefined where the body is compressed on the way, since its length is another then.
 * @param {Response} response
 */
export function fullLength(response) {
	const text = response.headers.get("content-length");
	const coded = response.headers.get("content-encoding") ?? "identity";
	return text !== null && /^\d+$/.test(text) && coded === "identity" ? Number(text) : undefined;
}

/**
 * Drops the body of a response that is not needed.
 * @param {Response} response
 */
export async function discard(response) {
	await response.body?.cancel().catch(() => {});
}

/**
 * The reason of a failed fetch, for messages.
 * @param {unknown} error
 */
export function causeOf(error) {
	const { cause, message } = /** @type {Error} */ (error);
	const inner = cause instanceof Error ? cause.message || /** @type {{ code?: string }} */ (cause).code : undefined;
	return inner || message || String(error);
}

/**
 * The milliseconds to wait that a Retry-After header asks for.
 * @param {string | null} text seconds, or a date
 */
export function retryAfter(text) {
	const wanted = text === null ? 0 : /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
	return Math.min(Math.max(wanted || 0, 0), RETRY_AFTER_MAX);
}
