/** A thread of WorkerPool. */

import { parentPort, workerData } from "node:worker_threads";
import { ChunkError, decodeJob } from "../codec.js";
import { QstoreError } from "../error.js";
import { createDecoder } from "../wasm.js";

/**
 * @typedef {object} Result
 * @property {number} id
 * @property {Uint8Array} [bytes]
 * @property {{ code: import("../error.js").StatusName, message: string, level?: number }} [error]
 */

const decoder = await createDecoder({ module: workerData });

parentPort?.on("message", (/** @type {{ id: number, job: import("../codec.js").Job }} */ { id, job }) => {
	/** @type {Result} */
	let result;
	try {
		const bytes = decodeJob(decoder, job);
		result = { id, bytes };
		parentPort?.postMessage(result, [bytes.buffer]);
	} catch (error) {
		const { message } = /** @type {Error} */ (error);
		const code = error instanceof QstoreError ? error.code : "MEMORY";
		result = { id, error: { code, message, level: error instanceof ChunkError ? error.level : undefined } };
		parentPort?.postMessage(result);
	}
});
