/** The output folder of unpack(): making it, moving files into it, and removing it again after an error. */

import { link, lstat, mkdir, open, rename as renameFile, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { QstoreError } from "../error.js";
import { ioError } from "./io-error.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */

/**
 * Throws unless all files can get their names.
 * @param {Archive} archive what they are restored from, and must not replace
 * @param {string} folder
 * @param {string[]} names
 * @param {boolean} force
 */
export async function checkTargets(archive, folder, names, force) {
	for (const name of names) {
		const path = join(folder, name);
		let above = folder;
		for (const part of name.split("/").slice(0, -1)) {
			above = join(above, part);
			const found = await lstat(above).catch(() => undefined);
			if (found && !found.isDirectory())
				throw new QstoreError("EXISTS", `${above}: exists and is not a folder`);
		}
		const info = await lstat(path).catch(() => undefined);
		if (info && (!force || info.isDirectory()))
			throw new QstoreError("EXISTS",
				`${path}: exists already${info.isDirectory() ? ", and is a folder" : "; replace it with --force"}`);
		if (info?.isFile() && archive.isFile(info))
			throw new QstoreError("USAGE", `${path}: is read from, so it cannot be replaced: choose another folder`);
	}
}

/**
 * Makes a folder and those above it. (mkdir's `recursive` never ends where a folder can neither be made nor seen, as in
 * /proc.)
 * @param {string} path
 * @returns {Promise<string | undefined>} the uppermost folder that was made
 */
export async function makeFolder(path) {
	const info = await stat(path).catch(() => undefined);
	if (info?.isDirectory())
		return undefined;
	if (info)
		throw new QstoreError("EXISTS", `${path}: exists and is not a folder`);
	const above = dirname(path), made = above === path ? undefined : await makeFolder(above);
	try {
		await mkdir(path);
	} catch (error) {
		if ((await stat(path).catch(() => undefined))?.isDirectory())
			return made; // Somebody else was faster.
		await removeFolders(above, made);
		throw ioError(path, "cannot create the folder", error);
	}
	return made ?? path;
}

/**
 * Removes folders that were made for the output, from the innermost up; they stay when somebody has put something into
 * them.
 * @param {string} path
 * @param {string | undefined} made
 */
export async function removeFolders(path, made) {
	if (made === undefined)
		return;
	const top = resolve(made);
	for (let folder = resolve(path); folder.length >= top.length; folder = dirname(folder)) {
		try {
			await rmdir(folder);
		} catch {
			return;
		}
	}
}

/**
 * Moves files to their places.
 * @param {string} staging
 * @param {string} folder
 * @param {{ from: string, to: string }[]} files their names in the two folders
 * @param {boolean} force
 */
export async function place(staging, folder, files, force) {
	/** @type {string[]} */
	const placed = [];
	try {
		for (const { from, to } of files) {
			const path = join(folder, to);
			await makeParents(folder, to);
			await move(join(staging, from), path, force);
			placed.push(path);
		}
		await syncFolders(folder, files.map(({ to }) => to));
	} catch (error) {
		// Replaced files cannot be brought back, but new ones can be removed again.
		if (!force)
			await Promise.all(placed.map((path) => unlink(path).catch(() => {})));
		throw error;
	}
}

/**
 * Flushes the folders of files, so that their names survive a power cut. Systems on which folders cannot be flushed need not do it.
 * @param {string} folder
 * @param {string[]} names
 */
async function syncFolders(folder, names) {
	const folders = new Set([folder]);
	for (const name of names)
		for (let above = dirname(name); above !== "."; above = dirname(above))
			folders.add(join(folder, above));
	for (const path of folders) {
		const handle = await open(path).catch(() => undefined);
		await handle?.sync().catch(() => {});
		await handle?.close();
	}
}

/**
 * Makes the folders of a file, and refuses to go through links below the output folder: they may lead anywhere.
 * @param {string} folder
 * @param {string} name
 */
async function makeParents(folder, name) {
	let path = folder;
	for (const part of name.split("/").slice(0, -1)) {
		path = join(path, part);
		try {
			await mkdir(path);
		} catch (error) {
			const info = await lstat(path).catch(() => undefined);
			if (info?.isDirectory())
				continue;
			throw info ? new QstoreError("EXISTS", `${path}: exists and is not a folder`) :
				ioError(path, "cannot create the folder", error);
		}
	}
}

/**
 * @param {string} from
 * @param {string} to
 * @param {boolean} force
 */
async function move(from, to, force) {
	if (!force) {
		try {
			// link() fails when the name is taken, rename() would replace it.
			await link(from, to);
			return;
		} catch {
			if (await lstat(to).catch(() => undefined))
				throw new QstoreError("EXISTS", `${to}: exists already; replace it with --force`);
			// Some filesystems have no hard links.
		}
	}
	await inFolder(to, "cannot create", () => renameFile(from, to));
}

/**
 * Runs a call to the filesystem, and says what its error is about.
 * @template T
 * @param {string} path
 * @param {string} tried
 * @param {() => Promise<T>} call
 * @returns {Promise<T>}
 */
export async function inFolder(path, tried, call) {
	try {
		return await call();
	} catch (error) {
		throw ioError(path, tried, error);
	}
}
