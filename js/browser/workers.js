/** Web Workers for WorkerPool. */

/** @typedef {import("../decode/pool.js").Spawn} Spawn */

/** Bundlers look for exactly this expression, and make a file of the worker's module and its imports. */
function createWorker() {
	return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "qstore-decode" });
}

/**
 * @param {() => Worker} [create] starts a worker with the module "qstore-decode/worker", where the package cannot do that itself
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
