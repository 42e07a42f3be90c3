/** A worker of wasm.mjs. It decodes its share of an archive's chunks when it is told to. */

import { parentPort, workerData } from "node:worker_threads";

import { prepareJobs } from "./wasm-jobs.mjs";

const { about, run } = await prepareJobs(workerData.bytes);
parentPort.on("message", (share) => parentPort.postMessage(run(share)));
parentPort.postMessage(about);
