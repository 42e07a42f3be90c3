// Runs in pages: see library.test.mjs.
import { openQstore } from "/js/index.js";

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Every file of every precision: "precision/name" and the SHA-256 of what is read. */
export async function hashFiles(url) {
	const archive = await openQstore(url), hashes = {};
	for (const { name: precision } of archive.variants) {
		for (const file of archive.filesOf({ precision }))
			hashes[`${precision}/${file.name}`] = hex(await crypto.subtle.digest("SHA-256", await file.read()));
	}
	return hashes;
}
