/**
 * Temporary folders. Their names say which process made them, so that a later run can remove those of processes that were killed.
 * native/src/os/temp.h describes the names; the native tools make and remove the same ones.
 */

import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

const PREFIX = ".qstore-";
const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const NAME = /^\.qstore-([0-9a-f]{8})-([0-9]{1,9})-[a-z2-7]{12}$/;

/** Says where process numbers have the meaning that they have here. A folder may be shared by machines, and by containers. */
function host() {
	const machine = orNothing(() => readFileSync("/etc/machine-id", "latin1").split("\n", 1)[0]);
	const space = orNothing(() => readlinkSync("/proc/self/ns/pid"));
	return createHash("sha256").update(`${machine}\0${hostname()}\0${space}\0`, "latin1").digest("hex").slice(0, 8);
}

/** @param {() => string} read */
function orNothing(read) {
	try {
		return read();
	} catch {
		return "";
	}
}

/**
 * Makes a temporary folder that only this user can read.
 * @param {string} folder in which
 * @returns {Promise<string>} its path
 */
export async function makeTempFolder(folder) {
	const random = Array.from(randomBytes(12), (byte) => LETTERS[byte & 31]).join("");
	const path = join(folder, `${PREFIX}${host()}-${process.pid}-${random}`);
	await mkdir(path, { mode: 0o700 });
	return path;
}

/**
 * Removes temporary files and folders if processes of this machine made them that have ended. Failures are ignored.
 * @param {string} folder
 */
export async function sweepTemp(folder) {
	const here = host();
	for (const name of await readdir(folder).catch(() => [])) {
		const [, maker, pid] = NAME.exec(name) ?? [];
		if (maker === here && !isRunning(Number(pid)))
			await rm(join(folder, name), { recursive: true, force: true }).catch(() => {});
	}
}

/** @param {number} pid */
function isRunning(pid) {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		// A process of another user cannot be signalled, but it is there.
		return /** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH";
	}
}
