// qstore-unpack and qstore-decode are one command twice: the same messages, exit codes and files for whatever they are given.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { escapeName, isWindowsName } from "../../js/node/file-names.js";
import { openQstore } from "../../js/node/open.js";
import { unpack } from "../../js/node/unpack.js";
import { bytesSource } from "../../js/source/source.js";
import { createDecoder } from "../../js/wasm/module.js";
import { buildArchive, pairParts } from "./helpers/archive.mjs";
import { whyNoMount } from "./helpers/mount.mjs";
import { decode, decodeCli, decodeWith, hashes, native, temporary } from "./helpers/tools.mjs";

const qstoreUnpack = fileURLToPath(new URL("../../build/bin/qstore-unpack", import.meta.url));
const decoder = await createDecoder();
const archive = buildArchive(decoder, pairParts());

/**
 * Runs both, each in a folder of its own that `prepare` has filled; they must agree, and leave the same files. Gives what they said.
 * prepare.input: bytes that they are given on standard input.
 */
async function both(t, prepare, ...args) {
	const [{ folder, ...said }, { folder: other, ...js }] = await each(t, prepare, ...args);
	assert.deepEqual(said, js, args.join(" "));
	assert.deepEqual(tree(folder), tree(other), args.join(" "));
	return { ...said, folder, other };
}

/** Runs both, and gives what each said, and its folder. */
async function each(t, prepare, ...args) {
	const [c, js] = [temporary(t), temporary(t)], { input } = prepare;
	for (const folder of [c, js]) {
		writeFileSync(join(folder, "m.qstore"), archive);
		prepare(folder);
	}
	const { status: code, stdout, stderr } = spawnSync(qstoreUnpack, args, { cwd: c, encoding: "utf8", input });
	const other = await decodeWith({ cwd: js, input }, ...args);
	return [{ code, stdout, stderr: stderr.replaceAll("qstore-unpack", "TOOL"), folder: c },
		{ code: other.code, stdout: other.stdout, stderr: other.stderr.replaceAll("qstore-decode", "TOOL"), folder: js }];
}

const tree = (folder) => readdirSync(folder, { recursive: true }).sort();

/** Both fail with this message, and leave everything as it was. */
async function refused(t, code, message, prepare, ...args) {
	let before;
	const prepared = (path) => {
		prepare(path);
		before = tree(path);
	};
	const { folder, other: _, ...said } = await both(t, Object.assign(prepared, { input: prepare.input }), ...args);
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
	await refused(t, 2, "no output folder", nothing, "m.qstore", "-o", "");
});

/** A GGUF file with a tensor in each of these types of ggml: name, number, elements and bytes of a block, where its FP16 scales are. */
const TYPES = [["F32", 0, 1, 4, []], ["F16", 1, 1, 2, []], ["Q4_0", 2, 32, 18, [0]], ["Q8_0", 8, 32, 34, [0]], ["Q2_K", 10, 256, 84, [80, 82]],
	["Q6_K", 14, 256, 210, [208]], ["IQ2_XXS", 16, 256, 66, [0]], ["IQ4_NL", 20, 32, 18, [0]], ["BF16", 30, 1, 2, []],
	["MXFP4", 39, 32, 17, []]];
const ROWS = 3, COLS = 512;

function gguf() {
	const u32 = (n) => Buffer.from(Uint32Array.of(n).buffer), u64 = (n) => Buffer.from(BigUint64Array.of(BigInt(n)).buffer);
	const text = (string) => Buffer.concat([u64(Buffer.byteLength(string)), Buffer.from(string)]);
	const infos = [], data = [];
	let at = 0, seed = 1;
	for (const [name, type, elems, size, scales] of TYPES) {
		const bytes = Buffer.from(Uint8Array.from({ length: ROWS * COLS / elems * size },
			() => (seed = Math.imul(seed, 1103515245) + 12345) >>> 16));
		// No infinities and no NaN, whose bits may change.
		for (let block = 0; block < bytes.length; block += size)
			for (const scale of elems > 1 ? scales : [size - 2])
				bytes[block + scale + 1] &= 0xbb;
		infos.push(text(`t/${name}`), u32(2), u64(COLS), u64(ROWS), u32(type), u64(at));
		data.push(bytes, Buffer.alloc(-bytes.length & 31));
		at += bytes.length + (-bytes.length & 31);
	}
	const head = Buffer.concat([Buffer.from("GGUF"), u32(3), u64(TYPES.length), u64(1), text("general.architecture"), u32(8), text("odd"),
		...infos]);
	return Buffer.concat([head, Buffer.alloc(-head.length & 31), ...data]);
}

