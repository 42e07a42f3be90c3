/** The package for browsers and other places without Node's modules. */

import { opfsStore } from "./cache/opfs.js";
import { anySource, openOn } from "./open.js";
import { sha256 } from "./sha256.js";
import { readExactly } from "./source.js";
import { webWorkers } from "./workers/web.js";

/** Enough to keep up with a network, and few enough for a phone's memory. */
const CORES_MAX = 4;

/** @type {import("./open.js").Platform} */
const web = {
	source: anySource,
	spawn: ({ create }) => create || typeof Worker !== "undefined" ? webWorkers(create) : undefined,
	cache: true,
	cacheStore: opfsStore,
	sha256: digest,
	// One is the caller's.
	cores: Math.min(Math.max((globalThis.navigator?.hardwareConcurrency ?? 2) - 1, 1), CORES_MAX),
};

/**
 * Browsers digest what is in memory as a whole.
 * @param {import("./source.js").Source} source
 * @param {import("./source.js").ReadOptions} options
 */
async function digest(source, options) {
	return sha256(await readExactly(source, 0, source.byteLength ?? 0, options));
}

/**
 * Opens an archive, with two requests at most.
 * @param {import("./open.js").SourceInput} source
 * @param {import("./open.js").OpenOptions} [options]
 */
export function openQstore(source, options = {}) {
	return openOn(web, source, options);
}
