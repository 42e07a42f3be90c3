/** "qstore-decode/service-worker": a whole service worker that serves the original files of archives to its pages. */

import { createHandler } from "./handler.js";
import { isPing } from "./service-worker-messages.js";

/**
 * An event of a service worker, as far as it is used here.
 * @typedef {Event & { waitUntil: (promise: Promise<unknown>) => void, respondWith: (response: Promise<Response>) => void,
 *   request: Request, data: unknown }} WorkerEvent
 */

/**
 * The scope of a service worker, as far as it is used here.
 * @typedef {object} WorkerScope
 * @property {(type: string, listener: (event: WorkerEvent) => void) => void} addEventListener
 * @property {() => Promise<void>} skipWaiting
 * @property {{ claim: () => Promise<void> }} clients
 */

/**
 * Makes this service worker serve archives: it is installed and takes its pages over at once, and answers requests for the routes.
 * All others go to the network. Call it while the worker's module runs: the browser ends a worker that has nothing to do and starts it
 * anew for the next request, and then the module says again what there is.
 * @param {import("../serve/handler.js").HandlerOptions["routes"]} routes
 * @param {Omit<import("../serve/handler.js").HandlerOptions, "routes">} [options]
 * @returns {import("../serve/handler.js").Handler} for a worker that does more
 */
export function serve(routes, options = {}) {
	const scope = /** @type {WorkerScope} */ (/** @type {unknown} */ (globalThis)), handler = createHandler({ ...options, routes });
	scope.addEventListener("install", (event) => event.waitUntil(scope.skipWaiting()));
	scope.addEventListener("activate", (event) => event.waitUntil(scope.clients.claim()));
	scope.addEventListener("fetch", (event) => {
		if (handler.matches(event.request.url))
			event.respondWith(handler(event.request));
	});
	scope.addEventListener("message", (event) => {
		// A page that was reloaded past the worker is taken over too. Any event makes the browser keep the worker for a while longer.
		if (isPing(event.data))
			event.waitUntil(scope.clients.claim());
	});
	return handler;
}
