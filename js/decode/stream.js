/** Pieces of decoded chunks as a stream: reads ahead, decodes several at a time, in order, holding a bounded amount. */

import { link } from "../util/abort.js";
import { KIND } from "../format/archive-index.js";
import { ChunkError } from "./codec.js";
import { DTYPES } from "../format/dtypes.js";
import { QstoreError } from "../error.js";
import { planLots } from "../plan/batches.js";
import { baseRange, chunkNumber, chunkRange, describeChunk } from "../plan/plan.js";
import { LAYOUT, lineOf } from "../format/rules.js";
import { readExactly } from "../source/source.js";

/** @typedef {import("../format/archive-index.js").Index} Index */
/** @typedef {import("../plan/plan.js").ChunkId} ChunkId */
/** @typedef {import("../plan/plan.js").Piece} Piece */

/**
 * @typedef {object} Context
 * @property {Index} index
 * @property {import("../source/source.js").Source} source
 * @property {import("./codec.js").Codec} codec
 * @property {import("../archive/base.js").Base} base
 */

/** @typedef {import("../source/source.js").ReadOptions} ReadOptions */

/** @typedef {import("../plan/batches.js").Level} Level */
/** @typedef {import("../plan/batches.js").Lot} Lot */
/** @typedef {import("../plan/batches.js").Shared} Shared */
/** @typedef {import("../plan/batches.js").Whole} Whole */

/** How many lots are under way before the one that is being decoded. */
const LOTS_AHEAD = 1;

/**
 * Decodes pieces in their order. What it yields is the consumer's own.
 * @param {Context} context
 * @param {Iterable<Piece>} pieces
 * @param {ReadOptions & { gap?: number }} [options] gap: see CoalesceOptions
 * @returns {AsyncGenerator<Uint8Array, void, void>}
 */
