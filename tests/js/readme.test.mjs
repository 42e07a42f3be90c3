// The README's JavaScript example runs as it stands, but for the package's name and the URL.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { serve } from "./helpers/server.mjs";
import { native, temporary } from "./helpers/tools.mjs";

const root = new URL("../../", import.meta.url);

test("the README's example runs", async (t) => {
	const readme = readFileSync(new URL("README.md", root), "utf8");
	const [, example] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
	assert.ok(example, "the README has a js block");
	const folder = temporary(t), model = join(folder, "model"), archive = join(folder, "llama.qstore");
	native("qstore-generate", "--layers", "2", "--hidden", "64", "--intermediate", "128", "--vocab", "300", "--shards", "1", "-o", model);
	native("qstore-pack", model, "-o", archive, "--quiet");
	const server = await serve(readFileSync(archive));
	t.after(() => server.close());
	const script = join(folder, "example.mjs");
	writeFileSync(script, example.replaceAll("https://example.org/llama.qstore", server.url)
		.replace('"qstore-decode"', JSON.stringify(new URL("js/index.js", root).href)));
	const { stdout } = await promisify(execFile)(process.execPath, [script]);
	assert.match(stdout, /int8: \d+ bytes/);
	assert.match(stdout, /^llama BF16 \[ \d+ \] \d+$/m);
});
