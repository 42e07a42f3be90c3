/** "qstore-decode/service-worker/page": starts a page's service worker. */

import { QstoreError } from "../error.js";
import { unlessAborted } from "../util/abort.js";
import { PING } from "./service-worker-messages.js";

/**
 * @typedef {object} StartOptions
 * @property {string} [scope] the folder whose pages the worker serves; by default the folder of its script
 * @property {WorkerType} [type] "module" by default; "classic" for a bundle, which browsers without modules in service workers need
 * @property {number} [keepAlive] seconds between messages that keep the browser from ending the worker while it streams a long file;
 *   default 5, 0: none
 * @property {number} [timeout] seconds after which a page that is not served is an error; default 30
 * @property {AbortSignal} [signal] ends the waiting, and later the messages
 */

/**
 * Registers a service worker and waits until it serves this page: requests after that go through it.
 * @param {string | URL} url of the worker's script
 * @param {StartOptions} [options]
 * @returns {Promise<ServiceWorkerRegistration>}
 */
export async function startServiceWorker(url, { scope, type = "module", keepAlive = 5, timeout = 30, signal } = {}) {
	signal?.throwIfAborted();
	const container = globalThis.navigator?.serviceWorker, script = new URL(url, document.baseURI).href;
	if (!container)
		throw new QstoreError("USAGE", `${script}: this page can have no service worker: pages must be https: or localhost`);
	const registration = await container.register(script, { scope, type });
	if (!location.href.startsWith(registration.scope))
		throw new QstoreError("USAGE", `${script}: serves the pages below ${registration.scope}, and this one is not there: ` +
			"put the script into a folder above, or send it with the header service-worker-allowed");
	await unlessAborted(untilServed(container, registration, script, timeout), signal);
	if (keepAlive > 0) {
		const timer = setInterval(() => container.controller?.postMessage(PING), keepAlive * 1000);
		signal?.addEventListener("abort", () => clearInterval(timer), { once: true });
	}
	return registration;
}

/**
 * Waits until the page is served by the script's worker, and not by an earlier one.
 * @param {ServiceWorkerContainer} container
 * @param {ServiceWorkerRegistration} registration
 * @param {string} script
 * @param {number} timeout seconds
 * @returns {Promise<void>}
 */
function untilServed(container, registration, script, timeout) {
	return new Promise((resolve, reject) => {
		const end = () => {
			container.removeEventListener("controllerchange", check);
			clearInterval(asking);
			clearTimeout(timer);
		};
		const check = () => {
			if (container.controller?.scriptURL === script && container.controller.state === "activated") {
				end();
				resolve();
			}
		};
		const asking = setInterval(() => {
			// A page that was reloaded past the worker is not served until it asks.
			registration.active?.postMessage(PING);
			check();
		}, 100);
		const timer = setTimeout(() => {
			end();
			reject(new QstoreError("IO", `${script}: does not serve this page after ${timeout} seconds: is there an error in its module?`));
		}, timeout * 1000);
		container.addEventListener("controllerchange", check);
		check();
	});
}
