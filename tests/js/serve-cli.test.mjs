// qstore-decode serve: programs that know nothing of archives fetch the original files of every precision.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, statSync, truncateSync } from "node:fs";
import { get as httpGet } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { decode, decodeProcess, hashes, native, temporary } from "./helpers/tools.mjs";

const run = promisify(execFile), folder = temporary({ after }), served = join(folder, "served"), restored = join(folder, "restored");
const noCurl = spawnSync("curl", ["--version"]).status !== 0 && "curl is not installed";
let expected, server, url, largest;

/** Starts `qstore-decode serve`; gives its process and address. */
async function start(t, ...args) {
	const { child, result } = decodeProcess(folder, "serve", "--port", "0", ...args);
	t.after(() => end({ child, result }));
	const said = await Promise.race([new Promise((resolve) => child.stdout.once("data", resolve)),
		result.then(({ stderr }) => assert.fail(stderr))]);
	const [, address, count] = /^(http:\S+): (\d+) archives?\n$/.exec(said);
	return { child, result, url: address, count: Number(count) };
}

async function end({ child, result }) {
	child.kill("SIGINT");
	await result;
}

before(async () => {
	native("qstore-generate", "--weights", "6000000", "-o", join(folder, "model"));
	mkdirSync(join(served, "me"), { recursive: true });
	native("qstore-pack", "-q", join(folder, "model"), "-o", join(served, "me/llama.qstore"));
	native("qstore-pack", "-q", join(folder, "model"), "-o", join(folder, "a b.qstore"));
	native("qstore-unpack", "-q", join(served, "me/llama.qstore"), "-p", "all", "-o", restored);
	expected = hashes(restored);
	largest = Object.keys(expected).filter((name) => name.startsWith("bf16/")).sort((a, b) =>
		statSync(join(restored, b)).size - statSync(join(restored, a)).size)[0];
	server = await start({ after: () => {} }, served, join(folder, "a b.qstore"));
	({ url } = server);
});
after(() => end(server));

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const fetched = async (address, headers) => Buffer.from(await (await fetch(address, { headers })).arrayBuffer());

test("it lists the archives, and each archive's files", async () => {
	assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/$/);
	assert.equal(server.count, 2);
	const { archives } = await (await fetch(url)).json();
	assert.deepEqual(archives, [{ name: "me/llama", path: "/me/llama/" }, { name: "a b", path: "/a%20b/" }]);
	for (const { path } of archives)
		for (const precision of ["int8", "bf16"]) {
			const { files } = await (await fetch(new URL(`${path}${precision}/`, url))).json();
			for (const name of Object.keys(expected).filter((each) => each.startsWith(`${precision}/`)))
				assert.equal(files.find((file) => `${precision}/${file.name}` === name).sha256, expected[name], name);
		}
	assert.ok((await (await fetch(`${url}me/llama/`)).json()).files.length > 0);
});

test("every file of every precision is the original, for eight clients at once", async () => {
	await Promise.all(Array.from({ length: 8 }, async (_, i) => {
		for (const [name, hash] of Object.entries(expected))
			assert.equal(sha256(await fetched(`${url}${i % 2 ? "a%20b" : "me/llama"}/${name}`)), hash, name);
	}));
	const [precision, name] = [largest.slice(0, 4), largest.slice(5)];
	assert.equal(sha256(await fetched(`${url}me/llama/${name}`)), expected[`${precision}/${name}`]);
	assert.equal(sha256(await fetched(`${url}me/llama/resolve/int8/config.json`)), expected["int8/config.json"]);
});

