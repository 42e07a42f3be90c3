// Archives in the places where runtimes look for models, without the runtimes: those are tests/browser's.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { attachTransformers } from "../../js/adapters/transformers.js";
import { archiveStorage, ggufBlobs } from "../../js/adapters/wllama.js";
import { openQstore } from "../../js/index.js";
import { createDecoder } from "../../js/internals.js";
import { buildArchive, noise } from "./helpers/archive.mjs";

let archive;

/** Files of two variants: one in both, two of one name, some in one. */
before(async () => {
	const decoder = await createDecoder();
	const file = (name, variants, seed, size = 50) => ({ name, variants, data: noise(size, seed) });
	const data = buildArchive(decoder, {
		variants: [{ name: "q8_0", dtype: "Q8_0" }, { name: "bf16", dtype: "BF16", coarser: 0 }].map((variant) =>
			({ ...variant, dtype: "BF16" })),
		objects: [],
		files: [file("config.json", 3, 1), file("onnx/a b.onnx", 1, 2), file("model-q8_0.gguf", 1, 3), file("model-bf16.gguf", 2, 4),
			file("empty.bin", 3, 5, 0)],
	});
	archive = await openQstore(data, { decoder });
});

/** The `env` of transformers.js, with a network that answers with what it was asked. */
function environment() {
	return {
		remoteHost: "https://hub.test/", remotePathTemplate: "{model}/resolve/{revision}/", localModelPath: "/models/",
			useBrowserCache: false,
		useCustomCache: false, customCache: null, cacheKey: "cache",
		fetch: async (input) => new Response(`network: ${input}`),
	};
}

const bytes = async (response) => new Uint8Array(await response.arrayBuffer());
const BASE = "https://hub.test/org/model/resolve/main/";

test("transformers.js: files of the repository, whatever the spelling", async () => {
	const env = environment(), detach = attachTransformers(env, archive, "org/model", { way: "fetch" });
	const config = noise(50, 1), onnx = noise(50, 2);
	assert.deepEqual(await bytes(await env.fetch(`${BASE}config.json`)), config);
	assert.deepEqual(await bytes(await env.fetch(new URL(`${BASE}config.json?download=true`))), config);
	assert.deepEqual(await bytes(await env.fetch(new Request(`${BASE}config.json`))), config);
	assert.deepEqual(await bytes(await env.fetch("https://hub.test/org/model/resolve/refs%2Fpr%2F1/onnx/a%20b.onnx")), onnx);
	assert.deepEqual(await bytes(await env.fetch(`${BASE}onnx/a b.onnx`)), onnx);
	assert.deepEqual(await bytes(await env.fetch("/models/org/model/config.json")), config);
	assert.equal((await env.fetch(`${BASE}empty.bin`)).headers.get("content-length"), "0");
	assert.equal((await env.fetch(`${BASE}%zz`)).status, 404);
	for (const other of ["https://hub.test/org/model2/resolve/main/config.json", "https://hub.test/my/org/model/resolve/main/config.json",
		"https://other.test/org/model/resolve/main/config.json", "/models/org/modelx/config.json",
			"https://hub.test/org/model/tree/main/config.json"])
		assert.equal(await (await env.fetch(other)).text(), `network: ${other}`);
	detach();
	assert.equal(await (await env.fetch(`${BASE}config.json`)).text(), `network: ${BASE}config.json`);
});

test("transformers.js: another host and path, set later", async () => {
	const env = environment();
	attachTransformers(env, archive, "a.b+c/m", { way: "fetch" });
	Object.assign(env, { remoteHost: "https://mirror.test/x/", remotePathTemplate: "files/{model}/at/{revision}" });
	assert.equal((await env.fetch("https://mirror.test/x/files/a.b+c/m/at/v1/config.json")).headers.get("content-length"), "50");
	assert.match(await (await env.fetch("https://mirror.test/x/files/aXbbc/m/at/v1/config.json")).text(), /network/);
});

