// Archives that are made to exhaust their readers (helpers/hostile.mjs): memory stays below 64 MB and 16 bytes for each byte of the
// archive (FORMAT.md, 4.1). The bound is enforced by limits on the processes, not by timing.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createDecoder } from "../../js/wasm/module.js";
import { decodeArchive } from "../reference/decode.mjs";
import { beyond, within } from "./helpers/hostile.mjs";
import { temporary } from "./helpers/tools.mjs";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
const folder = temporary({ after }), decoder = await createDecoder();
const OVER = "restoring it would take more memory or time than the format allows";
const MESSAGES = { LIMIT: OVER, CORRUPT: /(the index is damaged|it does not decompress|its SHA-256 differs)\n$/ };

/** Bytes of data that a reader may have for an archive of this size. */
const bound = (size) => 64 * 2 ** 20 + 16 * size;

/** Runs a native tool that can have so many bytes of data. glibc's arenas would reserve more than they use. */
function limited(bytes, tool, ...args) {
	return spawnSync("sh", ["-c", `ulimit -d ${Math.ceil(bytes / 1024)} && exec "$0" "$@"`, join(bin, tool), ...args],
		{ encoding: "utf8", maxBuffer: 2 ** 28, env: { ...process.env, MALLOC_ARENA_MAX: "1" } });
}

/** The archive in a file of its own. */
function stored(bytes) {
	const path = join(folder, "m.qstore");
	writeFileSync(path, bytes);
	return path;
}

const commands = (path) => [["qstore-info", path], ["qstore-info", path, "--json"], ["qstore-info", path, "--verify", "-q", "-j", "2"],
	["qstore-unpack", path, "-q", "-f", "-j", "2", "-o", join(folder, "out")]];

test("the limit on memory is one", () => {
	const [, { bytes }] = Object.entries(within(decoder)).find(([name]) => name === "a transposed matrix of 16 MiB");
	const { status, stderr } = limited(2 ** 22, "qstore-unpack", stored(bytes), "-q", "-j", "2", "-o", join(folder, "small"));
	assert.notEqual(status, 0);
	assert.match(stderr, /out of memory|cannot/);
});

for (const [name, { bytes, code = "LIMIT" }] of Object.entries(beyond(decoder)))
	test(`native tools and the reference decoder refuse ${name}`, async () => {
		const path = stored(bytes);
		for (const command of commands(path)) {
			const { status, stdout, stderr } = limited(bound(bytes.length), ...command);
			assert.equal(status, 1, command.join(" "));
			assert.equal(stdout, "");
			if (code === "LIMIT")
				assert.equal(stderr, `${command[0]}: ${path}: ${OVER}\n`);
			else
				assert.match(stderr, MESSAGES[code]);
		}
		await assert.rejects(decodeArchive(bytes), { message: /too (large|much|many|often)|ends too early/ });
	});

for (const [name, { bytes, code }] of Object.entries(within(decoder)))
	test(`native tools restore ${name} with little memory`, () => {
		const path = stored(bytes);
		mkdirSync(join(folder, "out"), { recursive: true });
		for (const command of commands(path)) {
			const { status, stderr } = limited(bound(bytes.length), ...command);
			const bad = command.includes("--verify") || (code && command[0] === "qstore-unpack");
			assert.equal(status, bad ? 1 : 0, `${command.join(" ")}: ${stderr}`);
			if (bad)
				assert.match(stderr, MESSAGES.CORRUPT);
		}
	});
