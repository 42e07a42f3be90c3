// qstore-decode as a user meets it: options, output, exit codes, interrupts, odd places to write to.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readIndex } from "../../js/archive/read-index.js";
import { checkName } from "../../js/node/file-names.js";
import { ProgressBar, formatSize } from "../../js/node/progress.js";
import { bytesSource } from "../../js/source/source.js";
import { createDecoder } from "../../js/wasm/module.js";
import { buildArchive, noise, pairParts, sha256 } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { cacheHome, decode, decodeCli, decodeProcess, hashes, temporary } from "./helpers/tools.mjs";

const decoder = await createDecoder();
const parts = pairParts();
const archive = buildArchive(decoder, parts);
const { index } = await readIndex(bytesSource(archive), decoder);
const [config, empty, low, high] = parts.files.map(({ data, content }) => sha256(content ?? data));
const LOW = { "config.json": config, "empty.txt": empty, "model.low": low };
const HIGH = { "config.json": config, "sub/model.high": high };

function folderWith(t, bytes = archive) {
	const folder = temporary(t);
	writeFileSync(join(folder, "m.qstore"), bytes);
	return folder;
}

async function good(folder, ...args) {
	const { code, stdout, stderr } = await decode(folder, ...args);
	assert.equal(stderr, "");
	assert.equal(code, 0);
	return stdout;
}

/** Fails with one line, and leaves the folder as it was. */
async function bad(folder, code, message, ...args) {
	const before = readdirSync(folder, { recursive: true }).sort();
	const result = await decode(folder, ...args);
	assert.equal(result.stdout, "");
	assert.match(result.stderr, message);
	assert.match(result.stderr, /^qstore-decode: [^\n]+\n$/);
	assert.equal(result.code, code);
	assert.deepEqual(readdirSync(folder, { recursive: true }).sort(), before);
}

test("help and version", async (t) => {
	const folder = temporary(t);
	assert.match(await good(folder, "--help"), /^Usage: qstore-decode [\s\S]*--precision[\s\S]*Exit status/);
	assert.match(await good(folder, "-V"), /^qstore-decode \d+\.\d+\.\d+\n$/);
});

test("each precision, and the default folder", async (t) => {
	const folder = folderWith(t);
	assert.equal(await good(folder, "m.qstore"), "m-high: 2 files, 114 B\n");
	assert.deepEqual(hashes(join(folder, "m-high")), HIGH);
	for (const [precision, files] of [["low", LOW], ["int8", LOW], ["bf16", HIGH]]) {
		await good(folder, "m.qstore", "--precision", precision);
		assert.deepEqual(hashes(join(folder, `m-${precision}`)), files);
	}
	await good(folder, "-p", "all", "-o", "deep/er", "-j", "1", "m.qstore");
	assert.deepEqual(hashes(join(folder, "deep/er")), hashesBelow({ bf16: HIGH, int8: LOW }));
	assert.deepEqual(readdirSync(join(folder, "deep/er")).sort(), ["bf16", "int8"]);
});

function hashesBelow(folders) {
	return Object.fromEntries(Object.entries(folders).flatMap(([folder, files]) => Object.entries(files)
		.map(([name, hash]) => [`${folder}/${name}`, hash])));
}

test("quiet and json", async (t) => {
	const folder = folderWith(t);
	assert.equal(await good(folder, "m.qstore", "-q", "-o", "a"), "");
	assert.deepEqual(JSON.parse(await good(folder, "m.qstore", "--json", "-o", "b", "-p", "low")),
		{ output: "b", precision: "low", files: 3, size: 100, fetched: 0 });
});

