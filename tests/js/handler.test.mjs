// createHandler: the original files of archives as responses to requests, with HTTP's conditions and ranges.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as web from "../../js/index.js";
import { createDecoder } from "../../js/internals.js";
import { createHandler, openQstore } from "../../js/node/index.js";
import { buildArchive, noise, pairParts, sha256 } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { temporary } from "./helpers/tools.mjs";

const { files } = pairParts(), folder = temporary({ after }), path = join(folder, "m.qstore");
const contentOf = (name) => { const file = files.find((each) => each.name === name); return Buffer.from(file.content ?? file.data); };
let data, decoder;

before(async () => {
	decoder = await createDecoder();
	data = buildArchive(decoder, pairParts());
	writeFileSync(path, data);
});

/** A handler that ends with the test, and a function that asks it. */
function handlerFor(t, options) {
	const handler = createHandler({ ...options, routes: Object.fromEntries(Object.entries(options.routes).map(([route, given]) =>
		[route, typeof given === "object" && "archive" in given ? { workers: false, ...given } : { archive: given, workers: false }])) });
	t.after(() => handler.close());
	const ask = (place, headers = {}, method = "GET", more = {}) =>
		handler(new Request(new URL(place, "http://host.test"), { method, headers, ...more }));
	return { handler, ask };
}

const bodyOf = async (response) => Buffer.from(await response.arrayBuffer());

test("every file of every precision, with its length, type and SHA-256", async (t) => {
	const { ask } = handlerFor(t, { routes: { "/m/{precision}/": path } });
	for (const { name, variants } of files)
		for (const [bit, precision] of [[1, "int8"], [2, "bf16"], [1, "low"], [2, "high"]]) {
			const response = await ask(`/m/${precision}/${name}`), bytes = await bodyOf(response);
			assert.equal(response.status, 200);
			assert.deepEqual(bytes, contentOf(name), `${precision}: ${name}, of ${variants & bit ? "it" : "another precision"}`);
			assert.equal(response.headers.get("etag"), `"${sha256(bytes)}"`);
			assert.equal(response.headers.get("content-length"), String(bytes.length));
			assert.equal(response.headers.get("accept-ranges"), "bytes");
			assert.equal(response.headers.get("content-type"), name.endsWith(".json") ? "application/json" :
				name.endsWith(".txt") ? "text/plain; charset=utf-8" : "application/octet-stream");
			const head = await ask(`/m/${precision}/${name}`, {}, "HEAD");
			assert.deepEqual([...head.headers], [...response.headers]);
			assert.equal(head.body, null);
		}
});

test("where two precisions have a file of one name, the URL or the route chooses", async (t) => {
	const low = noise(60, 1), high = noise(70, 2), twins = buildArchive(decoder, {
		variants: [{ name: "int8", dtype: "I8" }, { name: "bf16", dtype: "BF16", coarser: 0 }], objects: [],
		files: [{ name: "model.bin", variants: 1, data: low }, { name: "model.bin", variants: 2, data: high }],
	});
	const { ask } = handlerFor(t, { routes: {
		"/any/{precision}": twins, "/coarse": { archive: twins, precision: "low" }, "/fine": twins,
		"/me/model/resolve/{revision}": { archive: twins, precision: "low" },
	} });
	for (const [place, expected] of [["any/int8", low], ["any/bf16", high], ["coarse", low], ["fine", high],
		["me/model/resolve/main", low], ["me/model/resolve/bf16", high], ["me/model/resolve/high", high], ["me/model/resolve/refs%2Fpr%2F1", low]])
		assert.deepEqual(await bodyOf(await ask(`/${place}/model.bin`)), Buffer.from(expected), place);
	// A hub's commit names the precision, since tools keep files by it.
	const commits = [];
	for (const [revision, expected] of [["main", low], ["bf16", high]]) {
		const { headers } = await ask(`/me/model/resolve/${revision}/model.bin`, {}, "HEAD"), commit = headers.get("x-repo-commit");
		assert.match(commit, /^[0-9a-f]{40}$/);
		commits.push(commit);
		assert.deepEqual(await bodyOf(await ask(`/me/model/resolve/${commit}/model.bin`)), Buffer.from(expected));
	}
	assert.notEqual(commits[0], commits[1]);
	assert.equal((await ask("/fine/model.bin")).headers.get("x-repo-commit"), null);
});

