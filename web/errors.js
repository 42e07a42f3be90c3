/** Errors in words that a person can act on. */

import { HttpError, QstoreError, SourceChangedError } from "./qstore/js/index.js";

/** @type {Partial<Record<import("./qstore/js/error.js").StatusName, string>>} */
const ADVICE = {
	NOT_QSTORE: "This is not a qstore archive. Archives are made by qstore-pack and end in .qstore.",
	NEWER: "This archive was made by a newer qstore than this page knows. Reload the page to get its newest version.",
	TRUNCATED: "The file ends too early: its upload or download was cut off. Download it again.",
	CORRUPT: "The data is damaged, so this page did not use it. Try again. If the same chunk fails again, the file itself is damaged: " +
		"its publisher has to upload it again.",
	MEMORY: "There is not enough memory for this. Close other tabs, or stay at the coarser precision.",
	LIMIT: "",
};

/**
 * @param {unknown} error
 * @param {{ remote?: boolean }} [about] remote: it was read from a server
 * @returns {string}
 */
export function explain(error, { remote = false } = {}) {
	const { name = "", message = String(error) } = error instanceof Error ? error : {};
	if (name === "QuotaExceededError")
		return "This site’s storage quota in your browser is used up. Free some space, or remove the kept archive at the end of this page.";
	if (error instanceof HttpError)
		return `${HTTP(error.status)} (${message})`;
	if (error instanceof SourceChangedError)
		return `The file on the server was replaced while this page was reading it. Open it again. (${message})`;
	if (error instanceof QstoreError) {
		if (error.code === "IO" && remote)
			return navigator.onLine === false ?
				"There is no network, and your browser does not have this part of the archive. Go online and try again." :
				"This page cannot read the file from that server. Either the server cannot be reached, or it does not allow other sites " +
				`to read the file: then it has to send Access-Control-Allow-Origin (CORS). (${message})`;
		const advice = ADVICE[error.code];
		return advice ? `${advice} (${message})` : message;
	}
	return message;
}

/** @param {number} status */
function HTTP(status) {
	if (status === 404 || status === 410)
		return "There is no such file on that server. Check the address.";
	if (status === 401 || status === 403)
		return "The server does not give this file to everyone. Only public files can be opened here.";
	if (status === 416)
		return "The server refuses to send parts of the file (HTTP Range). Download the archive and open it as a file.";
	return "The server could not answer. Please try again in a while.";
}
