/** Opening archives in browsers, and everywhere else without Node's modules. */

import { opfsStore } from "./opfs.js";
import { anySource, openOn } from "../archive/open.js";
import { sha256 } from "../util/sha256.js";
import { readExactly } from "../source/source.js";
import { webWorkers } from "./workers.js";

/** The largest number of workers by default: enough to keep up with a network, and few enough for a phone's memory. */
const CORES_MAX = 4;

/** @type {import("../archive/open.js").Platform} */
const web = {
	source: anySource,
	spawn: ({ create }) => create || typeof Worker !== "undefined" ? webWorkers(create) : undefined,
	cache: true,
	cacheStore: opfsStore,
	sha256: digest,
	// One core is left to the page's own thread.
	cores: Math.min(Math.max((globalThis.navigator?.hardwareConcurrency ?? 2) - 1, 1), CORES_MAX),
};

/**
 * The SHA-256 of a source; browsers can only compute it of bytes that are all in memory.
 * @param {import("../source/source.js").Source} source
 * @param {import("../source/source.js").ReadOptions} options
 */
async function digest(source, options) {
	return sha256(await readExactly(source, 0, source.byteLength ?? 0, options));
}

/**
 * Opens an archive; over HTTP this takes one request, two when the index is large.
 * @param {import("../archive/open.js").SourceInput} source
 * @param {import("../archive/open.js").OpenOptions} [options]
 */
export function openQstore(source, options = {}) {
	return openOn(web, source, options);
}
