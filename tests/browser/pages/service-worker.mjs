// In the page of service-worker.test.mjs: fetches, and knows nothing of archives.
import { startServiceWorker } from "/js/browser/service-worker-page.js";

const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const hash = async (response) => hex(await crypto.subtle.digest("SHA-256", await response.arrayBuffer()));

/** Starts the worker; gives the script that serves the page. */
export async function start(script, options) {
	await startServiceWorker(script, options);
	return new URL(navigator.serviceWorker.controller.scriptURL).pathname;
}

/** Why the worker does not start: the error's code and message. */
export async function startError(script, options) {
	return startServiceWorker(script, options).then(() => undefined, ({ name, code, message }) => ({ name, code, message }));
}

/** The SHA-256 of files, fetched at once. */
export async function hashesOf(places) {
	return Object.fromEntries(await Promise.all(places.map(async (place) => {
		const response = await fetch(place);
		return [place, response.ok ? await hash(response) : response.status];
	})));
}

/** A response without its body, and the SHA-256 of that. */
export async function ask(place, headers, method) {
	const response = await fetch(place, { headers, method });
	return { status: response.status, headers: Object.fromEntries(response.headers), hash: await hash(response) };
}
