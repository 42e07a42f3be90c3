/** Memory that is given back at once. Garbage collectors do not hurry with large buffers, since each is a small object to them. */

/** Smaller buffers are left to the garbage collector. */
const SIZE_MIN = 65536;

/** @type {MessagePort | undefined} one that nobody receives from */
let nowhere;

/**
 * Gives back the memory of a buffer that nobody needs any more; its size becomes 0.
 * @param {ArrayBuffer} buffer
 */
export function free(buffer) {
	if (buffer.byteLength < SIZE_MIN)
		return;
	if ("transfer" in buffer) {
		/** @type {{ transfer: (size: number) => unknown }} */ (/** @type {unknown} */ (buffer)).transfer(0);
		return;
	}
	if (!nowhere) {
		const { port1, port2 } = new MessageChannel();
		port1.close();
		port2.close();
		nowhere = port1;
	}
	nowhere.postMessage(undefined, [buffer]);
}