test("every range, and those that cannot be", async (t) => {
	const { ask } = handlerFor(t, { routes: { "/m": path } });
	const name = "sub/model.high", whole = contentOf(name), size = whole.length, place = `/m/${name}`;
	for (let start = 0; start < size; start += 7)
		for (const end of [start + 1, start + 20, size, size + 5]) {
			const response = await ask(place, { range: `bytes=${start}-${end - 1}` }), expected = whole.subarray(start, end);
			assert.equal(response.status, 206);
			assert.equal(response.headers.get("content-range"), `bytes ${start}-${start + expected.length - 1}/${size}`);
			assert.equal(response.headers.get("content-length"), String(expected.length));
			assert.deepEqual(await bodyOf(response), expected);
		}
	assert.deepEqual(await bodyOf(await ask(place, { range: "bytes=-5" })), whole.subarray(-5));
	assert.deepEqual(await bodyOf(await ask(place, { range: "bytes=9-" })), whole.subarray(9));
	for (const range of [`bytes=${size}-`, "bytes=-0", "bytes=999999999999999999999999-"]) {
		const response = await ask(place, { range });
		assert.equal(response.status, 416, range);
		assert.equal(response.headers.get("content-range"), `bytes */${size}`);
	}
	for (const range of ["bytes=0-1,4-5", "bytes=5-2", "lines=0-1", "bytes=a-b", ""])
		assert.equal((await ask(place, { range })).status, 200, range);
	assert.equal((await ask(place, { range: "bytes=0-1" }, "HEAD")).status, 200, "Range is of GET alone");
	const tag = `"${sha256(whole)}"`;
	assert.equal((await ask(place, { range: "bytes=0-1", "if-range": tag })).status, 206);
	for (const other of ['"x"', `W/${tag}`, "Tue, 01 Dec 2026 00:00:00 GMT"])
		assert.equal((await ask(place, { range: "bytes=0-1", "if-range": other })).status, 200, other);
});

test("a file that the client has is not sent again", async (t) => {
	const { ask } = handlerFor(t, { routes: { "/m": path } });
	const tag = `"${sha256(contentOf("config.json"))}"`;
	for (const method of ["GET", "HEAD"])
		for (const list of [tag, `W/${tag}`, `"a", ${tag}`, "*"]) {
			const response = await ask("/m/config.json", { "if-none-match": list, range: "bytes=0-1" }, method);
			assert.equal(response.status, 304, list);
			assert.equal(response.headers.get("etag"), tag);
			assert.equal(response.body, null);
		}
	for (const list of ['"a"', tag.slice(1, -1)])
		assert.equal((await ask("/m/config.json", { "if-none-match": list })).status, 200, list);
});

test("folders are lists", async (t) => {
	const { ask } = handlerFor(t, { routes: { "/m": path, "/p/{precision}": path } });
	const { digest, precision, precisions, files: listed } = await (await ask("/m/")).json();
	assert.equal(precision, "bf16");
	assert.match(digest, /^sha256-/);
	assert.deepEqual(precisions.map(({ name }) => name), ["int8", "bf16"]);
	assert.deepEqual(listed, files.map(({ name, variants }) => ({
		name, size: contentOf(name).length, sha256: sha256(contentOf(name)), precision: variants & 2 ? "bf16" : "int8",
	})));
	assert.deepEqual((await (await ask("/m")).json()).files, listed);
	for (const place of ["/m/sub/", "/m/sub"])
		assert.deepEqual((await (await ask(place)).json()).files.map(({ name }) => name), ["sub/model.high"]);
	for (const place of ["/p", "/p/"])
		assert.deepEqual((await (await ask(place)).json()).precisions.map(({ name }) => name), ["int8", "bf16"]);
	assert.equal((await (await ask("/p/low")).json()).precision, "int8");
	const head = await ask("/m/", {}, "HEAD");
	assert.equal(await head.text(), "");
	assert.equal(head.headers.get("content-length"), String((await bodyOf(await ask("/m/"))).length));
});

