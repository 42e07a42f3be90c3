// A file of an archive as a Blob: the same as a real one for whoever reads it, and restored piece by piece.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileBlob, fileResponse } from "../../js/archive/blob.js";
import { noise } from "./helpers/archive.mjs";

const MIB = 2 ** 20;

/** A file of noise that says what was read of it. */
function file(size, { piece = 300_000, fail } = {}) {
	const data = noise(size), reads = [];
	return {
		name: "folder/model.gguf", size, data, reads,
		async* chunks(start, end, { signal } = {}) {
			reads.push([start, end]);
			for (let at = start; at < end; at += piece) {
				await null;
				signal?.throwIfAborted();
				if (fail?.())
					throw new Error("the network is down");
				yield data.slice(at, Math.min(at + piece, end));
			}
		},
	};
}

const total = (reads) => reads.reduce((sum, [start, end]) => sum + end - start, 0);

test("it is a Blob with a File's name", async () => {
	const blob = fileBlob(file(1000), { type: "Model/GGUF" });
	assert.ok(blob instanceof Blob);
	assert.equal(blob.size, 1000);
	assert.equal(blob.name, "folder/model.gguf");
	assert.equal(blob.type, "model/gguf");
	assert.equal(fileBlob(file(0)).size, 0);
	assert.equal((await fileBlob(file(0)).arrayBuffer()).byteLength, 0);
	assert.equal((await new Response(fileBlob(file(0)).stream()).arrayBuffer()).byteLength, 0);
});

test("slices are a real Blob's, whatever the numbers", async () => {
	const source = file(5000), real = new Blob([source.data]), blob = fileBlob(source);
	const places = [undefined, 0, 1, 4999, 5000, 6000, -1, -5000, -6000];
	for (const start of places) {
		for (const end of places) {
			const slice = blob.slice(start, end), expected = real.slice(start, end);
			assert.equal(slice.size, expected.size, `${start}, ${end}`);
			assert.deepEqual(Buffer.from(await slice.arrayBuffer()), Buffer.from(await expected.arrayBuffer()), `${start}, ${end}`);
		}
	}
	// Node 20's own Blob ends the process at these.
	assert.equal(blob.slice(12.7).size, 5000 - 13);
	assert.equal(blob.slice(NaN, Infinity).size, 5000);
	assert.equal(blob.slice(-Infinity, NaN).size, 0);
	const inner = blob.slice(100, 4000).slice(-200, -100, "a/B");
	assert.deepEqual(Buffer.from(await inner.bytes()), Buffer.from(source.data.subarray(3800, 3900)));
	assert.equal(inner.type, "a/b");
});

test("nothing is read before it is asked for", () => {
	const source = file(10 * MIB), blob = fileBlob(source);
	blob.slice(5, 100).slice(1).stream();
	blob.stream();
	fileResponse(source);
	assert.deepEqual(source.reads, []);
});

test("ranges of any place and size are right, through kept blocks and past them", async () => {
	const source = file(40 * MIB + 12345), blob = fileBlob(source);
	let state = 1;
	const random = (max) => (state = Math.imul(state, 1103515245) + 12345 >>> 0) % max;
	for (let i = 0; i < 60; i++) {
		const start = random(source.size), size = random([100, MIB, 3 * MIB, 12 * MIB][i % 4]) + 1, slice = blob.slice(start, start + size);
		const bytes = i % 3 ? await slice.bytes() : new Uint8Array(await new Response(slice.stream()).arrayBuffer());
		assert.equal(Buffer.compare(bytes, source.data.subarray(start, start + size)), 0, `${start} + ${size}`);
	}
});

test("a runtime's pattern, the end first, then jumps and overlaps, restores little twice", async () => {
	const size = 24 * MIB, source = file(size), blob = fileBlob(source);
	await blob.slice(0, 131072).arrayBuffer();
	await blob.slice(0, MIB).arrayBuffer();
	await blob.slice(size - 5 * MIB, size).arrayBuffer();
	let asked = 6 * MIB + 131072;
	for (let at = MIB; at < size - 5 * MIB; at += 700_000) {
		await blob.slice(at, at + MIB).arrayBuffer();
		asked += MIB;
	}
	assert.ok(asked > 1.3 * size, "the pattern overlaps");
	assert.ok(total(source.reads) <= size + 2 * MIB, `${total(source.reads)} bytes restored of ${size}`);
});

