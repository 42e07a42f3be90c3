/** An open archive: its variants, files and tensors, and their bytes. */

import { localCodec } from "./codec.js";
import { DTYPES } from "./dtypes.js";
import { QstoreError } from "./error.js";
import { FILE, KIND, NONE, readIndex } from "./archive-index.js";
import { findVariant, hasVariant, isShared, planFile } from "./plan.js";
import { safetensorsHeader } from "./safetensors.js";
import { readExactly, toSource, withHead } from "./source.js";
import { decodePieces } from "./stream.js";
import { createDecoder } from "./wasm.js";

/** @typedef {import("./codec.js").Codec} Codec */
/** @typedef {import("./archive-index.js").FileRecord} FileRecord */
/** @typedef {import("./archive-index.js").Index} Index */
/** @typedef {import("./archive-index.js").TensorRecord} TensorRecord */
/** @typedef {import("./source.js").ReadOptions} ReadOptions */
/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./wasm.js").Decoder} Decoder */

/**
 * @typedef {object} VariantInfo
 * @property {string} name "int8", "bf16" …
 * @property {string} dtype that most of its weights have
 * @property {string | undefined} coarser the variant that it refines
 * @property {number} size of its files
 * @property {number} layerSize coded bytes that it adds
 * @property {number} downloadSize the archive's first bytes, which hold all of it
 */

/**
 * @typedef {object} FileInfo
 * @property {string} name
 * @property {string[]} variants that have it
 * @property {number} size
 * @property {string} sha256 in hexadecimal
 * @property {"stored" | "zstd" | "assembled"} kind as one member of the archive, or from coded chunks
 */

/**
 * @typedef {object} TensorInfo
 * @property {string} name
 * @property {string} file that it stands in
 * @property {string[]} variants that have that file
 * @property {string} dtype as safetensors spells it
 * @property {number[]} shape
 * @property {number} offset in the file
 * @property {number} size in bytes
 * @property {"plain" | "codes" | "refine" | "delta" | "literal"} kind literal: kept with the file's header
 * @property {number} codedSize in the archive; for "refine" what it adds to its codes; 0 for "literal"
 * @property {number} error refine: Σ(coarse − fine)² / Σ fine², how much the coarse version loses; else 0
 * @property {boolean} shared the same as in a coarser variant, whose layer holds it
 */

/**
 * @typedef {object} OpenOptions
 * @property {Decoder} [decoder] made by default
 * @property {Codec} [codec] where chunks are decoded: a pool, say; on the calling thread by default
 * @property {AbortSignal} [signal] for opening
 */

/**
 * @typedef {object} PrecisionOptions
 * @property {string} [precision] a variant's name, "low", or "high", which is the default
 */

const FILE_KINDS = /** @type {const} */ (["stored", "zstd", "assembled"]);
const OBJECT_KINDS = /** @type {const} */ (["plain", "codes", "refine", "delta"]);
/** Bytes of a stored member that are read at a time. */
const BLOCK_SIZE = 2 ** 20;

/**
 * Opens an archive, with two requests at most.
 * @param {Source | Blob | ArrayBuffer | ArrayBufferView} input
 * @param {OpenOptions} [options]
 * @returns {Promise<Archive>}
 */
export async function openArchive(input, { decoder, codec, signal } = {}) {
	const source = toSource(input);
	const used = decoder ?? await createDecoder();
	const { index, head } = await readIndex(source, used, { signal });
	return new Archive(index, withHead(source, head), used, codec ?? localCodec(used));
}

export class Archive {
	/** @type {Source} */
	#source;
	#decoder;
	#codec;
	/** @type {VariantInfo[]} */
	#variants;
	/** @type {FileInfo[] | undefined} */
	#files;
	/** @type {TensorInfo[] | undefined} */
	#tensors;

