// qstore-unpack and qstore-decode are one command twice: the same messages, exit codes and files for whatever they are given.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { escapeName, isWindowsName } from "../../js/node/file-names.js";
import { openQstore } from "../../js/node/open.js";
import { unpack } from "../../js/node/unpack.js";
import { bytesSource } from "../../js/source/source.js";
import { createDecoder } from "../../js/wasm/module.js";
import { buildArchive, pairParts } from "./helpers/archive.mjs";
import { decode, hashes, temporary } from "./helpers/tools.mjs";

const qstoreUnpack = fileURLToPath(new URL("../../build/bin/qstore-unpack", import.meta.url));
const decoder = await createDecoder();
const archive = buildArchive(decoder, pairParts());

/** Runs both, each in a folder of its own that `prepare` has filled; they must agree, and leave the same files. Gives what they said. */
async function both(t, prepare, ...args) {
	const [native, js] = [temporary(t), temporary(t)];
	for (const folder of [native, js]) {
		writeFileSync(join(folder, "m.qstore"), archive);
		prepare(folder);
	}
	const { status: code, stdout, stderr } = spawnSync(qstoreUnpack, args, { cwd: native, encoding: "utf8" });
	const said = { code, stdout, stderr: stderr.replaceAll("qstore-unpack", "TOOL") };
	const other = await decode(js, ...args);
	assert.deepEqual(said, { code: other.code, stdout: other.stdout, stderr: other.stderr.replaceAll("qstore-decode", "TOOL") },
		args.join(" "));
	assert.deepEqual(tree(native), tree(js), args.join(" "));
	return { ...said, folder: native };
}

const tree = (folder) => readdirSync(folder, { recursive: true }).sort();

/** Both fail with this message, and leave everything as it was. */
async function refused(t, code, message, prepare, ...args) {
	let before;
	const { folder, ...said } = await both(t, (path) => {
		prepare(path);
		before = tree(path);
	}, ...args);
	assert.deepEqual(said, { code, stdout: "", stderr: `TOOL: ${message}\n` });
	assert.deepEqual(tree(folder), before);
	return folder;
}

const nothing = () => {};

test("links below the output folder are not followed", async (t) => {
	for (const args of [[], ["--force"]]) {
		const folder = await refused(t, 1, "out/sub: exists and is not a folder", (path) => {
			mkdirSync(join(path, "outside"));
			mkdirSync(join(path, "out"));
			symlinkSync("../outside", join(path, "out/sub"));
		}, "m.qstore", "-o", "out", ...args);
		assert.deepEqual(readdirSync(join(folder, "outside")), []);
	}
	await refused(t, 1, "out/sub: exists and is not a folder", (path) => {
		mkdirSync(join(path, "out"));
		symlinkSync("nowhere", join(path, "out/sub"));
	}, "m.qstore", "-o", "out");
	// The folder itself may be a link: the user said so.
	const { code, folder } = await both(t, (path) => {
		mkdirSync(join(path, "outside"));
		symlinkSync("outside", join(path, "out"));
	}, "m.qstore", "-o", "out");
	assert.equal(code, 0);
	assert.deepEqual(tree(join(folder, "outside")), ["config.json", "sub", "sub/model.high"]);
});

test("places that are taken, and that no folder can be made in", async (t) => {
	await refused(t, 1, "out/sub: exists and is not a folder", (path) => {
		mkdirSync(join(path, "out"));
		writeFileSync(join(path, "out/sub"), "mine");
	}, "m.qstore", "-o", "out", "--force");
	await refused(t, 1, "out/config.json: exists already, and is a folder", (path) => mkdirSync(join(path, "out/config.json"), { recursive: true }),
		"m.qstore", "-o", "out", "-f");
	await refused(t, 1, "m.qstore: exists and is not a folder", nothing, "m.qstore", "-o", "m.qstore");
	await refused(t, 1, "m.qstore: exists and is not a folder", nothing, "m.qstore", "-o", "m.qstore/x");
	await refused(t, 1, "out/config.json: exists already; replace it with --force", (path) => {
		mkdirSync(join(path, "out"));
		writeFileSync(join(path, "out/config.json"), "mine");
	}, "m.qstore", "-o", "out");
	await refused(t, 2, "files are not written to standard output; give a folder (./- for one of that name) (see TOOL --help)", nothing,
		"m.qstore", "-o", "-");
	await refused(t, 2, "no output folder", nothing, "m.qstore", "-o", "");
});

