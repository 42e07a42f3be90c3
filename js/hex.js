/**
 * Bytes in hexadecimal.
 * @param {Uint8Array} bytes
 */
export function hex(bytes) {
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
