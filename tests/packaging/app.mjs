// The user's program that packaging.test.mjs builds and runs: everything that it imports is the published package.
import { openQstore } from "qstore-decode";
import { attachTransformers } from "qstore-decode/transformers";
import { archiveStorage } from "qstore-decode/wllama";

/** The SHA-256 of every file of every precision, by "precision/name". */
export async function hashFiles(source) {
	const archive = await openQstore(source), hashes = {};
	for (const { name: precision } of archive.variants) {
		for (const file of archive.filesOf({ precision }))
			hashes[`${precision}/${file.name}`] = hex(await crypto.subtle.digest("SHA-256", await file.blob().arrayBuffer()));
	}
	attachTransformers({ remoteHost: "", remotePathTemplate: "", localModelPath: "", fetch }, archive, "a/b", { way: "fetch" })();
	await archiveStorage(archive, { url: "https://example.org/" }).list();
	await archive.close();
	return hashes;
}

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** In a browser: what came of it, for the test to see. */
export async function show() {
	try {
		globalThis.result = await hashFiles(new URL("/data/model.qstore", location.href));
	} catch (error) {
		globalThis.result = String(error?.stack ?? error);
	}
}
