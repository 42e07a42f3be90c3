/** Caches in a folder of the filesystem. */

import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/** @typedef {import("../source/cached-source.js").CacheStore} CacheStore */

/** The default folder for caches, by the XDG base directory specification. */
export function defaultCacheFolder() {
	return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "qstore");
}

/**
 * The store for caches in a folder.
 * @param {string} [root]
 * @returns {CacheStore}
 */
export function folderStore(root = defaultCacheFolder()) {
	return {
		folder(id) {
			const folder = join(root, id);
			return {
				// Files whose names begin with a dot are not complete yet.
				list: () => orNone(async () => (await readdir(folder)).filter((name) => !name.startsWith(".")), []),
				read: (name, offset, length) => orNone(() => readPart(join(folder, name), offset, length), undefined),
				async write(name, bytes) {
					// An archive may be for this user only.
					await mkdir(folder, { recursive: true, mode: 0o700 });
					const temporary = join(folder, `.${randomUUID()}`);
					try {
						await writeFile(temporary, bytes);
						await rename(temporary, join(folder, name));
					} catch (error) {
						await rm(temporary, { force: true });
						throw error;
					}
				},
				remove: (name) => rm(join(folder, name), { force: true }),
				clear: () => rm(folder, { recursive: true, force: true }),
			};
		},
		clear: () => rm(root, { recursive: true, force: true }),
	};
}

/**
 * Reads bytes of a file, fewer if it ends earlier.
 * @param {string} path
 * @param {number} offset
 * @param {number} length
 */
async function readPart(path, offset, length) {
	const handle = await open(path);
	try {
		const bytes = Buffer.allocUnsafeSlow(length);
		let filled = 0;
		for (;;) {
			const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
			filled += bytesRead;
			if (bytesRead === 0 || filled === length)
				return bytes.subarray(0, filled);
		}
	} finally {
		await handle.close();
	}
}

/**
 * Calls a function, and gives `none` if a file or folder does not exist.
 * @template T
 * @param {() => Promise<T>} call
 * @param {T} none
 */
async function orNone(call, none) {
	try {
		return await call();
	} catch (error) {
		if (/** @type {NodeJS.ErrnoException} */ (error).code === "ENOENT")
			return none;
		throw error;
	}
}
