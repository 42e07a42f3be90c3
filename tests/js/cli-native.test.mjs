// The three native tools as a user meets them: options, output, exit codes, interrupts, full disks.
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
let folder = "";

/** Runs a tool in the tests' folder. */
function run(tool, ...args) {
	const { status, signal, stdout, stderr } = spawnSync(join(bin, tool), args, { cwd: folder, encoding: "utf8" });
	return { status, signal, stdout, stderr };
}

/** Runs a tool that must succeed and say nothing on standard error; gives its output. */
function good(tool, ...args) {
	const { status, stdout, stderr } = run(tool, ...args);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	return stdout;
}

/** Runs a tool that must fail with one line that says `what`. */
function bad(code, what, tool, ...args) {
	const { status, stdout, stderr } = run(tool, ...args);
	assert.equal(stdout, "");
	assert.match(stderr, what);
	assert.match(stderr, new RegExp(`^${tool}: [^\n]+\n$`));
	assert.equal(status, code);
}

/** Names and SHA-256 of all files below a folder. */
function hashes(path, prefix = "") {
	const found = {};
	for (const entry of readdirSync(path, { withFileTypes: true })) {
		const name = prefix + entry.name;
		if (entry.isDirectory()) Object.assign(found, hashes(join(path, entry.name), `${name}/`));
		else found[name] = createHash("sha256").update(readFileSync(join(path, entry.name))).digest("hex");
	}
	return found;
}

before(() => {
	folder = mkdtempSync(join(tmpdir(), "qstore-cli-"));
	const sizes = ["--layers", "2", "--hidden", "96", "--intermediate", "256", "--vocab", "500"];
	good("qstore-generate", ...sizes, "-o", "high", "--low", "low");
	good("qstore-pack", "high", "--low", "low", "-o", "pair.qstore", "-q");
});

after(() => rmSync(folder, { recursive: true, force: true }));

const VERSION = (tool) =>
	new RegExp(`^${tool} \\d+\\.\\d+\\.\\d+\nkernels of this build: (scalar.*)\nkernels that this machine uses: (scalar.*)\n$`);

test("help and version", () => {
	for (const tool of ["qstore-pack", "qstore-unpack", "qstore-info"]) {
		assert.match(good(tool, "--help"), new RegExp(`^Usage: ${tool} `));
		assert.match(good(tool, "-h"), /Exit status/);
		assert.match(good(tool, "--version"), VERSION(tool));
	}
});

test("warnings are lines on standard error, once each, and --quiet hides them", () => {
	const index = { weight_map: { "model.norm.weight": "model-00003-of-00003.safetensors" } };
	for (const name of ["high", "low"]) {
		cpSync(join(folder, name), join(folder, `stale-${name}`), { recursive: true });
		writeFileSync(join(folder, `stale-${name}`, "model.safetensors.index.json"), JSON.stringify(index));
	}
	const warning = (name) => `qstore-pack: warning: stale-${name}/model.safetensors.index.json: 1 of 1 tensors that it names is elsewhere: ` +
		'"model.norm.weight" should be in "model-00003-of-00003.safetensors", which is missing; ' +
		"it is packed as it is (is it another model's index, or is a shard missing?)\n";
	const args = ["stale-high", "--low", "stale-low", "-o", "stale.qstore", "--force"];
	const { status, stderr } = run("qstore-pack", ...args);
	assert.equal(status, 0);
	assert.equal(stderr, warning("high") + warning("low"));
	assert.equal(good("qstore-pack", ...args, "--quiet"), "");
	good("qstore-unpack", "stale.qstore", "-p", "int8", "-o", "stale-out");
	assert.deepEqual(hashes(join(folder, "stale-out")), hashes(join(folder, "stale-low")));
});

// Features of the processor that the kernels need, by the names that Linux gives its flags.
const FLAGS = {
	"sse4.1": ["sse4_1", "popcnt"], avx2: ["avx2", "bmi2", "popcnt"],
		avx512: ["avx512bw", "avx512vl", "avx512vbmi", "avx512_vbmi2", "popcnt"],
};

test("--version names the kernels of this build that this machine uses", { skip: process.arch !== "x64" || !existsSync("/proc/cpuinfo") },
	() => {
	const [built, used] = good("qstore-info", "--version").match(VERSION("qstore-info")).slice(1).map((list) => list.split(" "));
	const flags = new Set(readFileSync("/proc/cpuinfo", "utf8").match(/^flags\s*: (.*)$/m)[1].split(" "));
	assert.deepEqual(used, built.filter((name) => name === "scalar" || FLAGS[name].every((flag) => flags.has(flag))));
});

