/** The base of an archive: another model, from which some of its parts are built (FORMAT.md §2.2, files of kind 3). */

import { FILE } from "../format/facts.js";
import { QstoreError } from "../error.js";
import { readExactly } from "../source/source.js";

/** @typedef {import("./archive.js").Archive} Archive */
/** @typedef {import("../format/archive-index.js").FileRecord} FileRecord */
/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */
/** @typedef {import("../source/source.js").Source} Source */

/** @typedef {(offset: number, size: number, options?: ReadOptions) => Promise<Uint8Array>} ReadBase reads bytes of one file of the base */

/** @typedef {{ archive: Archive } | { source: Source, sha256: () => Promise<string> }} BaseMember an open archive, or a plain file */

/**
 * The files of the base that an archive names.
 * @param {Index} index
 * @returns {{ number: number, record: FileRecord }[]}
 */
export function baseFiles(index) {
	const files = Array.from({ length: index.fileCount }, (_, number) => ({ number, record: index.file(number) }));
	return files.filter(({ record }) => record.kind === FILE.BASE);
}

/** Reads the files of an archive's base. */
export class Base {
	#index;
	#name;
	#files;
	#close;
	#members;

	/**
	 * @param {Index} index of the archive
	 * @param {string | undefined} name the archive's name, for messages
	 * @param {Map<number, ReadBase>} [files] by their numbers in the index; empty if no base was given
	 * @param {() => Promise<unknown>} [close] closes what was opened for the base
	 * @param {BaseMember[]} [members] what the base is made of
	 */
	constructor(index, name, files = new Map(), close = async () => {}, members = []) {
		this.#index = index;
		this.#name = name;
		this.#files = files;
		this.#close = close;
		this.#members = members;
	}

	/**
	 * Is the file one that the base is read from?
	 * @param {import("../source/source.js").FileIdentity} info
	 */
	isFile(info) {
		return this.#members.some((member) => "archive" in member ? member.archive.isFile(info) : member.source.isFile?.(info));
	}

	/**
	 * Reads bytes of a file of the base. They belong to the caller.
	 * @param {number} file its number in the index
	 * @param {number} offset
	 * @param {number} size
	 * @param {ReadOptions} [options]
	 * @returns {Promise<Uint8Array>}
	 */
	async read(file, offset, size, options) {
		const read = this.#files.get(file);
		if (!read)
			throw missing(this.#name, this.#index.file(file), "builds on another model, its base: give the base too. It has the file");
		return read(offset, size, options);
	}

	close() {
		return this.#close();
	}
}

/**
 * Finds each file of the base that an archive names, by size and SHA-256.
 * @param {Index} index of the archive
 * @param {string | undefined} name the archive's name, for messages
 * @param {BaseMember[]} members
 * @param {((source: import("../source/source.js").Source) => Promise<string>) | undefined} hash computes the SHA-256 of a source, to prove
 *   files of archives; undefined: they need not be proved
 * @returns {Promise<Map<number, ReadBase>>}
 */
export async function findBaseFiles(index, name, members, hash) {
	/** @type {Map<number, ReadBase>} */
	const found = new Map();
	for (const { number, record } of baseFiles(index)) {
		for (const member of members) {
			const read = await findIn(member, record, hash);
			if (read) {
				found.set(number, read);
				break;
			}
		}
		if (!found.has(number))
			throw missing(name, record, "the model that was given is not its base: the base has the file");
	}
	return found;
}

/**
 * Looks for a file in one member of the base.
 * @param {BaseMember} member
 * @param {FileRecord} wanted
 * @param {((source: import("../source/source.js").Source) => Promise<string>) | undefined} hash
 * @returns {Promise<ReadBase | undefined>}
 */
async function findIn(member, wanted, hash) {
	if ("archive" in member) {
		const { archive } = member;
		const entry = archive.files.find(({ size, sha256, variants }) =>
			size === wanted.size && sha256 === wanted.sha256 && variants.length > 0);
		if (!entry)
			return undefined;
		const isProved = !hash || archive.sealed;
		if (!isProved)
			archive.trust();
		const file = archive.file(entry.name, { precision: entry.variants[0] });
		if (!isProved) {
			// Later reads are proved by the seals of the base's own index, which is right if the whole file is.
			const found = await hash({
				byteLength: file.size,
				read: (offset, length, options) => file.read(offset, offset + length, options),
			});
			const name = archive.name ? `${archive.name}: ` : "";
			if (found !== wanted.sha256)
				throw new QstoreError("INTEGRITY", `${name}file ${entry.name} is not what the digest promises`);
		}
		return (offset, size, options) => file.read(offset, offset + size, options);
	}
	const { source } = member;
	if (source.byteLength !== wanted.size || await member.sha256() !== wanted.sha256)
		return undefined;
	// A copy, since the bytes of a source must not be changed.
	return async (offset, size, options) => (await readExactly(source, offset, size, options)).slice();
}

/**
 * The error for a file of the base that is not there.
 * @param {string | undefined} name
 * @param {FileRecord} file
 * @param {string} text goes before the file's name
 */
function missing(name, file, text) {
	return new QstoreError("NOT_FOUND", `${name ? `${name}: ` : ""}${text} ${file.name} (${file.size} bytes, SHA-256 ${file.sha256})`);
}
