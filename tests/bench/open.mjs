/**
 * Measures, in Node, the time from opening an archive to the first INT8 tensor, from a file and from a server on this machine:
 *
 *   node tests/bench/open.mjs FILE.qstore [--passes N] [--json FILE]
 */

import { appendFileSync, createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

import { openQstore } from "../../js/node/index.js";

const { values: options, positionals: [path] } = parseArgs({
	allowPositionals: true, options: { passes: { type: "string", default: "9" }, json: { type: "string" } },
});

const { size } = statSync(path);
const server = createServer((request, response) => {
	const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? ["", 0, size - 1];
	const start = Number(from), end = Math.min(to ? Number(to) : size - 1, size - 1);
	response.writeHead(request.headers.range ? 206 : 200, { "accept-ranges": "bytes", "content-length": end - start + 1, "etag": '"1"',
		...request.headers.range ? { "content-range": `bytes ${start}-${end}/${size}` } : {} });
	createReadStream(path, { start, end }).pipe(response);
}).listen(0, "localhost");
await new Promise((resolve) => server.once("listening", resolve));

/** Returns the milliseconds of each step, in the pass that was fastest as a whole. */
async function measure(input) {
	let best;
	for (let pass = 0; pass < Number(options.passes); pass++) {
		const start = performance.now();
		const archive = await openQstore(input, { workers: false, cache: false }), opened = performance.now();
		const tensor = archive.tensorsOf({ precision: "low" }).find(({ dtype, size: bytes }) => dtype === "I8" && bytes > 0);
		const bytes = await tensor.read(), end = performance.now();
		if (!best || end - start < best.total_ms)
			best = { open_ms: opened - start, total_ms: end - start, tensor_bytes: bytes.length };
		await archive.close();
	}
	return best;
}

for (const [from, input] of [["file", path], ["localhost", `http://localhost:${server.address().port}/`]]) {
	const { open_ms, total_ms, tensor_bytes } = await measure(input);
	console.log(`  first INT8 tensor, ${from.padEnd(9)} ${total_ms.toFixed(1).padStart(6)} ms (open: ${open_ms.toFixed(1)} ms; ` +
		`${(tensor_bytes / 1e6).toFixed(2)} MB)`);
	if (options.json)
		appendFileSync(options.json, JSON.stringify({ data: "large", platform: "open", from, open_ms, total_ms, tensor_bytes }) + "\n");
}
server.close();
server.closeAllConnections();
