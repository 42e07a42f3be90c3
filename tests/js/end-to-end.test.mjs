// Archives of the packer: what the native tools and the WebAssembly modules give back is the same, and what was packed.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, readFileSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openQstore } from "../../js/node/open.js";
import { openFile } from "../../js/node/file-source.js";
import { spawnThread } from "../../js/node/threads.js";
import { WorkerPool } from "../../js/decode/pool.js";
import { planVariant } from "../../js/plan/plan.js";
import { compileWasm, createDecoder } from "../../js/wasm/module.js";
import { sha256 } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { decode, hashes, native, temporary } from "./helpers/tools.mjs";

const fixtures = [...native("qstore-generate", "--help").split(/^Fixtures:$/m)[1].matchAll(/^ {2}(\S+) {2}/gm)].map(([, name]) => name);
const decoders = { simd: await createDecoder({ simd: true }), scalar: await createDecoder({ simd: false }) };
const folder = temporary({ after });
let pool;

before(async () => {
	pool = new WorkerPool({ spawn: spawnThread, module: await compileWasm(), count: 2 });
	native("qstore-generate", "--layers", "2", "--hidden", "256", "--intermediate", "704", "--vocab", "2000", "-o", join(folder, "high"),
		"--low", join(folder, "low"));
	native("qstore-pack", join(folder, "high"), "--low", join(folder, "low"), "-o", join(folder, "pair.qstore"), "-q");
});
after(() => pool.close());

/** SHA-256 of all files of a variant, decoded here. */
async function restore(path, precision, options) {
	const source = await openFile(path);
	try {
		const archive = await openQstore(source, options), found = {};
		for (const file of archive.filesOf({ precision })) {
			found[file.name] = sha256(await file.read());
			assert.equal(found[file.name], file.sha256, file.name);
		}
		return found;
	} finally {
		await source.close();
	}
}

async function compare(path, expected) {
	const source = await openFile(path), { variants } = await openQstore(source, { decoder: decoders.simd });
	await source.close();
	for (const { name } of variants) {
		const out = `${path}-${name}`;
		native("qstore-unpack", path, "-p", name, "-o", out, "-q");
		const files = hashes(out);
		if (expected[name])
			assert.deepEqual(files, expected[name], `${name}: native and what was packed`);
		for (const [kind, decoder] of Object.entries(decoders))
			assert.deepEqual(sorted(await restore(path, name, { decoder })), files, `${name}: ${kind} and native`);
		assert.deepEqual(sorted(await restore(path, name, { decoder: decoders.simd, codec: pool })), files, `${name}: threads and native`);
	}
	return variants.map(({ name }) => name);
}

/** A file of all tensors, of each precision: the command's and the native one's, byte for byte. */
async function compareTensors(temp, path, output) {
	native("qstore-unpack", path, "-p", "all", "--tensor", "*", "-o", join(temp, `${output}-native`), "-q");
	const { code, stderr } = await decode(temp, path, "-p", "all", "--tensor", "*", "-o", output, "-q");
	assert.equal(code, 0, stderr);
	const { variants } = JSON.parse(native("qstore-info", path, "--json"));
	for (const { name } of variants) {
		const [ours, theirs] = [output, `${output}-native`].map((folder) => readFileSync(join(temp, folder, name, "tensors.safetensors")));
		assert.ok(ours.equals(theirs), `${path}: tensors.safetensors of ${name}`);
	}
}

const sorted = (object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => a < b ? -1 : 1));

for (const fixture of fixtures) {
	test(`native = SIMD = scalar = threads: ${fixture}`, async (t) => {
		const temp = temporary(t), high = join(temp, "high"), low = join(temp, "low");
		const hasLow = fixture !== "gaps";
		native("qstore-generate", "--fixture", fixture, "-o", high, ...hasLow ? ["--low", low] : []);
		for (const [name, args] of [["made", []], ["alone", ["--quantize", "none"]], ...hasLow ? [["given", ["--low", low]]] : []]) {
			const path = join(temp, `${name}.qstore`);
			native("qstore-pack", high, ...args, "-o", path, "-q");
			const { variants } = JSON.parse(native("qstore-info", path, "--json"));
			const expected = { [variants.at(-1).name]: hashes(high) };
			if (name === "given")
				expected[variants[0].name] = hashes(low);
			await compare(path, expected);
			await compareTensors(temp, path, `tensors-${name}`);
		}
	});
}

test("native = SIMD = scalar = threads: a model of two shards, and its INT8 version", async () => {
	assert.deepEqual(await compare(join(folder, "pair.qstore"), { int8: hashes(join(folder, "low")), bf16: hashes(join(folder, "high")) }),
		["int8", "bf16"]);
});

