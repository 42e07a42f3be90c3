// Runs in pages: see cache.test.mjs and workers.test.mjs.
import { SourceChangedError, openQstore, opfsStore } from "/js/index.js";

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Every file of a precision by SHA-256, what the cache says, and what was counted. */
export async function readPrecision(url, precision, options) {
	const archive = await openQstore(url, options), hashes = {};
	let fetched = 0;
	for (const file of archive.filesOf({ precision })) {
		const bytes = await file.read(0, file.size, { onFetch: (n) => fetched += n });
		hashes[`${archive.variant(precision).name}/${file.name}`] = hex(await crypto.subtle.digest("SHA-256", bytes));
	}
	const cache = archive.cache && { size: archive.cache.size, error: archive.cache.error?.name };
	await archive.close();
	return { hashes, cache, fetched };
}

export async function upgrade(url) {
	const archive = await openQstore(url), names = [];
	let last;
	for await (const { name } of archive.upgrade({ onProgress: (progress) => last = progress }))
		names.push(name);
	await archive.close();
	return { names, last };
}

/** Opens the archive as an earlier visit left it, and reads on. */
export async function readChanged(url) {
	try {
		await readPrecision(url, "high");
		return "read";
	} catch (error) {
		return error instanceof SourceChangedError ? "changed" : String(error);
	}
}

/** Starts to load, and leaves in the middle. */
export async function interrupt(url) {
	const archive = await openQstore(url), controller = new AbortController();
	try {
		for await (const { name } of archive.tensors({ signal: controller.signal, onProgress: ({ decoded, toDecode }) =>
			decoded > toDecode / 2 && controller.abort() }))
			void name;
	} catch (error) {
		return error.name;
	} finally {
		await archive.close();
	}
	return "all";
}

export async function stored() {
	const names = [];
	const walk = async (folder) => {
		for await (const [name, handle] of folder.entries())
			await (handle.kind === "directory" ? walk(handle) : names.push(name));
	};
	await walk(await navigator.storage.getDirectory());
	return names.length;
}

export const clear = () => opfsStore().clear();

/** With workers that this page can count. */
export async function withWorkers(url, precision, options = {}) {
	const created = [], native = globalThis.Worker;
	globalThis.Worker = class extends native {
		constructor(...args) {
			super(...args);
			created.push(this);
			this.ended = false;
		}

		terminate() {
			this.ended = true;
			super.terminate();
		}
	};
	try {
		const { hashes } = await readPrecision(url, precision, { cache: false, ...options });
		return { hashes, created: created.length, ended: created.filter(({ ended }) => ended).length };
	} finally {
		globalThis.Worker = native;
	}
}

/** Aborts while workers are at it. */
export async function abortWorkers(url) {
	const archive = await openQstore(url, { cache: false, workers: 3 }), controller = new AbortController();
	const largest = archive.filesOf().reduce((a, b) => a.size > b.size ? a : b);
	let seen = 0;
	const reading = (async () => {
		for await (const bytes of largest.chunks(0, undefined, { signal: controller.signal })) {
			seen += bytes.length;
			controller.abort();
		}
	})();
	const result = await reading.then(() => "all", (error) => error.name);
	// The workers are still good.
	const good = hex(await crypto.subtle.digest("SHA-256", await largest.read())) === largest.sha256;
	await archive.close();
	return { result, seen, good };
}

/** A worker of the page's own making, and workers that the policy forbids. */
export async function ownWorker(url, precision) {
	let made = 0;
	const create = () => {
		made++;
		return new Worker("/js/browser/worker.js", { type: "module" });
	};
	const { hashes } = await readPrecision(url, precision, { cache: false, workers: { count: 2, create } });
	return { hashes, made };
}
