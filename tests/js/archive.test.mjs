// The archive reader over small archives made by hand.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readIndex } from "../../js/archive/read-index.js";
import { openQstore } from "../../js/node/open.js";
import { localCodec } from "../../js/decode/codec.js";
import { spawnThread } from "../../js/node/threads.js";
import { WorkerPool } from "../../js/decode/pool.js";
import { safetensorsHeader } from "../../js/archive/safetensors.js";
import { sha256 as digest } from "../../js/util/sha256.js";
import { bytesSource } from "../../js/source/source.js";
import { compileWasm, createDecoder } from "../../js/wasm/module.js";
import { buildArchive, noise, pairParts, sha256, zstdFrame } from "./helpers/archive.mjs";

const decoder = await createDecoder();
const parts = pairParts();
const bytes = buildArchive(decoder, parts);

/** A source that counts, and can be slow or wait. */
function counting(data, { name = "x.qstore", before } = {}) {
	const inner = bytesSource(data, name), log = [];
	return { ...inner, log, async read(offset, length, options) {
		log.push([offset, length]);
		await before?.(offset, length, options);
		return inner.read(offset, length, options);
	} };
}

const open = (data = bytes, options = {}) => openQstore(counting(data), { decoder, ...options });

test("lists variants, files and tensors", async () => {
	const archive = await open();
	assert.deepEqual(archive.variants.map(({ name, dtype, coarser, size }) => [name, dtype, coarser, size]), [
		["int8", "I8", undefined, parts.files[0].data.length + parts.files[2].content.length],
		["bf16", "BF16", "int8", parts.files[0].data.length + parts.files[3].content.length],
	]);
	assert.deepEqual(archive.files.map(({ name, variants, kind }) => [name, variants, kind]), [
		["config.json", ["int8", "bf16"], "stored"], ["empty.txt", ["int8"], "stored"],
		["model.low", ["int8"], "assembled"], ["sub/model.high", ["bf16"], "assembled"],
	]);
	assert.equal(archive.files[2].sha256, sha256(parts.files[2].content));
	const fine = archive.tensorList.at(-1);
	assert.deepEqual([fine.name, fine.kind, fine.shape, fine.error, fine.shared, fine.codedSize], ["w", "refine", [6, 5], 0.25, false, 63]);
	assert.deepEqual(archive.tensorList.map(({ kind, shared }) => `${kind}${shared ? " shared" : ""}`),
		["codes", "plain", "literal", "plain", "plain shared", "literal", "refine"]);
	assert.equal(archive.size, bytes.length);
});

test("an archive opens from what a caller has", async () => {
	const wider = new Uint8Array(bytes.length + 3);
	wider.set(bytes, 3);
	for (const input of [bytes, bytes.slice().buffer, wider.subarray(3), new Blob([bytes])])
		assert.equal((await openQstore(input)).variants.length, 2);
});

test("every range of every file, by one decoder and by a pool", async (t) => {
	const pool = new WorkerPool({ spawn: spawnThread, module: await compileWasm(), count: 2 });
	t.after(() => pool.close());
	for (const codec of [localCodec(decoder), pool]) {
		const archive = await open(bytes, { codec });
		for (const [name, precision, content] of [["model.low", "low", parts.files[2].content],
			["sub/model.high", "bf16", parts.files[3].content],
			["config.json", "high", parts.files[0].data], ["empty.txt", "int8", new Uint8Array(0)]]) {
			const file = archive.file(name, { precision });
			assert.deepEqual(await file.read(), content);
			for (const start of [0, 1, 11, 20, 40, 45, file.size - 1, file.size].filter((at) => at >= 0 && at <= file.size)) {
				for (const end of [start, start + 1, start + 17, file.size].filter((at) => at <= file.size))
					assert.deepEqual(await file.read(start, end), content.slice(start, end), `${name} ${start} ${end}`);
			}
			const streamed = [];
			for await (const chunk of file.stream())
				streamed.push(chunk);
			assert.deepEqual(new Uint8Array(Buffer.concat(streamed)), content);
		}
	}
});

