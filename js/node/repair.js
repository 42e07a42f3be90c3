/** Mending a damaged or cut copy of an archive in place: only what is bad in it is fetched. */

import { open } from "node:fs/promises";
import { QstoreError } from "../error.js";
import { INDEX_HEADER_SIZE, INDEX_OFFSET } from "../format/archive-index.js";
import { FILE } from "../format/facts.js";
import { coalesce } from "../plan/ranges.js";
import { isSealed } from "../source/sealed-source.js";
import { hashSource } from "./hash.js";
import { ioError } from "./io-error.js";
import { openQstore } from "./open.js";
import { inFolder } from "./place.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */
/** @typedef {import("../format/archive-index.js").Index} Index */

/**
 * An open file: what is used here of a FileHandle of node:fs/promises, so that these types do not need Node's.
 * @typedef {object} WritableFile
 * @property {(buffer: Uint8Array, offset: number, length: number, position: number) => Promise<{ bytesRead: number }>} read
 * @property {(buffer: Uint8Array, offset: number, length: number, position: number) => Promise<{ bytesWritten: number }>} write
 */

/**
 * @typedef {object} RepairOptions
 * @property {AbortSignal} [signal]
 * @property {(progress: import("./unpack.js").UnpackProgress) => void} [onProgress] phase is "checking" or "fetching"
 */

/**
 * @typedef {object} Repaired
 * @property {{ offset: number, size: number }[]} ranges that were bad, and are good now; none: the copy was good
 * @property {number} size bytes of these
 */

/** Where the header of the index ends. */
const HEADER_END = INDEX_OFFSET + INDEX_HEADER_SIZE;
/** Bytes that are read or fetched at a time. */
const BLOCK_SIZE = 2 ** 23;

/**
 * A range of the archive that is good or bad as a whole.
 * @typedef {object} Region
 * @property {number} offset
 * @property {number} size
 * @property {(copy: Copy) => Promise<boolean>} [isGood] undefined: it has no checksum, and is compared with the good archive's
 * @property {(bytes: Uint8Array) => Promise<boolean>} [isRight] are these the region's bytes?
 */

/**
 * Mends a copy of an archive.
 * @param {Archive} archive a good one
 * @param {string} path of the copy, which is written to. After an interruption it is no worse than before, and the same call goes on
 * @param {RepairOptions} [options]
 * @returns {Promise<Repaired>}
 */
export async function repair(archive, path, { signal, onProgress } = {}) {
	let handle;
	try {
		handle = await open(path, "r+");
	} catch (error) {
		throw ioError(path, "cannot open", error);
	}
	try {
		const info = await handle.stat();
		if (!info.isFile())
			throw new QstoreError("USAGE", `${path}: is no file`);
		if (archive.isFile(info))
			throw new QstoreError("USAGE", `${path}: is the archive that the good bytes are to come from`);
		await refuseOther(archive, path);
		const copy = new Copy(handle, path), regions = listRegions(archive);
		const bad = await findBad(archive, copy, regions, { signal, onProgress });
		// The index's header has its checksum, so that it tells archives apart.
		const isSame = info.size >= HEADER_END && await copy.isSame({ offset: 0, size: HEADER_END }, archive, signal);
		if (!isSame && !regions.some((each) => each.isGood && !bad.includes(each)))
			throw new QstoreError("MISMATCH", `${path}: has nothing in common with this archive, and stays as it is`);
		await mend(archive, copy, bad, { signal, onProgress });
		if (info.size !== archive.size)
			await inFolder(path, "cannot write", () => handle.truncate(archive.size));
		await inFolder(path, "cannot write", () => handle.sync());
		return { ranges: coalesce(bad, { gap: 0, max: Infinity }), size: bad.reduce((sum, { size }) => sum + size, 0) };
	} finally {
		await handle.close();
	}
}

/**
 * Throws if the copy has the index of another archive.
 * @param {Archive} archive
 * @param {string} path
 */
async function refuseOther(archive, path) {
	const own = await openQstore(path, { workers: false }).catch(() => undefined);
	await own?.close();
	if (own && own.digest !== archive.digest)
		throw new QstoreError("MISMATCH", `${path}: is another archive, of digest ${own.digest}, and stays as it is`);
}

/** The file that is mended. */
class Copy {
	#handle;
	#path;

	/**
	 * @param {WritableFile} handle
	 * @param {string} path
	 */
	constructor(handle, path) {
		this.#handle = handle;
		this.#path = path;
	}

	/**
	 * Bytes of the file. Bytes behind its end, and bytes that cannot be read, are zero.
	 * @param {number} offset
	 * @param {number} size
	 */
	async read(offset, size) {
		const bytes = new Uint8Array(size);
		for (let at = 0; at < size;) {
			const { bytesRead } = await this.#handle.read(bytes, at, size - at, offset + at).catch(() => ({ bytesRead: 0 }));
			if (bytesRead === 0)
				break;
			at += bytesRead;
		}
		return bytes;
	}

