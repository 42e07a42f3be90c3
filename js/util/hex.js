/** Hexadecimal text. */

/** The two digits of each byte. */
const PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * Bytes in hexadecimal.
 * @param {Uint8Array} bytes
 */
export function hex(bytes) {
	let text = "";
	for (const byte of bytes)
		text += PAIRS[byte];
	return text;
}
