// The JavaScript examples of the README and of docs/javascript.md run as they stand, but for the package's name and the URL.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { serve } from "./helpers/server.mjs";
import { native, temporary } from "./helpers/tools.mjs";

const root = new URL("../../", import.meta.url), folder = temporary({ after }), archive = join(folder, "llama.qstore");
let server;

before(async () => {
	const model = join(folder, "model");
	native("qstore-generate", "--layers", "2", "--hidden", "64", "--intermediate", "128", "--vocab", "300", "--shards", "1", "-o", model);
	native("qstore-pack", model, "-o", archive, "--quiet");
	native("qstore-quantize", "finetune", model, "-o", join(folder, "chat"));
	native("qstore-pack", join(folder, "chat"), "--base", archive, "-o", join(folder, "chat.qstore"), "--quiet");
	server = await serve(readFileSync(archive));
});
after(() => server.close());

/** The examples of a document. */
const examplesOf = (path) => [...readFileSync(new URL(path, root), "utf8").matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);

async function run(t, code) {
	const place = temporary(t), script = join(place, "example.mjs");
	copyFileSync(archive, join(place, "llama.qstore"));
	copyFileSync(join(folder, "chat.qstore"), join(place, "chat.qstore"));
	writeFileSync(script, code.replaceAll(/https:\/\/example\.org\/llama\.qstore(\?signature=abc)?/g, server.url)
		.replaceAll("Bearer …", "Bearer x")
		.replaceAll('"qstore-decode/node"', JSON.stringify(new URL("js/node/index.js", root).href))
		.replaceAll('"qstore-decode"', JSON.stringify(new URL("js/node/index.js", root).href)));
	return (await promisify(execFile)(process.execPath, [script], { cwd: place, env: { ...process.env, XDG_CACHE_HOME: place } })).stdout;
}

test("the README's example runs", async (t) => {
	const examples = examplesOf("README.md");
	assert.ok(examples.length > 0, "the README has a js block");
	const stdout = await run(t, examples[0]);
	assert.match(stdout, /int8: \d+ bytes/);
	assert.match(stdout, /^llama BF16 \[ \d+ \] \d+$/m);
});

const reference = examplesOf("docs/javascript.md"), EXPECTED = [/^int8 I8 \d+ \d+\nbf16 BF16 \d+ \d+\n\d+ \d+\n$/,
	/^BF16 \[ 64 \] little Uint16Array\(64\)[\s\S]*llama 8 \d+ 200 false 64\n$/,
	/^\d+\n$/, /^BF16 1\n$/, /^\d+ undefined\n$/, /^llama\n206\n\d+\n$/, /^\d+ \d+ 0\n$/];
test("the reference's examples are all checked", () => assert.equal(reference.length, EXPECTED.length));
reference.forEach((code, i) => test(`example ${i + 1} of docs/javascript.md runs`,
	async (t) => assert.match(await run(t, code), EXPECTED[i])));
