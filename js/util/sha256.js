/** SHA-256 (FIPS 180-4) of bytes in memory: the platform's where it has one, else the one below. */

import { hex } from "./hex.js";

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<string>} in hexadecimal
 */
export async function sha256(bytes) {
	return hex(await digestOf(bytes));
}

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<Uint8Array>} 32 bytes
 */
export async function digestOf(bytes) {
	// Pages that are neither https: nor localhost have no crypto.subtle.
	const { subtle } = globalThis.crypto ?? {};
	return subtle ? new Uint8Array(await subtle.digest("SHA-256", /** @type {Uint8Array<ArrayBuffer>} */ (bytes))) : digest(bytes);
}

const BLOCK_SIZE = 64, ROUNDS = 64;

/** Sections 4.2.2 and 5.3.3: the first 32 bits of the fractions of the first 64 primes' cube roots and the first 8 primes' square roots. */
const PRIMES = Array.from({ length: 312 }, (_, n) => n).filter((n) => n > 1 && isPrime(n));
const CONSTANTS = Int32Array.from(PRIMES, (prime) => Math.cbrt(prime) % 1 * 2 ** 32);
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => Math.sqrt(prime) % 1 * 2 ** 32);

/** @param {number} n at least 2 */
function isPrime(n) {
	for (let divisor = 2; divisor < n; divisor++) {
		if (n % divisor === 0)
			return false;
	}
	return true;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 32 bytes
 */
function digest(bytes) {
	const state = START.slice(), rest = bytes.length % BLOCK_SIZE, whole = bytes.length - rest;
	addBlocks(state, bytes.subarray(0, whole));
	// Section 5.1.1: the message is followed by a bit that is 1, padding, and its number of bits.
	const end = new Uint8Array(rest + 9 > BLOCK_SIZE ? 2 * BLOCK_SIZE : BLOCK_SIZE);
	end.set(bytes.subarray(whole));
	end[rest] = 0x80;
	new DataView(end.buffer).setBigUint64(end.length - 8, BigInt(bytes.length) * 8n);
	addBlocks(state, end);
	const out = new DataView(new ArrayBuffer(32));
	state.forEach((word, i) => out.setInt32(4 * i, word));
	return new Uint8Array(out.buffer);
}

/**
 * Adds whole blocks to the state (section 6.2.2).
 * @param {Int32Array} state
 * @param {Uint8Array} bytes whole blocks
 */
function addBlocks(state, bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), words = new Int32Array(ROUNDS);
	for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
		for (let i = 0; i < 16; i++)
			words[i] = view.getInt32(at + 4 * i);
		for (let i = 16; i < ROUNDS; i++) {
			const w = words[i - 15], v = words[i - 2];
			words[i] = words[i - 16] + (rotate(w, 7) ^ rotate(w, 18) ^ w >>> 3) + words[i - 7] + (rotate(v, 17) ^ rotate(v, 19) ^ v >>> 10);
		}
		// One by one, since destructuring costs a third of the time.
		let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
		for (let i = 0; i < ROUNDS; i++) {
			const first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & f ^ ~e & g) + CONSTANTS[i] + words[i] | 0;
			const second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
			h = g, g = f, f = e, e = d + first | 0;
			d = c, c = b, b = a, a = first + second | 0;
		}
		state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e, state[5] += f, state[6] += g, state[7] += h;
	}
}

/**
 * A word rotated to the right.
 * @param {number} word
 * @param {number} bits
 */
function rotate(word, bits) {
	return word >>> bits | word << 32 - bits;
}
