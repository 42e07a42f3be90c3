// An archive's digest proves every byte: in Node, over HTTP and natively, for whole models, single tensors and ranges, also where all
// checksums of the forged bytes are right.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore } from "../../js/node/open.js";
import { sealedSource } from "../../js/source/sealed-source.js";
import { createDecoder } from "../../js/wasm/module.js";
import { buildArchive, noise, sha256 } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";
import { decodeCli, hashes, native, temporary } from "./helpers/tools.mjs";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
const folder = temporary({ after }), high = join(folder, "high"), low = join(folder, "low"), path = join(folder, "model.qstore");
let data, digest, decoder;

before(async () => {
	decoder = await createDecoder();
	native("qstore-generate", "--layers", "1", "--hidden", "256", "--intermediate", "704", "--vocab", "3000", "-o", high, "--low", low);
	const packed = JSON.parse(native("qstore-pack", high, "--low", low, "-o", path, "--json"));
	data = readFileSync(path);
	({ digest } = packed);
});

/** A copy of the archive in which one byte differs. */
function damaged(at) {
	const bytes = Uint8Array.from(data);
	bytes[at] ^= 0x10;
	return bytes;
}

async function readAll(archive, precision) {
	for (const file of archive.filesOf({ precision }))
		assert.equal(sha256(await file.read()), file.sha256, file.name);
}

test("the digest is the SHA-256 of the index, and the same wherever it is shown", async () => {
	const size = 64 + Number(data.readBigUInt64LE(528));
	assert.equal(digest, `sha256-${createHash("sha256").update(data.subarray(512, 512 + size)).digest("base64")}`);
	const info = JSON.parse(native("qstore-info", "--json", path));
	assert.equal(info.digest, digest);
	assert.match(native("qstore-info", path), new RegExp(`^digest ${digest.replace(/[+]/g, "\\+")}$`, "m"));
	const archive = await openQstore(data, { workers: false });
	assert.equal(archive.digest, digest);
	assert.equal(archive.sealed, false);
});

test("with the right digest everything comes as without it", async (t) => {
	const server = await serve(data);
	t.after(() => server.close());
	for (const source of [data, path, server.url])
		for (const integrity of [digest, Buffer.from(digest.slice(7), "base64").toString("hex")]) {
			const archive = await openQstore(source, { integrity, workers: false });
			t.after(() => archive.close());
			assert.ok(archive.sealed);
			await readAll(archive, "int8");
			await readAll(archive, "bf16");
		}
	for (const [command, ...args] of [[join(bin, "qstore-unpack")], [process.execPath, decodeCli]]) {
		const out = temporary(t);
		assert.equal(spawnSync(command, [...args, path, "--digest", digest, "-o", out]).status, 0);
		assert.deepEqual(hashes(out), hashes(high));
	}
	native("qstore-info", path, "--digest", digest, "--verify", "-q");
});

test("reading with a digest fetches little more than without", async (t) => {
	const counts = [];
	for (const integrity of [undefined, digest]) {
		const server = await serve(data);
		t.after(() => server.close());
		const archive = await openQstore(server.url, { integrity, workers: false });
		t.after(() => archive.close());
		await readAll(archive, "bf16");
		counts.push(server.log.reduce((sum, entry) => sum + entry.sent, 0));
	}
	assert.ok(counts[1] <= 1.05 * counts[0], counts.join(" "));
});

test("another archive is refused when it is opened, and a digest that is none is a wrong use", async () => {
	const other = `sha256-${Buffer.alloc(32).toString("base64")}`;
	await assert.rejects(openQstore(data, { integrity: other, workers: false }), { code: "INTEGRITY", message: /its own is sha256-/ });
	for (const integrity of ["", "abc", "md5-aaaa", `${other}x`, digest.replace("sha256", "SHA256"), "0".repeat(63), other.replace("A=", "B=")])
		await assert.rejects(openQstore(data, { integrity, workers: false }), { code: "USAGE" }, integrity);
	for (const [command, ...args] of [[join(bin, "qstore-unpack")], [process.execPath, decodeCli]]) {
		const { status, stderr } = spawnSync(command, [...args, path, "--digest", other, "-o", join(folder, "no")], { encoding: "utf8" });
		assert.equal(status, 1);
		assert.match(stderr, /model\.qstore: is not the archive of this digest: its own is sha256-/);
	}
});

