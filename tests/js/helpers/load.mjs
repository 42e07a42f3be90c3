// Loads all tensors of an archive and keeps none: how much memory that takes beside the tensor that its caller has. Prints JSON, sizes in
// bytes. With --expose-gc what is no longer used is freed at once, as far as that can be asked for: then the figures are what is needed,
// without what the
// engine has not cleared away yet. Arguments: URL or path, precision, workers, cache folder.
import { openQstore } from "../../../js/node/index.js";

const [place, precision, workers, cache] = process.argv.slice(2);
const archive = await openQstore(place, { workers: Number(workers), cache: cache || false });
globalThis.gc?.();
const base = process.memoryUsage(), peak = { rss: 0, buffers: 0 };
let decoded = 0, callers = 0, next = 0;
const sizes = archive.tensorsOf({ precision }).map(({ size }) => size);
const measure = () => {
	globalThis.gc?.();
	const now = process.memoryUsage();
	// The tensor that the caller was given last, and the one that is being filled for it.
	const own = callers + (sizes[next] ?? 0);
	peak.rss = Math.max(peak.rss, now.rss - base.rss - own);
	peak.buffers = Math.max(peak.buffers, now.arrayBuffers - base.arrayBuffers + now.heapUsed - base.heapUsed - own);
};
let reported = 0;
const onProgress = (now) => {
	if (now.decoded + now.fetched - reported >= 2 ** 20) {
		reported = now.decoded + now.fetched;
		measure();
	}
};
for await (const { bytes } of archive.tensors({ precision, onProgress })) {
	callers = bytes.length;
	next++;
	decoded += bytes.length;
	measure();
}
await archive.close();
console.log(JSON.stringify({ decoded, largest: Math.max(...sizes), ...peak }));
