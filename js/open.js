/** Opening an archive, wherever it is. What depends on the platform (browser, Node) is given. */

import { Archive } from "./archive.js";
import { readIndex } from "./archive-index.js";
import { localCodec } from "./codec.js";
import { Decoder } from "./decoder.js";
import { httpSource } from "./http.js";
import { toSource, withHead } from "./source.js";
import { compileWasm } from "./wasm.js";
import { WorkerPool } from "./workers/pool.js";

/** @typedef {import("./codec.js").Codec} Codec */
/** @typedef {import("./source.js").Source} Source */

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
 * @property {Limits} [limits]
 * @property {WebAssembly.Module | BufferSource | URL | string} [wasm] the decoder's module, its bytes or where they are; the package has it inside
 * @property {Decoder} [decoder] made by default; then the calling thread decodes with it, unless `workers` are asked for
 * @property {Codec} [codec] decodes instead of workers; the caller closes it
 */

/**
 * @typedef {object} Platform
 * @property {(input: SourceInput, options: OpenOptions) => Source | Promise<Source>} source
 * @property {(options: WorkerOptions) => import("./workers/pool.js").Spawn | undefined} spawn
 * @property {number} cores
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
	const source = await platform.source(input, options);
	try {
		const { index, head } = await readIndex(source, decoder, { signal });
		const codec = options.codec ?? await makeCodec(platform, decoder, options);
		return new Archive(index, withHead(source, head), decoder, codec, options.codec ? undefined : () => codec.close?.());
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
