/** Opening an archive, wherever it is. The platform (../browser/open.js, ../node/open.js) says what depends on it. */

import { checkDigest, formatDigest, parseDigest } from "./digest.js";
import { Archive } from "./archive.js";
import { readIndex } from "./read-index.js";
import { Base, baseFiles, findBaseFiles } from "./base.js";
import { CachedSource } from "../source/cached-source.js";
import { localCodec, sparingCodec } from "../decode/codec.js";
import { Decoder } from "../wasm/decoder.js";
import { QstoreError } from "../error.js";
import { httpSource } from "../source/http/source.js";
import { sealedSource } from "../source/sealed-source.js";
import { toSource, withHead } from "../source/source.js";
import { digestOf, sha256 } from "../util/sha256.js";
import { compileWasm } from "../wasm/module.js";
import { WorkerPool } from "../decode/pool.js";

/** @typedef {import("../decode/codec.js").Codec} Codec */
/** @typedef {import("../source/source.js").Source} Source */

/**
 * The things that an archive can be opened from. A string is a URL, or in Node a path too; an object with `read` is a source of the
 * caller's own.
 * @typedef {string | URL | Request | Blob | ArrayBuffer | ArrayBufferView | Source} SourceInput
 */

/**
 * @typedef {object} WorkerOptions
 * @property {number} [count] how many workers there are at most; 0: the calling thread decodes
 * @property {() => Worker} [create] in browsers, starts a worker with the module "qstore-decode/worker", where a bundler or a policy needs
 *   that done in another way
 */

/**
 * @typedef {object} Limits
 * @property {number} [requests] how many requests are made at a time; default 6
 * @property {number} [retries] how often a read is tried again without any progress; default 5
 * @property {number} [retryDelay] milliseconds before the first retry; they double each time; default 300
 * @property {number} [buffer] bytes that are kept in memory when the server does not support Range requests; default 256 MiB
 */

/**
 * @typedef {object} OpenOptions
 * @property {AbortSignal} [signal] ends opening; later reads take signals of their own
 * @property {(url: string, init: RequestInit) => Promise<Response>} [fetch] is used for URLs; by default the global fetch
 * @property {Record<string, string>} [headers] are sent with each request, for example authorization. By a redirect to another origin
 *   go only those that are no secrets, such as accept
 * @property {boolean | number | WorkerOptions} [workers] where chunks are decoded: in as many workers as the machine has cores (true, the
 *   default), in the given number of workers, or on the calling thread (false)
 * @property {boolean | string | CacheOptions} [cache] keeps the coded bytes of URLs, for the next visit and for finer precisions. In
 *   browsers it is on by default and keeps them in the page's own file system; in Node it is off by default and keeps them in a folder.
 *   With credentials (headers, or a Request that includes cookies) there is a cache only if it is given a key
 * @property {string} [integrity] the archive's digest, "sha256-…", as `archive.digest` and qstore-info have it. Then all bytes are proved
 *   by it before they are handed out, whoever serves or stores the archive; else the error's code is INTEGRITY
 * @property {Limits} [limits]
 * @property {WebAssembly.Module | BufferSource | URL | string} [wasm] the decoder's module, its bytes, or its URL; by default the package's
 *   own
 * @property {Decoder} [decoder] a decoder ("qstore-decode/internals") to use; then the calling thread decodes, unless `workers` is given
 *   too
 * @property {Codec} [codec] decodes instead of workers ("qstore-decode/internals"); the caller closes it
 * @property {BaseInput | BaseInput[]} [base] the base, for an archive that was packed with one: an archive, open or to be opened, or plain
 *   files, or in Node a folder of them. Its files are found by size and SHA-256, for which plain files are read as a whole. A URL is read
 *   without `headers` and `cache`: if it needs them, open it first
 */

/** @typedef {SourceInput | Archive} BaseInput an archive that is open already is closed by the caller */

/**
 * @typedef {object} CacheOptions
 * @property {string} [folder] the folder in Node; by default "qstore" in the user's cache folder
 * @property {string} [key] the archive's name in the cache, for URLs that change, such as signed ones, and for credentials: whoever
 *   gives the same key gets what is kept, so let it name the user too; by default the URL
 * @property {number} [revalidate] seconds for which the server is not asked whether the archive is still the same; default a day
 * @property {import("../source/cached-source.js").CacheStore} [store] a store of the caller's own
 */

