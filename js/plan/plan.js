/** All of planning: which pieces, chunks, ranges and batches the wanted bytes take. Pure functions of the index: no I/O. */

export { findVariant, hasVariant, isInCoarserLayer } from "../format/variants.js";
export { planBatches, planReads } from "./batches.js";
export { describeChunk } from "./describe.js";
export { baseRange, chunkNumber, chunksOf, hasChunks, planChain, planChunk, planChunks, windowsOf } from "./needs.js";
export { planFile, planObject, planTensor, planTensors } from "./pieces.js";
export { chunkRange, coalesce, planRanges, planVariant } from "./ranges.js";
