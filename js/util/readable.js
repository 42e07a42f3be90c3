/** Async iterables of bytes as ReadableStreams. */

import { link } from "./abort.js";

/**
 * A stream that starts its iterable at the first read, and buffers nothing.
 * @param {(signal: AbortSignal) => AsyncIterable<Uint8Array>} start is given a signal that aborts when the stream is cancelled too
 * @param {AbortSignal} [signal]
 * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
 */
export function streamOf(start, signal) {
	/** @type {AsyncIterator<Uint8Array> | undefined} */
	let pieces;
	const left = new AbortController();
	let unlink = () => {};
	return new ReadableStream({
		async pull(controller) {
			if (!pieces) {
				unlink = link(left, signal);
				pieces = start(left.signal)[Symbol.asyncIterator]();
			}
			try {
				const { done, value } = await pieces.next();
				if (!done)
					return controller.enqueue(/** @type {Uint8Array<ArrayBuffer>} */ (value));
			} catch (error) {
				unlink();
				throw error;
			}
			unlink();
			controller.close();
		},
		async cancel(reason) {
			unlink();
			// A read that is under way ends at once, not when its bytes have come.
			left.abort(reason);
			await pieces?.return?.();
		},
	}, { highWaterMark: 0 });
}