/**
 * Everything that browsers and Node do differently.
 * @typedef {object} Platform
 * @property {(input: SourceInput, options: OpenOptions) => Source | Promise<Source>} source
 * @property {(options: WorkerOptions) => import("../decode/pool.js").Spawn | undefined} spawn
 * @property {number} cores how many workers there are by default
 * @property {boolean} cache is it on by default?
 * @property {(folder?: string) => import("../source/cached-source.js").CacheStore | undefined} cacheStore
 * @property {(source: Source, options: import("../source/source.js").ReadOptions) => Promise<string>} sha256 the SHA-256 of a whole source,
 *   in hexadecimal
 * @property {(bytes: Uint8Array, signal?: AbortSignal) => Promise<Uint8Array>} [digestOf] SHA-256 of bytes, with pauses where the
 *   platform's own copies all of them at once
 * @property {(input: SourceInput, sizes: Set<number>) => Promise<SourceInput[]>} [listFiles] a folder's files that have one of these sizes;
 *   any other input as it is
 */

/**
 * Opens an archive; over HTTP this takes one request, two when the index is large.
 * @param {Platform} platform
 * @param {SourceInput} input
 * @param {OpenOptions} options
 * @returns {Promise<Archive>}
 */
export async function openOn(platform, input, options) {
	const { signal, integrity } = options;
	signal?.throwIfAborted();
	if (integrity !== undefined)
		parseDigest(integrity);
	const decoder = options.decoder ?? await Decoder.instantiate(await loadModule(options.wasm));
	/** @type {Source} */
	let source = await platform.source(input, options);
	try {
		const cache = await openCache(platform, source, options);
		source = cache ?? source;
		const codec = options.codec ?? await makeCodec(platform, decoder, options);
		const release = options.codec ? async () => {} : async () => codec.close?.();
		try {
			let digest = "";
			const { index, head } = await readIndexAgain(source, decoder, signal, codec, async (coded) => {
				digest = formatDigest(await (platform.digestOf ?? digestOf)(coded, signal));
				if (integrity !== undefined)
					checkDigest(source, digest, integrity);
			});
			const base = await openBase(platform, index, source.name,
				// The headers may have a secret that is for this server only, and the cache's key belongs to one archive.
				{ ...options, headers: undefined, cache: false, decoder, codec }, integrity !== undefined);
			const whole = withHead(source, head);
			const proved = integrity === undefined ? whole : sealedSource(whole, index);
			return new Archive({ index, source: proved, digest, decoder, codec, cache, base, release });
		} catch (error) {
			await release();
			throw error;
		}
	} catch (error) {
		// The caller closes a source of their own.
		if (source !== input)
			await source.close?.();
		throw error;
	}
}

/**
 * The source for a URL, a Request, bytes, or a source of the caller's.
 * @param {SourceInput} input
 * @param {OpenOptions} options
 * @returns {Source}
 */
export function anySource(input, { fetch, headers, limits: { requests, retries, retryDelay, buffer } = {} }) {
	if (typeof input === "string" || input instanceof URL || (typeof Request !== "undefined" && input instanceof Request))
		return httpSource(input, { fetch, headers, requests, retries, retryDelay, bufferLimit: buffer });
	return toSource(/** @type {Exclude<typeof input, Request>} */ (input));
}

/**
 * Opens the base of an archive.
 * @param {Platform} platform
 * @param {import("../format/archive-index.js").Index} index
 * @param {string | undefined} name the archive's name, for messages
 * @param {OpenOptions} options with a codec, which the base's archives use too
 * @param {boolean} proved is the index trusted, so that the base has to be proved by it?
 * @returns {Promise<Base>}
 */
