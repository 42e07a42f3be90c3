// Damaged and cut archives: what is whole is restored and the rest is named, natively and in JavaScript alike; the bad ranges of an
// archive are listed; and a copy is mended by fetching just these.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore, repair, unpack } from "../../js/node/index.js";
import { serve } from "./helpers/server.mjs";
import { decode, hashes, native, temporary } from "./helpers/tools.mjs";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
const golden = fileURLToPath(new URL("../golden/good/", import.meta.url));
const folder = temporary({ after }), path = join(folder, "model.qstore"), restored = join(folder, "restored");
let data;

before(() => {
	const high = join(folder, "high"), low = join(folder, "low");
	native("qstore-generate", "--layers", "2", "--hidden", "128", "--intermediate", "352", "--vocab", "1000", "-o", high, "--low", low);
	writeFileSync(join(high, "vocab.txt"), Array.from({ length: 400 }, (_, i) => `word ${i * i}\n`).join(""));
	native("qstore-pack", high, "--low", low, "-o", path);
	native("qstore-unpack", path, "-p", "all", "-o", restored);
	data = readFileSync(path);
});

function run(tool, ...args) {
	const { status, stdout, stderr } = spawnSync(join(bin, tool), args, { encoding: "utf8", cwd: folder });
	return { status, stdout, stderr };
}

/** Writes a copy of an archive in which the given bytes differ; gives its path. */
function damage(bytes, places, name = "damaged.qstore") {
	const copy = Uint8Array.from(bytes);
	for (const at of places)
		copy[at] ^= 0x10;
	writeFileSync(join(folder, name), copy);
	return join(folder, name);
}

/** Salvages an archive with the native tool; gives its files and its list of damage. */
function salvageNatively(archive, ...args) {
	rmSync(join(folder, "out"), { recursive: true, force: true });
	const { status, stdout, stderr } = run("qstore-unpack", archive, "--keep-going", "--json", "-o", "out", "-p", "all", ...args);
	assert.ok([0, 3].includes(status), stderr);
	const { files, damagedFiles, damage } = JSON.parse(stdout);
	assert.equal(status, damagedFiles > 0 ? 3 : 0);
	return { files, damagedFiles, damage, hashes: existsSync(join(folder, "out")) ? hashes(join(folder, "out")) : {} };
}

async function salvageInJavaScript(archive, options = {}) {
	rmSync(join(folder, "out"), { recursive: true, force: true });
	const opened = await openQstore(archive, { workers: false });
	try {
		const { files, damagedFiles, damage } = await unpack(opened, { output: join(folder, "out"), precision: "all", keepGoing: true, ...options });
		const relative = (name) => name && name.slice(folder.length + 1);
		return {
			files, damagedFiles, damage: damage.map((each) => ({ ...each, file: relative(each.file), name: relative(each.name) })),
			hashes: existsSync(join(folder, "out")) ? hashes(join(folder, "out")) : {},
		};
	} finally {
		await opened.close();
	}
}

/** Compares what was salvaged into "out" with whole files: it is right but for the ranges that were named, which are zero. */
function compare({ damage }, whole) {
	for (const name of Object.keys(hashes(whole))) {
		const original = readFileSync(join(whole, name)), missing = damage.filter((each) => each.name === `out/${name}`);
		if (missing.length === 0) {
			assert.ok(readFileSync(join(folder, "out", name)).equals(original), name);
			continue;
		}
		assert.ok(!existsSync(join(folder, "out", name)), name);
		for (const { offset, size } of missing)
			original.fill(0, offset, offset + size);
		if (missing[0].file === null)
			assert.equal(missing.reduce((sum, { size }) => sum + size, 0), original.length, name);
		else
			assert.ok(readFileSync(join(folder, missing[0].file)).equals(original), name);
	}
}

