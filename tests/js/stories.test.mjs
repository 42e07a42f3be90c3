// The demo model's stories: the same everywhere, and each keeps to its cast from the first line to the last.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { PLOTS } from "../../web/model/grammar/plots.js";
import { openQstore } from "../../js/node/open.js";
import { story, tell } from "../../web/model/stories.js";
import { BOS, EOS, learn, Tokenizer, TYPE } from "../../web/model/tokenizer.js";

const COUNT = 3000;
const told = Array.from({ length: COUNT }, (_, number) => tell(7, number));

/** How often a word or name is in a text, as a whole word. */
function occurrences(text, word) {
	return text.split(new RegExp(`(?<!\\p{L})${word}(?!\\p{L})`, "u")).length - 1;
}

/** The last sentence of a text that holds `words`. */
function lastSentenceWith(text, words) {
	return text.split(/(?<=[.!?]"?) /).findLast((sentence) => occurrences(sentence, words) > 0);
}

test("a story is a function of seed and number, in any process and order", () => {
	for (const number of [2999, 17, 0])
		assert.equal(story(7, number), told[number].text);
	const program = fileURLToPath(new URL("../../web/model/stories.js", import.meta.url));
	const { stdout, status } = spawnSync(process.execPath, [program, "--seed", "7", "--first", "20", "--count", "3"], { encoding: "utf8" });
	assert.equal(status, 0);
	assert.equal(stdout, told.slice(20, 23).map(({ text }) => text + "\n").join(""));
});

test("stories differ, by number and by seed, and every plot is told", () => {
	assert.equal(new Set(told.map(({ text }) => text)).size, COUNT);
	assert.ok(told.every(({ text }, number) => text !== story(8, number)));
	assert.deepEqual([...new Set(told.map(({ plot }) => plot))].sort(), Object.keys(PLOTS).sort());
});

test("sentences are whole", () => {
	for (const { text } of told) {
		assert.doesNotMatch(text, /[[\]{}|]|undefined| {2}| [,.!?]|,[^ "]|[.!?]{2}/, text);
		assert.match(text, /^[\p{Lu}].*[.!]$/u, text);
		assert.equal(text.split('"').length % 2, 1, text);
		// A small letter after a full stop would be a sentence without its capital.
		assert.doesNotMatch(text, /\. "?\p{Ll}/u, text);
		assert.doesNotMatch(text, /\b[Aa] [aeiou]|\b[Aa]n [^aeiou]/, text);
	}
});

test("who and what a story begins with is what it ends with", () => {
	for (const { text, plot, words } of told) {
		assert.ok(occurrences(text, words.hero) >= 2 && occurrences(text, words.friend) >= 2, text);
		assert.notEqual(words.hero, words.friend);
		assert.notEqual(words.he, words.fhe);
		// The friend has a name from the first time on.
		assert.ok(text.indexOf(words.hero) < text.search(new RegExp(`(?<!\\p{L})${words.friend}(?!\\p{L})`, "u")), text);
		if (["lost", "wish", "trade", "finder"].includes(plot))
			assert.ok(occurrences(text, words.thing) >= 2, text);
		if (plot === "lost")
			assert.match(lastSentenceWith(text, words.thing), /never lost/, text);
		if (plot === "trade")
			assert.ok(text.indexOf(words.price) < text.lastIndexOf(words.price), text);
		if (plot === "courage")
			assert.match(lastSentenceWith(text, words.fear), /(not|never|no longer) afraid/, text);
	}
});

const sample = told.slice(0, 300).map(({ text }) => text);
const vocabulary = learn(sample, 600), tokenizer = new Tokenizer(vocabulary);

/** The text that pieces stand for. */
function spell(ids) {
	const bytes = ids.flatMap((id) => vocabulary.types[id] === TYPE.byte ? [Number(vocabulary.pieces[id].slice(1, -1))]
		: [...Buffer.from(vocabulary.pieces[id].replaceAll("▁", " "))]);
	return Buffer.from(bytes).toString().slice(1);
}

test("a vocabulary has the size asked for, each piece once, the same for the same texts in any order", () => {
	assert.equal(vocabulary.pieces.length, 600);
	assert.equal(new Set(vocabulary.pieces).size, 600);
	assert.deepEqual([vocabulary.pieces[BOS], vocabulary.pieces[EOS]], ["<s>", "</s>"]);
	assert.deepEqual(learn(sample.toReversed(), 600), vocabulary);
});

test("any text comes back from its tokens, known words from few", () => {
	for (const text of [...sample, "", " ", "  two  spaces ", "Zoë wäre 7 €\n\tfroh 🦊.", "▁", "UPPER lower-case_1"])
		assert.equal(spell(tokenizer.encode(text)), text.replaceAll("▁", " "), text);
	assert.deepEqual(tokenizer.encode("said").map((id) => vocabulary.pieces[id]), ["▁said"]);
	assert.ok(tokenizer.encode(sample.join(" ")).length < sample.join(" ").length / 2.5);
});

test("tokens are what joining the best pair of the whole text gives, as llama.cpp does it", () => {
	const score = new Map(vocabulary.pieces.map((piece, id) => [piece, vocabulary.scores[id]]));
	for (const text of sample.filter((one) => /^[ -~]*$/.test(one)).slice(0, 10)) {
		const symbols = [..."▁" + text.replaceAll(" ", "▁")];
		for (;;) {
			const scores = symbols.slice(1).map((right, i) => score.get(symbols[i] + right) ?? -Infinity);
			const at = scores.indexOf(Math.max(...scores));
			if (scores[at] === -Infinity)
				break;
			symbols.splice(at, 2, symbols[at] + symbols[at + 1]);
		}
		assert.deepEqual(tokenizer.encode(text).map((id) => vocabulary.pieces[id]), symbols);
	}
});

test("the archive of the demo page has the format of today, and all its files", async () => {
	const archive = await openQstore(readFileSync(new URL("../../web/model/stories.qstore", import.meta.url)), { workers: false });
	assert.deepEqual(archive.variants.map(({ name }) => name), ["q4_0", "q8_0", "bf16"]);
	for (const { name } of archive.variants)
		for (const file of archive.filesOf({ precision: name }))
			assert.equal(createHash("sha256").update(await file.read()).digest("hex"), file.sha256, file.name);
});
