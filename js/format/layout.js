/** How the words of layouts that go by columns are made (FORMAT.md §2.3). */

import { LAYOUT } from "./facts.js";

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
