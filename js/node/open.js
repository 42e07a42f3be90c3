/** Opening archives in Node: paths, file handles, threads. */

import { readdir, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { anySource, openOn } from "../archive/open.js";
import { folderStore } from "./cache-folder.js";
import { handleSource, openFile } from "./file-source.js";
import { digestOf, hashSource } from "./hash.js";
import { spawnThread } from "./threads.js";

/**
 * The things that an archive can be opened from in Node. A string is a path unless it begins with http:, https: or file:. The caller closes
 * a file that was open already.
 * @typedef {import("../archive/open.js").SourceInput | import("./file-source.js").OpenFile} NodeInput
 */

/** @type {import("../archive/open.js").Platform} */
const node = {
	source: nodeSource,
	spawn: () => spawnThread,
	cache: false,
	cacheStore: folderStore,
	cores: availableParallelism(),
	sha256: hashSource,
	digestOf,
	listFiles,
};

/**
 * Opens an archive; over HTTP this takes one request, two when the index is large.
 * @param {NodeInput} source
 * @param {import("../archive/open.js").OpenOptions} [options]
 */
export function openQstore(source, options = {}) {
	return openOn(node, /** @type {import("../archive/open.js").SourceInput} */ (source), options);
}

/**
 * @param {NodeInput} input
 * @param {import("../archive/open.js").OpenOptions} options
 */
function nodeSource(input, options) {
	if (typeof input === "string" && !/^(https?|file):\/\//i.test(input))
		return openFile(input);
	if ((typeof input === "string" || input instanceof URL) && /^file:/i.test(String(input)))
		return openFile(fileURLToPath(input));
	if (typeof input === "object" && input !== null && "fd" in input && "stat" in input)
		return handleSource(/** @type {import("./file-source.js").OpenFile} */ (input));
	return anySource(/** @type {import("../archive/open.js").SourceInput} */ (input), options);
}

/**
 * The files of a folder whose sizes are among those given; any other input as it is.
 * @param {import("../archive/open.js").SourceInput} input
 * @param {Set<number>} sizes
 * @returns {Promise<import("../archive/open.js").SourceInput[]>}
 */
async function listFiles(input, sizes) {
	const isPath = typeof input === "string" && !/^https?:\/\//i.test(input);
	const path = isPath ? (/^file:/i.test(input) ? fileURLToPath(input) : input) : undefined;
	if (path === undefined || !(await stat(path).catch(() => undefined))?.isDirectory())
		return [input];
	const found = [];
	for (const name of (await readdir(path, { recursive: true })).sort()) {
		const info = await stat(join(path, name)).catch(() => undefined);
		if (info?.isFile() && sizes.has(info.size))
			found.push(join(path, name));
	}
	return found;
}