test("any byte that is changed is noticed, by tensor(), stream(), chunks(), response(), unpack and the tools", async (t) => {
	const { index } = await openQstore(data, { workers: false });
	const first = index.payloadOffset;
	const variants = [0, 1].map((v) => index.variant(v));
	const places = variants.flatMap(({ layerOffset, layerSize }) =>
		[0, 0.3, 0.7, 0.9999].map((part) => first + layerOffset + Math.floor(part * layerSize)));
	for (const at of places) {
		const archive = await openQstore(damaged(at), { integrity: digest, workers: false });
		await assert.rejects(readAll(archive, "bf16"), { code: "INTEGRITY", message: /bytes from byte \d+ on are not what the digest promises/ });
		const outcomes = await Promise.allSettled(archive.tensorsOf({ precision: "bf16" }).map((tensor) => tensor.load()));
		assert.ok(outcomes.some((outcome) => outcome.status === "rejected" && outcome.reason.code === "INTEGRITY"));
	}
	const bad = join(folder, "bad.qstore");
	writeFileSync(bad, damaged(places[5]));
	for (const [command, ...args] of [[join(bin, "qstore-unpack")], [process.execPath, decodeCli]]) {
		const out = temporary(t), run = spawnSync(command, [...args, bad, "--digest", digest, "-o", out], { encoding: "utf8" });
		assert.equal(run.status, 1);
		assert.match(run.stderr, /bytes from byte \d+ on are not what the digest promises/);
		assert.deepEqual(readdirSync(out), []);
	}
	// Small files.
	const member = data.indexOf("{", index.payloadOffset);
	const archive = await openQstore(damaged(member), { integrity: digest, workers: false });
	const files = ["int8", "bf16"].flatMap((precision) => archive.filesOf({ precision }));
	const failed = await Promise.allSettled(files.map((file) => file.read(0, Math.min(file.size, 5))));
	assert.ok(failed.some((outcome) => outcome.status === "rejected" && outcome.reason.code === "INTEGRITY"));
});

/** An archive in which every checksum fits other bytes than those that its seals were made of, as a forger of XXH3-64 makes it. */
function forge() {
	const parts = (weights) => ({
		variants: [{ name: "bf16", dtype: "BF16" }],
		objects: [{ kind: 0, dtype: "BF16", variant: 0, data: weights, cols: 100, chunkElems: 50000 }],
		files: [{ name: "model.safetensors", variants: 1, extents: [[0, 0, weights.length]], content: weights,
			sha256: sha256(honest), tensors: [{ name: "w", dtype: "BF16", shape: [2000, 100], offset: 0, object: 0 }] }],
	});
	const honest = noise(400000, 1), evil = Uint8Array.from(honest);
	evil.fill(0, 210000, 390000);
	/** @type {Uint8Array[]} */
	const seals = [];
	buildArchive(decoder, { ...parts(honest), change: (view, places) =>
		seals.push(new Uint8Array(view.buffer).slice(places.seals, places.checksums)) });
	const forged = buildArchive(decoder, { ...parts(evil), change: (view, places) =>
		new Uint8Array(view.buffer).set(seals[0], places.seals) });
	return { forged, honest, evil };
}

test("bytes whose checksums are all right are noticed by their seals, and without a digest by nobody", async (t) => {
	const { forged, evil } = forge(), file = join(folder, "forged.qstore");
	writeFileSync(file, forged);
	const trusting = await openQstore(forged, { workers: false });
	const own = trusting.digest;
	assert.deepEqual(Buffer.from(await trusting.tensor("w").read()), Buffer.from(evil));
	const archive = await openQstore(forged, { integrity: own, workers: false }), tensor = archive.tensor("w");
	// The first stretch is honest.
	assert.deepEqual(Buffer.from(await tensor.read(0, 1000)), Buffer.from(evil.subarray(0, 1000)));
	for (const read of [
		() => tensor.load(), () => tensor.read(300000, 300010), async () => new Response(tensor.stream()).arrayBuffer(),
		() => archive.file("model.safetensors").read(), () => archive.file("model.safetensors").response().arrayBuffer(),
		async () => archive.file("model.safetensors").blob().slice(300000, 300010).arrayBuffer(),
		async () => { for await (const chunk of tensor.chunks()) assert.ok(chunk); },
	])
		await assert.rejects(read(), (error) => /INTEGRITY|digest promises/.test(`${error.code} ${error.message} ${error.cause?.message}`), String(read));
	for (const [command, ...args] of [[join(bin, "qstore-unpack")], [process.execPath, decodeCli]]) {
		const out = temporary(t);
		assert.equal(spawnSync(command, [...args, file, "-o", out]).status, 0);
		assert.equal(spawnSync(command, [...args, file, "-f", "--digest", own, "-o", out]).status, 1);
	}
	const { status, stderr } = spawnSync(join(bin, "qstore-info"), [file, "--verify"], { encoding: "utf8" });
	assert.equal(status, 1);
	assert.match(stderr, /damaged: /);
});

