/** Serving archives in browsers, and everywhere else without Node's modules. */

import { handlerOn } from "../serve/handler.js";
import { openQstore } from "./open.js";

/**
 * Makes a function from Request to Response that serves the original files of archives, for service workers and for servers.
 * @param {import("../serve/handler.js").HandlerOptions} options
 * @returns {import("../serve/handler.js").Handler}
 */
export function createHandler(options) {
	return handlerOn(openQstore, options);
}