test("ranges that make no sense are refused", async () => {
	const file = (await open()).file("config.json");
	for (const [start, end] of [[-1, 2], [3, 2], [0, 1000], [0.5, 1], [0, NaN]])
		await assert.rejects(file.read(start, end), { code: "USAGE" });
});

test("a consumer may do what it likes with the bytes that it gets", async () => {
	const archive = await open(), file = archive.file("model.low", { precision: "low" });
	const seen = [];
	for await (const chunk of file.chunks()) {
		seen.push(Uint8Array.from(chunk));
		structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
	}
	assert.deepEqual(new Uint8Array(Buffer.concat(seen)), parts.files[2].content);
	for await (const chunk of archive.file("config.json").chunks())
		chunk.fill(0);
	assert.deepEqual(await archive.file("config.json").read(), parts.files[0].data);
});

test("tensors by name and precision, and as a safetensors file", async () => {
	const archive = await open();
	for (const [name, precision, object] of [["w", "int8", 2], ["w", "bf16", 5], ["w", undefined, 5], ["norm", "low", 3],
		["norm", "high", 3]]) {
		const tensor = archive.tensor(name, { precision });
		assert.deepEqual(await tensor.read(), Uint8Array.from(parts.objects[object].data));
	}
	assert.deepEqual([archive.tensor("w").dtype, archive.tensor("w").shape, archive.tensor("w").file], ["BF16", [6, 5], "sub/model.high"]);
	assert.equal((await archive.tensor("none").read()).length, 0);
	const file = archive.safetensors(archive.tensorsOf({ precision: "int8" }));
	const all = await file.read(), n = Number(new DataView(all.buffer).getBigUint64(0, true));
	assert.equal(n % 8, 0);
	const header = JSON.parse(new TextDecoder().decode(all.subarray(8, 8 + n)));
	assert.deepEqual(Object.keys(header), ["w", "w.scale", "tiny", "norm"]);
	assert.deepEqual(header.norm, { dtype: "BF16", shape: [7], data_offsets: [57, 71] });
	assert.deepEqual(all.subarray(8 + n), new Uint8Array(Buffer.concat([2, 1].map((i) => parts.objects[i].data).concat(
		[parts.objects[0].data.subarray(16, 19), parts.objects[3].data]))));
	for (let start = 0; start <= all.length; start += 7)
		assert.deepEqual(await file.read(start, Math.min(start + 30, all.length)), all.slice(start, start + 30));
});

test("tensors that are made F32, in any range", async () => {
	const archive = await open(), tensors = archive.tensorsOf(), f32 = Buffer.alloc(4 * 37);
	[parts.objects[3].data, parts.objects[5].data].map((data) => Buffer.from(data)).reduce((at, data) => {
		for (let i = 0; i < data.length; i += 2)
			f32.writeUInt32LE(data.readUInt16LE(i) << 16 >>> 0, at + 2 * i);
		return at + 2 * data.length;
	}, 0);
	const file = archive.safetensors(tensors, { as: "f32" }), all = await file.read();
	const n = Number(new DataView(all.buffer).getBigUint64(0, true)), header = JSON.parse(new TextDecoder().decode(all.subarray(8, 8 + n)));
	assert.deepEqual(header.w, { dtype: "F32", shape: [6, 5], data_offsets: [28, 148] });
	assert.deepEqual(Buffer.from(all.subarray(8 + n)), f32);
	for (let start = 0; start <= all.length; start += 5)
		assert.deepEqual(await file.read(start, Math.min(start + 33, all.length)), all.slice(start, start + 33));
	const npy = await archive.npy(archive.tensor("norm"), { as: "f32" }).read();
	assert.match(Buffer.from(npy).toString("latin1", 0, 128), /^\x93NUMPY\x01\0v\0\{'descr': '<f4', 'fortran_order': False, 'shape': \(7,\), \} +\n$/);
	assert.deepEqual(Buffer.from(npy.subarray(128)), f32.subarray(0, 28));
	assert.throws(() => archive.npy(archive.tensor("w")), { code: "USAGE", message: /BF16, which NumPy does not have/ });
	assert.throws(() => archive.npy(archive.tensor("w"), { as: "f64" }), { code: "USAGE", message: "tensors can be made f32, not f64" });
});