/** The tensors of a safetensors file: [name, { dtype, shape }, bytes]. */
function tensorsOf(path) {
	const bytes = readFileSync(path), begin = 8 + Number(bytes.readBigUInt64LE());
	return Object.entries(JSON.parse(bytes.toString("utf8", 8, begin))).filter(([name]) => name !== "__metadata__")
		.map(([name, { dtype, shape, data_offsets: [from, to] }]) => [name, { dtype, shape }, bytes.subarray(begin + from, begin + to)]);
}

function writeTensors(path, tensors) {
	let at = 0;
	const header = Buffer.from(JSON.stringify(Object.fromEntries(tensors.map(([name, facts, data]) =>
		[name, { ...facts, data_offsets: [at, at += data.length] }]))));
	const size = Buffer.alloc(8);
	size.writeBigUInt64LE(BigInt(header.length));
	writeFileSync(path, Buffer.concat([size, header, ...tensors.map(([, , data]) => data)]));
}

/** A matrix of elements of 2 bytes, with its columns as rows. */
function transposed([name, { dtype, shape: [rows, cols] }, data]) {
	const out = Buffer.alloc(data.length);
	for (let r = 0; r < rows; r++)
		for (let c = 0; c < cols; c++)
			data.copy(out, 2 * (c * rows + r), 2 * (r * cols + c), 2 * (r * cols + c) + 2);
	return [name, { dtype, shape: [cols, rows] }, out];
}

test("weights that are there again under other names, some transposed, cost an index", async (t) => {
	const temp = temporary(t), high = join(temp, "high"), low = join(folder, "low"), path = join(temp, "twice.qstore");
	cpSync(join(folder, "high"), high, { recursive: true });
	const tensors = readdirSync(high).filter((name) => name.endsWith(".safetensors")).flatMap((name) => tensorsOf(join(high, name)));
	writeTensors(join(high, "consolidated.safetensors"), tensors.map((tensor, i) =>
		[`x.${i}`, ...(i % 3 || tensor[1].shape.length !== 2 ? tensor : transposed(tensor)).slice(1)]));
	native("qstore-pack", high, "--low", low, "-o", path, "-q");
	assert.deepEqual(await compare(path, { int8: hashes(low), bf16: hashes(high) }), ["int8", "bf16"]);
	await compareTensors(temp, path, "tensors");
	// Each chunk is downloaded once, whatever uses it.
	const sizes = (file) => JSON.parse(native("qstore-info", file, "--json")).variants.map(({ downloadSize }) => downloadSize);
	const archive = await openQstore(path), once = sizes(join(folder, "pair.qstore")), twice = sizes(path);
	assert.deepEqual(archive.variants.map(({ downloadSize }) => downloadSize), twice);
	assert.ok(twice[1] < once[1] + 16384, `${twice[1]} bytes, and ${once[1]} without the copies`);
	const chunks = planVariant(archive.index, 1, { gap: 0, max: 1 });
	assert.equal(new Set(chunks.map(({ offset }) => offset)).size, chunks.length);
	await archive.close();
});

test("BF16 beside FP16 and FP32 of the same values, either way", async (t) => {
	const temp = temporary(t);
	native("qstore-generate", "--dtype", "f32", "--layers", "1", "--hidden", "128", "--intermediate", "256", "--vocab", "300",
		"-o", join(temp, "f32"), "--cast", "bf16", join(temp, "bf16"));
	native("qstore-generate", "--dtype", "f32", "--layers", "1", "--hidden", "128", "--intermediate", "256", "--vocab", "300",
		"-o", join(temp, "f32"), "--cast", "f16", join(temp, "f16"));
	for (const [high, low] of [["bf16", "f16"], ["f16", "bf16"], ["bf16", "f32"]]) {
		const path = join(temp, `${high}-${low}.qstore`);
		native("qstore-pack", join(temp, high), "--base", join(temp, low), "-o", path, "-q");
		const archive = await openQstore(path, { base: join(temp, low) });
		for (const file of archive.filesOf())
			assert.equal(sha256(await file.read()), hashes(join(temp, high))[file.name], file.name);
		assert.ok(archive.tensorList.some(({ kind }) => kind === "delta"));
		await archive.close();
	}
});

test("FP16", async (t) => {
	const temp = temporary(t);
	native("qstore-generate", "--dtype", "f16", "--layers", "1", "--hidden", "128", "--intermediate", "256", "--vocab", "300", "-o",
		join(temp, "high"));
	native("qstore-pack", join(temp, "high"), "-o", join(temp, "m.qstore"), "-q");
	assert.deepEqual(await compare(join(temp, "m.qstore"), { fp16: hashes(join(temp, "high")) }), ["int8", "fp16"]);
});

