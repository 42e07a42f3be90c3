/** The package's entry: all that works in browsers, Node and elsewhere. node/index.js adds what needs Node. */

export { openQstore } from "./web.js";
export { Archive } from "./archive.js";
export { ArchiveBytes, ArchiveFile, ArchiveTensor } from "./contents.js";
export { fileBlob, fileResponse } from "./adapters/blob.js";
export { CachedSource } from "./cache/cached-source.js";
export { opfsStore } from "./cache/opfs.js";
export { decodeJob, localCodec } from "./codec.js";
export { Decoder } from "./decoder.js";
export { DTYPES } from "./dtypes.js";
export { QstoreError } from "./error.js";
export { HttpError, HttpSource, SourceChangedError, httpSource } from "./http/source.js";
export { Index, readIndex } from "./archive-index.js";
export * as plan from "./plan.js";
export { safetensorsHeader } from "./safetensors.js";
export { blobSource, bytesSource } from "./source.js";
export { MESSAGES, STATUS } from "./status.js";
export { TensorData } from "./tensor-data.js";
export { compileWasm, createDecoder, hasSimd } from "./wasm.js";
export { WorkerPool } from "./workers/pool.js";
