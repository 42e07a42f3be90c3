// Made from native/src/core/facts.h by scripts/generate-js; do not edit.

/** Kinds of objects. */
export const KIND = Object.freeze({ PLAIN: 0, CODES: 1, REFINE: 2, DELTA: 3, LAYOUT: 4, BASE: 5 });

/** Kinds of objects by their numbers: the name that users are told, and whether they have chunks of their own. */
export const KINDS = /** @type {const} */ ([
	{ name: "plain", hasChunks: true },
	{ name: "codes", hasChunks: true },
	{ name: "refine", hasChunks: true },
	{ name: "delta", hasChunks: true },
	{ name: "codes", hasChunks: false },
	{ name: "base", hasChunks: false },
]);

/** Kinds of files. */
export const FILE = Object.freeze({ STORED: 0, ZSTD: 1, ASSEMBLED: 2, BASE: 3 });

/** The names of kinds of files that users are told, by their numbers. */
export const FILE_KINDS = /** @type {const} */ (["stored", "zstd", "assembled", "base"]);

/** How the bytes of a layout object are made: its rule. */
export const LAYOUT = Object.freeze({ BLOCKS: 1, PACKED: 2, TRANSPOSED: 3, INTERLEAVED: 4, INTERLEAVED_COLUMNS: 5, JOINED: 6 });

/**
 * Do a layout's words come column by column of the codes' matrix?
 * @param {number} layout
 */
export function isByColumns(layout) {
	return layout === LAYOUT.TRANSPOSED || layout === LAYOUT.INTERLEAVED_COLUMNS;
}

/** Types of elements by their numbers in the index: the name that safetensors or ggml gives them, bytes of an element, and elements and
 * bytes of a block. Types in blocks have the size 0, the others blocks of one element. */
export const DTYPES = Object.freeze([
	{ name: "bytes", size: 1, blockElems: 1, blockSize: 1 },
	{ name: "BOOL", size: 1, blockElems: 1, blockSize: 1 },
	{ name: "U8", size: 1, blockElems: 1, blockSize: 1 },
	{ name: "I8", size: 1, blockElems: 1, blockSize: 1 },
	{ name: "F8_E4M3", size: 1, blockElems: 1, blockSize: 1 },
	{ name: "F8_E5M2", size: 1, blockElems: 1, blockSize: 1 },
	{ name: "U16", size: 2, blockElems: 1, blockSize: 2 },
	{ name: "I16", size: 2, blockElems: 1, blockSize: 2 },
	{ name: "F16", size: 2, blockElems: 1, blockSize: 2 },
	{ name: "BF16", size: 2, blockElems: 1, blockSize: 2 },
	{ name: "U32", size: 4, blockElems: 1, blockSize: 4 },
	{ name: "I32", size: 4, blockElems: 1, blockSize: 4 },
	{ name: "F32", size: 4, blockElems: 1, blockSize: 4 },
	{ name: "U64", size: 8, blockElems: 1, blockSize: 8 },
	{ name: "I64", size: 8, blockElems: 1, blockSize: 8 },
	{ name: "F64", size: 8, blockElems: 1, blockSize: 8 },
	{ name: "C64", size: 8, blockElems: 1, blockSize: 8 },
	{ name: "F8_E8M0", size: 1, blockElems: 1, blockSize: 1 },
	{ name: "Q4_0", size: 0, blockElems: 32, blockSize: 18 },
	{ name: "Q4_1", size: 0, blockElems: 32, blockSize: 20 },
	{ name: "Q5_0", size: 0, blockElems: 32, blockSize: 22 },
	{ name: "Q5_1", size: 0, blockElems: 32, blockSize: 24 },
	{ name: "Q8_0", size: 0, blockElems: 32, blockSize: 34 },
	{ name: "Q8_1", size: 0, blockElems: 32, blockSize: 36 },
	{ name: "Q2_K", size: 0, blockElems: 256, blockSize: 84 },
	{ name: "Q3_K", size: 0, blockElems: 256, blockSize: 110 },
	{ name: "Q4_K", size: 0, blockElems: 256, blockSize: 144 },
	{ name: "Q5_K", size: 0, blockElems: 256, blockSize: 176 },
	{ name: "Q6_K", size: 0, blockElems: 256, blockSize: 210 },
	{ name: "Q8_K", size: 0, blockElems: 256, blockSize: 292 },
	{ name: "IQ2_XXS", size: 0, blockElems: 256, blockSize: 66 },
	{ name: "IQ2_XS", size: 0, blockElems: 256, blockSize: 74 },
	{ name: "IQ3_XXS", size: 0, blockElems: 256, blockSize: 98 },
	{ name: "IQ1_S", size: 0, blockElems: 256, blockSize: 50 },
	{ name: "IQ4_NL", size: 0, blockElems: 32, blockSize: 18 },
	{ name: "IQ3_S", size: 0, blockElems: 256, blockSize: 110 },
	{ name: "IQ2_S", size: 0, blockElems: 256, blockSize: 82 },
	{ name: "IQ4_XS", size: 0, blockElems: 256, blockSize: 136 },
	{ name: "IQ1_M", size: 0, blockElems: 256, blockSize: 56 },
	{ name: "TQ1_0", size: 0, blockElems: 256, blockSize: 54 },
	{ name: "TQ2_0", size: 0, blockElems: 256, blockSize: 66 },
	{ name: "MXFP4", size: 0, blockElems: 32, blockSize: 17 },
	{ name: "U4", size: 0, blockElems: 2, blockSize: 1 },
	{ name: "I4", size: 0, blockElems: 2, blockSize: 1 },
]);

/**
 * @typedef {object} Rule
 * @property {string} name
 * @property {number} recordSize bytes of a record of scales; 0 when scales are floats
 * @property {number} recordScales scales of a record, else 1
 * @property {boolean} hasAbsmax whether a scale is the greatest magnitude of its group; else it is the distance of codes
 */

/** The rules that codes were made by (FORMAT.md, 3.4), by their numbers in the index.
 * @type {readonly Rule[]} */
export const RULES = Object.freeze([
	{ name: "none", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "llm.int8", recordSize: 0, recordScales: 1, hasAbsmax: true },
	{ name: "multiply", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "divide", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "divide-half", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "q8_0", recordSize: 0, recordScales: 1, hasAbsmax: true },
	{ name: "q8_0 (stored d)", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "q4_0", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "q5_0", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "q4_1", recordSize: 4, recordScales: 1, hasAbsmax: false },
	{ name: "q5_1", recordSize: 4, recordScales: 1, hasAbsmax: false },
	{ name: "q4_k", recordSize: 16, recordScales: 8, hasAbsmax: false },
	{ name: "q5_k", recordSize: 16, recordScales: 8, hasAbsmax: false },
	{ name: "q6_k", recordSize: 18, recordScales: 16, hasAbsmax: false },
	{ name: "add-half", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "add-half-4", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "add", recordSize: 0, recordScales: 1, hasAbsmax: false },
	{ name: "add-4", recordSize: 0, recordScales: 1, hasAbsmax: false },
]);