test("transformers.js: a cache that gives the archive's files and leaves others to the cache before it", async () => {
	const env = environment(), kept = new Map();
	env.useCustomCache = true;
	const before = env.customCache = {
		match: async (key) => kept.get(key), put: async (key, response) => void kept.set(key, response),
			delete: async (key) => kept.delete(key),
	};
	const detach = attachTransformers(env, archive, "org/model", { way: "cache" }), cache = env.customCache;
	assert.deepEqual(await bytes(await cache.match(`${BASE}config.json`)), noise(50, 1));
	assert.equal(await cache.match(`${BASE}none.json`), undefined);
	assert.equal((await env.fetch(`${BASE}none.json`)).status, 404);
	await cache.put(`${BASE}config.json`, new Response("changed"));
	assert.equal(await cache.delete(`${BASE}config.json`), false);
	assert.equal(kept.size, 0);
	await cache.put("https://hub.test/x/y/resolve/main/z", new Response("other"));
	assert.equal(await (await cache.match("https://hub.test/x/y/resolve/main/z")).text(), "other");
	assert.equal(await cache.delete("https://hub.test/x/y/resolve/main/z"), true);
	detach();
	assert.equal(env.customCache, before);
	assert.equal(await cache.match(`${BASE}config.json`), undefined, "nothing is the archive's any more");
});

test("transformers.js: two repositories, detached in any order", async () => {
	const env = environment(), { fetch } = env;
	const first = attachTransformers(env, archive, "org/one", { way: "cache" });
	const second = attachTransformers(env, archive, "org/two", { way: "cache" });
	const status = async (repo) => (await env.fetch(`https://hub.test/org/${repo}/resolve/main/none`)).status;
	assert.deepEqual([await status("one"), await status("two")], [404, 404]);
	first();
	assert.deepEqual([await status("one"), await status("two")], [200, 404]);
	second();
	assert.deepEqual([await status("one"), await status("two")], [200, 200]);
	first();
	assert.equal(await (await fetch("x")).text(), "network: x");
});

test("transformers.js: a precision that is not there is refused at once, a signal ends bodies", async () => {
	assert.throws(() => attachTransformers(environment(), archive, "org/model", { precision: "int4" }), /no precision "int4"/);
	const env = environment(), controller = new AbortController();
	attachTransformers(env, archive, "org/model", { way: "fetch", signal: controller.signal });
	const response = await env.fetch(`${BASE}config.json`);
	controller.abort(new Error("enough"));
	await assert.rejects(response.arrayBuffer(), /enough/);
});

test("wllama: the GGUF files of a precision", async () => {
	assert.deepEqual(ggufBlobs(archive).map(({ name }) => name), ["model-bf16.gguf"]);
	const [blob] = ggufBlobs(archive, { precision: "low" });
	assert.deepEqual(await blob.bytes(), noise(50, 3));
	const decoder = await createDecoder();
	const none = await openQstore(buildArchive(decoder, {
		variants: [{ name: "bf16", dtype: "BF16" }], objects: [], files: [{ name: "config.json", variants: 1, data: noise(9) }],
	}), { decoder });
	assert.throws(() => ggufBlobs(none), { code: "NOT_FOUND", message: /bf16 has no GGUF file/ });
	const names = ["mmproj-model-f16.gguf", "model-00001-of-00002.gguf", "model-00002-of-00002.gguf"];
	const withProjector = await openQstore(buildArchive(decoder, {
		variants: [{ name: "bf16", dtype: "BF16" }], objects: [], files: names.map((name) => ({ name, variants: 1, data: noise(9) })),
	}), { decoder });
	assert.deepEqual(ggufBlobs(withProjector).map(({ name }) => name), names.slice(1));
});

test("wllama: a storage without another one keeps nothing else, and says so", async () => {
	const storage = archiveStorage(archive, { url: "https://host.test/models" });
	const entries = await storage.list(), [key] = entries.map((entry) => entry.key)
		.filter((each) => /^[0-9a-f]{40}_model-q8_0\.gguf$/.test(each));
	assert.equal(entries.length, 4);
	assert.equal(await storage.getSize(key), 50);
	assert.deepEqual(JSON.parse(await (await storage.read(`__metadata__${key}`)).text()), {
		originalURL: "https://host.test/models/model-q8_0.gguf", originalSize: 50,
		etag: archive.files.find(({ name }) => name === "model-q8_0.gguf").sha256,
	});
	assert.deepEqual(new Uint8Array(await (await storage.read(key)).arrayBuffer()), noise(50, 3));
	await storage.delete(key);
	await storage.write(key, new Response("changed").body);
	assert.deepEqual(new Uint8Array(await (await storage.read(key)).arrayBuffer()), noise(50, 3), "the archive's file stays");
	assert.equal(await storage.read("other"), null);
	assert.equal(await storage.getSize("other"), -1);
	await storage.delete("other");
	await assert.rejects(storage.write("other", new Response("x").body), { code: "USAGE", message: /other cannot be kept/ });
});
