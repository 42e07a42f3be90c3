/** "qstore-decode/internals" in Node: that of everywhere, and Node's threads for WorkerPool. */

export * from "../internals.js";
export { spawnThread } from "./threads.js";
