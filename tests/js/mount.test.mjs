// qstore-mount: programs read the files of a mounted archive, whole, in parts, mapped and at once.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { closeSync, copyFileSync, cpSync, mkdirSync, openSync, readFileSync, readSync, readdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { mounted, mountTool, run, whyNoMount } from "./helpers/mount.mjs";
import { hashes, native, temporary } from "./helpers/tools.mjs";

const skip = whyNoMount();
const PAGE = 4096, SHARD = "bf16/model-00001-of-00002.safetensors";
const folder = temporary({ after }), archive = join(folder, "m.qstore"), restored = join(folder, "restored");

before(() => {
	if (skip)
		return;
	native("qstore-generate", "--weights", "12000000", "-o", join(folder, "model"));
	// Folders and files whose names begin alike: bytes below and above '/' follow.
	for (const name of ["notes/a.txt", "notes/b/c.txt", "notes-1.txt", "notes0/a.txt", "notes\u0001/a.txt", "notes\u0001b.txt"]) {
		mkdirSync(dirname(join(folder, "model", name)), { recursive: true });
		writeFileSync(join(folder, "model", name), name);
	}
	native("qstore-pack", "-q", join(folder, "model"), "-o", archive);
	native("qstore-unpack", "-q", archive, "-p", "all", "-o", restored);
});

test("all files of all variants are there, byte for byte, with sizes and times", { skip }, async () => {
	const said = await mounted(archive, [], (place) => {
		assert.deepEqual(hashes(place), hashes(restored));
		assert.deepEqual(readdirSync(place), ["bf16", "int8"]);
		for (const name of Object.keys(hashes(restored))) {
			const { size, mtimeMs, mode } = statSync(join(place, name));
			assert.equal(size, statSync(join(restored, name)).size);
			assert.equal(mtimeMs, statSync(archive).mtimeMs);
			assert.equal(mode & 0o777, 0o444);
		}
		assert.throws(() => readFileSync(join(place, "int8/nothing")), { code: "ENOENT" });
		assert.throws(() => writeFileSync(join(place, "int8/config.json"), "x"), { code: "EROFS" });
		assert.throws(() => writeFileSync(join(place, "int8/new"), "x"), { code: "EROFS" });
	});
	assert.deepEqual(said, []);
});

