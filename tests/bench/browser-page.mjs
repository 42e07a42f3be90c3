/** The functions that browser.mjs calls in a page. */

import { openQstore } from "/js/index.js";
import { measureWorkers } from "./wasm-measure.mjs";

const absolute = (url) => new URL(url, location.href).href;

/** Stores the archive in the origin's own file system (OPFS). */
export async function keep(url, name) {
	const root = await navigator.storage.getDirectory(), handle = await root.getFileHandle(name, { create: true });
	const response = await fetch(url);
	await response.body.pipeTo(await handle.createWritable());
}

/**
 * Measures milliseconds until the archive is open, until its first weights are decoded, and until all files of a precision are.
 * from: "localhost", "localhost, kept" (with the library's own cache, which is off otherwise) or "OPFS"; name: of the file in OPFS.
 */
export async function loadPrecision(url, name, from, precision, workers) {
	const start = performance.now();
	const input = from === "OPFS" ? await (await (await navigator.storage.getDirectory()).getFileHandle(name)).getFile() : absolute(url);
	const archive = await openQstore(input, { workers, cache: from === "localhost, kept" }), open_ms = performance.now() - start;
	const weights = archive.tensorsOf({ precision }).find(({ size }) => size > 1e5);
	await weights.read();
	const first_ms = performance.now() - start, all = performance.now();
	let bytes = 0;
	for (const file of archive.filesOf({ precision }))
		for await (const piece of file.chunks())
			bytes += piece.length;
	const load_ms = performance.now() - all;
	await archive.cache?.clear();
	await archive.close();
	return { open_ms, first_ms, load_ms, bytes };
}

/** Measures speeds of the decoder alone, in one worker and in several. */
export async function decodeInWorkers(url, count, passes) {
	const answer = (worker) => new Promise((resolve, reject) => {
		worker.onmessage = ({ data }) => resolve(data);
		worker.onerror = ({ message }) => reject(new Error(message));
	});
	const workers = Array.from({ length: count }, () => new Worker(new URL("browser-worker.mjs", import.meta.url), { type: "module" }));
	const abouts = await Promise.all(workers.map((worker) => {
		worker.postMessage(absolute(url));
		return answer(worker);
	}));
	const rows = await measureWorkers(workers, (worker, share) => {
		worker.postMessage(share);
		return answer(worker);
	}, abouts[0], passes);
	workers.forEach((worker) => worker.terminate());
	return { about: abouts[0], rows };
}