test("only some files", async (t) => {
	const folder = folderWith(t);
	await good(folder, "m.qstore", "--file", "config.json", "-o", "a");
	assert.deepEqual(hashes(join(folder, "a")), { "config.json": config });
	await good(folder, "m.qstore", "--file", "sub/*", "--file", "c*", "-o", "b");
	assert.deepEqual(hashes(join(folder, "b")), HIGH);
	await good(folder, "m.qstore", "--file", "*.low", "-p", "all", "-o", "c");
	assert.deepEqual(hashes(join(folder, "c")), { "int8/model.low": low });
	await bad(folder, 1, /m\.qstore: has no file nope in this precision/, "m.qstore", "--file", "config.json", "--file", "nope");
	await bad(folder, 1, /m\.qstore: has no file model\.low in this precision/, "m.qstore", "--file", "model.low");
	// A name is no regular expression.
	await bad(folder, 1, /has no file config\.jso\./, "m.qstore", "--file", "config.jso.");
});

test("only some tensors", async (t) => {
	const folder = folderWith(t);
	await good(folder, "m.qstore", "--tensor", "w", "--tensor", "n*", "-o", "a");
	assert.deepEqual(readdirSync(join(folder, "a")), ["tensors.safetensors"]);
	const file = readFileSync(join(folder, "a/tensors.safetensors")), n = Number(file.readBigUInt64LE());
	assert.equal(file.toString("utf8", 8, 8 + n).trimEnd(), '{"norm":{"dtype":"BF16","shape":[7],"data_offsets":[0,14]},' +
		'"none":{"dtype":"F32","shape":[0,2],"data_offsets":[14,14]},"w":{"dtype":"BF16","shape":[6,5],"data_offsets":[14,74]}}');
	assert.deepEqual(file.subarray(8 + n), Buffer.concat([parts.objects[3].data, parts.objects[5].data]));
	await good(folder, "m.qstore", "-p", "all", "--tensor", "w.scale", "--file", "config.json", "-o", "b");
	assert.deepEqual(readdirSync(join(folder, "b"), { recursive: true }).sort(),
		["bf16", "bf16/config.json", "bf16/tensors.safetensors", "int8", "int8/config.json", "int8/tensors.safetensors"]);
	assert.equal(readFileSync(join(folder, "b/bf16/tensors.safetensors"), "latin1").slice(8), "{}      ");
	await bad(folder, 1, /has no tensor w\.scale in this precision/, "m.qstore", "--tensor", "w.scale");
});

test("tensors of one name in two files cannot be in one", async (t) => {
	const twice = pairParts();
	twice.files[2].tensors[2].name = "w.scale";
	const folder = folderWith(t, buildArchive(decoder, twice));
	await bad(folder, 1, /tensor w\.scale is in both model\.low and model\.low/, "m.qstore", "-p", "low", "--tensor", "w.*");
});

test("wrong usage", async (t) => {
	const folder = folderWith(t);
	await bad(folder, 2, /no archive given \(see qstore-decode --help\)/);
	await bad(folder, 2, /one archive at a time, not also b/, "a", "b");
	await bad(folder, 2, /unknown option '--nope'/, "m.qstore", "--nope");
	await bad(folder, 2, /-j needs a number of threads, not x/, "m.qstore", "-j", "x");
	await bad(folder, 2, /-j needs a number of threads, not 0/, "m.qstore", "-j0");
	await bad(folder, 2, /precision/, "m.qstore", "-p");
	await bad(folder, 2, /--header needs/, "m.qstore", "--header", "x");
	await bad(folder, 1, /m\.qstore: has no precision "fp8", only int8, bf16/, "m.qstore", "-p", "fp8");
	await bad(folder, 1, /m\.qstore: has no precision "\.\.\/x"/, "m.qstore", "-p", "../x");
});

