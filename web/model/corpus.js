/**
 * Writes what training needs into a folder: vocabulary.json, train.u16 and heldout.u16 (token numbers, 16-bit little
 * endian, each story between begin and end).
 *
 * node corpus.js FOLDER
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { story } from "./stories.js";
import { BOS, EOS, learn, Tokenizer } from "./tokenizer.js";

const TRAIN = { seed: 1, count: 120000 }, HELDOUT = { seed: 2, count: 1000 };
const VOCABULARY = { stories: 20000, size: 1024 };

const folder = process.argv[2];
if (folder === undefined)
	throw new Error("Usage: node corpus.js FOLDER");

/** @param {{ seed: number, count: number }} which */
function stories({ seed, count }) {
	return Array.from({ length: count }, (_, number) => story(seed, number));
}

mkdirSync(folder, { recursive: true });
const training = stories(TRAIN), seen = new Set(training);
const heldout = stories(HELDOUT).filter((text) => !seen.has(text));
const vocabulary = learn(training.slice(0, VOCABULARY.stories), VOCABULARY.size);
const tokenizer = new Tokenizer(vocabulary);
writeFileSync(join(folder, "vocabulary.json"), JSON.stringify(vocabulary));
for (const [name, texts] of Object.entries({ train: training, heldout })) {
	const ids = Uint16Array.from(texts.flatMap((text) => [BOS, ...tokenizer.encode(text), EOS]));
	writeFileSync(join(folder, `${name}.u16`), ids);
	console.log(`${name}: ${texts.length} stories, ${ids.length} tokens`);
}
