/**
 * Measures how fast the WebAssembly decoder decodes an archive in memory, on one thread and in several workers:
 *
 *   node tests/bench/wasm.mjs FILE.qstore [--label TEXT] [--passes N] [--workers N] [--json FILE]
 *
 * Prints the rows that qstore-bench prints of the native decoder.
 */

import { once } from "node:events";
import { appendFileSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

import { measureWorkers, printRows } from "./wasm-measure.mjs";

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: { label: { type: "string" }, passes: { type: "string", default: "5" }, workers: { type: "string", default: "2" },
		json: { type: "string" } },
});
if (positionals.length !== 1) {
	console.error("usage: node tests/bench/wasm.mjs FILE.qstore [--label TEXT] [--passes N] [--workers N] [--json FILE]");
	process.exit(2);
}
const [path] = positionals, passes = Number(options.passes), count = Number(options.workers);
const file = readFileSync(path), bytes = new Uint8Array(new SharedArrayBuffer(file.length));
bytes.set(file);

const workers = await Promise.all(Array.from({ length: count }, async () => {
	const worker = new Worker(new URL("wasm-worker.mjs", import.meta.url), { workerData: { bytes } });
	const [about] = await once(worker, "message");
	return { worker, about };
}));
const { about } = workers[0];
const rows = await measureWorkers(workers.map(({ worker }) => worker), async (worker, share) => {
	worker.postMessage(share);
	return (await once(worker, "message"))[0];
}, about, passes);
const label = options.label ?? path, { high, sizes } = about, weights = sizes.codes;
printRows(`${label}: ${((weights || sizes.plain / 2) / 1e6).toFixed(1)} M weights; WebAssembly in Node ${process.versions.node}`, rows);
if (options.json)
	appendFileSync(options.json, JSON.stringify({ data: label, platform: "wasm", high, weights, threads: count, rows }) + "\n");
await Promise.all(workers.map(({ worker }) => worker.terminate()));