// Node's own mkdir with `recursive` never comes back from this one.
test("a folder in /proc is an error, soon", { skip: !existsSync("/proc/self"), timeout: 20_000 }, async (t) => {
	const folder = temporary(t);
	writeFileSync(join(folder, "m.qstore"), archive);
	for (const { code, stderr } of [await decode(folder, "m.qstore", "-o", "/proc/no/where"),
		spawnSync(qstoreUnpack, ["m.qstore", "-o", "/proc/no/where"], { cwd: folder, encoding: "utf8" })]
		.map(({ code, status, stderr }) => ({ code: code ?? status, stderr }))) {
		assert.equal(code, 1);
		assert.match(stderr, /^qstore-\w+: \/proc\/no: cannot create the folder: no such file or directory\n$/i);
	}
});

test("names that only some systems allow", async (t) => {
	const odd = pairParts(), long = `${"文".repeat(100)}.txt`;
	odd.files[0].name = "a\\b:c\n*/nul. ";
	const { code, stderr, folder } = await both(t, (path) => writeFileSync(join(path, "m.qstore"), buildArchive(decoder, odd)), "m.qstore",
		"-o", "out");
	assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
	assert.ok(existsSync(join(folder, "out", odd.files[0].name)));
	// No name has more than 255 bytes here. (The file is no member: the helper's tar headers are too short for the name.)
	odd.files[3].name = `x/${long}`;
	const prepare = (path) => writeFileSync(join(path, "m.qstore"), buildArchive(decoder, odd));
	const cut = await both(t, prepare, "m.qstore", "-o", "out");
	const escaped = readdirSync(join(cut.folder, "out/x"))[0];
	assert.match(escaped, /^文{82}~[0-9a-f]{8}$/);
	assert.equal(cut.code, 0);
	assert.equal(cut.stderr, `TOOL: warning: m.qstore: file ${Buffer.from(`x/${long}`).subarray(0, 300)}: this system does not allow the name; ` +
		`it is restored as x/${escaped}\n`);
	assert.equal((await both(t, prepare, "m.qstore", "-o", "out", "--quiet")).stderr, "");
	// The escaped name may be taken.
	await refused(t, 1, `out/x/${escaped}: exists already; replace it with --force`, (path) => {
		prepare(path);
		mkdirSync(join(path, "out/x"), { recursive: true });
		writeFileSync(join(path, "out/x", escaped), "mine");
	}, "m.qstore", "-o", "out", "--quiet");
	// On Windows the same names are escaped without a try.
	for (const [name, other] of [["a\\b:c/50%:/x", "a%5Cb%3Ac/50%25%3A/x"], ["a./b /c..", "a%2E/b%20/c.%2E"], ["é:\n", "é%3A%0A"],
		["NUL/con.txt/Com1 .a/lpt9/com10/aux-/conx", "%4EUL/%63on.txt/%43om1 .a/%6Cpt9/com10/aux-/conx"], ["50%", "50%"]]) {
		assert.equal(escapeName(name), other);
		assert.equal(isWindowsName(name), name === other);
		assert.ok(isWindowsName(other));
	}
});

