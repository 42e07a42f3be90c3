/** Templates: "[a|b]" is one of the alternatives (they nest), "{key}" a word of the story. */

/**
 * @param {string} template
 * @param {Record<string, string>} words
 * @param {import("./random.js").Random} random
 * @returns {string} one sentence or more, with a capital first letter
 */
export function expand(template, words, random) {
	let text = choose(template, random);
	// Values may hold keys themselves.
	while (/\{/.test(text))
		text = text.replace(/\{(\w+)\}/g, (_, key) => word(words, key));
	text = text.replace(/ +/g, " ").replace(/ ([,.!?])/g, "$1").trim();
	return text.replace(/^("?)([a-z])/, (_, quote, letter) => quote + letter.toUpperCase());
}

/** @param {Record<string, string>} words @param {string} key */
function word(words, key) {
	if (key in words)
		return words[key];
	throw new Error(`No word {${key}} in this story`);
}

/** @param {string} template @param {import("./random.js").Random} random */
function choose(template, random) {
	for (;;) {
		const innermost = /\[([^[\]]*)\]/.exec(template);
		if (!innermost)
			return template;
		const one = random.pick(innermost[1].split("|"));
		template = template.slice(0, innermost.index) + one + template.slice(innermost.index + innermost[0].length);
	}
}

/** "a" or "an" before a word. @param {string} text */
export function withArticle(text) {
	return (/^[aeiou]/.test(text) ? "an " : "a ") + text;
}
