/**
 * A cache for archives on servers. It keeps the coded bytes that were read, range by range, in a folder of a store (../browser/opfs.js,
 * ../node/cache-folder.js). Each range is a file of its own that is written once, as a whole, so that several tabs or processes can use a
 * folder at the same time.
 */

import { INDEX_HEADER_SIZE, INDEX_OFFSET } from "../format/archive-index.js";
import { hex } from "../util/hex.js";
import { HttpError, SourceChangedError } from "./http/source.js";
import { readExactly } from "./source.js";

/** @typedef {import("./source.js").ReadOptions} ReadOptions */
/** @typedef {import("./source.js").Source} Source */

/**
 * The folder of one archive.
 * @typedef {object} CacheFolder
 * @property {() => Promise<string[]>} list the names of its files; an empty list if the folder does not exist
 * @property {(name: string, offset: number, length: number) => Promise<Uint8Array | undefined>} read gives fewer bytes if the file ends
 *   earlier, and undefined if there is no such file
 * @property {(name: string, bytes: Uint8Array) => Promise<void>} write writes the whole file, or nothing
 * @property {(name: string) => Promise<void>} remove
 * @property {() => Promise<void>} clear removes the folder with all its files
 */

/**
 * A place for caches, with a folder for each archive.
 * @typedef {object} CacheStore
 * @property {(id: string) => CacheFolder} folder
 * @property {() => Promise<void>} clear removes the folders of all archives
 */

/**
 * The properties of an HttpSource that a cache uses beside those of any source.
 * @typedef {object} RemoteProperties
 * @property {string} [etag]
 * @property {boolean} [sequential]
 * @property {boolean} [kept]
 * @property {(known: { byteLength: number | undefined, etag: string | undefined }) => void} [expect]
 */

/** @typedef {Source & RemoteProperties} RemoteSource */

/**
 * Describes the file whose ranges are in the folder.
 * @typedef {object} State
 * @property {string} key the name of the archive, for people who look into the folder
 * @property {string} version the checksum of the archive's index header
 * @property {number} [byteLength]
 * @property {string} [etag]
 * @property {number} checked when the server was last asked whether it still has this file, in milliseconds since 1970
 */

/**
 * @typedef {object} KeptRange
 * @property {number} start
 * @property {number} end
 * @property {Promise<Uint8Array>} [loading] its bytes, until they are in the folder
 */

const STATE_NAME = "source.json";
/** Bytes of the first read, as many as readIndex reads. */
const FIRST_READ = 65536;
/** The end of the index's header. It tells versions apart: it has the checksum of the index, which has those of all chunks. */
const HEADER_END = INDEX_OFFSET + INDEX_HEADER_SIZE;
/** Bytes that are read at a time on the way to a place, if the server does not support Range requests. */
const STEP = 2 ** 22;

/** @implements {Source} */
export class CachedSource {
	#source;
	#folder;
	/** @type {State} */
	#state;
	/** @type {KeptRange[]} by ascending starts */
	#ranges = [];
	/** @type {Error | undefined} */
	#error;
	/** @type {Promise<unknown>} */
	#reaching = Promise.resolve();
	/** @type {Set<Promise<void>>} ranges that are being written into the folder */
	#writes = new Set();
	/** @type {Promise<void> | undefined} is there while the folder is being removed */
	#clearing;

	/**
	 * Opens the cache of a source. Gives the source itself where nothing can be kept.
	 * @param {RemoteSource} source
	 * @param {CacheFolder} folder
	 * @param {{ key: string, revalidate: number, signal?: AbortSignal }} options revalidate: seconds after a check for which the server
	 *   is not asked again whether it still has the same file
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
		// The folder's name is a hash of the key.
		if (state && state.key !== key)
			return source;
		if (state) {
			const cached = new CachedSource(source, folder, state);
			cached.#ranges = parseNames(names, state.version);
			source.expect?.({ byteLength: state.byteLength, etag: state.etag });
			const age = Date.now() - state.checked;
			if ((age >= 0 && age < revalidate * 1000) || await cached.#check(signal))
				return cached;
			source.expect?.({ byteLength: undefined, etag: undefined });
		}
		// The folder may also have ranges of other versions, whose state was lost.
		if (names.length > 0)
			await folder.clear().catch(() => {});
		source.kept = true;
		const head = await source.read(0, FIRST_READ, { signal });
		// Only archives are kept: the index begins with this byte.
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

	/** The reason why no more is kept, for example a used-up quota or a full disk. */
	get error() {
		return this.#error;
	}

