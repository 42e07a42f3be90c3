// Planning: pure functions of the index.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openQstore } from "../../js/node/open.js";
import { readIndex } from "../../js/archive/read-index.js";
import { NONE } from "../../js/format/archive-index.js";
import { KIND } from "../../js/format/facts.js";
import { chunkNumber, chunkRange, coalesce, describeChunk, findVariant, planChain, planChunk, planChunks, planFile, planRanges, planTensor,
	planVariant } from "../../js/plan/plan.js";
import { bytesSource } from "../../js/source/source.js";
import { createDecoder } from "../../js/wasm/module.js";
import { buildArchive, noise, pairParts } from "./helpers/archive.mjs";

const decoder = await createDecoder();
const parts = pairParts();
const archive = buildArchive(decoder, parts);
const { index } = await readIndex(bytesSource(archive), decoder);
const LOW = 2, HIGH = 3;

/** The bytes of pieces, from the objects' known contents. */
function join(pieces) {
	return Buffer.concat([...pieces].map(({ object, chunk, skip, size }) => {
		const { data, chunkElems } = parts.objects[object], at =
			chunk * chunkElems * index.object(object).chunkBytes / index.object(object).chunkElems + skip;
		assert.ok(size > 0 && skip + size <= index.object(object).chunkBytes);
		return data.subarray(at, at + size);
	}));
}

test("the index gives what was written", () => {
	assert.deepEqual([index.variantCount, index.fileCount, index.tensorCount, index.objectCount], [2, 4, 7, 6]);
	assert.equal(index.archiveSize, archive.length);
	assert.deepEqual(index.tensor(6), { name: "w", file: HIGH, offset: 45, size: 60, dtype: 9, shape: [6, 5], object: 5 });
	assert.deepEqual(index.tensor(5).shape, [0, 2]);
	assert.equal(index.file(LOW).name, "model.low");
	const object = index.object(5);
	assert.deepEqual([object.kind, object.coarse, object.error, object.elems, object.cols], [2, 2, 0.25, 30, 5]);
	const codes = index.object(2);
	assert.deepEqual([codes.kind, codes.rule, codes.scales, codes.zeroPoints, codes.order, codes.group, codes.rowStride, codes.groupStride,
		codes.zeroOffset],
		[1, 1, 1, NONE, NONE, 5, 1, 0, 0]);
	assert.equal(object.size, 60);
	for (let i = 0; i < index.chunkCount; i++) {
		const coded = archive.subarray(index.chunkOffset(i), index.chunkOffset(i) + index.chunkSize(i));
		assert.equal(Number(BigInt.asUintN(32, decoder.xxh3(coded))), index.checksum(i));
	}
});

test("every range of a file is the right pieces", () => {
	for (const file of [LOW, HIGH]) {
		const { content } = parts.files[file];
		for (let start = 0; start <= content.length; start++) {
			for (let end = start; end <= content.length; end++)
				assert.deepEqual(join(planFile(index, file, start, end)), Buffer.from(content.subarray(start, end)),
					`${file} ${start} ${end}`);
		}
	}
});

test("a tensor is its own pieces, and nothing else", () => {
	for (let i = 0; i < index.tensorCount; i++) {
		const { file, offset, size, object } = index.tensor(i), pieces = [...planTensor(index, i)];
		assert.deepEqual(join(pieces), Buffer.from(parts.files[file].content.subarray(offset, offset + size)));
		if (object !== 0xffffffff)
			assert.ok(pieces.every((piece) => piece.object === object));
	}
});

/** The codes and scales that a chunk of the matrix needs. */
const refineNeeds = (chunk, chunks, first, count) => ({
	coarse: { object: 2, chunk },
	coarseGrid: { codes: 2, firstScale: first, scales: { object: 1, first, count, chunks }, zeroPoints: undefined, order: undefined,
		factors: undefined },
});