	/**
	 * Use openArchive.
	 * @param {Index} index
	 * @param {Source} source
	 * @param {Decoder} decoder
	 * @param {Codec} codec
	 */
	constructor(index, source, decoder, codec) {
		/** For planning reads (plan.js). */
		this.index = index;
		this.#source = source;
		this.#decoder = decoder;
		this.#codec = codec;
		this.#variants = Array.from({ length: index.variantCount }, (_, i) => {
			const { name, dtype, coarser, size, layerOffset, layerSize } = index.variant(i);
			return {
				name, dtype: DTYPES[dtype].name, coarser: coarser === NONE ? undefined : index.variant(coarser).name,
				size, layerSize, downloadSize: index.payloadOffset + layerOffset + layerSize,
			};
		});
	}

	/** The source's name, for messages. */
	get name() {
		return this.#source.name;
	}

	/** Bytes of the complete archive. */
	get size() {
		return this.index.archiveSize;
	}

	/** Coarse to fine. */
	get variants() {
		return this.#variants;
	}

	/** Those of all variants. */
	get files() {
		this.#files ??= Array.from({ length: this.index.fileCount }, (_, i) => {
			const { name, variants, size, sha256, kind } = this.index.file(i);
			return { name, variants: this.#names(variants), size, sha256, kind: FILE_KINDS[kind] };
		});
		return this.#files;
	}

	/** Those of all variants, in the order of their files and in the files' own. */
	get tensors() {
		this.#tensors ??= Array.from({ length: this.index.tensorCount }, (_, i) => this.#tensorInfo(i));
		return this.#tensors;
	}

	/**
	 * One of "low", "high" and a variant's name.
	 * @param {string} [precision]
	 * @returns {VariantInfo}
	 */
	variant(precision) {
		return this.#variants[this.#variantNumber(precision)];
	}

	/**
	 * Throws when the source ends before all that a variant needs.
	 * @param {string} [precision]
	 */
	checkComplete(precision) {
		const number = this.#variantNumber(precision), asked = this.#variants[number], size = this.#source.byteLength;
		if (size === undefined || size >= asked.downloadSize)
			return;
		const held = this.#variants.slice(0, number).findLast((variant) => size >= variant.downloadSize);
		throw this.#error("TRUNCATED", held ? `ends too early for ${asked.name}; ${held.name} is complete` :
			`ends too early: ${size} bytes of the ${asked.downloadSize} that ${asked.name} needs`);
	}

	/**
	 * A file of a variant.
	 * @param {string} name
	 * @param {PrecisionOptions} [options]
	 * @returns {ArchiveFile}
	 */
	file(name, { precision } = {}) {
		const variant = this.#variantNumber(precision);
		const found = this.#find(this.files, "file", name, variant);
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
	 * @param {PrecisionOptions} [options]
	 * @returns {ArchiveTensor}
	 */
	tensor(name, { precision } = {}) {
		const variant = this.#variantNumber(precision);
		const found = this.#find(this.tensors, "tensor", name, variant);
		return new ArchiveTensor(this.#context(), found, this.#variants[variant].name, this.tensors[found]);
	}

	/**
	 * All tensors of a variant, in the archive's order.
	 * @param {PrecisionOptions} [options]
	 * @returns {ArchiveTensor[]}
	 */
	tensorsOf({ precision } = {}) {
		const { name } = this.variant(precision), context = this.#context();
		return this.tensors.flatMap((tensor, i) => tensor.variants.includes(name) ?
			[new ArchiveTensor(context, i, name, tensor)] : []);
	}

	/**
	 * A small file's bytes: config.json, tokenizer.json …
	 * @param {string} name
	 * @param {PrecisionOptions & ReadOptions} [options]
	 * @returns {Promise<Uint8Array>}
	 */
	metadata(name, { precision, signal } = {}) {
		const file = this.file(name, { precision });
		return file.read(0, file.size, { signal });
	}

	/**
	 * A safetensors file of some tensors of one variant: a header, and their bytes.
	 * @param {ArchiveTensor[]} tensors in the archive's order
	 * @returns {ArchiveBytes}
	 */
	safetensors(tensors) {
		const header = safetensorsHeader(tensors);
		const index = this.index;
		const size = tensors.reduce((sum, tensor) => sum + tensor.size, header.length);
		const records = tensors.map(({ number }) => index.tensor(number)), context = this.#context();
		return new ArchiveBytes(size, (start, end, options) => readTensors(context, header, records, start, end, options));
	}

	/** Ends the source. */
	async close() {
		await this.#source.close?.();
	}

	/** @returns {Context} */
	#context() {
		return { index: this.index, source: this.#source, decoder: this.#decoder, codec: this.#codec };
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
	 * @param {{ name: string, variants: string[] }[]} list
	 * @param {string} what
	 * @param {string} name
	 * @param {number} variant
	 */
	#find(list, what, name, variant) {
		const precision = this.#variants[variant].name;
		const found = list.findIndex((entry) => entry.name === name && entry.variants.includes(precision));
		if (found < 0) {
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
		const object = tensor.object === NONE ? undefined : index.object(tensor.object);
		return {
			name: tensor.name, file, variants, dtype: DTYPES[tensor.dtype].name, shape: tensor.shape,
			offset: tensor.offset, size: tensor.size,
			kind: object ? OBJECT_KINDS[object.kind] : "literal", codedSize: object?.codedSize ?? 0,
			error: object?.kind === KIND.REFINE ? object.error : 0, shared: isShared(index, tensor),
		};
	}

	/** @param {number} mask */
	#names(mask) {
		return this.#variants.flatMap((variant, i) => hasVariant(mask, i) ? [variant.name] : []);
	}

	/**
	 * @param {import("./error.js").StatusName} code
	 * @param {string} text
	 */
	#error(code, text) {
		return new QstoreError(code, this.name ? `${this.name}: ${text}` : `the archive ${text}`);
	}
}

