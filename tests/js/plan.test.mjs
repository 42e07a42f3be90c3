// Planning: pure functions of the index.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readIndex } from "../../js/archive-index.js";
import { chunkNumber, coalesce, describeChunk, findVariant, planChunk, planChunks, planFile, planRanges, planTensor, planVariant } from "../../js/plan.js";
import { bytesSource } from "../../js/source.js";
import { createDecoder } from "../../js/wasm.js";
import { buildArchive, pairParts } from "./helpers/archive.mjs";

const decoder = await createDecoder();
const parts = pairParts();
const archive = buildArchive(decoder, parts);
const { index } = await readIndex(bytesSource(archive), decoder);
const LOW = 2, HIGH = 3;

/** The bytes of pieces, from the objects' known contents. */
function join(pieces) {
	return Buffer.concat([...pieces].map(({ object, chunk, skip, size }) => {
		const { data, chunkElems } = parts.objects[object], at = chunk * chunkElems * index.object(object).chunkBytes / index.object(object).chunkElems + skip;
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
	assert.deepEqual([object.kind, object.rule, object.coarse, object.scales, object.error, object.elems, object.cols], [2, 1, 1, 2, 0.25, 30, 5]);
	assert.equal(object.size, 60);
	for (let i = 0; i < index.chunkCount; i++) {
		const coded = archive.subarray(index.chunkOffset(i), index.chunkOffset(i) + index.chunkSize(i));
		assert.equal(decoder.xxh3(coded), index.checksum(i));
	}
});

test("every range of a file is the right pieces", () => {
	for (const file of [LOW, HIGH]) {
		const { content } = parts.files[file];
		for (let start = 0; start <= content.length; start++) {
			for (let end = start; end <= content.length; end++)
				assert.deepEqual(join(planFile(index, file, start, end)), Buffer.from(content.subarray(start, end)), `${file} ${start} ${end}`);
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

test("a refine chunk needs its codes and its rows' scales", () => {
	// Rows 2 and 3 of chunk 1 have scales in both chunks of the scales object… of 4 elements each: rows 0–3, 4–5.
	assert.deepEqual(planChunk(index, 5, 1), { coarse: { object: 1, chunk: 1 }, scales: [{ object: 2, chunk: 0 }], firstRow: 2, rows: 2 });
	assert.deepEqual(planChunk(index, 5, 2), { coarse: { object: 1, chunk: 2 }, scales: [{ object: 2, chunk: 1 }], firstRow: 4, rows: 2 });
	assert.deepEqual(planChunk(index, 1, 2), { scales: [], firstRow: 0, rows: 0 });
	const wide = [...planTensor(index, 6)];
	assert.deepEqual(planChunks(index, wide), [
		...[0, 1, 2].map((chunk) => chunkNumber(index, { object: 1, chunk })),
		...[0, 1].map((chunk) => chunkNumber(index, { object: 2, chunk })),
		...[0, 1, 2].map((chunk) => chunkNumber(index, { object: 5, chunk })),
	]);
});

test("chunks smaller than a row, and scales that cross chunks", async () => {
	const odd = pairParts({ rows: 9, cols: 4, rowsInChunk: 3 });
	odd.objects[1].chunkElems = odd.objects[5].chunkElems = 3;
	const { index: cut } = await readIndex(bytesSource(buildArchive(decoder, odd)), decoder);
	assert.deepEqual(planChunk(cut, 5, 1), { coarse: { object: 1, chunk: 1 }, scales: [{ object: 2, chunk: 0 }], firstRow: 0, rows: 2 });
	assert.deepEqual(planChunk(cut, 5, 5).scales, [{ object: 2, chunk: 0 }, { object: 2, chunk: 1 }]);
	assert.deepEqual(planChunk(cut, 5, 11), { coarse: { object: 1, chunk: 11 }, scales: [{ object: 2, chunk: 2 }], firstRow: 8, rows: 1 });
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
	assert.ok(all.every((range) => range.offset + range.size <= index.payloadOffset + offset || range.offset >= index.payloadOffset + offset + codedSize));
	assert.deepEqual(planRanges(index, planTensor(index, 0), { gap: 0 }).length, 1);
});

test("chunks are described by what a person knows", () => {
	assert.equal(describeChunk(index, { object: 5, chunk: 1 }), "tensor w: chunk 2 of 3");
	assert.equal(describeChunk(index, { object: 4, chunk: 3 }), "file sub/model.high: chunk 4 of 4 of the bytes outside its tensors");
});

test("variants by name, low and high", () => {
	assert.deepEqual(["int8", "bf16", "low", "high", "fp16", ""].map((name) => findVariant(index, name)), [0, 1, 0, 1, undefined, undefined]);
});
