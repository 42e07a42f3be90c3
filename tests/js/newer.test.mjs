// Archives of versions to come (native/FORMAT.md, 4.3), which a patched writer makes: what needs a newer reader is NEWER, all else is
// restored, natively and in JavaScript with the same messages; and what is damaged is not taken for newer.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore } from "../../js/node/index.js";
import { bytesSource } from "../../js/source/source.js";
import { createDecoder } from "../../js/wasm/module.js";
import { buildArchive, noise } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { decode, temporary } from "./helpers/tools.mjs";

const decoder = await createDecoder();
const unpackTool = fileURLToPath(new URL("../../build/bin/qstore-unpack", import.meta.url));
const SIZE = 4096, OLD = noise(SIZE, 1), NEW = noise(SIZE, 2), FINE = noise(SIZE, 3);
const NEWER_CHUNK = "needs a newer qstore: it is coded in a way that this one does not know";
const NEWER_ARCHIVE = "made by a newer qstore: this one reads format version 1.0";

/** A chunk of mode 12, and chunks with a symbol block of type 6: of planes, of codes and inside a sparse block. */
const CODINGS = {
	"a mode": [12, ...NEW], "the last mode": [255], "a type of symbol block": [2, 6, ...NEW], "a type in codes": [3, 1, 200, ...NEW],
	"a type inside a sparse block": [2, 4, 0, 1, 6, 7],
};

/**
 * Two variants. "low" has a.bin, of an object that is as always, and b.bin, of one that is coded in a new way (`coded`); "high" has a file of
 * its own. patch: may change the index's body. minor: the version 1.MINOR that the header says.
 */
function newer({ coded = [0, ...NEW], minor = 1, patch }) {
	const object = (data, variant, chunk) => ({
		kind: 1, dtype: "U8", variant, elems: SIZE, cols: SIZE, chunkElems: SIZE, chunks: [Uint8Array.from(chunk ?? [0, ...data])], parts: [data],
	});
	const file = (name, variants, i, content) => ({
		name, variants, content, extents: [[i, 0, SIZE]], tensors: [{ name: name.slice(0, 1), dtype: "U8", shape: [SIZE], offset: 0, object: i }],
	});
	const archive = buildArchive(decoder, {
		variants: [{ name: "low", dtype: "U8" }, { name: "high", dtype: "U8", coarser: 0 }],
		objects: [object(OLD, 0), object(NEW, 0, coded), object(FINE, 1)],
		files: [file("a.bin", 1, 0, OLD), file("b.bin", 1, 1, NEW), file("c.bin", 2, 2, FINE)],
		change: patch,
	});
	const header = archive.subarray(512, 576), view = new DataView(header.buffer, header.byteOffset);
	view.setUint16(10, minor, true);
	view.setBigUint64(56, decoder.xxh3(header.subarray(0, 56)), true);
	return archive;
}

/** Runs both tools on an archive; they must say the same, which is returned with the folders that they made. */
async function both(t, archive, ...args) {
	const folders = [temporary(t), temporary(t)], said = [];
	for (const [i, folder] of folders.entries()) {
		writeFileSync(join(folder, "m.qstore"), archive);
		const command = ["m.qstore", "-o", "out", ...args];
		if (i === 0) {
			const { status, stderr } = spawnSync(unpackTool, command, { cwd: folder, encoding: "utf8" });
			said.push({ code: status, stderr: stderr.replaceAll("qstore-unpack", "TOOL") });
		} else {
			const { code, stderr } = await decode(folder, ...command);
			said.push({ code, stderr: stderr.replaceAll("qstore-decode", "TOOL") });
		}
	}
	assert.deepEqual(said[0], said[1]);
	return { ...said[0], folders };
}

