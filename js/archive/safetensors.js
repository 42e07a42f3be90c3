/** Headers of safetensors files. */

/**
 * The header of a file that has these tensors, one after the other: the header's length, then JSON, padded with spaces to a multiple of 8
 * bytes. The native tools make the same bytes.
 * @param {Iterable<{ name: string, dtype: string, shape: number[], size: number }>} tensors
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function safetensorsHeader(tensors) {
	/** @type {string[]} */
	const entries = [];
	let at = 0;
	for (const { name, dtype, shape, size } of tensors) {
		entries.push(`${quote(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${at},${at + size}]}`);
		at += size;
	}
	const json = new TextEncoder().encode(`{${entries.join(",")}}`);
	const padded = Math.ceil(json.length / 8) * 8;
	const header = new Uint8Array(8 + padded).fill(0x20);
	new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
	header.set(json, 8);
	return header;
}

/**
 * A JSON string. Unlike in JSON.stringify's, every control character is \u00XX.
 * @param {string} text
 */
function quote(text) {
	const escaped = text.replace(/["\\]/g, "\\$&");
	return `"${escaped.replace(/[\0-\x1f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`;
}