test("existing files stay, but for --force", async (t) => {
	const folder = folderWith(t);
	mkdirSync(join(folder, "out/sub"), { recursive: true });
	writeFileSync(join(folder, "out/sub/model.high"), "mine");
	await bad(folder, 1, /out\/sub\/model\.high: exists already/, "m.qstore", "-o", "out");
	await good(folder, "m.qstore", "-o", "out", "--force");
	assert.deepEqual(hashes(join(folder, "out")), HIGH);
	mkdirSync(join(folder, "other/config.json"), { recursive: true });
	await bad(folder, 1, /other\/config\.json: exists already/, "m.qstore", "-o", "other", "-f");
	await bad(folder, 1, /m\.qstore: exists and is not a folder/, "m.qstore", "-o", "m.qstore");
});

test("links below the output folder are not followed", async (t) => {
	const folder = folderWith(t);
	mkdirSync(join(folder, "outside"));
	mkdirSync(join(folder, "out"));
	symlinkSync("../outside", join(folder, "out/sub"));
	await bad(folder, 1, /out\/sub: exists and is not a folder/, "m.qstore", "-o", "out");
	await bad(folder, 1, /out\/sub: exists and is not a folder/, "m.qstore", "-o", "out", "--file", "sub/*", "--force");
	assert.deepEqual(readdirSync(join(folder, "outside")), []);
	// A link in the place of a file is replaced, not written through.
	mkdirSync(join(folder, "two"));
	writeFileSync(join(folder, "outside/target"), "mine");
	symlinkSync("../outside/target", join(folder, "two/config.json"));
	await bad(folder, 1, /two\/config\.json: exists already/, "m.qstore", "-o", "two");
	await good(folder, "m.qstore", "-o", "two", "--force");
	assert.equal(readFileSync(join(folder, "outside/target"), "utf8"), "mine");
	assert.deepEqual(hashes(join(folder, "two")), HIGH);
	// The folder itself may be a link: the user said so.
	symlinkSync("outside", join(folder, "three"));
	await good(folder, "m.qstore", "-o", "three");
});

test("names that would escape are refused, here and by the core", async (t) => {
	const nobody = { name: "x.qstore" };
	for (const platform of ["linux", "win32"]) {
		for (const name of ["../a", "/a", "a/../b", "a//b", "a/.", "..", "", "a\0b", "a/"])
			assert.throws(() => checkName(nobody, name, platform), { code: "CORRUPT", message: /would escape/ }, name);
		for (const name of ["a", "a/b", "..a", ".hidden/x", "é"])
			checkName(nobody, name, platform);
	}
	for (const name of ["a\\b", "..\\a", "C:a", "a\nb", "...", "a/b ", "nul", "a/COM1.txt", "x?"]) {
		checkName(nobody, name, "linux");
		assert.throws(() => checkName(nobody, name, "win32"), { code: "CORRUPT", message: /would escape/ }, name);
	}
	for (const name of ["../evil", "/evil", "a/../../evil"]) {
		const evil = pairParts();
		evil.files[1].name = name;
		await bad(folderWith(t, buildArchive(decoder, evil)), 1, /m\.qstore: the index is damaged/, "m.qstore", "-p", "low");
	}
});

test("what is not an archive", async (t) => {
	const folder = folderWith(t, noise(3000));
	await bad(folder, 1, /^qstore-decode: m\.qstore: not a qstore archive\n/, "m.qstore");
	writeFileSync(join(folder, "m.qstore"), "");
	await bad(folder, 1, /m\.qstore: not a qstore archive/, "m.qstore");
	await bad(folder, 1, /none\.qstore: cannot open: no such file or directory/, "none.qstore");
	await bad(folder, 1, /\.: not a qstore archive: not a regular file/, ".");
	const newer = archive.slice();
	newer[512 + 8] = 2;
	writeFileSync(join(folder, "m.qstore"), newer);
	await bad(folder, 1, /m\.qstore: made by a newer qstore/, "m.qstore");
});

