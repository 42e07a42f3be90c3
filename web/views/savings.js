/** Bytes: of the archive, of its files one by one, of the finest one alone. */

import { make } from "../dom.js";
import { percent, precisionName, size } from "../text.js";

/** @typedef {import("../qstore/js/archive/archive.js").Variant} Variant */

/**
 * @param {HTMLElement} place
 * @param {Variant[]} variants
 * @param {{ loaded: number, fetched: number }} now loaded: variants that are here; fetched: bytes that came over the network since the page
 *   was opened
 */
export function showSavings(place, variants, { loaded, fetched }) {
	const finest = variants[variants.length - 1];
	const archive = finest.prefixSize, apart = variants.reduce((sum, variant) => sum + variant.size, 0);
	const most = Math.max(archive, apart);
	const base = variants[0].prefixSize - variants[0].layerSize;
	const layers = variants.map(({ layerSize }, i) => ({ layer: i, bytes: layerSize + (i === 0 ? base : 0), here: i < loaded }));
	const rows = [
		chart("This archive", archive, most, layers),
		...variants.length > 1 ? [
			chart(`The ${variants.length} files, one by one`, apart, most,
				variants.map(({ size: bytes }, i) => ({ layer: i, bytes, here: true }))),
			chart(`${precisionName(finest)} file alone`, finest.size, most,
				[{ layer: variants.length - 1, bytes: finest.size, here: true }]),
		] : [],
	];
	const saved = (/** @type {number} */ bytes) => {
		const difference = Math.abs(bytes - archive);
		return `${size(difference)} (${percent(difference / bytes)}) ${bytes >= archive ? "smaller" : "larger"}`;
	};
	place.replaceChildren(make("dl", { className: "chart" }, ...rows.flat()),
		make("p", {}, variants.length === 1 ? `This archive is ${saved(apart)} than the file.` :
			`With all precisions, this archive is ${saved(apart)} than their files together, ` +
			`and ${saved(finest.size)} than the ${precisionName(finest)} file alone.`),
		make("p", { className: "note" }, `Since this page was opened, ${size(fetched)} of the archive were fetched.`));
}

/**
 * @param {string} label
 * @param {number} total
 * @param {number} most
 * @param {{ layer: number, bytes: number, here: boolean }[]} parts
 */
function chart(label, total, most, parts) {
	const bar = make("span", { className: "stack", ariaHidden: "true" });
	for (const { layer, bytes, here } of parts) {
		const part = make("span", { className: "layer", "data-layer": Math.min(layer, 3), "data-here": here });
		part.style.width = `${bytes / most * 100}%`;
		bar.append(part);
	}
	return [make("dt", {}, label), make("dd", {}, bar, make("span", { className: "figure" }, size(total)))];
}
