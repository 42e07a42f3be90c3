/** Web Workers for WorkerPool. */

/** @typedef {import("../decode/pool.js").Spawn} Spawn */

/** Written as bundlers look for it: they make a file of the worker and what it imports. */
function createWorker() {
	return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "qstore-decode" });
}

/**
 * @param {() => Worker} [create] starts "qstore-decode/worker", where the package cannot do so by itself
 * @returns {Spawn}
 */
export function webWorkers(create = createWorker) {
	return ({ reply, failed }) => {
		const worker = create();
		worker.addEventListener("message", ({ data }) => reply(data));
		worker.addEventListener("messageerror", () => failed("a message could not be read"));
		worker.addEventListener("error", (event) => {
			event.preventDefault();
			failed(event.message || "it did not start");
		});
		return {
			post: (task, transfer = []) => worker.postMessage(task, transfer),
			terminate: () => worker.terminate(),
		};
	};
}
