/** Tensors as areas of the bytes that they take in the archive, each cut into its layers. */

import { make, shape } from "../dom.js";
import { size } from "../text.js";

/** @typedef {import("../tensors.js").Tensor} Tensor */
/** @typedef {{ x: number, y: number, width: number, height: number }} Box */

/**
 * Cuts a box into parts of given areas, as square as can be (squarified treemaps: Bruls, Huizing, van Wijk, 2000).
 * @param {number[]} areas descending; their sum is the box's
 * @param {Box} box
 * @returns {Box[]}
 */
function squarify(areas, { x, y, width, height }) {
	/** @type {Box[]} */
	const boxes = [];
	for (let at = 0; at < areas.length;) {
		const side = Math.min(width, height);
		let sum = 0, worst = Infinity, end = at;
		while (end < areas.length) {
			const next = sum + areas[end], depth = next / side;
			const ratio = Math.max(areas[at] / depth / depth, depth * depth / areas[end]);
			if (ratio > worst)
				break;
			worst = ratio;
			sum = next;
			end++;
		}
		const depth = sum / side;
		let along = 0;
		for (; at < end; at++) {
			const length = areas[at] / depth;
			boxes.push(width >= height ? { x, y: y + along, width: depth, height: length } :
				{ x: x + along, y, width: length, height: depth });
			along += length;
		}
		if (width >= height) {
			x += depth;
			width -= depth;
		} else {
			y += depth;
			height -= depth;
		}
	}
	return boxes;
}

export class Treemap {
	#place;
	#onPick;
	/** @type {Tensor[]} */
	#tensors = [];
	#picked = "";
	#width = 0;

	/**
	 * @param {HTMLElement} place
	 * @param {(tensor: Tensor) => void} onPick
	 */
	constructor(place, onPick) {
		this.#place = place;
		this.#onPick = onPick;
		new ResizeObserver(() => {
			if (place.clientWidth !== this.#width)
				this.#draw();
		}).observe(place);
	}

	/** @param {Tensor[]} tensors */
	show(tensors) {
		this.#tensors = tensors.filter(({ coded }) => coded > 0).sort((a, b) => b.coded - a.coded);
		this.#draw();
	}

	/** @param {string} name */
	pick(name) {
		this.#picked = name;
		for (const cell of this.#place.querySelectorAll("[data-name]"))
			cell.classList.toggle("picked", cell.getAttribute("data-name") === name);
	}

	#draw() {
		const width = this.#width = this.#place.clientWidth, height = Math.max(260, Math.min(380, width * 0.62));
		const total = this.#tensors.reduce((sum, { coded }) => sum + coded, 0);
		if (width === 0 || total === 0) {
			this.#place.replaceChildren();
			return;
		}
		const scale = width * height / total;
		const boxes = squarify(this.#tensors.map(({ coded }) => coded * scale), { x: 0, y: 0, width, height });
		// The picture is hidden from screen readers and keyboards: for them there is the table, which has the same figures.
		const picture = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
			...boxes.map((box, i) => this.#cell(this.#tensors[i], box)));
		this.#place.replaceChildren(picture);
		this.pick(this.#picked);
	}

	/**
	 * @param {Tensor} tensor
	 * @param {Box} box
	 */
	#cell(tensor, { x, y, width, height }) {
		const cell = shape("g", { class: "cell", "data-name": tensor.name });
		cell.append(shape("title", {}, `${tensor.name} [${tensor.shape.join(", ")}]: ${size(tensor.coded)}`));
		let along = 0;
		for (const { layer, coded } of tensor.parts) {
			const part = coded / tensor.coded;
			cell.append(shape("rect", {
				class: "layer", "data-layer": Math.min(layer, 3), x: x + along * width, y, width: part * width, height,
			}));
			along += part;
		}
		cell.append(shape("rect", { class: "edge", x, y, width, height }));
		const label = tensor.name.replace(/\.weight$/, ""), short = label.replace(/^.*\.(?=\w+$)/, "");
		for (const text of [label, short]) {
			if (text.length * 6.4 + 10 < width && height > 20) {
				cell.append(shape("text", { x: x + 6, y: y + 15 }, text));
				break;
			}
		}
		cell.addEventListener("click", () => this.#onPick(tensor));
		return cell;
	}
}

/** @param {string[]} names of the layers, coarse to fine */
export function legend(names) {
	return make("p", { className: "legend" }, ...names.map((name, i) =>
		make("span", {}, make("span", { className: "swatch layer", "data-layer": Math.min(i, 3), "data-here": "true" }),
			i === 0 ? name : `+ ${name}`)));
}