export async function* decodePieces({ index, source, codec, base }, pieces, { signal, onFetch, gap, lot: lotSize } = {}) {
	signal?.throwIfAborted();
	const controller = new AbortController();
	const unlink = link(controller, signal);
	/** @type {ReadOptions} */
	const options = { signal: controller.signal, onFetch };
	try {
		const lots = planLots(index, pieces, { gap, lot: lotSize });
		/** @type {Lot[]} */
		const ahead = [];
		/** @type {{ piece: Piece, own: boolean, data: Promise<Uint8Array> }[]} */
		const queue = [];
		const next = async () => {
			const { piece: { skip, size }, own, data } = /** @type {(typeof queue)[0]} */ (queue.shift());
			const decoded = await data;
			controller.signal.throwIfAborted();
			// A consumer may transfer what it gets: shared bytes are copied.
			return own ? decoded.subarray(skip, skip + size) : decoded.slice(skip, skip + size);
		};
		for (;;) {
			while (ahead.length <= LOTS_AHEAD) {
				const { done, value: lot } = lots.next();
				if (done)
					break;
				lot.coded = quiet(readLot(index, source, lot, options));
				codec.prepare?.(lot.tasks.length);
				ahead.push(lot);
			}
			const lot = ahead.shift();
			if (!lot)
				break;
			for (const task of lot.tasks) {
				while (queue.length >= codec.concurrency * 2)
					yield await next();
				queue.push({ piece: task.piece, own: !task.shared, data: quiet(decodeTask(task, lot)) });
			}
			// Tasks hold what they need of it.
			lot.tasks = [];
		}
		while (queue.length > 0)
			yield await next();
	} finally {
		unlink();
		controller.abort();
	}

	/**
	 * @param {import("../plan/batches.js").Task} task
	 * @param {Lot} lot
	 */
	async function decodeTask({ piece, shared, levels, whole }, lot) {
		if (shared)
			return decodeShared(shared);
		if (whole)
			return decode(await columnsJob(piece, whole), [piece]);
		return decodeLevels(levels, lot);
	}

	/**
	 * @param {Level[]} levels
	 * @param {Lot} lot
	 */
	async function decodeLevels(levels, lot) {
		const coded = await /** @type {Promise<Map<number, Uint8Array>>} */ (lot.coded);
		/** @type {import("./codec.js").Job | undefined} */
		let job;
		for (const { id, needs, windows } of [...levels].reverse()) {
			const coarse = job;
			if (index.object(id.object).kind === KIND.BASE) {
				const { file, offset, size } = baseRange(index, id);
				job = { values: await base.read(file, offset, size, options) };
			} else if (index.object(id.object).kind === KIND.LAYOUT) {
				job = { ...layoutPart(id), coarse };
			} else {
				const chunk = codedChunk(id, coded);
				if (needs.coarse)
					chunk.desc.coarseDtype = index.object(needs.coarse.object).dtype;
				job = { chunk, coarse };
			}
			job.coarseGrid = await loadGrid(needs.coarseGrid, windows);
			job.grid = await loadGrid(needs.grid, windows);
		}
		return decode(/** @type {import("./codec.js").Job} */ (job), levels.map(({ id }) => id));
	}

	/**
	 * @param {import("../plan/plan.js").GridNeeds | undefined} needs
	 * @param {Level["windows"]} windows
	 * @returns {Promise<import("../wasm/decoder.js").Grid | undefined>}
	 */
	async function loadGrid(needs, windows) {
		if (!needs)
			return undefined;
		const { rule, dtype, group, rowStride, groupStride, zeroOffset } = index.object(needs.codes);
		/** @param {import("../plan/plan.js").Window} [window] */
		const load = async (window) => {
			if (!window)
				return undefined;
			const { object, chunks: [{ chunk }], first, count } = window, { dtype: own, chunkElems } = index.object(object);
			const decoded = await Promise.all(/** @type {Shared[]} */ (windows.get(window)).map(decodeShared));
			const { size } = DTYPES[own], start = (first - chunk * chunkElems) * size;
			return (decoded.length === 1 ? decoded[0] : concat(decoded)).subarray(start, start + count * size);
		};
		const [scales, zeros, order, factors] = await Promise.all([needs.scales, needs.zeros, needs.order, needs.factors].map(load));
		return {
			rule, codesDtype: dtype, group, rowStride, groupStride, zeroOffset, firstScale: needs.firstScale,
			scales: /** @type {Uint8Array} */ (scales), scalesDtype: index.object(needs.scales.object).dtype, zeros, order,
			factors, factorsDtype: needs.factors && index.object(needs.factors.object).dtype,
		};
	}

	/**
	 * @param {ChunkId} id of a layout
	 * @returns {{ layout: import("../wasm/decoder.js").LayoutDesc, size: number }}
	 */
	function layoutPart({ object, chunk }) {
		const { rule, dtype, elems, chunkElems, group: bits, cols } = index.object(object), { blockElems, blockSize } = DTYPES[dtype];
		const first = chunk * chunkElems, count = Math.min(chunkElems, elems - first);
		const rows = rule === LAYOUT.INTERLEAVED_COLUMNS ? cols * 32 / bits : cols;
		return { layout: { rule, dtype, elems: count, first, bits, rows }, size: count / blockElems * blockSize };
	}

	/**
	 * A part of a layout by columns: of a few columns of codes, or floats, which are cut out of the matrix here.
	 * @param {Piece} piece
	 * @param {Whole} whole
	 * @returns {Promise<import("./codec.js").Job>}
	 */
	async function columnsJob(piece, whole) {
		whole.decoded ??= quiet(decodeWhole(whole));
		const codes = await whole.decoded, { layout, size } = layoutPart(piece), { rule, rows, bits, first, elems } = layout;
		// In bytes: of a row, of what one line of words is made of, of what all are made of.
		const stride = codes.length / rows, { words, size: lineSize } = lineOf(rule, rows, bits), line = Math.floor(first / words);
		const width = (Math.ceil((first + elems) / words) - line) * lineSize, part = new Uint8Array(rows * width);
		for (let row = 0; row < rows; row++) {
			const at = row * stride + line * lineSize;
			part.set(codes.subarray(at, at + width), row * width);
		}
		return { layout: { ...layout, first: first - line * words }, size, codes: part };
	}

	/** @param {Whole} whole */
	async function decodeWhole(whole) {
		const { size, chunkBytes } = index.object(whole.object), out = new Uint8Array(size), lot = /** @type {Lot} */ (whole.lot);
		const chains = /** @type {Level[][]} */ (whole.chains);
		whole.lot = whole.chains = undefined;
		await eachOf(chains, codec.concurrency * 2, async (levels) => out.set(await decodeLevels(levels, lot), levels[0].id.chunk * chunkBytes));
		return out;
	}

	/** @param {Shared} shared */
	function decodeShared(shared) {
		shared.decoded ??= quiet((async () => {
			const coded = await /** @type {Promise<Map<number, Uint8Array>>} */ (shared.lot?.coded);
			shared.lot = undefined;
			return decode({ chunk: codedChunk(shared.id, coded) }, [shared.id]);
		})());
		return shared.decoded;
	}

	/**
	 * @param {ChunkId} id
	 * @param {Map<number, Uint8Array>} coded
	 * @returns {import("./codec.js").CodedChunk}
	 */
	function codedChunk(id, coded) {
		const { kind, dtype, cols, elems, chunkElems } = index.object(id.object);
		const number = chunkNumber(index, id), first = id.chunk * chunkElems;
		const count = Math.min(chunkElems, elems - first);
		return {
			bytes: /** @type {Uint8Array} */ (coded.get(number)),
			checksum: index.checksum(number),
			desc: { kind, dtype, elems: count, cols, first },
			size: count * DTYPES[dtype].size,
		};
	}

	/**
	 * @param {import("./codec.js").Job} job
	 * @param {ChunkId[]} ids of its chunk, of what that builds on …
	 */
	async function decode(job, ids) {
		job.check = index.partChecksum(index.object(ids[0].object).firstPart + ids[0].chunk);
		for (const again = new Set();;) {
			try {
				return await codec.decode(job, options);
			} catch (error) {
				if (!(error instanceof ChunkError))
					throw error;
				const { level } = error, id = ids[level], { chunk } = atLevel(job, level);
				if (!source.remote || !chunk || again.has(level)) {
					const name = source.name ? `${source.name}: ` : "";
					throw new QstoreError(error.code, `${name}${describeChunk(index, id)} ${error.message}` +
						(again.has(level) ? ", also when it is fetched again" : ""), { cause: error });
				}
				// Something on the way may have spoiled it.
				again.add(level);
				const { offset, size } = chunkRange(index, chunkNumber(index, id));
				chunk.bytes = await readExactly(source, offset, size, { ...options, reload: true });
			}
		}
	}
}

