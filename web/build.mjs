#!/usr/bin/env node
// Assembles the page as a static site that can be uploaded as it is: web/, the library, the runtime, the model. Nothing is bundled or
// rewritten. Use: web/build.mjs [FOLDER], build/web by default. QSTORE_JS: a checkout whose js/ and dist/ are taken instead of this one's.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const site = process.argv[2] ?? join(root, "build/web");
const library = process.env.QSTORE_JS ?? root;
/** Files of web/ that only make the site or the model. */
const NOT_SERVED = /^(build|serve|picture)\.mjs$|^tsconfig\.json$|^types$|^model\/(?!.*\.qstore$)/;

const slashes = (path) => path.split(sep).join("/");

/** Copies a folder's files whose names, relative to it, are wanted. */
function copy(from, to, wanted) {
	for (const name of filesOf(from)) {
		if (wanted(name)) {
			mkdirSync(dirname(join(to, name)), { recursive: true });
			cpSync(join(from, name), join(to, name));
		}
	}
}

function filesOf(folder) {
	return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
		.map((entry) => slashes(relative(folder, join(entry.parentPath ?? entry.path, entry.name)))).sort();
}

/** Where npm put wllama: the tests in browsers have it too. */
function wllamaFolder() {
	const resolve = createRequire(join(root, "tests/browser/package.json")).resolve;
	try {
		// Its package.json has no exports: files are found by their paths.
		return dirname(resolve("@wllama/wllama/package.json"));
	} catch {
		throw new Error("@wllama/wllama is not installed: scripts/setup --browsers");
	}
}

rmSync(site, { recursive: true, force: true });
copy(join(root, "web"), site, (name) => !NOT_SERVED.test(name));
copy(join(library, "js"), join(site, "qstore/js"), (name) => !name.startsWith("node/") && name !== "cli.js");
copy(join(library, "dist"), join(site, "qstore/dist"), (name) => /^(qstore(-scalar)?\.wasm\.js|THIRD-PARTY\.txt)$/.test(name));
cpSync(join(root, "LICENSE"), join(site, "qstore/LICENSE"));
const wllama = wllamaFolder();
mkdirSync(join(site, "wllama"), { recursive: true });
cpSync(join(wllama, "esm/index.min.js"), join(site, "wllama/index.js"));
cpSync(join(wllama, "esm/wasm/wllama.wasm"), join(site, "wllama/wllama.wasm"));
cpSync(join(wllama, "LICENCE"), join(site, "wllama/LICENCE"));

// The files that work offline, for sw.js: all but the archives, which the library keeps itself.
// (index.html is "./": hosts may redirect its own name. Where there is no SIMD, the runtime does not run either.)
const files = filesOf(site).filter((name) => !/\.(qstore|txt)$|^(sw\.js|index\.html)$|licen[cs]e$|scalar/i.test(name));
const hash = createHash("sha256");
for (const name of [...files, "index.html", "sw.js"])
	hash.update(name).update(readFileSync(join(site, name)));
writeFileSync(join(site, "files.js"), `// Made by web/build.mjs.
self.VERSION = ${JSON.stringify(hash.digest("hex").slice(0, 16))};
self.FILES = ${JSON.stringify(["./", ...files], null, "\t")};
`);
if (!existsSync(join(site, "model/stories.qstore")))
	process.stderr.write("web: there is no web/model/stories.qstore: the page opens with no model of its own\n");