test("one damaged chunk costs the tensor that it belongs to, and no other", async () => {
	const archive = await openQstore(path, { workers: false }), { index } = archive;
	await archive.close();
	const object = Array.from({ length: index.objectCount }, (_, i) => index.object(i)).findLast(({ chunkCount }) => chunkCount > 0);
	const copy = damage(data, [index.chunkOffset(object.firstChunk) + 9]);
	const natively = salvageNatively(copy);
	assert.equal(natively.damagedFiles, 1);
	assert.equal(natively.damage.length, 1);
	const [{ file, name, tensor, size, reason }] = natively.damage;
	assert.match(name, /^out\/bf16\/.*\.safetensors$/);
	assert.equal(file, `${name}.damaged`);
	assert.match(reason, /damaged\.qstore: tensor \S+: chunk \d+ of \d+ is damaged/);
	assert.ok(reason.includes(`tensor ${tensor}:`) && size > 0);
	compare(natively, restored);
	assert.deepEqual(await salvageInJavaScript(copy), natively);
	compare(natively, restored);
});

test("a small file that is damaged is left out, and named", async () => {
	const at = data.indexOf("{", data.indexOf("config.json\0"));
	const copy = damage(data, [at]), natively = salvageNatively(copy);
	assert.equal(natively.damage.length, 1);
	assert.equal(natively.damage[0].file, null);
	assert.match(natively.damage[0].reason, /file config\.json is damaged: its SHA-256 differs$/);
	compare(natively, restored);
	assert.deepEqual(await salvageInJavaScript(copy), natively);
});

test("of an archive that ends too early comes what it has", async () => {
	for (const part of [0.3, 0.7, 0.95]) {
		writeFileSync(join(folder, "cut.qstore"), data.subarray(0, data.length * part));
		const natively = salvageNatively("cut.qstore");
		assert.ok(natively.damagedFiles > 0);
		compare(natively, restored);
		const inJavaScript = await salvageInJavaScript(join(folder, "cut.qstore"));
		assert.deepEqual(inJavaScript.hashes, natively.hashes);
		const places = ({ damage }) => damage.map(({ reason, ...place }) => place);
		assert.deepEqual(places(inJavaScript), places(natively));
	}
});

test("selected files and tensors are restored from a cut archive that has them", async () => {
	const archive = await openQstore(path, { workers: false }), cut = join(folder, "cut.qstore");
	await archive.close();
	const { index } = archive, fine = index.payloadOffset + index.variant(1).layerOffset;
	writeFileSync(cut, data.subarray(0, fine + index.variant(1).layerSize / 2));
	const order = archive.tensorsOf({ precision: "bf16" }).filter((_, i) => archive.tensorList[i].kind !== "literal")
		.sort((a, b) => index.object(index.tensor(a.number).object).firstChunk - index.object(index.tensor(b.number).object).firstChunk);
	const first = order.find(({ number }) => archive.tensorList[number].kind === "refine").name, last = order.at(-1).name;
	for (const run of [async (...args) => spawnSync(join(bin, "qstore-unpack"), args, { cwd: folder, encoding: "utf8" }),
		async (...args) => decode(folder, ...args)]) {
		const code = ({ status, code }) => status ?? code;
		rmSync(join(folder, "out"), { recursive: true, force: true });
		assert.equal(code(await run(cut, "--tensor", first, "--file", "vocab.txt", "-o", "out")), 0);
		assert.deepEqual(readdirSync(join(folder, "out")), ["tensors.safetensors", "vocab.txt"]);
		const beyond = await run(cut, "--tensor", last, "-o", "out/x.bin");
		assert.equal(code(beyond), 1);
		assert.match(beyond.stderr, /beyond the end|ends too early/);
		assert.equal(code(await run(cut, "-o", "out/all")), 1);
		assert.equal((await run(path, "-p", "all", "--file", "vocab.txt", "-o", "-")).stdout, readFileSync(join(folder, "high/vocab.txt"), "utf8"));
		assert.equal(code(await run(path, "-p", "all", "--file", "*.json", "-o", "-")), 2);
	}
});

