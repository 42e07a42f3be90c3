// Archives that are differences to another model, their base: it is given in any form, found by its SHA-256, and read only where it is
// needed.
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test, after } from "node:test";
import { openQstore } from "../../js/node/open.js";
import { bytesSource } from "../../js/source/source.js";
import { openQstore as openWeb } from "../../js/browser/open.js";
import { decode, hashes, native, temporary } from "./helpers/tools.mjs";

const folder = temporary({ after });
const path = (name) => join(folder, name);
const shards = () => readdirSync(path("old")).filter((name) => name.endsWith(".safetensors"))
	.map((name) => readFileSync(path(`old/${name}`)));

before(() => {
	native("qstore-generate", "--layers", "2", "--hidden", "96", "--intermediate", "256", "--vocab", "500", "--shards", "2", "-o",
		path("old"));
	native("qstore-quantize", "finetune", path("old"), "-o", path("new"));
	native("qstore-pack", "-q", path("old"), "-o", path("old.qstore"));
	native("qstore-pack", "-q", path("new"), "--base", path("old.qstore"), "-o", path("new.qstore"));
});

/** Every file of an archive is that of the folder. */
async function expectNew(archive) {
	for (const file of archive.filesOf())
		assert.deepEqual(Buffer.from(await file.read()), readFileSync(path(`new/${file.name}`)), file.name);
}

test("a base in any form", async () => {
	const open = await openQstore(path("old.qstore"));
	const bases = {
		"an archive's path": path("old.qstore"),
		"an open archive": open,
		"an archive in memory": readFileSync(path("old.qstore")),
		"a folder": path("old"),
		"files in memory": shards(),
		"what it is, and more": [readFileSync(path("new.qstore")), ...shards().map((bytes) => new Blob([bytes]))],
	};
	for (const [name, base] of Object.entries(bases))
		for (const workers of [false, 2]) {
			const archive = await openQstore(path("new.qstore"), { base, workers });
			await expectNew(archive).catch((error) => assert.fail(`${name}: ${error.message}`));
			await archive.close();
		}
	// It stays its opener's.
	await open.metadata("config.json");
	await open.close();
});

test("as in browsers", async () => {
	const archive = await openWeb(readFileSync(path("new.qstore")), { base: shards(), workers: false });
	await expectNew(archive);
	// Tensors that it gives away are not in the base's own memory.
	const bases = shards(), other = await openWeb(readFileSync(path("new.qstore")), { base: bases, workers: false });
	for await (const { data } of other.tensors())
		new Uint8Array(data.buffer).fill(0);
	assert.deepEqual(bases, shards());
});

test("what is the same as in the base is told apart", async () => {
	const archive = await openQstore(path("new.qstore"));
	const kinds = new Set(archive.tensorList.map(({ kind }) => kind));
	assert.deepEqual([...kinds].sort(), ["base", "delta"]);
	const files = archive.files.filter(({ kind }) => kind === "base");
	assert.equal(files.length, 2);
	assert.deepEqual(files.flatMap(({ variants }) => variants), []);
	assert.equal(archive.filesOf().length, readdirSync(path("new")).length);
	await archive.close();
});

test("without the base, or with another one", async () => {
	const archive = await openQstore(path("new.qstore"));
	const { sha256, name } = archive.files.find(({ kind }) => kind === "base");
	await assert.rejects(archive.file(name).read(), (error) => error.code === "NOT_FOUND" && error.message.includes(sha256) &&
		error.message.includes(name) && error.message.includes("new.qstore"));
	await assert.rejects(archive.tensors().next(), { name: "QstoreError", code: "NOT_FOUND" });
	// Small files need none.
	assert.deepEqual(Buffer.from(await archive.metadata("config.json")), readFileSync(path("new/config.json")));
	await archive.close();
	const flipped = shards();
	flipped[1][flipped[1].length - 1] ^= 1;
	for (const base of [path("new"), path("new.qstore"), shards()[0], flipped])
		await assert.rejects(openQstore(path("new.qstore"), { base }), { name: "QstoreError", code: "NOT_FOUND" });
	await assert.rejects(openQstore(path("new.qstore"), { base: path("nowhere") }), { name: "QstoreError", code: "IO" });
	await assert.rejects(openQstore(path("new.qstore"), { base: readFileSync(path("old.qstore")).subarray(0, 600) }),
		{ name: "QstoreError", code: "TRUNCATED" });
});

test("a damaged base is named", async () => {
	const bytes = readFileSync(path("old.qstore"));
	for (let at = 40000; at < bytes.length - 2000; at += 1000)
		bytes[at] ^= 4;
	writeFileSync(path("damaged.qstore"), bytes);
	const archive = await openQstore(path("new.qstore"), { base: path("damaged.qstore") });
	await assert.rejects((async () => {
		for await (const _ of archive.tensors());
	})(), { name: "QstoreError", code: "CORRUPT", message: /damaged\.qstore: tensor/ });
	await archive.close();
});

test("only what is needed is read of it", async () => {
	const plain = bytesSource(readFileSync(path("old.qstore")), "old");
	let read = 0;
	const counted = { ...plain, read: async (offset, length, options) => {
		const bytes = await plain.read(offset, length, options);
		read += bytes.length;
		return bytes;
	} };
	const archive = await openQstore(path("new.qstore"), { base: counted, workers: false });
	const opened = read, tensor = archive.tensorsOf().find(({ name, size }) => name.includes("q_proj") && size < 40000);
	await tensor.load();
	assert.ok(read - opened > 0 && read - opened < 40000, `${read - opened} bytes`);
	await archive.metadata("config.json");
	const controller = new AbortController(), before = read;
	controller.abort();
	await assert.rejects(tensor.load({ signal: controller.signal }), { name: "AbortError" });
	assert.equal(read, before);
});

test("qstore-decode --base", async () => {
	for (const base of ["old", "old.qstore"]) {
		const done = await decode(folder, "new.qstore", "--base", base, "-o", `out-${base}`);
		assert.equal(done.code, 0, done.stderr);
		assert.deepEqual(hashes(path(`out-${base}`)), hashes(path("new")));
	}
	mkdirSync(path("one"));
	copyFileSync(path("old/config.json"), path("one/config.json"));
	for (const args of [[], ["--base", "one"]]) {
		const failed = await decode(folder, "new.qstore", ...args, "-o", "none");
		assert.equal(failed.code, 1);
		assert.match(failed.stderr, /^qstore-decode: new\.qstore: .*SHA-256 [0-9a-f]{64}\)\n$/);
		assert.ok(!readdirSync(folder).includes("none"));
	}
});