test("what is not there, and what is not allowed, is said in a line", async (t) => {
	const errors = [], server = await serve(data, { behave: (_, response) => { response.writeHead(403).end(); return true; } });
	t.after(() => server.close());
	const { ask, handler } = handlerFor(t, { routes: {
		"/m/{precision}": path, "/gone": join(folder, "none.qstore"), "/remote": { archive: server.url, limits: { retries: 0 } },
		"/sealed": { archive: path, integrity: `sha256-${"A".repeat(43)}=` },
		"https://hub.test/me/{precision}/": path,
	}, onError: (error) => errors.push(error) });
	for (const [status, place, method] of [[404, "/m/low/none"], [404, "/m/fp4/config.json"], [404, "/other/x"], [404, "/"], [404, "/mm/low/config.json"],
		[404, "/m/low/..%2Fm.qstore"], [404, "/m/low/%zz"], [404, "/m/low/config.json/x"], [404, "/me/low/config.json"],
		[405, "/m/low/config.json", "POST"], [405, "/m/low/config.json", "DELETE"],
		[502, "/gone/config.json"], [502, "/remote/config.json"], [502, "/sealed/config.json"]]) {
		const response = await ask(place, {}, method), text = await response.text();
		assert.equal(response.status, status, place);
		assert.match(text, /^[^\n]+\n$/);
		assert.ok(!text.includes(folder) && !text.includes(server.origin) && !text.includes(".js"), text);
		assert.equal(response.headers.get("allow"), status === 405 ? "GET, HEAD" : null);
	}
	assert.equal(errors.length, 3);
	assert.deepEqual(errors.map(({ code }) => code), ["NOT_FOUND", "IO", "INTEGRITY"].map((code, i) => i === 0 ? errors[0].code : code));
	assert.match(await (await ask("/remote/config.json")).text(), /403/);
	assert.deepEqual(["http://a.test/m/low/x", "http://a.test/m", "http://a.test/n", "http://a.test/me/low/x", "https://hub.test/me/low/x"]
		.map((url) => handler.matches(url)), [true, true, false, false, true]);
	assert.equal((await ask("https://hub.test/me/low/config.json")).status, 200);
	for (const route of ["m", "", "/{revisions}/", "/a{precision}/", "/{precision}/{revision}/"])
		assert.throws(() => createHandler({ routes: { [route]: path } }), { code: "USAGE" }, route);
});

test("an archive that could not be opened is tried again by the next request", async (t) => {
	let broken = true;
	const server = await serve(data, { behave: (_, response) => broken && response.writeHead(404).end() });
	t.after(() => server.close());
	const { ask } = handlerFor(t, { routes: { "/m": server.url } });
	assert.equal((await ask("/m/config.json")).status, 502);
	broken = false;
	assert.deepEqual(await bodyOf(await ask("/m/config.json")), contentOf("config.json"));
});

/** A source over the archive that counts how often it is open. */
function counted() {
	const state = { opened: 0, reads: 0 };
	return Object.assign(state, {
		byteLength: data.length,
		async read(offset, length) {
			if (offset === 0)
				state.opened++;
			state.reads++;
			await null;
			return data.subarray(offset, offset + length);
		},
	});
}

test("a few archives stay open, the least recently used is closed, and idle ones are", async (t) => {
	const sources = [counted(), counted(), counted()];
	const { ask } = handlerFor(t, { maxOpen: 2, closeAfter: 0.2, routes: { "/0": sources[0], "/1": sources[1], "/2": sources[2] } });
	const read = async (...places) => {
		for (const place of places)
			assert.deepEqual(await bodyOf(await ask(`/${place}/sub/model.high`)), contentOf("sub/model.high"));
		return sources.map(({ opened }) => opened);
	};
	assert.deepEqual(await read(0, 1, 0, 1), [1, 1, 0]);
	assert.deepEqual(await read(2, 1, 2), [1, 1, 1], "0 was closed, as the least recently used");
	assert.deepEqual(await read(0), [2, 1, 1]);
	await sleep(400);
	assert.deepEqual(await read(0), [3, 1, 1], "after a while without use it was closed");
	// At once: each is opened once, and all are open while they are read.
	await sleep(400);
	const started = sources.map(({ opened }) => opened);
	const responses = await Promise.all(Array.from({ length: 24 }, (_, i) => ask(`/${i % 3}/model.low`)));
	for (const bytes of await Promise.all(responses.map(bodyOf)))
		assert.deepEqual(bytes, contentOf("model.low"));
	assert.ok(sources.every(({ opened }, i) => opened - started[i] <= 2), "shared by those that wait");
});

