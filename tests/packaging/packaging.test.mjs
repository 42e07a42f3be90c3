// The published tarball, installed elsewhere: bundled by Vite, esbuild and webpack and run in Chromium, in Node, Deno and Bun, and by its
// types in TypeScript.
import assert from "node:assert/strict";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, missing } from "../browser/helpers/browsers.mjs";
import { packPair } from "../browser/helpers/models.mjs";
import { serveFolders } from "../js/helpers/server.mjs";
import { PAGE, installPackage, load, program, root, run } from "./helpers.mjs";

const SMALL = ["--layers", "1", "--hidden", "64", "--intermediate", "128", "--vocab", "512"];
let model, app, browser;

before(async () => {
	model = packPair(...SMALL);
	app = await installPackage(model.folder);
});

after(async () => {
	await browser?.close();
	model?.remove();
});

/** The result that the user's page shows. */
async function open(url) {
	browser ??= await launch("chromium");
	const page = await browser.newPage(), errors = [];
	page.on("pageerror", (error) => errors.push(error));
	await page.goto(url);
	await page.waitForFunction(() => globalThis.result !== undefined, { timeout: 60_000 });
	const result = await page.evaluate(() => globalThis.result);
	await page.close();
	assert.deepEqual(errors, []);
	return result;
}

/** The user's page, built, from any server. headers: of all answers. workers: does the build have the worker's file? */
async function openBuilt(folder, { headers, workers = true } = {}) {
	const site = await serveFolders({ "/": folder, "/data/": model.folder }, { headers });
	try {
		const result = await open(`${site.origin}/index.html`);
		const started = site.log.filter((entry) => entry.headers["sec-fetch-dest"] === "worker" && entry.sent > 0).length;
		assert.equal(started > 0, workers, `${started} workers started`);
		return result;
	} finally {
		await site.close();
	}
}

/** A test that needs npm packages of tests/packaging and, unless told otherwise, Chromium. */
function packaged(title, needs, tools, body) {
	test(title, { timeout: 180_000, skip: needs }, async (t) => body(t, await Promise.all(tools.map(load))));
}

const bundler = (name) => missing("chromium") ?? installed(name);
const installed = (name) => existsPackage(name) ? undefined : `${name} is not installed: scripts/setup --browsers`;
const packages = new Set(await readdir(new URL("node_modules", import.meta.url)).catch(() => []));
const existsPackage = (name) => packages.has(name);

// Vite bundles dependencies for its development server, where the worker's file is not found then, and the page's thread decodes.
for (const [title, optimizeDeps, workers] of [["", {}, false],
	[", the package left out of its bundles", { exclude: ["qstore-decode"] }, true]]) {
	packaged(`Vite's development server${title}`, bundler("vite"), ["vite"], async (t, [{ createServer }]) => {
		const folder = join(model.folder, `vite-dev-${workers}`), started = [];
		await cp(app, folder, { recursive: true });
		const middleware = async (request, response, next) => {
			if (request.headers["sec-fetch-dest"] === "worker")
				response.on("finish", () => started.push(/javascript/.test(response.getHeader("content-type"))));
			if (request.url.startsWith("/data/"))
				response.end(await readFile(join(model.folder, request.url.slice("/data/".length))));
			else
				next();
		};
		const server = await createServer({
			root: folder, configFile: false, logLevel: "error", optimizeDeps, server: { port: 0, host: "127.0.0.1", ws: false, hmr: false },
			plugins: [{ name: "data", configureServer: ({ middlewares }) => void middlewares.use(middleware) }],
		});
		t.after(() => server.close());
		await server.listen();
		assert.deepEqual(await open(`http://127.0.0.1:${server.httpServer.address().port}/`), model.hashes);
		assert.equal(started.some(Boolean), workers, `workers: ${started}`);
	});
}

packaged("Vite's build, by a strict policy", bundler("vite"), ["vite"], async (t, [{ build }]) => {
	const folder = join(model.folder, "vite-build");
	await build({ root: app, configFile: false, logLevel: "error", build: { outDir: folder } });
	assert.deepEqual(await openBuilt(folder, {
		headers: { "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src data:" },
	}), model.hashes);
});

