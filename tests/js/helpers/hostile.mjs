// Archives that are made to exhaust whoever reads them: checksums are right, and few bytes ask for much memory or time. Each is there
// twice: beyond the limits of FORMAT.md, 4.1, and just within them, where restoring has to keep to the bound all the same.
import { buildArchive, runsFrame, withIndex } from "./archive.mjs";

const SHA = "00".repeat(32), MB = 2 ** 20;

/** Elements that are all zero: coded in some bytes for each chunk of chunkElems. */
export function zeros(dtype, size, elems, { chunkElems = MB / size, cols = elems, ...rest } = {}) {
	const chunk = Uint8Array.of(2, ...Array.from({ length: size }, () => [1, 0]).flat()), part = new Uint8Array(chunkElems * size);
	const n = Math.ceil(elems / chunkElems), last = new Uint8Array((elems - (n - 1) * chunkElems) * size);
	const list = (value, end) => Array.from({ length: n }, (_, i) => i === n - 1 ? end : value);
	return { kind: 0, dtype, variant: 0, elems, chunkElems, cols, chunks: list(chunk, chunk), parts: list(part, last), ...rest };
}

const bf16 = [{ name: "bf16", dtype: "BF16" }];
const file = (extents, rest) => ({
	name: "m", variants: 1, sha256: SHA, extents, size: extents.reduce((sum, [, , size]) => sum + size, 0), ...rest,
});

/** Codes with a scale for each row, the scales of two rows being `stride` apart: one part needs all scales between its own. */
function window(rows, stride) {
	const n = (rows - 1) * stride + 1, codes = zeros("I8", 1, rows * 4, { chunkElems: rows * 4, cols: 4, kind: 1, rule: 1, scales: 0, group: 4,
		rowStride: stride, variant: 0 });
	const fine = zeros("BF16", 2, rows * 4, { chunkElems: rows * 4, cols: 4, kind: 2, coarse: 1 });
	fine.chunks = [new Uint8Array(1 + rows * 8)]; // raw
	return { variants: bf16, objects: [zeros("F32", 4, n), codes, fine], files: [file([[2, 0, rows * 8]])] };
}

/** A row whose columns have groups by an order as long as the row. */
function order(cols, chunkElems) {
	const codes = zeros("I8", 1, cols, { chunkElems, kind: 1, rule: 1, scales: 0, order: 1, group: 1, rowStride: 1 });
	const fine = zeros("BF16", 2, cols, { chunkElems, kind: 2, coarse: 2 });
	return { variants: bf16, objects: [zeros("F32", 4, 1), zeros("I32", 4, cols), codes, fine], files: [file([[3, 0, 128]])] };
}

/** A transposed matrix of singles, of which the file has some extents. */
function transposed(elems, copies = 1, size = 4 * elems) {
	const rows = 1024, plain = zeros("F32", 4, elems, { cols: elems / rows, chunkElems: MB / 4 });
	const layout = (coarse) => ({ ...zeros("F32", 4, elems, { cols: rows, chunkElems: MB / 4 }), chunks: [], kind: 4, rule: 3, coarse, group: 32 });
	const objects = [{ ...plain }, { ...plain }, layout(0), layout(1)];
	return { variants: bf16, objects, files: [file(Array.from({ length: copies }, (_, i) => [2 + i % 2, 0, size]))] };
}

/** A file of many extents of the same chunks. */
function pieces(chunks, copies, chunkElems = MB) {
	const size = chunks * chunkElems;
	return { variants: bf16, objects: [zeros("bytes", 1, size, { chunkElems })], files: [file(Array(copies).fill([0, 0, size]))] };
}

/** Empty tensors of one name. */
function names(count, length) {
	const tensor = { name: "n".repeat(length), dtype: "F32", shape: [0], offset: 0 };
	return { variants: bf16, objects: [zeros("bytes", 1, 8)], files: [file([[0, 0, 8]], { tensors: Array(count).fill(tensor) })] };
}

/** A file that is one zstd frame of zeros. */
function member(size, windowByte) {
	return { variants: bf16, objects: [], files: [{ name: "m", variants: 1, sha256: SHA, raw: size, data: runsFrame([[0, size]], { windowByte }) }] };
}

/** Archives beyond the limits: name → bytes, and the code of the error where that is not LIMIT. */
export function beyond(decoder) {
	const build = (parts, compress = true) => buildArchive(decoder, { ...parts, compress });
	const frame = (bodySize, blocks) => withIndex(decoder, { coded: runsFrame(blocks), bodySize, isFrame: true, payload: new Uint8Array(1024) });
	return {
		"an index that inflates to 1 GiB": { bytes: frame(2 ** 30, [[0, 2 ** 30]]) },
		"an index with 4 billion objects": { bytes: frame(2 ** 24, [Uint8Array.of(1, 0, 0, 0, ...Array(12).fill(0), 255, 255, 255, 255),
			[0, 2 ** 24 - 20]]), code: "CORRUPT" },
		"scales that are 4 MB apart": { bytes: build(window(2 ** 17, 1024)) },
		"an order of 2^22 columns": { bytes: build(order(2 ** 22, 64)) },
		"a transposed matrix of 1 GiB": { bytes: build(transposed(2 ** 28)) },
		"100 matrices of 16 MiB for one row each": { bytes: build(transposed(2 ** 22, 100, 4096)) },
		"100 times 200,000 chunks": { bytes: build(pieces(200_000, 100)) },
		"200,000 parts of one byte": { bytes: build(pieces(200_000, 1, 1)) },
		"200,000 names of 4 KB": { bytes: build(names(200_000, 4095), false) },
		"64 MiB in 2 kB": { bytes: build(member(2 ** 26)), code: "CORRUPT" },
	};
}

/** Archives within the limits. code: of the error when they are restored, since the SHA-256 of all files is wrong. */
export function within(decoder) {
	const build = (parts, compress = true) => buildArchive(decoder, { ...parts, compress });
	return {
		"scales of 4 MiB for a part": { bytes: build(window(2 ** 10, 1023)) },
		"an order of 2^20 columns": { bytes: build(order(2 ** 20, 2 ** 18)) },
		"a transposed matrix of 16 MiB": { bytes: build(transposed(2 ** 22)) },
		"60,000 parts of one byte": { bytes: build(pieces(60_000, 1, 1)) },
		"4,000 names of 4 KB": { bytes: build(names(4000, 4095)) },
		"a frame whose window is 2 GiB": { bytes: build(member(2 ** 24, 21 << 3)), code: "CORRUPT" },
		"16 MiB in 600 bytes": { bytes: build(member(2 ** 24)), code: "CORRUPT" },
	};
}
