/** Files of an archive as Blobs with random access and as Responses, for runtimes that take these. They are restored as they are read. */

import { QstoreError } from "../error.js";
import { streamOf } from "../util/readable.js";

/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */

/**
 * A file that can become a Blob or a Response. ArchiveFile is one.
 * @typedef {object} RandomAccessFile
 * @property {string} name
 * @property {number} size
 * @property {boolean} [atOnce] does reading any part of it restore all of it?
 * @property {(start: number, end: number, options: ReadOptions) => AsyncIterable<Uint8Array>} chunks yields bytes [start, end), in order,
 *   in pieces that belong to the consumer
 */

/**
 * @typedef {object} BlobOptions
 * @property {string} [type] a media type
 * @property {AbortSignal} [signal] ends all reads, also those of slices; the methods of a Blob take no signals themselves
 */

/** Bytes of the blocks that are restored and kept. Runtimes read about as much ahead, and their small tensors are about as large. */
const BLOCK_SIZE = 2 ** 20;
/** Blocks that are kept. */
const KEPT_MAX = 16;
/** If a read needs more blocks than this, only the first and the last are kept: the reads before and after it often need these too. */
const KEPT_WHOLE = 4;
/** Slices of at most this many bytes are streamed from kept blocks, longer ones straight from the archive. */
const SHORT_STREAM = 4 * BLOCK_SIZE;

/** Media types by the ends of names. There are none that a browser would run on the page's behalf, such as HTML. */
const TYPES = new Map([
	[".json", "application/json"], [".wasm", "application/wasm"],
	[".txt", "text/plain; charset=utf-8"], [".md", "text/plain; charset=utf-8"], [".jinja", "text/plain; charset=utf-8"],
]);

/**
 * A file as a Blob, whose bytes are restored when they are read. Its own methods and properties work: `size`, `slice`, `arrayBuffer`,
 * `bytes`, `text`, `stream` and `name`. The browser itself sees an empty Blob (in postMessage, URL.createObjectURL, FileReader and
 * `new Response`): so make the Blob on the thread that reads it, and use fileResponse for a Response.
 * @param {RandomAccessFile} file
 * @param {BlobOptions} [options]
 * @returns {FileBlob}
 */
export function fileBlob(file, { type = "", signal } = {}) {
	return new FileBlob(new Blocks(file, signal), 0, file.size, type);
}

/**
 * @typedef {object} ResponseOptions
 * @property {HeadersInit} [headers] further headers
 * @property {string | null} [range] the request's Range header: the response to one range of bytes has status 206, or 416 if the range is
 *   behind the file's end
 * @property {AbortSignal} [signal] ends the body
 */

/**
 * A file as the response to a fetch, with its content-length and a body that is restored while it is read.
 * @param {RandomAccessFile} file
 * @param {ResponseOptions} [options]
 * @returns {Response}
 */
export function fileResponse(file, { headers, range, signal } = {}) {
	const part = range ? partOf(range, file.size) : undefined, all = new Headers(headers);
	if (part === null) {
		all.set("content-range", `bytes */${file.size}`);
		return new Response(null, { status: 416, headers: all });
	}
	const [start, end] = part ?? [0, file.size];
	all.set("content-length", String(end - start));
	if (part)
		all.set("content-range", `bytes ${start}-${end - 1}/${file.size}`);
	if (!all.has("content-type"))
		all.set("content-type", TYPES.get(/\.\w+$/.exec(file.name)?.[0] ?? "") ?? "application/octet-stream");
	return new Response(streamOf((left) => file.chunks(start, end, { signal: left }), signal), { status: part ? 206 : 200, headers: all });
}

/**
 * The bytes [start, end) that a Range header asks for; null if the file does not have them; undefined if it does not ask for exactly one
 * range of bytes.
 * @param {string} range
 * @param {number} size
 * @returns {[number, number] | null | undefined}
 */
function partOf(range, size) {
	const [, first, last] = /^\s*bytes=(\d*)-(\d*)\s*$/.exec(range) ?? [];
	if (!first && !last)
		return undefined;
	const start = first ? Number(first) : Math.max(size - Number(last), 0);
	const end = first && last ? Math.min(Number(last) + 1, size) : size;
	if (first && last && Number(last) < start)
		return undefined;
	return start < end ? [start, end] : null;
}

/** A file of an archive, or a range of it, as a Blob: see fileBlob. */
export class FileBlob extends Blob {
	#blocks;
	#start;
	#end;
	#type;

	/**
	 * Use fileBlob.
	 * @param {Blocks} blocks
	 * @param {number} start
	 * @param {number} end
	 * @param {string} type
	 */
	constructor(blocks, start, end, type) {
		super([]);
		this.#blocks = blocks;
		this.#start = start;
		this.#end = end;
		this.#type = type.toLowerCase();
	}

	/** The file's name, with its folders; a slice has its file's name. */
	get name() {
		return this.#blocks.file.name;
	}

	/** @override */
	get size() {
		return this.#end - this.#start;
	}

	/** @override */
	get type() {
		return this.#type;
	}

