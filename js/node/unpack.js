/** Restoring to a folder. Nothing appears under its name before everything is complete and verified. */

import { createHash } from "node:crypto";
import { link, lstat, mkdir, open, rename as renameFile, rm, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { QstoreError } from "../error.js";
import { checkName, escapeName, isWindowsName } from "./file-names.js";
import { ioError } from "./io-error.js";
import { makeTempFolder, sweepTemp } from "./temp.js";
import { checkForm, fileForm, planTensorOutputs } from "./unpack-tensors.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */
/** @typedef {import("../archive/contents.js").ArchiveBytes} ArchiveBytes */

/**
 * @typedef {object} UnpackOptions
 * @property {string} output folder; made when it does not exist. With `tensors`, a path that ends in .safetensors, .npy or .bin is that
 *   of a file: of all these tensors, of one, or of the bytes of one
 * @property {string} [precision] a variant's name, "low", "high" (default), or "all": each in a folder of its own
 * @property {boolean} [force] replace existing files
 * @property {string[]} [files] only these; "*" stands for anything
 * @property {string[]} [tensors] only tensors.safetensors, made of these in the archive's order (and the files of
 *   `files`). The bytes of each one whose type safetensors does not have, such as blocks of ggml, become a file NAME.bin
 * @property {"f32"} [as] make these tensors F32: floats of 8 and 16 bits, and the blocks of ggml whose values are known
 * @property {(bytes: Uint8Array) => void | Promise<void>} [write] takes the bytes of the one file that is selected, in order; nothing is
 *   written to `output` then
 * @property {boolean} [sha256] compare whole files with their SHA-256 too
 * @property {AbortSignal} [signal]
 * @property {(progress: UnpackProgress) => void} [onProgress]
 * @property {(text: string) => void} [onWarning] called with a line about each file whose name this system does not allow: it is
 *   restored under another one
 */

/**
 * @typedef {object} UnpackProgress
 * @property {string} phase "restoring"
 * @property {number} done bytes that were restored
 * @property {number} total bytes to restore
 */

/**
 * Says how much was restored.
 * @typedef {object} Unpacked
 * @property {number} files how many
 * @property {number} size of all files, in bytes
 * @property {number} fetched bytes that came over the network for them
 * @property {RawTensor[]} [tensors] the files that have only the bytes of a tensor; undefined: there are none
 */

/**
 * A file that has only the bytes of a tensor.
 * @typedef {object} RawTensor
 * @property {string} file its path
 * @property {string} tensor the tensor's name
 * @property {string} dtype
 * @property {number[]} shape
 */

/**
 * @typedef {object} Output
 * @property {string} name below the folder
 * @property {ArchiveBytes} bytes
 * @property {string} [sha256] to compare them with
 * @property {string} [file] the archive's name for it
 * @property {import("../archive/contents.js").ArchiveTensor} [tensor] the tensor whose bytes it is, without a header
 */

/**
 * @param {Archive} archive
 * @param {UnpackOptions} options
 * @returns {Promise<Unpacked>}
 */
export async function unpack(archive, options) {
	const { output, force = false, write, signal, onProgress, onWarning } = options;
	if (!write && output === "")
		throw new QstoreError("USAGE", "no output folder");
	const outputs = planOutputs(archive, options), folder = fileForm(options) ? dirname(output) : output;
	const total = outputs.reduce((sum, { bytes }) => sum + bytes.size, 0);
	let done = 0, fetched = 0;
	/** @param {number} size */
	const count = (size) => {
		done += size;
		onProgress?.({ phase: "restoring", done, total });
	};
	const reading = { signal, onFetch: (/** @type {number} */ bytes) => fetched += bytes };
	if (write) {
		if (outputs.length !== 1)
			throw failure(archive, "USAGE", `a stream takes one file, and ${outputs.length} are selected`);
		await readOutput(archive, outputs[0], reading, async (bytes) => {
			await write(bytes);
			count(bytes.length);
		});
	} else {
		if (process.platform === "win32")
			for (const each of outputs.filter(({ name }) => !isWindowsName(name)))
				rename(archive, each, onWarning);
		for (const { name } of outputs)
			checkName(archive, name);
		await checkTargets(archive, folder, outputs, force);
		signal?.throwIfAborted();
		await restoreAll(archive, folder, outputs, { force, reading, count, onWarning });
	}
	const raw = outputs.flatMap(({ name, tensor }) => tensor ?
		[{ file: write ? name : join(folder, name), tensor: tensor.name, dtype: tensor.dtype, shape: tensor.shape }] : []);
	return { files: outputs.length, size: total, fetched, ...(raw.length > 0 ? { tensors: raw } : {}) };
}

/**
 * Restores outputs in a folder of their own, and moves them from there when all are complete.
 * @param {Archive} archive
 * @param {string} folder
 * @param {Output[]} outputs
 * @param {{ force: boolean, reading: import("../source/source.js").ReadOptions, count: (size: number) => void,
 *   onWarning: ((text: string) => void) | undefined }} options
 */
async function restoreAll(archive, folder, outputs, { force, reading, count, onWarning }) {
	const made = await makeFolder(folder);
	try {
		await sweepTemp(folder);
		const staging = await inFolder(folder, "cannot create files in it", () => makeTempFolder(folder));
		try {
			if (await escapeOutputs(archive, outputs, staging, onWarning))
				await checkTargets(archive, folder, outputs, force);
			for (const each of outputs)
				await restore(archive, staging, each, reading, count);
			await place(staging, folder, outputs, force);
		} finally {
			await rm(staging, { recursive: true, force: true });
		}
	} catch (error) {
		await removeFolders(folder, made);
		throw error;
	}
}

/**
 * @param {Archive} archive
 * @param {UnpackOptions} options
 */
function planOutputs(archive, options) {
	const { precision = "high", files, tensors, sha256: hashed = false } = options, all = precision === "all";
	const fileMatcher = files && new Matcher(files), tensorMatcher = tensors && new Matcher(tensors);
	/** @type {Output[]} */
	const outputs = [];
	checkForm(options);
	for (const variant of all ? archive.variants : [archive.variant(precision)]) {
		const folder = all ? `${variant.name}/` : "", named = { precision: variant.name };
		archive.checkComplete(variant.name);
		/** @type {Set<string>} */
		const taken = new Set();
		if (tensorMatcher) {
			const found = archive.tensorsOf(named).filter(({ name }) => tensorMatcher.matches(name));
			for (const each of planTensorOutputs(archive, found, options)) {
				taken.add(each.name);
				outputs.push({ ...each, name: folder + each.name });
			}
		}
		for (const file of archive.filesOf(named)) {
			if (fileMatcher ? !fileMatcher.matches(file.name) : tensorMatcher)
				continue;
			if (taken.has(file.name))
				throw failure(archive, "USAGE", `file ${file.name} and the selected tensors would have the same name`);
			// Chunks are checked by their own checksums, files without any by their SHA-256.
			const sha256 = hashed || archive.files[file.number].kind !== "assembled" ? file.sha256 : undefined;
			outputs.push({ name: folder + file.name, bytes: file, sha256, file: file.name });
		}
	}
	fileMatcher?.checkUsed(archive, "file");
	tensorMatcher?.checkUsed(archive, "tensor");
	return outputs;
}

class Matcher {
	/** @type {{ pattern: string, expression: RegExp, used: boolean }[]} */
	#patterns;

	/** @param {string[]} patterns */
	constructor(patterns) {
		this.#patterns = patterns.map((pattern) => ({
			pattern,
			expression: new RegExp(`^${pattern.replace(/[\\^$.|?+()[\]{}]/g, "\\$&").replace(/\*+/g, ".*")}$`, "su"),
			used: false,
		}));
	}

	/** @param {string} name */
	matches(name) {
		const matching = this.#patterns.filter(({ expression }) => expression.test(name));
		matching.forEach((entry) => entry.used = true);
		return matching.length > 0;
	}

	/**
	 * @param {Archive} archive
	 * @param {string} what
	 */
	checkUsed(archive, what) {
		const unused = this.#patterns.find(({ used }) => !used);
		if (unused)
			throw failure(archive, "NOT_FOUND", `has no ${what} ${unused.pattern} in this precision`);
	}
}