test("a file that is restored at once is so only once", async () => {
	const source = Object.assign(file(9 * MIB), { atOnce: true }), blob = fileBlob(source);
	for (let at = 0; at < source.size; at += MIB)
		assert.equal(Buffer.compare(await blob.slice(at, at + 2 * MIB).bytes(), source.data.subarray(at, at + 2 * MIB)), 0);
	assert.equal(Buffer.compare(new Uint8Array(await new Response(blob.stream()).arrayBuffer()), source.data), 0);
	assert.deepEqual(source.reads, [[0, source.size]]);
});

test("two that want the same at once share it", async () => {
	const source = file(3 * MIB), blob = fileBlob(source);
	await Promise.all([blob.slice(0, 100).bytes(), blob.slice(50, 200).bytes(), blob.slice(10, 3 * MIB).bytes()]);
	assert.equal(total(source.reads), 3 * MIB);
});

test("after a failure the next read tries again", async () => {
	let down = true;
	const source = file(2 * MIB, { fail: () => down }), blob = fileBlob(source);
	await assert.rejects(blob.arrayBuffer(), /network is down/);
	await assert.rejects(new Response(blob.stream()).arrayBuffer(), /network is down/);
	down = false;
	assert.equal(Buffer.compare(await blob.bytes(), source.data), 0);
});

test("a signal ends the reads of all slices", async () => {
	const controller = new AbortController(), source = file(20 * MIB), blob = fileBlob(source, { signal: controller.signal });
	const slice = blob.slice(0, 10 * MIB), reading = slice.arrayBuffer();
	controller.abort(new Error("no longer wanted"));
	await assert.rejects(reading, /no longer wanted/);
	await assert.rejects(slice.slice(5, 6).text(), /no longer wanted/);
});

test("a stream that is left early reads no further", async () => {
	const source = file(20 * MIB), reader = fileBlob(source).stream().getReader();
	assert.equal((await reader.read()).value.length, 300_000);
	await reader.cancel();
	assert.deepEqual(source.reads, [[0, 20 * MIB]]);
});

test("text and JSON", async () => {
	const text = JSON.stringify({ text: "größer" }), data = new TextEncoder().encode(text);
	const source = { name: "config.json", size: data.length, async* chunks(start, end) { yield data.slice(start, end); } };
	assert.equal(await fileBlob(source).text(), text);
	assert.deepEqual(await fileResponse(source).json(), { text: "größer" });
	assert.equal(fileResponse(source).headers.get("content-type"), "application/json");
});

test("a Response to a request of a range", async () => {
	const source = file(1000);
	for (const [range, start, end] of [["bytes=0-0", 0, 1], ["bytes=10-19", 10, 20], ["bytes=990-", 990, 1000], ["bytes=-7", 993, 1000],
		["bytes=0-5000", 0, 1000], ["bytes=-5000", 0, 1000]]) {
		const response = fileResponse(source, { range });
		assert.equal(response.status, 206, range);
		assert.equal(response.headers.get("content-range"), `bytes ${start}-${end - 1}/1000`);
		assert.equal(response.headers.get("content-length"), String(end - start));
		assert.equal(Buffer.compare(new Uint8Array(await response.arrayBuffer()), source.data.subarray(start, end)), 0);
	}
	for (const range of ["bytes=1000-", "bytes=2000-3000", "bytes=-0"]) {
		const response = fileResponse(source, { range });
		assert.equal(response.status, 416, range);
		assert.equal(response.headers.get("content-range"), "bytes */1000");
	}
	assert.equal(fileResponse(file(0), { range: "bytes=0-0" }).status, 416);
	for (const range of ["bytes=5-2", "bytes=0-1,5-6", "bytes=-", "lines=1-2", null])
		assert.equal(fileResponse(source, { range }).status, 200, range);
});

test("a Response says its size, and takes headers", async () => {
	const source = file(MIB), response = fileResponse(source, { headers: { etag: '"1"' } });
	assert.equal(response.status, 200);
	assert.equal(response.headers.get("content-length"), String(MIB));
	assert.equal(response.headers.get("content-type"), "application/octet-stream");
	assert.equal(response.headers.get("etag"), '"1"');
	assert.equal(Buffer.compare(new Uint8Array(await response.arrayBuffer()), source.data), 0);
});