test("routes of one archive share it, and its own folder comes before that of its precisions", async (t) => {
	const source = counted();
	const { ask } = handlerFor(t, { routes: { "/m/{precision}": source, "/m": source, "/m/resolve/{revision}": source } });
	for (const place of ["/m/int8/config.json", "/m/config.json", "/m/resolve/main/config.json"])
		assert.deepEqual(await bodyOf(await ask(place)), contentOf("config.json"), place);
	assert.equal(source.opened, 1);
	for (const place of ["/m", "/m/"])
		assert.equal((await (await ask(place)).json()).files.length, files.length);
});

test("an open archive of the caller stays open", async (t) => {
	const archive = await openQstore(path, { workers: false });
	t.after(() => archive.close());
	const handler = createHandler({ routes: { "/m": archive } });
	assert.deepEqual(await bodyOf(await handler(new Request("http://a.test/m/config.json"))), contentOf("config.json"));
	await handler.close();
	assert.deepEqual(Buffer.from(await archive.metadata("config.json")), contentOf("config.json"));
});

test("a body that fails midway is an error and not a short body; the handler is told", async (t) => {
	const errors = [], spoiled = Buffer.from(data), index = (await openQstore(data, { decoder })).index;
	const { layerOffset, layerSize } = index.variant(1);
	spoiled[index.payloadOffset + layerOffset + layerSize - 3] ^= 255;
	const { ask } = handlerFor(t, { routes: { "/m": spoiled }, onError: (error) => errors.push(error.code) });
	const response = await ask("/m/sub/model.high");
	assert.equal(response.status, 200);
	await assert.rejects(response.arrayBuffer(), { code: "CORRUPT" });
	assert.deepEqual(errors, ["CORRUPT"]);
});

test("a client that leaves ends the read that is under way", async (t) => {
	// Opening reads the first part of an archive: this one is larger.
	const long = buildArchive(decoder, pairParts({ rows: 2000, cols: 200, rowsInChunk: 100 }));
	for (const way of ["signal", "cancel"]) {
		let aborted = 0;
		const waiting = { byteLength: long.length, read: (offset, length, { signal } = {}) => offset === 0 || !waiting.hang ?
			Promise.resolve(long.subarray(offset, offset + length)) : new Promise((_, reject) =>
				signal?.addEventListener("abort", () => { aborted++; reject(signal.reason); })) };
		const { ask } = handlerFor(t, { routes: { "/m": waiting } }), controller = new AbortController();
		const response = await ask("/m/sub/model.high", {}, "GET", { signal: controller.signal }), reader = response.body.getReader();
		waiting.hang = true;
		const read = reader.read().catch(() => {});
		await sleep(50);
		await (way === "signal" ? controller.abort() : reader.cancel());
		await read;
		assert.ok(aborted > 0, way);
	}
});

test("the other entry serves without Node's modules, and headers are added", async () => {
	const handler = web.createHandler({ routes: { "/m/": { archive: data, workers: false } }, headers: { "access-control-allow-origin": "*" } });
	for (const place of ["config.json", "none"])
		assert.equal((await handler(new Request(`http://a.test/m/${place}`))).headers.get("access-control-allow-origin"), "*");
	await handler.close();
	for (const file of ["handler", "open-archives", "routes"])
		assert.doesNotMatch(readFileSync(new URL(`../../js/serve/${file}.js`, import.meta.url), "utf8").replace(/\/\*[^]*?\*\/|\/\/.*/g, ""), /node:|\bprocess\b|\bBuffer\b/);
});
