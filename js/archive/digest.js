/** An archive's digest: "sha256-" and the SHA-256 of its index in base 64, as browsers' integrity attributes have it. */

import { QstoreError } from "../error.js";

const BASE64 = /^sha256-([A-Za-z0-9+/]{43}=)$/, HEX = /^[0-9a-f]{64}$/i;

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function formatDigest(bytes) {
	return `sha256-${btoa(String.fromCharCode(...bytes))}`;
}

/**
 * Reads a digest, which may also be 64 hexadecimal digits.
 * @param {string} text
 * @returns {string} as formatDigest gives it
 */
export function parseDigest(text) {
	if (HEX.test(text))
		return formatDigest(Uint8Array.from(/** @type {RegExpMatchArray} */ (text.match(/../g)), (pair) => parseInt(pair, 16)));
	const match = BASE64.exec(text), digits = match?.[1] ?? "";
	// The last digit has two bits that are not used, and may not be set.
	if (!match || btoa(atob(digits)) !== digits)
		throw new QstoreError("USAGE",
			`${String(text).slice(0, 100)}: is no digest: it is sha256- and 44 digits, as qstore-info prints it`);
	return text;
}

/**
 * @param {import("../source/source.js").Source} source
 * @param {string} digest the archive's own
 * @param {string} wanted
 */
export function checkDigest(source, digest, wanted) {
	const name = source.name ? `${source.name}: ` : "";
	if (parseDigest(wanted) !== digest)
		throw new QstoreError("INTEGRITY", `${name}is not the archive of this digest: its own is ${digest}`);
}