test("a refine chunk needs its codes and its rows' scales", () => {
	// Rows 2 and 3 of chunk 1 have scales in both chunks of the scales object… of 4 elements each: rows 0–3, 4–5.
	assert.deepEqual(planChunk(index, 5, 1), refineNeeds(1, [{ object: 1, chunk: 0 }], 2, 2));
	assert.deepEqual(planChunk(index, 5, 2), refineNeeds(2, [{ object: 1, chunk: 1 }], 4, 2));
	assert.deepEqual(planChunk(index, 2, 2), {});
	const wide = [...planTensor(index, 6)];
	assert.deepEqual(planChunks(index, wide), [
		...[0, 1].map((chunk) => chunkNumber(index, { object: 1, chunk })),
		...[0, 1, 2].map((chunk) => chunkNumber(index, { object: 2, chunk })),
		...[0, 1, 2].map((chunk) => chunkNumber(index, { object: 5, chunk })),
	]);
});

test("chunks smaller than a row, and scales that cross chunks", async () => {
	const odd = pairParts({ rows: 9, cols: 4, rowsInChunk: 3 });
	odd.objects[2].chunkElems = odd.objects[5].chunkElems = 3;
	const { index: cut } = await readIndex(bytesSource(buildArchive(decoder, odd)), decoder);
	assert.deepEqual(planChunk(cut, 5, 1), refineNeeds(1, [{ object: 1, chunk: 0 }], 0, 2));
	assert.deepEqual(planChunk(cut, 5, 5).coarseGrid.scales.chunks, [{ object: 1, chunk: 0 }, { object: 1, chunk: 1 }]);
	assert.deepEqual(planChunk(cut, 5, 11), refineNeeds(11, [{ object: 1, chunk: 2 }], 8, 1));
});

test("ranges are joined over gaps, up to a size, in order, each byte once", () => {
	const ranges = (...list) => list.map(([offset, end]) => ({ offset, size: end - offset }));
	assert.deepEqual(coalesce([], { gap: 5, max: 100 }), []);
	assert.deepEqual(coalesce(ranges([50, 60], [0, 10], [10, 20]), { gap: 0, max: 100 }), ranges([0, 20], [50, 60]));
	assert.deepEqual(coalesce(ranges([0, 10], [15, 20], [26, 30]), { gap: 5, max: 100 }), ranges([0, 20], [26, 30]));
	assert.deepEqual(coalesce(ranges([0, 60], [60, 100], [100, 101]), { gap: 5, max: 100 }), ranges([0, 100], [100, 101]));
	assert.deepEqual(coalesce(ranges([0, 500], [10, 20], [0, 5], [480, 500]), { gap: 0, max: 100 }), ranges([0, 500]));
});

test("the coarse variant needs nothing of the refinement", () => {
	const { layerOffset } = index.variant(1);
	const ranges = planVariant(index, 0, { gap: 1e9, max: Infinity });
	assert.ok(ranges.every(({ offset, size }) => offset + size <= index.payloadOffset + layerOffset));
	const all = planVariant(index, 1, { gap: 0 });
	assert.ok(all.some(({ offset }) => offset >= index.payloadOffset + layerOffset));
	// The literals of the coarse file are of no use to the fine one.
	const { offset, codedSize } = index.object(0);
	assert.ok(all.every((range) => range.offset + range.size <= index.payloadOffset + offset || range.offset >= index.payloadOffset +
		offset + codedSize));
	assert.deepEqual(planRanges(index, planTensor(index, 0), { gap: 0 }).length, 1);
});

test("chunks are described by what a person knows", () => {
	assert.equal(describeChunk(index, { object: 5, chunk: 1 }), "tensor w: chunk 2 of 3");
	assert.equal(describeChunk(index, { object: 4, chunk: 3 }), "file sub/model.high: chunk 4 of 4 of the bytes outside its tensors");
});

test("variants by name, low and high", () => {
	assert.deepEqual(["int8", "bf16", "low", "high", "fp16", ""].map((name) => findVariant(index, name)),
		[0, 1, 0, 1, undefined, undefined]);
});

