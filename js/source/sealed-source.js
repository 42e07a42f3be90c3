/**
 * A source whose coded bytes are proved by the seals of a trusted index before anybody gets them (FORMAT.md §2.5): a seal is a digest of a
 * stretch of chunks, so a range is read with the rest of its first and last stretch.
 */

import { QstoreError } from "../error.js";
import { countWhile } from "../format/search.js";
import { digestOf } from "../util/sha256.js";
import { bytesToFetch, readExactly, sourceOver } from "./source.js";

/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("./source.js").ReadOptions} ReadOptions */
/** @typedef {import("./source.js").Source} Source */

/** Stretches that are kept, or being read, since the range that comes next often begins in the stretch in which one has ended. */
const KEPT_STRETCHES = 16;

/**
 * @param {Source} source
 * @param {Index} index of the archive that it reads
 * @returns {Source}
 */
export function sealedSource(source, index) {
	const stretches = index.stretches();
	/** @type {Map<number, Promise<Uint8Array>>} stretches at the ends of ranges, by number */
	const kept = new Map();

	/**
	 * @param {number} offset
	 * @returns {number} the number of the first stretch that ends behind this byte
	 */
	const firstStretch = (offset) => countWhile(stretches.length, (i) => stretches[i].end <= offset);

	/**
	 * @param {number} number
	 * @param {Promise<Uint8Array>} bytes
	 */
	const keep = (number, bytes) => {
		kept.set(number, bytes);
		bytes.catch(() => kept.delete(number));
		for (const oldest of [...kept.keys()].slice(0, Math.max(0, kept.size - KEPT_STRETCHES)))
			kept.delete(oldest);
	};

	/**
	 * Reads a range and proves the stretches in it, which are whole. Stretches that differ from their seals are fetched once more:
	 * they may have been damaged on their way.
	 * @param {number} start
	 * @param {number} end
	 * @param {ReadOptions | undefined} options
	 * @returns {Promise<Uint8Array>}
	 */
	const readProved = async (start, end, options) => {
		const bytes = await readExactly(source, start, end - start, options);
		const first = firstStretch(start);
		const within = stretches.slice(first, firstStretch(end - 1) + 1).filter((stretch) => stretch.end <= end);
		const good = await Promise.all(within.map((stretch, i) =>
			isSealed(index, first + i, bytes.subarray(stretch.start - start, stretch.end - start))));
		const bad = within[good.indexOf(false)];
		if (!bad)
			return bytes;
		if (source.remote && !options?.reload)
			return readProved(start, end, { ...options, reload: true });
		const name = source.name ? `${source.name}: ` : "";
		throw new QstoreError("INTEGRITY",
			`${name}${bad.end - bad.start} bytes from byte ${bad.start} on are not what the digest promises`);
	};

	return sourceOver(source, {
		sealed: true,
		missing: (offset, length) => bytesToFetch(source, offset, length),
		async read(offset, length, options) {
			const end = offset + length, first = firstStretch(offset);
			const last = Math.min(firstStretch(end - 1), stretches.length - 1);
			// Members are proved by the SHA-256 of their files.
			if (length === 0 || first > last || stretches[first].start >= end)
				return source.read(offset, length, options);
			const begun = options?.reload || offset < stretches[first].start ? undefined : kept.get(first);
			const start = begun ? stretches[first].end : Math.min(offset, stretches[first].start);
			const stop = stretches[last].start < end ? Math.max(end, stretches[last].end) : end;
			const rest = start < stop ? readProved(start, stop, options) : undefined;
			if (rest && stretches[last].start >= start && stretches[last].end <= stop)
				keep(last, rest.then((bytes) => bytes.slice(stretches[last].start - start, stretches[last].end - start)));
			if (!begun && rest)
				return (await rest).subarray(offset - start, end - start);
			const out = new Uint8Array(length);
			// Another reader's signal may have ended the reading that was waited for.
			place(out, offset, stretches[first].start,
				await begun?.catch(() => readProved(stretches[first].start, stretches[first].end, options)));
			place(out, offset, start, await rest);
			return out;
		},
	});
}

/**
 * Copies what two ranges have in common.
 * @param {Uint8Array} out
 * @param {number} offset of `out` in the archive
 * @param {number} start of `bytes` in the archive
 * @param {Uint8Array | undefined} bytes
 */
function place(out, offset, start, bytes) {
	if (!bytes)
		return;
	const from = Math.max(offset, start), to = Math.min(offset + out.length, start + bytes.length);
	if (from < to)
		out.set(bytes.subarray(from - start, to - start), from - offset);
}

/**
 * Are these the bytes of a stretch, as its seal says?
 * @param {Index} index
 * @param {number} stretch
 * @param {Uint8Array} bytes
 */
export async function isSealed(index, stretch, bytes) {
	const seal = index.seal(stretch), digest = await digestOf(bytes);
	return seal.every((byte, i) => byte === digest[i]);
}
