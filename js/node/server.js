/** Archives on an HTTP server of Node's: `qstore-decode serve`. */

import { once } from "node:events";
import { readdir, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, join, sep } from "node:path";
import { QstoreError } from "../error.js";
import { WorkerPool } from "../decode/pool.js";
import { compileWasm } from "../wasm/module.js";
import { createHandler } from "./handler.js";
import { ioError } from "./io-error.js";
import { spawnThread } from "./threads.js";

/**
 * @typedef {object} ServerOptions
 * @property {string[]} places archives: files, URLs, and folders, in which all files named *.qstore are meant
 * @property {number} port 0: any that is free
 * @property {string} host
 * @property {number} threads
 * @property {Record<string, string>} requestHeaders are sent to the servers of archives
 * @property {string} [base] the base of all archives that have one
 * @property {string} [allowOrigin] the origin whose pages may read the files; "*" is every one
 * @property {(error: unknown) => void} onError
 */

/**
 * Serves archives: the files of "folder/llama.qstore" are at /llama/{precision}/, at /llama/, and at /llama/resolve/{revision}/ as a hub
 * has them. The list of archives is at /.
 * @param {ServerOptions} options
 */
export async function startServer({ places, port, host, threads, requestHeaders, base, allowOrigin, onError }) {
	const archives = await findArchives(places);
	// All archives share the threads.
	const codec = new WorkerPool({ spawn: spawnThread, module: await compileWasm(), count: threads });
	const handler = createHandler({
		routes: Object.fromEntries([...archives].flatMap(([name, archive]) => {
			const route = { archive, base, codec, headers: requestHeaders, cache: false };
			// A name may have characters that have another meaning in a URL.
			const path = pathOf(name);
			return ["", "{precision}/", "resolve/{revision}/"].map((end) => [path + end, route]);
		})),
		headers: allowOrigin === undefined ? {} : {
			"access-control-allow-origin": allowOrigin,
			"access-control-expose-headers": "accept-ranges, content-range, etag, x-repo-commit",
		},
		onError,
	});
	const list = `${JSON.stringify({ archives: [...archives.keys()].map((name) => ({ name, path: pathOf(name) })) }, null, 2)}\n`;
	const server = createServer(listener(async (request) => {
		const { pathname } = new URL(request.url);
		return pathname === "/" && (request.method === "GET" || request.method === "HEAD") ?
			new Response(request.method === "HEAD" ? null : list, {
				headers: { "content-type": "application/json", "content-length": String(Buffer.byteLength(list)) },
			}) : handler(request);
	}));
	const close = async () => {
		server.closeAllConnections();
		await handler.close();
		await codec.close();
		if (server.listening)
			await new Promise((resolve) => server.close(resolve));
	};
	try {
		server.listen(port, host);
		await once(server, "listening");
	} catch (error) {
		await close();
		throw ioError(`${host}:${port}`, "cannot listen", error);
	}
	const { address, family, port: taken } = /** @type {import("node:net").AddressInfo} */ (server.address());
	return { url: `http://${family === "IPv6" ? `[${address}]` : address}:${taken}/`, count: archives.size, close };
}

/** @param {string} name */
const pathOf = (name) => `/${name.split("/").map(encodeURIComponent).join("/")}/`;

/**
 * The archives by their names, which are paths without ".qstore".
 * @param {string[]} places
 * @returns {Promise<Map<string, string>>}
 */
async function findArchives(places) {
	/** @type {Map<string, string>} */
	const found = new Map();
	/** @param {string} name @param {string} place */
	const add = (name, place) => {
		const short = name.replace(/\.qstore$/, "");
		if (found.has(short))
			throw new QstoreError("USAGE", `${found.get(short)} and ${place} would both be served as /${short}/: rename one of them`);
		found.set(short, place);
	};
	for (const place of places) {
		if (/^https?:\/\//i.test(place)) {
			add(decodeURIComponent(basename(new URL(place).pathname)), place);
			continue;
		}
		const info = await stat(place).catch((error) => {
			throw ioError(place, "cannot open", error);
		});
		if (!info.isDirectory()) {
			add(basename(place), place);
			continue;
		}
		for (const name of (await readdir(place, { recursive: true })).sort()) {
			if (name.endsWith(".qstore"))
				add(name.split(sep).join("/"), join(place, name));
		}
	}
	if (found.size === 0)
		throw new QstoreError("NOT_FOUND", `${places.join(", ")}: no files named *.qstore are there`);
	return found;
}

/**
 * A function from Request to Response as Node's servers take one. Bodies are read no faster than the client reads; when it leaves, the
 * request's signal aborts.
 * @param {(request: Request) => Promise<Response>} handle
 * @returns {import("node:http").RequestListener}
 */
export function listener(handle) {
	return async (request, response) => {
		const left = new AbortController();
		response.once("close", () => left.abort());
		/** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
		let reader;
		try {
			const headers = Object.entries(request.headers).flatMap(([name, value]) =>
				typeof value === "string" ? [/** @type {[string, string]} */ ([name, value])] : []);
			// A body would be of no use, and not all methods may have one.
			const asked = new Request(`http://localhost${request.url}`, { method: request.method, headers, signal: left.signal });
			const { status, headers: answered, body } = await handle(asked);
			response.writeHead(status, Object.fromEntries(answered));
			reader = body?.getReader();
			for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
				if (!response.write(next.value))
					await once(response, "drain", { signal: left.signal });
			}
			response.end();
		} catch (error) {
			await reader?.cancel(error).catch(() => {});
			// The handler has told what it was. A cut connection tells the client that not all has come.
			if (response.headersSent)
				response.destroy();
			else
				response.writeHead(400, { "content-type": "text/plain" }).end("this request cannot be answered\n");
		}
	};
}