/** @typedef {import("./stream.js").Context & { decoder: Decoder }} Context */

/** @typedef {(start: number, end: number, options: ReadOptions) => AsyncGenerator<Uint8Array, void, void>} Produce */

/** Bytes that are restored when they are read, in memory that does not depend on their number. */
export class ArchiveBytes {
	#produce;

	/**
	 * @param {number} size
	 * @param {Produce} produce yields the bytes from start to end; what it yields is the consumer's own
	 */
	constructor(size, produce) {
		this.size = size;
		this.#produce = produce;
	}

	/**
	 * The bytes from start to end, as they are decoded: pieces of up to 1 MiB (a small file can be one larger piece).
	 * @param {number} [start]
	 * @param {number} [end]
	 * @param {ReadOptions} [options]
	 * @returns {AsyncGenerator<Uint8Array, void, void>}
	 */
	chunks(start = 0, end = this.size, options = {}) {
		if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end || end > this.size)
			throw new QstoreError("USAGE", `bytes ${start} to ${end} of ${this.size} cannot be read`);
		return this.#produce(start, end, options);
	}

	/**
	 * Bytes [start, end).
	 * @param {number} [start]
	 * @param {number} [end]
	 * @param {ReadOptions} [options]
	 * @returns {Promise<Uint8Array<ArrayBuffer>>}
	 */
	async read(start = 0, end = this.size, options = {}) {
		const chunks = this.chunks(start, end, options);
		let out;
		try {
			out = new Uint8Array(end - start);
		} catch (error) {
			throw new QstoreError("MEMORY", `${end - start} bytes cannot be had in one piece: use chunks() or stream()`,
				{ cause: error });
		}
		let at = 0;
		for await (const bytes of chunks) {
			out.set(bytes, at);
			at += bytes.length;
		}
		return out;
	}

	/**
	 * @param {ReadOptions} [options]
	 * @returns {ReadableStream<Uint8Array>}
	 */
	stream(options = {}) {
		const chunks = this.chunks(0, this.size, options);
		return new ReadableStream({
			async pull(controller) {
				const { done, value } = await chunks.next();
				if (done)
					controller.close();
				else
					controller.enqueue(value);
			},
			async cancel() {
				await chunks.return();
			},
		}, { highWaterMark: 0 });
	}
}

