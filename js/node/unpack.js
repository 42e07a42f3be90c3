/** Restoring to a folder. Nothing appears under its name before everything is complete and verified. */

import { createHash } from "node:crypto";
import { lstat, mkdir, open, rm, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { QstoreError } from "../error.js";
import { checkName, escapeName, isWindowsName } from "./file-names.js";
import { ioError } from "./io-error.js";
import { checkTargets, inFolder, makeFolder, place, removeFolders } from "./place.js";
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
 * @property {boolean} [hidden] restore hidden files too: those with a name, or of a folder, that begins with a dot. Without it they are
 *   left out, and there is a warning, unless `files` has their whole names
 * @property {boolean} [keepGoing] restore what is whole of an archive that is damaged, or ends too early. A file that lacks bytes gets a
 *   name that ends in .damaged; the result says which bytes they are. It does not go together with `write`
 * @property {AbortSignal} [signal]
 * @property {(progress: UnpackProgress) => void} [onProgress]
 * @property {(text: string) => void} [onWarning] called with a line about each file whose name this system does not allow: it is
 *   restored under another one; and with one about hidden files that are left out
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
 * @property {number} [damagedFiles] with `keepGoing`: files of which bytes could not be restored
 * @property {Damage[]} [damage] with `keepGoing`: these bytes, in the order of the files
 */

/**
 * Bytes of a file that could not be restored.
 * @typedef {object} Damage
 * @property {string | null} file path of the file that has the rest, with zeros for these bytes; null: nothing of it could be restored,
 *   and no file was made
 * @property {string} name the path that the file would have had
 * @property {string | null} tensor the tensor that the bytes belong to; null: they are outside the tensors
 * @property {number} offset
 * @property {number} size
 * @property {string} reason a line that says which chunk or file of the archive is damaged
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
 * @property {ArchiveBytes & { headerSize?: number }} bytes
 * @property {string} [sha256] to compare them with
 * @property {string} [file] the archive's name for it
 * @property {number} [number] of this file in the archive
 * @property {import("../archive/contents.js").ArchiveTensor} [tensor] the tensor whose bytes it is, without a header
 * @property {Lacking[]} [lacking] what could not be restored
 * @property {string} [damagedName] its name if it lacks bytes
 * @property {boolean} [lost] does it lack all its bytes? Then it gets no name
 */

/** @typedef {{ offset: number, size: number, tensor?: string, reason: string }} Lacking */

/** The end of the name of a file that lacks bytes. */
const DAMAGED_SUFFIX = ".damaged";

/**
 * @param {Archive} archive
 * @param {UnpackOptions} options
 * @returns {Promise<Unpacked>}
 */
export async function unpack(archive, options) {
	const { output, force = false, write, signal, keepGoing = false, onProgress, onWarning } = options;
	if (!write && output === "")
		throw new QstoreError("USAGE", "no output folder");
	if (write && keepGoing)
		throw new QstoreError("USAGE", "a stream ends where the archive is damaged: keep going into a folder");
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
		// A file that several variants share is one.
		const [first] = outputs, isFirst = (/** @type {Output} */ each) => each === first ||
			(each.number !== undefined && each.number === first.number);
		if (!outputs.length || !outputs.every(isFirst))
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
		await checkTargets(archive, folder, namesOf(outputs, keepGoing), force);
		signal?.throwIfAborted();
		await restoreAll(archive, folder, outputs, { force, keepGoing, reading, count, onWarning });
	}
	const raw = outputs.flatMap(({ name, tensor, lacking }) => tensor && !lacking ?
		[{ file: write ? name : join(folder, name), tensor: tensor.name, dtype: tensor.dtype, shape: tensor.shape }] : []);
	return {
		files: outputs.length, size: total, fetched, ...(raw.length > 0 ? { tensors: raw } : {}),
		...(keepGoing ? { damagedFiles: outputs.filter(({ lacking }) => lacking).length, damage: listDamage(folder, outputs) } : {}),
	};
}

/**
 * The names that outputs may get.
 * @param {Output[]} outputs
 * @param {boolean} keepGoing
 */
function namesOf(outputs, keepGoing) {
	return outputs.flatMap(({ name }) => keepGoing ? [name, name + DAMAGED_SUFFIX] : [name]);
}

/**
 * @param {string} folder
 * @param {Output[]} outputs
 * @returns {Damage[]}
 */
