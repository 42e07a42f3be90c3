// A writer of small archives, straight from native/FORMAT.md §1 and §2, with chunks in raw mode: tests of the reader can make what
// the packer would never write.
import { createHash } from "node:crypto";
import { DTYPES } from "../../../js/format/facts.js";

const NONE = 0xffffffff;
const RECORD = { variant: 64, file: 80, extent: 24, tensor: 40, object: 96 };

export const dtype = (name) => DTYPES.findIndex((entry) => entry.name === name);
export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Bytes that are the same in every run, and look like noise. */
export function noise(size, seed = 1) {
	const bytes = new Uint8Array(size);
	let state = seed * 2654435761 >>> 0;
	for (let i = 0; i < size; i++) {
		state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x9e3779b9 >>> 0;
		bytes[i] = state >>> 11;
	}
	return bytes;
}

/** One zstd frame with the bytes as they are: no compressor is needed. */
export function zstdFrame(bytes) {
	const parts = [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0), new Uint8Array(new Uint32Array([bytes.length]).buffer)];
	for (let at = 0; at < bytes.length || at === 0; at += 1 << 16) {
		const block = bytes.subarray(at, at + (1 << 16));
		const header = block.length << 3 | (at + block.length === bytes.length ? 1 : 0);
		parts.push(Uint8Array.of(header & 255, header >> 8 & 255, header >> 16), block);
	}
	return Buffer.concat(parts);
}

function tarHeader(name, size) {
	const block = Buffer.alloc(512);
	block.write(name, 0);
	block.write("0000644\0", 100);
	block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
	block.write("        0ustar\x0000", 148);
	const sum = block.reduce((total, byte) => total + byte, 0);
	block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
	return block;
}

const pad = (size) => (512 - size % 512) % 512;

/**
 * An archive's bytes.
 * variants: { name, dtype, coarser? }; objects, in order of their layers: { kind, dtype, variant, data, cols, chunkElems, coarse, and of
 * codes
 * rule, scales, zeroPoints, order, group, rowStride, groupStride };
 * files: { name, variants (mask), data (a member), raw (size when it is one zstd frame) or extents: [object, offset, size][], tensors:
 * { name, dtype, shape, offset, object }[], content }.
 * Instead of `data`, an object may have elems, chunkElems, cols, chunks (coded) and parts (decoded).
 * change(view, at): may spoil the index's body before it is sealed; at has the arrays' places.
 * compress: store the body's columns as a zstd frame.
 */