const blocksFolder = mkdtempSync(join(tmpdir(), "qstore-blocks-"));
after(() => rmSync(blocksFolder, { recursive: true, force: true }));
before(() => {
	writeFileSync(join(blocksFolder, "m.gguf"), gguf());
	native("qstore-pack", join(blocksFolder, "m.gguf"), "--quantize", "none", "-o", join(blocksFolder, "m.qstore"), "-q");
});
const withBlocks = (path) => copyFileSync(join(blocksFolder, "m.qstore"), join(path, "m.qstore"));

/** Both succeed, and leave the same files. */
async function same(t, prepare, ...args) {
	const { code, stdout, stderr, folder, other } = await both(t, prepare, ...args);
	assert.equal(code, 0, stderr);
	assert.deepEqual(hashes(folder), hashes(other), args.join(" "));
	return { stdout, stderr, folder };
}

test("tensors in blocks become files of their bytes, with a line about each", async (t) => {
	const { stdout, folder } = await same(t, withBlocks, "m.qstore", "--tensor", "*", "-o", "out");
	const raw = TYPES.filter(([, , elems]) => elems > 1).map(([name]) => name);
	assert.equal(stdout, `${raw.map((name) => `out/t%2F${name}.bin: ${name} [${ROWS}, ${COLS}]\n`).join("")}out: ${raw.length + 1} files, ` +
		`${stdout.slice(stdout.lastIndexOf(", ") + 2)}`);
	assert.deepEqual(readdirSync(join(folder, "out")).sort(), [...raw.map((name) => `t%2F${name}.bin`), "tensors.safetensors"].sort());
	const [first] = raw, model = gguf(), bytes = readFileSync(join(folder, `out/t%2F${first}.bin`));
	assert.ok(model.includes(bytes) && bytes.length === ROWS * COLS / 32 * 18);
	for (const { stdout } of await each(t, withBlocks, "m.qstore", "--tensor", "t/Q8_0", "-o", "x.bin", "--json"))
		assert.deepEqual(JSON.parse(stdout).tensors, [{ file: "x.bin", tensor: "t/Q8_0", dtype: "Q8_0", shape: [ROWS, COLS] }]);
	const { stdout: data, stderr } = await both(t, withBlocks, "m.qstore", "--tensor", "t/Q8_0", "-o", "-");
	assert.equal(stderr, `t%2FQ8_0.bin: Q8_0 [${ROWS}, ${COLS}]\n`);
	assert.ok(data.length > 0);
	assert.equal((await same(t, withBlocks, "m.qstore", "--tensor", "t/Q8_0", "-o", "x.bin", "--quiet")).stdout, "");
});

