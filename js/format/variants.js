/** Variants by name, and which files and tensors each of them has. */

import { NONE } from "./archive-index.js";

/** @typedef {import("./archive-index.js").Index} Index */

/**
 * The number of a variant by its name; "low" is the coarsest and "high" the finest one.
 * @param {Index} index
 * @param {string} name
 * @returns {number | undefined}
 */
export function findVariant(index, name) {
	for (let i = 0; i < index.variantCount; i++) {
		if (index.variant(i).name === name)
			return i;
	}
	return name === "low" ? 0 : name === "high" ? index.variantCount - 1 : undefined;
}

/**
 * @param {number} mask a file's variants: bit v is set when variant v has the file
 * @param {number} variant
 */
export function hasVariant(mask, variant) {
	return (mask >>> variant & 1) === 1;
}

/**
 * Does a coarser variant have the same content of a tensor? Then it is stored in that variant's layer, and nowhere else.
 * @param {Index} index
 * @param {import("./archive-index.js").TensorRecord} tensor
 */
export function isInCoarserLayer(index, tensor) {
	return tensor.object !== NONE && !hasVariant(index.fileVariants(tensor.file), index.objectVariant(tensor.object));
}
