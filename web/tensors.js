/** An archive's tensors, each with all its precisions. */

/** @typedef {import("./qstore/js/archive/archive.js").Archive} Archive */
/** @typedef {import("./qstore/js/archive/archive.js").TensorInfo} TensorInfo */

/**
 * @typedef {object} Part a tensor at one precision
 * @property {number} layer the precision's number
 * @property {number} coded bytes that it adds to the archive
 * @property {TensorInfo} info
 * @property {string} precision
 */

/**
 * @typedef {object} Tensor
 * @property {string} name
 * @property {number[]} shape
 * @property {number} elems
 * @property {number} coded bytes of all its precisions
 * @property {string} rule by which its coarser versions were made of the finer ones
 * @property {Part[]} parts that take bytes, coarse to fine
 * @property {Part[]} all also those that are the same as a coarser one
 */

/**
 * @param {Archive} archive
 * @returns {Tensor[]} in the archive's order of the coarsest precision
 */
export function tensorsOf(archive) {
	/** @type {Map<string, Tensor>} */
	const tensors = new Map();
	archive.variants.forEach(({ name: precision }, layer) => {
		for (const info of archive.tensorList) {
			if (!info.variants.includes(precision))
				continue;
			const { name, shape } = info, coded = info.shared || info.variants[0] !== precision ? 0 : info.codedSize;
			const elems = shape.reduce((a, b) => a * b, 1);
			const tensor = tensors.get(name) ?? { name, shape, elems, coded: 0, rule: "", parts: [], all: [] };
			tensors.set(name, tensor);
			const part = { layer, coded, info, precision };
			tensor.all.push(part);
			tensor.coded += coded;
			if (coded > 0)
				tensor.parts.push(part);
			const { rule } = /** @type {{ rule?: string }} */ (info);
			if (rule && !tensor.rule.split(", ").includes(rule))
				tensor.rule += `${tensor.rule ? ", " : ""}${rule}`;
		}
	});
	return [...tensors.values()];
}

/**
 * Bits that a part takes for each of its weights.
 * @param {Tensor} tensor
 * @param {number} coded
 */
export function bitsPerWeight({ elems }, coded) {
	return elems > 0 ? coded * 8 / elems : 0;
}