/** A file of a variant. */
export class ArchiveFile extends ArchiveBytes {
	/**
	 * @param {Context} context
	 * @param {number} number
	 * @param {string} precision
	 */
	constructor(context, number, precision) {
		const record = context.index.file(number);
		const { index } = context;
		super(record.size, (start, end, options) =>
			record.kind === FILE.ASSEMBLED ? decodePieces(context, planFile(index, number, start, end), options) :
			record.kind === FILE.ZSTD ? readZstd(context, record, start, end, options) :
			readStored(context, record, start, end, options));
		/** Counted through the archive's files. */
		this.number = number;
		this.name = record.name;
		/** In hexadecimal. */
		this.sha256 = record.sha256;
		/** The variant's name. */
		this.precision = precision;
	}
}

/** A tensor of a variant, little-endian. */
export class ArchiveTensor extends ArchiveBytes {
	/**
	 * @param {Context} context
	 * @param {number} number
	 * @param {string} precision
	 * @param {TensorInfo} info
	 */
	constructor(context, number, precision, info) {
		const { index } = context, { file } = index.tensor(number);
		super(info.size, (start, end, options) =>
			decodePieces(context, planFile(index, file, info.offset + start, info.offset + end), options));
		/** Counted through the archive's tensors. */
		this.number = number;
		this.name = info.name;
		this.dtype = info.dtype;
		this.shape = info.shape;
		/** The name of the file that it stands in. */
		this.file = info.file;
		/** The variant's name. */
		this.precision = precision;
	}
}

/**
 * A member that is kept verbatim.
 * @param {Context} context
 * @param {FileRecord} file
 * @param {number} start
 * @param {number} end
 * @param {ReadOptions} options
 */
async function* readStored({ source, index }, file, start, end, options) {
	const offset = index.payloadOffset + file.offset;
	for (let at = start; at < end; at += BLOCK_SIZE) {
		// A copy: the source's bytes are not the consumer's own.
		yield (await readExactly(source, offset + at, Math.min(BLOCK_SIZE, end - at), options)).slice();
	}
}

/**
 * A member that is one zstd frame; the format limits its size.
 * @param {Context} context
 * @param {FileRecord} file
 * @param {number} start
 * @param {number} end
 * @param {ReadOptions} options
 */
async function* readZstd({ source, index, decoder }, file, start, end, options) {
	if (start === end)
		return;
	const coded = await readExactly(source, index.payloadOffset + file.offset, file.codedSize, options);
	let bytes;
	try {
		bytes = decoder.zstd(coded, file.size);
	} catch (error) {
		if (!(error instanceof QstoreError) || error.code !== "CORRUPT")
			throw error;
		const name = source.name ? `${source.name}: ` : "";
		throw new QstoreError("CORRUPT", `${name}file ${file.name} is damaged: it does not decompress`,
			{ cause: error });
	}
	yield bytes.subarray(start, end);
}

/**
 * A header, then tensors.
 * @param {Context} context
 * @param {Uint8Array} header
 * @param {TensorRecord[]} tensors
 * @param {number} start
 * @param {number} end
 * @param {ReadOptions} options
 */
async function* readTensors(context, header, tensors, start, end, options) {
	if (start < header.length)
		yield header.slice(start, end);
	const pieces = planTensors(context.index, tensors, start - header.length, end - header.length);
	yield* decodePieces(context, pieces, options);
}

/**
 * Bytes of tensors that stand one after the other.
 * @param {Index} index
 * @param {TensorRecord[]} tensors
 * @param {number} start
 * @param {number} end
 */
function* planTensors(index, tensors, start, end) {
	let at = 0;
	for (const { file, offset, size } of tensors) {
		const from = Math.max(start - at, 0), to = Math.min(end - at, size);
		yield* planFile(index, file, offset + from, offset + to);
		at += size;
	}
}
