/** The package's entry: all that works in browsers, Node and elsewhere. node/index.js adds what needs Node. */

export { openArchive, Archive, ArchiveBytes, ArchiveFile, ArchiveTensor } from "./archive.js";
export { fileBlob, fileResponse } from "./adapters/blob.js";
export { decodeJob, localCodec } from "./codec.js";
export { DTYPES } from "./dtypes.js";
export { QstoreError } from "./error.js";
export { HttpError, HttpSource, SourceChangedError, httpSource } from "./http.js";
export { Index, readIndex } from "./archive-index.js";
export * as plan from "./plan.js";
export { safetensorsHeader } from "./safetensors.js";
export { blobSource, bytesSource } from "./source.js";
export { MESSAGES, STATUS } from "./status.js";
export { compileWasm, createDecoder, Decoder, hasSimd } from "./wasm.js";
