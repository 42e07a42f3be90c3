/** The contents of an archive: a map and a table of its tensors, its files, and one tensor from near. */

import { bytesOf, codesOf, count, lowBits, placesInCells, valuesOf } from "../codes.js";
import { announce, byId, make } from "../dom.js";
import { explain } from "../errors.js";
import { bitsPerWeight, tensorsOf } from "../tensors.js";
import { plural, precisionName, size } from "../text.js";
import { histogram } from "./histogram.js";
import { Treemap, legend } from "./treemap.js";

/** @typedef {import("../qstore/js/archive/archive.js").Archive} Archive */
/** @typedef {import("../tensors.js").Tensor} Tensor */

/** Weights that a histogram is made of, at most: the tensor's first ones. A multiple of all blocks' sizes. */
const SAMPLE = 2 ** 18;
/** Bars of a histogram of places in cells. */
const PARTS = 32;

export class Inside {
	#treemap = new Treemap(byId("treemap"), (tensor) => void this.pick(tensor));
	/** @type {Archive | undefined} */
	#archive;
	/** How many precisions are here, coarse to fine. */
	#loaded = 0;
	/** @type {Tensor | undefined} */
	#picked;

	/** @param {Archive} archive */
	open(archive) {
		this.#archive = archive;
		this.#loaded = 0;
		this.#picked = undefined;
		const tensors = tensorsOf(archive), names = archive.variants.map(precisionName);
		const weights = tensors.reduce((sum, { elems }) => sum + elems, 0), coded = tensors.reduce((sum, tensor) => sum + tensor.coded, 0);
		byId("inside-note").replaceChildren(tensors.length === 0 ? "The index of this archive names no tensors." :
			`${plural(tensors.length, "tensor")} with ${plural(weights, "weight")}. Each weight takes ` +
			`${(coded * 8 / weights).toFixed(2)} bits ` +
			`at ${names.length === 1 ? "its precision" : `all ${names.length} precisions together`}. Areas show bytes in the archive.`,
			legend(names));
		this.#treemap.show(tensors);
		this.#table(tensors, names);
		this.#files(archive);
		byId("tensor").replaceChildren();
		const first = tensors.filter(({ parts }) => parts.length > 1).sort((a, b) => b.coded - a.coded)[0] ?? tensors[0];
		if (first)
			void this.pick(first);
	}

	/**
	 * More precisions are here: what can be shown of the picked tensor grows.
	 * @param {number} loaded
	 */
	update(loaded) {
		if (loaded > this.#loaded) {
			this.#loaded = loaded;
			if (this.#picked)
				void this.pick(this.#picked);
		}
	}

	/**
	 * @param {Tensor[]} tensors
	 * @param {string[]} names
	 */
	#table(tensors, names) {
		const heads = ["Tensor", "Shape", "Rule", ...names.map((name, i) => `${i === 0 ? "" : "+ "}${name}`), "Sum"];
		byId("tensors").replaceChildren(
			make("caption", {}, "Bits per weight in the archive, at each precision"),
			make("thead", {}, make("tr", {},
				...heads.map((text, i) => make("th", { scope: "col", className: i < 3 ? "" : "number" }, text)))),
			make("tbody", {}, ...tensors.map((tensor) => {
				const button = make("button", { type: "button", className: "link" }, tensor.name);
				button.addEventListener("click", () => {
					void this.pick(tensor).then(() => announce(`${tensor.name} is shown above the table, with ` +
						plural(byId("tensor").querySelectorAll("figure").length, "histogram")));
					byId("tensor").scrollIntoView({ block: "nearest" });
				});
				return make("tr", {},
					make("th", { scope: "row" }, button), make("td", {}, tensor.shape.join(" × ")), make("td", {}, tensor.rule || "–"),
					...names.map((_, layer) => {
						const part = tensor.all.find((each) => each.layer === layer);
						return make("td", { className: "figure" },
							!part ? "–" : part.info.shared ? "same" : bitsPerWeight(tensor, part.coded).toFixed(2));
					}), make("td", { className: "figure" }, bitsPerWeight(tensor, tensor.coded).toFixed(2)));
			})));
	}

	/** @param {Archive} archive */
	#files(archive) {
		byId("files").replaceChildren(
			make("thead", {}, make("tr", {},
				...["File", "Precisions", "Size", "SHA-256"].map((text) => make("th", { scope: "col" }, text)))),
			make("tbody", {}, ...archive.files.map(({ name, variants, size: bytes, sha256 }) => make("tr", {},
				make("th", { scope: "row" }, name), make("td", {}, variants.join(", ")),
				make("td", { className: "figure" }, size(bytes)), make("td", {}, make("code", {}, sha256))))));
	}