// esbuild does not look for workers: as an entry point of its own it is beside the page's bundle, where that looks for it.
for (const [title, entries, workers] of [["", {}, false], [", the worker as an entry point", { worker: "qstore-decode/worker" }, true]]) {
	packaged(`esbuild${title}`, bundler("esbuild"), ["esbuild"], async (t, [{ build }]) => {
		const folder = join(model.folder, `esbuild-${workers}`);
		const { warnings } = await build({
			absWorkingDir: app, entryPoints: { main: "main.mjs", ...entries }, outdir: folder, bundle: true, format: "esm", minify: true,
			logLevel: "silent",
		});
		assert.deepEqual(warnings, []);
		await writeFile(join(folder, "index.html"), PAGE("./main.js"));
		assert.deepEqual(await openBuilt(folder, { workers }), model.hashes);
	});
}

packaged("webpack", bundler("webpack"), ["webpack"], async (t, [{ default: webpack }]) => {
	const folder = join(model.folder, "webpack");
	const compiler = webpack({
		mode: "production", context: app, entry: "./main.mjs", output: { path: folder, filename: "main.js" }, performance: { hints: false },
	});
	const stats = await new Promise((resolve, reject) => compiler.run((error, stats) => error ? reject(error) : resolve(stats)));
	await new Promise((resolve) => compiler.close(resolve));
	const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
	assert.deepEqual([errors, warnings], [[], []]);
	await writeFile(join(folder, "index.html"), PAGE("./main.js"));
	assert.deepEqual(await openBuilt(folder), model.hashes);
});

packaged("with no bundler, by an import map", missing("chromium"), [], async () => {
	const folder = join(model.folder, "plain");
	await cp(app, folder, { recursive: true });
	const { exports } = JSON.parse(await readFile(join(app, "node_modules/qstore-decode/package.json"), "utf8"));
	const imports = Object.fromEntries(Object.entries(exports).flatMap(([name, { default: path }]) =>
		path ? [[join("qstore-decode", name), `/node_modules/qstore-decode/${path.slice(2)}`]] : []));
	await writeFile(join(folder, "index.html"), `<script type="importmap">${JSON.stringify({ imports })}</script>${PAGE("./main.mjs")}`);
	assert.deepEqual(await openBuilt(folder), model.hashes);
});

const SCRIPT = `
	import { hashFiles } from "./app.mjs";
	console.log(JSON.stringify(await hashFiles(process.argv[2])));
`;

for (const [name, command, args] of [
	["Node", process.execPath, []], ["Deno", program("deno"), ["run", "--no-remote", "--node-modules-dir=manual", "--allow-all"]],
	["Bun", program("bun"), ["run"]],
]) {
	packaged(`${name}, from a file and from a URL`, command ? undefined : `${name} is not installed: scripts/setup --browsers`, [],
		async (t) => {
		const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
		const site = await serveFolders({ "/": model.folder });
		t.after(() => site.close());
		await writeFile(join(app, "script.mjs"), SCRIPT);
		const start = async (...rest) => (await run(command, [...args, ...rest], { cwd: app })).stdout;
		assert.deepEqual(JSON.parse(await start("script.mjs", join(model.folder, "model.qstore"))), model.hashes);
		assert.deepEqual(JSON.parse(await start("script.mjs", `${site.origin}/model.qstore`)), model.hashes);
		const cli = "node_modules/qstore-decode/js/cli.js", out = join(model.folder, `restored-${name}`);
		assert.ok((await start(cli, "--version")).includes(version));
		await mkdir(out);
		await start(cli, join(model.folder, "model.qstore"), "-o", join(out, "model"), "--precision", "int8", "-q");
		const config = await readFile(join(out, "model/config.json"));
		assert.deepEqual(config, await readFile(join(model.folder, "int8/config.json")));
		await rm(out, { recursive: true });
	});
}

for (const [module, moduleResolution] of [["ESNext", "Bundler"], ["NodeNext", "NodeNext"]]) {
	packaged(`its types, found as ${moduleResolution} finds them`, undefined, [], async () => {
		const config = join(app, `tsconfig.${moduleResolution}.json`);
		await writeFile(config, JSON.stringify({
			// No types but the package's own and the browser's: a user may have none of Node's.
			compilerOptions: { noEmit: true, strict: true, target: "ES2022", lib: ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
				types: [], module, moduleResolution },
			files: ["app.ts"],
		}));
		await run(join(root, "node_modules/.bin/tsc"), ["-p", config], { cwd: app }).catch(({ stdout }) => assert.fail(stdout));
	});
}