test("--as f32 makes singles of floats and blocks", async (t) => {
	const names = TYPES.filter(([name]) => name !== "IQ2_XXS").flatMap(([name]) => ["--tensor", `t/${name}`]);
	const { folder, stdout } = await same(t, withBlocks, "m.qstore", ...names, "--as", "f32", "-o", "all.safetensors");
	assert.match(stdout, /^all\.safetensors: 1 file, [\d.]+ kB\n$/);
	const file = readFileSync(join(folder, "all.safetensors")), size = Number(file.readBigUInt64LE());
	const header = JSON.parse(file.subarray(8, 8 + size)), model = gguf();
	assert.ok(Object.values(header).every(({ dtype, shape }) => dtype === "F32" && `${shape}` === `${[ROWS, COLS]}`));
	const { data_offsets: [start, end] } = header["t/Q8_0"], made = file.subarray(8 + size + start, 8 + size + end);
	const { folder: raw } = await same(t, withBlocks, "m.qstore", "--tensor", "t/Q8_0", "-o", "sub/x.bin");
	const blocks = readFileSync(join(raw, "sub/x.bin"));
	assert.ok(model.includes(blocks));
	for (let i = 0; i < ROWS * COLS; i++) {
		const block = Math.floor(i / 32) * 34, d = half(blocks.readUInt16LE(block));
		assert.equal(made.readFloatLE(4 * i), Math.fround(d * blocks.readInt8(block + 2 + i % 32)), `element ${i}`);
	}
	for (const name of ["F32", "F16", "BF16", "Q2_K", "MXFP4"]) {
		const { folder } = await same(t, withBlocks, "m.qstore", "--tensor", `t/${name}`, "--as", "f32", "-o", "x.npy");
		const npy = readFileSync(join(folder, "x.npy")), { data_offsets: [from, to] } = header[`t/${name}`];
		assert.match(npy.toString("latin1", 0, 128), /^\x93NUMPY\x01\0v\0\{'descr': '<f4', 'fortran_order': False, 'shape': \(3, 512\), \} *\n$/);
		assert.ok(npy.subarray(128).equals(file.subarray(8 + size + from, 8 + size + to)), name);
	}
	const npy = await same(t, withBlocks, "m.qstore", "--tensor", "t/F16", "-o", "x.npy");
	assert.match(readFileSync(join(npy.folder, "x.npy"), "latin1"), /'<f2'/);
});

/** The value of a finite FP16 pattern. */
function half(bits) {
	const exponent = bits >> 10 & 31, value = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1024 + (bits & 1023)) * 2 ** (exponent - 25);
	return bits & 0x8000 ? -value : value;
}

test("what tensors cannot become is said", async (t) => {
	const tensor = (name, ...args) => ["m.qstore", "--tensor", `t/${name}`, ...args];
	for (const [code, message, ...args] of [
		[2, "tensor t/Q8_0 is Q8_0, which safetensors does not have: add --as f32, or name a folder or a .bin file",
			...tensor("Q8_0", "-o", "x.safetensors")],
		[2, "tensor t/BF16 is BF16, which NumPy does not have: add --as f32, or name a .bin file", ...tensor("BF16", "-o", "x.npy")],
		[2, "tensor t/IQ2_XXS is IQ2_XXS, which cannot be made f32", ...tensor("IQ2_XXS", "--as", "f32")],
		[2, "tensors can be made f32, not f16", ...tensor("Q8_0", "--as", "f16")],
		[2, "--as is for tensors: select some with --tensor (see TOOL --help)", "m.qstore", "--as", "f32"],
		[2, "x.bin: holds one tensor, and 10 are selected", ...tensor("*", "-o", "x.bin")],
		[2, "x.npy: is the name of a file: files beside the tensors need a folder", ...tensor("F32", "--file", "*", "-o", "x.npy")],
		[2, "x.npy: is the name of a file: all precisions need a folder", ...tensor("F32", "-p", "all", "-o", "x.npy")],
		[1, "m.qstore: has no tensor t/no in this precision", ...tensor("no", "-o", "x.npy")],
		[1, "m.qstore: exists and is not a folder", ...tensor("F32", "-o", "m.qstore/x.npy")],
		[2, "m.qstore: a stream takes one file, and 8 are selected", ...tensor("*", "-o", "-")],
		[2, "--json and -o - are both for standard output (see TOOL --help)", ...tensor("F32", "-o", "-", "--json")],
	])
		await refused(t, code, message, withBlocks, ...args);
	await refused(t, 1, "x.npy: exists already; replace it with --force", (path) => {
		withBlocks(path);
		writeFileSync(join(path, "x.npy"), "mine");
	}, ...tensor("F32", "-o", "x.npy"));
	await refused(t, 2, "m.qstore: a stream takes one file, and 2 are selected", nothing, "m.qstore", "-o", "-");
});

