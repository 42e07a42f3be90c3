// The loader of the WebAssembly decoder: both modules, errors, and what happens to memory.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";

import { runsFrame, zstdFrame } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { compileWasm, createDecoder, hasSimd } from "../../js/wasm/module.js";

const noise = (size) => Uint8Array.from({ length: size }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 23);

test("this engine has SIMD", () => {
	assert.equal(hasSimd(), true);
});

for (const simd of [true, false]) {
	describe(simd ? "SIMD" : "scalar", () => {
		test("the module asks for nothing and exports what the loader uses", async () => {
			const module = await compileWasm({ simd });
			assert.deepEqual(WebAssembly.Module.imports(module), []);
			const names = WebAssembly.Module.exports(module).map((e) => e.name);
			for (const name of ["memory", "_initialize", "qs_heap", "qs_chunk", "qs_header", "qs_body", "qs_xxh3", "qs_zstd"])
				assert.ok(names.includes(name), name);
		});

		test("its version is the package's", async () => {
			const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
			assert.equal((await createDecoder({ simd })).version, version);
		});

		test("xxh3 gives the published values", async () => {
			const decoder = await createDecoder({ simd });
			assert.equal(decoder.xxh3(new Uint8Array(0)), 0x2d06800538d394c2n);
		});

		test("xxh3 reads exactly the bytes of the view", async () => {
			const decoder = await createDecoder({ simd });
			const bytes = noise(1000);
			assert.equal(decoder.xxh3(bytes.subarray(10, 500)), decoder.xxh3(bytes.slice(10, 500)));
			assert.notEqual(decoder.xxh3(bytes.subarray(10, 500)), decoder.xxh3(bytes.subarray(11, 501)));
		});

		test("zstd frames come back, of any size", async () => {
			const decoder = await createDecoder({ simd });
			for (const size of [0, 1, 255, 65536, 65537, 3_000_000]) {
				const bytes = noise(size);
				assert.deepEqual(decoder.zstd(zstdFrame(bytes), size), bytes);
			}
		});

		test("a zstd frame of another size, cut or damaged is CORRUPT", async () => {
			const decoder = await createDecoder({ simd });
			const frame = zstdFrame(noise(1000));
			assert.throws(() => decoder.zstd(frame, 999), { name: "QstoreError", code: "CORRUPT" });
			assert.throws(() => decoder.zstd(frame, 1001), { code: "CORRUPT" });
			for (let size = 0; size < frame.length; size += 97)
				assert.throws(() => decoder.zstd(frame.subarray(0, size), 1000), { code: "CORRUPT" });
		});

		test("the window of a zstd frame has a limit", async () => {
			const decoder = await createDecoder({ simd }), frame = (windowByte) => runsFrame([[7, 1000]], { windowByte });
			// A window of 2^23 bytes, and one of an eighth more.
			assert.deepEqual(decoder.zstd(frame(13 << 3), 1000), new Uint8Array(1000).fill(7));
			assert.throws(() => decoder.zstd(frame(13 << 3 | 1), 1000), { code: "CORRUPT" });
			assert.throws(() => decoder.zstd(Buffer.concat([frame(13 << 3), frame(14 << 3)]), 2000), { code: "CORRUPT" });
		});

		test("errors name what was being done", async () => {
			const decoder = await createDecoder({ simd });
			assert.throws(() => decoder.indexHeader(new Uint8Array(64)), { code: "NOT_QSTORE", message: /index header: not a qstore/ });
			assert.throws(() => decoder.indexHeader(new Uint8Array(0)), { name: "QstoreError" });
			assert.throws(() => decoder.zstd(new Uint8Array(4), 2 ** 31), { code: "LIMIT" });
			assert.throws(() => decoder.zstd(new Uint8Array(4), -1), { code: "LIMIT" });
		});

		test("raw chunks come back, and impossible ones are refused", async () => {
			const decoder = await createDecoder({ simd });
			const desc = { kind: 0, dtype: 0, rule: 0, elems: 100, cols: 1, first: 0 };
			const bytes = noise(100), dst = new Uint8Array(100);
			decoder.chunks([{ desc, bytes: Uint8Array.of(0, ...bytes) }], dst);
			assert.deepEqual(dst, bytes);
			const before = dst.slice();
			assert.throws(() => decoder.chunks([{ desc, bytes: Uint8Array.of(0, ...bytes, 0) }], dst), { code: "CORRUPT" });
			assert.throws(() => decoder.chunks([{ desc, bytes: Uint8Array.of(0, ...bytes.subarray(1)) }], dst), { code: "CORRUPT" });
			assert.throws(() => decoder.chunks([{ desc, bytes: Uint8Array.of(77, ...bytes) }], dst), { code: "NEWER" });
			assert.throws(() => decoder.chunks([{ desc, bytes: new Uint8Array(0) }], dst), { code: "CORRUPT" });
			assert.throws(() => decoder.chunks([{ desc, bytes: Uint8Array.of(0, ...bytes) }], dst.subarray(1)), { code: "USAGE" });
			assert.throws(() => decoder.chunks([{ desc: { ...desc, kind: 9 }, bytes: Uint8Array.of(0, ...bytes) }], dst),
				{ code: "USAGE" });
			assert.throws(() => decoder.chunks([{ desc: { ...desc, cols: 0 }, bytes: Uint8Array.of(0, ...bytes) }], dst),
				{ code: "USAGE" });
			assert.throws(() => decoder.chunks([{ desc: { ...desc, kind: 2, dtype: 9, rule: 1, coarse: bytes.subarray(1) },
				bytes: Uint8Array.of(0, ...bytes) }], dst),
				{ code: "USAGE" });
			assert.deepEqual(dst, before, "a failed call leaves dst alone");
		});

		test("64-bit numbers of a chunk arrive whole", async () => {
			const decoder = await createDecoder({ simd });
			const desc = { kind: 0, dtype: 0, rule: 0, elems: 1, cols: 2 ** 40 + 3, first: 2 ** 41 + 5 };
			const dst = new Uint8Array(1);
			decoder.chunks([{ desc, bytes: Uint8Array.of(0, 42) }], dst);
			assert.equal(dst[0], 42);
		});

		test("memory is freed, after success and failure", async () => {
			const decoder = await createDecoder({ simd });
			const bytes = noise(1 << 20), frame = zstdFrame(bytes),
				desc = { kind: 0, dtype: 0, rule: 0, elems: 1 << 20, cols: 1, first: 0 };
			const chunk = Buffer.concat([Uint8Array.of(0), bytes]), dst = new Uint8Array(1 << 20);
			const round = () => {
				decoder.zstd(frame, bytes.length);
				assert.throws(() => decoder.zstd(frame.subarray(0, 1 << 19), bytes.length), { code: "CORRUPT" });
				decoder.xxh3(bytes);
				decoder.chunks([{ desc, bytes: chunk }], dst);
				assert.throws(() => decoder.chunks([{ desc, bytes }], dst), { name: "QstoreError" });
				assert.throws(() => decoder.indexHeader(bytes), { code: "NOT_QSTORE" });
			};
			round();
			const size = decoder.memorySize;
			for (let i = 0; i < 100; i++)
				round();
			assert.equal(decoder.memorySize, size);
			assert.ok(size < 16 << 20, `${size} bytes`);
		});

		test("memory that cannot be had is MEMORY, and the decoder goes on", async () => {
			const decoder = await createDecoder({ simd });
			const sizes = [0x7fffffff, 0x7fffffff, 0x7fffffff];
			assert.throws(() => sizes.map((size) => decoder.zstd(zstdFrame(noise(10)), size)),
				(error) => ["MEMORY", "CORRUPT"].includes(error.code));
			assert.deepEqual(decoder.zstd(zstdFrame(noise(10)), 10), noise(10));
		});
	});
}

test("a module is compiled once and shared", async () => {
	const module = await compileWasm();
	const [a, b] = await Promise.all([createDecoder({ module }), createDecoder({ module })]);
	assert.equal(a.xxh3(noise(9)), b.xxh3(noise(9)));
});

test("the module's bytes, its URL, or a promise of it can be given; what is inside is the same", async (t) => {
	const bytes = await readFile(new URL("../../dist/qstore.wasm", import.meta.url)), server = await serve(bytes);
	t.after(() => server.close());
	assert.ok(bytes.equals(Buffer.from((await import("../../dist/qstore.wasm.js")).default, "base64")));
	for (const wasm of [bytes, server.url, new URL(server.url), Promise.resolve(bytes)])
		assert.equal((await createDecoder({ wasm })).xxh3(new Uint8Array(0)), 0x2d06800538d394c2n);
	await assert.rejects(createDecoder({ wasm: Uint8Array.of(0, 1, 2, 3) }), WebAssembly.CompileError);
});
