/** The program of a worker of WorkerPool, of either kind: it takes jobs and replies with decoded bytes. */

import { ChunkError, decodeJob } from "./codec.js";
import { Decoder } from "../wasm/decoder.js";
import { QstoreError } from "../error.js";
import { free } from "../util/free.js";

/** @typedef {import("./codec.js").Job} Job */

/**
 * A message to a worker. The first one has the module, each other one a job, with the buffers that it has been given.
 * @typedef {{ module: WebAssembly.Module } | { id: number, job: Job, buffers: ArrayBuffer[] }} Task
 */

/**
 * An error as a message can carry it.
 * @typedef {object} Failure
 * @property {import("../error.js").StatusName} code
 * @property {string} message
 * @property {number} [level] only for a ChunkError
 */

/** @typedef {{ ready: true } | { failed: string } | { id: number, bytes: Uint8Array } | { id: number, error: Failure }} Reply */

/**
 * @param {(take: (task: Task) => void) => void} listen calls `take` with each message
 * @param {(reply: Reply, transfer: ArrayBuffer[]) => void} post
 */
export function serve(listen, post) {
	/** @type {Decoder} */
	let decoder;
	listen((task) => {
		if ("module" in task) {
			Decoder.instantiate(task.module).then((made) => {
				decoder = made;
				post({ ready: true }, []);
			}).catch((error) => post({ failed: error.message }, []));
			return;
		}
		const { id, job, buffers } = task;
		try {
			const bytes = decodeJob(decoder, job);
			// A part of the base is in the buffer that it came in.
			for (const buffer of buffers)
				if (buffer !== bytes.buffer)
					free(buffer);
			post({ id, bytes }, [bytes.buffer]);
		} catch (error) {
			const { message } = /** @type {Error} */ (error);
			const code = error instanceof QstoreError ? error.code : "MEMORY";
			post({ id, error: { code, message, level: error instanceof ChunkError ? error.level : undefined } }, []);
		}
	});
}