test("one file goes to standard output", async (t) => {
	assert.deepEqual(await both(t, nothing, "m.qstore", "--file", "config.json", "-o", "-", "--sha256").then(({ stdout, stderr }) =>
		({ stdout, stderr })), { stdout: '{"a": 1}\n', stderr: "" });
	const damaged = archive.slice();
	damaged[Buffer.from(damaged.buffer).indexOf('{"a": 1}')] ^= 1;
	const { code, stderr } = await both(t, (path) => writeFileSync(join(path, "m.qstore"), damaged), "m.qstore", "--file", "config.json", "-o", "-");
	assert.deepEqual({ code, stderr }, { code: 1, stderr: "TOOL: m.qstore: file config.json is damaged: its SHA-256 differs\n" });
	const { folder } = await both(t, nothing, "m.qstore", "-o", "./-");
	assert.deepEqual(tree(join(folder, "-")), ["config.json", "sub", "sub/model.high"]);
});

test("an archive on standard input, of which no more is read than the precision needs", async (t) => {
	const { variants } = JSON.parse(native("qstore-info", "--json", await fileOf(t, archive))), enough = variants[0].prefixSize;
	const input = (bytes) => Object.assign(() => {}, { input: bytes });
	for (const bytes of [archive, archive.subarray(0, enough)]) {
		const { code, stdout, folder, stderr } = await both(t, input(bytes), "-p", "low", "-");
		assert.equal(code, 0, stderr);
		assert.match(stdout, /^archive-low: 3 files, /);
		assert.equal(Object.keys(hashes(join(folder, "archive-low"))).length, 3);
	}
	await refused(t, 1, "standard input: ends too early for bf16; int8 is complete", input(archive.subarray(0, enough)), "-");
	await refused(t, 1, `standard input: ends too early: ${enough - 1} bytes of the ${enough} that int8 needs`,
		input(archive.subarray(0, enough - 1)), "-", "-p", "low");
	await refused(t, 1, "standard input: not a qstore archive", input(Buffer.alloc(0)), "-");
	await refused(t, 1, "standard input: not a qstore archive", input(Buffer.alloc(100000)), "-");
	assert.match((await both(t, input(archive.subarray(0, 700)), "-")).stderr, /^TOOL: standard input: ends inside the index: 700 of \d+ bytes\n$/);
	await refused(t, 1, 'standard input: has no precision "fp8", only int8, bf16', input(archive), "-", "-p", "fp8");
	// Who sends the archive may stop, or go on for ever.
	for (const [tool, ...start] of [[qstoreUnpack], [process.execPath, decodeCli]]) {
		const folder = temporary(t), child = spawn(tool, [...start, "-", "-p", "low", "-o", "out"], { cwd: folder, stdio: ["pipe", "ignore", "inherit"] });
		child.stdin.on("error", () => {});
		child.stdin.write(archive.subarray(0, enough));
		assert.equal(await new Promise((resolve) => child.on("exit", resolve)), 0);
		child.stdin.destroy();
		assert.equal(Object.keys(hashes(join(folder, "out"))).length, 3);
	}
});

async function fileOf(t, bytes) {
	const path = join(temporary(t), "m.qstore");
	writeFileSync(path, bytes);
	return path;
}

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
		["NUL/con.txt/Com1 .a/lpt9/com10/aux-/conx", "%4EUL/%63on.txt/%43om1 .a/%6Cpt9/com10/aux-/conx"], ["50%", "50%"],
		["conin$/CONOUT$.x/conin/COM¹/lpt³.txt/com²x/com⁴", "%63onin$/%43ONOUT$.x/conin/%43OM¹/%6Cpt³.txt/com²x/com⁴"]]) {
		assert.equal(escapeName(name), other);
		assert.equal(isWindowsName(name), name === other);
		assert.ok(isWindowsName(other));
	}
});

