// Archives that are made to exhaust their readers (helpers/hostile.mjs): memory stays below 64 MB and 16 bytes for each byte of the
// archive (FORMAT.md, 4.1). The bound is enforced by limits on the processes, not by timing.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore } from "../../js/node/open.js";
import { unpack } from "../../js/node/unpack.js";
import { createDecoder } from "../../js/wasm/module.js";
import { decodeArchive } from "../reference/decode.mjs";
import { buildArchive, pairParts, runsFrame, sha256 } from "./helpers/archive.mjs";
import { beyond, within, zeros } from "./helpers/hostile.mjs";
import { decodeCli, temporary } from "./helpers/tools.mjs";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
const folder = temporary({ after }), decoder = await createDecoder();
const script = fileURLToPath(new URL("helpers/bounded.mjs", import.meta.url));
/** Bytes that a thread of Node takes for itself: its stack, its heap's beginning, its modules and compiled code. */
const THREAD_SIZE = 8 * 2 ** 20;
const OVER = "restoring it would take more memory or time than the format allows";
const MESSAGES = { LIMIT: OVER, CORRUPT: /(the index is damaged|it does not decompress|its SHA-256 differs)\n$/ };

/** Bytes of data that a reader may have for an archive of this size. */
const bound = (size) => 64 * 2 ** 20 + 16 * size;

/** Runs a native tool that can have so many bytes of data. glibc's arenas would reserve more than they use. */
function limited(bytes, tool, ...args) {
	return spawnSync("sh", ["-c", `ulimit -d ${Math.ceil(bytes / 1024)} && exec "$0" "$@"`, join(bin, tool), ...args],
		{ encoding: "utf8", maxBuffer: 2 ** 28, env: { ...process.env, MALLOC_ARENA_MAX: "1" } });
}

/** The archive in a file of its own. */
function stored(bytes) {
	const path = join(folder, "m.qstore");
	writeFileSync(path, bytes);
	return path;
}

const commands = (path) => [["qstore-info", path], ["qstore-info", path, "--json"], ["qstore-info", path, "--verify", "-q", "-j", "2"],
	["qstore-unpack", path, "-q", "-f", "-j", "2", "-o", join(folder, "out")]];

test("the limit on memory is one", () => {
	const [, { bytes }] = Object.entries(within(decoder)).find(([name]) => name === "a transposed matrix of 16 MiB");
	const { status, stderr } = limited(2 ** 22, "qstore-unpack", stored(bytes), "-q", "-j", "2", "-o", join(folder, "small"));
	assert.notEqual(status, 0);
	assert.match(stderr, /out of memory|cannot/);
});

for (const [name, { bytes, code = "LIMIT" }] of Object.entries(beyond(decoder)))
	test(`native tools and the reference decoder refuse ${name}`, async () => {
		const path = stored(bytes);
		for (const command of commands(path)) {
			const { status, stdout, stderr } = limited(bound(bytes.length), ...command);
			assert.equal(status, 1, command.join(" "));
			assert.equal(stdout, "");
			if (code === "LIMIT")
				assert.equal(stderr, `${command[0]}: ${path}: ${OVER}\n`);
			else
				assert.match(stderr, MESSAGES[code]);
		}
		await assert.rejects(decodeArchive(bytes), { message: /too (large|much|many|often)|ends too early/ });
	});

for (const [name, { bytes, code }] of Object.entries(within(decoder)))
	test(`native tools restore ${name} with little memory`, () => {
		const path = stored(bytes);
		mkdirSync(join(folder, "out"), { recursive: true });
		for (const command of commands(path)) {
			const { status, stderr } = limited(bound(bytes.length), ...command);
			const bad = command.includes("--verify") || (code && command[0] === "qstore-unpack");
			assert.equal(status, bad ? 1 : 0, `${command.join(" ")}: ${stderr}`);
			if (bad)
				assert.match(stderr, MESSAGES.CORRUPT);
		}
	});

