/** The package's entry: all that works in browsers, Node and elsewhere. node/index.js adds what needs Node. */

export { openQstore } from "./browser/open.js";
export { Archive } from "./archive/archive.js";
export { ArchiveBytes, ArchiveFile, ArchiveTensor } from "./archive/contents.js";
export { fileBlob, fileResponse } from "./adapters/blob.js";
export { CachedSource } from "./source/cached-source.js";
export { opfsStore } from "./browser/opfs.js";
export { decodeJob, localCodec } from "./decode/codec.js";
export { Decoder } from "./wasm/decoder.js";
export { DTYPES } from "./format/dtypes.js";
export { QstoreError } from "./error.js";
export { HttpError, HttpSource, SourceChangedError, httpSource } from "./source/http/source.js";
export { Index, readIndex } from "./format/archive-index.js";
export * as plan from "./plan/plan.js";
export { safetensorsHeader } from "./archive/safetensors.js";
export { blobSource, bytesSource } from "./source/source.js";
export { MESSAGES, STATUS } from "./status.js";
export { TensorData } from "./archive/tensor-data.js";
export { compileWasm, createDecoder, hasSimd } from "./wasm/module.js";
export { WorkerPool } from "./decode/pool.js";
