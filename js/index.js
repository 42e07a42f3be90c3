/** The package's entry for browsers and everywhere else; node/index.js is Node's. Machinery is in internals.js. */

export { ArchiveBytes, ArchiveFile, ArchiveTensor } from "./archive/contents.js";
export { Archive } from "./archive/archive.js";
export { TensorData } from "./archive/tensor-data.js";
export { fileBlob, fileResponse } from "./archive/blob.js";
export { createHandler } from "./browser/handler.js";
export { openQstore } from "./browser/open.js";
export { opfsStore } from "./browser/opfs.js";
export { QstoreError } from "./error.js";
export { HttpError, SourceChangedError, httpSource } from "./source/http/source.js";
export { blobSource, bytesSource } from "./source/source.js";
export { STATUS } from "./status.js";

/** @typedef {import("./archive/blob.js").BlobOptions} BlobOptions */
/** @typedef {import("./archive/blob.js").FileBlob} FileBlob */
/** @typedef {import("./archive/blob.js").RandomAccessFile} RandomAccessFile */
/** @typedef {import("./archive/blob.js").ResponseOptions} ResponseOptions */
/** @typedef {import("./archive/salvage.js").Salvaged} Salvaged */
/** @typedef {import("./archive/archive.js").FileInfo} FileInfo */
/** @typedef {import("./archive/archive.js").PrecisionOptions} PrecisionOptions */
/** @typedef {import("./archive/archive.js").TensorInfo} TensorInfo */
/** @typedef {import("./archive/archive.js").Variant} Variant */
/** @typedef {import("./archive/open.js").BaseInput} BaseInput */
/** @typedef {import("./archive/open.js").CacheOptions} CacheOptions */
/** @typedef {import("./archive/open.js").Limits} Limits */
/** @typedef {import("./archive/open.js").OpenOptions} OpenOptions */
/** @typedef {import("./archive/open.js").SourceInput} SourceInput */
/** @typedef {import("./archive/open.js").WorkerOptions} WorkerOptions */
/** @typedef {import("./archive/tensor-data.js").TypedArray} TypedArray */
/** @typedef {import("./archive/tensors.js").LoadOptions} LoadOptions */
/** @typedef {import("./archive/tensors.js").Progress} Progress */
/** @typedef {import("./archive/upgrade.js").UpgradeOptions} UpgradeOptions */
/** @typedef {import("./serve/handler.js").Handler} Handler */
/**
 * @template [Input=import("./archive/open.js").SourceInput]
 * @typedef {import("./serve/handler.js").HandlerOptions<Input>} HandlerOptions
 */
/**
 * @template [Input=import("./archive/open.js").SourceInput]
 * @typedef {import("./serve/handler.js").Route<Input>} Route
 */
/** @typedef {import("./source/cached-source.js").CachedSource} CachedSource */
/** @typedef {import("./source/cached-source.js").CacheFolder} CacheFolder */
/** @typedef {import("./source/cached-source.js").CacheStore} CacheStore */
/** @typedef {import("./source/http/source.js").HttpOptions} HttpOptions */
/** @typedef {import("./source/http/source.js").HttpSource} HttpSource */
/** @typedef {import("./source/source.js").ReadOptions} ReadOptions */
/** @typedef {import("./source/source.js").Source} Source */
/** @typedef {import("./status.js").StatusName} StatusName */
