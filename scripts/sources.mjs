// Which files the checks of the sources look at. In a git checkout these are all that git does not ignore; in a source tarball,
// which has no .git, all but those that are built or installed.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

const NOT_OURS = new Set([".git", ".pc", "build", "dist", "node_modules"]);

/** @param {string} folder relative to the root @returns {string[]} */
const walk = (folder) => readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
	const name = path.posix.join(folder, entry.name);
	return entry.isDirectory() ? NOT_OURS.has(entry.name) ? [] : walk(name) : entry.isFile() ? [name] : [];
});

const listed = () => execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root, encoding: "utf8" })
	.split("\0").filter((file) => file && existsSync(path.join(root, file)));

/** @type {string[] | undefined} */
let all;

/**
 * The files whose paths match one of the patterns, in order of their names. "*" is any text, "/" too, as in git.
 * @param {...string} patterns
 */
export function files(...patterns) {
	all ??= (existsSync(path.join(root, ".git")) ? listed() : walk("")).sort();
	const forms = patterns.map((pattern) => new RegExp(`^${pattern.replaceAll(/[.+?]/g, "\\$&").replaceAll("*", ".*")}$`));
	return all.filter((file) => forms.some((form) => form.test(file)));
}
