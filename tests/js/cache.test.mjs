// The cache of coded bytes: what is fetched, what is not, and what happens when the two sides differ.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { folderStore, openQstore } from "../../js/node/index.js";
import { sha256 } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { native, temporary } from "./helpers/tools.mjs";

const folder = temporary({ after });
let data, other;

before(() => {
	for (const [name, seed] of [["a", "1"], ["b", "2"]]) {
		native("qstore-generate", "--layers", "2", "--hidden", "256", "--intermediate", "704", "--vocab", "2000", "--seed", seed, "-o",
			join(folder, name));
		native("qstore-pack", join(folder, name), "-o", join(folder, `${name}.qstore`), "-q");
	}
	[data, other] = ["a", "b"].map((name) => readFileSync(join(folder, `${name}.qstore`)));
});

/** A server, and a way to open its archive with a cache folder that stays for the test. */
async function setUp(t, serverOptions) {
	const server = await serve(data, serverOptions), cache = temporary(t), opened = [];
	t.after(async () => {
		await Promise.all(opened.map((archive) => archive.close()));
		await server.close();
	});
	return {
		server, cache,
		files: () => readdirSync(cache, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
			.map((entry) => join(entry.parentPath ?? entry.path, entry.name)),
		async open({ revalidate, store, ...options } = {}) {
			const archive = await openQstore(server.url, {
				cache: { folder: cache, revalidate, store }, workers: false, limits: { retryDelay: 1, retries: 1 }, ...options,
			});
			opened.push(archive);
			return archive;
		},
	};
}

async function readAll(archive, precision) {
	for (const file of archive.filesOf({ precision }))
		assert.equal(sha256(await file.read()), file.sha256, file.name);
}

const sent = (server) => server.log.reduce((sum, entry) => sum + entry.sent, 0);

test("an archive that is read with credentials is kept only under a key of the caller's", async (t) => {
	const { server, cache, files, open } = await setUp(t), headers = { "x-api-key": "mine" };
	await assert.rejects(open({ headers }), { code: "USAGE", message: /give the cache a key that names the user too, cache: \{ key \}$/ });
	await assert.rejects(open({ headers, cache }), { code: "USAGE" });
	assert.equal((await open({ headers, cache: undefined })).cache, undefined);
	assert.deepEqual(files(), []);
	const mine = await open({ headers, cache: { folder: cache, key: "model of me" } });
	await readAll(mine, "int8");
	assert.ok(files().length > 0);
	const before = server.log.length;
	await readAll(await open({ headers, cache: { folder: cache, key: "model of me" } }), "int8");
	assert.equal(server.log.length, before);
	const other = await open({ headers: { "x-api-key": "other" }, cache: { folder: cache, key: "model of somebody else" } });
	assert.ok(other.cache.size < mine.cache.size);
	assert.equal((await open({ cache: { folder: cache } })).cache.size, other.cache.size);
	assert.equal((await open({ headers: { accept: "*/*" } })).cache.size, other.cache.size, "accept is no secret");
	assert.ok(files().every((path) => (statSync(dirname(path)).mode & 0o77) === 0), "other users of this machine can look into the cache");
});

test("a folder that has the bytes of another key is not used", async (t) => {
	const { cache, files, open } = await setUp(t);
	await readAll(await open(), "int8");
	const [folderName] = readdirSync(cache), { server } = await setUp(t);
	const key = server.url, wrong = folderStore(cache);
	// The store gives both keys the same folder.
	const archive = await openQstore(server.url, { cache: { key, store: { ...wrong, folder: () => wrong.folder(folderName) } }, workers: false });
	t.after(() => archive.close());
	assert.equal(archive.cache, undefined);
	await readAll(archive, "int8");
	assert.ok(files().length > 0);
});

test("a reload costs no request, a finer precision only the refinement, and all of it the archive's size", async (t) => {
	const { server, open } = await setUp(t);
	await readAll(await open(), "int8");
	const coarse = sent(server), archive = await open();
	const { index } = archive, fine = index.payloadOffset + index.variant(1).layerOffset;
	assert.ok(server.ranged().every(([, end]) => end <= fine), "INT8 reads nothing of the refinement");
	assert.equal(archive.cache.size, coarse);
	await readAll(archive, "int8");
	assert.equal(sent(server), coarse, "the second time everything came from the cache");
	await readAll(archive, "bf16");
	assert.ok(sent(server) <= data.length, `${sent(server)} of ${data.length} bytes`);
	assert.ok(sent(server) >= data.length - 4096, `${sent(server)} of ${data.length} bytes`);
	const ranges = server.ranged().sort((a, b) => a[0] - b[0]);
	for (let i = 1; i < ranges.length; i++)
		assert.ok(ranges[i][0] >= ranges[i - 1][1], `bytes ${ranges[i]} twice`);
	const requests = server.log.length;
	await readAll(await open(), "bf16");
	assert.equal(server.log.length, requests);
});

test("a download can be interrupted, and goes on where it was", async (t) => {
	const { server, open } = await setUp(t);
	const archive = await open(), controller = new AbortController();
	server.behave = (request, response, range) => {
		// The last bytes do not come.
		if (!range || range[1] + 1 < archive.variant("int8").downloadSize - 100_000)
			return false;
		setTimeout(() => controller.abort(), 20);
		return true;
	};
	await assert.rejects(async () => {
		for await (const _ of archive.tensors({ precision: "int8", signal: controller.signal }));
	}, { name: "AbortError" });
	server.behave = undefined;
	const before = sent(server), again = await open(), progress = [];
	await again.download({ precision: "int8", onProgress: (now) => progress.push(now) });
	const size = again.variant("int8").downloadSize;
	assert.ok(sent(server) <= size, `${sent(server)} bytes in all of ${size}`);
	assert.deepEqual(progress.at(-1), { fetched: sent(server) - before, toFetch: sent(server) - before, decoded: 0, toDecode: 0 });
	const requests = server.log.length;
	await readAll(again, "int8");
	assert.equal(server.log.length, requests);
});

test("progress tells what is fetched from what is decoded, cold and warm", async (t) => {
	const { server, open } = await setUp(t);
	for (const warm of [false, true]) {
		const archive = await open(), log = [], before = sent(server);
		for await (const tensor of archive.tensors({ precision: "low", onProgress: (now) => log.push(now) }))
			assert.ok(tensor.bytes.length > 0);
		const end = log.at(-1), size = archive.tensorsOf({ precision: "low" }).reduce((sum, each) => sum + each.size, 0);
		assert.deepEqual(end, { fetched: sent(server) - before, toFetch: end.fetched, decoded: size, toDecode: size });
		assert.equal(end.fetched > 0, !warm);
		assert.ok(log.every((now, i) => i === 0 || (now.fetched >= log[i - 1].fetched && now.decoded >= log[i - 1].decoded)));
	}
});

test("another file on the server is noticed: when it is asked for, and when bytes are missing", async (t) => {
	for (const etag of ['"1"', null]) {
		const { server, open, files } = await setUp(t, { etag });
		await (await open()).download({ precision: "int8" });
		server.data = other;
		server.etag = etag && '"2"';
		// Not asked: what is missing comes with another ETag or size.
		const stale = await open();
		if (etag || other.length !== data.length)
			await assert.rejects(readAll(stale, "bf16"), { name: "SourceChangedError", message: /changed on the server.*open it again/ });
		const fresh = await open({ revalidate: 0 });
		await readAll(fresh, "bf16");
		const kept = files().filter((name) => !name.endsWith("source.json")).reduce((sum, name) => sum + statSync(name).size, 0);
		assert.equal(kept, fresh.cache.size, "nothing of the old file stays");
		await readAll(await open({ revalidate: 0 }), "bf16");
	}
});

test("asked whether it is the same, the server sends the index's header only; without it the cache is used", async (t) => {
	const { server, open } = await setUp(t);
	await (await open()).download();
	server.log.length = 0;
	await readAll(await open({ revalidate: 0 }), "bf16");
	assert.deepEqual(server.ranged(), [[0, 576]]);
	server.behave = (request, response) => response.writeHead(503).end() && true;
	await readAll(await open({ revalidate: 0 }), "bf16");
	server.behave = (request) => request.destroy() && true;
	await readAll(await open({ revalidate: 0 }), "bf16");
	server.behave = (request, response) => response.writeHead(404).end() && true;
	await assert.rejects(open({ revalidate: 0 }), { name: "HttpError", status: 404 });
});

test("what is cut or damaged in the cache is fetched again", async (t) => {
	const { server, open, files } = await setUp(t);
	await (await open()).download();
	const ranges = files().filter((name) => !name.endsWith("source.json"));
	const largest = ranges.toSorted((a, b) => statSync(b).size - statSync(a).size)[0];
	const spoil = async (change, requests) => {
		const bytes = readFileSync(largest);
		change(bytes);
		server.log.length = 0;
		await readAll(await open(), "bf16");
		assert.ok(server.log.length >= 1 && server.log.length <= requests, `${server.log.length} requests`);
	};
	await spoil(() => truncateSync(largest, 1000), 10);
	await (await open()).download();
	await spoil((bytes) => {
		bytes[bytes.length >> 1] ^= 1;
		writeFileSync(largest, bytes);
	}, 10);
	// The index.
	const head = ranges.find((name) => /-0-\d+$/.test(name)), bytes = readFileSync(head);
	bytes[600] ^= 1;
	writeFileSync(head, bytes);
	await readAll(await open(), "bf16");
	for (const name of files().filter((each) => each.endsWith("source.json")))
		writeFileSync(name, "{");
	await readAll(await open(), "bf16");
});

test("a full disk only ends keeping", async (t) => {
	const { server, cache, open } = await setUp(t), store = folderStore(cache);
	let room = 300_000;
	const full = { ...store, folder(id) {
		const inner = store.folder(id);
		return { ...inner, async write(name, bytes) {
			room -= bytes.length;
			if (room < 0)
				throw new DOMException("the quota is used up", "QuotaExceededError");
			await inner.write(name, bytes);
		} };
	} };
	const archive = await open({ store: full });
	await readAll(archive, "bf16");
	assert.equal(archive.cache.error.name, "QuotaExceededError");
	assert.ok(archive.cache.size > 0 && archive.cache.size < 300_000);
	await assert.rejects(archive.download(), { code: "IO", message: /cannot be kept: the quota is used up/ });
	room = Infinity;
	server.log.length = 0;
	const later = await open({ store: full });
	await later.download();
	assert.ok(sent(server) < data.length, "what was kept stays");
	await later.cache.clear();
	assert.equal(later.cache.size, 0);
});

test("a cache that cannot be used at all is none", async (t) => {
	const { open } = await setUp(t);
	const broken = () => Promise.reject(new DOMException("not allowed", "SecurityError"));
	const archive = await open({ store: { folder: () => ({ list: broken, read: broken, write: broken, remove: broken, clear: broken }),
		clear: broken } });
	assert.equal(archive.cache, undefined);
	await readAll(archive, "int8");
	await assert.rejects(archive.download(), { code: "USAGE", message: /without a cache/ });
});

test("two at once share a folder", async (t) => {
	const { server, open } = await setUp(t);
	const both = await Promise.all([open(), open()]);
	await Promise.all(both.map((archive) => readAll(archive, "bf16")));
	server.log.length = 0;
	await readAll(await open(), "bf16");
	assert.equal(server.log.length, 0);
	// Readers of one archive at the same time fetch nothing twice.
	await both[0].cache.clear();
	const archive = await open();
	server.log.length = 0;
	await Promise.all([1, 2, 3].map(() => readAll(archive, "int8")));
	assert.ok(sent(server) <= archive.variant("int8").downloadSize);
});

test("a server without Range is read once, into the cache", async (t) => {
	const { server, open } = await setUp(t, { ranges: false });
	const archive = await open({ limits: { buffer: 1000 } });
	await readAll(archive, "bf16");
	await readAll(archive, "int8");
	assert.equal(server.log.length, 1);
	await readAll(await open(), "bf16");
	assert.equal(server.log.length, 1);
});

test("what is no archive leaves nothing behind that is used later", async (t) => {
	const { server, open } = await setUp(t);
	server.data = Buffer.from("<html>not here</html>");
	await assert.rejects(open(), { code: "NOT_QSTORE" });
	server.data = data;
	await readAll(await open(), "int8");
});

test("what is kept here is not kept once more in the browser's HTTP cache", async (t) => {
	const { open, cache } = await setUp(t), modes = [];
	const counting = { limits: { retryDelay: 1 }, fetch: (url, init) => {
		modes.push(init.cache);
		return fetch(url, init);
	} };
	await readAll(await open(counting), "int8");
	assert.ok(modes.length > 1);
	assert.deepEqual(new Set(modes.splice(0)), new Set(["no-store"]));
	await readAll(await open({ ...counting, cache: false }), "int8");
	assert.deepEqual(new Set(modes.splice(0)), new Set([undefined]));
	// A store that is full: from then on the HTTP cache may have it.
	const real = folderStore(join(cache, "full"));
	let writes = 0;
	const store = { ...real, folder: (id) => ({ ...real.folder(id), write: async (...args) => {
		if (++writes > 2)
			throw new Error("full");
		return real.folder(id).write(...args);
	} }) };
	const archive = await open({ ...counting, cache: { store } });
	await readAll(archive, "int8");
	assert.match(archive.cache.error.message, /full/);
	await readAll(archive, "bf16");
	assert.equal(modes[0], "no-store");
	assert.equal(modes.at(-1), undefined);
});