test("curl: a range, a head, a file that it has, and a download that goes on", { skip: noCurl }, async () => {
	const whole = readFileSync(join(restored, largest)), address = `${url}me/llama/${largest}`, out = join(folder, "out");
	const curl = async (...args) => (await run("curl", ["-sS", ...args, address], { encoding: "buffer", maxBuffer: 2 ** 28 })).stdout;
	assert.deepEqual(await curl("-r", "1000-9999"), whole.subarray(1000, 10000));
	const head = String(await curl("-I"));
	assert.match(head, /^HTTP\/1\.1 200 /);
	assert.match(head, new RegExp(`content-length: ${whole.length}\\r`, "i"));
	assert.match(head, new RegExp(`etag: "${expected[largest]}"\\r`, "i"));
	assert.match(String(await curl("-i", "-H", `If-None-Match: "${expected[largest]}"`)), /^HTTP\/1\.1 304 [\s\S]*\r\n\r\n$/);
	assert.match(String(await curl("-i", "-r", `${whole.length}-`)), /^HTTP\/1\.1 416 /);
	assert.match(String(await curl("-i", "-X", "PUT")), /^HTTP\/1\.1 405 /);
	await curl("-o", out);
	truncateSync(out, 1_234_567);
	const { stdout } = await run("curl", ["-sS", "-C", "-", "-o", out, "-w", "%{http_code} %{size_download}", address]);
	assert.equal(stdout, `206 ${whole.length - 1_234_567}`);
	assert.equal(sha256(readFileSync(out)), expected[largest]);
});

/** The processor's time that a process has used, in ticks of 10 ms. */
const ticks = (pid) => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11, 13).reduce((sum, n) => sum + Number(n), 0);

test("clients that stop midway, or read nothing, cost nothing more, and others are served", async (t) => {
	const address = `${url}me/llama/${largest}`;
	await Promise.all(Array.from({ length: 8 }, async () => {
		const controller = new AbortController(), response = await fetch(address, { signal: controller.signal });
		await response.body.getReader().read();
		controller.abort();
	}));
	// A client that does not read: Node's socket is full, and decoding waits.
	const slow = await new Promise((resolve, reject) => httpGet(address, resolve).on("error", reject));
	t.after(() => slow.destroy());
	if (process.platform === "linux") {
		await sleep(1500);
		const start = ticks(server.child.pid);
		await sleep(1000);
		assert.ok(ticks(server.child.pid) - start < 30, "it decodes for nobody");
	}
	assert.equal(sha256(await fetched(address)), expected[largest]);
});

test("an archive that is damaged or gone is an error of its own files alone", async (t) => {
	const place = join(folder, "odd");
	mkdirSync(place);
	for (const name of ["cut", "gone", "good"])
		await run("cp", [join(folder, "a b.qstore"), join(place, `${name}.qstore`)]);
	truncateSync(join(place, "cut.qstore"), Math.floor(statSync(join(place, "cut.qstore")).size * 0.9));
	const { url: other, child, result } = await start(t, place);
	renameSync(join(place, "gone.qstore"), join(place, "gone"));
	const response = await fetch(`${other}gone/config.json`), text = await response.text();
	assert.equal(response.status, 502);
	assert.ok(/^[^\n]+\n$/.test(text) && !text.includes(place), text);
	await assert.rejects(fetched(`${other}cut/${largest.replace("00001-of", "00002-of")}`), "a cut body is an error");
	assert.equal(sha256(await fetched(`${other}good/${largest}`)), expected[largest]);
	child.kill("SIGINT");
	const { code, stderr } = await result;
	assert.equal(code, 0);
	assert.match(stderr, /gone\.qstore/);
	assert.match(stderr, /cut\.qstore/);
});

test("other origins and addresses only if they are asked for; wrong usage is said", async (t) => {
	assert.equal((await fetch(`${url}me/llama/config.json`)).headers.get("access-control-allow-origin"), null);
	const { url: open } = await start(t, served, "--allow-origin", "*");
	assert.equal((await fetch(`${open}me/llama/config.json`)).headers.get("access-control-allow-origin"), "*");
	for (const [code, pattern, ...args] of [[2, /no archive given/], [2, /--port/, served, "--port", "x"], [2, /--port/, served, "--port", "65536"],
		[2, /unknown option '--nothing'/i, served, "--nothing"], [1, /no files named \*\.qstore/, join(folder, "model")],
		[1, /none: cannot open/, join(folder, "none")], [2, /rename one of them/, join(folder, "a b.qstore"), join(folder, "a b.qstore")],
		[1, /cannot listen/, served, "--port", new URL(url).port]]) {
		const said = await decode(folder, "serve", ...args);
		assert.equal(said.code, code, said.stderr);
		assert.match(said.stderr, pattern);
	}
	assert.match((await decode(folder, "serve", "--help")).stdout, /^Usage: qstore-decode serve [\s\S]*--port/);
});
