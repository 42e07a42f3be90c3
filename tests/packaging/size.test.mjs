// The bytes that a browser fetches of the package: the main entry, bundled and minified.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import { load, root } from "./helpers.mjs";

const esbuild = await load("esbuild");

test("what a browser gets is as large as the README says", { skip: esbuild ?
	undefined : "esbuild is not installed: scripts/setup --browsers" }, async (t) => {
	// Split, so that the module without SIMD, which is imported only where it is needed, is a file of its own.
	const { metafile, outputFiles } = await esbuild.build({
		absWorkingDir: root, entryPoints: ["js/index.js"], outdir: "out", bundle: true, splitting: true, format: "esm", minify: true,
			platform: "browser",
		metafile: true, write: false, logLevel: "silent",
	});
	const parts = ["out/index.js"];
	for (const part of parts)
		parts.push(...metafile.outputs[part].imports.filter(({ kind, path }) => kind === "import-statement" && !parts.includes(path))
			.map(({ path }) => path));
	const contents = parts.map((part) => outputFiles.find(({ path }) => path === join(root, part)).contents);
	const all = metafile.outputs, scalar = Object.values(all).find(({ inputs }) => "dist/qstore-scalar.wasm.js" in inputs);
	assert.ok(scalar && !parts.some((part) => all[part] === scalar), "the module without SIMD is not among them");
	const sum = async (compress) => (await Promise.all(contents.map((bytes) => compress(bytes))))
		.reduce((total, { length }) => total + length, 0) / 1000;
	const plain = await sum((bytes) => bytes), gzipped = await sum(promisify(gzip)), brotli = await sum(promisify(brotliCompress));
	const text = `${plain.toFixed(0)} kB, ${gzipped.toFixed(0)} kB with gzip, ${brotli.toFixed(0)} kB with brotli`;
	t.diagnostic(`figures: the main entry, bundled and minified, decoder included: ${text}`);
	// Another Emscripten makes another module; a tenth is allowed for that.
	const said = /bundled and minified[^.]*?(\d+) kB with gzip, (\d+) with brotli/.exec((await readFile(join(root, "README.md"), "utf8"))
		.replace(/\s+/g, " "));
	assert.ok(said, "the README says the size");
	for (const [figure, measured] of [[said[1], gzipped], [said[2], brotli]])
		assert.ok(Math.abs(figure - measured) < measured / 10, `the README says ${figure} kB: ${text}`);
});