test("every reader refuses a file whose frame has a window of more than 2^23 bytes", async () => {
	const plain = new Uint8Array(1000);
	for (const [windowByte, isGood] of [[13 << 3, true], [13 << 3 | 1, false], [21 << 3, false]])
		for (const hasSize of [false, true]) {
			let data = runsFrame([[0, 1000]], { windowByte });
			// A frame that says how large its content is can be decoded at once, without its window.
			if (hasSize)
				data = Buffer.concat([data.subarray(0, 4), Uint8Array.of(0x40, windowByte, 1000 - 256 & 255, 1000 - 256 >> 8), data.subarray(6)]);
			const bytes = buildArchive(decoder, { variants: [{ name: "bf16", dtype: "BF16" }], objects: [],
				files: [{ name: "m", variants: 1, sha256: sha256(plain), raw: 1000, data }] });
			const output = join(folder, `window-${windowByte}-${hasSize}`), path = stored(bytes), said = `${path}: file m is damaged: it does not decompress`;
			const { status, stderr } = limited(2 ** 28, "qstore-unpack", path, "-q", "-o", output);
			assert.deepEqual({ status, stderr }, isGood ? { status: 0, stderr: "" } : { status: 1, stderr: `qstore-unpack: ${said}\n` });
			const js = openQstore(path).then((archive) => unpack(archive, { output, force: true }).finally(() => archive.close()));
			if (isGood) {
				assert.equal((await js).files, 1);
				assert.deepEqual((await decodeArchive(bytes)).get("bf16").get("m"), plain);
			} else {
				await assert.rejects(js, { code: "CORRUPT", message: said });
				await assert.rejects(decodeArchive(bytes), { message: /the window of m is too large/ });
			}
		}
});

for (const [name, { bytes, code }] of Object.entries(within(decoder)))
	test(`Node restores ${name} with little memory`, (t) => {
		const path = stored(bytes);
		for (const workers of [0, 2]) {
			// The young generation of V8's heap has garbage of up to 48 MB in each thread otherwise.
			const { stdout, stderr } = spawnSync(process.execPath,
				["--max-old-space-size=64", "--max-semi-space-size=1", script, path, workers], { encoding: "utf8" });
			assert.equal(stderr, "");
			const { grown, code: found, steps } = JSON.parse(stdout);
			t.diagnostic(`${workers} workers: ${(grown / 2 ** 20).toFixed()} MB; restored in ${steps.restore.ms} ms, ` +
				`${steps.restore.longest} of them without a pause`);
			assert.equal(found, code);
			assert.ok(grown <= bound(bytes.length) + workers * THREAD_SIZE, `${workers} workers: ${grown} bytes`);
		}
	});

/** Calls a function, and counts how often the event loop comes around until its promise settles. */
async function countRounds(act) {
	let rounds = 0, timer = setImmediate(function tick() {
		rounds++;
		timer = setImmediate(tick);
	});
	await act().finally(() => clearImmediate(timer));
	return rounds;
}

test("decoding on the calling thread has pauses, and heeds signals in them", async () => {
	const { "a transposed matrix of 16 MiB": { bytes } } = within(decoder);
	const archive = await openQstore(bytes, { workers: false }), file = archive.file("m");
	assert.ok(await countRounds(() => file.read()) > 1);
	const controller = new AbortController();
	setImmediate(() => controller.abort());
	let pieces = 0;
	await assert.rejects(async () => {
		for await (const piece of file.chunks(0, file.size, { signal: controller.signal }))
			pieces += piece.length > 0;
	}, { name: "AbortError" });
	assert.equal(pieces, 0);
	await archive.close();
});

