/** Opening archives in Node: paths, file handles, threads. */

import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { anySource, openOn } from "../open.js";
import { folderStore } from "./cache-folder.js";
import { handleSource, openFile } from "./file-source.js";
import { spawnThread } from "./threads.js";

/** @typedef {import("../open.js").SourceInput | import("node:fs/promises").FileHandle} NodeInput an open file stays the caller's */

/** @type {import("../open.js").Platform} */
const node = {
	source: nodeSource,
	spawn: () => spawnThread,
	cache: false,
	cacheStore: folderStore,
	cores: availableParallelism(),
};

/**
 * Opens an archive, with two requests at most.
 * @param {NodeInput} source a string is a path unless it begins as URLs do
 * @param {import("../open.js").OpenOptions} [options]
 */
export function openQstore(source, options = {}) {
	return openOn(node, /** @type {import("../open.js").SourceInput} */ (source), options);
}

/**
 * @param {NodeInput} input
 * @param {import("../open.js").OpenOptions} options
 */
function nodeSource(input, options) {
	if (typeof input === "string" && !/^(https?|file):\/\//i.test(input))
		return openFile(input);
	if ((typeof input === "string" || input instanceof URL) && /^file:/i.test(String(input)))
		return openFile(fileURLToPath(input));
	if (typeof input === "object" && input !== null && "fd" in input && "stat" in input)
		return handleSource(input);
	return anySource(/** @type {import("../open.js").SourceInput} */ (input), options);
}
