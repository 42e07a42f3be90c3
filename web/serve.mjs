#!/usr/bin/env node
// Serves the assembled page on localhost, with its policy as a header too. Use: web/serve.mjs [--port N] [FOLDER]
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { serveFolders } from "../tests/js/helpers/server.mjs";

/** Serves an assembled page at a path; what a page's own element may not say of a policy is added. Other options: those of serveFolders. */
export async function servePage(folder, { at = "/", ...options } = {}) {
	const [, policy] = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(readFileSync(join(folder, "index.html"), "utf8"));
	return serveFolders({ [at]: folder }, {
		index: "index.html", etag: (path) => etagOf(join(folder, path.slice(at.length))), ...options,
		headers: {
			"content-security-policy": `${policy}; frame-ancestors 'none'`, "cache-control": "no-cache",
			"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", ...options.headers,
		},
	});
}

function etagOf(path) {
	const { size, mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? {};
	return size === undefined ? undefined : `"${size}-${mtimeMs}"`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const { values, positionals } = parseArgs({ options: { port: { type: "string", default: "8080" } }, allowPositionals: true });
	const site = await servePage(positionals[0] ?? fileURLToPath(new URL("../build/web", import.meta.url)), { port: Number(values.port) });
	console.log(`The page is at ${site.origin.replace("127.0.0.1", "localhost")}/ (Ctrl-C ends it)`);
}