export function buildArchive(decoder, { variants, objects, files, change, compress }) {
	const strings = [];
	let stringsSize = 0;
	const string = (text) => {
		const bytes = Buffer.from(`${text}\0`), at = stringsSize;
		strings.push(bytes);
		stringsSize += bytes.length;
		return at;
	};
	const sorted = files.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
	const extents = sorted.flatMap((file) => file.extents ?? []);
	const tensors = sorted.flatMap((file, i) => (file.tensors ?? []).map((tensor) => ({ ...tensor, file: i })));
	const dims = tensors.flatMap((tensor) => tensor.shape);

	// The payload: members, then layers.
	const payload = [];
	let at = 0;
	const push = (bytes) => {
		payload.push(bytes);
		at += bytes.length;
	};
	const member = (name, data) => {
		push(tarHeader(name, data.length));
		const offset = at;
		push(data);
		push(Buffer.alloc(pad(data.length)));
		return offset;
	};
	for (const file of sorted) {
		if (!file.extents)
			file.offset = member(file.raw === undefined ? file.name : `${file.name}.zst`, file.data);
	}
	const chunks = [], parts = [];
	for (const object of objects) {
		const elemSize = DTYPES[dtype(object.dtype)].size;
		object.firstChunk = chunks.length;
		object.firstPart = parts.length;
		if (object.data === undefined) {
			// Its parts, and its coded chunks, are given, however many bytes they decode to.
			object.chunks ??= [];
			for (const chunk of object.chunks)
				chunks.push(chunk);
			for (const part of object.parts)
				parts.push(part);
			object.codedSize = object.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
			continue;
		}
		object.elems = object.data.length / elemSize;
		object.cols ??= Math.max(object.elems, 1);
		object.chunkElems ??= Math.min(2 ** 18, 2 ** 20 / elemSize);
		object.chunks = [];
		for (let i = 0; i < object.data.length; i += object.chunkElems * elemSize) {
			const part = object.data.subarray(i, i + object.chunkElems * elemSize), coded = Buffer.concat([Buffer.of(0), part]);
			parts.push(part);
			object.chunks.push(coded);
			chunks.push(coded);
		}
		object.codedSize = object.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
	}
	variants.forEach((variant, v) => {
		const layer = Buffer.concat(objects.filter((object) => object.variant === v).flatMap((object) => object.chunks));
		variant.layerOffset = member(`qstore/layer-${variant.name}`, layer);
		variant.layerSize = layer.length;
		let offset = variant.layerOffset;
		for (const object of objects.filter((each) => each.variant === v)) {
			object.offset = offset;
			offset += object.codedSize;
		}
		variant.size = sorted.reduce((sum, file) => sum + (file.variants >> v & 1 ? sizeOf(file) : 0), 0);
	});
	push(Buffer.alloc(1024));

	// The body.
	const names = new Map();
	for (const { name } of [...variants, ...sorted, ...tensors]) {
		if (!names.has(name))
			names.set(name, string(name));
	}
	if (stringsSize === 0)
		string("");
	const seals = sealsOf(objects);
	// Equal chunks and parts may be the same bytes many times.
	const known = new Map();
	const checksum = (bytes) => {
		if (!known.has(bytes))
			known.set(bytes, decoder.xxh3(bytes));
		return known.get(bytes);
	};
	const counts = [variants.length, sorted.length, extents.length, tensors.length, objects.length, chunks.length, dims.length,
		stringsSize];
	const places = {}, sizes = [["variants", RECORD.variant * counts[0]], ["files", RECORD.file * counts[1]],
		["extents", RECORD.extent * counts[2]],
		["tensors", RECORD.tensor * counts[3]], ["objects", RECORD.object * counts[4]], ["parts", 8 * parts.length],
		["seals", 16 * seals.length],
		["checksums", 4 * counts[5]], ["sizes", 4 * counts[5]], ["dims", 8 * counts[6]], ["strings", stringsSize]];
	let end = 64;
	for (const [name, size] of sizes) {
		places[name] = end;
		end += size;
	}
	const body = new Uint8Array(end), view = new DataView(body.buffer);
	const u32 = (place, value) => view.setUint32(place, value, true);
	const u64 = (place, value) => view.setBigUint64(place, BigInt(value), true);
	[...counts, parts.length, seals.length].forEach((count, i) => u32(4 * i, count));
	variants.forEach((variant, i) => {
		const p = places.variants + RECORD.variant * i;
		u32(p, names.get(variant.name));
		u32(p + 4, dtype(variant.dtype));
		u32(p + 8, variant.coarser ?? NONE);
		u64(p + 16, variant.layerOffset);
		u64(p + 24, variant.layerSize);
		u64(p + 32, variant.size);
	});
	let extent = 0;
	sorted.forEach((file, i) => {
		const p = places.files + RECORD.file * i;
		u32(p, names.get(file.name));
		u32(p + 4, file.variants);
		u64(p + 8, sizeOf(file));
		body.set(Buffer.from(file.sha256 ?? sha256(file.content ?? file.data), "hex"), p + 16);
		u32(p + 48, file.extents ? 2 : file.raw === undefined ? 0 : 1);
		if (file.extents) {
			u32(p + 52, extent);
			u32(p + 56, file.extents.length);
			extent += file.extents.length;
		} else {
			u64(p + 64, file.offset);
			u64(p + 72, file.data.length);
		}
	});
	extents.forEach(([object, offset, size], i) => {
		const p = places.extents + RECORD.extent * i;
		u32(p, object);
		u64(p + 8, offset);
		u64(p + 16, size);
	});
	let dim = 0;
	tensors.forEach((tensor, i) => {
		const p = places.tensors + RECORD.tensor * i;
		u32(p, names.get(tensor.name));
		u32(p + 4, tensor.file);
		u64(p + 8, tensor.offset);
		u64(p + 16, tensor.shape.reduce((a, b) => a * b, DTYPES[dtype(tensor.dtype)].size));
		u32(p + 24, dtype(tensor.dtype));
		u32(p + 28, dim);
		u32(p + 32, tensor.shape.length);
		u32(p + 36, tensor.object ?? NONE);
		dim += tensor.shape.length;
	});
	objects.forEach((object, i) => {
		const p = places.objects + RECORD.object * i;
		body[p] = object.kind;
		body[p + 1] = dtype(object.dtype);
		body[p + 2] = object.variant;
		body[p + 3] = object.rule ?? 0;
		u32(p + 4, object.coarse ?? NONE);
		u32(p + 8, object.scales ?? NONE);
		view.setFloat32(p + 12, object.error ?? 0, true);
		u64(p + 16, object.elems);
		u64(p + 24, object.cols);
		u32(p + 32, object.chunkElems);
		u32(p + 36, object.firstChunk);
		u32(p + 40, object.chunks.length);
		u32(p + 44, object.zeroPoints ?? NONE);
		u64(p + 48, object.offset);
		u64(p + 56, object.codedSize);
		u32(p + 64, object.order ?? NONE);
		u32(p + 68, object.group ?? 0);
		u64(p + 72, object.rowStride ?? 0);
		u64(p + 80, object.groupStride ?? 0);
		u32(p + 92, object.firstPart);
	});
	chunks.forEach((chunk, i) => {
		u32(places.checksums + 4 * i, Number(BigInt.asUintN(32, checksum(chunk))));
		u32(places.sizes + 4 * i, chunk.length);
	});
	parts.forEach((part, i) => u64(places.parts + 8 * i, checksum(part)));
	seals.forEach((seal, i) => body.set(seal, places.seals + 16 * i));
	dims.forEach((size, i) => u64(places.dims + 8 * i, size));
	body.set(Buffer.concat(strings), places.strings);
	change?.(view, places);

	const coded = compress ? runsFrame([columnsOf(body)]) : body;
	return withIndex(decoder, { coded, bodySize: body.length, isFrame: compress, payload: Buffer.concat(payload) });
}