test("damage is found, the tensor named, and nothing left", async (t) => {
	const damaged = archive.slice();
	damaged[index.chunkOffset(index.object(5).firstChunk + 2) + 3] ^= 4;
	const folder = folderWith(t, damaged);
	await bad(folder, 1, /m\.qstore: tensor w: chunk 3 of 3 is damaged: its checksum differs/, "m.qstore", "-o", "new/folder");
	await good(folder, "m.qstore", "-p", "low");
	const lie = pairParts();
	lie.files[2].sha256 = "00".repeat(32);
	lie.files[0].sha256 = "00".repeat(32);
	writeFileSync(join(folder, "m.qstore"), buildArchive(decoder, lie));
	// The chunks decode to the right values, so that only SHA-256 tells. Files that have no chunks are always compared with their SHA-256.
	await bad(folder, 1, /m\.qstore: file model\.low is damaged: its SHA-256 differs/, "m.qstore", "-o", "x", "-p", "low", "--file",
		"model.low", "--sha256");
	await good(folder, "m.qstore", "-o", "y", "-p", "low", "--file", "model.low");
	await bad(folder, 1, /file config\.json is damaged: its SHA-256 differs/, "m.qstore", "-o", "x", "-p", "all");
});

test("the first part of an archive is enough for the coarse variant", async (t) => {
	const { layerOffset, layerSize } = index.variant(0), end = index.payloadOffset + layerOffset + layerSize;
	const folder = folderWith(t, archive.subarray(0, end));
	await good(folder, "m.qstore", "-p", "int8");
	assert.deepEqual(hashes(join(folder, "m-int8")), LOW);
	await bad(folder, 1, /m\.qstore: ends too early for bf16; int8 is complete/, "m.qstore");
	writeFileSync(join(folder, "m.qstore"), archive.subarray(0, end - 1));
	await bad(folder, 1, new RegExp(`ends too early: ${end - 1} bytes of the ${end} that int8 needs`), "m.qstore", "-p", "low", "-o", "x");
});

