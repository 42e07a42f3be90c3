/** Restoring the files of one precision, as their bytes arrive. */

/** @typedef {import("./qstore/js/archive/archive.js").Archive} Archive */

/**
 * @typedef {object} Restoring how far it is
 * @property {number} fetched bytes that came over the network
 * @property {number} toFetch all that will
 * @property {number} decoded bytes that were restored
 * @property {number} toDecode all that will
 * @property {number} ms since it began
 */

/**
 * Coded bytes that are requested at a time. After a download is cancelled, at most three times as many have to be fetched again.
 * @param {Archive} archive
 */
const batchSizeOf = (archive) => Math.min(Math.max(archive.size / 16, 2 ** 16), 4 * 2 ** 20);

/** Decoded bytes that become one Blob, which browsers can move to disk. */
const BLOB_SIZE = 8 * 2 ** 20;
/** The most bytes of a file whose SHA-256 is computed, since browsers need the whole file in memory for it. */
const HASH_MAX = 2 ** 28;

/** @param {string} name */
export const isGguf = (name) => name.toLowerCase().endsWith(".gguf");

/**
 * The files of a precision that the page can run; all files if there are none.
 * @param {Archive} archive
 * @param {string} precision
 */
export function filesOf(archive, precision) {
	// Projectors for images ("mmproj" in the name) are no models that can talk.
	const files = archive.filesOf({ precision }), models = files.filter(({ name }) => isGguf(name) && !/mmproj/i.test(name));
	return models.length > 0 ? models : files;
}

/**
 * @param {Archive} archive
 * @param {string} precision
 * @param {{ signal: AbortSignal, onProgress: (now: Restoring) => void }} options
 * @returns {Promise<{ files: File[], same: boolean | undefined, now: Restoring }>} same: are the files the originals, by their SHA-256?
 */
export async function restore(archive, precision, { signal, onProgress }) {
	const files = filesOf(archive, precision), began = performance.now();
	/** @type {Restoring} */
	const now = {
		fetched: 0, toFetch: archive.bytesToFetch({ precision }),
		decoded: 0, toDecode: files.reduce((sum, { size }) => sum + size, 0), ms: 0,
	};
	const report = () => {
		now.ms = performance.now() - began;
		now.toFetch = Math.max(now.toFetch, now.fetched);
		onProgress({ ...now });
	};
	/** @param {number} bytes */
	const onFetch = (bytes) => {
		now.fetched += bytes;
		report();
	};
	const restored = [];
	report();
	for (const file of files) {
		/** @type {Blob[]} */
		const blobs = [];
		/** @type {Uint8Array<ArrayBuffer>[]} */
		let parts = [], held = 0;
		for await (const bytes of file.chunks(0, file.size, { signal, onFetch, batchSize: batchSizeOf(archive) })) {
			parts.push(/** @type {Uint8Array<ArrayBuffer>} */ (bytes));
			held += bytes.length;
			now.decoded += bytes.length;
			report();
			if (held >= BLOB_SIZE) {
				blobs.push(new Blob(parts));
				parts = [];
				held = 0;
			}
		}
		restored.push(new File([...blobs, ...parts], file.name.split("/").at(-1) ?? file.name));
	}
	// A range that was read for another's sake was not fetched again.
	now.toFetch = now.fetched;
	report();
	return { files: restored, same: await areSame(files, restored), now };
}

/**
 * @param {{ sha256: string, size: number }[]} originals
 * @param {File[]} files
 */
async function areSame(originals, files) {
	// (crypto.subtle is only there on https: and localhost.)
	if (!crypto.subtle || originals.some(({ size }) => size > HASH_MAX))
		return undefined;
	for (const [i, file] of files.entries()) {
		const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
		if (Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("") !== originals[i].sha256)
			return false;
	}
	return true;
}
