// Golden archives (tests/golden/make): what pins the format. Good ones restore to the listed hashes in every decoder; bad ones are
// refused by all of them, with the expected status, and leave nothing behind. tests/native/test_golden.c does the same in C.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore } from "../../js/node/open.js";
import { createDecoder } from "../../js/wasm/module.js";
import { decodeArchive } from "../reference/decode.mjs";

const golden = fileURLToPath(new URL("../golden/", import.meta.url));
const cli = fileURLToPath(new URL("../../js/cli.js", import.meta.url));
const unpack = fileURLToPath(new URL("../../build/bin/qstore-unpack", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "qstore-golden-"));
const decoders = { simd: await createDecoder({ simd: true }), scalar: await createDecoder({ simd: false }) };

after(() => rmSync(folder, { recursive: true, force: true }));

const line = (bytes, variant, name) => `${createHash("sha256").update(bytes).digest("hex")}  ${variant}/${name}`;

/** Restores everything with a command; its exit status and whether any file is there afterwards. */
function restore(program, args, name) {
	const output = join(folder, name);
	const { status, stderr } = spawnSync(program, [...args, "--precision", "all", "-q", "-o", output], { encoding: "utf8" });
	const entries = existsSync(output) ? readdirSync(output, { recursive: true, withFileTypes: true }) : [];
	const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
	return { status, stderr, files, output };
}

/** The archive that good/NAME.on-BASE.qstore is a difference to. */
function baseOf(file) {
	const [, name] = /\.on-(.+)\.qstore$/.exec(file) ?? [];
	return name && join(golden, "good", `${name}.qstore`);
}

/** All files of an archive, as the reference decoder needs those of a base. */
const filesOf = async (path) => [...(await decodeArchive(readFileSync(path))).values()].flatMap((files) => [...files.values()]);

for (const file of readdirSync(join(golden, "good")).filter((name) => name.endsWith(".qstore")))
	test(`good/${file}`, async () => {
		const bytes = readFileSync(join(golden, "good", file)), base = baseOf(file);
		const expected = readFileSync(join(golden, "good", file.replace(/qstore$/, "sha256")), "utf8").trim().split("\n").sort();
		const reference = [...await decodeArchive(bytes, base && await filesOf(base))].flatMap(([variant, files]) =>
			[...files].map(([name, data]) => line(data, variant, name)));
		assert.deepEqual(reference.sort(), expected);
		for (const decoder of Object.values(decoders)) {
			const archive = await openQstore(bytes, { decoder, base }), found = [];
			for (const { name: precision } of archive.variants)
				for (const entry of archive.filesOf({ precision }))
					found.push(line(await entry.read(), precision, entry.name));
			assert.deepEqual(found.sort(), expected);
		}
		const native = restore(unpack, [join(golden, "good", file), ...base ? ["--base", base] : []], file);
		assert.equal(native.stderr, "");
		const restored = native.files.map((path) => {
			const [variant, ...name] = path.slice(native.output.length + 1).split("/");
			return line(readFileSync(path), variant, name.join("/"));
		});
		assert.deepEqual(restored.sort(), expected);
	});

for (const [name, status, when] of readFileSync(join(golden, "bad/expected"), "utf8").trim().split("\n").map((l) => l.split(" ")))
	test(`bad/${name}: ${status} when it is ${when === "open" ? "opened" : when === "sha256" ? "compared by SHA-256" : "restored"}`,
		async () => {
		const path = join(golden, "bad", `${name}.qstore`), bytes = readFileSync(path);
		await assert.rejects(decodeArchive(bytes));
		for (const decoder of Object.values(decoders)) {
			const opened = openQstore(bytes, { decoder });
			if (when === "open")
				await assert.rejects(opened, { name: "QstoreError", code: status });
			else
				await opened;
		}
		for (const [program, args] of [[unpack, [path]], [process.execPath, [cli, path]]]) {
			const result = restore(program, [...args, ...when === "sha256" ? ["--sha256"] : []], `${name}-${args.length}`);
			assert.equal(result.status, 1, result.stderr);
			assert.match(result.stderr, /^[^\n]+\n$/);
			assert.ok(result.stderr.includes(`${name}.qstore`), result.stderr);
			assert.deepEqual(result.files, []);
		}
	});
