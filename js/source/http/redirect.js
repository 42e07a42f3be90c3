/** Headers of the caller's, which may be secrets, stay on the origin that they were given for. */

import { QstoreError } from "../../error.js";
import { discard } from "./response.js";

/** Headers that are no secrets: they say what kind of answer is wanted. */
const HARMLESS = new Set(["accept", "accept-encoding", "accept-language", "cache-control", "if-none-match", "if-range", "pragma", "range",
	"user-agent"]);

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** As many as browsers follow. */
const REDIRECTS_MAX = 20;

/**
 * Do the headers hold something that may be a secret? Its name may be anything: authorization, cookie, x-api-key …
 * @param {Record<string, string>} headers
 */
export function hasSecrets(headers) {
	return Object.keys(headers).some((name) => !HARMLESS.has(name.toLowerCase()));
}

/**
 * @param {Record<string, string>} headers
 * @returns {Record<string, string>} those that may go anywhere
 */
function harmless(headers) {
	return Object.fromEntries(Object.entries(headers).filter(([name]) => HARMLESS.has(name.toLowerCase())));
}

/**
 * Makes a function that fetches, follows redirects, and sends secrets to the first origin only.
 * @param {(url: string, init: RequestInit) => Promise<Response>} fetch
 * @returns {(url: string, init: RequestInit & { headers: Record<string, string> }) => Promise<Response>}
 */
export function makeSafeFetch(fetch) {
	// Browsers do not tell where a redirect leads, but they take "authorization" away themselves when it leads to another origin.
	let browserFollows = false;
	return async function safeFetch(url, { headers, ...init }) {
		if (!hasSecrets(headers))
			return fetch(url, { ...init, headers });
		const { origin } = new URL(url);
		let place = url, sent = headers;
		for (let i = 0; i <= REDIRECTS_MAX; i++) {
			const response = await fetch(place, { ...init, headers: sent, redirect: browserFollows ? "follow" : "manual" });
			if (response.type === "opaqueredirect") {
				if (!hasOnlyAuthorization(headers))
					throw new QstoreError("IO", `${url}: the server redirects, and a browser would send your headers on to any origin: ` +
						"open the address that it redirects to");
				browserFollows = true;
				continue;
			}
			const location = REDIRECTS.has(response.status) && response.headers.get("location");
			if (!location)
				return response;
			await discard(response);
			place = new URL(location, place).href;
			if (new URL(place).origin !== origin)
				sent = harmless(headers);
		}
		throw new QstoreError("IO", `${url}: more than ${REDIRECTS_MAX} redirects`);
	};
}

/** @param {Record<string, string>} headers */
function hasOnlyAuthorization(headers) {
	return !hasSecrets(Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== "authorization")));
}
