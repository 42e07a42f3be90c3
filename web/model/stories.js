/**
 * Little stories by a grammar of this project: story(seed, number) is the same text on every machine.
 *
 * Use as a program: node stories.js [--seed N] [--first N] [--count N] prints stories, one a line.
 */

import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { castStory } from "./grammar/cast.js";
import { expand } from "./grammar/expand.js";
import { ENDINGS, HOBBY_LINES, OPENINGS, PLOTS } from "./grammar/plots.js";
import { Random } from "./grammar/random.js";

/**
 * @param {number} seed
 * @param {number} number of the story
 * @returns {{ text: string, plot: string, words: Record<string, string> }} the story and what it was made of
 */
export function tell(seed, number) {
	const random = new Random(seed, number), words = castStory(random);
	const plot = random.pick(Object.keys(PLOTS));
	const lines = [OPENINGS, HOBBY_LINES, ...PLOTS[plot], ENDINGS];
	const text = lines.map((line) => expand(typeof line === "string" ? line : random.pick(line), words, random))
		.filter(Boolean).join(" ");
	return { text: capitalSentences(text), plot, words };
}

/** @param {number} seed @param {number} number @returns {string} */
export function story(seed, number) {
	return tell(seed, number).text;
}

/** A capital after a full stop, also within quotes; never after a question or call, which `asked` may follow. @param {string} text */
function capitalSentences(text) {
	return text.replace(/(^|[^.]\.(?: |" "|" | "))([a-z])/g, (_, before, letter) => before + letter.toUpperCase());
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
	const { values } = parseArgs({ options: {
		seed: { type: "string", default: "1" }, first: { type: "string", default: "0" }, count: { type: "string", default: "10" },
	} });
	const first = Number(values.first);
	for (let i = first; i < first + Number(values.count); i++)
		console.log(story(Number(values.seed), i));
}
