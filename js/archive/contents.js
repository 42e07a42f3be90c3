/** The files and tensors of an archive, and bytes that are made of them. Nothing is read before it is asked for. */

import { fileBlob, fileResponse } from "./blob.js";
import { FILE } from "../format/facts.js";
import { QstoreError } from "../error.js";
import { tensorAt } from "../plan/describe.js";
import { planFile } from "../plan/pieces.js";
import { streamOf } from "../util/readable.js";
import { sha256 } from "../util/sha256.js";
import { readExactly } from "../source/source.js";
import { decodePieces } from "../decode/pieces.js";
import { salvage } from "./salvage.js";
import { TensorData } from "./tensor-data.js";

/** @typedef {import("./archive.js").TensorInfo} TensorInfo */
/** @typedef {import("../format/archive-index.js").FileRecord} FileRecord */
/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("../wasm/decoder.js").Decoder} Decoder */
/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */

/** Bytes that are read at a time of a stored member that is not read as a whole. */
const BLOCK_SIZE = 2 ** 20;
/** The most bytes of a stored member that is read as a whole, if all of it is wanted. The format has the same limit for zstd frames. */
const WHOLE_MAX = 2 ** 26;

const OTHER_SHA256 = "its SHA-256 differs";

/** @typedef {import("../decode/pieces.js").Context & { decoder: Decoder, base: import("./base.js").Base }} Context */

/** @typedef {(start: number, end: number, options: ReadOptions) => AsyncGenerator<Uint8Array, void, void>} Produce */

/** Bytes that are restored while they are read. The memory that this takes does not depend on how many they are. */
export class ArchiveBytes {
	#produce;
	#pieceAt;
	#source;

	/**
	 * @param {Context} context
	 * @param {number} size
	 * @param {Produce} produce yields the bytes from start to end, which belong to the consumer
	 * @param {(at: number) => import("./salvage.js").PieceAt} pieceAt
	 */
	constructor({ source }, size, produce, pieceAt) {
		this.size = size;
		this.#source = source;
		this.#produce = produce;
		this.#pieceAt = pieceAt;
	}

	/**
	 * The bytes from start to end, as they are decoded, in pieces of up to 1 MiB (a small file can be one larger piece).
	 * @param {number} [start]
	 * @param {number} [end]
	 * @param {ReadOptions} [options]
	 * @returns {AsyncGenerator<Uint8Array, void, void>}
	 */
	chunks(start = 0, end = this.size, options = {}) {
		if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end || end > this.size)
			throw new QstoreError("USAGE", `bytes ${start} to ${end} cannot be read: there are ${this.size} bytes`);
		return this.#produce(start, end, options);
	}

	/**
	 * Reads bytes [start, end).
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
			throw new QstoreError("MEMORY", `${end - start} bytes cannot be allocated at once: use chunks() or stream()`,
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

	/**
	 * Reads everything that can be restored of a damaged or cut archive, in order, and says of the rest what is missing.
	 * @param {ReadOptions} [options]
	 * @returns {AsyncGenerator<import("./salvage.js").Salvaged, void, void>}
	 */
	salvage(options = {}) {
		const remote = this.#source.remote ?? false;
		return salvage((start, given, end) => this.chunks(start, end, given), this.size, this.#pieceAt, remote, options);
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
		super(context, record.size, (start, end, options) =>
			record.kind === FILE.ASSEMBLED ? decodePieces(context, planFile(index, number, start, end), options) :
			readMember(context, record, start, end, options),
		(at) => record.kind === FILE.ASSEMBLED ? pieceOfFile(index, number, at, record.size) : { end: record.size });
		/** The file's number in the archive's list of files. */
		this.number = number;
		this.name = record.name;
		/** The SHA-256 of the whole file, in hexadecimal. */
		this.sha256 = record.sha256;
		/** The variant's name. */
		this.precision = precision;
		/** Does reading any part of the file restore all of it? */
		this.atOnce = record.kind === FILE.ZSTD;
	}

	/**
	 * The file as a Blob with random access, for runtimes that take Blobs (wllama, onnxruntime-web's externalData).
	 * @param {import("./blob.js").BlobOptions} [options]
	 */
	blob(options) {
		return fileBlob(this, options);
	}

	/**
	 * The file as the response to a fetch, for runtimes that fetch their files.
	 * @param {import("./blob.js").ResponseOptions} [options]
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
		super(context, info.size, (start, end, options) =>
			decodePieces(context, planFile(index, file, info.offset + start, info.offset + end), options),
		(at) => pieceOfTensor(index, number, at));
		/** The tensor's number in the archive's list of tensors. */
		this.number = number;
		this.name = info.name;
		this.dtype = info.dtype;
		this.shape = info.shape;
		/** The name of the file that has it. */
		this.file = info.file;
		/** The variant's name. */
		this.precision = precision;
	}

	/**
	 * Loads the whole tensor.
	 * @param {ReadOptions} [options]
	 */
	async load(options) {
		return new TensorData(this, await this.read(0, this.size, options));
	}
}