/**
 * @param {Archive} archive
 * @param {string} folder
 * @param {Output[]} outputs
 * @param {boolean} force
 */
async function checkTargets(archive, folder, outputs, force) {
	for (const { name } of outputs) {
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
async function makeFolder(path) {
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
async function removeFolders(path, made) {
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
 * Gives an output the name that every system allows.
 * @param {Archive} archive
 * @param {Output} output
 * @param {((text: string) => void) | undefined} onWarning
 */
function rename(archive, output, onWarning) {
	const escaped = escapeName(output.name);
	onWarning?.(`${archive.name ? `${archive.name}: ` : ""}file ${cut(output.name)}: this system does not allow the name; ` +
		`it is restored as ${cut(escaped)}`);
	output.name = escaped;
}

/**
 * The 300 bytes of a name that messages show.
 * @param {string} name
 */
function cut(name) {
	return Buffer.from(name).subarray(0, 300).toString();
}

/**
 * Escapes the names of outputs that cannot be created in an empty folder.
 * @param {Archive} archive
 * @param {Output[]} outputs
 * @param {string} folder
 * @param {((text: string) => void) | undefined} onWarning
 * @returns {Promise<boolean>} are there any?
 */
async function escapeOutputs(archive, outputs, folder, onWarning) {
	let changed = false;
	for (const output of outputs) {
		const escaped = escapeName(output.name);
		if (escaped === output.name || await canCreate(join(folder, output.name)) || !await canCreate(join(folder, escaped)))
			continue;
		rename(archive, output, onWarning);
		changed = true;
	}
	return changed;
}

/**
 * Can this file be created? It is removed again.
 * @param {string} path
 */
async function canCreate(path) {
	try {
		await mkdir(dirname(path), { recursive: true });
		await (await open(path, "wx")).close();
		await unlink(path);
		return true;
	} catch {
		return false;
	}
}

/**
 * Writes one output below the staging folder and checks it.
 * @param {Archive} archive
 * @param {string} staging
 * @param {Output} output
 * @param {import("../source/source.js").ReadOptions} options
 * @param {(size: number) => void} count
 */
async function restore(archive, staging, output, options, count) {
	const { name } = output, path = join(staging, name);
	// The staging folder was made a moment ago, for us alone: nobody else's links are in it.
	await inFolder(dirname(path), "cannot create the folder", () => mkdir(dirname(path), { recursive: true }));
	const handle = await inFolder(name, "cannot create", () => open(path, "wx"));
	try {
		await readOutput(archive, output, options, async (chunk) => {
			for (let at = 0; at < chunk.length;)
				at += (await inFolder(name, "cannot write", () => handle.write(chunk, at))).bytesWritten;
			count(chunk.length);
		});
		// No name is given to bytes that a power cut would lose.
		await inFolder(name, "cannot write", () => handle.sync());
	} finally {
		// Some filesystems report a full disk only here.
		await inFolder(name, "cannot write", () => handle.close());
	}
}

/**
 * Reads one output from its beginning to its end, and compares it with its SHA-256.
 * @param {Archive} archive
 * @param {Output} output
 * @param {import("../source/source.js").ReadOptions} options
 * @param {(bytes: Uint8Array) => Promise<void>} take
 */
async function readOutput(archive, { bytes, sha256, file }, options, take) {
	const hash = sha256 === undefined ? undefined : createHash("sha256");
	for await (const chunk of bytes.chunks(0, bytes.size, options)) {
		hash?.update(chunk);
		await take(chunk);
	}
	if (hash && hash.digest("hex") !== sha256)
		throw failure(archive, "CORRUPT", `file ${file} is damaged: its SHA-256 differs`);
}

/**
 * Moves what is complete to its place.
 * @param {string} staging
 * @param {string} folder
 * @param {Output[]} outputs
 * @param {boolean} force
 */
async function place(staging, folder, outputs, force) {
	/** @type {string[]} */
	const placed = [];
	try {
		for (const { name } of outputs) {
			const path = join(folder, name);
			await makeParents(folder, name);
			await move(join(staging, name), path, force);
			placed.push(path);
		}
		await syncFolders(folder, outputs);
	} catch (error) {
		// Replaced files cannot be brought back, but new ones can be removed again.
		if (!force)
			await Promise.all(placed.map((path) => unlink(path).catch(() => {})));
		throw error;
	}
}

/**
 * Flushes the folders of all outputs, so that their names survive a power cut. Systems on which folders cannot be flushed need not do it.
 * @param {string} folder
 * @param {Output[]} outputs
 */
async function syncFolders(folder, outputs) {
	const folders = new Set([folder]);
	for (const { name } of outputs)
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
async function inFolder(path, tried, call) {
	try {
		return await call();
	} catch (error) {
		throw ioError(path, tried, error);
	}
}

/**
 * @param {Archive} archive
 * @param {import("../error.js").StatusName} code
 * @param {string} text
 */
function failure(archive, code, text) {
	return new QstoreError(code, `${archive.name ? `${archive.name}: ` : ""}${text}`);
}