/** An archive with this index, right or not. */
export function withIndex(decoder, { coded, bodySize, isFrame, payload }) {
	const header = new Uint8Array(64), headerView = new DataView(header.buffer);
	header.set([0x89, ...Buffer.from("QSTORE\n")]);
	headerView.setUint16(8, 1, true);
	headerView.setUint32(12, isFrame ? 1 : 0, true);
	headerView.setUint32(48, 3, true);
	headerView.setBigUint64(16, BigInt(coded.length), true);
	headerView.setBigUint64(24, BigInt(bodySize), true);
	headerView.setBigUint64(32, decoder.xxh3(coded), true);
	headerView.setBigUint64(40, BigInt(payload.length), true);
	headerView.setBigUint64(56, decoder.xxh3(header.subarray(0, 56)), true);
	const size = header.length + coded.length;
	return new Uint8Array(Buffer.concat([tarHeader("qstore/index", size), header, coded, Buffer.alloc(pad(size)), payload]));
}

/** The columns of a body (FORMAT.md, 2.2). */
function columnsOf(body) {
	const view = new DataView(body.buffer), columns = new Uint8Array(body.length), count = (i) => view.getUint32(4 * i, true);
	const arrays = [[0, 64, []], [1, 80, [0, 52]], [2, 24, [0]], [3, 40, [0, 8, 28, 36]], [4, 96, [4, 8, 36, 48, 92]], [8, 8], [9, 16],
		[5, 4], [5, 4, []], [6, 8, []], [7, 1]];
	columns.set(body.subarray(0, 64));
	let start = 64;
	for (const [number, size, rising] of arrays) {
		const n = count(number), records = body.slice(start, start + n * size), fields = new DataView(records.buffer);
		for (const at of rising ?? [])
			for (let i = n - 1; i > 0; i--)
				fields.setUint32(i * size + at, fields.getUint32(i * size + at, true) - fields.getUint32((i - 1) * size + at, true), true);
		for (let i = 0; i < n * size; i++)
			columns[start + (rising ? i % size * n + Math.floor(i / size) : i)] = records[i];
		start += n * size;
	}
	return columns;
}

/** A zstd frame of bytes whose long runs of equal bytes take four bytes for each 128 KiB. Blocks: Uint8Array, or [byte, count]. */
export function runsFrame(blocks, { windowByte = 0x48 } = {}) {
	const out = [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x00, windowByte)], most = 1 << 17;
	const block = (type, size, bytes) => out.push(Uint8Array.of(size << 3 & 255 | type << 1, size >> 5 & 255, size >> 13 & 255), bytes);
	const run = (byte, count) => {
		for (let left = count; left > 0; left -= most)
			block(1, Math.min(left, most), Uint8Array.of(byte));
	};
	for (const each of blocks) {
		if (Array.isArray(each)) {
			run(...each);
			continue;
		}
		for (let at = 0, from = 0; from < each.length; at = from) {
			const raw = () => {
				for (; from < at; from += most)
					block(0, Math.min(at - from, most), each.subarray(from, Math.min(at, from + most)));
				from = at;
			};
			for (let end = at; at < each.length; at = end) {
				while (end < each.length && each[end] === each[at])
					end++;
				if (end - at < 64)
					continue;
				raw();
				run(each[at], end - at);
				from = end;
			}
			raw();
		}
	}
	block(0, 0, new Uint8Array(0));
	out[out.length - 2][0] |= 1; // the last block
	return Buffer.concat(out);
}