// F32 as differences to a BF16 matrix, which refines codes with one FP16 scale for all rows.
const chain = pairParts();
chain.variants.push({ name: "fp32", dtype: "F32", coarser: 1 });
chain.objects[1] = { ...chain.objects[1], dtype: "F16", data: new Uint8Array(2) };
chain.objects[2] = { ...chain.objects[2], rowStride: 0 };
chain.objects.push({ kind: 3, dtype: "F32", variant: 2, data: noise(120, 7), cols: 5, chunkElems: 10, coarse: 5 });
chain.files[2].tensors[1] = { ...chain.files[2].tensors[1], dtype: "F16", shape: [1] };
chain.files[2].extents[3] = [1, 0, 2];
for (const tensor of chain.files[2].tensors.slice(2))
	tensor.offset -= 22;
chain.files[2].content = Buffer.concat(chain.files[2].extents.map(([object, at, size]) =>
	chain.objects[object].data.subarray(at, at + size)));
chain.files[0].variants = 7;
chain.files.push({ name: "sub/model.top", variants: 4, extents: [[6, 0, 120]], content: chain.objects[6].data,
	tensors: [{ name: "w", dtype: "F32", shape: [6, 5], offset: 0, object: 6 }] });

test("a chain needs its levels, one scale is of all rows", async () => {
	const { index: top } = await readIndex(bytesSource(buildArchive(decoder, chain)), decoder);
	assert.equal(top.object(6).kind, KIND.DELTA);
	assert.deepEqual(planChunk(top, 6, 1), { coarse: { object: 5, chunk: 1 } });
	assert.deepEqual(planChunk(top, 5, 2), refineNeeds(2, [{ object: 1, chunk: 0 }], 0, 1));
	assert.deepEqual(planChain(top, { object: 6, chunk: 2 }).map(({ id }) => [id.object, id.chunk]), [[6, 2], [5, 2], [2, 2]]);
	const tensor = top.tensorCount - 1, numbers = planChunks(top, planTensor(top, tensor));
	assert.deepEqual(numbers, [1, 2, 5, 6].flatMap((object) => Array.from({ length: top.object(object).chunkCount }, (_, chunk) =>
		chunkNumber(top, { object, chunk }))));
	for (const variant of [0, 1]) {
		const { layerOffset, layerSize } = top.variant(variant);
		assert.ok(planVariant(top, variant, { gap: 0 }).every(({ offset, size }) => offset + size <= top.payloadOffset + layerOffset +
			layerSize));
	}
});

test("a chain is read whole, and the level that is damaged is named", async () => {
	const bytes = buildArchive(decoder, chain), archive = await openQstore(bytes, { decoder });
	assert.deepEqual(archive.tensorList.filter(({ variants }) => variants.includes("fp32")).map(({ name, kind }) => [name, kind]),
		[["w", "delta"]]);
	const [file] = archive.filesOf({ precision: "fp32" }).filter(({ name }) => name === "sub/model.top");
	assert.deepEqual(Buffer.from(await file.read()), Buffer.from(chain.objects[6].data));
	// In an archive that was packed, a chunk that builds on others decodes wrongly when they do.
	const packed = readFileSync(new URL("../golden/good/chain.qstore", import.meta.url));
	const { index: top } = await readIndex(bytesSource(packed), decoder);
	const highest = Array.from({ length: top.objectCount }, (_, i) => i)
		.findLast((i) => planChain(top, { object: i, chunk: 0 }).length >= 3);
	const tensor = Array.from({ length: top.tensorCount }, (_, i) => top.tensor(i)).find(({ object }) => object === highest);
	for (const { id } of planChain(top, { object: highest, chunk: 0 })) {
		const bad = packed.slice(), { offset, size } = chunkRange(top, chunkNumber(top, id));
		bad[offset + size - 1] ^= 1;
		const broken = (await openQstore(bad, { decoder })).tensor(tensor.name, { precision: "high" });
		await assert.rejects(broken.read(), { code: "CORRUPT", message: `${describeChunk(top, id)} is damaged: its checksum differs` });
	}
});
