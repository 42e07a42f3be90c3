/** An archive as a model repository of @huggingface/transformers 4, in all its precisions. */

import { fileResponse } from "../archive/blob.js";
import { findFile } from "./find.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */

/**
 * What is needed of the `env` of @huggingface/transformers.
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
 * @property {"cache" | "fetch"} [way] "cache" gives the files as a cache's, and keeps none: each load restores them from the archive.
 *   "fetch" gives them as downloads, which transformers.js then keeps, restored, where it keeps others (on disk in Node, and
 *   onnxruntime-node loads them from there). Default: "cache" where the Cache API is, else "fetch".
 * @property {string} [precision] of files that several precisions have under one name; default "high"
 * @property {AbortSignal} [signal] ends reads that are under way, and those that follow
 */

/**
 * Makes `from_pretrained(repo, …)` and `pipeline(…, repo)` read the archive, with no request to the hub: "dtype" chooses among the
 * precisions that the archive has. A file of the repository that it does not have is answered 404; other repositories and files
 * are fetched and cached as before. `env` is a thread's own: attach in the worker that loads the model.
 * @param {TransformersEnv} env
 * @param {Archive} archive
 * @param {string} repo "organization/name", as it is given to transformers.js; any name does
 * @param {AttachOptions} [options]
 * @returns {() => void} detaches
 */
export function attachTransformers(env, archive, repo, { way, precision, signal } = {}) {
	let attached = true;
	// Says at once when there is no such precision.
	archive.variant(precision);
	/**
	 * The file that an URL or a path means: null when the archive does not have it, undefined when it is no file of the repository.
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
		// transformers.js learns a file's size from an answer to "bytes=0-0".
		return fileResponse(file, { range: new Headers(init?.headers).get("range"), signal });
	};
	env.fetch = own;
	return () => {
		// Who has hooked in since goes on; find says that nothing is the archive's.
		if (env.fetch === own)
			env.fetch = next;
	};
}

/**
 * @param {TransformersEnv} env
 * @param {Find} find
 * @param {AbortSignal} [signal]
 */
function attachCache(env, find, signal) {
	const { useCustomCache, customCache } = env;
	// Not opened before it is needed: that can fail where a page is not allowed to keep anything.
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
			// What stands in the archive is kept there.
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