test("INT8 from a file that is cut where the base layer ends", async (t) => {
	const temp = temporary(t), path = join(temp, "pair.qstore");
	const { variants } = JSON.parse(native("qstore-info", join(folder, "pair.qstore"), "--json"));
	writeFileSync(path, readFileSync(join(folder, "pair.qstore")));
	truncateSync(path, variants[0].downloadSize);
	for (const decoder of Object.values(decoders))
		assert.deepEqual(sorted(await restore(path, "int8", { decoder })), hashes(join(folder, "low")));
	assert.equal((await decode(temp, path, "-p", "int8", "-o", "out")).code, 0);
	assert.deepEqual(hashes(join(temp, "out")), hashes(join(folder, "low")));
	const failed = await decode(temp, path, "-o", "high");
	assert.equal(failed.code, 1);
	assert.match(failed.stderr, /pair\.qstore: ends too early for bf16; int8 is complete\n$/);
});

test("one tensor alone, in each precision", async () => {
	const source = await openFile(join(folder, "pair.qstore"));
	const archive = await openQstore(source, { decoder: decoders.simd });
	for (const info of archive.tensorList) {
		const [precision] = info.variants, tensor = archive.tensor(info.name, { precision });
		const file = readFileSync(join(folder, precision === "int8" ? "low" : "high", info.file));
		assert.deepEqual(Buffer.from(await tensor.read()), file.subarray(info.offset, info.offset + info.size),
			`${info.name} ${precision}`);
	}
	await source.close();
});

test("the command and the native one make the same files", async (t) => {
	const temp = temporary(t), path = join(folder, "pair.qstore");
	let n = 0;
	for (const args of [["-p", "all"], ["-p", "low"], ["--tensor", "*norm*", "--tensor", "*.0.*"],
		["-p", "all", "--tensor", "*q_proj*", "--file", "*.json"]]) {
		const [ours, theirs] = [`ours-${++n}`, `theirs-${n}`];
		const { code, stderr } = await decode(temp, path, ...args, "-o", ours);
		assert.equal(code, 0, stderr);
		native("qstore-unpack", path, ...args, "-o", join(temp, theirs), "-q");
		assert.deepEqual(hashes(join(temp, ours)), hashes(join(temp, theirs)), args.join(" "));
	}
	for (const threads of ["1", "2", "5"]) {
		assert.equal((await decode(temp, path, "-j", threads, "-o", `j${threads}`)).code, 0);
		assert.deepEqual(hashes(join(temp, `j${threads}`)), hashes(join(folder, "high")));
	}
});

test("download sizes are the bytes that readers fetch, by all tools, where the beginning has other variants too", async (t) => {
	const path = join(folder, "chain.qstore");
	native("qstore-quantize", "gptq", "--bits", "4", "--group", "32", join(folder, "high"), "-o", join(folder, "gptq"));
	const packed = JSON.parse(native("qstore-pack", join(folder, "high"), "--low", join(folder, "low"), "--low", join(folder, "gptq"),
		"-o", path, "--json"));
	const listed = JSON.parse(native("qstore-info", path, "--json")), server = await serve(readFileSync(path));
	t.after(() => server.close());
	const { variants } = await openQstore(server.url, { decoder: decoders.simd });
	const sizes = variants.map(({ name, prefixSize, downloadSize }) => ({ name, prefixSize, downloadSize }));
	assert.deepEqual(listed.variants.map(({ name, prefixSize, downloadSize }) => ({ name, prefixSize, downloadSize })), sizes);
	assert.deepEqual(packed.variants.map(({ downloadSize }) => downloadSize), sizes.map(({ downloadSize }) => downloadSize));
	assert.equal(sizes[0].downloadSize, sizes[0].prefixSize);
	assert.ok(sizes[1].downloadSize <= sizes[1].prefixSize, JSON.stringify(sizes[1]));
	for (const { name, downloadSize } of sizes) {
		server.log.length = 0;
		const archive = await openQstore(server.url, { decoder: decoders.simd });
		for (const file of archive.filesOf({ precision: name }))
			await file.read();
		const bytes = server.log.reduce((sum, { sent }) => sum + sent, 0);
		assert.ok(Math.abs(bytes - downloadSize) < 65536, `${name}: ${bytes} bytes of ${downloadSize}`);
	}
});

