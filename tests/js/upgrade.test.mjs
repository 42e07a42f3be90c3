// Tensors as they arrive, and from a coarser variant to a finer one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openQstore } from "../../js/node/index.js";
import { createDecoder } from "../../js/wasm/module.js";
import { buildArchive, pairParts } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { native, temporary } from "./helpers/tools.mjs";

const folder = temporary({ after }), decoder = await createDecoder();
let data;

before(() => {
	native("qstore-generate", "--layers", "3", "--hidden", "256", "--intermediate", "704", "--vocab", "1000", "-o", join(folder, "m"));
	native("qstore-pack", join(folder, "m"), "-o", join(folder, "m.qstore"), "-q");
	data = readFileSync(join(folder, "m.qstore"));
});

async function setUp(t) {
	const server = await serve(data), archive = await openQstore(server.url, { cache: temporary(t), workers: 2 });
	t.after(async () => {
		await archive.close();
		await server.close();
	});
	return { server, archive, sent: () => server.log.reduce((sum, entry) => sum + entry.sent, 0) };
}

/** Values of 32-bit floats, BF16, or codes with a scale a row. */
function values({ dtype, data: elements, shape }, scales) {
	if (dtype === "BF16")
		return new Float32Array(Uint32Array.from(elements, (bits) => bits << 16).buffer);
	const cols = shape.at(-1);
	return Float32Array.from(elements, (code, i) => code * scales[Math.floor(i / cols)] / 127);
}

const squares = (a, b) => a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);

test("tensors come with their bytes, in order, typed, from whatever is opened", async () => {
	const archive = await openQstore(data, { workers: 2 });
	for (const { name: precision } of archive.variants) {
		const expected = archive.tensorsOf({ precision });
		let n = 0;
		for await (const tensor of archive.tensors({ precision })) {
			const { name, dtype, shape, file } = expected[n++];
			assert.deepEqual([tensor.name, tensor.dtype, tensor.shape, tensor.file, tensor.precision, tensor.byteOrder],
				[name, dtype, shape, file, precision, "little"]);
			assert.deepEqual(tensor.bytes, await expected[n - 1].read());
			assert.equal(tensor.data.length, shape.reduce((a, b) => a * b, 1));
			assert.deepEqual((await expected[n - 1].load()).data, tensor.data);
			structuredClone(tensor.bytes.buffer, { transfer: [tensor.bytes.buffer] });
		}
		assert.equal(n, expected.length);
	}
	await archive.close();
});

test("empty and literal tensors come too, of every dtype", async () => {
	const archive = await openQstore(buildArchive(decoder, pairParts()));
	const found = [];
	for await (const { name, dtype, data: elements } of archive.tensors())
		found.push(`${name} ${dtype} ${elements.constructor.name} ${elements.length}`);
	assert.deepEqual(found, ["norm BF16 Uint16Array 7", "none F32 Float32Array 0", "w BF16 Uint16Array 30"]);
	for await (const { name, data: elements } of archive.tensors({ precision: "int8" })) {
		if (name === "w")
			assert.ok(elements instanceof Int8Array);
	}
	await archive.close();
});

test("a consumer that stops ends the reading", async (t) => {
	const { server, archive } = await setUp(t);
	for await (const tensor of archive.tensors({ precision: "high" })) {
		assert.ok(tensor.name);
		break;
	}
	const { length } = server.log;
	await new Promise((resolve) => setTimeout(resolve, 50));
	assert.equal(server.log.length, length);
	await assert.rejects(async () => {
		for await (const tensor of archive.tensors({ signal: AbortSignal.abort() }))
			assert.fail(tensor.name);
	}, { name: "AbortError" });
});

test("an upgrade fetches the refinement only, and all of it once", async (t) => {
	const { server, archive, sent } = await setUp(t);
	await archive.download({ precision: "int8" });
	const before = sent(), { layerOffset } = archive.index.variant(1), fine = archive.index.payloadOffset + layerOffset, progress = [];
	server.log.length = 0;
	const names = [];
	for await (const tensor of archive.upgrade({ onProgress: (now) => progress.push(now) })) {
		names.push(tensor.name);
		assert.deepEqual(tensor.bytes, await (await openQstore(data)).tensor(tensor.name).read());
	}
	assert.ok(server.ranged().every(([start]) => start >= fine - 1024), "nothing of the coarse layer (but for the tar header between)");
	assert.equal(progress.at(-1).fetched, sent());
	assert.equal(progress.at(-1).toFetch, sent());
	assert.ok(before + sent() <= data.length);
	const shared = archive.tensorList.filter((tensor) => tensor.variants.includes("bf16") && tensor.shared).map(({ name }) => name);
	assert.deepEqual(names, archive.tensorsOf().map(({ name }) => name).filter((name) => !shared.includes(name)));
	assert.ok(shared.length > 0 && names.length > 0);
	server.log.length = 0;
	for await (const tensor of archive.upgrade())
		assert.ok(tensor.bytes.length > 0);
	assert.equal(server.log.length, 0);
});

