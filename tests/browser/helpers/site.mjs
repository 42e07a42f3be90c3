// The site that browsers load in tests: this checkout, the runtimes' packages, and a folder of the test's own.
import { fileURLToPath } from "node:url";
import { serveFolders } from "../../js/helpers/server.mjs";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** So that pages may have threads and exact clocks. */
export const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/**
 * The checkout at "/" (modules at /js/…), a test's own files at /data/…, an empty page at /blank.html. csp: a policy for all
 * answers. Other options are those of serveFolders.
 */
export function serveSite(data, { csp, headers = {}, folders = {}, pages = {}, ...options } = {}) {
	return serveFolders({ "/": root, ...data ? { "/data/": data } : {}, ...folders }, {
		pages: { "/blank.html": "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>test</title>", ...pages },
		headers: { ...csp ? { "content-security-policy": csp } : {}, ...headers },
		...options,
	});
}