	/** How many bytes of the archive are kept. */
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
			const stretches = await Promise.all(this.#stretches(offset, end).map((stretch) => this.#readStretch(stretch, options)));
			if (stretches.length === 1)
				return stretches[0];
			const out = new Uint8Array(end - offset);
			let at = 0;
			for (const bytes of stretches) {
				out.set(bytes, at);
				at += bytes.length;
			}
			return out.subarray(0, at);
		} catch (error) {
			if (error instanceof SourceChangedError)
				await this.clear();
			throw error;
		}
	}

	/**
	 * How many bytes of a range are not kept.
	 * @param {number} offset
	 * @param {number} length
	 */
	missing(offset, length) {
		return this.#stretches(offset, offset + length).reduce((sum, { start, end, range }) => sum + (range ? 0 : end - start), 0);
	}

	/** Removes everything that is kept of this archive. Bytes that are read from now on are kept again. */
	async clear() {
		this.#ranges = this.#ranges.filter(({ loading }) => loading);
		// Chromium does not remove a folder while something is being written into it.
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

	/** @param {Error | undefined} error the reason why no more is kept */
	#setError(error) {
		this.#error = error;
		this.#source.kept = error === undefined;
	}

	/**
	 * Does the server still have the file whose ranges are here? A server that cannot be reached counts as yes.
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
			// An answer such as "not found" or "forbidden" is final. A server that is unreachable or broken may come back.
			if (error instanceof HttpError && error.status < 500)
				throw error;
			return true;
		}
		this.#state.checked = Date.now();
		await this.#writeState();
		return true;
	}

	/**
	 * Cuts a range into stretches that are kept and stretches that are not.
	 * @param {number} start
	 * @param {number} end
	 */
	#stretches(start, end) {
		/** @type {{ start: number, end: number, range?: KeptRange }[]} */
		const stretches = [];
		for (let at = start; at < end;) {
			// The kept range that reaches furthest from here; if there is none, the stretch goes on to the next kept range.
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
			stretches.push({ start: at, end: to, range: best });
			at = to;
		}
		return stretches;
	}

	/**
	 * Reads one stretch, from the folder or from the source.
	 * @param {{ start: number, end: number, range?: KeptRange }} stretch
	 * @param {ReadOptions} options
	 * @returns {Promise<Uint8Array>}
	 */
	async #readStretch({ start, end, range }, options) {
		if (range) {
			// Another read may be loading this range; if that one fails or is aborted, this one reads for itself.
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
	 * Reads all bytes before a place into the folder, for servers that send a file from its start only, so that it is sent once. One call
	 * waits for the other.
	 * @param {number} place
	 * @param {ReadOptions} options
	 */
	#reach(place, options) {
		const reached = this.#reaching.then(async () => {
			for (;;) {
				const gap = this.#stretches(0, place).find(({ range }) => !range);
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
	 * Writes bytes into the folder when they have been read.
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
			// A range may end before `end` while the file's size is not known.
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
	 * Reads bytes from the folder.
	 * @param {number} start
	 * @param {number} end
	 * @param {KeptRange} [range] the range that holds them
	 */
	async #stored(start, end, range = this.#ranges.find((each) => each.start <= start && each.end >= end)) {
		return range && this.#folder.read(nameOf(this.#state.version, range), start - range.start, end - start);
	}

	/** @param {KeptRange} range */
	#forget(range) {
		this.#ranges = this.#ranges.filter((other) => other !== range);
	}

	/**
	 * Removes all kept ranges that overlap the given one.
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
