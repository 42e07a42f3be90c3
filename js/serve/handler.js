/** Serves the original files of archives under URLs of their own: a function from Request to Response, with nothing but web APIs. */

import { fileResponse } from "../archive/blob.js";
import { findFile } from "../archive/find-file.js";
import { QstoreError } from "../error.js";
import { MESSAGES } from "../status.js";
import { sha256 } from "../util/sha256.js";
import { OpenArchives } from "./open-archives.js";
import { comparePatterns, matchPattern, parsePattern } from "./routes.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */
/** @typedef {import("../archive/contents.js").ArchiveFile} ArchiveFile */
/** @typedef {import("../archive/open.js").OpenOptions} OpenOptions */
/** @typedef {import("../archive/open.js").SourceInput} SourceInput */

/**
 * An archive, the precision that its files have where the URL names none ("high" by default), and the options for opening it, such as
 * `integrity`, `headers` and `base`.
 * @template [Input=SourceInput]
 * @typedef {OpenOptions & { archive: Input | Archive, precision?: string }} Route
 */

/**
 * @template [Input=SourceInput]
 * @typedef {object} HandlerOptions
 * @property {Record<string, Input | Archive | Route<Input>>} routes the archives, by the path under which their files are served. A path
 *   may have a folder "{precision}", which is a variant's name, "low" or "high"; or "{revision}", which is anything, and
 *   chooses a precision if it names one. With an origin before it ("https://huggingface.co/me/llama/resolve/{revision}/"), a path
 *   is of this origin alone. The longest path that fits counts
 * @property {number} [maxOpen] archives that are kept open, beside those that are being read; default 8
 * @property {number} [closeAfter] seconds without a request after which an archive is closed; default 60
 * @property {HeadersInit} [headers] are added to each response, for example access-control-allow-origin
 * @property {(error: unknown, request: Request) => void} [onError] is called with each error, of bodies too. A response says of an error
 *   only what everybody may know
 */

/**
 * Answers requests for the files of its routes. `matches` says whether a URL belongs to one of them, `close` closes the archives.
 * @typedef {((request: Request) => Promise<Response>) & { matches: (url: string | URL) => boolean, close: () => Promise<void> }} Handler
 */

/**
 * A handler with the platform's way of opening archives.
 * @param {(input: any, options: OpenOptions) => Promise<Archive>} openQstore
 * @param {HandlerOptions<any>} options
 * @returns {Handler}
 */
export function handlerOn(openQstore, { routes, maxOpen = 8, closeAfter = 60, headers, onError }) {
	const archives = new OpenArchives(maxOpen, closeAfter * 1000);
	/** @type {{ archive: any, options: Record<string, unknown>, open: () => Promise<Archive> }[]} */
	const openers = [];
	const served = Object.entries(routes).map(([path, given]) => {
		/** @type {Route<any>} */
		const { archive, precision, ...options } = isRoute(given) ? given : { archive: given };
		// Routes of one archive share it.
		let opener = openers.find((each) => each.archive === archive && areEqual(each.options, options));
		if (!opener) {
			opener = { archive, options, open: () => openQstore(archive, options) };
			openers.push(opener);
		}
		return { path, pattern: parsePattern(path), precision, opener };
	}).sort((a, b) => comparePatterns(a.pattern, b.pattern));

	/**
	 * @param {Request} request
	 * @returns {Promise<Response>}
	 */
	async function answer(request) {
		const url = new URL(request.url);
		const found = served.flatMap((route) => {
			const match = matchPattern(route.pattern, url);
			return match ? [{ route, match }] : [];
			// Another route may have files in the folder of all precisions.
		}).sort((a, b) => Number(a.match.above) - Number(b.match.above));
		if (found.length > 0 && request.method !== "GET" && request.method !== "HEAD")
			return failure(405, "only GET and HEAD are answered here", { allow: "GET, HEAD" });
		for (const { route, match } of found) {
			try {
				const { archive, release } = await archives.borrow(route.opener, request.signal);
				try {
					const response = await answerFrom(archive, route, match, request, (file) => lazily(route, file, request));
					if (response)
						return response;
				} finally {
					release();
				}
			} catch (error) {
				if (request.signal.aborted)
					throw error;
				onError?.(error, request);
				return failure(502, `the archive of ${route.path} cannot be read: ${reason(error)}`);
			}
		}
		return failure(404, "there is no such file");
	}

	/**
	 * A file of a response, whose archive is open while its bytes are read: the response may never be.
	 * @param {typeof served[number]} route
	 * @param {ArchiveFile} file
	 * @param {Request} request
	 * @returns {import("../archive/blob.js").RandomAccessFile}
	 */
	const lazily = (route, { name, precision, size, sha256 }, request) => ({
		name, size,
		async* chunks(start, end, { signal }) {
			let release;
			try {
				const loan = await archives.borrow(route.opener, signal);
				({ release } = loan);
				const file = loan.archive.file(name, { precision });
				if (file.sha256 !== sha256)
					throw new QstoreError("MISMATCH", `${name} has changed since its response began`);
				yield* file.chunks(start, end, { signal });
			} catch (error) {
				if (!signal?.aborted)
					onError?.(error, request);
				if (error instanceof Error && error.name === "SourceChangedError")
					archives.drop(route.opener);
				throw error;
			} finally {
				release?.();
			}
		},
	});

	return Object.assign(async (/** @type {Request} */ request) => {
		const response = await answer(request);
		for (const [name, value] of new Headers(headers))
			response.headers.set(name, value);
		return response;
	}, {
		matches: (/** @type {string | URL} */ url) => served.some(({ pattern }) => matchPattern(pattern, new URL(url)) !== undefined),
		close: () => archives.close(),
	});
}