test("folders that were made go again after a failure", async (t) => {
	const damaged = archive.slice();
	damaged[Buffer.from(damaged.buffer).indexOf('{"a": 1}')] ^= 1;
	for (const output of ["new/deep/out", "new//out/"])
		assert.match((await both(t, (path) => writeFileSync(join(path, "m.qstore"), damaged), "m.qstore", "-o", output)).stderr,
			/is damaged/);
	const { folder } = await both(t, (path) => writeFileSync(join(path, "m.qstore"), damaged), "m.qstore", "-o", "new/deep/out");
	assert.deepEqual(tree(folder), ["m.qstore"]);
});

test("tensors of one name in two files cannot be in one", async (t) => {
	const twice = pairParts();
	twice.files[2].tensors[2].name = "w.scale";
	twice.files[3].variants = 3;
	twice.files[3].tensors[2].name = "w.scale";
	// Both of int8: the refinement is not in its layer, so its file takes something else.
	twice.files[3].extents = twice.files[3].extents.slice(1, 2);
	twice.files[3].content = twice.objects[3].data;
	twice.files[3].tensors = [{ name: "norm", dtype: "BF16", shape: [7], offset: 0, object: 3 }];
	const prepare = (path) => writeFileSync(join(path, "m.qstore"), buildArchive(decoder, twice));
	await refused(t, 1, "m.qstore: tensor w.scale is in both model.low and model.low: they cannot be in one file", prepare, "m.qstore",
		"-p", "low", "--tensor", "*", "-o", "out");
	await refused(t, 1, "m.qstore: tensor norm is in both model.low and sub/model.high: they cannot be in one file", prepare, "m.qstore",
		"-p", "low", "--tensor", "n*", "-o", "out");
	assert.equal((await both(t, prepare, "m.qstore", "-p", "low", "--tensor", "tiny", "--tensor", "w", "-o", "out")).code, 1);
});

test("numbers of threads, names and precisions", async (t) => {
	for (const threads of ["0", "x", "+2", " 2", "2x", "0x2", "", "1025", "99999999999999999999"])
		await refused(t, 2, `-j needs a number of threads, not ${threads} (see TOOL --help)`, nothing, "m.qstore", "-j", threads);
	await refused(t, 1, 'm.qstore: has no precision "fp8", only int8, bf16', nothing, "m.qstore", "-p", "fp8");
	await refused(t, 1, "m.qstore: has no file  in this precision", nothing, "m.qstore", "--file", "");
	await refused(t, 1, "high: not a qstore archive: not a regular file", (path) => mkdirSync(join(path, "high")), "high");
	await refused(t, 2, "one archive at a time, not also -o (see TOOL --help)", nothing, "--", "m.qstore", "-o");
	const { code, folder } = await both(t, (path) => writeFileSync(join(path, "ä b 文.qstore"), archive), "ä b 文.qstore", "-j", "1024", "-o",
		"öut put");
	assert.equal(code, 0);
	assert.equal(Object.keys(hashes(join(folder, "öut put"))).length, 2);
});

test("archives damaged or cut anywhere", async (t) => {
	const folder = temporary(t), path = join(folder, "m.qstore"), output = join(folder, "out");
	const compare = async (bytes, what) => {
		writeFileSync(path, bytes);
		const args = [path, "-p", "all", "-o", output, "-f", "-q", "-j1"];
		const { status, stderr } = spawnSync(qstoreUnpack, args, { encoding: "utf8" });
		const native = status === 0 ? hashes(output) : stderr;
		const js = await openQstore(Object.assign(bytesSource(bytes), { name: path }), { decoder })
			.then((opened) => unpack(opened, { output, precision: "all", force: true }))
			.then(() => hashes(output), (error) => `qstore-unpack: ${error.message}\n`);
		assert.deepEqual(js, native, what);
	};
	for (let at = 0; at < archive.length; at += at < 4096 ? 31 : 97) {
		const damaged = archive.slice();
		damaged[at] ^= 1 << at % 8;
		await compare(damaged, `byte ${at}`);
	}
	for (let size = 0; size < archive.length; size += size < 600 ? 25 : 301)
		await compare(archive.slice(0, size), `${size} bytes`);
});