test("an honest index of 100,000 tensors and 2 million chunks opens", async () => {
	const n = 100_000, one = zeros("BF16", 2, 20 * 2 ** 19), size = 2 * one.elems;
	const numbers = Array.from({ length: n }, (_, i) => i);
	const bytes = buildArchive(decoder, {
		variants: [{ name: "bf16", dtype: "BF16" }], objects: numbers.map(() => ({ ...one })),
		files: [{
			name: "m", variants: 1, sha256: "00".repeat(32), size: n * size, extents: numbers.map((i) => [i, 0, size]),
			tensors: numbers.map((i) => ({ name: `layers.${i}.weight`, dtype: "BF16", shape: [20, 2 ** 19], offset: i * size, object: i })),
		}],
	});
	const path = stored(bytes), { status, stderr, stdout } = limited(bound(bytes.length), "qstore-info", path);
	assert.equal(status, 0, stderr);
	assert.ok(stdout.includes(`layers.${n - 1}.weight`));
	const archive = await openQstore(path, { workers: false });
	assert.equal(archive.tensorList.length, n);
	assert.ok(archive.variant().downloadSize <= bytes.length);
	await archive.close();

	// The codec is given the index, and planning has pauses, in which signals are heeded.
	let reads = 0;
	const jobs = [], controller = new AbortController(), { signal } = controller;
	const source = {
		byteLength: bytes.length,
		async read(offset, length) {
			reads++;
			return bytes.subarray(offset, offset + length);
		},
	};
	const codec = {
		concurrency: 1,
		async decode(job) {
			jobs.push(Object.keys(job));
			return decoder.indexBody(job.index);
		},
	};
	const other = await openQstore(source, { codec, signal });
	assert.deepEqual(jobs, [["index"]]);
	reads = 0;
	setImmediate(() => controller.abort());
	await assert.rejects(other.tensors({ signal, onProgress() {} }).next(), { name: "AbortError" });
	assert.equal(reads, 0);
	await other.close();
	await assert.rejects(openQstore(source, { codec, signal }), { name: "AbortError" });
});

test("control characters of names reach no terminal", async (t) => {
	// A bell, an escape sequence, DEL, C1's CSI, a line's end, and marks that change the direction of text.
	const bad = "a\x07\x1b[2J\x7f\u009b31m\u2028\u202e\u2066\u061cz", place = temporary(t), path = join(place, `m${bad}.qstore`);
	const parts = pairParts();
	for (const file of parts.files)
		file.name = `${file.name}${bad}`;
	for (const tensor of parts.files.flatMap(({ tensors }) => tensors ?? []))
		tensor.name += bad;
	const bytes = buildArchive(decoder, parts);
	writeFileSync(path, bytes);
	const damaged = bytes.slice(), at = Buffer.from(bytes).indexOf(Buffer.from(parts.objects[2].data));
	damaged[at] ^= 1;
	const broken = join(place, `d${bad}.qstore`);
	writeFileSync(broken, damaged);
	const tools = [["qstore-info", path], ["qstore-info", path, "--json"], ["qstore-info", path, "--chunks"],
		["qstore-info", broken, "--verify"], ["qstore-info", `${path}${bad}`], ["qstore-info", path, `--${bad}`], ["qstore-pack", path],
		["qstore-mount", broken, join(place, bad)]];
	for (const args of [[path], [path, "--json", "-f"], [path, "--file", bad], [path, "--tensor", bad], [path, "-p", bad], [broken, "-f"],
		[broken, "-f", "--keep-going"], [path, "-o", bad], [path, `--${bad}`]])
		tools.push(["qstore-unpack", ...args], ["qstore-decode", ...args]);
	for (const [tool, ...args] of tools) {
		const { stdout, stderr } = spawnSync(tool === "qstore-decode" ? process.execPath : join(bin, tool),
			tool === "qstore-decode" ? [decodeCli, ...args] : args, { cwd: place, encoding: "utf8" });
		assert.ok(stdout || stderr, `${tool} says something`);
		assert.doesNotMatch(stdout + stderr, /[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/, `${tool} ${args.join(" ")}`);
		if (tool === "qstore-info" && args[1] === "--json")
			assert.ok(JSON.parse(stdout).files.every(({ name }) => name.endsWith(bad)));
	}
});
