/** An open archive: its variants, files and tensors, and their bytes. */

import { readExactly } from "../source/source.js";
import { ArchiveFile, ArchiveTensor, isMember } from "./contents.js";
import { NONE } from "../format/archive-index.js";
import { DTYPES, FILE_KINDS, KIND, KINDS, LAYOUT, RULES } from "../format/facts.js";
import { QstoreError } from "../error.js";
import { findVariant, hasVariant, isInCoarserLayer } from "../format/variants.js";
import { tensorObjects } from "../plan/pieces.js";
import { planVariant, sumDownload } from "../plan/ranges.js";
import { npyHeader } from "./npy.js";
import { safetensorsHeader } from "./safetensors.js";
import { checkElements, selectTensor, tensorFile } from "./tensor-file.js";
import { sealedSource } from "../source/sealed-source.js";
import { fetchRanges, loadTensors, sumToFetch } from "./tensors.js";
import { upgradeTensors } from "./upgrade.js";

/** @typedef {import("../decode/codec.js").Codec} Codec */
/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("../format/archive-index.js").ObjectRecord} ObjectRecord */
/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */
/** @typedef {import("../source/source.js").Source} Source */
/** @typedef {import("../wasm/decoder.js").Decoder} Decoder */

/** @typedef {import("./contents.js").ArchiveBytes} ArchiveBytes */

/**
 * @typedef {object} ConvertOptions
 * @property {string} [as] "f32": floats of 8 and 16 bits, and those blocks of ggml whose values are known, become F32; other types stay as
 *   they are
 */

/**
 * @typedef {object} Variant
 * @property {string} name "int8", "bf16" …
 * @property {string} dtype the dtype of most of its weights
 * @property {string | undefined} coarser the name of the variant that it refines
 * @property {number} size bytes of its files
 * @property {number} layerSize coded bytes that it adds to the archive
 * @property {number} prefixSize bytes of the archive's beginning that hold all of it
 * @property {number} downloadSize bytes that reading all of it over HTTP fetches, the index included; fewer than `prefixSize` where the
 *   beginning has other variants too
 */

/**
 * @typedef {object} FileInfo
 * @property {string} name
 * @property {string[]} variants the names of the variants that have it
 * @property {number} size
 * @property {string} sha256 in hexadecimal
 * @property {"stored" | "zstd" | "assembled" | "base"} kind stored, zstd: it is one member of the archive, as it is or compressed;
 *   assembled: it is made from coded chunks; base: a file of the base, which is not in the archive
 */

/**
 * @typedef {object} TensorInfo
 * @property {string} name
 * @property {string} file the name of the file that has it
 * @property {string[]} variants the names of the variants that have that file
 * @property {string} dtype as safetensors or ggml spells it
 * @property {number[]} shape
 * @property {number} offset in the file
 * @property {number} size in bytes
 * @property {"plain" | "codes" | "refine" | "delta" | "base" | "literal"} kind how it is coded; base: the base has the same tensor;
 *   literal: it is stored with the file's header
 * @property {string | undefined} rule the rule by which its codes were made, or the codes that it refines
 * @property {number} codedSize its coded bytes, with the scales of blocks; of "refine" without the codes that it refines; 0 for "literal"
 * @property {number} error for "refine" Σ(coarse − fine)² / Σ fine², the loss of the coarse version; else 0
 * @property {boolean} shared does a coarser variant have the same tensor? Then it is stored in that variant's layer
 */

/**
 * Parts of an archive beside its Context.
 * @typedef {object} ArchiveParts
 * @property {import("../source/cached-source.js").CachedSource} [cache]
 * @property {string} digest
 * @property {() => unknown} [release] is called when the archive is closed
 */

/**
 * @typedef {object} PrecisionOptions
 * @property {string} [precision] a variant's name, "low", or "high", which is the default
 */

/** Bytes that download() requests at a time. */
const READ_SIZE = 2 ** 23;

