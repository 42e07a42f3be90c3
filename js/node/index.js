/** The package's entry in Node: all of it, with paths, threads and restoring to a folder. */

export * from "../index.js";
export { defaultCacheFolder, folderStore } from "./cache-folder.js";
export { FileSource, handleSource, openFile } from "./file-source.js";
export { openQstore } from "./open.js";
export { spawnThread } from "./threads.js";
export { unpack } from "./unpack.js";
