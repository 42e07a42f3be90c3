/**
 * Keeps what is read of an archive on a server: coded bytes, range by range, in a folder of a store (opfs.js, ../node/cache-folder.js). Each range is
 * a file of its own that is written once, whole; several tabs or processes can use a folder at the same time.
 */

import { INDEX_HEADER_SIZE, INDEX_OFFSET } from "../format/archive-index.js";
import { hex } from "../util/hex.js";
import { HttpError, SourceChangedError } from "./http/source.js";
import { readExactly } from "./source.js";

/** @typedef {import("./source.js").ReadOptions} ReadOptions */
/** @typedef {import("./source.js").Source} Source */

/**
 * Files of one archive.
 * @typedef {object} CacheFolder
 * @property {() => Promise<string[]>} list names; none while there is no folder
 * @property {(name: string, offset: number, length: number) => Promise<Uint8Array | undefined>} read fewer bytes when the file is shorter
 * @property {(name: string, bytes: Uint8Array) => Promise<void>} write the whole file, or nothing
 * @property {(name: string) => Promise<void>} remove
 * @property {() => Promise<void>} clear removes all, and the folder
 */

/**
 * Where caches are: a folder for each archive.
 * @typedef {object} CacheStore
 * @property {(id: string) => CacheFolder} folder
 * @property {() => Promise<void>} clear removes all archives
 */

/**
 * A source that also knows the state of what it reads, and that its reader keeps it (HttpSource).
 * @typedef {Source & { etag?: string, sequential?: boolean, kept?: boolean, expect?: (known: { byteLength: number | undefined, etag: string | undefined }) => void }} RemoteSource
 */

/**
 * What is known of the file whose ranges are in the folder.
 * @typedef {object} State
 * @property {string} key which archive this is, for people who look into the folder
 * @property {string} version of the archive: its index header's checksum
 * @property {number} [byteLength]
 * @property {string} [etag]
 * @property {number} checked when the server said so, in milliseconds since 1970
 */

/**
 * @typedef {object} KeptRange
 * @property {number} start
 * @property {number} end
 * @property {Promise<Uint8Array>} [loading] until it is in the folder
 */

const STATE_NAME = "source.json";
/** Bytes of the first read: as many as readIndex asks for. */
const FIRST_READ = 65536;
/** What tells versions apart: the index's header has checksums of the index, which has those of all chunks. */
const HEADER_END = INDEX_OFFSET + INDEX_HEADER_SIZE;
/** Bytes that are read at a time to get to a place, where a server does not do ranges. */
const STEP = 2 ** 22;

/** @implements {Source} */
export class CachedSource {
	#source;
	#folder;
	/** @type {State} */
	#state;
	/** @type {KeptRange[]} by their starts */
	#ranges = [];
	/** @type {Error | undefined} */
	#error;
	/** @type {Promise<unknown>} */
	#reaching = Promise.resolve();
	/** @type {Set<Promise<void>>} ranges on their way into the folder */
	#writes = new Set();
	/** @type {Promise<void> | undefined} while the folder is removed */
	#clearing;

