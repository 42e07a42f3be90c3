/** Opening an archive, wherever it is. What depends on the platform (browser, Node) is given. */

import { Archive } from "./archive.js";
import { readIndex } from "./read-index.js";
import { Base, baseFiles, findBaseFiles } from "./base.js";
import { CachedSource } from "../source/cached-source.js";
import { localCodec } from "../decode/codec.js";
import { Decoder } from "../wasm/decoder.js";
import { QstoreError } from "../error.js";
import { httpSource } from "../source/http/source.js";
import { toSource, withHead } from "../source/source.js";
import { compileWasm } from "../wasm/module.js";
import { WorkerPool } from "../decode/pool.js";

/** @typedef {import("../decode/codec.js").Codec} Codec */
/** @typedef {import("../source/source.js").Source} Source */

/**
 * What an archive can be opened from. A string is an URL, in Node also a path; an object with `read` is a source of a caller's own.
 * @typedef {string | URL | Request | Blob | ArrayBuffer | ArrayBufferView | Source} SourceInput
 */

/**
 * @typedef {object} WorkerOptions
 * @property {number} [count] how many, at most; 0: the calling thread decodes
 * @property {() => Worker} [create] starts the module "qstore-decode/worker", where a bundler or a policy needs that done in another way (browsers)
 */

/**
 * @typedef {object} Limits
 * @property {number} [requests] under way at a time; default 6
 * @property {number} [retries] of one read without progress; default 5
 * @property {number} [retryDelay] milliseconds before the first retry; it doubles each time; default 300
 * @property {number} [buffer] bytes that are kept in memory when a server does not do ranges; default 256 MiB
 */

/**
 * @typedef {object} OpenOptions
 * @property {AbortSignal} [signal] ends opening; reading takes signals of its own
 * @property {(url: string, init: RequestInit) => Promise<Response>} [fetch] for URLs; the global one by default
 * @property {Record<string, string>} [headers] for each request: authorization, say
 * @property {boolean | number | WorkerOptions} [workers] where chunks are decoded: in as many workers as there are cores (true, the default),
 *   in so many, or on the calling thread (false)
 * @property {boolean | string | CacheOptions} [cache] keeps the coded bytes of URLs, for the next time and for finer precisions: in the browser's own
 *   file system (there the default), in Node in a folder (there off by default)
 * @property {Limits} [limits]
 * @property {WebAssembly.Module | BufferSource | URL | string} [wasm] the decoder's module, its bytes or where they are; the package has it inside
 * @property {Decoder} [decoder] made by default; then the calling thread decodes with it, unless `workers` are asked for
 * @property {Codec} [codec] decodes instead of workers; the caller closes it
 * @property {BaseInput | BaseInput[]} [base] of an archive that was packed with one: the model that it is a difference to, as an archive (open or to be
 *   opened) or as plain files, in Node also a folder of them. Its files are found by size and SHA-256; plain ones are read as a whole for that. An URL is
 *   read without `headers` and `cache`: open it before where it needs them
 */

/** @typedef {SourceInput | Archive} BaseInput an open archive stays the caller's */

/**
 * @typedef {object} CacheOptions
 * @property {string} [folder] in Node; default: qstore in the user's cache folder
 * @property {string} [key] the archive's name in the cache, where URLs change (signed ones, say); the URL by default
 * @property {number} [revalidate] seconds for which a cached archive is used without asking the server whether it is still the same; default a day
 * @property {import("../source/cached-source.js").CacheStore} [store] of a caller's own
 */

/**
 * @typedef {object} Platform
 * @property {(input: SourceInput, options: OpenOptions) => Source | Promise<Source>} source
 * @property {(options: WorkerOptions) => import("../decode/pool.js").Spawn | undefined} spawn
 * @property {number} cores
 * @property {boolean} cache is it on by default?
 * @property {(folder?: string) => import("../source/cached-source.js").CacheStore | undefined} cacheStore
 * @property {(source: Source, options: import("../source/source.js").ReadOptions) => Promise<string>} sha256 of all of it, in hexadecimal
 * @property {(input: SourceInput, sizes: Set<number>) => Promise<SourceInput[]>} [listFiles] a folder's files of these sizes; anything else as it is
 */