test("safetensors headers are exactly as specified", () => {
	const text = (tensors) => {
		const header = safetensorsHeader(tensors);
		assert.equal(header.length, 8 + Number(new DataView(header.buffer).getBigUint64(0, true)));
		return new TextDecoder().decode(header.subarray(8));
	};
	assert.equal(text([{ name: "name", dtype: "BF16", shape: [2, 3], size: 12 }]),
		'{"name":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}   ');
	assert.equal(text([{ name: 'a"\\\n\u0001\u007fé', dtype: "U8", shape: [], size: 1 }, { name: "b", dtype: "U8", shape: [0], size: 0 }])
		.trimEnd(),
		'{"a\\"\\\\\\u000a\\u0001\u007fé":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}');
	assert.equal(text([]), "{}      ");
});

test("what is not there is said, and where it would be", async () => {
	const archive = await open();
	assert.throws(() => archive.file("nope"), { code: "NOT_FOUND", message: "x.qstore: has no file nope in bf16" });
	assert.throws(() => archive.file("model.low"), { code: "NOT_FOUND", message: "x.qstore: has no file model.low in bf16, only in int8" });
	assert.throws(() => archive.tensor("w.scale"), { code: "NOT_FOUND", message: /no tensor w\.scale in bf16, only in int8/ });
	assert.throws(() => archive.file("config.json", { precision: "fp8" }),
		{ code: "NOT_FOUND", message: 'x.qstore: has no precision "fp8", only int8, bf16' });
});

test("opening takes one read, or two for a large index", async () => {
	const source = counting(bytes);
	const archive = await openQstore(source, { decoder });
	assert.deepEqual(source.log, [[0, 65536]]);
	await archive.metadata("config.json");
	assert.deepEqual(source.log.length, 1, "a small file among the first bytes needs no read of its own");
	const many = pairParts();
	many.files.push(...Array.from({ length: 1000 }, (_, i) =>
		({ name: `file-${String(i).padStart(4, "0")}`, variants: 1, data: Buffer.of(i) })));
	const large = counting(buildArchive(decoder, many));
	const opened = await openQstore(large, { decoder });
	assert.equal(large.log.length, 2);
	assert.deepEqual(await opened.metadata("file-0777", { precision: "low" }), Uint8Array.of(777 & 255));
	assert.equal(large.log.length, 3);
});

test("each chunk is read once while a file streams", async () => {
	const rows = 400, cols = 1000;
	const large = pairParts({ rows, cols, rowsInChunk: 10 });
	const data = buildArchive(decoder, large), source = counting(data);
	const archive = await openQstore(source, { decoder });
	source.log.length = 0;
	assert.equal(sha256(await archive.file("sub/model.high").read()), sha256(large.files[3].content));
	const read = source.log.reduce((sum, [, length]) => sum + length, 0);
	assert.ok(read < data.length, `${read} of ${data.length}`);
	source.log.length = 0;
	await archive.file("model.low", { precision: "low" }).read();
	const { layerOffset } = archive.index.variant(1);
	assert.ok(source.log.every(([offset, length]) => offset + length <= archive.index.payloadOffset + layerOffset));
});

test("a stream holds a bounded amount, and ends its reads when it is left", async () => {
	const large = pairParts({ rows: 16_000, cols: 1000, rowsInChunk: 100 });
	const data = buildArchive(decoder, large);
	const signals = [];
	const source = counting(data, { before: async (offset, length, options) => void signals.push(options?.signal) });
	const archive = await openQstore(source, { decoder });
	source.log.length = signals.length = 0;
	for await (const chunk of archive.file("sub/model.high").chunks()) {
		assert.ok(chunk.length <= 2 ** 20);
		break;
	}
	const read = source.log.reduce((sum, [, length]) => sum + length, 0);
	assert.ok(read < 20e6, `${read} bytes read for the first chunk`);
	assert.ok(signals.every((signal) => signal.aborted));
	source.log.length = 0;
	assert.equal(sha256(await archive.tensor("w").read()), sha256(large.objects[5].data));
	assert.ok(source.log.every(([, length]) => length <= 2 ** 23));
	assert.ok(decoder.memorySize < 16 * 2 ** 20, `${decoder.memorySize} bytes of WebAssembly memory`);
});

