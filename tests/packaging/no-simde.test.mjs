// A native build as it is without SIMDe's headers: it says so, names its kernels, and makes and reads the same archives.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
let folder;

before(() => void (folder = mkdtempSync(join(tmpdir(), "qstore-no-simde-"))));
after(() => rmSync(folder, { recursive: true }));

function run(command, ...args) {
	const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: "utf8" });
	assert.equal(status, 0, stderr);
	return { stdout, stderr };
}

test("a build without SIMDe's headers, before they are installed", () => {
	const usual = (tool) => join(root, "build/bin", tool), scalar = (tool) => join(folder, "build/bin", tool);
	// A compiler that does not find them as long as a file says so.
	const compiler = join(folder, "compiler"), missing = join(folder, "missing");
	writeFileSync(compiler, `#!/bin/sh\n[ -e ${missing} ] && set -- -DQS_NO_SIMD128 "$@"\nexec \${REAL_CC:-cc} "$@"\n`, { mode: 0o755 });
	writeFileSync(missing, "");
	const settings = [`B=${join(folder, "build")}`, `CC=${compiler}`, "CFLAGS=-O1"], hasKernels = ["x64", "arm64"].includes(process.arch);
	const make = (...args) => run("env", `REAL_CC=${process.env.CC ?? "cc"}`, "make", "-C", root, `-j${availableParallelism()}`, ...settings, ...args);
	const compiled = ({ stdout }) => stdout.match(/^ {2}cc /gm)?.length ?? 0;
	const first = make("tools"), second = make("tools");
	for (const { stderr } of [first, second])
		assert.equal(stderr.match(/^note: SIMDe's headers .* are not here/gm)?.length ?? 0, hasKernels ? 1 : 0, stderr);
	assert.ok(compiled(first) > 50);
	assert.equal(compiled(second), 0);
	assert.doesNotMatch(run(scalar("qstore-info"), "--version").stdout, /sse4\.1|neon/);

	run(usual("qstore-generate"), "--weights", "400000", "-o", "model");
	run(usual("qstore-pack"), "model", "-o", "usual.qstore");
	run(scalar("qstore-pack"), "model", "-o", "scalar.qstore");
	assert.ok(readFileSync(join(folder, "usual.qstore")).equals(readFileSync(join(folder, "scalar.qstore"))));
	run(scalar("qstore-info"), "usual.qstore", "--verify");

	// Once the headers are there, all is built again with them.
	rmSync(missing);
	const { stdout, stderr } = make("-n", "tools");
	assert.equal(stderr, "");
	if (hasKernels)
		assert.equal(stdout.match(/-c -o \S+\/build\/obj\//g)?.length, compiled(first));
});
