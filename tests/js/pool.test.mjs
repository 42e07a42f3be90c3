// Decoding on worker threads.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { ChunkError } from "../../js/codec.js";
import { WorkerPool } from "../../js/node/pool.js";
import { createDecoder } from "../../js/wasm.js";
import { noise } from "./helpers/archive.mjs";

const decoder = await createDecoder();

function job(size, seed) {
	const data = noise(size, seed), all = new Uint8Array(size + 11);
	all[5] = 0;
	all.set(data, 6);
	const bytes = all.subarray(5, 6 + size);
	return { data, job: { chunk: { bytes, checksum: decoder.xxh3(bytes), desc: { kind: 0, dtype: 0, rule: 0, elems: size, cols: size, first: 0 }, size } } };
}

test("results belong to their jobs, and jobs keep their bytes", async (t) => {
	const pool = await WorkerPool.create({ threads: 3 });
	t.after(() => pool.close());
	assert.equal(pool.concurrency, 3);
	const jobs = Array.from({ length: 40 }, (_, i) => job(1 + 7919 * i, i));
	const results = await Promise.all(jobs.map((each) => pool.decode(each.job)));
	jobs.forEach(({ data }, i) => assert.deepEqual(results[i], data));
	assert.deepEqual(await pool.decode(jobs[3].job), jobs[3].data);
});

test("a bad job fails alone", async (t) => {
	const pool = await WorkerPool.create({ threads: 1 });
	t.after(() => pool.close());
	const good = job(100, 1), bad = job(100, 2);
	bad.job.chunk.checksum ^= 1n;
	const results = await Promise.allSettled([good, bad, good].map((each) => pool.decode(each.job)));
	assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
	assert.ok(results[1].reason instanceof ChunkError);
	assert.deepEqual([results[1].reason.code, results[1].reason.level], ["CORRUPT", 0]);
});

test("closing rejects what is under way, and what comes later", async () => {
	const pool = await WorkerPool.create({ threads: 2 });
	const waiting = [1, 2, 3].map((i) => assert.rejects(pool.decode(job(1000, i).job), { code: "CANCELLED" }));
	await pool.close();
	await Promise.all(waiting);
	await assert.rejects(pool.decode(job(10, 1).job), { code: "CANCELLED" });
});

test("a thread that cannot start is an error, not a wait for ever", async () => {
	const pool = new WorkerPool(await WebAssembly.compile(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])), 1);
	await assert.rejects(pool.decode(job(10, 1).job), { code: "MEMORY", message: /a decoding thread failed/ });
	await pool.close();
});

test("idle threads do not keep a process", async () => {
	const script = `
		import { WorkerPool } from ${JSON.stringify(new URL("../../js/node/pool.js", import.meta.url).href)};
		import { createDecoder } from ${JSON.stringify(new URL("../../js/wasm.js", import.meta.url).href)};
		const pool = await WorkerPool.create({ threads: 2 }), bytes = Uint8Array.of(0, 7);
		const chunk = { bytes, checksum: (await createDecoder()).xxh3(bytes), desc: { kind: 0, dtype: 0, rule: 0, elems: 1, cols: 1, first: 0 }, size: 1 };
		console.log((await pool.decode({ chunk }))[0]);`;
	const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { timeout: 20_000 });
	assert.equal(stdout, "7\n");
});