test("wrong usage exits with 2", () => {
	bad(2, /no model given/, "qstore-pack");
	bad(2, /no output given/, "qstore-pack", "high");
	bad(2, /--low extra/, "qstore-pack", "high", "extra", "-o", "x.qstore");
	bad(2, /unknown option --nonsense/, "qstore-pack", "--nonsense");
	bad(2, /--quantize is llm.int8, q8_0 or none, not int3/, "qstore-pack", "high", "--quantize", "int3");
	bad(2, /without --low/, "qstore-pack", "high", "--low", "low", "--exclude", "x", "-o", "x.qstore");
	bad(2, /-j needs a number/, "qstore-pack", "high", "-o", "x.qstore", "-j", "0");
	bad(2, /-o needs a value/, "qstore-pack", "high", "-o");
	bad(2, /no archive given/, "qstore-unpack");
	bad(2, /no archive given/, "qstore-info");
	bad(2, /-j needs a number/, "qstore-info", "pair.qstore", "-j", "many");
	bad(2, /unknown option -z \(/, "qstore-info", "--json", "-zq", "pair.qstore");
	bad(2, /unknown option -z \(/, "qstore-unpack", "--output=x", "-qzf", "pair.qstore");
	bad(2, /--quiet takes no value/, "qstore-pack", "--quiet=1", "high");
	assert.ok(!existsSync(join(folder, "x.qstore")));
});

test("pack ends with a table, or JSON", () => {
	const table = good("qstore-pack", "high", "--low", "low", "-o", "table.qstore");
	assert.match(table, /raw +zstd -3 +in the archive/);
	assert.match(table, /^int8 .*what its users download/m);
	assert.match(table, /^bf16 .*what it adds/m);
	assert.match(table, /^all .* 2\.\d\d to 1$/m);
	assert.match(table, /14 paired tensors: 1\d\.\d\d bits per weight/);
	const json = JSON.parse(good("qstore-pack", "high", "--low", "low", "-o", "table.qstore", "--force", "--json"));
	assert.equal(json.archiveSize, statSync(join(folder, "table.qstore")).size);
	assert.deepEqual(json.variants.map((variant) => variant.name), ["int8", "bf16"]);
	assert.equal(good("qstore-pack", "high", "--quantize", "none", "-o", "quiet.qstore", "--quiet"), "");
	assert.deepEqual(JSON.parse(good("qstore-info", "quiet.qstore", "--json")).variants.length, 1);
});

test("include and exclude choose what is quantized", () => {
	const refined = (...options) => {
		good("qstore-pack", "high", "-o", "chosen.qstore", "-f", "-q", ...options);
		const { tensors } = JSON.parse(good("qstore-info", "chosen.qstore", "--json"));
		return tensors.filter((tensor) => tensor.kind === "refine").map((tensor) => tensor.name);
	};
	assert.equal(refined().length, 14);
	assert.equal(refined("--exclude", "*mlp*").length, 8);
	assert.ok(refined("--include", "*embed_tokens*").includes("model.embed_tokens.weight"));
	bad(1, /no tensor's name is like \*no_such\*/, "qstore-pack", "high", "-o", "x.qstore", "--include", "*no_such*");
	const none = good("qstore-pack", "high", "-o", "none.qstore", "--exclude", "*");
	const others = ["mlp", "layers.1.", "k_proj", "v_proj", "o_proj"].flatMap((name) => ["--exclude", `*${name}*`]);
	const one = good("qstore-pack", "high", "-o", "one.qstore", ...others);
	assert.match(one, /^1 paired tensor: /m);
	assert.doesNotMatch(one, /^1 tensors/m);
	assert.match(none, /No tensor of high is fit to be quantized: it is stored alone/);
});

test("unpack restores, into a folder of its own by default", () => {
	assert.match(good("qstore-unpack", "pair.qstore"), /^pair-high: \d+ files, /);
	assert.deepEqual(hashes(join(folder, "pair-high")), hashes(join(folder, "high")));
	good("qstore-unpack", "pair.qstore", "-p", "int8", "-q");
	assert.deepEqual(hashes(join(folder, "pair-int8")), hashes(join(folder, "low")));
	const json = JSON.parse(good("qstore-unpack", "pair.qstore", "--precision", "all", "-o", "new/all", "--json"));
	assert.equal(json.output, "new/all");
	assert.deepEqual(hashes(join(folder, "new/all/bf16")), hashes(join(folder, "high")));
	assert.deepEqual(hashes(join(folder, "new/all/int8")), hashes(join(folder, "low")));
	bad(1, /pair-high\/[^ ]+: exists already/, "qstore-unpack", "pair.qstore");
	good("qstore-unpack", "pair.qstore", "--force", "-q");
	bad(1, /has no precision "int4", only int8, bf16/, "qstore-unpack", "pair.qstore", "-p", "int4");
});

test("unpack gives single files and tensors", () => {
	good("qstore-unpack", "pair.qstore", "--file", "config.json", "-o", "one", "-q");
	assert.deepEqual(readdirSync(join(folder, "one")), ["config.json"]);
	good("qstore-unpack", "pair.qstore", "--tensor", "model.layers.1.*proj.weight", "-p", "low", "-o", "some", "-q");
	assert.deepEqual(readdirSync(join(folder, "some")), ["tensors.safetensors"]);
	const data = readFileSync(join(folder, "some/tensors.safetensors"));
	const size = Number(data.readBigUInt64LE());
	const text = data.subarray(8, 8 + size).toString();
	assert.equal(size % 8, 0);
	const header = JSON.parse(text);
	assert.equal(text.trimEnd(), JSON.stringify(header));
	assert.equal(Object.keys(header).length, 7);
	let at = 0;
	for (const { dtype, data_offsets: [start, end] } of Object.values(header)) {
		assert.equal(dtype, "I8");
		assert.equal(start, at);
		at = end;
	}
	assert.equal(data.length, 8 + size + at);
	bad(1, /no tensor nowhere in this precision/, "qstore-unpack", "pair.qstore", "--tensor", "nowhere", "-o", "x");
	bad(1, /no file nowhere in this precision/, "qstore-unpack", "pair.qstore", "--file", "nowhere", "-o", "x");
	assert.ok(!existsSync(join(folder, "x")));
});

test("info prints and verifies", () => {
	const text = good("qstore-info", "pair.qstore", "--verify");
	assert.match(text, /^bf16 +BF16 +refine +\d\.\d+ +\d\.\d\de-0\d +llm\.int8 +model\.layers\.0\.mlp\.down_proj\.weight \[96, 256\]$/m);
	assert.match(text, /Verified/);
	assert.equal(good("qstore-info", "pair.qstore", "--verify", "--quiet"), "");
	const json = JSON.parse(good("qstore-info", "pair.qstore", "--json", "--verify"));
	assert.equal(json.verified, true);
	const config = json.files.find((file) => file.name === "config.json" && file.variants.includes("bf16"));
	assert.equal(config.sha256, hashes(join(folder, "high"))["config.json"]);
	const tensor = json.tensors.find((entry) => entry.kind === "refine");
	assert.equal(tensor.dtype, "BF16");
	assert.ok(tensor.error > 0 && tensor.bitsPerWeight > 2 && tensor.bitsPerWeight < 5);
});

// Modes and types of symbol blocks, as FORMAT.md (3) has them.
const MODES = ["raw", "zstd", "planes", "codes", "ranks", "delta", "recoded", "records", "centred", "peaks", "folded", "columns"];
const BLOCKS = ["raw", "constant", "huffman", "zstd", "sparse", "ans"];

test("info lists how each chunk is coded", () => {
	const { chunks, variants } = JSON.parse(good("qstore-info", "pair.qstore", "--chunks", "--json"));
	for (const { name, layerSize } of variants) {
		const layer = chunks.filter((chunk) => chunk.variant === name);
		assert.ok(layer.length > 10);
		assert.equal(layer.reduce((sum, chunk) => sum + chunk.codedSize, 0), layerSize);
	}
	for (const chunk of chunks) {
		assert.ok(MODES.includes(chunk.mode) && chunk.blocks.every((type) => BLOCKS.includes(type)), JSON.stringify(chunk));
		assert.ok(Math.abs(chunk.bitsPerElement - 8 * chunk.codedSize / chunk.elements) < 1e-9);
		const width = { BF16: 2, F32: 4 }[chunk.dtype] ?? 1;
		if (chunk.mode === "raw" || chunk.mode === "zstd")
			assert.deepEqual(chunk.blocks, []);
		if (chunk.mode === "raw")
			assert.equal(chunk.codedSize, 1 + chunk.elements * width);
		if (chunk.mode === "planes")
			assert.equal(chunk.blocks.length, width);
	}
	const refined = chunks.filter((chunk) => chunk.tensor === "model.layers.0.mlp.down_proj.weight" && chunk.variant === "bf16");
	assert.deepEqual(refined.map((chunk) => [chunk.kind, chunk.mode, chunk.elements]), [["refine", "ranks", 96 * 256]]);
	assert.ok(chunks.some((chunk) => chunk.mode === "codes" && chunk.dtype === "I8" && /huffman|ans/.test(chunk.blocks[0])));

	const text = good("qstore-info", "pair.qstore", "--chunks");
	assert.equal(text.match(/^object \d+: /gm).length, new Set(chunks.map((chunk) => chunk.object)).size);
	assert.match(text, /^object \d+: refine BF16 of bf16, model\.layers\.0\.mlp\.down_proj\.weight\n.*\n +0 +24576 +\d+ +\d\.\d+ ranks /m);
	assert.equal(good("qstore-info", "pair.qstore", "--chunks", "--quiet"), "");
	const data = readFileSync(join(folder, "pair.qstore"));
	data[data.length - 5000] ^= 1;
	writeFileSync(join(folder, "hurt.qstore"), data);
	bad(1, /hurt\.qstore: tensor model\.\S+: chunk \d+ of \d+ is damaged/, "qstore-info", "hurt.qstore", "--chunks", "--json");
});

test("any number of variants, of any quantizer", () => {
	const sizes = ["--layers", "1", "--hidden", "96", "--intermediate", "256", "--vocab", "300", "--dtype", "f32", "--shards", "1"];
	good("qstore-generate", ...sizes, "-o", "chain32", "--cast", "bf16", "chain16", "--low", "chain8", "--low-rule", "divide",
		"--per-tensor");
	const json = JSON.parse(good("qstore-pack", "chain32", "--low", "chain16", "--low", "chain8", "-o", "chain.qstore", "--json"));
	assert.deepEqual(json.variants.map((variant) => variant.name), ["int8", "bf16", "fp32"]);
	assert.equal(json.rules.reduce((sum, rule) => sum + rule.tensors, 0), 7);
	assert.ok(json.rules.every((rule) => ["divide", "multiply"].includes(rule.rule) && rule.exceptions < 0.05 * rule.weights));
	assert.ok(json.deltaTensors > 7);
	for (const [precision, model] of [["int8", "chain8"], ["bf16", "chain16"], ["fp32", "chain32"]]) {
		good("qstore-unpack", "chain.qstore", "--precision", precision, "-o", `chain-${precision}`, "-q");
		assert.deepEqual(hashes(join(folder, `chain-${precision}`)), hashes(join(folder, model)));
	}
	assert.match(good("qstore-info", "chain.qstore"), /^fp32 +F32 +delta +1\d\.\d+ +model/m);
	const table = good("qstore-pack", "chain32", "--low", "chain16", "--low", "chain8", "-o", "chain.qstore", "-f");
	assert.match(table, /^ +\d by the rule (divide|multiply), which explains all but \d\.\d+ % of the codes$/m);
	bad(1, /chain16 is bf16, finer than chain8, which is int8: are they swapped/, "qstore-pack", "chain32", "--low", "chain8", "--low",
		"chain16", "-o", "no.qstore");
	// INT8 is not made from the 4 bits before it, so that its users do not fetch all of these.
	good("qstore-onnx", "--precisions", "fp16,int8,q4f16", "chain32", "-o", "chain-onnx");
	assert.match(good("qstore-pack", "chain-onnx", "-o", "chain-onnx.qstore"), /^int8 .*what it adds: its users download \d/m);
});

test("damage is found and named", () => {
	const data = readFileSync(join(folder, "pair.qstore"));
	data[data.length - 5000] ^= 1;
	writeFileSync(join(folder, "damaged.qstore"), data);
	const { status, stdout, stderr } = run("qstore-info", "damaged.qstore", "--verify", "-q");
	assert.deepEqual([status, stdout], [1, ""]);
	assert.match(stderr, /^qstore-info: damaged\.qstore: tensor model\.\S+: chunk \d+ of \d+ is damaged.*\nqstore-info: bad: \d+ bytes from .*\n$/);
	bad(1, /damaged\.qstore: tensor /, "qstore-unpack", "damaged.qstore", "-o", "x");
	assert.ok(!existsSync(join(folder, "x")));
	data[600] ^= 1;
	writeFileSync(join(folder, "damaged.qstore"), data);
	bad(1, /damaged\.qstore: the index is damaged/, "qstore-info", "damaged.qstore");
	bad(1, /high\/config\.json: not a qstore archive/, "qstore-info", "high/config.json");
	bad(1, /nowhere: cannot open: No such file/, "qstore-info", "nowhere");
	bad(1, /nowhere/, "qstore-pack", "nowhere", "-o", "x.qstore");
	bad(1, /no\/x\.qstore: cannot create: there is no folder no$/m, "qstore-pack", "high", "-o", "no/x.qstore");
	bad(2, /give a coarser version of it as --low low/, "qstore-pack", "high", "low", "-o", "x.qstore");
	bad(2, /archives are not written to standard output/, "qstore-pack", "high", "-o", "-");
	writeFileSync(join(folder, "mine.qstore"), "mine");
	bad(1, /mine\.qstore: exists already.* --force/, "qstore-pack", "high", "-o", "mine.qstore");
});

test("tar reads archives", () => {
	const names = execFileSync("tar", ["tf", "pair.qstore"], { cwd: folder, encoding: "utf8" }).trim().split("\n");
	assert.equal(names[0], "qstore/index");
	assert.deepEqual(names.slice(-2), ["qstore/layer-int8", "qstore/layer-bf16"]);
	mkdirSync(join(folder, "tar"));
	execFileSync("tar", ["xf", "../pair.qstore", "config.json"], { cwd: join(folder, "tar") });
	assert.deepEqual(readFileSync(join(folder, "tar/config.json")), readFileSync(join(folder, "high/config.json")));
});

test("an interrupt leaves nothing", async () => {
	good("qstore-generate", "--weights", "60M", "-o", "larger");
	for (const signal of ["SIGINT", "SIGTERM"]) {
		const output = join(folder, `interrupted-${signal}`);
		mkdirSync(output);
		const child = spawn(join(bin, "qstore-pack"), ["larger", "-o", `${output}/a.qstore`, "-j1"], { cwd: folder });
		let text = "";
		child.stderr.on("data", (data) => (text += data));
		const ended = new Promise((resolve) => child.on("close", (code, by) => resolve(by)));
		while (readdirSync(output).length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
		child.kill(signal);
		assert.equal(await ended, signal);
		assert.equal(text, "qstore-pack: interrupted; nothing was written\n");
		assert.deepEqual(readdirSync(output), []);
	}
});

test("a full disk leaves nothing", (t) => {
	mkdirSync(join(folder, "full"));
	// A file system of 64 KiB in a name space of our own, where the kernel allows that.
	const mount = "mount -t tmpfs -o size=64k tmpfs full";
	const space = process.getuid?.() === 0 ? "-m" : "-Urm";
	const command = (script) =>
		spawnSync("unshare", [space, "sh", "-c", `${mount} && ${script}`], { cwd: folder, encoding: "utf8" });
	if (command("true").status !== 0) return t.skip("no mount name spaces here");
	const packed = command(`${bin}qstore-pack high -o full/a.qstore; echo "$?"; ls -A full`);
	assert.match(packed.stderr, /^qstore-pack: full\/a\.qstore: cannot write: No space left on device\n$/);
	assert.equal(packed.stdout, "1\n");
	const restored = command(`${bin}qstore-unpack pair.qstore -o full/out; echo "$?"; ls -A full`);
	assert.match(restored.stderr, /^qstore-unpack: full\/out\/\S+: cannot write: No space left on device\n$/);
	assert.equal(restored.stdout, "1\n");
});

test("output that cannot be written is an error", () => {
	const { status, stderr } = spawnSync("sh", ["-c", `${bin}qstore-info pair.qstore >/dev/full`], { cwd: folder, encoding: "utf8" });
	assert.equal(status, 1);
	assert.match(stderr, /cannot write to standard output/);
});

test("a terminal sees a progress bar", (t) => {
	const command = `${bin}qstore-unpack pair.qstore -o bar -j1`;
	const { status, stdout, error } = spawnSync("script", ["-qec", command, "/dev/null"], { cwd: folder, encoding: "utf8" });
	if (error) return t.skip("no script command here");
	assert.equal(status, 0);
	assert.match(stdout, /\rrestoring +\[[#.]{24}\] +\d+ %/);
	assert.match(stdout, /bar: \d+ files/);
});
