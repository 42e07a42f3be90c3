/** A histogram as a picture with its summary in words. */

import { entropy } from "../codes.js";
import { make, shape } from "../dom.js";
import { percent } from "../text.js";

const WIDTH = 320, HEIGHT = 96;

/**
 * @param {object} what
 * @param {string} what.title
 * @param {number[]} what.counts
 * @param {[string, string, string]} what.axis its left end, middle and right end
 * @param {string} what.text what it shows
 * @param {number} what.layer
 */
export function histogram({ title, counts, axis, text, layer }) {
	const most = Math.max(...counts, 1), sum = counts.reduce((a, b) => a + b, 0), step = WIDTH / counts.length;
	const gap = counts.length <= 64 ? Math.min(2, step / 5) : 0;
	const bits = `${entropy(counts).toFixed(2)} bits each of ${Math.log2(counts.length).toFixed(2)}`;
	const picture = shape("svg", {
		viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none", class: "bars-picture",
		"data-layer": Math.min(layer, 3),
		"aria-label": `${title}: the most frequent has ${percent(most / Math.max(sum, 1))} of ${sum.toLocaleString("en")}; ${bits}`,
	}, ...counts.map((n, i) => shape("rect", {
		x: (i * step).toFixed(2), width: Math.max(step - gap, 0.5).toFixed(2),
		y: (HEIGHT - n / most * HEIGHT).toFixed(2), height: (n / most * HEIGHT).toFixed(2),
	})));
	return make("figure", {}, make("figcaption", {}, make("strong", {}, title), make("span", { className: "figure" }, bits)), picture,
		make("p", { className: "axis", ariaHidden: "true" }, ...axis.map((label) => make("span", {}, label))),
		make("p", { className: "note" }, text));
}
