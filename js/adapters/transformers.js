/** An archive as a model repository for @huggingface/transformers 4, with all its precisions. */

import { fileResponse } from "../archive/blob.js";
import { findFile } from "../archive/find-file.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */

/**
 * The properties of transformers.js's `env` that are used here.
 * @typedef {object} TransformersEnv
 * @property {(input: any, init?: any) => Promise<any>} fetch
 * @property {string} remoteHost
 * @property {string} remotePathTemplate
 * @property {string} localModelPath
 * @property {boolean} useBrowserCache
 * @property {boolean} useCustomCache
 * @property {any} customCache
 * @property {string} cacheKey
 */

/**
 * @typedef {object} AttachOptions
 * @property {"cache" | "fetch"} [way] "cache" gives transformers.js the files as if they were in its cache, and keeps nothing: each load
 *   restores them from the archive. "fetch" gives them as downloads, which transformers.js keeps, restored, where it keeps others (in Node
 *   on disk, from where onnxruntime-node loads them). The default is "cache" where there is a Cache API, else "fetch".
 * @property {string} [precision] the precision to take if several have files of the same name; default "high"
 * @property {AbortSignal} [signal] ends all reads
 */

/**
 * Makes `from_pretrained(repo, …)` and `pipeline(…, repo)` read the archive, without any request to the hub; "dtype" chooses among the
 * archive's precisions. Requests for files of the repository that the archive does not have are answered with status 404. Other
 * repositories are fetched and cached as before. Each thread has an `env` of its own: attach in the worker that loads the model.
 * @param {TransformersEnv} env
 * @param {Archive} archive
 * @param {string} repo "organization/name", as it is given to transformers.js; it can be any name
 * @param {AttachOptions} [options]
 * @returns {() => void} detaches
 */
export function attachTransformers(env, archive, repo, { way, precision, signal } = {}) {
	let attached = true;
	// This throws if there is no such precision.
	archive.variant(precision);
	/**
	 * The file for a URL or a path: null if the archive does not have it, undefined if it is no file of the repository.
	 * @param {unknown} address
	 */
	const find = (address) => {
		const name = attached ? fileName(env, repo, String(address)) : undefined;
		return name === undefined ? undefined : findFile(archive, name, precision) ?? null;
	};
	const detachFetch = attachFetch(env, find, signal);
	const detachCache = (way ?? (typeof caches === "undefined" ? "fetch" : "cache")) === "cache" ?
		attachCache(env, find, signal) : undefined;
	return () => {
		attached = false;
		detachCache?.();
		detachFetch();
	};
}

/** @typedef {(address: unknown) => import("../archive/contents.js").ArchiveFile | null | undefined} Find */

/**
 * Answers requests for the archive's files.
 * @param {TransformersEnv} env
 * @param {Find} find
 * @param {AbortSignal} [signal]
 */
function attachFetch(env, find, signal) {
	const next = env.fetch;
	/** @type {TransformersEnv["fetch"]} */
	const own = async (input, init) => {
		const file = find(input instanceof Request ? input.url : input);
		if (file === undefined)
			return next(input, init);
		if (file === null)
			return new Response("the archive has no such file", { status: 404 });
		// transformers.js requests "bytes=0-0" to find out a file's size.
		return fileResponse(file, { range: new Headers(init?.headers).get("range"), signal });
	};
	env.fetch = own;
	return () => {
		// Somebody may have replaced env.fetch since, and still call this one: `find` finds nothing any more.
		if (env.fetch === own)
			env.fetch = next;
	};
}

/**
 * Is a cache that has the archive's files, before the one that transformers.js uses.
 * @param {TransformersEnv} env
 * @param {Find} find
 * @param {AbortSignal} [signal]
 */
function attachCache(env, find, signal) {
	const { useCustomCache, customCache } = env;
	// It is opened only when it is needed, since that fails where a page is not allowed to keep anything.
	const next = () => useCustomCache ? customCache :
		env.useBrowserCache && typeof caches !== "undefined" ? caches.open(env.cacheKey) : undefined;
	const own = {
		/** @param {string} key */
		async match(key) {
			const file = find(key);
			return file ? fileResponse(file, { signal }) : (await next())?.match(key);
		},
		/**
		 * @param {string} key
		 * @param {Response} response
		 * @param {any} [progress]
		 */
		async put(key, response, progress) {
			// The archive keeps its own files.
			if (find(key) === undefined)
				await (await next())?.put(key, response, progress);
		},
		/** @param {string} key */
		async delete(key) {
			return find(key) === undefined ? await (await next())?.delete?.(key) ?? false : false;
		},
	};
	env.useCustomCache = true;
	env.customCache = own;
	return () => {
		if (env.customCache === own)
			Object.assign(env, { useCustomCache, customCache });
	};
}

/**
 * The name of a repository's file, from the URL or local path by which transformers.js asks for it.
 * @param {TransformersEnv} env
 * @param {string} repo
 * @param {string} address
 */
function fileName(env, repo, address) {
	const remote = join(env.remoteHost, env.remotePathTemplate.replaceAll("{model}", repo)).split("{revision}").map(escape);
	const local = escape(join(env.localModelPath, repo));
	const name = new RegExp(`^${remote.join("[^/]+")}/([^?#]+)`).exec(address)?.[1] ??
		new RegExp(`^${local}/([^?#]+)`).exec(address)?.[1];
	try {
		return name && decodeURIComponent(name);
	} catch {
		return name;
	}
}

/**
 * @param {string} start
 * @param {string} end
 */
const join = (start, end) => `${start.replace(/\/+$/, "")}/${end.replace(/^\/+|\/+$/g, "")}`;

/** @param {string} text */
const escape = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
