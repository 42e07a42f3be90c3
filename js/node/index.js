/** The package's entry for Node: all of ../index.js, with paths, threads, and restoring into a folder. */

export * from "../index.js";
export { defaultCacheFolder, folderStore } from "./cache-folder.js";
export { FileSource, handleSource, openFile } from "./file-source.js";
export { createHandler } from "./handler.js";
export { openQstore } from "./open.js";
export { repair } from "./repair.js";
export { unpack } from "./unpack.js";

/** @typedef {import("./file-source.js").OpenFile} OpenFile */
/** @typedef {import("./open.js").NodeInput} NodeInput */
/** @typedef {import("./repair.js").RepairOptions} RepairOptions */
/** @typedef {import("./repair.js").Repaired} Repaired */
/** @typedef {import("./unpack.js").Damage} Damage */
/** @typedef {import("./unpack.js").UnpackOptions} UnpackOptions */
/** @typedef {import("./unpack.js").UnpackProgress} UnpackProgress */
/** @typedef {import("./unpack.js").Unpacked} Unpacked */