export class Archive {
	/** @type {Source} */
	#source;
	#decoder;
	#codec;
	#base;
	/** @type {Variant[]} */
	#variants;
	/** @type {FileInfo[] | undefined} */
	#files;
	/** @type {TensorInfo[] | undefined} */
	#tensors;
	#release;

	/**
	 * Use openQstore.
	 * @param {import("./contents.js").Context & ArchiveParts} parts
	 */
	constructor({ index, source, digest, decoder, codec, cache, base, release }) {
		/** The cache: `size` in bytes, `error` when nothing more can be kept, `clear()`; undefined for archives opened without one. */
		this.cache = cache;
		/** The index, for planning reads ("qstore-decode/internals"). */
		this.index = index;
		/** The archive's digest, "sha256-…": the SHA-256 of its index, which has digests of all other bytes in turn. */
		this.digest = digest;
		this.#source = source;
		this.#decoder = decoder;
		this.#codec = codec;
		this.#base = base;
		this.#release = release;
		this.#variants = Array.from({ length: index.variantCount }, (_, i) => {
			const { name, dtype, coarser, size, layerOffset, layerSize } = index.variant(i);
			/** @type {number | undefined} */
			let downloadSize;
			return {
				name, dtype: DTYPES[dtype].name, coarser: coarser === NONE ? undefined : index.variant(coarser).name,
				size, layerSize, prefixSize: index.payloadOffset + layerOffset + layerSize,
				// Counting takes a while in large archives, and few ask.
				get downloadSize() {
					return downloadSize ??= sumDownload(index, i);
				},
			};
		});
	}

	/** The archive's name for messages: its URL, its path, or undefined. */
	get name() {
		return this.#source.name;
	}

	/** Bytes of the complete archive. */
	get size() {
		return this.index.archiveSize;
	}

	/** The variants, from coarse to fine. */
	get variants() {
		return this.#variants;
	}

	/** The files of all variants. */
	get files() {
		this.#files ??= Array.from({ length: this.index.fileCount }, (_, i) => {
			const { name, variants, size, sha256, kind } = this.index.file(i);
			return { name, variants: this.#names(variants), size, sha256, kind: FILE_KINDS[kind] };
		});
		return this.#files;
	}

	/** The tensors of all variants, file by file, in the order that they have there. */
	get tensorList() {
		this.#tensors ??= Array.from({ length: this.index.tensorCount }, (_, i) => this.#tensorInfo(i));
		return this.#tensors;
	}

	/**
	 * A variant.
	 * @param {string} [precision] its name, "low", or "high", which is the default
	 * @returns {Variant}
	 */
	variant(precision) {
		return this.#variants[this.#variantNumber(precision)];
	}

	/**
	 * Throws if the source ends before the last byte that a variant needs.
	 * @param {string} [precision]
	 */
	checkComplete(precision) {
		const number = this.#variantNumber(precision), asked = this.#variants[number], size = this.#source.byteLength;
		if (size === undefined || size >= asked.prefixSize)
			return;
		const held = this.#variants.slice(0, number).findLast((variant) => size >= variant.prefixSize);
		throw this.#error("TRUNCATED", held ? `ends too early for ${asked.name}; ${held.name} is complete` :
			`ends too early: ${size} bytes of the ${asked.prefixSize} that ${asked.name} needs`);
	}

	/**
	 * A file of a variant.
	 * @param {string} name
	 * @param {PrecisionOptions} [options]
	 * @returns {ArchiveFile}
	 */
	file(name, { precision } = {}) {
		const variant = this.#variantNumber(precision);
		const [found] = this.#find(this.files, "file", name, variant);
		return new ArchiveFile(this.#context(), found, this.#variants[variant].name);
	}

	/**
	 * All files of a variant.
	 * @param {PrecisionOptions} [options]
	 * @returns {ArchiveFile[]}
	 */
	filesOf({ precision } = {}) {
		const { name } = this.variant(precision), context = this.#context();
		return this.files.flatMap((file, i) => file.variants.includes(name) ? [new ArchiveFile(context, i, name)] : []);
	}

	/**
	 * A tensor of a variant.
	 * @param {string} name
	 * @param {PrecisionOptions & { file?: string }} [options] file: the name of the tensor's file, where several have one of this name
	 * @returns {ArchiveTensor}
	 */
	tensor(name, { precision, file } = {}) {
		const variant = this.#variantNumber(precision), list = this.tensorList;
		const [found, other] = this.#find(list, "tensor", name, variant, file);
		if (other !== undefined)
			throw this.#error("USAGE",
				`tensor ${name} is in the files ${list[found].file} and ${list[other].file}: say which one is meant`);
		return new ArchiveTensor(this.#context(), found, this.#variants[variant].name, this.tensorList[found]);
	}

	/**
	 * All tensors of a variant, in the archive's order.
	 * @param {PrecisionOptions} [options]
	 * @returns {ArchiveTensor[]}
	 */
	tensorsOf({ precision } = {}) {
		const { name } = this.variant(precision), context = this.#context();
		return this.tensorList.flatMap((tensor, i) => tensor.variants.includes(name) ?
			[new ArchiveTensor(context, i, name, tensor)] : []);
	}

	/**
	 * Loads the tensors of a variant, one after the other in the archive's order, each as soon as its bytes are there.
	 * @param {PrecisionOptions & import("./tensors.js").LoadOptions} [options]
	 * @returns {AsyncGenerator<import("./tensor-data.js").TensorData, void, void>}
	 */
	tensors({ precision, ...options } = {}) {
		return loadTensors(this.#context(), this.tensorsOf({ precision }), options);
	}

	/**
	 * Reads a small file, such as config.json or tokenizer.json, and compares it with its SHA-256.
	 * @param {string} name
	 * @param {PrecisionOptions & ReadOptions} [options]
	 * @returns {Promise<Uint8Array>}
	 */
	metadata(name, { precision, signal } = {}) {
		const file = this.file(name, { precision });
		return file.read(0, file.size, { signal });
	}

	/**
	 * Makes a safetensors file of some tensors of one variant, which must not be in blocks unless they are made F32.
	 * @param {ArchiveTensor[]} tensors in the archive's order
	 * @param {ConvertOptions} [options]
	 * @returns {ArchiveBytes}
	 */
	safetensors(tensors, { as } = {}) {
		const selected = tensors.map((tensor) => selectTensor(this.#context(), tensor, as));
		checkElements(selected);
		return tensorFile(this.#context(), safetensorsHeader(selected), selected);
	}

	/**
	 * Makes a file of NumPy's of one tensor. NumPy has no BF16, no floats of 8 bits and no blocks: they are made F32.
	 * @param {ArchiveTensor} tensor
	 * @param {ConvertOptions} [options]
	 * @returns {ArchiveBytes}
	 */
	npy(tensor, { as } = {}) {
		const selected = selectTensor(this.#context(), tensor, as);
		return tensorFile(this.#context(), npyHeader(selected), [selected]);
	}

	/**
	 * The bytes of a tensor, without a header.
	 * @param {ArchiveTensor} tensor
	 * @param {ConvertOptions} [options]
	 * @returns {ArchiveBytes & { dtype: string, hasElements: boolean }} hasElements: can safetensors have it?
	 */
	tensorBytes(tensor, { as } = {}) {
		const selected = selectTensor(this.#context(), tensor, as), { dtype, hasElements } = selected;
		return Object.assign(tensorFile(this.#context(), new Uint8Array(0), [selected]), { dtype, hasElements });
	}

	/**
	 * Fetches everything of a variant that the cache does not have, so that reading it later fetches nothing.
	 * @param {PrecisionOptions & import("./tensors.js").LoadOptions} [options] nothing is decoded: `decoded` and `toDecode` are 0
	 */
	async download({ precision, ...options } = {}) {
		if (!this.cache)
			throw this.#error("USAGE", "was opened without a cache, and has no place for a download: open it with { cache: true }");
		await fetchRanges(this.#source, planVariant(this.index, this.#variantNumber(precision), { max: READ_SIZE }), options);
		if (this.cache.error)
			throw new QstoreError("IO", `${this.name}: cannot be kept: ${this.cache.error.message}`, { cause: this.cache.error });
	}

	/**
	 * Loads those tensors of a variant that differ from the coarser variant's, each as soon as its bytes are there. With a cache, only the
	 * refinement is fetched: the coarser variant's bytes are there already.
	 * @param {PrecisionOptions & import("./upgrade.js").UpgradeOptions} [options]
	 * @returns {AsyncGenerator<import("./tensor-data.js").TensorData, void, void>}
	 */
	upgrade({ precision, from, ...options } = {}) {
		const number = this.#variantNumber(precision), { coarser } = this.#variants[number];
		const start = from ?? coarser;
		if (start === undefined)
			throw this.#error("USAGE", `has no precision coarser than ${this.#variants[number].name} to upgrade from`);
		const tensors = this.tensorsOf({ precision });
		return upgradeTensors(this.#context(), tensors, this.#variantNumber(start), options);
	}

	/**
	 * Bytes that reading all files of a variant would fetch over the network now: 0 from a file, or when the cache has all of them.
	 * @param {PrecisionOptions} [options]
	 * @returns {number}
	 */
	bytesToFetch({ precision } = {}) {
		return sumToFetch(this.#source, planVariant(this.index, this.#variantNumber(precision)));
	}

	/** Are all bytes proved by a digest before they are handed out? */
	get sealed() {
		return this.#source.sealed ?? false;
	}

	/**
	 * Proves all later reads by the seals of the index.
	 * @internal
	 */
	trust() {
		this.#source = sealedSource(this.#source, this.index);
	}

	/**
	 * Is the file one that this archive is read from: its own, or one of its base?
	 * @internal
	 * @param {import("../source/source.js").FileIdentity} info
	 * @returns {boolean}
	 */
	isFile(info) {
		return (this.#source.isFile?.(info) ?? false) || this.#base.isFile(info);
	}

	/**
	 * Reads bytes of the archive as they are stored.
	 * @internal
	 * @param {number} offset
	 * @param {number} size
	 * @param {ReadOptions} [options]
	 */
	readCoded(offset, size, options) {
		return readExactly(this.#source, offset, size, options);
	}

	/**
	 * Are these the coded bytes of a small file?
	 * @internal
	 * @param {number} file its number
	 * @param {Uint8Array} coded
	 */
	isMember(file, coded) {
		return isMember(this.#decoder, this.index.file(file), coded);
	}

	/** Closes the source and the workers, and the files of the base that openQstore opened. */
	async close() {
		await this.#base.close();
		await this.#release?.();
		await this.#source.close?.();
	}

	/** @returns {import("./contents.js").Context} */
	#context() {
		return { index: this.index, source: this.#source, decoder: this.#decoder, codec: this.#codec, base: this.#base };
	}

	/** @param {string} precision */
	#variantNumber(precision = "high") {
		const number = findVariant(this.index, precision);
		if (number === undefined)
			throw this.#error("NOT_FOUND", `has no precision "${precision}", only ` +
				this.#variants.map(({ name }) => name).join(", "));
		return number;
	}

	/**
	 * The numbers of all entries of this name in a variant; at least one.
	 * @param {{ name: string, variants: string[], file?: string }[]} list
	 * @param {string} what
	 * @param {string} name
	 * @param {number} variant
	 * @param {string} [file] only entries of this file
	 */
	#find(list, what, name, variant, file) {
		const precision = this.#variants[variant].name;
		const found = list.flatMap((entry, i) => entry.name === name && entry.variants.includes(precision) &&
			(file === undefined || entry.file === file) ? [i] : []);
		if (found.length === 0) {
			const others = new Set(list.flatMap((entry) => entry.name === name ? entry.variants : []));
			throw this.#error("NOT_FOUND", `has no ${what} ${name} in ${precision}` +
				(others.size > 0 ? `, only in ${[...others].join(", ")}` : ""));
		}
		return found;
	}

	/**
	 * @param {number} i
	 * @returns {TensorInfo}
	 */
	#tensorInfo(i) {
		const index = this.index, tensor = index.tensor(i);
		const { name: file, variants } = this.files[tensor.file];
		const { kind, rule, codedSize, error } = tensor.object === NONE ? describeParts(index, i) :
			describeObject(index, index.object(tensor.object));
		return {
			name: tensor.name, file, variants, dtype: DTYPES[tensor.dtype].name, shape: tensor.shape,
			offset: tensor.offset, size: tensor.size, kind, rule, codedSize, error, shared: isInCoarserLayer(index, tensor),
		};
	}

	/** @param {number} mask */
	#names(mask) {
		return this.#variants.flatMap((variant, i) => hasVariant(mask, i) ? [variant.name] : []);
	}

	/**
	 * @param {import("../error.js").StatusName} code
	 * @param {string} text
	 */
	#error(code, text) {
		return new QstoreError(code, this.name ? `${this.name}: ${text}` : `the archive ${text}`);
	}
}

/**
 * How the archive stores a tensor without an object of its own: among literal bytes, or in parts. It is what its largest part is.
 * @param {Index} index
 * @param {number} i
 * @returns {ReturnType<typeof describeObject> | { kind: "literal", rule: undefined, codedSize: number, error: number }}
 */
function describeParts(index, i) {
	const parts = Array.from(tensorObjects(index, i), ([number, bytes]) => ({ ...index.object(number), bytes }));
	if (parts.length === 0)
		return { kind: "literal", rule: undefined, codedSize: 0, error: 0 };
	const largest = parts.reduce((a, b) => b.bytes > a.bytes ? b : a);
	return {
		...describeObject(index, largest),
		// Small tensors have a share of an object.
		codedSize: parts.reduce((sum, part) => sum + describeObject(index, part).codedSize - part.codedSize +
			Math.floor(part.codedSize * part.bytes / part.size), 0),
	};
}

/**
 * How the archive stores a tensor.
 * @param {Index} index
 * @param {ObjectRecord} object
 */
function describeObject(index, object) {
	let beside = 0;
	if (object.kind === KIND.LAYOUT && object.rule === LAYOUT.JOINED) {
		beside = index.object(object.beside).codedSize;
		object = index.object(object.coarse);
	}
	// Floats that the file has transposed.
	if (object.kind === KIND.LAYOUT && object.bits > 8)
		object = index.object(object.coarse);
	let kind = KINDS[object.kind].name, codedSize = object.codedSize + beside, codes = object;
	let error = object.kind === KIND.REFINE ? object.error : 0;
	if (object.kind === KIND.LAYOUT) {
		codes = index.object(object.coarse);
		codedSize += codes.codedSize + (object.scales === NONE ? 0 : index.object(object.scales).codedSize);
	} else if (object.kind === KIND.REFINE) {
		codes = index.object(object.coarse);
	} else if (object.kind === KIND.DELTA) {
		const cast = index.object(object.coarse);
		// A refinement to FP32 builds on the 16-bit cast of the values, an object that is in no file.
		if (cast.kind === KIND.REFINE && cast.variant === object.variant) {
			kind = "refine";
			codedSize += cast.codedSize;
			error = cast.error;
			codes = index.object(cast.coarse);
		}
	}
	return { kind, rule: codes.kind === KIND.CODES && codes.rule !== 0 ? RULES[codes.rule].name : undefined, codedSize, error };
}
