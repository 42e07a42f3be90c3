// The workflow of .github, as far as it depends on what the Makefile does.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "./helpers.mjs";

test("inputs that made a fuzz target fail are kept, from where make fuzz puts them", () => {
	const { stdout } = spawnSync("make", ["-n", "fuzz"], { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });
	const [, folder] = stdout.match(/-artifact_prefix=(\S+)/);
	const text = readFileSync(join(root, ".github/workflows/test.yml"), "utf8"), job = text.slice(text.indexOf("\n  fuzz:\n"));
	const [, condition, paths] = job.match(/uses: actions\/upload-artifact@v4\n {8}if: (.*)\n[^]*?path: \|\n((?: {12}\S+\n)+)/);
	assert.equal(condition, "failure()");
	// libFuzzer's names for them.
	for (const kind of ["crash", "leak", "oom", "timeout"])
		assert.ok(paths.includes(` ${folder}${kind}-*\n`), kind);
});
