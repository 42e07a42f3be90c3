/** Decoded pieces as a stream: batches are read ahead, several pieces are decoded at a time, and they come out in their order. */

import { planBatches } from "../plan/batches.js";
import { link } from "../util/abort.js";
import { Pacer } from "../util/pacer.js";
import { quiet } from "../util/promises.js";
import { BatchReader } from "./batch-reader.js";
import { PieceDecoder } from "./piece-decoder.js";

/** @typedef {import("../plan/batches.js").Batch} Batch */
/** @typedef {import("../plan/pieces.js").Piece} Piece */
/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */

/**
 * Everything that reading an archive takes.
 * @typedef {object} Context
 * @property {import("../format/archive-index.js").Index} index
 * @property {import("../source/source.js").Source} source
 * @property {import("./codec.js").Codec} codec
 * @property {{ read(file: number, offset: number, size: number, options?: ReadOptions): Promise<Uint8Array> }} base
 */

/** Batches that are being read while another one is decoded. */
const BATCHES_AHEAD = 1;

/**
 * Decodes pieces in their order. The bytes that it yields belong to the consumer: nobody else keeps a view of them. Beside them it holds a
 * bounded amount.
 * @param {Context} context
 * @param {Iterable<Piece>} pieces
 * @param {ReadOptions & { gap?: number }} [options] gap: see CoalesceOptions
 * @returns {AsyncGenerator<Uint8Array, void, void>}
 */
export async function* decodePieces(context, pieces, { signal, onFetch, gap, batchSize } = {}) {
	signal?.throwIfAborted();
	const controller = new AbortController(), unlink = link(controller, signal);
	const options = { signal: controller.signal, onFetch };
	const { index, source, codec } = context;
	// Decoding on the calling thread, planning, and results that are there already let nothing else run.
	const pacer = new Pacer(controller.signal);
	const reader = new BatchReader(index, source, options), decoder = new PieceDecoder(context, options);
	const batches = planBatches(index, pieces, { gap, batchSize });
	/** @type {{ batch: Batch, coded: Promise<import("./batch-reader.js").CodedChunks> }[]} */
	const ahead = [];
	/** @type {Promise<Uint8Array>[]} the pieces that are being decoded, in their order */
	const queue = [];
	const next = async () => {
		const bytes = await queue.shift();
		if (pacer.isDue)
			await pacer.pause();
		controller.signal.throwIfAborted();
		return /** @type {Uint8Array} */ (bytes);
	};
	try {
		for (;;) {
			while (ahead.length <= BATCHES_AHEAD) {
				const { done, value: batch } = batches.next();
				if (done)
					break;
				ahead.push({ batch, coded: quiet(reader.read(batch)) });
				codec.prepare?.(batch.tasks.length);
			}
			const current = ahead.shift();
			if (!current)
				break;
			decoder.begin(current.batch, current.coded);
			for (const task of current.batch.tasks) {
				while (queue.length >= codec.concurrency * 2)
					yield await next();
				queue.push(quiet(decoder.decode(task, current.coded)));
			}
		}
		while (queue.length > 0)
			yield await next();
	} finally {
		unlink();
		controller.abort();
	}
}
