/** Who is in a story, and what it is about: every word that must stay the same from its first line to its last. */

import { withArticle } from "./expand.js";
import * as WORDS from "./words.js";

/** @typedef {import("./random.js").Random} Random */

const PRONOUNS = {
	female: { he: "she", him: "her", his: "her", himself: "herself" },
	male: { he: "he", him: "him", his: "his", himself: "himself" },
};

/** @param {string} text */
function capital(text) {
	return text[0].toUpperCase() + text.slice(1);
}

/** A name that may never have been used before. @param {Random} random @returns {string} */
function inventedName(random) {
	const syllables = random.pick([1, 2, 2, 2, 3]), accent = random.once(12) ? random.below(syllables) : -1;
	let name = random.pick(WORDS.NAME_STARTS);
	for (let i = 0; i < syllables; i++) {
		if (i > 0)
			name += random.pick(WORDS.NAME_MIDDLES);
		name += random.pick(i === accent ? WORDS.NAME_ACCENTS : WORDS.NAME_VOWELS);
	}
	name += random.pick(WORDS.NAME_ENDS);
	return name.length < 2 ? inventedName(random) : capital(name);
}

/** @param {Random} random @param {boolean} female */
function name(random, female) {
	return random.below(5) < 2 ? inventedName(random) : random.pick(female ? WORDS.FEMALE_NAMES : WORDS.MALE_NAMES);
}

/** @param {Random} random @param {boolean} female */
function kind(random, female) {
	return random.pick([...WORDS.KINDS, ...(female ? WORDS.FEMALE_KINDS : WORDS.MALE_KINDS)]);
}

/** Another one of the list than those. @template T @param {Random} random @param {readonly T[]} list @param {T[]} others */
function another(random, list, others) {
	return random.pick(list.filter((one) => !others.includes(one)));
}

/**
 * The words of one story. The hero and the friend are never of one gender, so that a pronoun says who is meant.
 * @param {Random} random
 * @returns {Record<string, string>}
 */
export function castStory(random) {
	const female = random.once(2), home = random.pick(WORDS.HOMES), hobby = random.pick(WORDS.HOBBIES);
	const look = random.pick(WORDS.THING_LOOKS), noun = random.pick(WORDS.THINGS);
	const obstacle = random.pick(WORDS.OBSTACLES), work = random.pick(WORDS.WORKS), fear = random.pick(WORDS.FEARS);
	const heroName = name(random, female), heroKind = kind(random, female);
	const trait = random.pick(WORDS.TRAITS), friendTrait = another(random, WORDS.FRIEND_TRAITS, [trait]);
	const spots = [random.pick(WORDS.SPOTS)];
	while (spots.length < 4)
		spots.push(another(random, WORDS.SPOTS, spots));
	let friendName = name(random, !female);
	while (friendName === heroName)
		friendName = name(random, !female);
	const self = female ? PRONOUNS.female : PRONOUNS.male, other = female ? PRONOUNS.male : PRONOUNS.female;
	const friendKind = another(random, WORDS.KINDS, [heroKind]), otherLook = another(random, WORDS.THING_LOOKS, [look]);
	const price = another(random, WORDS.THINGS, [noun]);
	/** @type {Record<string, string>} */
	const words = {
		hero: heroName, kind: heroKind, trait, a_trait: withArticle(trait),
		...self, He: capital(self.he), His: capital(self.his),
		friend: friendName, fkind: friendKind, ftrait: friendTrait, a_ftrait: withArticle(friendTrait),
		fhe: other.he, fhim: other.him, fhis: other.his, FHe: capital(other.he),
		home: home.at, place: home.place, there: home.there, hobby: hobby.base, hobbied: hobby.past,
		look, noun, thing: `${look} ${noun}`, a_thing: withArticle(`${look} ${noun}`),
		price: `${otherLook} ${price}`, a_price: withArticle(`${otherLook} ${price}`),
		spotA: spots[0], spotB: spots[1], spotC: spots[2], spotD: spots[3],
		relative: random.pick(WORDS.RELATIVES), season: random.pick(WORDS.SEASONS),
		food: random.pick(WORDS.FOODS), advice: random.pick(WORDS.ADVICE),
		barrier: obstacle.what, behind: obstacle.place, barred: obstacle.fear, skill: obstacle.skill, deed: obstacle.deed,
		back: obstacle.back.replace("{it}", "the {thing}"), akind: random.pick(obstacle.kinds), a_akind: "",
		work: work.what, of: work.of, test: work.test, fails: work.fails, works: work.works,
		worked: work.what.replace(/^an? /, ""),
		fear: fear.of, trouble: fear.trouble, overcame: fear.deed,
	};
	words.a_akind = withArticle(words.akind);
	words.foodOnly = words.food.replace(/^an? /, "");
	return words;
}
