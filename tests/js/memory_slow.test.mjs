// The memory that loading a model takes beside the tensors that its caller keeps does not grow with the model.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serve } from "./helpers/server.mjs";
import { native, temporary } from "./helpers/tools.mjs";

const LIMIT = 64e6, script = fileURLToPath(new URL("helpers/load.mjs", import.meta.url));

test("tensors of a large model, over HTTP, in less than 64 MB", { timeout: 600_000 }, async (t) => {
	const folder = temporary(t), path = join(folder, "large.qstore");
	native("qstore-generate", "--weights", "200M", "-o", join(folder, "large"));
	native("qstore-pack", join(folder, "large"), "-o", path, "-q");
	const server = await serve(readFileSync(path));
	t.after(() => server.close());
	for (const [precision, workers, cache] of [["int8", 0, ""], ["bf16", 0, join(folder, "cache")], ["bf16", 2, ""]]) {
		const { stdout } = await promisify(execFile)(process.execPath,
			["--expose-gc", script, server.url, precision, String(workers), cache]);
		const { decoded, largest, rss, buffers } = JSON.parse(stdout);
		const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
		t.diagnostic(`${precision}, ${workers} workers${cache && ", cache"}: ${mb(decoded)} decoded, largest tensor ${mb(largest)}, ` +
			`${mb(buffers)} held beside it at most; the process grew by ${mb(rss)}, threads included`);
		assert.ok(decoded > 80e6);
		// With threads the figure includes garbage that they have not collected yet; nobody can ask them to collect it.
		assert.ok(workers > 0 || buffers < LIMIT, `${mb(buffers)} held`);
	}
});