/**
 * Opens an archive, with two requests at most.
 * @param {Platform} platform
 * @param {SourceInput} input
 * @param {OpenOptions} options
 * @returns {Promise<Archive>}
 */
export async function openOn(platform, input, options) {
	const { signal } = options;
	signal?.throwIfAborted();
	const decoder = options.decoder ?? await Decoder.instantiate(await loadModule(options.wasm));
	/** @type {Source} */
	let source = await platform.source(input, options);
	try {
		const cache = await openCache(platform, source, decoder, options);
		source = cache ?? source;
		const { index, head } = await readIndexAgain(source, decoder, signal);
		const codec = options.codec ?? await makeCodec(platform, decoder, options);
		const release = options.codec ? async () => {} : async () => codec.close?.();
		try {
			const base = await openBase(platform, index, source.name,
				// Headers may hold a secret, and a cache's key is of one archive.
				{ ...options, headers: undefined, cache: false, decoder, codec });
			return new Archive({ index, source: withHead(source, head), decoder, codec, cache, base, release });
		} catch (error) {
			await release();
			throw error;
		}
	} catch (error) {
		// A caller's own source stays open.
		if (source !== input)
			await source.close?.();
		throw error;
	}
}

/**
 * The source for an URL, a Request, or what a caller has in memory.
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
 * @param {Platform} platform
 * @param {import("../format/archive-index.js").Index} index
 * @param {string | undefined} name the archive's, for messages
 * @param {OpenOptions} options with a codec, which archives of the base use too
 * @returns {Promise<Base>}
 */
async function openBase(platform, index, name, { base, ...options }) {
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
				// A caller's own source stays open.
				if (source !== each)
					opened.push(archive ?? source);
				/** @type {Promise<string> | undefined} */
				let sha256;
				members.push(archive ? { archive } : { source, sha256: () => sha256 ??= platform.sha256(source, { signal }) });
			}
		}
		return new Base(index, name, await findBaseFiles(index, name, members), close);
	} catch (error) {
		await close();
		throw error;
	}
}

/**
 * @param {Platform} platform
 * @param {Source} source
 * @param {Decoder} decoder
 * @param {OpenOptions} options
 * @returns {Promise<CachedSource | undefined>}
 */
async function openCache(platform, source, decoder, { cache = platform.cache, signal }) {
	if (!source.remote || cache === false)
		return undefined;
	/** @type {CacheOptions} */
	const given = typeof cache === "object" ? cache : typeof cache === "string" ? { folder: cache } : {};
	const { folder, key = source.name ?? "", revalidate = 86400, store = platform.cacheStore(folder) } = given;
	const id = decoder.xxh3(new TextEncoder().encode(key)).toString(16).padStart(16, "0");
	const opened = store && await CachedSource.open(source, store.folder(id), { key, revalidate, signal });
	return opened instanceof CachedSource ? opened : undefined;
}

/**
 * Reads the index; once more when it came damaged over a network.
 * @param {Source} source
 * @param {Decoder} decoder
 * @param {AbortSignal | undefined} signal
 */
async function readIndexAgain(source, decoder, signal) {
	try {
		return await readIndex(source, decoder, { signal });
	} catch (error) {
		if (!source.remote || !(error instanceof QstoreError) || error.code !== "CORRUPT")
			throw error;
		return readIndex(source, decoder, { signal, reload: true });
	}
}

/** @type {Promise<WebAssembly.Module> | undefined} */
let ownModule;

/**
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
 * @param {Platform} platform
 * @param {Decoder} decoder
 * @param {OpenOptions} options
 * @returns {Promise<Codec>}
 */
async function makeCodec(platform, decoder, options) {
	const { workers = options.decoder === undefined, wasm } = options;
	const given = typeof workers === "object" ? workers : { count: workers === true ? undefined : Number(workers) };
	const count = given.count ?? platform.cores, spawn = count > 0 ? platform.spawn(given) : undefined;
	return spawn ? new WorkerPool({ spawn, module: await loadModule(wasm), count }) : localCodec(decoder);
}
