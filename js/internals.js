/**
 * "qstore-decode/internals": the machinery below the archive, for tests, tools and programs with a reader of their own. It changes with
 * any version.
 */

export { safetensorsHeader } from "./archive/safetensors.js";
export { ChunkError, decodeJob, localCodec } from "./decode/codec.js";
export { decodePieces } from "./decode/pieces.js";
export { WorkerPool } from "./decode/pool.js";
export { readIndex } from "./archive/read-index.js";
export { Index } from "./format/archive-index.js";
export { DTYPES } from "./format/facts.js";
export * as plan from "./plan/plan.js";
export { CachedSource } from "./source/cached-source.js";
export { HttpSource } from "./source/http/source.js";
export { MESSAGES } from "./status.js";
export { Decoder } from "./wasm/decoder.js";
export { compileWasm, createDecoder, hasSimd } from "./wasm/module.js";

/** @typedef {import("./decode/codec.js").Codec} Codec */
/** @typedef {import("./decode/codec.js").CodedChunk} CodedChunk */
/** @typedef {import("./decode/codec.js").Job} Job */
/** @typedef {import("./decode/pieces.js").Context} Context */
/** @typedef {import("./decode/pool.js").Handle} Handle */
/** @typedef {import("./decode/pool.js").PoolOptions} PoolOptions */
/** @typedef {import("./decode/pool.js").Spawn} Spawn */
/** @typedef {import("./plan/batches.js").Batch} Batch */
/** @typedef {import("./plan/needs.js").ChunkId} ChunkId */
/** @typedef {import("./plan/pieces.js").Piece} Piece */
/** @typedef {import("./plan/ranges.js").CoalesceOptions} CoalesceOptions */
/** @typedef {import("./plan/ranges.js").Range} Range */
/** @typedef {import("./wasm/decoder.js").ChunkDesc} ChunkDesc */
/** @typedef {import("./wasm/decoder.js").ChunkLevel} ChunkLevel */
/** @typedef {import("./wasm/decoder.js").Grid} Grid */
/** @typedef {import("./wasm/decoder.js").LayoutDesc} LayoutDesc */