test("selected tensors that are whole have their own name", async () => {
	const copy = damage(data, [data.length - 5000]);
	rmSync(join(folder, "out"), { recursive: true, force: true });
	const { status, stderr } = run("qstore-unpack", copy, "-k", "-o", "out", "--tensor", "*");
	assert.equal(status, 3);
	assert.match(stderr, /^qstore-unpack: out\/tensors\.safetensors\.damaged: \d+ bytes from byte \d+ on are zero: .*: tensor \S+: chunk/);
	const lost = /: tensor (\S+): chunk/.exec(stderr)[1];
	rmSync(join(folder, "out"), { recursive: true, force: true });
	assert.equal(run("qstore-unpack", copy, "-k", "-o", "out", "--tensor", "*norm*").status, 0);
	assert.deepEqual(readdirSync(join(folder, "out")), ["tensors.safetensors"]);
	const js = await decode(folder, copy, "-k", "-o", "out/js.npy", "--tensor", lost, "--as", "f32");
	assert.deepEqual({ code: js.code, stdout: js.stdout.replace(/, .*/s, "") }, { code: 3, stdout: "out/js.npy: 1 file" });
	assert.deepEqual(readdirSync(join(folder, "out")), ["tensors.safetensors"]);
});

test("wherever golden archives are damaged, both readers restore the same, and name a tensor or a file", async () => {
	let n = 0;
	for (const name of readdirSync(golden).filter((each) => each.endsWith(".qstore"))) {
		const bytes = readFileSync(join(golden, name)), whole = join(folder, "whole");
		const archive = await openQstore(bytes, { workers: false }), { payloadOffset } = archive.index;
		rmSync(whole, { recursive: true, force: true });
		// Archives that need a base are skipped.
		if (spawnSync(join(bin, "qstore-unpack"), [join(golden, name), "-p", "all", "-o", whole]).status !== 0)
			continue;
		for (let i = 1; i < 3; i++) {
			const at = payloadOffset + Math.floor((bytes.length - payloadOffset) * i / 3);
			const copy = damage(bytes, [at]), natively = salvageNatively(copy);
			compare(natively, whole);
			assert.deepEqual(await salvageInJavaScript(copy), natively, `${name}, byte ${at}`);
			for (const { reason } of natively.damage)
				assert.match(reason, /: (tensor|file) /, `${name}, byte ${at}`);
			n += natively.damagedFiles;
		}
	}
	assert.ok(n > 25);
});

test("an existing file stays unless --force, also one that ends in .damaged", async () => {
	const copy = damage(data, [data.length - 5000]);
	rmSync(join(folder, "out"), { recursive: true, force: true });
	mkdirSync(join(folder, "out"));
	writeFileSync(join(folder, "out/model-00002-of-00002.safetensors.damaged"), "mine");
	const { status, stderr } = run("qstore-unpack", copy, "-k", "-o", "out");
	assert.deepEqual({ status, stderr }, { status: 1,
		stderr: "qstore-unpack: out/model-00002-of-00002.safetensors.damaged: exists already; replace it with --force\n" });
	assert.equal((await decode(folder, copy, "-k", "-o", "out")).stderr, stderr.replace("qstore-unpack", "qstore-decode"));
	assert.equal(readFileSync(join(folder, "out/model-00002-of-00002.safetensors.damaged"), "utf8"), "mine");
	assert.equal(run("qstore-unpack", copy, "-k", "-f", "-o", "out").status, 3);
	assert.notEqual(readFileSync(join(folder, "out/model-00002-of-00002.safetensors.damaged"), "utf8"), "mine");
});

test("--keep-going does not go together with standard output", async () => {
	for (const result of [run("qstore-unpack", path, "-k", "-o", "-"), await decode(folder, path, "-k", "-o", "-")]) {
		assert.equal(result.status ?? result.code, 2);
		assert.match(result.stderr, /--keep-going is for a folder: what is on standard output has no other name/);
	}
});

/** The ranges that qstore-info finds bad. */
function badRanges(archive) {
	const { status, stdout, stderr } = run("qstore-info", archive, "--verify", "--json");
	assert.equal(status, 1, stderr);
	return JSON.parse(stdout).damage;
}

