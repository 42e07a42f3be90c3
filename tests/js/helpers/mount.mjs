// Mounting archives, and programs that read them there.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, rmdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const mountTool = fileURLToPath(new URL("../../../build/bin/qstore-mount", import.meta.url));

/** Why nothing can be mounted here; undefined: it can. */
export function whyNoMount() {
	if (!existsSync(mountTool))
		return "qstore-mount is not built: libfuse3-dev is not here";
	try {
		accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
	} catch {
		return "/dev/fuse is not here";
	}
	return process.getuid() === 0 || spawnSync("fusermount3", ["-V"]).status === 0 ? undefined : "fusermount3 is not here";
}

/** Mounts an archive while `use` runs with the folder; gives the lines that the tool wrote. */
export async function mounted(path, options, use) {
	const place = mkdtempSync(join(tmpdir(), "qstore-mount-"));
	const outside = statSync(place).dev;
	const child = spawn(mountTool, ["-f", path, place, ...options], { stdio: ["ignore", "ignore", "pipe"] });
	let said = "";
	child.stderr.setEncoding("utf8").on("data", (text) => said += text);
	const ended = new Promise((resolve) => child.on("close", resolve));
	try {
		while (child.exitCode === null && statSync(place).dev === outside)
			await sleep(10);
		assert.equal(child.exitCode, null, said);
		await use(place);
	} finally {
		child.kill("SIGINT");
		await ended;
		// In case the tool died: nothing stays mounted.
		spawnSync("umount", ["-l", place]);
		rmdirSync(place);
	}
	assert.equal(child.exitCode, 0, said);
	return said.split("\n").filter(Boolean);
}

/** Runs a program without blocking this process. */
export function run(program, ...args) {
	return new Promise((resolve) => {
		const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
		let stdout = "", stderr = "";
		child.stdout.setEncoding("utf8").on("data", (text) => stdout += text);
		child.stderr.setEncoding("utf8").on("data", (text) => stderr += text);
		child.on("close", (code) => resolve({ code, stdout, stderr }));
	});
}