test("bytes that were damaged on their way are fetched once more, and then they are right", async (t) => {
	const { index } = await openQstore(data, { workers: false });
	const layer = index.payloadOffset + index.variant(1).layerOffset;
	let spoiled = 0;
	const server = await serve(data, {
		behave: (request, response, range) => {
			if (!range || range[0] > layer + 1000 || range[1] < layer + 1000 || spoiled++ > 0)
				return false;
			const bytes = Buffer.from(data.subarray(range[0], range[1] + 1));
			bytes[layer + 1000 - range[0]] ^= 1;
			response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${data.length}`, "content-length": bytes.length }).end(bytes);
			return true;
		},
	});
	t.after(() => server.close());
	const archive = await openQstore(server.url, { integrity: digest, workers: false });
	t.after(() => archive.close());
	await readAll(archive, "bf16");
	assert.ok(spoiled >= 2);
});

test("any sequence of ranges gives the source's bytes, and proves those of stretches", async () => {
	const { index } = await openQstore(data, { workers: false });
	const source = { byteLength: data.length, read: async (offset, length) => data.subarray(offset, offset + length) };
	const sealed = sealedSource(source, index), random = noise(3000, 7);
	for (let i = 0; i + 6 <= random.length; i += 6) {
		const view = new DataView(random.buffer, i, 6);
		const offset = view.getUint32(0) % data.length, length = Math.min(view.getUint16(4) << i % 6, data.length - offset);
		const bytes = await sealed.read(offset, length);
		assert.ok(Buffer.from(bytes).equals(data.subarray(offset, offset + length)), `${length} bytes from ${offset} on`);
	}
	const stretches = index.stretches(), last = stretches.at(-1);
	assert.ok(stretches.length > 2);
	assert.deepEqual(Buffer.from(await sealed.read(last.end - 3, 3)), data.subarray(last.end - 3, last.end));
});

test("a base is proved too, be it files or an archive", async (t) => {
	const tuned = join(folder, "tuned"), base = join(folder, "base.qstore"), delta = join(folder, "delta.qstore");
	native("qstore-generate", "--layers", "1", "--hidden", "256", "--intermediate", "704", "--vocab", "3000", "-o", tuned);
	writeFileSync(join(tuned, "README.md"), "tuned");
	native("qstore-pack", high, "-o", base);
	const { digest: own } = JSON.parse(native("qstore-pack", tuned, "--base", base, "-o", delta, "--json"));
	const evil = join(folder, "evil"), { index } = await openQstore(base, { workers: false });
	mkdirSync(evil);
	const bytes = readFileSync(base);
	bytes[index.payloadOffset + index.variant(0).layerOffset + 100_000] ^= 1;
	writeFileSync(join(evil, "base.qstore"), bytes);
	for (const [command, ...args] of [[join(bin, "qstore-unpack")], [process.execPath, decodeCli]]) {
		const out = temporary(t);
		for (const good of [high, base]) {
			const { status, stderr } = spawnSync(command, [...args, delta, "--digest", own, "--base", good, "-o", out, "-f"], { encoding: "utf8" });
			assert.equal(status, 0, stderr);
			assert.deepEqual(hashes(out), hashes(tuned));
		}
		const { status, stderr } = spawnSync(command, [...args, delta, "--digest", own, "--base", join(evil, "base.qstore"), "-o", out, "-f"],
			{ encoding: "utf8" });
		assert.equal(status, 1);
		assert.match(stderr, /base\.qstore: .*not what the digest promises/);
	}
});

/** The blocks of shell commands of a section of docs/native.md. */
function commandsOf(section) {
	const text = readFileSync(new URL("../../docs/native.md", import.meta.url), "utf8");
	return [...text.slice(text.indexOf(section)).split("\n## ")[0].matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block);
}

/** Runs a script in a folder of its own that has the archive as llama.qstore, and the tools on its PATH. */
function runScript(t, script) {
	const home = temporary(t);
	copyFileSync(path, join(home, "llama.qstore"));
	const { status, stderr } = spawnSync("bash", ["-euo", "pipefail", "-c", script], { cwd: home, encoding: "utf8",
		env: { ...process.env, HOME: home, PATH: `${bin}:${process.env.PATH}` } });
	return { status, stderr };
}

for (const [tool, keys, number] of [
	["ssh-keygen", "mkdir .ssh; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519", 0],
	["minisign", "minisign -G -W -p publisher.pub -s publisher.key >/dev/null; qstore-info llama.qstore | sed -n 's/^digest //p' > llama.qstore.digest", 1],
]) {
	const isThere = spawnSync("sh", ["-c", `command -v ${tool}`]).status === 0;
	test(`a signature by ${tool}, as the documentation has it`, { skip: !isThere && `${tool} is not installed` }, (t) => {
		const commands = commandsOf("**Signatures.**")[number].replace("minisign -S", "minisign -S -W");
		const { status, stderr } = runScript(t, `${keys}\n${commands}`);
		assert.equal(status, 0, stderr);
		const lines = commands.trim().split("\n"), verify = lines.findIndex((line) => / -Y verify | -V /.test(line));
		const forged = [...lines.slice(0, verify), "echo forged > llama.qstore.digest", lines[verify]].join("\n");
		assert.notEqual(runScript(t, `${keys}\n${forged}`).status, 0, "a forged digest has a good signature");
	});
}
