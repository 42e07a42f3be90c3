/** Finds the file that somebody asks for by its name alone. */

/** @typedef {import("./archive.js").Archive} Archive */

/**
 * The file with a name: that of the preferred precision, else that of the finest precision that has such a file; undefined if none has.
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
