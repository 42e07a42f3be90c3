/** Names that a system cannot give to a file, and those that the files get instead: as native/src/read/escape.c does it. */

import { QstoreError } from "../error.js";

const PART_MAX = 255; // bytes of a name within its folder: Linux's limit
const ESCAPED = /[\0-\x1f\x7f\\:*?"<>|]/;
/** Windows takes the superscripts 1, 2 and 3 for digits. */
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)/i;
const utf8 = new TextEncoder();

/**
 * The last line of defence before the filesystem; the core has checked names already.
 * @param {{ name?: string }} archive
 * @param {string} name
 * @param {string} [platform]
 */
export function checkName(archive, name, platform = process.platform) {
	const parts = name.split("/");
	if (parts.some((part) => part === "" || part === "." || part === "..") ||
		(platform === "win32" ? !isWindowsName(name) : /\0/.test(name)))
		throw new QstoreError("CORRUPT",
			`${archive.name ? `${archive.name}: ` : ""}file name ${JSON.stringify(name)} would escape the output folder`);
}

/**
 * Can a file have this name on Windows? It takes some names, without an error, for a folder, a stream of another file, or a device.
 * @param {string} name
 */
export function isWindowsName(name) {
	return name.split("/").every((part) => !ESCAPED.test(part) && !DEVICE.test(part) && !/[. ]$/.test(part) && part.length <= 255);
}

/**
 * A name that every system can give to a file. In each part of the name, characters that some system does not allow, and the percent
 * sign, become %XX: control characters, \ : * ? " < > |, a dot or space at the end, and the first letter of a name that Windows has
 * for devices. A part of more than 255 bytes is cut, and ends in ~ and a checksum. A name without any of these stays as it is.
 * @param {string} name
 */
export function escapeName(name) {
	return name.split("/").map(escapePart).join("/");
}

/** @param {string} part */
function escapePart(part) {
	const last = part.length - 1, isDevice = DEVICE.test(part);
	/** @type {(c: string, i: number) => boolean} */
	const isEscaped = (c, i) => ESCAPED.test(c) || (i === 0 && isDevice) || (i === last && (c === "." || c === " "));
	const characters = part.split("");
	let escaped = part;
	if (characters.some(isEscaped))
		escaped = characters.map((c, i) => c === "%" || isEscaped(c, i) ?
			`%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}` : c).join("");
	const bytes = utf8.encode(escaped);
	if (bytes.length <= PART_MAX)
		return escaped;
	let end = PART_MAX - 9;
	while ((bytes[end] & 0xc0) === 0x80) // not within a character
		end--;
	if (escaped !== part) // nor within an escape
		end -= bytes[end - 1] === 0x25 ? 1 : bytes[end - 2] === 0x25 ? 2 : 0;
	return `${new TextDecoder().decode(bytes.subarray(0, end))}~${checksum(part).toString(16).padStart(8, "0")}`;
}

/**
 * FNV-1a: cut parts that began alike stay different.
 * @param {string} part
 */
function checksum(part) {
	let hash = 0x811c9dc5;
	for (const byte of utf8.encode(part))
		hash = Math.imul(hash ^ byte, 0x01000193);
	return hash >>> 0;
}
