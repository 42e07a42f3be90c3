// Decoding on worker threads.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { ChunkError } from "../../js/decode/codec.js";
import { spawnThread } from "../../js/node/threads.js";
import { WorkerPool } from "../../js/decode/pool.js";
import { compileWasm, createDecoder } from "../../js/wasm/module.js";
import { noise } from "./helpers/archive.mjs";

const module = await compileWasm();
const decoder = await createDecoder({ module });
const makePool = (count, options) => new WorkerPool({ spawn: spawnThread, module, count, ...options });

function job(size, seed) {
	const data = noise(size, seed), all = new Uint8Array(size + 11);
	all[5] = 0;
	all.set(data, 6);
	const bytes = all.subarray(5, 6 + size);
	return { data, job: { chunk: { bytes, checksum: decoder.xxh3(bytes),
		desc: { kind: 0, dtype: 0, rule: 0, elems: size, cols: size, first: 0 }, size }, check: decoder.xxh3(data) } };
}

test("results belong to their jobs, and jobs keep their bytes", async (t) => {
	const pool = makePool(3);
	t.after(() => pool.close());
	assert.equal(pool.concurrency, 3);
	const jobs = Array.from({ length: 40 }, (_, i) => job(1 + 7919 * i, i));
	const results = await Promise.all(jobs.map((each) => pool.decode(each.job)));
	jobs.forEach(({ data }, i) => assert.deepEqual(results[i], data));
	assert.deepEqual(await pool.decode(jobs[3].job), jobs[3].data);
});

test("a bad job fails alone", async (t) => {
	const pool = makePool(1);
	t.after(() => pool.close());
	const good = job(100, 1), bad = job(100, 2);
	bad.job.check ^= 1n;
	const results = await Promise.allSettled([good, bad, good].map((each) => pool.decode(each.job)));
	assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
	assert.ok(results[1].reason instanceof ChunkError);
	assert.deepEqual([results[1].reason.code, results[1].reason.level], ["CORRUPT", 0]);
});

test("closing rejects what is under way, and what comes later", async () => {
	const pool = makePool(2);
	const waiting = [1, 2, 3].map((i) => assert.rejects(pool.decode(job(1000, i).job), { code: "CANCELLED" }));
	await pool.close();
	await Promise.all(waiting);
	await assert.rejects(pool.decode(job(10, 1).job), { code: "CANCELLED" });
});

test("where no worker can be started, the calling thread decodes", async (t) => {
	const refused = () => { throw new DOMException("no workers here", "SecurityError"); };
	const fails = ({ failed }) => {
		setTimeout(() => failed("not found"), 5);
		return { post() {}, terminate() {} };
	};
	const cannot = ({ reply }) => {
		setTimeout(() => reply({ failed: "no WebAssembly here" }), 5);
		return { post() {}, terminate() {} };
	};
	for (const spawn of [refused, fails, cannot]) {
		const pool = makePool(2, { spawn });
		t.after(() => pool.close());
		const jobs = [1, 2, 3, 4, 5].map((i) => job(1000 * i, i));
		const results = await Promise.all(jobs.map((each) => pool.decode(each.job)));
		jobs.forEach(({ data }, i) => assert.deepEqual(results[i], data));
		assert.ok(pool.blocked);
		assert.equal(pool.size, 0);
	}
});

test("a module that no thread can run is an error, not a wait for ever", async () => {
	const empty = await WebAssembly.compile(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
	const pool = makePool(1, { module: empty });
	await assert.rejects(pool.decode(job(10, 1).job), TypeError);
	await pool.close();
});

test("a thread that ends by itself fails its jobs, and the next job has a new one", async (t) => {
	const handles = [];
	const pool = makePool(1, { spawn(on) {
		const handle = spawnThread(on);
		handles.push({ handle, on });
		return handle;
	} });
	t.after(() => pool.close());
	await pool.decode(job(10, 1).job);
	const lost = assert.rejects(pool.decode(job(10, 1).job), { code: "MEMORY", message: /a decoding worker failed: killed/ });
	handles[0].on.failed("killed");
	await lost;
	assert.equal(pool.size, 0);
	assert.equal((await pool.decode(job(10, 2).job)).length, 10);
	assert.equal(handles.length, 2);
});

test("an aborted job that waits is taken back, one that a worker has is only not waited for", async (t) => {
	const pool = makePool(1), controller = new AbortController();
	t.after(() => pool.close());
	const jobs = Array.from({ length: 20 }, (_, i) => pool.decode(job(200_000, i).job, { signal: controller.signal }));
	const after = pool.decode(job(100, 7).job);
	controller.abort();
	const results = await Promise.allSettled(jobs);
	assert.ok(results.every(({ reason }) => reason?.name === "AbortError"));
	assert.deepEqual(await after, job(100, 7).data);
	await assert.rejects(pool.decode(job(10, 1).job, { signal: controller.signal }), { name: "AbortError" });
});

test("idle workers end, and come back", async (t) => {
	const pool = makePool(2, { idle: 20 });
	t.after(() => pool.close());
	await pool.decode(job(100, 1).job);
	assert.equal(pool.size, 1);
	while (pool.size > 0)
		await new Promise((resolve) => setTimeout(resolve, 10));
	assert.equal((await pool.decode(job(100, 1).job)).length, 100);
});

test("workers can be started before there is work, as many as there will be jobs, and end without any", async (t) => {
	const pool = makePool(2, { idle: 20 });
	t.after(() => pool.close());
	pool.prepare(1);
	assert.equal(pool.size, 1);
	pool.prepare(1);
	assert.equal(pool.size, 1);
	pool.prepare(5);
	assert.equal(pool.size, 2);
	const { job: one, data } = job(1000, 1);
	assert.deepEqual(await pool.decode(one), data);
	while (pool.size > 0)
		await new Promise((resolve) => setTimeout(resolve, 5));
	await pool.close();
	pool.prepare(1);
	assert.equal(pool.size, 0);
});

test("idle threads do not keep a process", async () => {
	const script = `
		import { WorkerPool, compileWasm, createDecoder, spawnThread } from ${JSON.stringify(new URL("../../js/node/internals.js",
			import.meta.url).href)};
		const pool = new WorkerPool({ spawn: spawnThread, module: await compileWasm(), count: 2 }), bytes = Uint8Array.of(0, 7);
		const checksum = (await createDecoder()).xxh3(bytes);
		const chunk = { bytes, checksum, desc: { kind: 0, dtype: 0, rule: 0, elems: 1, cols: 1, first: 0 }, size: 1 };
		console.log((await pool.decode({ chunk }))[0]);`;
	const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { timeout: 20_000 });
	assert.equal(stdout, "7\n");
});

test("many jobs and reads wait for one signal without a warning", async (t) => {
	const warnings = [], warn = (warning) => warnings.push(warning), pool = makePool(2), { signal } = new AbortController();
	process.on("warning", warn);
	t.after(async () => {
		process.off("warning", warn);
		await pool.close();
	});
	await Promise.all(Array.from({ length: 40 }, (_, i) => pool.decode(job(100, i).job, { signal })));
	await new Promise(setImmediate);
	assert.deepEqual(warnings, []);
});