/**
 * The piece of a file that has the byte at `at`.
 * @param {Index} index
 * @param {number} file
 * @param {number} at
 * @param {number} end of the bytes that are looked at
 * @returns {import("./salvage.js").PieceAt}
 */
function pieceOfFile(index, file, at, end) {
	const [{ size }] = planFile(index, file, at, end);
	return { end: at + size, tensor: tensorAt(index, file, at) };
}

/**
 * The piece of a tensor that has the byte at `at`.
 * @param {Index} index
 * @param {number} tensor
 * @param {number} at
 * @returns {import("./salvage.js").PieceAt}
 */
export function pieceOfTensor(index, tensor, at) {
	const { file, offset, size, name } = index.tensor(tensor);
	return { end: pieceOfFile(index, file, offset + at, offset + size).end - offset, tensor: name };
}

/**
 * Reads a file that is one member of the archive, as it is or as one zstd frame. A file that is restored as a whole is compared with its
 * SHA-256. That is not possible for a part of a stored file, nor for one that is too large to be held in memory, so with a digest all
 * files are restored as a whole.
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
	if (file.kind === FILE.ZSTD || source.sealed || (end - start === file.size && file.size <= WHOLE_MAX)) {
		yield (await restoreMember(context, file, offset, options)).subarray(start, end);
		return;
	}
	for (let at = start; at < end; at += BLOCK_SIZE) {
		// A copy, since the bytes of a source must not be changed.
		yield (await readExactly(source, offset + at, Math.min(BLOCK_SIZE, end - at), options)).slice();
	}
}

/**
 * Restores a whole member.
 * @param {Context} context
 * @param {FileRecord} file
 * @param {number} offset in the archive
 * @param {ReadOptions} options
 */
async function restoreMember({ source, decoder }, file, offset, options) {
	/** @param {boolean | undefined} reload */
	const read = async (reload) => {
		const coded = await readExactly(source, offset, file.codedSize, { ...options, reload });
		return decodeMember(decoder, file, coded);
	};
	try {
		// The bytes may have been damaged on their way: they are fetched once more.
		return await read(options.reload).catch((error) => source.remote && isCorrupt(error) ? read(true) : Promise.reject(error));
	} catch (error) {
		if (!isCorrupt(error))
			throw error;
		const name = source.name ? `${source.name}: ` : "";
		const what = error.message === OTHER_SHA256 ? OTHER_SHA256 : "it does not decompress";
		throw source.sealed
			? new QstoreError("INTEGRITY", `${name}file ${file.name} is not what the digest promises`, { cause: error })
			: new QstoreError("CORRUPT", `${name}file ${file.name} is damaged: ${what}`, { cause: error });
	}
}

/**
 * @param {Decoder} decoder
 * @param {FileRecord} file
 * @param {Uint8Array} coded
 */
async function decodeMember(decoder, file, coded) {
	const bytes = file.kind === FILE.ZSTD ? decoder.zstd(coded, file.size) : coded.slice();
	if (await sha256(bytes) !== file.sha256)
		throw new QstoreError("CORRUPT", OTHER_SHA256);
	return bytes;
}

/**
 * Are these the coded bytes of a member?
 * @param {Decoder} decoder
 * @param {FileRecord} file
 * @param {Uint8Array} coded
 */
export async function isMember(decoder, file, coded) {
	try {
		await decodeMember(decoder, file, coded);
		return true;
	} catch (error) {
		if (isCorrupt(error))
			return false;
		throw error;
	}
}

/**
 * @param {unknown} error
 * @returns {error is QstoreError}
 */
function isCorrupt(error) {
	return error instanceof QstoreError && error.code === "CORRUPT";
}