test("files with hidden names are restored only when they are asked for", async (t) => {
	const hidden = pairParts(), names = (folder) => tree(join(folder, "out"));
	const usual = names((await both(t, nothing, "m.qstore", "-o", "out", "-p", "low")).folder);
	const prepare = (path) => writeFileSync(join(path, "m.qstore"), buildArchive(decoder, hidden));
	const given = hidden.files[1].name, shown = usual.filter((name) => name !== given);
	assert.notEqual(shown.length, usual.length);
	hidden.files[1].name = ".bashrc";
	const one = "TOOL: warning: m.qstore: file .bashrc has a hidden name: it is left out; restore it with --hidden\n";
	for (const args of [[], ["--file", "*"]]) {
		const { code, stderr, folder } = await both(t, prepare, "m.qstore", "-o", "out", "-p", "low", ...args);
		assert.deepEqual({ code, stderr }, { code: 0, stderr: one });
		assert.deepEqual(names(folder), shown);
	}
	for (const args of [["--hidden"], ["--file", "*", "--file", ".bashrc"]]) {
		const { code, stderr, folder } = await both(t, prepare, "m.qstore", "-o", "out", "-p", "low", ...args);
		assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
		assert.deepEqual(names(folder), [".bashrc", ...shown].sort());
	}
	assert.deepEqual(names((await both(t, prepare, "m.qstore", "-o", "out", "-p", "low", "--file", ".bashrc")).folder), [".bashrc"]);
	// A folder's name counts too. A dot within a name does not.
	hidden.files[2].name = "a.b/.ssh/config";
	const { stderr, folder } = await both(t, prepare, "m.qstore", "-o", "out", "-p", "low");
	assert.equal(stderr, "TOOL: warning: m.qstore: file .bashrc and 1 other have hidden names: they are left out; restore them with --hidden\n");
	assert.deepEqual(names(folder).filter((name) => /(^|\/)\./.test(name)), []);
	hidden.files[2].name = "a..b/c.";
	assert.equal((await both(t, prepare, "m.qstore", "-o", "out", "-p", "low")).stderr, one);
});

const casefoldFs = fileURLToPath(new URL("../../build/tests/casefold_fs", import.meta.url));
const skipFolding = whyNoMount() ?? (existsSync(casefoldFs) ? undefined : "the file system that folds names is not built");

test("names that the file system takes for one", { skip: skipFolding }, async (t) => {
	const parts = pairParts(), backing = temporary(t), place = temporary(t), outside = statSync(place).dev;
	const child = spawn(casefoldFs, [backing, place, "-f"], { stdio: "ignore" }), ended = new Promise((resolve) => child.on("close", resolve));
	try {
		while (child.exitCode === null && statSync(place).dev === outside)
			await sleep(10);
		assert.equal(child.exitCode, null);
		for (const [first, second] of [["Config.json", "config.JSON"], ["cafe\u0301", "caf\u00e9"], ["SUB/a", "sub/A"]]) {
			[parts.files[1].name, parts.files[2].name] = [first, second];
			const prepare = (path) => writeFileSync(join(path, "m.qstore"), buildArchive(decoder, parts)), output = join(place, "out");
			// In other file systems they are two files.
			assert.equal((await both(t, prepare, "m.qstore", "-p", "low", "-o", "out")).code, 0);
			for (const threads of ["1", "4"])
				await refused(t, 1, `m.qstore: ${first} and ${second} would be one file, as this file system takes the names for one: ` +
					"restore each into a folder of its own, with --file", prepare, "m.qstore", "-p", "low", "-o", output, "-j", threads);
			assert.deepEqual(readdirSync(place), []);
			for (const name of [first, second])
				assert.equal((await decode((await each(t, prepare, "m.qstore", "-V"))[0].folder, "m.qstore", "-p", "low", "-o",
					join(place, "one"), "--file", name, "--force")).code, 0);
			rmSync(join(place, "one"), { recursive: true });
		}
	} finally {
		child.kill("SIGINT");
		await ended;
		// In case it died: nothing stays mounted.
		spawnSync("umount", ["-l", place]);
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