test("a corrupt chunk is found and named", async (t) => {
	const pool = new WorkerPool({ spawn: spawnThread, module: await compileWasm(), count: 2 });
	t.after(() => pool.close());
	const { index } = await readIndex(bytesSource(bytes), decoder);
	for (const codec of [localCodec(decoder), pool]) {
		for (const [object, chunk, file, message] of [
			[5, 1, "sub/model.high", "x.qstore: tensor w: chunk 2 of 3 is damaged: its checksum differs"],
			[2, 2, "model.low", "x.qstore: tensor w: chunk 3 of 3 is damaged: its checksum differs"],
			[1, 1, "model.low", "x.qstore: tensor w.scale: chunk 2 of 2 is damaged: its checksum differs"],
			[3, 0, "sub/model.high", "x.qstore: tensor norm: chunk 1 of 2 is damaged: its checksum differs"],
			[4, 3, "sub/model.high",
				"x.qstore: file sub/model.high: chunk 4 of 4 of the bytes outside its tensors is damaged: its checksum differs"],
		]) {
			const bad = bytes.slice();
			bad[index.chunkOffset(index.object(object).firstChunk + chunk) + 1] ^= 1;
			const archive = await open(bad, { codec });
			const precision = file === "model.low" ? "low" : "high";
			await assert.rejects(archive.file(file, { precision }).read(), { code: "CORRUPT", message });
		}
	}
});

test("what decodes to other bytes than were packed is found, though the chunk is as it was written", async (t) => {
	const pool = new WorkerPool({ spawn: spawnThread, module: await compileWasm(), count: 1 });
	t.after(() => pool.close());
	const { index } = await readIndex(bytesSource(bytes), decoder);
	for (const [object, part, file, message] of [
		[5, 1, "sub/model.high", "x.qstore: tensor w: chunk 2 of 3 is damaged: it decodes to other bytes than were packed"],
		[4, 0, "sub/model.high",
			"x.qstore: file sub/model.high: chunk 1 of 4 of the bytes outside its tensors is damaged: it decodes to other bytes than were packed"],
	]) {
		const built = buildArchive(decoder, { ...pairParts(), change(view, at) {
			const place = at.parts + 8 * (index.object(object).firstPart + part);
			view.setUint8(place, view.getUint8(place) ^ 1);
		} });
		for (const codec of [localCodec(decoder), pool])
			await assert.rejects((await open(built, { codec })).file(file).read(), { code: "CORRUPT", message });
	}
});

test("small files are compared with their SHA-256, with the platform's and without; what the way spoiled is read again", async (t) => {
	const content = noise(3000, 5), other = noise(3000, 6), small = pairParts();
	small.files.push({ name: "text.json", variants: 3, data: zstdFrame(content), raw: content.length, content });
	const good = buildArchive(decoder, small);
	// Another file of the same size, as it would be if the archive's bytes were spoiled; frames have no checksum of their own.
	const bad = good.slice();
	bad[Buffer.from(good).indexOf('{"a": 1}')] ^= 1;
	bad.set(zstdFrame(other), Buffer.from(good).indexOf(zstdFrame(content)));
	const check = async () => {
		for (const [name, expected] of [["config.json", small.files[0].data], ["text.json", content]]) {
			assert.deepEqual(await (await open(good)).metadata(name), expected);
			const archive = await open(bad), error = { name: "QstoreError", code: "CORRUPT",
				message: `x.qstore: file ${name} is damaged: its SHA-256 differs` };
			await assert.rejects(archive.metadata(name), error);
			await assert.rejects(archive.file(name).read(), error);
			await assert.rejects(new Response(archive.file(name).stream()).arrayBuffer(), error);
			// Spoiled on its way, once.
			const reloads = [];
			const source = { ...bytesSource(good), remote: true, read(offset, length, options) {
				reloads.push(options?.reload);
				return bytesSource(options?.reload ? good : bad).read(offset, length, options);
			} };
			assert.deepEqual(await (await openQstore(source, { decoder })).metadata(name), expected);
			assert.equal(reloads.filter(Boolean).length, 1);
		}
		// No part of a file has a checksum.
		assert.equal((await (await open(bad)).file("config.json").read(4, 9)).length, 5);
		await assert.rejects((await open(bad)).file("text.json").read(4, 9), { code: "CORRUPT" });
	};
	await check();
	withoutSubtle(t);
	await check();
});

