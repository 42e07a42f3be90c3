/** Async iterables of bytes as ReadableStreams. */

/**
 * A stream that starts its iterable at the first read, and buffers nothing.
 * @param {() => AsyncIterable<Uint8Array>} start
 * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
 */
export function streamOf(start) {
	/** @type {AsyncIterator<Uint8Array> | undefined} */
	let pieces;
	return new ReadableStream({
		async pull(controller) {
			pieces ??= start()[Symbol.asyncIterator]();
			const { done, value } = await pieces.next();
			if (done)
				controller.close();
			else
				controller.enqueue(/** @type {Uint8Array<ArrayBuffer>} */ (value));
		},
		async cancel() {
			await pieces?.return?.();
		},
	}, { highWaterMark: 0 });
}