test("qstore-info --verify lists the ranges that are bad", () => {
	const inLayer = data.length - 5000, inFile = data.indexOf("{", data.indexOf("config.json\0"));
	const header = data.indexOf("qstore/layer-bf16\0") + 110;
	const copy = damage(data, [inLayer, inFile, header]), found = badRanges(copy);
	assert.equal(found.length, 3);
	for (const [i, [at, what]] of [[inFile, /file config\.json is damaged/], [header, /tar|member/], [inLayer, /tensor \S+: chunk/]].entries()) {
		const { offset, size, reason } = found[i];
		assert.ok(offset <= at && at < offset + size && size < 40000, `${at}: ${offset}, ${size}`);
		assert.match(reason, what);
	}
	const { stderr, status } = run("qstore-info", copy, "--verify", "--quiet");
	assert.equal(status, 1);
	assert.equal(stderr.match(/^qstore-info: bad: \d+ bytes from byte \d+ on: /gm).length, 3);
	writeFileSync(join(folder, "cut.qstore"), data.subarray(0, data.length - 3000));
	assert.deepEqual(badRanges("cut.qstore").map(({ offset, size }) => [offset, size]), [[data.length - 3000, 3000]]);
	writeFileSync(join(folder, "long.qstore"), Buffer.concat([data, Buffer.from("more")]));
	assert.deepEqual(badRanges("long.qstore").map(({ offset, size }) => [offset, size]), [[data.length, 4]]);
	assert.equal(run("qstore-info", path, "--verify", "--json").status, 0);
});

test("a copy is mended by fetching what is bad in it", async (t) => {
	const server = await serve(data);
	t.after(() => server.close());
	const places = {
		"a chunk": [data.length - 5000], "a small file": [data.indexOf("{", data.indexOf("config.json\0"))],
		"a header": [data.indexOf("qstore/layer-bf16\0") + 110], index: [700], "the first byte": [0],
		"everywhere": Array.from({ length: 40 }, (_, i) => i * 997 + 11),
	};
	for (const [what, at] of Object.entries(places)) {
		const copy = damage(data, at), { code, stderr, stdout } = await decode(folder, server.url, "--repair", copy, "--json");
		assert.equal(code, 0, `${what}: ${stderr}`);
		assert.ok(readFileSync(copy).equals(data), what);
		const { ranges, size } = JSON.parse(stdout);
		assert.ok(at.every((each) => ranges.some(({ offset, size: length }) => offset <= each && each < offset + length)), what);
		assert.ok(what === "everywhere" || size < data.length / 2, `${what}: ${size}`);
	}
	const copy = damage(data, []);
	for (const length of [data.length - 1, data.length / 2, 2000]) {
		truncateSync(copy, length);
		assert.equal((await decode(folder, server.url, "--repair", copy)).code, 0);
		assert.ok(readFileSync(copy).equals(data), `${length}`);
	}
	const before = server.log.length;
	assert.equal((await decode(folder, server.url, "--repair", copy)).stdout, `${copy}: is good\n`);
	const fetched = server.log.slice(before).reduce((sum, { range }) => sum + (range ? range[1] + 1 - range[0] : data.length), 0);
	assert.ok(fetched < data.length / 2 && fetched < 200000, `${fetched} bytes are fetched for a good copy`);
});

test("what is no copy of the archive, and what comes from a bad one, changes nothing", async (t) => {
	const bad = Uint8Array.from(data);
	bad[data.length - 5000] ^= 1;
	const server = await serve(bad);
	t.after(() => server.close());
	const copy = damage(data, [data.length - 5000]);
	const result = await decode(folder, server.url, "--repair", copy);
	assert.equal(result.code, 1);
	assert.match(result.stderr, /is damaged itself: \d+ bytes from byte \d+ on\n$/);
	const other = join(folder, "other.qstore");
	for (const name of ["plain.qstore", "bf16.qstore"]) {
		copyFileSync(join(golden, name), other);
		const before = readFileSync(other), { code, stderr } = await decode(folder, path, "--repair", other);
		assert.equal(code, 1);
		assert.match(stderr, /other\.qstore: is another archive, of digest sha256-\S+, and stays as it is\n$/);
		assert.ok(readFileSync(other).equals(before));
	}
	writeFileSync(other, "no archive");
	assert.match((await decode(folder, path, "--repair", other)).stderr, /has nothing in common with this archive, and stays as it is\n$/);
	assert.equal(readFileSync(other, "utf8"), "no archive");
	assert.match((await decode(folder, path, "--repair", path)).stderr, /is the archive that the good bytes are to come from\n$/);
	assert.match((await decode(folder, path, "--repair", other, "-p", "low")).stderr, /--repair mends a copy, and restores no files/);
	const opened = await openQstore(path, { workers: false });
	t.after(() => opened.close());
	await assert.rejects(repair(opened, join(folder, "nowhere.qstore")), { code: "IO" });
});