	/**
	 * The source with its cache; the source itself where there can be none.
	 * @param {RemoteSource} source
	 * @param {CacheFolder} folder
	 * @param {{ key: string, revalidate: number, signal?: AbortSignal }} options revalidate: seconds for which the server is not asked whether
	 *   the file is still the same
	 * @returns {Promise<Source>}
	 */
	static async open(source, folder, { key, revalidate, signal }) {
		let names;
		try {
			names = await folder.list();
		} catch {
			return source;
		}
		const state = names.includes(STATE_NAME) ? await readState(folder) : undefined;
		if (state) {
			const cached = new CachedSource(source, folder, state);
			cached.#ranges = parseNames(names, state.version);
			source.expect?.({ byteLength: state.byteLength, etag: state.etag });
			const age = Date.now() - state.checked;
			if ((age >= 0 && age < revalidate * 1000) || await cached.#check(signal))
				return cached;
			source.expect?.({ byteLength: undefined, etag: undefined });
		}
		// Also ranges of other versions, whose state was lost.
		if (names.length > 0)
			await folder.clear().catch(() => {});
		source.kept = true;
		const head = await source.read(0, FIRST_READ, { signal });
		// The magic's first byte: what is no archive is not kept.
		if (head[INDEX_OFFSET] !== 0x89 || head.length < HEADER_END) {
			source.kept = false;
			return source;
		}
		const made = { key, version: versionOf(head), byteLength: source.byteLength, etag: source.etag, checked: Date.now() };
		const cached = new CachedSource(source, folder, made);
		await cached.#keep(0, head.length, Promise.resolve(head));
		await cached.#writeState();
		return cached;
	}

	/**
	 * Use CachedSource.open.
	 * @param {RemoteSource} source
	 * @param {CacheFolder} folder
	 * @param {State} state
	 */
	constructor(source, folder, state) {
		this.#source = source;
		this.#folder = folder;
		this.#state = state;
		source.kept = true;
	}

	get byteLength() {
		return this.#source.byteLength;
	}

	get name() {
		return this.#source.name;
	}

	get remote() {
		return true;
	}

	get keeps() {
		return this.#error === undefined;
	}

	/** Why nothing more is kept: the quota is used up, the disk is full … */
	get error() {
		return this.#error;
	}

	/** Bytes of the archive that are kept. */
	get size() {
		let size = 0, at = 0;
		for (const { start, end } of this.#ranges) {
			size += Math.max(0, end - Math.max(start, at));
			at = Math.max(at, end);
		}
		return size;
	}

	/**
	 * @param {number} offset
	 * @param {number} length
	 * @param {ReadOptions} [options]
	 * @returns {Promise<Uint8Array>}
	 */
	async read(offset, length, options = {}) {
		options.signal?.throwIfAborted();
		const end = Math.max(offset, Math.min(offset + length, this.byteLength ?? Infinity));
		if (options.reload)
			await this.#drop(offset, end);
		try {
			const parts = await Promise.all(this.#parts(offset, end).map((part) => this.#part(part, options)));
			if (parts.length === 1)
				return parts[0];
			const out = new Uint8Array(end - offset);
			let at = 0;
			for (const part of parts) {
				out.set(part, at);
				at += part.length;
			}
			return out.subarray(0, at);
		} catch (error) {
			if (error instanceof SourceChangedError)
				await this.clear();
			throw error;
		}
	}

	/**
	 * Bytes of a range that are not kept.
	 * @param {number} offset
	 * @param {number} length
	 */
	missing(offset, length) {
		return this.#parts(offset, offset + length).reduce((sum, { start, end, range }) => sum + (range ? 0 : end - start), 0);
	}

	/** Removes all that is kept of this archive. What is read from now on is kept again. */
	async clear() {
		this.#ranges = this.#ranges.filter(({ loading }) => loading);
		// Chromium removes no folder in which something is being written.
		const clearing = this.#clearing = Promise.all(this.#writes).then(() => this.#folder.clear());
		try {
			await clearing;
		} finally {
			if (this.#clearing === clearing)
				this.#clearing = undefined;
		}
		this.#setError(undefined);
	}

	/**
	 * @param {string} name
	 * @param {Uint8Array} bytes
	 */
	async #write(name, bytes) {
		while (this.#clearing)
			await this.#clearing.catch(() => {});
		const write = this.#folder.write(name, bytes).catch((error) => this.#setError(error));
		this.#writes.add(write);
		await write;
		this.#writes.delete(write);
	}

	async close() {
		await this.#source.close?.();
	}

	/** @param {Error | undefined} error why nothing more is kept */
	#setError(error) {
		this.#error = error;
		this.#source.kept = error === undefined;
	}

	/**
	 * Is the file on the server the one whose ranges are here? Also when the server cannot be asked.
	 * @param {AbortSignal | undefined} signal
	 */
	async #check(signal) {
		const header = await this.#stored(0, HEADER_END).catch(() => undefined);
		if (header?.length !== HEADER_END)
			return false;
		try {
			const now = await readExactly(this.#source, 0, HEADER_END, { signal, retries: 0 });
			if (now.some((byte, i) => byte !== header[i]))
				return false;
		} catch (error) {
			signal?.throwIfAborted();
			if (error instanceof SourceChangedError)
				return false;
			// A server that answers "gone" or "forbidden" means it; one that is not there, or is broken, does not.
			if (error instanceof HttpError && error.status < 500)
				throw error;
			return true;
		}
		this.#state.checked = Date.now();
		await this.#writeState();
		return true;
	}

	/**
	 * A range cut into what is kept and what is not.
	 * @param {number} start
	 * @param {number} end
	 */
	#parts(start, end) {
		/** @type {{ start: number, end: number, range?: KeptRange }[]} */
		const parts = [];
		for (let at = start; at < end;) {
			// The one that reaches furthest from here; else the next one that begins later.
			let best, next = end;
			for (const range of this.#ranges) {
				if (range.start > at) {
					next = Math.min(next, range.start);
					break;
				}
				if (range.end > at && range.end > (best?.end ?? 0))
					best = range;
			}
			const to = Math.min(best?.end ?? next, end);
			parts.push({ start: at, end: to, range: best });
			at = to;
		}
		return parts;
	}

	/**
	 * @param {{ start: number, end: number, range?: KeptRange }} part
	 * @param {ReadOptions} options
	 * @returns {Promise<Uint8Array>}
	 */
	async #part({ start, end, range }, options) {
		if (range) {
			// Another read's: when that one fails or is aborted, this one reads for itself.
			const loaded = range.loading && await range.loading.catch(() => undefined);
			options.signal?.throwIfAborted();
			const bytes = loaded ? loaded.subarray(start - range.start, end - range.start) :
				await this.#stored(start, end, range).catch(() => undefined);
			if (bytes?.length === end - start)
				return bytes;
			this.#forget(range);
		}
		if (this.#source.sequential)
			await this.#reach(start, options);
		return this.#keep(start, end, this.#source.read(start, end - start, options));
	}

	/**
	 * Reads what comes before a place, where the server sends the file from its start only: so one pass is enough. One after the other.
	 * @param {number} place
	 * @param {ReadOptions} options
	 */
	#reach(place, options) {
		const reached = this.#reaching.then(async () => {
			for (;;) {
				const gap = this.#parts(0, place).find(({ range }) => !range);
				if (!gap || this.#error)
					return;
				const { start, end } = gap, length = Math.min(end - start, STEP);
				await this.#keep(start, start + length, this.#source.read(start, length, { ...options, reload: false }));
			}
		});
		this.#reaching = reached.catch(() => {});
		return reached;
	}

	/**
	 * Puts what is being read into the folder.
	 * @param {number} start
	 * @param {number} end
	 * @param {Promise<Uint8Array>} loading
	 */
	async #keep(start, end, loading) {
		/** @type {KeptRange} */
		const range = { start, end, loading };
		const at = this.#ranges.findIndex((other) => other.start > start);
		this.#ranges.splice(at < 0 ? this.#ranges.length : at, 0, range);
		try {
			const bytes = await loading;
			// (Shorter at the file's end, as long as its size is not known.)
			range.end = start + bytes.length;
			if (this.#error === undefined && bytes.length > 0)
				await this.#write(nameOf(this.#state.version, range), bytes);
			if (this.#error !== undefined || bytes.length === 0)
				this.#forget(range);
			return bytes;
		} catch (error) {
			this.#forget(range);
			throw error;
		} finally {
			range.loading = undefined;
		}
	}

	/**
	 * @param {number} start
	 * @param {number} end
	 * @param {KeptRange} [range] that holds it
	 */
	async #stored(start, end, range = this.#ranges.find((each) => each.start <= start && each.end >= end)) {
		return range && this.#folder.read(nameOf(this.#state.version, range), start - range.start, end - start);
	}

	/** @param {KeptRange} range */
	#forget(range) {
		this.#ranges = this.#ranges.filter((other) => other !== range);
	}

	/**
	 * Removes the ranges that touch one.
	 * @param {number} start
	 * @param {number} end
	 */
	async #drop(start, end) {
		const touched = this.#ranges.filter((range) => range.start < end && range.end > start);
		await Promise.all(touched.map(async (range) => {
			await range.loading?.catch(() => {});
			this.#forget(range);
			await this.#folder.remove(nameOf(this.#state.version, range)).catch(() => {});
		}));
	}

	async #writeState() {
		const text = JSON.stringify(this.#state, null, "\t");
		await this.#write(STATE_NAME, new TextEncoder().encode(text));
	}
}

/**
 * @param {string} version
 * @param {KeptRange} range
 */
function nameOf(version, { start, end }) {
	return `${version}-${start}-${end}`;
}

/**
 * @param {string[]} names
 * @param {string} version
 * @returns {KeptRange[]}
 */
function parseNames(names, version) {
	return names.flatMap((name) => {
		const [, of, start, end] = /^([0-9a-f]+)-(\d+)-(\d+)$/.exec(name) ?? [];
		return of === version ? [{ start: Number(start), end: Number(end) }] : [];
	}).sort((a, b) => a.start - b.start);
}

/**
 * @param {CacheFolder} folder
 * @returns {Promise<State | undefined>}
 */
async function readState(folder) {
	try {
		const bytes = await folder.read(STATE_NAME, 0, 65536);
		const state = JSON.parse(new TextDecoder().decode(bytes));
		return typeof state.version === "string" && typeof state.checked === "number" ? state : undefined;
	} catch {
		return undefined;
	}
}

/** @param {Uint8Array} head */
function versionOf(head) {
	return hex(head.subarray(HEADER_END - 8, HEADER_END));
}
