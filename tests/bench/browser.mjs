/**
 * Measures decoding and loading in Debian's Chromium:
 *
 *   node tests/bench/browser.mjs FILE.qstore [--label TEXT] [--passes N] [--loads] [--json FILE]
 *
 * Decoding is measured like in wasm.mjs, in one worker and in two. With --loads, loading is measured too: from a server on this machine,
 * without the library's cache and with it ("kept"), and from the browser's own file system (OPFS). Without a browser that can be driven,
 * it says so and ends.
 */

import { appendFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";

import { launch, missing, openPage } from "../browser/helpers/browsers.mjs";
import { ISOLATED, serveSite } from "../browser/helpers/site.mjs";
import { printRows } from "./wasm-measure.mjs";

const PAGE = "/tests/bench/browser-page.mjs", WORKERS = 2;
const { values: options, positionals: [path] } = parseArgs({
	allowPositionals: true,
	options: { label: { type: "string" }, passes: { type: "string", default: "5" }, loads: { type: "boolean" }, json: { type: "string" } },
});
if (missing("chromium")) {
	console.log(`  not measured in a browser: ${missing("chromium")}`);
	process.exit(0);
}
const passes = Number(options.passes), label = options.label ?? path;
const site = await serveSite(dirname(resolve(path)), { headers: ISOLATED }); // without isolation, a page's clocks are coarse
const browser = await launch("chromium", { watched: false });
const write = (line) => options.json && appendFileSync(options.json, JSON.stringify({ data: label, ...line }) + "\n");

/** Measures loads, and prints the fastest pass of each. */
async function measureLoads(page, url, version) {
	await page.call(PAGE, "keep", url, "model.qstore");
	const kinds = ["localhost", "localhost, kept", "OPFS"].flatMap((from) => ["low", "high"].flatMap((precision) =>
		[1, WORKERS].map((workers) => ({ from, precision, workers, load_ms: Infinity }))));
	for (let i = 0; i < passes; i++)
		for (const kind of kinds) {
			const one = await page.call(PAGE, "loadPrecision", url, "model.qstore", kind.from, kind.precision, kind.workers);
			if (one.load_ms < kind.load_ms)
				Object.assign(kind, one);
		}
	for (const kind of kinds) {
		const { from, precision, workers, load_ms, bytes, first_ms, open_ms } = kind;
		console.log(`  load ${precision.padEnd(4)} from ${from.padEnd(15)} in ${workers} ${load_ms.toFixed(0).padStart(6)} ms, ` +
			`${(bytes / load_ms / 1e6).toFixed(2)} GB/s; first weights after ${first_ms.toFixed(0)} ms, open after ${open_ms.toFixed(0)}`);
		write({ platform: "browser-load", version, ...kind });
	}
	console.log();
}

try {
	const url = `/data/${basename(path)}`, page = await openPage(browser, site), version = await browser.version();
	const { about, rows } = await page.call(PAGE, "decodeInWorkers", url, WORKERS, passes);
	printRows(`${label}: ${(about.sizes.codes / 1e6).toFixed(1)} M weights; WebAssembly in ${version}`, rows);
	write({ platform: "browser", version, high: about.high, weights: about.sizes.codes, threads: WORKERS, rows });
	if (options.loads)
		await measureLoads(page, url, version);
} finally {
	await browser.close();
	await site.close();
}
