/**
 * The model's tokenizer: pieces learnt by byte pair encoding, applied as llama.cpp applies a vocabulary of type
 * "llama" (SentencePiece): of all neighbouring pieces whose join is in the vocabulary, the one of highest score joins
 * first; characters outside the vocabulary become their UTF-8 bytes.
 */

/** Types of tokens, with the numbers of GGUF's tokenizer.ggml.token_type. */
export const TYPE = { normal: 1, unknown: 2, control: 3, byte: 6 };
export const BOS = 1, EOS = 2;
const FIRST_BYTE = 3, SPACE = "▁";

/**
 * @typedef {object} Vocabulary
 * @property {string[]} pieces
 * @property {number[]} scores a piece that was learnt earlier has the higher score
 * @property {number[]} types
 */

/** No piece goes across these parts, so each can be tokenized for itself: a word or signs, with the space before it. @param {string} text */
function parts(text) {
	return (SPACE + text.replaceAll(" ", SPACE)).match(/▁?\p{L}+|▁?[^\p{L}▁]+|▁/gu) ?? [];
}

/**
 * @param {Iterable<string>} texts
 * @param {number} size of the vocabulary
 * @returns {Vocabulary}
 */
export function learn(texts, size) {
	/** @type {Map<string, number>} */
	const counts = new Map();
	for (const text of texts) {
		for (const part of parts(text))
			counts.set(part, (counts.get(part) ?? 0) + 1);
	}
	const words = [...counts].map(([part, count]) => ({ symbols: [...part], count }));
	const isPlain = (/** @type {string} */ letter) => letter === SPACE || /^[\x20-\x7e]$/.test(letter);
	const letters = [...new Set(words.flatMap(({ symbols }) => symbols.filter(isPlain)))].sort();
	const learnt = [];
	while (FIRST_BYTE + 256 + letters.length + learnt.length < size) {
		const joined = mostFrequentPair(words, isPlain);
		if (joined === undefined)
			break;
		learnt.push(joined);
		for (const word of words)
			join(word.symbols, joined);
	}
	const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
	const pieces = ["<unk>", "<s>", "</s>", ...bytes, ...learnt, ...letters], start = FIRST_BYTE + 256;
	return {
		pieces,
		scores: pieces.map((_, i) => (i < start ? 0 : start - i)),
		types: pieces.map((_, i) => (i === 0 ? TYPE.unknown : i < FIRST_BYTE ? TYPE.control : i < start ? TYPE.byte : TYPE.normal)),
	};
}

/** @param {{ symbols: string[], count: number }[]} words @param {(letter: string) => boolean} isPlain */
function mostFrequentPair(words, isPlain) {
	/** @type {Map<string, number>} */
	const pairs = new Map();
	for (const { symbols, count } of words) {
		for (let i = 1; i < symbols.length; i++) {
			const joined = symbols[i - 1] + symbols[i];
			if ([...joined].every(isPlain))
				pairs.set(joined, (pairs.get(joined) ?? 0) + count);
		}
	}
	let best, bestCount = 1;
	for (const [joined, count] of pairs) {
		// Ties by spelling: the same vocabulary from the same texts in any order.
		if (count > bestCount || (count === bestCount && best !== undefined && joined < best))
			[best, bestCount] = [joined, count];
	}
	return best;
}

/** Join every pair of neighbours that spell `joined`. @param {string[]} symbols @param {string} joined */
function join(symbols, joined) {
	for (let i = 1; i < symbols.length; i++) {
		if (symbols[i - 1].length + symbols[i].length === joined.length && symbols[i - 1] + symbols[i] === joined)
			symbols.splice(i - 1, 2, joined);
	}
}

/** A tokenizer of this vocabulary. */
export class Tokenizer {
	/** @param {Vocabulary} vocabulary */
	constructor({ pieces, scores, types }) {
		this.scores = scores;
		/** @type {Map<string, number>} */
		this.ids = new Map();
		pieces.forEach((piece, id) => types[id] === TYPE.normal && this.ids.set(piece, id));
		/** @type {Map<string, number[]>} */
		this.known = new Map();
	}

	/** Token numbers, without begin and end. @param {string} text @returns {number[]} */
	encode(text) {
		return parts(text).flatMap((part) => {
			let ids = this.known.get(part);
			if (!ids) {
				ids = this.#encodePart(part);
				this.known.set(part, ids);
			}
			return ids;
		});
	}

	/** @param {string} part */
	#encodePart(part) {
		const symbols = [...part];
		for (;;) {
			let best = -1, bestScore = -Infinity;
			for (let i = 1; i < symbols.length; i++) {
				const id = this.ids.get(symbols[i - 1] + symbols[i]);
				if (id !== undefined && this.scores[id] > bestScore)
					[best, bestScore] = [i, this.scores[id]];
			}
			if (best < 0)
				break;
			symbols.splice(best - 1, 2, symbols[best - 1] + symbols[best]);
		}
		return symbols.flatMap((symbol) => {
			const id = this.ids.get(symbol);
			return id === undefined ? [...new TextEncoder().encode(symbol)].map((byte) => FIRST_BYTE + byte) : [id];
		});
	}
}
