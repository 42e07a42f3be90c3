// How the tools behave when the system fails them: calls that fail, a full disk, kills. tests/faults/faults.c, preloaded, lets the k-th call
// of a function fail. Linux only.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, linkSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { cacheHome, decodeCli, hashes, native, temporary } from "./helpers/tools.mjs";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
const shim = fileURLToPath(new URL("../../build/tests/faults.so", import.meta.url));
const skip = process.platform !== "linux" && "the calls of programs are intercepted on Linux only";
/** Calls of one function that are tried, spread over all that there are. */
const TRIES = Number(process.env.QSTORE_ROUNDS ?? 40);

const cleanups = [];
after(() => cleanups.forEach((clean) => clean()));
const folder = temporary({ after: (clean) => cleanups.push(clean) });
const high = join(folder, "high"), low = join(folder, "low"), archive = join(folder, "model.qstore");

before(() => {
	native("qstore-generate", "--layers", "1", "--hidden", "128", "--intermediate", "256", "--vocab", "300", "--shards", "2", "-o", high,
		"--low", low);
	native("qstore-pack", high, "--low", low, "-o", archive);
});

/** The tools, each as a function from the folder that it writes into to its command, and what that folder has to have in the end. */
const tools = {
	"qstore-pack": {
		command: (out) => [join(bin, "qstore-pack"), high, "--low", low, "-o", join(out, "model.qstore")],
		expected: () => ({ "model.qstore": hashes(folder)["model.qstore"] }),
		calls: ["open", "read", "write", "fsync", "link", "close", "malloc"],
	},
	"qstore-unpack": {
		command: (out) => [join(bin, "qstore-unpack"), archive, "-o", out],
		expected: () => hashes(high),
		calls: ["open", "read", "write", "fsync", "link", "close", "malloc"],
	},
	// Node's own calls of the other functions are no matter of ours.
	"qstore-decode": {
		command: (out) => [process.execPath, decodeCli, archive, "-o", out, "--threads", "1"],
		expected: () => hashes(high),
		calls: ["fsync", "link"],
	},
};

/** Runs a command with the shim. */
function run([program, ...args], env) {
	return spawnSync(program, args, { encoding: "utf8", env: { ...process.env, XDG_CACHE_HOME: cacheHome, LD_PRELOAD: shim, ...env } });
}

/** The lines of the shim's log, and how often each function was called. */
function readLog(path) {
	const lines = readFileSync(path, "utf8").trimEnd().split("\n").map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]);
	const counts = Object.fromEntries(lines.filter(([, value]) => /^\d+$/.test(value)));
	return { lines: lines.filter(([, value]) => !/^\d+$/.test(value)), counts };
}

/** Numbers from 1 to n, at most TRIES of them, spread evenly. */
function someOf(n) {
	const tries = Math.min(n, TRIES);
	return Array.from({ length: tries }, (_, i) => 1 + Math.floor(i * n / tries));
}

function countCalls(t, command) {
	const out = temporary(t), log = join(temporary(t), "log");
	const { status, stderr } = run(command(out), { QSTORE_FAULT_LOG: log });
	assert.equal(status, 0, stderr);
	return readLog(log).counts;
}

for (const [name, { command, expected, calls }] of Object.entries(tools)) {
	test(`${name}: a call that fails leaves nothing behind, or everything is right`, { skip }, (t) => {
		const counts = countCalls(t, command);
		let failed = 0;
		for (const call of calls) {
			assert.ok(counts[call] > 0, `${call} is not called, so it is not intercepted`);
			for (const number of someOf(Number(counts[call]))) {
				const out = temporary(t), what = `call ${number} of ${call}`;
				const { status, signal, stderr } = run(command(out), { QSTORE_FAULT: `${call}:${number}` });
				assert.equal(signal, null, `${what}: ${signal}`);
				if (status === 0) {
					assert.deepEqual(hashes(out), expected(), what);
					continue;
				}
				failed++;
				assert.match(stderr, /^qstore-[a-z]+: /m, what);
				assert.deepEqual(readdirSync(out), [], what);
			}
		}
		assert.ok(failed > 0);
	});

	test(`${name}: a disk that is full from some byte on leaves nothing behind`, { skip }, (t) => {
		const counts = countCalls(t, command);
		for (const number of someOf(Number(counts.write)).slice(0, 12)) {
			const out = temporary(t);
			const { status, stderr } = run(command(out), { QSTORE_FAULT: `write:${number}+:28` });
			assert.equal(status, 1, stderr);
			assert.match(stderr, /no space left on device/i);
			assert.deepEqual(readdirSync(out), []);
		}
	});

	test(`${name}: what a killed run leaves is removed by the next one`, { skip }, (t) => {
		const counts = countCalls(t, command);
		let left = 0;
		for (const call of ["fsync", "link"]) {
			for (const number of someOf(Number(counts[call])).slice(0, 6)) {
				const out = temporary(t), other = join(out, ".qstore-00000000-1-aaaaaaaaaaaa");
				const { signal } = run(command(out), { QSTORE_FAULT: `${call}:${number}:kill` });
				assert.equal(signal, "SIGKILL");
				left += readdirSync(out).filter((entry) => entry.startsWith(".qstore-")).length;
				// Another machine's, which may be at work.
				mkdirSync(other);
				const { status, stderr } = run([...command(out), "--force"], {});
				assert.equal(status, 0, stderr);
				rmSync(other, { recursive: true });
				assert.deepEqual(hashes(out), expected());
				assert.deepEqual(readdirSync(out).filter((entry) => entry.startsWith(".")), []);
			}
		}
		assert.ok(left > 0);
	});

	test(`${name}: bytes are on the disk before they get their names`, { skip }, (t) => {
		const out = temporary(t), log = join(temporary(t), "log");
		assert.equal(run(command(out), { QSTORE_FAULT_LOG: log }).status, 0);
		const { lines } = readLog(log);
		const named = lines.findIndex(([call]) => call === "link"), last = lines.findLastIndex(([call]) => call === "link");
		const inOut = (path) => path.startsWith(out);
		const written = new Set(lines.filter(([call, path]) => call === "write" && inOut(path) && !path.includes("(deleted)")).map(([, path]) => path));
		for (const path of written) {
			const lastWrite = lines.findLastIndex(([call, of]) => call === "write" && of === path);
			const flushed = lines.findIndex(([call, of], i) => call === "fsync" && of === path && i > lastWrite);
			assert.ok(flushed >= 0 && flushed < named, `${path} is flushed after its last write, and before it has its name`);
		}
		assert.ok(name === "qstore-pack" || written.size > 0);
		assert.ok(lines.findLastIndex(([call, path]) => call === "fsync" && path === out) > last, "the folder is flushed last");
	});
}