test("from a URL nothing is fetched twice, and what was kept goes when all is there", async (t) => {
	const folder = temporary(t), large = buildArchive(decoder, pairParts({ rows: 300, cols: 1000, rowsInChunk: 100 }));
	const server = await serve(large), sent = () => server.log.reduce((sum, entry) => sum + entry.sent, 0);
	t.after(() => server.close());
	const kept = () => readdirSync(cacheHome, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length;
	const { fetched } = JSON.parse(await good(folder, server.url, "-p", "all", "-o", "all", "--json"));
	assert.ok(sent() <= large.length && fetched <= sent() && fetched > sent() - 70_000, `${fetched} and ${sent()} of ${large.length}`);
	assert.equal(kept(), 0);
	// A failure keeps it for the next time.
	server.behave = (_, response, range) => range[1] > large.length - 100_000 && response.writeHead(403).end();
	server.log.length = 0;
	await bad(folder, 1, /HTTP status 403/, server.url, "-o", "high");
	assert.ok(kept() > 1);
	server.behave = undefined;
	await good(folder, server.url, "-o", "high");
	assert.ok(sent() <= large.length + 576, `${sent()} of ${large.length}`);
	assert.deepEqual(hashes(join(folder, "high")), hashes(join(folder, "all/bf16")));
	assert.equal(kept(), 0);
	// A cache of the user's stays.
	await good(folder, server.url, "-p", "low", "-o", "low", "--cache", "cache");
	server.log.length = 0;
	await good(folder, server.url, "-p", "low", "-o", "low2", "--cache", "cache");
	assert.deepEqual(server.ranged(), [[0, 576]]);
	await good(folder, server.url, "-p", "low", "-o", "low3", "--no-cache");
	assert.equal(kept(), 0);
	await bad(folder, 2, /contradict/, server.url, "--cache", "x", "--no-cache");
	await bad(folder, 2, /--cache needs a folder/, server.url, "--cache", "");
});

test("from a URL", async (t) => {
	const folder = temporary(t), server = await serve(archive, {
		behave: (request, response) => request.headers["x-key"] !== "1 2" && response.writeHead(401).end(),
	});
	t.after(() => server.close());
	await good(folder, server.url, "-p", "low", "--header", "X-Key: 1 2");
	assert.deepEqual(hashes(join(folder, "model a-low")), LOW);
	await bad(folder, 1, /^qstore-decode: http:.*model%20a\.qstore\?x=1: HTTP status 401/, server.url);
	server.behave = undefined;
	server.ranges = false;
	await good(folder, server.url, "-o", "whole");
	assert.deepEqual(hashes(join(folder, "whole")), HIGH);
	server.data = Buffer.from("<html>");
	await bad(folder, 1, /not a qstore archive/, server.url);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
	test(`${signal} removes what was written`, async (t) => {
		// A server that stops in the middle: the program waits for it.
		let asked;
		const waiting = new Promise((resolve) => asked = resolve);
		const large = pairParts({ rows: 3000, cols: 1000, rowsInChunk: 100 });
		const server = await serve(buildArchive(decoder, large), {
			behave: (_, __, range) => range[1] > 8e6 && (asked(), true),
		});
		t.after(() => server.close());
		const folder = temporary(t);
		const { child, result } = decodeProcess(folder, server.url, "-o", "out", "-j", "2");
		await waiting;
		while (!existsSync(join(folder, "out")) || readdirSync(join(folder, "out"), { recursive: true }).length < 3)
			await new Promise((resolve) => setTimeout(resolve, 5));
		child.kill(signal);
		const ended = await result;
		assert.equal(ended.signal, signal);
		assert.equal(ended.stderr, "qstore-decode: interrupted; nothing was written\n");
		assert.deepEqual(readdirSync(folder), []);
	});
}

test("a full disk, by a limit on the size of files", { skip: process.platform === "win32" }, async (t) => {
	const large = pairParts({ rows: 300, cols: 1000, rowsInChunk: 100 });
	const folder = folderWith(t, buildArchive(decoder, large));
	// Blocks of 512 or 1024 bytes: 100 or 200 kB, where 900 kB are needed.
	const run = () => execFileSync("sh", ["-c", `ulimit -f 200; trap "" XFSZ; exec "$0" "$@"`, process.execPath, decodeCli, "m.qstore",
		"-o", "out"],
		{ cwd: folder, stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
	assert.throws(run, ({ status, stderr }) => {
		assert.match(stderr, /^qstore-decode: .*cannot write: file too large\n$/);
		return status === 1;
	});
	assert.deepEqual(readdirSync(folder), ["m.qstore"]);
});

test("a standard output that cannot be written to", { skip: !existsSync("/dev/full") }, () => {
	assert.throws(() => execFileSync("sh", ["-c", `exec "$0" "$1" --help > /dev/full`, process.execPath, decodeCli],
		{ stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" }),
		({ status, stderr }) => status === 1 && stderr === "qstore-decode: cannot write to standard output\n");
});

test("sizes and the progress bar", () => {
	assert.deepEqual([0, 999, 1000, 12_345, 999_499, 999_500, 1.5e12].map(formatSize),
		["0 B", "999 B", "1.00 kB", "12.3 kB", "999 kB", "1.00 MB", "1.50 TB"]);
	const drawn = [], terminal = { isTTY: true, write: (text) => drawn.push(text) };
	const bar = new ProgressBar(terminal, true);
	bar.update({ phase: "restoring", done: 0, total: 100 });
	bar.update({ phase: "restoring", done: 50, total: 100 });
	bar.end();
	bar.end();
	assert.deepEqual(drawn, [`\rrestoring  [${".".repeat(24)}]   0 %\x1b[K`, "\r\x1b[K"]);
	for (const [stream, enabled] of [[{ isTTY: false, write: assert.fail }, true], [{ isTTY: true, write: assert.fail }, false]]) {
		const none = new ProgressBar(stream, enabled);
		none.update({ phase: "restoring", done: 0, total: 0 });
		none.end();
	}
});