/** The first 16 bytes of the SHA-256 of each stretch of chunks: a stretch ends with its layer, or with the chunk that brings it to 163,840 bytes. */
function sealsOf(objects) {
	const seals = [];
	let stretch = [], size = 0, layer;
	const end = () => {
		if (size > 0)
			seals.push(createHash("sha256").update(Buffer.concat(stretch)).digest().subarray(0, 16));
		stretch = [];
		size = 0;
	};
	for (const { variant, chunks } of objects) {
		if (variant !== layer)
			end();
		layer = variant;
		for (const chunk of chunks) {
			stretch.push(chunk);
			size += chunk.length;
			if (size >= 163840)
				end();
		}
	}
	end();
	return seals;
}

const sizeOf = (file) => file.size ?? (file.extents ? file.content.length : file.raw ?? file.data.length);

/** bytes of 32-bit floats */
const f32 = (...values) => new Uint8Array(Float32Array.from(values).buffer);

/**
 * A pair in small: int8 with one matrix of codes and its scales, bf16 with the same matrix refined, a tensor that both have, tensors that
 * are too small for objects. Chunks are tiny, so that everything crosses their borders. Gives the archive's parts and what its files
 * should contain.
 */
export function pairParts({ rows = 6, cols = 5, rowsInChunk = 2 } = {}) {
	const n = rows * cols, chunkElems = rowsInChunk * cols;
	const codes = noise(n, 2), fine = noise(2 * n, 3), shared = noise(14, 4);
	const scales = f32(...Array.from({ length: rows }, (_, i) => i + 1));
	const lowLiteral = noise(23, 5), highLiteral = noise(31, 6);
	const objects = [
		{ kind: 0, dtype: "bytes", variant: 0, data: lowLiteral, chunkElems: 9 },
		{ kind: 0, dtype: "F32", variant: 0, data: scales, chunkElems: 4 },
		{ kind: 1, dtype: "I8", variant: 0, data: codes, cols, chunkElems, rule: 1, scales: 1, group: cols, rowStride: 1 },
		{ kind: 0, dtype: "BF16", variant: 0, data: shared, chunkElems: 4 },
		{ kind: 0, dtype: "bytes", variant: 1, data: highLiteral, chunkElems: 8 },
		{ kind: 2, dtype: "BF16", variant: 1, data: fine, cols, chunkElems, coarse: 2, error: 0.25 },
	];
	const join = (extents) => new Uint8Array(Buffer.concat(extents.map(([object, offset, size]) =>
		objects[object].data.subarray(offset, offset + size))));
	const low = [[0, 0, 11], [2, 0, n], [0, 11, 4], [1, 0, 4 * rows], [0, 15, 6], [3, 0, 14], [0, 21, 2]];
	const high = [[4, 0, 20], [3, 0, 14], [4, 20, 11], [5, 0, 2 * n]];
	const config = new TextEncoder().encode('{"a": 1}\n');
	return {
		variants: [{ name: "int8", dtype: "I8" }, { name: "bf16", dtype: "BF16", coarser: 0 }],
		objects,
		files: [
			{ name: "config.json", variants: 3, data: config },
			{ name: "empty.txt", variants: 1, data: new Uint8Array(0) },
			{ name: "model.low", variants: 1, extents: low, content: join(low), tensors: [
				{ name: "w", dtype: "I8", shape: [rows, cols], offset: 11, object: 2 },
				{ name: "w.scale", dtype: "F32", shape: [rows], offset: 15 + n, object: 1 },
				{ name: "tiny", dtype: "U8", shape: [3], offset: 16 + n + 4 * rows },
				{ name: "norm", dtype: "BF16", shape: [7], offset: 21 + n + 4 * rows, object: 3 },
			] },
			{ name: "sub/model.high", variants: 2, extents: high, content: join(high), tensors: [
				{ name: "norm", dtype: "BF16", shape: [7], offset: 20, object: 3 },
				{ name: "none", dtype: "F32", shape: [0, 2], offset: 36 },
				{ name: "w", dtype: "BF16", shape: [rows, cols], offset: 45, object: 5 },
			] },
		],
	};
}
