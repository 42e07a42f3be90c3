/** The rules that codes were made by (FORMAT.md §3.4), and layouts (§2.3), by their numbers in the index. */

/** How the bytes of a layout object are made: its rule. */
export const LAYOUT = Object.freeze({ BLOCKS: 1, PACKED: 2, TRANSPOSED: 3, INTERLEAVED: 4, INTERLEAVED_COLUMNS: 5 });

/**
 * @typedef {object} Rule
 * @property {string} name
 * @property {number} recordSize bytes of a record of scales; 0 when scales are floats
 * @property {number} recordScales scales in a record, else 1
 */

/** The rule whose scales are the blocks' absolute maxima, of which their d is made. */
export const RULE_Q8_0 = 5;

/** @type {readonly Rule[]} */
export const RULES = Object.freeze([
	{ name: "none", recordSize: 0, recordScales: 1 },
	{ name: "llm.int8", recordSize: 0, recordScales: 1 },
	{ name: "multiply", recordSize: 0, recordScales: 1 },
	{ name: "divide", recordSize: 0, recordScales: 1 },
	{ name: "divide-half", recordSize: 0, recordScales: 1 },
	{ name: "q8_0", recordSize: 0, recordScales: 1 },
	{ name: "q8_0 (stored d)", recordSize: 0, recordScales: 1 },
	{ name: "q4_0", recordSize: 0, recordScales: 1 },
	{ name: "q5_0", recordSize: 0, recordScales: 1 },
	{ name: "q4_1", recordSize: 4, recordScales: 1 },
	{ name: "q5_1", recordSize: 4, recordScales: 1 },
	{ name: "q4_k", recordSize: 16, recordScales: 8 },
	{ name: "q5_k", recordSize: 16, recordScales: 8 },
	{ name: "q6_k", recordSize: 18, recordScales: 16 },
	{ name: "add-half", recordSize: 0, recordScales: 1 },
	{ name: "add-half-4", recordSize: 0, recordScales: 1 },
	{ name: "add", recordSize: 0, recordScales: 1 },
	{ name: "add-4", recordSize: 0, recordScales: 1 },
]);

/**
 * Are words those of the first columns of all rows, then of the next ones?
 * @param {number} rule of a layout
 */
export function isByColumns(rule) {
	return rule === LAYOUT.TRANSPOSED || rule === LAYOUT.INTERLEAVED_COLUMNS;
}

/**
 * Layouts by columns: how many words are of the same columns, and the bytes that these columns have in a row of the codes.
 * @param {number} rule
 * @param {number} rows
 * @param {number} bits of a code, or of a float
 */
export function lineOf(rule, rows, bits) {
	if (rule === LAYOUT.INTERLEAVED_COLUMNS)
		return { words: rows * bits / 32, size: 1 };
	return { words: rows, size: bits > 8 ? bits / 8 : 32 / bits };
}
