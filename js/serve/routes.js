/** Routes: the paths under which an archive's files have URLs. */

import { QstoreError } from "../error.js";

/**
 * A route's path, taken apart.
 * @typedef {object} Pattern
 * @property {string | undefined} origin the only origin whose URLs are meant; undefined: any
 * @property {string[]} segments decoded; "{precision}" and "{revision}" match anything
 */

/**
 * A URL that belongs to a route.
 * @typedef {object} Match
 * @property {string | undefined} precision the folder at "{precision}"; undefined if the URL ends before it
 * @property {string | undefined} revision the folder at "{revision}"
 * @property {string} name the path behind the route's own: a file's name, or a folder's, whose end may be a slash
 * @property {boolean} above does the URL end before the route's placeholder? Then it is the folder of all precisions
 */

const PLACEHOLDERS = ["{precision}", "{revision}"];

/**
 * Takes a route's path apart.
 * @param {string} path "/models/llama/{precision}/"; an origin may come before it
 * @returns {Pattern}
 */
export function parsePattern(path) {
	const [, origin, rest] = /^(https?:\/\/[^/]+)?\/(.*)$/i.exec(path) ?? [];
	const segments = rest === undefined ? undefined : decodeSegments(rest.replace(/\/$/, ""));
	if (!segments)
		throw new QstoreError("USAGE", `a route is a path that begins with "/", or a URL, not "${path}"`);
	const unknown = segments.find((segment) => /[{}]/.test(segment) && !PLACEHOLDERS.includes(segment));
	if (unknown !== undefined || segments.filter((segment) => PLACEHOLDERS.includes(segment)).length > 1)
		throw new QstoreError("USAGE", `the route ${path} may have one of ${PLACEHOLDERS.join(" and ")}, as a folder's whole name`);
	return { origin: origin && new URL(origin).origin, segments: segments.length === 1 && segments[0] === "" ? [] : segments };
}

/**
 * Which of two routes is asked first: the one whose path has more folders, then the one without a placeholder.
 * @param {Pattern} a
 * @param {Pattern} b
 */
export function comparePatterns(a, b) {
	const placeholders = (/** @type {Pattern} */ { segments }) => segments.filter((segment) => PLACEHOLDERS.includes(segment)).length;
	return b.segments.length - a.segments.length || placeholders(a) - placeholders(b);
}

/**
 * Does a URL belong to a route?
 * @param {Pattern} pattern
 * @param {URL} url
 * @returns {Match | undefined}
 */
export function matchPattern({ origin, segments }, url) {
	const asked = origin === undefined || origin === url.origin ? decodeSegments(url.pathname.slice(1)) : undefined;
	if (!asked)
		return undefined;
	/** @type {Match} */
	const match = { precision: undefined, revision: undefined, name: asked.slice(segments.length).join("/"), above: false };
	for (const [i, segment] of segments.entries()) {
		if (segment === "{precision}" && (asked[i] ?? "") === "" && asked.length <= i + 1 && i === segments.length - 1)
			match.above = true;
		else if (!asked[i])
			return undefined;
		else if (segment === "{precision}")
			match.precision = asked[i];
		else if (segment === "{revision}")
			match.revision = asked[i];
		else if (segment !== asked[i])
			return undefined;
	}
	return match;
}

/**
 * The folders of a path, without percent signs; undefined if it is not encoded rightly.
 * @param {string} path
 */
function decodeSegments(path) {
	try {
		return path.split("/").map(decodeURIComponent);
	} catch {
		return undefined;
	}
}