	/** @param {Tensor} tensor */
	async pick(tensor) {
		this.#picked = tensor;
		this.#treemap.pick(tensor.name);
		const archive = /** @type {Archive} */ (this.#archive), place = byId("tensor");
		const facts = tensor.all.map(({ precision, layer, coded, info }) => [
			make("dt", {}, `${layer === 0 ? "" : "+ "}${precision}`),
			make("dd", {}, info.shared ? "the same as in the coarser precision" :
				`${info.dtype}, ${size(coded)}, ${bitsPerWeight(tensor, coded).toFixed(2)} bits a weight`),
		]);
		const body = make("div", { className: "figures" });
		const head = [make("h3", {}, make("code", {}, tensor.name)),
			make("p", {}, `${tensor.shape.join(" × ")}${tensor.rule ? `, codes by ${tensor.rule}` : ""}`),
			make("dl", { className: "facts" }, ...facts.flat())];
		place.replaceChildren(make("div", {}, ...head), body);
		try {
			body.replaceChildren(...await this.#histograms(archive, tensor));
		} catch (error) {
			body.replaceChildren(make("p", { className: "error" }, explain(error)));
		}
	}

	/**
	 * @param {Archive} archive
	 * @param {Tensor} tensor
	 */
	async #histograms(archive, tensor) {
		const elems = Math.min(tensor.elems, SAMPLE), figures = [];
		/** @type {{ codes: ReturnType<typeof codesOf>, name: string } | undefined} */
		let coarse;
		for (const { precision, layer, info } of tensor.all) {
			if (layer >= this.#loaded) {
				figures.push(make("p", { className: "note" }, `The histogram of ${precision} appears here once that precision is loaded.`));
				break;
			}
			const length = bytesOf(info.dtype, elems);
			if (!length || info.shared)
				continue;
			const bytes = await archive.tensor(tensor.name, { precision }).read(0, Math.min(length, info.size));
			const codes = codesOf(info.dtype, bytes), name = precisionName(archive.variants[layer]);
			const sample = tensor.elems > elems ? ` (its first ${elems.toLocaleString("en")} weights)` : "";
			const values = valuesOf(info.dtype, bytes);
			if (coarse?.codes?.steps && values) {
				const steps = coarse.codes.steps;
				figures.push(histogram({
					title: `${name} in its ${coarse.name} cell`, counts: placesInCells({ ...coarse.codes, steps }, values, PARTS), layer,
					axis: ["−½ step", "code", "+½ step"],
					text: `Where each ${name} value lies around its ${coarse.name} code. The refinement stores only this; ` +
						`the flatter the histogram, the less it can be compressed.${sample}`,
				}));
			} else if (coarse && (info.dtype === "BF16" || info.dtype === "F16")) {
				figures.push(histogram({
					title: `${name}: last 6 bits`, counts: lowBits(bytes, 6), layer, axis: ["0", "", "63"],
					text: `The lowest mantissa bits of each value.${sample}`,
				}));
			}
			if (codes) {
				figures.push(histogram({
					title: `${name}: codes`, counts: count(codes.codes, codes.low, codes.high), layer,
					axis: [String(codes.low), "0", String(codes.high)],
					text: `How often each code occurs.${sample}`,
				}));
			}
			coarse = { codes, name };
		}
		return figures;
	}
}
