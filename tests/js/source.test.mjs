// Sources over memory, blobs and files.
import assert from "node:assert/strict";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openFile } from "../../js/node/file-source.js";
import { blobSource, bytesSource, readExactly, toSource, withHead } from "../../js/source/source.js";
import { noise } from "./helpers/archive.mjs";
import { temporary } from "./helpers/tools.mjs";

const data = noise(1000);

test("every source reads ranges, and less only at its end", async (t) => {
	const path = join(temporary(t), "data");
	writeFileSync(path, data);
	const wider = new Uint8Array([9, ...data, 9]);
	const file = await openFile(path);
	t.after(() => file.close());
	const sources = {
		buffer: bytesSource(data.buffer),
		view: bytesSource(wider.subarray(1, 1001)),
		"DataView": toSource(new DataView(wider.buffer, 1, 1000)),
		blob: toSource(new Blob([data])),
		file,
		head: withHead(blobSource(new Blob([data])), data.subarray(0, 300)),
	};
	for (const [name, source] of Object.entries(sources)) {
		assert.equal(source.byteLength, 1000, name);
		for (const [offset, length] of [[0, 0], [0, 1], [0, 1000], [1, 998], [299, 1], [299, 2], [300, 5], [999, 1], [990, 100], [1000, 5], [2000, 5]])
			assert.deepEqual(new Uint8Array(await source.read(offset, length)), data.slice(offset, offset + length), `${name} ${offset} ${length}`);
		await assert.rejects(source.read(0, 10, { signal: AbortSignal.abort() }), { name: "AbortError" }, name);
	}
});

test("a range that must be there says where the source ended", async () => {
	const source = bytesSource(data, "x.qstore");
	assert.equal((await readExactly(source, 990, 10)).length, 10);
	await assert.rejects(readExactly(source, 990, 11), { code: "TRUNCATED", message: /^x\.qstore: ends too early, at byte 1000: 11 bytes from byte 990/ });
	const greedy = { read: async () => data };
	await assert.rejects(readExactly(greedy, 0, 10), { code: "IO", message: /gave 1000 bytes where 10/ });
});

test("a File gives its name", () => {
	assert.equal(blobSource(new Blob([])).name, undefined);
	assert.equal(blobSource(Object.assign(new Blob([]), { name: "a.qstore" })).name, "a.qstore");
});

test("what is no source is refused", () => {
	for (const input of ["model.qstore", null, undefined, 1, {}, { read: 1 }])
		assert.throws(() => toSource(input), { code: "USAGE" });
});

test("files that cannot be opened say why", async (t) => {
	const folder = temporary(t);
	await assert.rejects(openFile(join(folder, "none")), { code: "IO", message: `${join(folder, "none")}: cannot open: no such file or directory` });
	mkdirSync(join(folder, "d"));
	await assert.rejects(openFile(join(folder, "d")), { code: "NOT_QSTORE", message: /not a regular file/ });
});

test("a file that shrinks while it is read gives what is left", async (t) => {
	const path = join(temporary(t), "data");
	writeFileSync(path, data);
	const source = await openFile(path);
	t.after(() => source.close());
	truncateSync(path, 100);
	assert.equal((await source.read(50, 100)).length, 50);
});
