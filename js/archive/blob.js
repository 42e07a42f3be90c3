/** Files of an archive as what runtimes take: a Blob with random access, and a Response, both restored as they are read. */

import { QstoreError } from "../error.js";
import { streamOf } from "../util/readable.js";

/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */

/**
 * What is needed of a file; an archive's files are such.
 * @typedef {object} RandomAccessFile
 * @property {string} name
 * @property {number} size
 * @property {boolean} [atOnce] all of it is restored whatever part is read
 * @property {(start: number, end: number, options: ReadOptions) => AsyncIterable<Uint8Array>} chunks bytes [start, end), in
 *   order, in pieces that are the consumer's own
 */

/**
 * @typedef {object} BlobOptions
 * @property {string} [type] a media type
 * @property {AbortSignal} [signal] ends all reads, of slices too: a Blob's own methods take none
 */

/** Bytes that are restored and kept together. Read-ahead and small tensors of runtimes come to about as many. */
const BLOCK_SIZE = 2 ** 20;
/** Blocks that stay. */
const KEPT_MAX = 16;
/** Longer runs of blocks pass through: only their ends, which neighbours share, stay. */
const RUN_KEPT = 4;
/** Bytes of a slice that is streamed through the kept blocks; longer ones are streamed from the archive. */
const SHORT_STREAM = 4 * BLOCK_SIZE;

/**
 * A file as a Blob: `size`, `slice`, `arrayBuffer`, `bytes`, `text`, `stream` and `name`, with bytes restored when they are read.
 * Only such reads work. What hands a Blob to the browser itself (postMessage, URL.createObjectURL, FileReader, `new Response`)
 * sees an empty one: make the Blob on the thread that reads it, and use fileResponse.
 * @param {RandomAccessFile} file
 * @param {BlobOptions} [options]
 * @returns {FileBlob}
 */
export function fileBlob(file, { type = "", signal } = {}) {
	return new FileBlob(new Blocks(file, signal), 0, file.size, type);
}

/**
 * @typedef {object} ResponseOptions
 * @property {HeadersInit} [headers] more of them
 * @property {string | null} [range] a request's Range header: one range of bytes is answered 206, or 416 when it is past the end
 * @property {AbortSignal} [signal] ends the body
 */

/**
 * A file as an answer to fetch, with its content-length and a body that is restored when it is read.
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
		all.set("content-type", file.name.endsWith(".json") ? "application/json" : "application/octet-stream");
	return new Response(streamOf(() => file.chunks(start, end, { signal })), { status: part ? 206 : 200, headers: all });
}

/**
 * The bytes [start, end) that a Range header asks for; null when there are none such; undefined when it is not one range of bytes.
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

	/** The file's name, with its folders. */
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
	 * Bytes from start to end as a Blob; negative numbers count from the end. Nothing is read.
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

/** A file's bytes by blocks, with the last used ones kept. */
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
	 * Restores blocks [first, end) into what of `out` they cover, and keeps them, or the outer two of many.
	 * @param {number} first
	 * @param {number} end
	 * @param {Uint8Array} out
	 * @param {number} outStart where `out` begins in the file
	 */
	#load(first, end, out, outStart) {
		const { size } = this.file, blocks = Array.from({ length: end - first }, (_, i) => first + i);
		const targets = blocks.filter((block) => end - first <= RUN_KEPT || block === first || block === end - 1)
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
			// A failure is the reader's that met it: the next one tries again.
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
		throw new QstoreError("MEMORY", `${size} bytes cannot be had in one piece: read slices, or use stream()`, { cause: error });
	}
}

/**
 * Copies what of the bytes lies within the target.
 * @param {Uint8Array} bytes
 * @param {number} at where they begin in the file
 * @param {Uint8Array} target
 * @param {number} targetAt where it begins
 */
function copy(bytes, at, target, targetAt) {
	const from = Math.max(targetAt - at, 0), to = Math.min(targetAt + target.length - at, bytes.length);
	if (from < to)
		target.set(bytes.subarray(from, to), at + from - targetAt);
}

/**
 * A place in a Blob as its slice() takes it.
 * @param {number} at
 * @param {number} size
 */
function within(at, size) {
	const whole = Math.round(at) || 0;
	return whole < 0 ? Math.max(size + whole, 0) : Math.min(whole, size);
}
