// Folders, programs and hashes for tests.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../../build/bin/", import.meta.url));
export const decodeCli = fileURLToPath(new URL("../../../js/cli.js", import.meta.url));

/** A folder that goes when the test t (or the file's `after`) ends. */
export function temporary(t) {
	const folder = mkdtempSync(join(tmpdir(), "qstore-js-"));
	t.after(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
}

/** Runs a native tool that must succeed; gives its output. */
export function native(tool, ...args) {
	const { status, stdout, stderr } = spawnSync(join(bin, tool), args, { encoding: "utf8", maxBuffer: 2 ** 28 });
	if (status !== 0)
		throw new Error(`${tool} ${args.join(" ")}: ${status}: ${stderr}`);
	return stdout;
}

/** Where qstore-decode keeps what it fetches. */
export const cacheHome = mkdtempSync(join(tmpdir(), "qstore-js-cache-"));
process.on("exit", () => rmSync(cacheHome, { recursive: true, force: true }));

/** Runs qstore-decode, without blocking this process's own servers. */
export function decode(cwd, ...args) {
	return decodeProcess(cwd, ...args).result;
}

/** Runs qstore-decode in a folder, with these bytes on standard input. */
export function decodeWith({ cwd, input }, ...args) {
	const { child, result } = decodeProcess(cwd, ...args);
	// It may end before it has read all.
	child.stdin.on("error", () => {});
	child.stdin.end(input);
	return result;
}

export function decodeProcess(cwd, ...args) {
	const env = { ...process.env, XDG_CACHE_HOME: cacheHome };
	const child = spawn(process.execPath, [decodeCli, ...args], { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
	let stdout = "", stderr = "";
	child.stdout.setEncoding("utf8").on("data", (text) => stdout += text);
	child.stderr.setEncoding("utf8").on("data", (text) => stderr += text);
	const result = new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr })));
	return { child, result };
}

/** Names and SHA-256 of all files below a folder. */
export function hashes(path, prefix = "") {
	const found = {};
	for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) => a.name < b.name ? -1 : 1)) {
		const name = prefix + entry.name;
		if (entry.isDirectory())
			Object.assign(found, hashes(join(path, entry.name), `${name}/`));
		else
			found[name] = createHash("sha256").update(readFileSync(join(path, entry.name))).digest("hex");
	}
	return found;
}
