/** Serving archives in Node, from paths too. */

import { handlerOn } from "../serve/handler.js";
import { openQstore } from "./open.js";

/**
 * Makes a function from Request to Response that serves the original files of archives.
 * @param {import("../serve/handler.js").HandlerOptions<import("./open.js").NodeInput>} options
 * @returns {import("../serve/handler.js").Handler}
 */
export function createHandler(options) {
	return handlerOn(openQstore, options);
}
