// A native build as it is without SIMDe's headers: it says so, names its kernels, and makes and reads the same archives.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
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

test("a build without SIMDe's headers", () => {
	const usual = (tool) => join(root, "build/bin", tool), scalar = (tool) => join(folder, "build/bin", tool);
	const { stderr } = run("make", "-s", "-C", root, `-j${availableParallelism()}`, "tools", `B=${join(folder, "build")}`,
		"CFLAGS=-O1 -DQS_NO_SIMD128");
	if (["x64", "arm64"].includes(process.arch))
		assert.equal(stderr.match(/^note: SIMDe's headers .* are not here/gm)?.length, 1, stderr);
	assert.doesNotMatch(run(scalar("qstore-info"), "--version").stdout, /sse4\.1|neon/);

	run(usual("qstore-generate"), "--weights", "400000", "-o", "model");
	run(usual("qstore-pack"), "model", "-o", "usual.qstore");
	run(scalar("qstore-pack"), "model", "-o", "scalar.qstore");
	assert.ok(readFileSync(join(folder, "usual.qstore")).equals(readFileSync(join(folder, "scalar.qstore"))));
	run(scalar("qstore-info"), "usual.qstore", "--verify");
});
