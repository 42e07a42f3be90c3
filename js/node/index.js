/** What needs Node: files, threads, restoring to a folder. */

export { FileSource, openFile } from "./file-source.js";
export { WorkerPool } from "./pool.js";
export { unpack } from "./unpack.js";
