// Real HTTP servers, that can misbehave, and count what they are asked for: for one file (serve) or for folders (serveFolders).
import { open } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";

const TYPES = {
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".json": "application/json", ".mjs": "text/javascript; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml",
	".wasm": "application/wasm",
};

/**
 * behave(request, response, range): called for each request before the normal answer; when it returns true it has answered.
 * range: [start, end], end included, or undefined.
 */
export async function serve(data, { ranges = true, etag = '"1"', behave } = {}) {
	const state = { data, ranges, etag, behave };
	const server = await listen((request, response, entry, number) => {
		if (state.etag)
			response.setHeader("etag", state.etag);
		if (!state.behave?.(request, response, clip(entry.range, state.data.length), number))
			return answer(response, entry, inMemory(state.data), state.ranges);
	}, state);
	return Object.assign(server, {
		url: `${server.origin}/dir/model%20a.qstore?x=1`,
		/** The ranges that were asked for, [start, end) each. */
		ranged: () => server.log.flatMap(({ range }) => range ? [[range[0], range[1] + 1]] : []),
	});
}

/**
 * Serves folders for browsers. folders: a path's beginning ("/" or "/data/") and the folder for it; the longest one counts.
 * pages: whole paths and their text. index: the file of a folder's own path. headers: of every answer. ranges, behave and etag as above;
 * etag may
 * be a function of the path. port: any free one by default.
 */
export async function serveFolders(folders, { pages = {}, index = "", headers = {}, ranges = true, etag, behave, port = 0 } = {}) {
	const state = { folders, pages, headers, ranges, etag, behave };
	const server = await listen(async (request, response, entry, number) => {
		const asked = decodeURIComponent(new URL(request.url, "http://host").pathname);
		const path = asked.endsWith("/") ? asked + index : asked;
		entry.path = path;
		for (const [name, value] of Object.entries(state.headers))
			response.setHeader(name, value);
		const tag = typeof state.etag === "function" ? state.etag(path) : state.etag;
		if (tag)
			response.setHeader("etag", tag);
		if (state.behave?.(request, response, entry.range, number))
			return;
		const mount = Object.keys(state.folders).filter((start) => path.startsWith(start)).sort((a, b) => b.length - a.length)[0];
		const rest = normalize(path.slice(mount?.length ?? 0));
		let body = path in state.pages ? inMemory(Buffer.from(state.pages[path])) : undefined;
		if (!body && mount !== undefined && rest !== ".." && !rest.startsWith(`..${sep}`))
			body = await inFile(join(state.folders[mount], rest)).catch(() => undefined);
		if (!body) {
			response.writeHead(404, { "content-type": "text/plain" }).end("not found");
			return;
		}
		try {
			response.setHeader("content-type", TYPES[extname(path)] ?? "application/octet-stream");
			if (tag && request.headers["if-none-match"] === tag)
				response.writeHead(304).end();
			else
				await answer(response, entry, body, state.ranges, request.method === "HEAD");
		} finally {
			await body.close?.();
		}
	}, state, port);
	return Object.assign(server, {
		/** Bytes of bodies that were sent for paths that match. */
		sent: (pattern) => server.log.reduce((sum, { path, sent }) => pattern.test(path) ? sum + sent : sum, 0),
		/** Forgets the requests until now. */
		forget: () => server.log.splice(0),
	});
}

async function listen(handle, state, port = 0) {
	const log = [];
	const server = createServer((request, response) => {
		const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
		const range = match ? [Number(match[1]), Number(match[2])] : undefined;
		const entry = { method: request.method, range, headers: request.headers, sent: 0 };
		log.push(entry);
		return handle(request, response, entry, log.length);
	});
	await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
	return Object.assign(state, {
		log,
		origin: `http://127.0.0.1:${server.address().port}`,
		async close() {
			server.closeAllConnections();
			await new Promise((resolve) => server.close(resolve));
		},
	});
}

const clip = (range, total) => range && [range[0], Math.min(range[1], total - 1)];

/** A body to serve: its size, and a function that reads any range of it. */
const inMemory = (data) => ({ size: data.length, read: (start, end) => data.subarray(start, end) });

/** Only what is asked for is read: archives are large, and have many ranges. */
async function inFile(path) {
	const handle = await open(path), stat = await handle.stat(), { size } = stat;
	if (!stat.isFile()) {
		await handle.close();
		return undefined;
	}
	return {
		size,
		async read(start, end) {
			const bytes = Buffer.allocUnsafe(end - start);
			const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
			return bytes.subarray(0, bytesRead);
		},
		close: () => handle.close(),
	};
}

async function answer(response, entry, { size, read }, ranges, headOnly = false) {
	const range = entry.range = clip(entry.range, size);
	if (range && ranges && range[0] >= size) {
		response.writeHead(416, { "content-range": `bytes */${size}` }).end();
		return;
	}
	const [start, end] = range && ranges ? [range[0], range[1] + 1] : [0, size];
	entry.sent = headOnly ? 0 : end - start;
	if (range && ranges)
		response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/${size}`, "content-length": end - start });
	else
		response.writeHead(200, { "content-length": end - start });
	response.end(headOnly ? undefined : await read(start, end));
}