test("over HTTP: two requests to open at most, no byte of the refinement for INT8, nothing twice", async (t) => {
	const data = readFileSync(join(folder, "pair.qstore")), server = await serve(data);
	t.after(() => server.close());
	const archive = await openQstore(server.url, { decoder: decoders.simd });
	assert.ok(server.log.length <= 2, `${server.log.length} requests to open`);
	const { index } = archive, { layerOffset } = index.variant(1);
	const fine = index.payloadOffset + layerOffset;
	for (const file of archive.filesOf({ precision: "low" }))
		await file.read();
	assert.ok(server.ranged().every(([, end]) => end <= fine), "INT8 reads nothing of the refinement");
	const bytes = server.log.reduce((sum, { sent }) => sum + sent, 0);
	assert.ok(bytes <= archive.variants[0].downloadSize + 65536, `${bytes} bytes for INT8 of ${archive.variants[0].downloadSize}`);
	assert.ok(server.log.length < 20, `${server.log.length} requests`);

	server.log.length = 0;
	for (const file of archive.filesOf({ precision: "high" }))
		await file.read();
	const all = server.log.reduce((sum, { sent }) => sum + sent, 0);
	const planned = planVariant(index, 1, { gap: 0 }).reduce((sum, { size }) => sum + size, 0);
	assert.ok(all >= planned * 0.99 - 65536 && all <= planned * 1.01 + 300_000, `${all} bytes for BF16, planned ${planned}`);
	assert.ok(server.log.every(({ method }) => method === "GET"));
});

test("batches of any size: the same bytes, each fetched once, and what lies close together in one request", async (t) => {
	const server = await serve(readFileSync(join(folder, "pair.qstore")));
	t.after(() => server.close());
	const archive = await openQstore(server.url, { decoder: decoders.simd });
	const file = archive.filesOf({ precision: "high" }).reduce((a, b) => a.size > b.size ? a : b);
	const requests = [];
	for (const batchSize of [1, 2 ** 14, 2 ** 17, 2 ** 19, undefined]) {
		server.log.length = 0;
		const hash = createHash("sha256");
		for await (const bytes of file.chunks(0, file.size, { batchSize }))
			hash.update(bytes);
		assert.equal(hash.digest("hex"), file.sha256, `batches of ${batchSize}`);
		const ranges = server.ranged().sort((a, b) => a[0] - b[0]);
		for (let i = 1; i < ranges.length; i++)
			assert.ok(ranges[i][0] >= ranges[i - 1][1], `batches of ${batchSize}: bytes ${ranges[i]} twice`);
		requests.push(ranges.length);
	}
	// One for each batch would be 20 with the smallest ones; all of it has two areas that are wanted.
	assert.ok(requests[0] < 17 && requests.at(-1) === 2, requests.join());
});

test("the command over HTTP, with and without Range", async (t) => {
	const temp = temporary(t), server = await serve(readFileSync(join(folder, "pair.qstore")));
	t.after(() => server.close());
	assert.equal((await decode(temp, server.url, "-p", "low", "-o", "low")).code, 0);
	assert.deepEqual(hashes(join(temp, "low")), hashes(join(folder, "low")));
	const { variants } = JSON.parse(native("qstore-info", join(folder, "pair.qstore"), "--json"));
	assert.ok(server.ranged().every(([, end]) => end <= Math.max(variants[0].downloadSize, 65536)));
	server.ranges = false;
	server.log.length = 0;
	assert.equal((await decode(temp, server.url, "-o", "high")).code, 0);
	assert.deepEqual(hashes(join(temp, "high")), hashes(join(folder, "high")));
	assert.equal(server.log.length, 1);
});

test("small tensors that share an object are read one by one, and are not upgraded where the coarse model has them", async (t) => {
	const home = temporary(t), path = join(home, "a.qstore");
	native("qstore-generate", "--layers", "10", "--hidden", "64", "--intermediate", "128", "--vocab", "300", "--shards", "1", "-o",
		join(home, "model"));
	native("qstore-pack", join(home, "model"), "-o", path, "-q");
	const archive = await openQstore(path, {});
	const norms = archive.tensorList.filter(({ name, variants }) => name.includes("norm") && variants.includes("bf16"));
	assert.equal(norms.length, 21);
	for (const { name, file, offset, size, kind, codedSize } of norms) {
		const original = readFileSync(join(home, "model", file)), read = await archive.tensor(name, { precision: "bf16" }).read();
		assert.deepEqual(Buffer.from(read), original.subarray(offset, offset + size), name);
		assert.ok(kind === "plain" && codedSize > 0 && codedSize < size, `${name}: ${kind}, ${codedSize} bytes of ${size}`);
	}
	const upgraded = [];
	for await (const { name } of archive.upgrade({ precision: "bf16", from: "int8" }))
		upgraded.push(name);
	assert.ok(upgraded.length > 0 && !upgraded.some((name) => name.includes("norm")), upgraded.join(" "));
	assert.match(native("qstore-info", path), / BF16 +plain +\d+\.\d+ +model\.norm\.weight \[64\]$/m);
	await archive.close();
});