for (const [what, coded] of Object.entries(CODINGS))
	test(`${what}: what needs it is NEWER, all else is restored`, async (t) => {
		const archive = newer({ coded });
		const failed = await both(t, archive, "-p", "low");
		assert.equal(failed.code, 1);
		assert.ok(failed.stderr.startsWith("TOOL: m.qstore: tensor b: chunk 1 of 1") && failed.stderr.includes(NEWER_CHUNK), failed.stderr);
		// The variant that does not need it.
		const fine = await both(t, archive, "-p", "high");
		assert.equal(fine.code, 0, fine.stderr);
		// The file that does not need it.
		const kept = await both(t, archive, "-p", "low", "--keep-going");
		assert.equal(kept.code, 3);
		assert.ok(kept.stderr.includes(NEWER_CHUNK), kept.stderr);
		for (const folder of kept.folders) {
			assert.ok(readFileSync(join(folder, "out/a.bin")).equals(OLD));
			assert.ok(!existsSync(join(folder, "out/b.bin")));
		}
		// The tensors.
		const opened = await openQstore(bytesSource(archive), { workers: false });
		t.after(() => opened.close());
		const load = async (name, precision) => {
			const { bytes } = await opened.tensorsOf({ precision }).find((tensor) => tensor.name === name).load();
			return Buffer.from(bytes);
		};
		assert.ok((await load("a", "low")).equals(OLD));
		await assert.rejects(load("b", "low"), { code: "NEWER" });
		assert.ok((await load("c", "high")).equals(FINE));
	});

test("a chunk that is damaged is not newer, whatever the version", async (t) => {
	for (const coded of [[0, ...NEW], CODINGS["a mode"]]) {
		const archive = newer({ coded }), at = Buffer.from(archive).indexOf(Buffer.from(coded));
		archive[at] = 99;
		const { code, stderr } = await both(t, archive, "-p", "low");
		assert.equal(code, 1);
		assert.match(stderr, /is damaged: its checksum differs/);
	}
});

test("a newer chunk is not fetched twice, a damaged one is", async (t) => {
	for (const [coded, byte, code, requests] of [[CODINGS["a mode"], 12, "NEWER", 0], [[0, ...NEW], 12, "CORRUPT", 1]]) {
		const archive = newer({ coded });
		archive[Buffer.from(archive).indexOf(Buffer.from(coded))] = byte;
		const server = await serve(archive);
		t.after(() => server.close());
		const opened = await openQstore(server.url, { workers: false });
		t.after(() => opened.close());
		const tensor = opened.tensorsOf({ precision: "low" }).find(({ name }) => name === "b"), before = server.log.length;
		await assert.rejects(tensor.load(), { code });
		// The archive is so small that all of it came with the index.
		assert.equal(server.log.length - before, requests);
	}
});

const INDEX = {
	"a kind of object": (view, { objects }) => view.setUint8(objects + 96, 6),
	"a rule": (view, { objects }) => view.setUint8(objects + 96 + 3, 18),
	"a dtype": (view, { objects }) => view.setUint8(objects + 96 + 1, 99),
	"a kind of file": (view, { files }) => view.setUint32(files + 80 + 48, 4, true),
	"a reserved field": (view, { variants }) => view.setUint32(variants + 12, 1, true),
	"an array": (view) => view.setUint32(40, 1, true),
};

for (const [what, patch] of Object.entries(INDEX))
	test(`${what} that is not known: the archive is NEWER, or damaged if its version is known`, async (t) => {
		const { code, stderr } = await both(t, newer({ patch }));
		assert.deepEqual({ code, stderr }, { code: 1, stderr: `TOOL: m.qstore: ${NEWER_ARCHIVE}\n` });
		assert.match((await both(t, newer({ patch, minor: 0 }))).stderr, /m\.qstore: the index is damaged\n$/);
		await assert.rejects(openQstore(bytesSource(newer({ patch })), { workers: false }), { code: "NEWER" });
	});

test("a newer minor version with nothing new is read", async (t) => {
	const { code, stderr, folders } = await both(t, newer({ minor: 7 }), "-p", "all");
	assert.equal(code, 0, stderr);
	for (const folder of folders)
		assert.ok(readFileSync(join(folder, "out/low/b.bin")).equals(NEW));
});