test("what is announced is what is fetched, in any order, with a cache and without", async (t) => {
	// More than one group of batches.
	native("qstore-generate", "--layers", "6", "--hidden", "512", "--intermediate", "1408", "--vocab", "4000", "-o", join(folder, "large"));
	native("qstore-pack", join(folder, "large"), "-o", join(folder, "large.qstore"), "-q");
	const server = await serve(readFileSync(join(folder, "large.qstore")));
	t.after(() => server.close());
	for (const cache of [true, false]) {
		for (const [how, load] of [
			["all", (archive, options) => archive.tensors(options)],
			["by file", (archive, options) => archive.upgrade(options)],
			["by importance", (archive, options) => archive.upgrade({ ...options, order: "importance",
				weigh: ({ name }) => name.length % 7 })],
			["within a budget", (archive, options) => archive.upgrade({ ...options, order: "importance", budgetBytes: 6e6 })],
		]) {
			const archive = await openQstore(server.url, { cache: cache && temporary(t), workers: 2 });
			if (cache && how !== "all")
				await archive.download({ precision: "low" });
			const announced = new Set();
			let last;
			server.log.length = 0;
			for await (const tensor of load(archive, { onProgress: (now) => announced.add((last = now).toFetch) }))
				assert.ok(tensor.name);
			const sent = server.log.reduce((sum, entry) => sum + entry.sent, 0), what = `${how}, ${cache ? "with" : "without"} a cache`;
			assert.deepEqual([...announced], [sent], what);
			assert.equal(last.fetched, sent, what);
			assert.ok(sent > 5e6, what);
			await archive.close();
		}
	}
});

test("an upgrade by importance takes more error away with the same bytes than one in the archive's order", async (t) => {
	/** The error of the weights' values that is left when so many bytes have been fetched. */
	const curve = async (order) => {
		const { archive, sent, server } = await setUp(t);
		/** @type {Map<string, Float32Array>} */
		const coarse = new Map(), scales = new Map();
		const loaded = [];
		for await (const tensor of archive.tensors({ precision: "int8" }))
			loaded.push(tensor);
		for (const tensor of loaded.filter(({ name }) => name.endsWith(".SCB")))
			scales.set(tensor.name.replace(/SCB$/, "weight"), tensor.data);
		for (const tensor of loaded.filter(({ name }) => scales.has(name)))
			coarse.set(tensor.name, values(tensor, scales.get(tensor.name)));
		const errors = new Map();
		for (const [name, each] of coarse)
			errors.set(name, squares(each, values(await (await openQstore(data)).tensor(name).load())));
		let left = [...errors.values()].reduce((a, b) => a + b, 0);
		const points = [[0, left]];
		server.log.length = 0;
		for await (const tensor of archive.upgrade({ order })) {
			left -= errors.get(tensor.name) ?? 0;
			points.push([archive.tensorList.find((info) => info.name === tensor.name && info.dtype === "BF16").codedSize, left]);
		}
		assert.ok(left <= points[0][1] * 1e-6 && points.length > 10, `${left} of ${points[0][1]} is left`);
		assert.ok(sent() > 0);
		return points;
	};
	/** The area below: error times bytes. */
	const area = (points) => points.slice(1).reduce((sum, [bytes], i) => sum + bytes * points[i][1], 0) /
		points.slice(1).reduce((sum, [bytes]) => sum + bytes, 0) / points[0][1];
	const byFile = area(await curve("file")), byImportance = area(await curve("importance"));
	t.diagnostic(`mean error that is left on the way: ${byFile.toFixed(3)} in the archive's order, ${byImportance.toFixed(
		3)} by importance`);
	assert.ok(byImportance < byFile, `${byImportance} and ${byFile}`);
});