test("a model's hidden leftovers are no part of it", { skip }, (t) => {
	const out = temporary(t), command = tools["qstore-pack"].command;
	const model = join(temporary(t), "model");
	native("qstore-generate", "--layers", "1", "--hidden", "128", "--intermediate", "256", "--vocab", "300", "-o", model);
	writeFileSync(join(model, ".qstore-00000000-1-aaaaaaaaaaaa"), "left by another machine");
	assert.equal(run([command(out)[0], model, "-o", join(out, "a.qstore")], {}).status, 0);
	assert.doesNotMatch(native("qstore-info", "--json", join(out, "a.qstore")), /aaaaaaaaaaaa/);
});

test("no output replaces an input", (t) => {
	const out = temporary(t);
	const base = join(out, "base.qstore"), tuned = join(out, "tuned"), copy = join(out, "copy"), plain = join(out, "base");
	native("qstore-generate", "--layers", "1", "--hidden", "128", "--intermediate", "256", "--vocab", "300", "--shards", "1", "-o", plain);
	native("qstore-pack", plain, "-o", base);
	native("qstore-generate", "--layers", "1", "--hidden", "128", "--intermediate", "256", "--vocab", "300", "--shards", "1", "-o", tuned);
	writeFileSync(join(tuned, "README.md"), "tuned");
	linkSync(base, copy);
	const refused = (text, ...command) => {
		const earlier = hashes(out);
		const { status, stderr } = spawnSync(command[0], command.slice(1), { encoding: "utf8" });
		assert.notEqual(status, 0, command.join(" "));
		assert.match(stderr, text);
		assert.deepEqual(hashes(out), earlier);
	};
	const pack = join(bin, "qstore-pack"), unpack = join(bin, "qstore-unpack");
	for (const output of [base, copy])
		refused(/is part of the base/, pack, tuned, "--base", base, "-o", output, "-f");
	for (const name of ["model.safetensors", "config.json"])
		refused(/is part of the base/, pack, tuned, "--base", plain, "-o", join(plain, name), "-f");
	refused(/is part of the base/, pack, tuned, "--base", join(plain, "model.safetensors"), "-o", join(plain, "model.safetensors"), "-f");
	refused(/is one of the files to be packed/, pack, tuned, "-o", join(tuned, "model.safetensors"), "-f");
	// An archive that is called like one of its files, and a base in the folder that is restored into.
	const named = join(out, "x", "model.safetensors");
	mkdirSync(join(out, "x"));
	copyFileSync(base, named);
	const delta = join(out, "delta.qstore");
	native("qstore-pack", tuned, "--base", plain, "-o", delta);
	for (const [tool, ...more] of [[unpack], [process.execPath, decodeCli]]) {
		refused(/is read from, so it cannot be replaced/, tool, ...more, named, "-o", join(out, "x"), "-f");
		refused(/is read from, so it cannot be replaced/, tool, ...more, delta, "--base", plain, "-o", plain, "-f");
	}
	// A link is replaced, not what it leads to.
	rmSync(named);
	symlinkSync(base, named);
	native("qstore-unpack", named, "-o", join(out, "x"), "-f");
	assert.ok(existsSync(base));
	assert.deepEqual(hashes(join(out, "x"))["model.safetensors"], hashes(plain)["model.safetensors"]);
});
