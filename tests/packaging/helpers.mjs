// The package as npm would publish it, installed in a folder of a user's.
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const run = promisify(execFile);
export const root = fileURLToPath(new URL("../../", import.meta.url));
const here = fileURLToPath(new URL("./", import.meta.url));

/** Packs this checkout and installs the tarball into folder/app, with the user's programs; gives that folder. */
export async function installPackage(folder) {
	const app = join(folder, "app");
	await mkdir(app);
	await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
	const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
	await writeFile(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
	await run("npm", ["install", "--offline", "--loglevel=error", join("..", tarball)], { cwd: app });
	for (const name of ["app.mjs", "app.ts"])
		await cp(join(here, name), join(app, name));
	await writeFile(join(app, "main.mjs"), 'import { show } from "./app.mjs";\nawait show();\n');
	await writeFile(join(app, "index.html"), PAGE("./main.mjs"));
	return app;
}

/** A page that runs a module. */
export const PAGE = (script) =>
	`<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="${script}"></script>\n`;

/** A bundler, of this folder's package.json; undefined where it is not installed. */
export const load = (name) => import(name).catch(() => undefined);

/** A JavaScript runtime's program out of its npm package, whose install script only puts it elsewhere; undefined where it is not
 * installed. */
export function program(name) {
	const places = { deno: ["@deno", "deno"], bun: ["@oven", "bin/bun"] }[name], folder = join(here, "node_modules", places[0]);
	if (!existsSync(folder))
		return undefined;
	const machine = { x64: "x64", arm64: name === "deno" ? "arm64" : "aarch64" }[process.arch], system = `${process.platform}-${machine}`;
	return [system, `${system}-glibc`, `bun-${system}`].map((each) => join(folder, each, places[1])).find(existsSync);
}

/** The checkout as it is, changes included, as a commit; undefined where it is not git's. */
export function commit() {
	const git = (...args) => spawnSync("git", args, { cwd: root, encoding: "utf8" }).stdout?.trim();
	// The commit that `git stash create` makes is on no branch.
	stash ??= git("-c", "user.name=test", "-c", "user.email=test@example.org", "stash", "create") || git("rev-parse", "HEAD") || "";
	return stash || undefined;
}
/** @type {string | undefined} */
let stash;

/** Makes the source tarball of that commit in a folder; gives its path. */
export function sourceTarball(folder) {
	execFileSync("make", ["-s", "source", `COMMIT=${commit()}`, `B=${folder}`], { cwd: root });
	return join(folder, readdirSync(folder).find((name) => /^qstore-.*\.tar\.gz$/.test(name)));
}