test("with --precision the folder has one variant's files", { skip }, async () => {
	await mounted(archive, ["--precision", "low"], (place) => assert.deepEqual(hashes(place), hashes(join(restored, "int8"))));
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
	test(`a relative folder is unmounted at ${signal}`, { skip }, async (t) => {
		const above = temporary(t);
		mkdirSync(join(above, "place"));
		const child = spawn(mountTool, ["-f", archive, "place"], { cwd: above, stdio: ["ignore", "ignore", "pipe"] });
		const ended = new Promise((resolve) => child.on("close", resolve));
		try {
			while (child.exitCode === null && readdirSync(join(above, "place")).length === 0)
				await sleep(10);
			child.kill(signal);
			assert.equal(await ended, 0);
			assert.deepEqual(readdirSync(join(above, "place")), []);
		} finally {
			child.kill("SIGKILL");
			spawnSync("umount", ["-l", join(above, "place")]);
		}
	});

test("what could not be read later is refused at once", { skip }, (t) => {
	const place = temporary(t), prefix = join(place, "prefix.qstore"), tuned = join(place, "tuned"), delta = join(place, "delta.qstore");
	cpSync(join(folder, "model"), tuned, { recursive: true });
	writeFileSync(join(tuned, "README.md"), "tuned");
	native("qstore-pack", "-q", tuned, "--base", join(folder, "model"), "-o", delta);
	copyFileSync(archive, prefix);
	truncateSync(prefix, statSync(archive).size - 100_000);
	for (const [status, text, ...args] of [
		[1, /delta\.qstore: is a difference to another model, its base: give it with --base/, delta],
		[1, /prefix\.qstore: ends too early: it has \d+ of the \d+ bytes that bf16 needs/, prefix, "-p", "bf16"],
		[2, /-o rw: the mount is read-only/, archive, "-o", "rw"],
		[2, /-o sync,max_read=65536: the mount is read-only, and takes no max_read/, archive, "-o", "sync,max_read=65536"],
	]) {
		const [path, ...more] = args, { status: got, stderr } = spawnSync(mountTool, [path, place, ...more], { encoding: "utf8" });
		assert.equal(got, status, stderr);
		assert.match(stderr, text);
	}
});

test("eight programs read at once, with a small cache", { skip }, async () => {
	await mounted(archive, ["--cache", "1"], async (place) => {
		const names = Object.keys(hashes(restored)), expected = hashes(restored);
		const all = await Promise.all(Array.from({ length: 8 }, (_, i) =>
			run("sha256sum", ...names.map((_, j) => join(place, names[(i * 3 + j) % names.length])))));
		for (const { code, stdout, stderr } of all) {
			assert.equal(code, 0, stderr);
			for (const line of stdout.trim().split("\n"))
				assert.equal(line.slice(0, 64), expected[line.slice(66 + place.length + 1)], line);
		}
	});
});

test("cp copies everything", { skip }, async () => {
	await mounted(archive, [], async (place) => {
		const copy = join(folder, "copy"), { code, stderr } = await run("cp", "-r", place, copy);
		assert.equal(code, 0, stderr);
		assert.deepEqual(hashes(copy), hashes(restored));
	});
});

const python = ["/usr/bin/python3", "python3"].find((name) => spawnSync(name, ["-c", "import mmap"]).status === 0);

test("Python maps a safetensors file", { skip: skip ?? (python ? undefined : "Python is not here") }, async () => {
	await mounted(archive, [], async (place) => {
		const name = SHARD;
		const script = "import hashlib, mmap, sys\nwith open(sys.argv[1], 'rb') as f:\n" +
			"    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n    print(hashlib.sha256(m).hexdigest())";
		const { stdout, stderr } = await run(python, "-c", script, join(place, name));
		assert.equal(stdout.trim(), hashes(restored)[name], stderr);
	});
});

/** The pages of a file that cannot be read; all others are compared with the original. */
function badPages(path, original) {
	const bytes = readFileSync(original), page = Buffer.alloc(PAGE), bad = [], fd = openSync(path, "r");
	for (let at = 0; at < bytes.length; at += PAGE) {
		try {
			const n = readSync(fd, page, 0, PAGE, at);
			assert.ok(page.subarray(0, n).equals(bytes.subarray(at, at + PAGE)), `page at ${at}`);
		} catch (error) {
			assert.equal(error.code, "EIO");
			bad.push(at / PAGE);
		}
	}
	closeSync(fd);
	return bad;
}

test("a damaged chunk fails for its pages alone, and is named once", { skip }, async () => {
	const damaged = join(folder, "damaged.qstore"), bytes = readFileSync(archive);
	const { variants } = JSON.parse(native("qstore-info", "--json", archive));
	bytes[Math.floor((variants[0].downloadSize + variants[1].downloadSize) / 2)] ^= 4;
	writeFileSync(damaged, bytes);
	const said = await mounted(damaged, [], (place) => {
		assert.deepEqual(hashes(join(place, "int8")), hashes(join(restored, "int8")));
		const bad = badPages(join(place, SHARD), join(restored, SHARD));
		assert.ok(bad.length > 0 && bad.length <= 2 ** 20 / PAGE + 1, `${bad.length} pages`);
		assert.equal(bad.at(-1) - bad[0], bad.length - 1, "they follow one another");
	});
	assert.equal(said.length, 1, said.join("\n"));
	assert.match(said[0], /^qstore-mount: .*damaged\.qstore: tensor model\..*: chunk \d+ of \d+ is damaged/);
});

test("the first part of an archive has the coarse files; reading others fails", { skip }, async () => {
	const prefix = join(folder, "prefix.qstore");
	const { variants } = JSON.parse(native("qstore-info", "--json", archive));
	copyFileSync(archive, prefix);
	truncateSync(prefix, variants[0].downloadSize);
	const said = await mounted(prefix, [], (place) => {
		assert.deepEqual(hashes(join(place, "int8")), hashes(join(restored, "int8")));
		assert.throws(() => readFileSync(join(place, SHARD)), { code: "EIO" });
	});
	assert.match(said[0], /is beyond the end of this file/);
});

test("a source that goes away fails, and nothing waits for it", { skip, timeout: 60_000 }, async () => {
	const gone = join(folder, "gone.qstore");
	copyFileSync(archive, gone);
	const said = await mounted(gone, [], async (place) => {
		const coarse = join(place, Object.keys(hashes(restored)).find((name) => /^int8.*safetensors$/.test(name)));
		const before = await run("sha256sum", coarse);
		assert.equal(before.code, 0, before.stderr);
		truncateSync(gone, 4096);
		const all = await Promise.all(["a", "b", "c"].map(() => run("cat", join(place, SHARD))));
		for (const { code, stderr } of all) {
			assert.equal(code, 1);
			assert.match(stderr, /Input\/output error/);
		}
		// The file's name and size are known, and the kernel has what was read.
		assert.equal(statSync(join(place, SHARD)).size, statSync(join(restored, SHARD)).size);
		assert.equal((await run("sha256sum", coarse)).stdout, before.stdout);
	});
	assert.ok(said.length > 0);
	for (const line of said)
		assert.match(line, /^qstore-mount: .*gone\.qstore: /);
});

test("an archive with a base is mounted with it", { skip }, async () => {
	const model = join(folder, "model"), tuned = join(folder, "tuned"), path = join(folder, "tuned.qstore");
	cpSync(model, tuned, { recursive: true });
	for (const name of readdirSync(tuned).filter((name) => name.endsWith(".safetensors"))) {
		const bytes = readFileSync(join(tuned, name));
		for (let at = bytes.length >> 1; at < bytes.length; at += 4096)
			bytes[at & ~1] ^= 1;
		writeFileSync(join(tuned, name), bytes);
	}
	native("qstore-pack", "-q", tuned, "--base", model, "-o", path);
	await mounted(path, ["--base", model], (place) => assert.deepEqual(hashes(join(place, "bf16")), hashes(tuned)));
});

test("what cannot be mounted is said, in one line", { skip }, async () => {
	const place = join(folder, "place");
	mkdirSync(place, { recursive: true });
	for (const [args, code, text] of [
		[[archive], 2, /give an archive and a folder/],
		[[archive, join(folder, "nowhere")], 2, /nowhere: not a folder; make it first/],
		[[join(folder, "model/config.json"), place], 1, /config\.json: .*not a qstore archive/],
		[[archive, place, "--precision", "int4"], 1, /has no precision "int4", only int8, bf16/],
		[[archive, place, "--cache", "0"], 2, /--cache 0: give a number of MB/],
	]) {
		const { status, stderr } = spawnSync(mountTool, args, { encoding: "utf8" });
		assert.equal(status, code, stderr);
		assert.match(stderr, text);
	}
});