function listDamage(folder, outputs) {
	return outputs.flatMap(({ name, damagedName, lacking = [] }) => lacking.map(({ tensor, offset, size, reason }) => ({
		file: damagedName === undefined ? null : join(folder, damagedName), name: join(folder, name), tensor: tensor ?? null,
		offset, size, reason,
	})));
}

/**
 * Restores outputs in a folder of their own, and moves them from there when all are complete.
 * @param {Archive} archive
 * @param {string} folder
 * @param {Output[]} outputs
 * @param {{ force: boolean, keepGoing: boolean, reading: import("../source/source.js").ReadOptions, count: (size: number) => void,
 *   onWarning: ((text: string) => void) | undefined }} options
 */
async function restoreAll(archive, folder, outputs, { force, keepGoing, reading, count, onWarning }) {
	const made = await makeFolder(folder);
	try {
		await sweepTemp(folder);
		const staging = await inFolder(folder, "cannot create files in it", () => makeTempFolder(folder));
		try {
			if (await escapeOutputs(archive, outputs, staging, onWarning))
				await checkTargets(archive, folder, namesOf(outputs, keepGoing), force);
			for (const each of outputs) {
				const handle = await createOutput(archive, staging, outputs, each);
				await restore(archive, handle, each, { keepGoing, reading, count });
			}
			settleDamage(outputs);
			const files = outputs.flatMap(({ name, damagedName, lost }) => lost ? [] : [{ from: name, to: damagedName ?? name }]);
			await place(staging, folder, files, force);
			if (files.length < outputs.length)
				await removeFolders(folder, made);
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
	const { precision = "high", files, tensors, sha256: hashed = false, hidden = false } = options, all = precision === "all";
	const fileMatcher = files && new Matcher(files), tensorMatcher = tensors && new Matcher(tensors);
	/** @type {Output[]} */
	const outputs = [];
	/** @type {string[]} */
	const left = [];
	checkForm(options);
	for (const variant of all ? archive.variants : [archive.variant(precision)]) {
		const folder = all ? `${variant.name}/` : "", named = { precision: variant.name };
		// Selected files or tensors may be complete in a part of the archive.
		if (!options.keepGoing && !files && !tensors)
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
			if (!hidden && isHidden(file.name) && !files?.includes(file.name)) {
				left.push(file.name);
				continue;
			}
			if (taken.has(file.name))
				throw failure(archive, "USAGE", `file ${file.name} and the selected tensors would have the same name`);
			// Chunks are checked by their own checksums, files without any by their SHA-256.
			const sha256 = hashed || archive.files[file.number].kind !== "assembled" ? file.sha256 : undefined;
			outputs.push({ name: folder + file.name, bytes: file, sha256, file: file.name, number: file.number });
		}
	}
	fileMatcher?.checkUsed(archive, "file");
	tensorMatcher?.checkUsed(archive, "tensor");
	warnHidden(archive, left, options.onWarning);
	return outputs;
}

/**
 * Does a part of the name begin with a dot?
 * @param {string} name
 */
function isHidden(name) {
	return /(^|\/)\./.test(name);
}

/**
 * Says that files with hidden names are left out.
 * @param {Archive} archive
 * @param {string[]} names
 * @param {((text: string) => void) | undefined} onWarning
 */
function warnHidden(archive, names, onWarning) {
	if (!names.length)
		return;
	const [first, { length: others }] = [cut(names[0]), names.slice(1)];
	onWarning?.(`${archive.name ? `${archive.name}: ` : ""}file ${first} ` + (others === 0 ?
		"has a hidden name: it is left out; restore it with --hidden" :
		`and ${others} other${others === 1 ? "" : "s"} have hidden names: they are left out; restore them with --hidden`));
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
 * Says what becomes of outputs that lack bytes.
 * @param {Output[]} outputs
 */
function settleDamage(outputs) {
	const names = new Set(outputs.map(({ name }) => name));
	for (const output of outputs.filter(({ lacking }) => lacking)) {
		const lacking = /** @type {Lacking[]} */ (output.lacking).reduce((sum, { size }) => sum + size, 0);
		output.lost = lacking >= output.bytes.size - (output.bytes.headerSize ?? 0);
		if (output.lost)
			continue;
		output.damagedName = output.name;
		do
			output.damagedName += DAMAGED_SUFFIX;
		while (names.has(output.damagedName));
	}
}

/**
 * Creates the file of one output below the staging folder. Where the file system takes names that differ only in case, or in the form
 * of their accents, for one, an output before it may be that file.
 * @param {Archive} archive
 * @param {string} staging
 * @param {Output[]} outputs all of them, in the order in which they are created
 * @param {Output} output
 */
async function createOutput(archive, staging, outputs, output) {
	const { name } = output, path = join(staging, name);
	// The staging folder was made a moment ago, for us alone: nobody else's links are in it.
	await inFolder(dirname(path), "cannot create the folder", () => mkdir(dirname(path), { recursive: true }));
	try {
		return await open(path, "wx");
	} catch (error) {
		const found = /** @type {NodeJS.ErrnoException} */ (error).code === "EEXIST" && await identify(path);
		for (const other of found ? outputs.slice(0, outputs.indexOf(output)) : [])
			if (await identify(join(staging, other.name)) === found)
				throw failure(archive, "EXISTS", `${cut(other.name)} and ${cut(name)} would be one file, as this file system takes the ` +
					"names for one: restore each into a folder of its own, with --file");
		throw ioError(name, "cannot create", error);
	}
}

/**
 * Tells files apart, whatever their names are.
 * @param {string} path
 */
async function identify(path) {
	const info = await lstat(path, { bigint: true }).catch(() => undefined);
	return info && `${info.dev} ${info.ino}`;
}

/**
 * Writes one output to its file and checks it.
 * @param {Archive} archive
 * @param {import("node:fs/promises").FileHandle} handle closed at the end
 * @param {Output} output
 * @param {{ keepGoing: boolean, reading: import("../source/source.js").ReadOptions, count: (size: number) => void }} options
 */
async function restore(archive, handle, output, { keepGoing, reading, count }) {
	const { name } = output;
	/** @param {Uint8Array} chunk @param {number | null} [offset] null: behind what was written last */
	const write = async (chunk, offset = null) => {
		for (let at = 0; at < chunk.length;)
			at += (await inFolder(name, "cannot write", () =>
				handle.write(chunk, at, null, offset === null ? null : offset + at))).bytesWritten;
		count(chunk.length);
	};
	try {
		if (keepGoing) {
			output.lacking = await salvageOutput(archive, output, reading, write, count);
			await inFolder(name, "cannot write", () => handle.truncate(output.bytes.size));
		} else {
			await readOutput(archive, output, reading, write);
		}
		// No name is given to bytes that a power cut would lose.
		await inFolder(name, "cannot write", () => handle.sync());
	} finally {
		// Some filesystems report a full disk only here.
		await inFolder(name, "cannot write", () => handle.close());
	}
}

/**
 * Reads what can be restored of an output.
 * @param {Archive} archive
 * @param {Output} output
 * @param {import("../source/source.js").ReadOptions} options
 * @param {(bytes: Uint8Array, offset: number) => Promise<void>} write
 * @param {(size: number) => void} count
 * @returns {Promise<Lacking[] | undefined>} what is missing; undefined: nothing is
 */
async function salvageOutput(archive, { bytes: from, sha256, file }, options, write, count) {
	const hash = sha256 === undefined ? undefined : createHash("sha256");
	/** @type {Lacking[]} */
	const lacking = [];
	for await (const { offset, bytes, size, tensor, reason } of from.salvage(options)) {
		if (bytes) {
			hash?.update(bytes);
			await write(bytes, offset);
		} else {
			lacking.push({ offset, size, tensor, reason: /** @type {string} */ (reason) });
			count(size);
		}
	}
	if (lacking.length === 0 && hash && hash.digest("hex") !== sha256)
		lacking.push({ offset: 0, size: from.size, reason: otherSha256(archive, file).message });
	return lacking.length > 0 ? lacking : undefined;
}

/**
 * @param {Archive} archive
 * @param {string | undefined} file
 */
function otherSha256(archive, file) {
	return failure(archive, "CORRUPT", `file ${file} is damaged: its SHA-256 differs`);
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
		throw otherSha256(archive, file);
}

/**
 * @param {Archive} archive
 * @param {import("../error.js").StatusName} code
 * @param {string} text
 */
function failure(archive, code, text) {
	return new QstoreError(code, `${archive.name ? `${archive.name}: ` : ""}${text}`);
}