/**
 * @param {import("./codec.js").Job} job
 * @param {number} level
 * @returns {import("./codec.js").Job}
 */
function atLevel(job, level) {
	return level === 0 ? job : atLevel(/** @type {import("./codec.js").Job} */ (job.coarse), level - 1);
}

/**
 * @param {Index} index
 * @param {import("../source/source.js").Source} source
 * @param {Lot} lot
 * @param {ReadOptions} options
 * @returns {Promise<Map<number, Uint8Array>>}
 */
async function readLot(index, source, { chunks, ranges, group }, options) {
	/** @param {import("../plan/plan.js").Range[]} wanted */
	const read = (wanted) => Promise.all(wanted.map(async ({ offset, size }) => ({ offset, bytes: await readExactly(source, offset, size, options) })));
	group.blocks ??= quiet(read(group.ranges));
	const blocks = (await Promise.all([read(ranges), group.blocks])).flat().sort((a, b) => a.offset - b.offset);
	const places = [...chunks].map((number) => ({ number, ...chunkRange(index, number) })).sort((a, b) => a.offset - b.offset);
	/** @type {Map<number, Uint8Array>} */
	const coded = new Map();
	let at = 0;
	for (const { number, offset, size } of places) {
		while (offset + size > blocks[at].offset + blocks[at].bytes.length)
			at++;
		const start = offset - blocks[at].offset;
		coded.set(number, blocks[at].bytes.subarray(start, start + size));
	}
	return coded;
}

/**
 * Calls `act` with each item, a few at a time; ends at the first that fails.
 * @template T
 * @param {T[]} items
 * @param {number} atOnce
 * @param {(item: T) => Promise<unknown>} act
 */
async function eachOf(items, atOnce, act) {
	let next = 0;
	const run = async () => {
		while (next < items.length)
			await act(items[next++]);
	};
	await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, run));
}

/** @param {Uint8Array[]} parts */
function concat(parts) {
	const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		out.set(part, at);
		at += part.length;
	}
	return out;
}

/**
 * A promise that somebody will await later: until then its failure is nobody's.
 * @template T
 * @param {Promise<T>} promise
 */
function quiet(promise) {
	promise.catch(() => {});
	return promise;
}
