/** A question and the answer of each precision, side by side. */

import { make } from "../dom.js";
import { plural } from "../text.js";

/**
 * @typedef {object} Answer
 * @property {string} name of the precision
 * @property {number} layer
 * @property {string} text
 * @property {string} figures when it is complete
 * @property {HTMLElement} place
 * @property {HTMLElement} foot
 */

export class Turn {
	/** @type {Answer[]} by layer */
	#answers = [];
	#grid = make("div", { className: "answers" });
	#asked;
	#onContinue;

	/**
	 * @param {string} asked
	 * @param {((text: string) => void) | undefined} onContinue takes an answer as the next beginning
	 */
	constructor(asked, onContinue) {
		this.#asked = asked;
		this.#onContinue = onContinue;
		this.element = make("article", { className: "turn" }, make("p", { className: "asked" }, asked), this.#grid);
	}

	get asked() {
		return this.#asked;
	}

	/** @param {number} layer */
	answerOf(layer) {
		return this.#answers.find((answer) => answer.layer === layer)?.text;
	}

	/**
	 * A precision begins to answer.
	 * @param {string} name
	 * @param {number} layer
	 */
	begin(name, layer) {
		this.#answers = this.#answers.filter((answer) => answer.layer !== layer);
		const place = make("p", { className: "said" }), foot = make("p", { className: "answer-foot" });
		this.#answers.push({ name, layer, text: "", figures: "", place, foot });
		this.#answers.sort((a, b) => a.layer - b.layer);
		this.#grid.replaceChildren(...this.#answers.map((answer) =>
			make("section", { className: "answer", "data-layer": Math.min(answer.layer, 3) },
				make("h3", {}, answer.name), answer.place, answer.foot)));
	}

	/**
	 * @param {number} layer
	 * @param {string} text all that was said until now
	 */
	say(layer, text) {
		const answer = this.#answers.find((each) => each.layer === layer);
		if (answer) {
			answer.text = text;
			answer.place.textContent = text.trimStart();
		}
	}

	/**
	 * @param {number} layer
	 * @param {string} figures
	 */
	end(layer, figures) {
		const at = this.#answers.findIndex((each) => each.layer === layer), answer = this.#answers[at];
		answer.figures = figures;
		// The next finer precision may have answered before: its answer is compared with this one.
		this.#finish(this.#answers[at - 1], answer);
		if (this.#answers[at + 1]?.figures)
			this.#finish(answer, this.#answers[at + 1]);
	}

	/**
	 * Says where an answer begins to differ from the answer of the next coarser precision.
	 * @param {Answer | undefined} coarser
	 * @param {Answer} answer
	 */
	#finish(coarser, { name, text, place, foot, figures }) {
		const facts = [figures];
		if (coarser) {
			const words = text.trim().split(/(?<=\s)(?=\S)/), others = coarser.text.trim().split(/(?<=\s)(?=\S)/);
			const same = words.findIndex((word, i) => word.trim() !== others[i]?.trim()), count = same < 0 ? words.length : same;
			place.replaceChildren(make("span", { className: "same" }, words.slice(0, count).join("")));
			if (same >= 0)
				place.append(make("mark", {}, words[count].trimEnd()), words[count].slice(words[count].trimEnd().length),
					words.slice(count + 1).join(""));
			facts.push(same < 0 ? `the same as ${coarser.name}` : `leaves ${coarser.name} after ${plural(count, "word")}`);
		}
		const button = this.#onContinue &&
			make("button", { type: "button", className: "quiet", ariaLabel: `${name}: go on from here` }, "Go on from here");
		button?.addEventListener("click", () => this.#onContinue?.(this.#asked + text));
		foot.replaceChildren(facts.join("; "), ...button ? [" ", button] : []);
	}
}
