/** What can be read of an archive: files, tensors, and what is made of them. Nothing is read before it is asked for. */

import { fileBlob, fileResponse } from "./blob.js";
import { FILE } from "../format/facts.js";
import { QstoreError } from "../error.js";
import { planFile, planTensors } from "../plan/pieces.js";
import { streamOf } from "../util/readable.js";
import { sha256 } from "../util/sha256.js";
import { readExactly } from "../source/source.js";
import { decodePieces } from "../decode/pieces.js";
import { TensorData } from "./tensor-data.js";

/** @typedef {import("./archive.js").TensorInfo} TensorInfo */
/** @typedef {import("../format/archive-index.js").FileRecord} FileRecord */
/** @typedef {import("../format/archive-index.js").TensorRecord} TensorRecord */
/** @typedef {import("../wasm/decoder.js").Decoder} Decoder */
/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */

/** Bytes of a stored member that are read at a time, when it is not read as a whole. */
const BLOCK_SIZE = 2 ** 20;
/** Bytes of a stored member that is read as a whole, when all of it is asked for: as the format has for those of one zstd frame. */
const WHOLE_MAX = 2 ** 26;

const OTHER_SHA256 = "its SHA-256 differs";

/** @typedef {import("../decode/pieces.js").Context & { decoder: Decoder }} Context */

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
	 * The bytes from start to end as a stream; nothing is read before its first pull.
	 * @param {number} [start]
	 * @param {number} [end]
	 * @param {ReadOptions} [options]
	 * @returns {ReadableStream<Uint8Array>}
	 */
	stream(start = 0, end = this.size, options = {}) {
		const chunks = this.chunks(start, end, options);
		return streamOf(() => chunks);
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
			readMember(context, record, start, end, options));
		/** Counted through the archive's files. */
		this.number = number;
		this.name = record.name;
		/** In hexadecimal. */
		this.sha256 = record.sha256;
		/** The variant's name. */
		this.precision = precision;
		/** Is all of it restored whatever part is read? */
		this.atOnce = record.kind === FILE.ZSTD;
	}

	/**
	 * The file as a Blob with random access, for runtimes that take one (onnxruntime-web's externalData, wllama).
	 * @param {import("./blob.js").BlobOptions} [options]
	 */
	blob(options) {
		return fileBlob(this, options);
	}

	/**
	 * The file as the answer to a fetch, for runtimes that fetch.
	 * @param {Parameters<typeof fileResponse>[1]} [options]
	 */
	response(options) {
		return fileResponse(this, options);
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

	/**
	 * All of it, as typed data.
	 * @param {ReadOptions} [options]
	 */
	async load(options) {
		return new TensorData(this, await this.read(0, this.size, options));
	}
}

/**
 * A file that is a member of the archive, verbatim or as one zstd frame. What is restored as a whole is compared with its SHA-256: parts of a
 * verbatim one cannot be, nor one that is too large to be held.
 * @param {Context} context
 * @param {FileRecord} file
 * @param {number} start
 * @param {number} end
 * @param {ReadOptions} options
 */
async function* readMember(context, file, start, end, options) {
	const { source, index } = context, offset = index.payloadOffset + file.offset;
	if (start === end)
		return;
	if (file.kind === FILE.ZSTD || (end - start === file.size && file.size <= WHOLE_MAX)) {
		yield (await restoreMember(context, file, offset, options)).subarray(start, end);
		return;
	}
	for (let at = start; at < end; at += BLOCK_SIZE) {
		// A copy: the source's bytes are not the consumer's own.
		yield (await readExactly(source, offset + at, Math.min(BLOCK_SIZE, end - at), options)).slice();
	}
}

/**
 * All of a member.
 * @param {Context} context
 * @param {FileRecord} file
 * @param {number} offset in the archive
 * @param {ReadOptions} options
 */
async function restoreMember({ source, decoder }, file, offset, options) {
	/** @param {boolean | undefined} reload */
	const read = async (reload) => {
		const coded = await readExactly(source, offset, file.codedSize, { ...options, reload });
		const bytes = file.kind === FILE.ZSTD ? decoder.zstd(coded, file.size) : coded.slice();
		if (await sha256(bytes) !== file.sha256)
			throw new QstoreError("CORRUPT", OTHER_SHA256);
		return bytes;
	};
	try {
		// Something on the way may have spoiled it: once more.
		return await read(options.reload).catch((error) => source.remote && isCorrupt(error) ? read(true) : Promise.reject(error));
	} catch (error) {
		if (!isCorrupt(error))
			throw error;
		const name = source.name ? `${source.name}: ` : "", what = error.message === OTHER_SHA256 ? OTHER_SHA256 : "it does not decompress";
		throw new QstoreError("CORRUPT", `${name}file ${file.name} is damaged: ${what}`, { cause: error });
	}
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
export async function* readTensors(context, header, tensors, start, end, options) {
	if (start < header.length)
		yield header.slice(start, end);
	const pieces = planTensors(context.index, tensors, start - header.length, end - header.length);
	yield* decodePieces(context, pieces, options);
}

/**
 * @param {unknown} error
 * @returns {error is QstoreError}
 */
function isCorrupt(error) {
	return error instanceof QstoreError && error.code === "CORRUPT";
}
