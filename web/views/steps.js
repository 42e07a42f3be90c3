/** The precisions, coarse to fine: what each step fetches and restores, how far it is, and its button. */

import { announce, make, showError } from "../dom.js";
import { percent, precisionName, rate, size } from "../text.js";

/** @typedef {import("../qstore/js/archive/archive.js").Variant} Variant */
/** @typedef {import("../restore.js").Restoring} Restoring */

/**
 * @typedef {object} StepState
 * @property {"ready" | "busy" | "starting" | "loaded" | "running"} stage
 * @property {number} toFetch bytes that are not kept yet
 * @property {Restoring} [now]
 * @property {boolean} [same]
 * @property {File[]} [files]
 * @property {string} [error]
 */

/** Files of a precision that can be saved. */
const SAVED = 4;
/** The words for the stages. @type {Partial<Record<StepState["stage"], string>>} */
const STAGES = { starting: "starting", running: "running", loaded: "restored" };

export class Steps {
	#list;
	#actions;
	/** @type {Step[]} */
	#steps = [];

	/**
	 * @param {HTMLElement} list
	 * @param {{ start: (i: number) => void, cancel: (i: number) => void }} actions
	 */
	constructor(list, actions) {
		this.#list = list;
		this.#actions = actions;
	}

	/**
	 * @param {Variant[]} variants
	 * @param {boolean} runs can the page run them?
	 */
	reset(variants, runs) {
		this.#steps = variants.map((variant, i) => new Step(variant, i, runs, this.#actions));
		this.#list.replaceChildren(...this.#steps.map(({ element }) => element));
	}

	/**
	 * @param {number} i
	 * @param {StepState} state
	 * @param {boolean} next is it the one to do next?
	 */
	show(i, state, next) {
		this.#steps[i].show(state, next);
	}
}

class Step {
	#name;
	#variant;
	#first;
	#runs;
	#what = make("p", { className: "step-what" });
	#fetched = bar();
	#decoded = bar();
	#bars;
	#button = make("button", { type: "button" });
	#saves = make("span", { className: "step-saves" });
	#error = make("p", { className: "error", role: "alert", hidden: true });
	#stage = "";
	/** @type {string[]} */
	#urls = [];

	/**
	 * @param {Variant} variant
	 * @param {number} i
	 * @param {boolean} runs
	 * @param {{ start: (i: number) => void, cancel: (i: number) => void }} actions
	 */
	constructor(variant, i, runs, actions) {
		this.#variant = variant;
		this.#first = i === 0;
		this.#runs = runs;
		this.#name = precisionName(variant);
		this.#fetched.progress.ariaLabel = `${this.#name}: fetched`;
		this.#decoded.progress.ariaLabel = `${this.#name}: restored`;
		this.#bars = make("div", { className: "bars", hidden: true },
			make("span", {}, "fetched"), this.#fetched.progress, this.#fetched.text,
			make("span", {}, "restored"), this.#decoded.progress, this.#decoded.text);
		this.#button.addEventListener("click", () => {
			if (this.#button.ariaDisabled !== "true")
				(this.#stage === "busy" || this.#stage === "starting" ? actions.cancel : actions.start)(i);
		});
		this.element = make("li", { className: "step", "data-layer": Math.min(i, 3) },
			make("h3", {}, this.#name, " ", make("code", {}, variant.name)),
			this.#what, this.#button, this.#bars, this.#saves, this.#error);
	}

	/**
	 * @param {StepState} state
	 * @param {boolean} next
	 */
	show({ stage, toFetch, now, same, files, error }, next) {
		const changed = stage !== this.#stage;
		this.#stage = stage;
		this.element.dataset.stage = stage;
		const { layerSize, size: restored } = this.#variant;
		this.#what.textContent = `${this.#first ? "" : "+ "}${size(layerSize)} of archive, restores ${size(restored)}` +
			(same ? ", the original by its SHA-256" : same === false ? ", NOT the original by its SHA-256" : "");
		showError(this.#error, error);
		const verb = this.#runs ? this.#first ? "Run" : "Upgrade" : "Restore";
		const cost = toFetch > 0 ? `${this.#first ? "" : "+ "}${size(toFetch)}` : "kept here";
		this.#button.textContent = stage === "busy" || stage === "starting" ? "Cancel" : stage === "running" ? "Running" :
			stage === "loaded" ? this.#runs ? "Switch to it" : "Restored" : `${error ? "Try again" : verb}: ${cost}`;
		this.#button.ariaLabel = `${this.#name}: ${this.#button.textContent}`;
		// The button is not disabled for real, so that it keeps the keyboard's focus.
		this.#button.ariaDisabled = String(stage === "running" || (stage === "loaded" && !this.#runs));
		this.#button.classList.toggle("primary", next);
		this.#bars.hidden = !now;
		if (now) {
			fill(this.#fetched, now.fetched, now.toFetch, now.toFetch === 0 ? "0 B: it is here already" :
				`${size(now.fetched)} of ${size(now.toFetch)}  ${rate(now.fetched, now.ms)}`);
			fill(this.#decoded, now.decoded, now.toDecode, `${size(now.decoded)} of ${size(now.toDecode)}  ${rate(now.decoded, now.ms)}`);
		}
		if (stage === "busy" && now && now.toDecode > 0)
			announce(`${this.#name}: ${percent(Math.floor(now.decoded / now.toDecode * 4) / 4)} restored`);
		else if (changed)
			announce(STAGES[stage] ? `${this.#name} is ${STAGES[stage]}` : "");
		if (changed)
			this.#offer(files ?? []);
	}

	/** @param {File[]} files to save */
	#offer(files) {
		this.#urls.forEach((url) => URL.revokeObjectURL(url));
		const greatest = [...files].sort((a, b) => b.size - a.size).slice(0, SAVED);
		this.#urls = greatest.map((file) => URL.createObjectURL(file));
		this.#saves.replaceChildren(...greatest.map((file, i) =>
			make("a", { href: this.#urls[i], download: file.name }, `Save ${file.name}`)));
	}
}

function bar() {
	return { progress: make("progress", { max: 1, value: 0 }), text: make("span", { className: "figure" }) };
}

/**
 * @param {ReturnType<typeof bar>} bar
 * @param {number} done
 * @param {number} all
 * @param {string} text
 */
function fill({ progress, text: place }, done, all, text) {
	progress.max = Math.max(all, 1);
	progress.value = all === 0 ? 1 : done;
	place.textContent = text;
}