test("SHA-256 without the platform's is SHA-256", async (t) => {
	withoutSubtle(t);
	for (let size = 0; size < 200; size++)
		assert.equal(await digest(bytes.subarray(size, 2 * size)), sha256(bytes.subarray(size, 2 * size)), `${size} bytes`);
	assert.equal(await digest(noise(1_000_001)), sha256(noise(1_000_001)));
});

/** Takes crypto.subtle away, which pages that are neither https: nor localhost do not have. */
function withoutSubtle(t) {
	const own = Object.getOwnPropertyDescriptor(globalThis, "crypto");
	Object.defineProperty(globalThis, "crypto", { value: {}, configurable: true });
	t.after(() => Object.defineProperty(globalThis, "crypto", own));
}

test("a chunk that is sealed but cannot be decoded is named too", async (t) => {
	const pool = new WorkerPool({ spawn: spawnThread, module: await compileWasm(), count: 1 });
	t.after(() => pool.close());
	const wrong = pairParts();
	wrong.objects[3].data = noise(14, 4);
	const built = buildArchive(decoder, { ...wrong, change(view, at) {
		// Each chunk's first byte is mode 0, and below 1, a zstd frame; this is the checksum of a chunk that is changed below.
		const chunk = Buffer.concat([Buffer.of(1), wrong.objects[3].data.subarray(0, 8)]);
		view.setUint32(at.checksums + 4 * wrong.objects[3].firstChunk, Number(BigInt.asUintN(32, decoder.xxh3(chunk))), true);
	} });
	const { index } = await readIndex(bytesSource(built), decoder);
	built[index.chunkOffset(index.object(3).firstChunk)] = 1;
	for (const codec of [localCodec(decoder), pool])
		await assert.rejects((await open(built, { codec })).tensor("norm").read(),
			{ code: "CORRUPT", message: "x.qstore: tensor norm: chunk 1 of 2 is damaged: it does not decode" });
});

test("an archive cut at any length gives an error or the right bytes", async () => {
	const whole = await open();
	const [low, high] = whole.variants.map(({ downloadSize }) => downloadSize);
	for (let size = 0; size <= bytes.length; size += size < 4000 ? 13 : 1) {
		const cut = bytes.subarray(0, size);
		let archive;
		try {
			archive = await open(cut);
		} catch (error) {
			assert.ok(size < whole.index.payloadOffset, `${size}: ${error.message}`);
			assert.equal(error.code, size <= 512 ? "NOT_QSTORE" : "TRUNCATED", `${size}: ${error.message}`);
			continue;
		}
		for (const [name, precision, content, needed] of [["model.low", "low", parts.files[2].content, low],
			["sub/model.high", "high", parts.files[3].content, high]]) {
			const reading = archive.file(name, { precision }).read();
			if (size >= needed)
				assert.deepEqual(await reading, content, `${size} ${name}`);
			else
				await reading.then((read) => assert.deepEqual(read, content), (error) => assert.equal(error.code, "TRUNCATED"));
		}
		if (size < low)
			assert.throws(() => archive.checkComplete("low"),
				{ code: "TRUNCATED", message: new RegExp(`${size} bytes of the ${low} that int8 needs`) });
		else if (size < high)
			assert.throws(() => archive.checkComplete("high"), { message: "x.qstore: ends too early for bf16; int8 is complete" });
		else
			archive.checkComplete();
	}
});

