/** An archive's GGUF files for @wllama/wllama 3. */

import { QstoreError } from "../error.js";
import { hex } from "../util/hex.js";
import { fileBlob } from "../archive/blob.js";
import { findFile } from "../archive/find-file.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */

/**
 * The GGUF files of a precision, with all files of a split model, for `wllama.loadModel`. Only the bytes that wllama reads are restored.
 * Projectors ("mmproj" in the name) are other models, which are left out.
 * @param {Archive} archive
 * @param {{ precision?: string, signal?: AbortSignal }} [options] precision: "high" by default
 */
export function ggufBlobs(archive, { precision, signal } = {}) {
	const all = archive.filesOf({ precision }).filter(({ name }) => isGguf(name));
	const models = all.filter(({ name }) => !isProjector(name));
	const files = models.length > 0 ? models : all;
	if (files.length === 0) {
		const others = archive.files.filter(({ name }) => isGguf(name)).map(({ name, variants }) => `${name} (${variants.join(", ")})`);
		throw new QstoreError("NOT_FOUND", `${archive.name ?? "the archive"}: ${archive.variant(precision).name} has no GGUF file` +
			(others.length > 0 ? `, only ${others.join(", ")}` : ""));
	}
	return files.map((file) => fileBlob(file, { signal }));
}

/**
 * A storage, as wllama's CacheManager uses it.
 * @typedef {object} StorageBackend
 * @property {() => boolean} isSupported
 * @property {(key: string) => Promise<Blob | null>} read
 * @property {(key: string, stream: ReadableStream) => Promise<void>} write
 * @property {(key: string) => Promise<number>} getSize -1 if there is no such file
 * @property {() => Promise<{ key: string, size: number }[]>} list
 * @property {(key: string) => Promise<void>} delete
 */

/**
 * The methods of wllama's CacheManager that are used to keep other models there.
 * @typedef {object} NextCache
 * @property {(name: string) => Promise<Blob | null>} open
 * @property {(name: string, stream: ReadableStream, metadata: any) => Promise<void>} write
 * @property {(name: string, metadata: any) => Promise<void>} writeMetadata
 * @property {(name: string) => Promise<any>} getMetadata
 * @property {(name: string) => Promise<number>} getSize
 * @property {() => Promise<{ name: string, size: number }[]>} list
 * @property {(predicate: (entry: any) => boolean) => Promise<void>} deleteMany
 */

/**
 * @typedef {object} StorageOptions
 * @property {string | URL} url the URL of a folder: the archive's model-q8_0.gguf is the model at model-q8_0.gguf in that folder. Nothing
 *   is ever fetched from there
 * @property {NextCache} [next] keeps other models: a `new CacheManager()`. Without it no other models can be loaded from URLs
 * @property {string} [precision] the precision to take if several have files of the same name; default "high"
 * @property {AbortSignal} [signal] ends all reads
 */

/** The keys under which wllama keeps notes on a file begin with this. */
const NOTES = "__metadata__";

/**
 * A storage for wllama that has the archive's GGUF files as if they had been downloaded, so that `loadModelFromUrl` works unchanged:
 * `new Wllama(paths, { cacheManager: new CacheManager([archiveStorage(archive, { url })]) })`.
 * @param {Archive} archive
 * @param {StorageOptions} options
 * @returns {StorageBackend}
 */
export function archiveStorage(archive, { url, next, precision, signal }) {
	/** @type {Promise<Map<string, Blob>> | undefined} */
	let entries;
	/** The archive's files, and the notes on them, by key. */
	const own = () => entries ??= archiveEntries(archive, String(url), precision, signal).catch((error) => {
		entries = undefined;
		throw error;
	});
	return {
		isSupported: () => true,

		async read(key) {
			const blob = (await own()).get(key);
			if (blob || !next)
				return blob ?? null;
			if (!key.startsWith(NOTES))
				return next.open(key);
			const notes = await next.getMetadata(key.slice(NOTES.length));
			return notes && new Blob([JSON.stringify(notes)]);
		},

		async write(key, stream) {
			if ((await own()).has(key))
				await stream.cancel();
			else if (!next)
				throw new QstoreError("USAGE", `${key} cannot be kept: give archiveStorage a "next" that keeps other models`);
			else if (key.startsWith(NOTES))
				await next.writeMetadata(key.slice(NOTES.length), await new Response(stream).json());
			else
				// wllama writes the right notes when the file is complete.
				await next.write(key, stream, { etag: "", originalSize: 0, originalURL: "" });
		},

		async getSize(key) {
			return (await own()).get(key)?.size ?? next?.getSize(key) ?? -1;
		},

		async list() {
			const others = (await next?.list() ?? []).flatMap(({ name, size }) => [{ key: name, size }, { key: NOTES + name, size: 0 }]);
			return [...Array.from(await own(), ([key, { size }]) => ({ key, size })), ...others];
		},

		async delete(key) {
			// The archive's own files stay.
			if (!(await own()).has(key))
				await next?.deleteMany(({ name }) => name === key);
		},
	};
}

/**
 * The archive's GGUF files, and the notes on them, by key.
 * @param {Archive} archive
 * @param {string} folder
 * @param {string | undefined} precision
 * @param {AbortSignal | undefined} signal
 */
async function archiveEntries(archive, folder, precision, signal) {
	/** @type {Map<string, Blob>} */
	const entries = new Map();
	for (const name of new Set(archive.files.map((file) => file.name))) {
		const file = isGguf(name) ? findFile(archive, name, precision) : undefined;
		if (!file)
			continue;
		const url = `${folder.replace(/\/+$/, "")}/${name.split("/").map(encodeURIComponent).join("/")}`;
		const key = await keyOf(url), notes = { originalURL: url, originalSize: file.size, etag: file.sha256 };
		entries.set(key, fileBlob(file, { signal }));
		entries.set(NOTES + key, new Blob([JSON.stringify(notes)]));
	}
	return entries;
}

/** @param {string} name */
const isProjector = (name) => /mmproj/i.test(name);

/** @param {string} name */
const isGguf = (name) => name.toLowerCase().endsWith(".gguf");

/**
 * The key under which wllama keeps a download (cache-manager.ts, urlToFileName).
 * @param {string} url
 */
async function keyOf(url) {
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(url)));
	return `${hex(hash)}_${url.split("/").pop()}`;
}
