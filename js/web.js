/** The package for browsers and other places without Node's modules. */

import { opfsStore } from "./cache/opfs.js";
import { anySource, openOn } from "./open.js";
import { webWorkers } from "./workers/web.js";

/** Enough to keep up with a network, and few enough for a phone's memory. */
const CORES_MAX = 4;

/** @type {import("./open.js").Platform} */
const web = {
	source: anySource,
	spawn: ({ create }) => create || typeof Worker !== "undefined" ? webWorkers(create) : undefined,
	cache: true,
	cacheStore: opfsStore,
	// One is the caller's.
	cores: Math.min(Math.max((globalThis.navigator?.hardwareConcurrency ?? 2) - 1, 1), CORES_MAX),
};

/**
 * Opens an archive, with two requests at most.
 * @param {import("./open.js").SourceInput} source
 * @param {import("./open.js").OpenOptions} [options]
 */
export function openQstore(source, options = {}) {
	return openOn(web, source, options);
}