test("every flipped bit of the index's header is an error", async () => {
	for (let bit = 0; bit < 64 * 8; bit++) {
		const bad = bytes.slice();
		bad[512 + (bit >> 3)] ^= 1 << (bit & 7);
		await assert.rejects(open(bad), (error) => ["NOT_QSTORE", "NEWER", "CORRUPT"].includes(error.code) &&
			error.message.startsWith("x.qstore: "), `bit ${bit}`);
	}
});

test("numbers beyond 2^53 are an error, not rounded", async () => {
	const huge = pairParts();
	const body = buildArchive(decoder, { ...huge, change(view, at) {
		// A tensor of 2^60 elements cannot be in a file; a dim beside a dim of zero can.
		view.setBigUint64(at.dims + 8 * 7, 2n ** 60n, true);
	} });
	const archive = await open(body);
	assert.throws(() => archive.tensorList, { code: "LIMIT", message: /2\^53/ });
});

test("aborting ends opening and reading", async () => {
	await assert.rejects(open(bytes, { signal: AbortSignal.abort() }), { name: "AbortError" });
	const controller = new AbortController();
	const source = counting(bytes.slice(), { before: (offset) => offset > 0 ? new Promise((resolve) => setTimeout(resolve, 20)) :
		undefined });
	const archive = await openQstore(source, { decoder });
	const large = pairParts({ rows: 4000, cols: 100, rowsInChunk: 100 });
	const slow = await openQstore(counting(buildArchive(decoder, large),
		{ before: (offset) => offset > 0 ? new Promise((resolve) => setTimeout(resolve, 20)) : undefined }), { decoder });
	const reading = slow.tensor("w").read(undefined, undefined, { signal: controller.signal });
	setTimeout(() => controller.abort(), 5);
	await assert.rejects(reading, { name: "AbortError" });
	assert.equal((await slow.tensor("w").read()).length, 2 * 4000 * 100);
	await assert.rejects(archive.file("config.json").read(0, 5, { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("a failed read is not remembered", async () => {
	let fail = true;
	const source = counting(bytes, { before(offset) {
		if (offset > 0 && fail)
			throw new Error("no network");
	} });
	const archive = await openQstore({ ...source, read: (offset, length, options) => source.read(offset, Math.min(length, 2000), options) },
		{ decoder })
		.catch(() => undefined) ?? await openQstore(source, { decoder });
	const big = await openQstore(counting(buildArchive(decoder, pairParts({ rows: 400, cols: 1000 })), { before(offset) {
		if (offset > 0 && fail)
			throw new Error("no network");
	} }), { decoder });
	await assert.rejects(big.tensor("w").read(), { message: "no network" });
	fail = false;
	assert.equal((await big.tensor("w").read()).length, 800_000);
	assert.equal((await archive.tensor("w").read()).length, 60);
});

test("a tensor that several files have is asked for with its file", async () => {
	const parts = pairParts(), [low] = parts.files.filter(({ name }) => name === "model.low");
	const other = { ...low, name: "other.low", tensors: low.tensors.map((tensor) => ({ ...tensor })) };
	const archive = await open(buildArchive(decoder, { ...parts, files: [...parts.files, other] }));
	const two = { code: "USAGE", message: "x.qstore: tensor norm is in the files model.low and other.low: say which one is meant" };
	assert.throws(() => archive.tensor("norm", { precision: "int8" }), two);
	for (const file of ["model.low", "other.low"])
		assert.equal(archive.tensor("norm", { precision: "int8", file }).file, file);
	assert.equal(archive.tensor("norm", { precision: "bf16" }).file, "sub/model.high");
	assert.throws(() => archive.tensor("norm", { precision: "bf16", file: "other.low" }), { code: "NOT_FOUND" });
});
