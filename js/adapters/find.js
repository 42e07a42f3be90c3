/** How runtimes' file names are found in an archive. */

/** @typedef {import("../archive/archive.js").Archive} Archive */

/**
 * The file of a name: in the precision that is preferred where that has it, else in the finest that has; undefined when none has.
 * @param {Archive} archive
 * @param {string} name
 * @param {string} [precision] a variant's name, "low" or "high"
 */
export function findFile(archive, name, precision) {
	const having = new Set(archive.files.flatMap((file) => file.name === name ? file.variants : []));
	const preferred = archive.variant(precision).name;
	const found = having.has(preferred) ? preferred : archive.variants.findLast((variant) => having.has(variant.name))?.name;
	return found === undefined ? undefined : archive.file(name, { precision: found });
}