/**
 * The response to a request for a file or folder of an archive; undefined if the archive has no such thing.
 * @param {Archive} archive
 * @param {{ precision?: string }} route
 * @param {import("./routes.js").Match} match
 * @param {Request} request
 * @param {(file: ArchiveFile) => import("../archive/blob.js").RandomAccessFile} lazily
 * @returns {Promise<Response | undefined>}
 */
async function answerFrom(archive, route, match, request, lazily) {
	if (match.above)
		return json({ digest: archive.digest, precisions: archive.variants.map(describeVariant) }, request);
	const { name: standard } = archive.variant(route.precision);
	const names = new Map(archive.variants.map(({ name }) => [name, name]));
	for (const alias of ["low", "high"])
		names.set(alias, names.get(alias) ?? archive.variant(alias).name);
	if (match.revision !== undefined) {
		// Tools of the hub ask for a revision's commit first, then for files of this commit.
		for (const name of archive.variants.map((variant) => variant.name))
			names.set(await commitOf(archive, name), name);
	}
	const precision = match.precision === undefined ? names.get(match.revision ?? "") ?? standard : names.get(match.precision);
	if (precision === undefined)
		return undefined;
	const headers = new Headers(match.revision === undefined ? {} : { "x-repo-commit": await commitOf(archive, precision) });
	const file = findFile(archive, match.name, precision);
	return file ? answerFile(lazily(file), file.sha256, request, headers) :
		answerFolder(archive, precision, match.name, request, headers);
}

/**
 * @param {import("../archive/blob.js").RandomAccessFile} file
 * @param {string} sha256
 * @param {Request} request
 * @param {Headers} headers
 */
function answerFile(file, sha256, request, headers) {
	const tag = `"${sha256}"`;
	headers.set("etag", tag);
	headers.set("accept-ranges", "bytes");
	// The type that is said counts: a page's origin runs no program of an archive.
	headers.set("x-content-type-options", "nosniff");
	if (hasTag(request.headers.get("if-none-match"), tag))
		return new Response(null, { status: 304, headers });
	const condition = request.headers.get("if-range");
	const range = request.method === "GET" && (condition === null || condition.trim() === tag) ? request.headers.get("range") : null;
	return forMethod(fileResponse(file, { headers, range, signal: request.signal }), request);
}

/**
 * The files of a folder; undefined if there is none.
 * @param {Archive} archive
 * @param {string} precision
 * @param {string} folder "" is the archive itself
 * @param {Request} request
 * @param {Headers} headers
 */
function answerFolder(archive, precision, folder, request, headers) {
	const start = folder.replace(/(?<=[^/])$/, "/");
	// A file that the precision does not have is served too, and belongs to the list.
	const files = [...new Set(archive.files.map(({ name }) => name))].filter((name) => name.startsWith(start)).flatMap((name) =>
		findFile(archive, name, precision) ?? []).map((file) =>
		({ name: file.name, size: file.size, sha256: file.sha256, precision: file.precision }));
	return files.length === 0 && start !== "" ? undefined :
		json({ digest: archive.digest, precision, precisions: archive.variants.map(describeVariant), files }, request, headers);
}

/** @param {import("../archive/archive.js").Variant} variant */
const describeVariant = ({ name, dtype, size }) => ({ name, dtype, size });

/**
 * A name for a precision of an archive that looks like a commit of a repository: tools of the hub keep files by it.
 * @param {Archive} archive
 * @param {string} precision
 */
async function commitOf({ digest }, precision) {
	return (await sha256(new TextEncoder().encode(`${digest} ${precision}`))).slice(0, 40);
}

/**
 * Is the tag in a list of tags, such as If-None-Match has?
 * @param {string | null} list
 * @param {string} tag
 */
function hasTag(list, tag) {
	return list !== null && list.split(",").some((each) => each.trim() === "*" || each.trim().replace(/^W\//, "") === tag);
}

/**
 * @param {unknown} value
 * @param {Request} request
 * @param {HeadersInit} [headers]
 */
function json(value, request, headers) {
	const body = new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`), all = new Headers(headers);
	all.set("content-type", "application/json");
	all.set("content-length", String(body.length));
	return forMethod(new Response(body, { headers: all }), request);
}

/**
 * A response without its body, if the request is for the head alone.
 * @param {Response} response
 * @param {Request} request
 */
function forMethod(response, { method }) {
	return method === "HEAD" ? new Response(null, response) : response;
}

/**
 * @param {number} status
 * @param {string} text
 * @param {Record<string, string>} [headers]
 */
function failure(status, text, headers) {
	return new Response(`${text}\n`, { status, headers: { ...headers, "content-type": "text/plain; charset=utf-8" } });
}

/**
 * Says of an error as much as everybody may know: its message may have a path of the server's, or a URL with its signature.
 * @param {unknown} error
 */
function reason(error) {
	const status = error instanceof Error && "status" in error ? `, its server answered ${error.status}` : "";
	return error instanceof QstoreError ? MESSAGES[error.code] + status : "an internal error";
}

/**
 * @param {Record<string, unknown>} a
 * @param {Record<string, unknown>} b
 */
function areEqual(a, b) {
	return [a, b].every((one) => Object.keys(one).every((name) => a[name] === b[name]));
}

/**
 * Is it an archive with options, and no archive itself? A source has a property `read`, an open archive has variants.
 * @param {any} given
 * @returns {given is Route<any>}
 */
function isRoute(given) {
	return typeof given === "object" && given !== null && "archive" in given;
}