test("a budget is kept, and a caller can weigh", async (t) => {
	const { archive, sent, server } = await setUp(t);
	await archive.download({ precision: "int8" });
	server.log.length = 0;
	const budgetBytes = 300_000, first = [];
	for await (const { name } of archive.upgrade({ budgetBytes, order: "importance" }))
		first.push(name);
	assert.ok(sent() <= budgetBytes && sent() > budgetBytes / 2, `${sent()} bytes`);
	const total = archive.tensorsOf().length;
	assert.ok(first.length > 0 && first.length < total);
	// Upgraded tensors are in the cache: they cost nothing now, and come first.
	const again = [];
	for await (const { name } of archive.upgrade({ budgetBytes: 0 }))
		again.push(name);
	assert.deepEqual(again.sort(), first.sort());
	const weighed = [];
	for await (const { name } of archive.upgrade({ order: "importance", weigh: ({ name }) => name.includes("layers.2.mlp.down") ?
		1e9 : 0 }))
		weighed.push(name);
	assert.ok(weighed[0].includes("layers.2.mlp.down"));
	assert.throws(() => archive.upgrade({ precision: "int8" }), { code: "USAGE", message: /no precision coarser/ });
});

test("a chunk that comes damaged is fetched once more, and named when it stays so", async (t) => {
	const { server, archive } = await setUp(t), { index } = archive;
	const numberOf = (kind) => {
		for (let i = 0; i < index.objectCount; i++) {
			const object = index.object(i);
			if (object.kind === kind && object.codedSize > 40_000)
				return { at: index.chunkOffset(object.firstChunk) + 1000, size: index.chunkSize(object.firstChunk) };
		}
		throw new Error("no such object");
	};
	for (const kind of [1, 2]) {
		const { at, size } = numberOf(kind);
		let spoiled = 0, times = 1;
		server.behave = (_, response, range) => {
			if (!range || at < range[0] || at > range[1] || spoiled >= times)
				return false;
			spoiled++;
			const body = Buffer.from(data.subarray(range[0], range[1] + 1));
			body[at - range[0]] ^= 4;
			response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${data.length}`, "content-length": body.length })
				.end(body);
			return true;
		};
		const load = async (options) => {
			const fresh = await openQstore(server.url, { workers: false, ...options });
			try {
				for await (const tensor of fresh.tensors())
					assert.deepEqual(tensor.bytes, await (await openQstore(data)).tensor(tensor.name).read());
			} finally {
				await fresh.close();
			}
		};
		server.log.length = 0;
		await load();
		assert.equal(spoiled, 1);
		assert.equal(server.ranged().filter(([start, end]) => end - start === size).length, 1, "the chunk alone is fetched again");
		times = 2;
		spoiled = 0;
		await assert.rejects(load(), { code: "CORRUPT", message:
			/tensor .*chunk 1 of \d+ is damaged: its checksum differs, also when it is fetched again$/ });
	}
	// The index.
	let first = true;
	server.behave = (_, response, range) => {
		if (!first)
			return false;
		first = false;
		const body = Buffer.from(data.subarray(range[0], range[1] + 1));
		body[700] ^= 1;
		response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${data.length}`, "content-length": body.length })
			.end(body);
		return true;
	};
	const reopened = await openQstore(server.url);
	assert.equal(reopened.variants.length, 2);
	await reopened.close();
});

test("the gain is that of the codes which the caller has, however many precisions are skipped", async () => {
	/** The sum of all gains, and how many are known. */
	const gains = async (name, precision, from) => {
		const archive = await openQstore(readFileSync(`tests/golden/good/${name}.qstore`)), found = [];
		const [fine, coarse] = [precision, from].map((number) => archive.variants[number].name);
		const weigh = ({ gain }) => (found.push(gain), gain);
		for await (const tensor of archive.upgrade({ precision: fine, from: coarse, order: "importance", weigh }))
			assert.ok(tensor.name);
		await archive.close();
		return { sum: found.reduce((a, b) => a + b, 0), known: found.filter((gain) => gain > 0).length };
	};
	const [all, middle, least, step] = [await gains("k-quants", 3, 0), await gains("k-quants", 3, 1), await gains("k-quants", 3, 2),
		await gains("k-quants", 1, 0)];
	assert.deepEqual([all, middle, least, step].map(({ known }) => known), [1, 1, 1, 1]);
	assert.ok(least.sum > 0 && middle.sum > 2 * least.sum && all.sum > 2 * middle.sum, `${all.sum}, ${middle.sum}, ${least.sum}`);
	assert.ok(step.sum > all.sum / 2 && step.sum <= all.sum, `${step.sum} of ${all.sum}`);
	// Floats of 16 bits are cast, floats of 32 bits build on them. Who has those of 16 bits gains what is not known.
	const half = await gains("chain", 1, 0), single = await gains("chain", 2, 0);
	assert.deepEqual([half.known, single.known], [7, 7]);
	assert.ok(Math.abs(single.sum / half.sum - 1) < 0.01, `${single.sum} and ${half.sum}`);
	assert.deepEqual(await gains("chain", 2, 1), { sum: 0, known: 0 });
});
