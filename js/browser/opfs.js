/** Caches in the browser's own file system (OPFS), which only the page's origin can see. */

/** @typedef {import("../source/cached-source.js").CacheStore} CacheStore */

const FOLDER = "qstore";

/**
 * The store for caches in the browser's own file system.
 * @returns {CacheStore | undefined} undefined where there is no such file system (on http: pages, in private windows of some browsers)
 */
export function opfsStore() {
	const storage = globalThis.navigator?.storage;
	if (!storage?.getDirectory)
		return undefined;
	/** @param {boolean} create */
	const top = async (create) => (await storage.getDirectory()).getDirectoryHandle(FOLDER, { create });
	return {
		folder(id) {
			/** @param {boolean} create */
			const own = async (create) => (await top(create)).getDirectoryHandle(id, { create });
			return {
				list: () => orNone(async () => {
					const names = [];
					for await (const name of /** @type {any} */ (await own(false)).keys())
						names.push(name);
					return names;
				}, []),
				read: (name, offset, length) => orNone(async () => {
					const file = await (await (await own(false)).getFileHandle(name)).getFile();
					return new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
				}, undefined),
				async write(name, bytes) {
					const folder = await own(true);
					const handle = await folder.getFileHandle(name, { create: true });
					try {
						// The file appears when the stream is closed. (Safari before 26 has no such streams, and keeps nothing.)
						const stream = await handle.createWritable();
						try {
							await stream.write(/** @type {Uint8Array<ArrayBuffer>} */ (bytes));
							await stream.close();
						} catch (error) {
							await stream.abort().catch(() => {});
							throw error;
						}
					} catch (error) {
						await folder.removeEntry(name).catch(() => {});
						throw error;
					}
				},
				remove: (name) => orNone(async () => (await own(false)).removeEntry(name), undefined),
				clear: () => orNone(async () => (await top(false)).removeEntry(id, { recursive: true }), undefined),
			};
		},
		clear: () => orNone(async () => (await storage.getDirectory()).removeEntry(FOLDER, { recursive: true }), undefined),
	};
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
		if (error instanceof DOMException && error.name === "NotFoundError")
			return none;
		throw error;
	}
}