async function openBase(platform, index, name, { base, integrity, ...options }, proved) {
	const wanted = baseFiles(index);
	if (base === undefined || wanted.length === 0)
		return new Base(index, name);
	const { signal } = options, sizes = new Set(wanted.map(({ record }) => record.size));
	/** @type {import("./base.js").BaseMember[]} */
	const members = [];
	/** @type {{ close?: () => unknown }[]} */
	const opened = [];
	const close = async () => {
		for (const each of opened)
			await each.close?.();
	};
	try {
		for (const input of Array.isArray(base) ? base : [base]) {
			if (input instanceof Archive) {
				members.push({ archive: input });
				continue;
			}
			for (const each of await platform.listFiles?.(input, sizes) ?? [input]) {
				const source = await platform.source(each, options);
				const archive = await openOn(platform, source, options).catch((error) => {
					if (!(error instanceof QstoreError) || error.code !== "NOT_QSTORE")
						throw error;
				});
				// The caller closes a source of their own.
				if (source !== each)
					opened.push(archive ?? source);
				/** @type {Promise<string> | undefined} */
				let sha256;
				members.push(archive ? { archive } : { source, sha256: () => sha256 ??= platform.sha256(source, { signal }) });
			}
		}
		/** @param {Source} source */
		const hash = (source) => platform.sha256(source, { signal });
		return new Base(index, name, await findBaseFiles(index, name, members, proved ? hash : undefined), close, members);
	} catch (error) {
		await close();
		throw error;
	}
}

/**
 * Opens the cache of a source; undefined where there is none.
 * @param {Platform} platform
 * @param {Source} source
 * @param {OpenOptions} options
 * @returns {Promise<CachedSource | undefined>}
 */
async function openCache(platform, source, { cache: cacheOption, signal }) {
	const cache = cacheOption ?? platform.cache;
	if (!source.remote || cache === false)
		return undefined;
	/** @type {CacheOptions} */
	const given = typeof cache === "object" ? cache : typeof cache === "string" ? { folder: cache } : {};
	const { folder, revalidate = 86400, store = platform.cacheStore(folder) } = given;
	if (given.key === undefined && source.hasCredentials) {
		// Others that use the cache may not have the right to these bytes.
		if (cacheOption === undefined)
			return undefined;
		throw new QstoreError("USAGE", `${source.name}: is read with credentials, and others must not find it in the cache: give the ` +
			"cache a key that names the user too, cache: { key }");
	}
	const key = given.key ?? source.name ?? "", id = await sha256(new TextEncoder().encode(key));
	const opened = store && await CachedSource.open(source, store.folder(id), { key, revalidate, signal });
	return opened instanceof CachedSource ? opened : undefined;
}

/**
 * Reads the index, and once more if it came over a network and is damaged.
 * @param {Source} source
 * @param {Decoder} decoder
 * @param {AbortSignal | undefined} signal
 * @param {Codec} codec
 * @param {(coded: Uint8Array) => Promise<void>} check
 */
async function readIndexAgain(source, decoder, signal, codec, check) {
	try {
		return await readIndex(source, decoder, { signal }, codec, check);
	} catch (error) {
		if (!source.remote || !(error instanceof QstoreError) || !["CORRUPT", "INTEGRITY"].includes(error.code))
			throw error;
		return readIndex(source, decoder, { signal, reload: true }, codec, check);
	}
}

/** @type {Promise<WebAssembly.Module> | undefined} the package's own module, which all archives share */
let ownModule;

/**
 * Compiles the decoder's module.
 * @param {OpenOptions["wasm"]} wasm
 * @returns {Promise<WebAssembly.Module>}
 */
function loadModule(wasm) {
	if (wasm instanceof WebAssembly.Module)
		return Promise.resolve(wasm);
	if (wasm !== undefined)
		return compileWasm({ wasm });
	ownModule ??= compileWasm().catch((error) => {
		ownModule = undefined;
		throw error;
	});
	return ownModule;
}

/**
 * Workers, or a codec for the calling thread.
 * @param {Platform} platform
 * @param {Decoder} decoder
 * @param {OpenOptions} options
 * @returns {Promise<Codec>}
 */
async function makeCodec(platform, decoder, options) {
	const { workers = options.decoder === undefined, wasm } = options;
	const given = typeof workers === "object" ? workers : { count: workers === true ? undefined : Number(workers) };
	const count = given.count ?? platform.cores, spawn = count > 0 ? platform.spawn(given) : undefined;
	return spawn ? sparingCodec(new WorkerPool({ spawn, module: await loadModule(wasm), count }), decoder) : localCodec(decoder);
}