	/**
	 * The bytes from start to end as a Blob; negative numbers count from the end. Nothing is read yet.
	 * @override
	 * @param {number} [start]
	 * @param {number} [end]
	 * @param {string} [type]
	 * @returns {FileBlob}
	 */
	slice(start = 0, end = this.size, type = "") {
		const from = within(start, this.size), to = Math.max(within(end, this.size), from);
		return new FileBlob(this.#blocks, this.#start + from, this.#start + to, type);
	}

	/**
	 * @override
	 * @returns {Promise<ArrayBuffer>}
	 */
	async arrayBuffer() {
		return (await this.bytes()).buffer;
	}

	/**
	 * @override
	 * @returns {Promise<Uint8Array<ArrayBuffer>>}
	 */
	async bytes() {
		return this.#blocks.read(this.#start, this.#end);
	}

	/**
	 * @override
	 * @returns {Promise<string>}
	 */
	async text() {
		return new TextDecoder().decode(await this.bytes());
	}

	/**
	 * @override
	 * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
	 */
	stream() {
		return streamOf(() => this.#blocks.pieces(this.#start, this.#end));
	}
}

/** Reads a file by blocks, and keeps those that were used last. */
class Blocks {
	#signal;
	#blockSize;
	/** @type {Map<number, Promise<Uint8Array>>} by number; the most recently used one last */
	#kept = new Map();

	/**
	 * @param {RandomAccessFile} file
	 * @param {AbortSignal} [signal]
	 */
	constructor(file, signal) {
		this.file = file;
		this.#signal = signal;
		this.#blockSize = file.atOnce ? Math.max(file.size, 1) : BLOCK_SIZE;
	}

	/**
	 * @param {number} start
	 * @param {number} end
	 * @returns {Promise<Uint8Array<ArrayBuffer>>}
	 */
	async read(start, end) {
		this.#signal?.throwIfAborted();
		const out = allocate(end - start);
		if (start === end)
			return out;
		const last = Math.floor((end - 1) / this.#blockSize);
		const parts = [];
		for (let block = Math.floor(start / this.#blockSize); block <= last;) {
			const kept = this.#kept.get(block);
			if (kept) {
				this.#keep(block, kept);
				const offset = block * this.#blockSize;
				parts.push(kept.then((bytes) => copy(bytes, offset, out, start)));
				block++;
				continue;
			}
			const first = block;
			while (block <= last && !this.#kept.has(block))
				block++;
			parts.push(this.#load(first, block, out, start));
		}
		await Promise.all(parts);
		return out;
	}

	/**
	 * Streams bytes [start, end).
	 * @param {number} start
	 * @param {number} end
	 */
	async* pieces(start, end) {
		if (end - start > SHORT_STREAM && !this.file.atOnce)
			yield* this.file.chunks(start, end, { signal: this.#signal });
		else if (start < end)
			yield await this.read(start, end);
	}

	/**
	 * Restores blocks [first, end), copies those of their bytes that `out` has room for, and keeps the blocks, or the first and last of
	 * many.
	 * @param {number} first
	 * @param {number} end
	 * @param {Uint8Array} out
	 * @param {number} outStart the offset of `out` in the file
	 */
	#load(first, end, out, outStart) {
		const { size } = this.file, blocks = Array.from({ length: end - first }, (_, i) => first + i);
		const targets = blocks.filter((block) => end - first <= KEPT_WHOLE || block === first || block === end - 1)
			.map((block) => ({
				block, offset: block * this.#blockSize, bytes: allocate(Math.min(this.#blockSize, size - block * this.#blockSize)),
			}));
		const fill = async () => {
			let at = first * this.#blockSize;
			for await (const bytes of this.file.chunks(at, Math.min(end * this.#blockSize, size), { signal: this.#signal })) {
				copy(bytes, at, out, outStart);
				for (const target of targets)
					copy(bytes, at, target.bytes, target.offset);
				at += bytes.length;
			}
		};
		const filled = fill();
		for (const { block, bytes } of targets) {
			const kept = filled.then(() => bytes);
			this.#keep(block, kept);
			// Only the reads that wait for this block fail; the next one tries again.
			kept.catch(() => {
				if (this.#kept.get(block) === kept)
					this.#kept.delete(block);
			});
		}
		return filled;
	}

	/**
	 * @param {number} block
	 * @param {Promise<Uint8Array>} bytes
	 */
	#keep(block, bytes) {
		this.#kept.delete(block);
		this.#kept.set(block, bytes);
		if (this.#kept.size > KEPT_MAX)
			this.#kept.delete(/** @type {number} */ (this.#kept.keys().next().value));
	}
}

/** @param {number} size */
function allocate(size) {
	try {
		return new Uint8Array(size);
	} catch (error) {
		throw new QstoreError("MEMORY", `${size} bytes cannot be allocated at once: read slices, or use stream()`, { cause: error });
	}
}

/**
 * Copies those bytes that lie within the target.
 * @param {Uint8Array} bytes
 * @param {number} at their offset in the file
 * @param {Uint8Array} target
 * @param {number} targetAt the target's offset in the file
 */
function copy(bytes, at, target, targetAt) {
	const from = Math.max(targetAt - at, 0), to = Math.min(targetAt + target.length - at, bytes.length);
	if (from < to)
		target.set(bytes.subarray(from, to), at + from - targetAt);
}

/**
 * A place in a Blob, from an argument of slice().
 * @param {number} at
 * @param {number} size
 */
function within(at, size) {
	const whole = Math.round(at) || 0;
	return whole < 0 ? Math.max(size + whole, 0) : Math.min(whole, size);
}
