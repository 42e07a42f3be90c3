// How fast other programs read an archive: through qstore-mount, beside qstore-unpack, and in Python, beside NumPy that reads the raw
// safetensors files; and what clients of `qstore-decode serve` get. node tests/bench/readers.mjs ARCHIVE MODEL [--passes N] [--json FILE]
// MODEL: the folder that the archive's finest variant was made of.
import { spawn, spawnSync } from "node:child_process";
import { accessSync, appendFileSync, closeSync, constants, existsSync, mkdtempSync, openSync, readSync, readdirSync, rmSync, rmdirSync, statSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: { passes = "5", json }, positionals: [archive, model] } = parseArgs({
	allowPositionals: true, options: { passes: { type: "string" }, json: { type: "string" } },
});
const root = fileURLToPath(new URL("../../", import.meta.url)), tool = (name) => join(root, "build/bin", name);
const weights = readdirSync(model).filter((name) => name.endsWith(".safetensors"));
const size = weights.reduce((sum, name) => sum + statSync(join(model, name)).size, 0);
// A file in memory, where there is such a folder.
const memory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const BLOCK = 2 ** 20, RANDOM = 65536, READS = 500;
const block = Buffer.alloc(BLOCK);

/** Reads files from their beginning to their end; gives the seconds. */
function readAll(folder) {
	const start = performance.now();
	for (const name of weights) {
		const fd = openSync(join(folder, name), "r");
		while (readSync(fd, block, 0, BLOCK) > 0);
		closeSync(fd);
	}
	return (performance.now() - start) / 1000;
}

/** Seconds of reads of 64 KiB at random places. */
function readRandom(folder) {
	const files = weights.map((name) => ({ fd: openSync(join(folder, name), "r"), size: statSync(join(folder, name)).size }));
	let seed = 1;
	const random = (n) => Math.floor((seed = Math.imul(seed, 48271) >>> 0) / 2 ** 32 * n);
	const start = performance.now();
	for (let i = 0; i < READS; i++) {
		const file = files[random(files.length)];
		readSync(file.fd, block, 0, RANDOM, random(file.size - RANDOM));
	}
	const seconds = (performance.now() - start) / 1000;
	files.forEach(({ fd }) => closeSync(fd));
	return seconds;
}

/** Mounts the archive while `use` runs with the folder. */
async function mounted(use) {
	const place = mkdtempSync(join(tmpdir(), "qstore-bench-")), outside = statSync(place).dev;
	const child = spawn(tool("qstore-mount"), ["-f", archive, place, "--precision", "high"], { stdio: "ignore" });
	const ended = new Promise((resolve) => child.on("close", resolve));
	try {
		while (child.exitCode === null && statSync(place).dev === outside)
			await sleep(5);
		return use(place);
	} finally {
		child.kill("SIGINT");
		await ended;
		rmdirSync(place);
	}
}

/** The seconds in which clients, at once, get all files of the finest variant from `qstore-decode serve`. */
async function served(clients) {
	const child = spawn(process.execPath, [join(root, "js/cli.js"), "serve", archive, "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
	const ended = new Promise((resolve) => child.on("close", resolve));
	try {
		const [url] = /^http:\S+\//.exec(String(await new Promise((resolve) => child.stdout.once("data", resolve))));
		const path = (await (await fetch(url)).json()).archives[0].path.slice(1), start = performance.now();
		await Promise.all(Array.from({ length: clients }, async () => {
			for (const name of weights)
				await new Promise((resolve, reject) => get(`${url}${path}${name}`, (response) => {
					response.resume().on("end", resolve).on("error", reject);
				}).on("error", reject));
		}));
		return (performance.now() - start) / 1000;
	} finally {
		child.kill("SIGINT");
		await ended;
	}
}

function unpack() {
	const folder = mkdtempSync(join(memory, "qstore-bench-")), start = performance.now();
	const { status, stderr } = spawnSync(tool("qstore-unpack"), [archive, "-q", "-o", join(folder, "out")], { encoding: "utf8" });
	const seconds = (performance.now() - start) / 1000;
	rmSync(folder, { recursive: true });
	if (status !== 0)
		throw new Error(stderr);
	return seconds;
}

const LOADS = {
	"NumPy, raw safetensors": `import json, numpy
def load(path):
    with open(path, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        header, data = json.loads(f.read(n)), numpy.fromfile(f, dtype=numpy.uint8)
    return {k: data[v["data_offsets"][0]:v["data_offsets"][1]] for k, v in header.items() if k != "__metadata__"}
for path in sys.argv[4:]: kept.append(load(path))`,
	"qstore.load_file": "import qstore\nkept.append(qstore.load_file(sys.argv[3], precision='high'))",
};
const python = ["/usr/bin/python3", "python3"].find((name) => spawnSync(name, ["-c", "import numpy"]).status === 0);

/** The seconds of loading in Python, without its start: the lesser of two. */
function load(way) {
	const imports = way.split("\n").filter((line) => line.startsWith("import ")).join("\n");
	const body = way.split("\n").filter((line) => !line.startsWith("import ")).map((line) => `    ${line}`).join("\n");
	const script = `import sys, time\n${imports}\nbest = None\nfor i in range(int(sys.argv[2])):\n    kept = []\n    start = time.perf_counter()\n${body}\n` +
		"    seconds = time.perf_counter() - start\n    best = seconds if best is None else min(best, seconds)\nprint(best)";
	const { status, stdout, stderr } = spawnSync(python, ["-c", script, "", "2", archive, ...weights.map((name) => join(model, name))], {
		encoding: "utf8",
		env: { ...process.env, QSTORE_LIBRARY: join(root, "build/lib/libqstore.so"), PYTHONPATH: join(root, "native/python") },
	});
	if (status !== 0)
		throw new Error(stderr);
	return Number(stdout);
}

const best = {};
const keep = (name, seconds, bytes = size) => best[name] = { seconds: Math.min(seconds, best[name]?.seconds ?? Infinity), bytes };
const canMount = (() => {
	try {
		accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
		return existsSync(tool("qstore-mount"));
	} catch {
		return false;
	}
})();

// All in turn, so that other work of the machine disturbs all alike.
for (let pass = 0; pass < Number(passes); pass++) {
	keep("qstore-unpack, into memory", unpack());
	keep("raw files, from the page cache", readAll(model));
	for (const clients of [1, 8])
		keep(`qstore-decode serve, ${clients} client${clients > 1 ? "s" : ""}`, await served(clients), clients * size);
	for (const [name, way] of python ? Object.entries(LOADS) : [])
		keep(`Python: ${name}`, load(way));
	if (!canMount)
		continue;
	await mounted((place) => {
		keep("qstore-mount, first reading", readAll(place));
		keep("qstore-mount, second reading", readAll(place));
	});
	await mounted((place) => keep("qstore-mount, 64 KiB at random", readRandom(place), READS * RANDOM));
}
console.log(`Other readers of the generated model (${(size / 1e6).toFixed(0)} MB), the best of ${passes}:`);
for (const [name, { seconds, bytes }] of Object.entries(best)) {
	console.log(`  ${name.padEnd(36)} ${(bytes / seconds / 1e6).toFixed(0).padStart(7)} MB/s ${(seconds * 1000).toFixed(1).padStart(9)} ms`);
	if (json)
		appendFileSync(json, `${JSON.stringify({ data: "generated", platform: "reader", reader: name, seconds, bytes })}\n`);
}
if (!canMount)
	console.log("  (nothing can be mounted here)");