	/**
	 * @param {number} offset
	 * @param {Uint8Array} bytes
	 */
	async write(offset, bytes) {
		for (let at = 0; at < bytes.length;)
			at += (await inFolder(this.#path, "cannot write", () =>
				this.#handle.write(bytes, at, bytes.length - at, offset + at))).bytesWritten;
	}

	/**
	 * Has the file the same bytes as the good archive?
	 * @param {Region} region
	 * @param {Archive} archive
	 * @param {AbortSignal | undefined} signal
	 */
	async isSame({ offset, size }, archive, signal) {
		for (let at = offset; at < offset + size; at += BLOCK_SIZE) {
			const length = Math.min(BLOCK_SIZE, offset + size - at);
			if (Buffer.compare(await this.read(at, length), await archive.readCoded(at, length, { signal })) !== 0)
				return false;
		}
		return true;
	}
}

/**
 * All bytes of the archive: first its index, then members and chunks, and what is between them.
 * @param {Archive} archive
 * @returns {Region[]} in order
 */
function listRegions(archive) {
	const { index } = archive;
	/** @type {Region[]} */
	const known = [{ offset: 0, size: index.payloadOffset }];
	for (let i = 0; i < index.fileCount; i++) {
		const { kind, offset, codedSize, sha256 } = index.file(i);
		if (codedSize > 0 && (kind === FILE.STORED || kind === FILE.ZSTD)) {
			const start = index.payloadOffset + offset;
			known.push({ offset: start, size: codedSize, isGood: async (copy) => kind === FILE.STORED ?
				await hashSource({ byteLength: codedSize, read: (at, size) => copy.read(start + at, size) }) === sha256 :
				archive.isMember(i, await copy.read(start, codedSize)) });
		}
	}
	index.stretches().forEach(({ start, end }, i) => {
		const isRight = (/** @type {Uint8Array} */ bytes) => isSealed(index, i, bytes);
		known.push({ offset: start, size: end - start, isRight, isGood: async (copy) => isRight(await copy.read(start, end - start)) });
	});
	known.sort((a, b) => a.offset - b.offset);
	/** @type {Region[]} */
	const regions = [];
	let at = 0;
	for (const region of [...known, { offset: archive.size, size: 0 }]) {
		if (region.offset > at)
			regions.push({ offset: at, size: region.offset - at });
		if (region.size > 0)
			regions.push(region);
		at = region.offset + region.size;
	}
	return regions;
}

/**
 * @param {Archive} archive
 * @param {Copy} copy
 * @param {Region[]} regions
 * @param {RepairOptions} options
 */
async function findBad(archive, copy, regions, { signal, onProgress }) {
	const bad = [];
	let done = 0;
	for (const region of regions) {
		signal?.throwIfAborted();
		if (!await (region.isGood ? region.isGood(copy) : copy.isSame(region, archive, signal)))
			bad.push(region);
		done += region.size;
		onProgress?.({ phase: "checking", done, total: archive.size });
	}
	return bad;
}

/**
 * Fetches bad regions, compares them with their seals, and writes them.
 * @param {Archive} archive
 * @param {Copy} copy
 * @param {Region[]} bad
 * @param {RepairOptions} options
 */
async function mend(archive, copy, bad, { signal, onProgress }) {
	const total = bad.reduce((sum, { size }) => sum + size, 0);
	let done = 0, next = 0;
	// Neighbours are fetched together. A large region without a seal is written in blocks.
	for (const { offset: start, size: length } of coalesce(bad, { gap: 0, max: BLOCK_SIZE })) {
		for (let at = start; at < start + length; at += BLOCK_SIZE) {
			const bytes = await archive.readCoded(at, Math.min(BLOCK_SIZE, start + length - at), { signal });
			for (; next < bad.length && bad[next].offset < at + bytes.length; next++) {
				const { offset, size, isRight } = bad[next];
				if (isRight && !await isRight(bytes.subarray(offset - at, offset - at + size)))
					throw damaged(archive, offset, size);
			}
			await copy.write(at, bytes);
			done += bytes.length;
			onProgress?.({ phase: "fetching", done, total });
		}
	}
	// Members have no seals: they are checked once they are whole.
	for (const { offset, size, isGood, isRight } of bad)
		if (isGood && !isRight && !await isGood(copy))
			throw damaged(archive, offset, size);
}

/**
 * @param {Archive} archive
 * @param {number} offset
 * @param {number} size
 */
function damaged(archive, offset, size) {
	return new QstoreError("CORRUPT", `${archive.name}: is damaged itself: ${size} bytes from byte ${offset} on`);
}
