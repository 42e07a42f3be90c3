/** Node's threads for WorkerPool. */

import { Worker } from "node:worker_threads";

/** @type {import("../decode/pool.js").Spawn} */
export function spawnThread({ reply, failed }) {
	const worker = new Worker(new URL("./worker.js", import.meta.url), { execArgv: [] });
	worker.on("message", reply);
	worker.on("error", (error) => failed(error.message, error));
	worker.on("exit", () => failed("it ended"));
	return {
		post: (task, transfer = []) => worker.postMessage(task, transfer),
		terminate: () => worker.terminate(),
		hold: (busy) => busy ? worker.ref() : worker.unref(),
	};
}
