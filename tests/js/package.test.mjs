// The package that npm publishes works as it is, with no compiler and no other package.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import ts from "typescript";

const run = promisify(execFile);
const root = new URL("../../", import.meta.url);
const read = (name) => readFile(new URL(name, root), "utf8");
const manifest = JSON.parse(await read("package.json"));
let folder, packed;

before(async () => {
	folder = await mkdtemp(join(tmpdir(), "qstore-package-"));
	await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
	const [tarball] = await readdir(folder);
	await run("tar", ["xzf", join(folder, tarball), "-C", folder]);
	packed = join(folder, "package");
});

after(() => rm(folder, { recursive: true, force: true }));

/** All paths in `exports`, `bin` and `types`. */
function paths(value) {
	return typeof value === "string" ? [value] : Object.values(value ?? {}).flatMap(paths);
}

test("it depends on nothing", () => {
	assert.equal(manifest.type, "module");
	assert.equal(manifest.dependencies, undefined);
	assert.equal(manifest.optionalDependencies, undefined);
	for (const script of ["preinstall", "install", "postinstall", "prepare"])
		assert.equal(manifest.scripts[script], undefined, `a user would run the script "${script}"`);
});

/** All sets of conditions in `exports` that name a program. */
function programs(conditions) {
	return typeof conditions !== "object" ? [] : [...conditions.default ? [conditions] : [],
		...Object.values(conditions).flatMap(programs)];
}

test("the types of a program come before it in exports, and Node's program before the other", () => {
	for (const conditions of programs(manifest.exports)) {
		const names = Object.keys(conditions);
		assert.ok(["types,default", "node,types,default"].includes(names.join()), names.join());
	}
});

test("everything that package.json names is in the tarball", async () => {
	for (const path of paths([manifest.exports, manifest.bin, manifest.types]))
		assert.ok((await stat(join(packed, path))).isFile(), path);
});

/** Files that no import reaches and that belong in the tarball all the same. */
const OTHERS = ["CHANGELOG.md", "LICENSE", "README.md", "dist/THIRD-PARTY.txt", "native/FORMAT.md", "package.json"];

/** Files that a module or its types name: imports, and files beside them such as a worker's. Comments of modules speak of types only. */
function namesIn(file, source) {
	const text = file.endsWith(".js") ? source.replace(/\/\*[\s\S]*?\*\//g, "") : source;
	const found = [/\b(?:from|import)\s*\(?\s*"([^"]+)"/g, /\bnew URL\("([^"]+)", import\.meta\.url\)/g].flatMap((pattern) =>
		[...text.matchAll(pattern)]);
	return found.map(([, name]) => name).filter((name) => /^\.\.?\//.test(name));
}

/** All files that these reach. */
async function reached(paths, found = new Set()) {
	for (const path of paths.map((each) => normalize(each))) {
		// A module's types are named like the module.
		const file = path.startsWith("dist/types/") ? path.replace(/(\.d\.ts|\.js)?$/, ".d.ts") : path;
		if (found.has(file) || OTHERS.includes(file))
			continue;
		found.add(file);
		if (/\.(js|ts)$/.test(file))
			await reached(namesIn(file, await readFile(join(packed, file), "utf8")).map((name) => join(dirname(file), name)), found);
	}
	return found;
}

test("the tarball has what package.json's exports reach, a few documents, and nothing else", async () => {
	const { stdout } = await run("find", [".", "-type", "f"], { cwd: packed });
	const files = stdout.split("\n").filter(Boolean).map((name) => normalize(name));
	const needed = [...await reached(paths([manifest.exports, manifest.bin, manifest.types])), ...OTHERS];
	assert.deepEqual(files.filter((file) => !needed.includes(file)), [],
		"not needed: leave them out in package.json's files (scripts/prune-types does so for types)");
	assert.deepEqual(needed.filter((file) => !files.includes(file)), [], "missing");
	assert.ok(files.includes("dist/qstore.wasm") && files.includes("dist/qstore-scalar.wasm"));
	const { size } = await stat(join(packed, "dist/qstore.wasm"));
	assert.ok(size > 50_000 && size < 400_000, `${size} bytes of WebAssembly`);
});

test("it decodes from where it was unpacked", async () => {
	const { createDecoder } = await import(`file://${packed}/js/wasm/module.js`);
	for (const simd of [true, false])
		assert.equal((await createDecoder({ simd })).version, manifest.version);
});

test("its parts are found by name, with types", async () => {
	await mkdir(join(folder, "user/node_modules"), { recursive: true });
	await symlink(packed, join(folder, "user/node_modules/qstore-decode"));
	await writeFile(join(folder, "user/main.mjs"), `
		import * as main from "qstore-decode";
		import * as node from "qstore-decode/node";
		import * as internals from "qstore-decode/internals";
		console.log(main === node, [main.openQstore, main.httpSource, node.unpack, internals.spawnThread].map((part) => typeof part).join());
	`);
	const { stdout } = await run(process.execPath, ["main.mjs"], { cwd: join(folder, "user") });
	assert.equal(stdout, "true function,function,function,function\n");
	for (const { types } of programs(manifest.exports))
		assert.match(await readFile(join(packed, types), "utf8"), /export /);
});

// The exports of the package's entries. A name that is added or goes is a change of the public interface: CHANGELOG.md.
const VALUES = ["Archive", "ArchiveBytes", "ArchiveFile", "ArchiveTensor", "HttpError", "QstoreError", "STATUS", "SourceChangedError",
	"TensorData", "blobSource", "bytesSource", "createHandler", "fileBlob", "fileResponse", "httpSource", "openQstore", "opfsStore"];
const TYPES = ["BaseInput", "BlobOptions", "CacheFolder", "CacheOptions", "CacheStore", "CachedSource", "FileBlob", "FileInfo",
	"Handler", "HandlerOptions", "HttpOptions",
	"HttpSource", "Limits", "LoadOptions", "OpenOptions", "PrecisionOptions", "Progress", "RandomAccessFile", "ReadOptions",
		"ResponseOptions", "Route", "Salvaged",
	"Source", "SourceInput", "StatusName", "TensorInfo", "TypedArray", "UpgradeOptions", "Variant", "WorkerOptions"];
const NODE_VALUES = [...VALUES, "FileSource", "defaultCacheFolder", "folderStore", "handleSource", "openFile", "repair", "unpack"];
const NODE_TYPES = [...TYPES, "Damage", "NodeInput", "OpenFile", "RepairOptions", "Repaired", "UnpackOptions", "UnpackProgress", "Unpacked"];

test("the entries export exactly what is listed here", async () => {
	for (const [path, names] of [["js/index.js", VALUES], ["js/node/index.js", NODE_VALUES]])
		assert.deepEqual(Object.keys(await import(`file://${packed}/${path}`)).sort(), [...names].sort(), path);
	const { node, types } = manifest.exports["."];
	for (const [path, names] of [[types, [...VALUES, ...TYPES]], [node.types, [...NODE_VALUES, ...NODE_TYPES]]]) {
		const file = join(packed, path), program = ts.createProgram([file], { module: ts.ModuleKind.NodeNext, types: [] });
		const checker = program.getTypeChecker(), module = checker.getSymbolAtLocation(program.getSourceFile(file));
		assert.deepEqual(checker.getExportsOfModule(module).map(({ name }) => name).sort(), [...names].sort(), path);
	}
});

/** Checks a program of a user who has the browser's types and not Node's; gives what the compiler says. */
async function compile(name, text, options) {
	const user = join(folder, "user");
	await mkdir(join(user, "node_modules"), { recursive: true });
	await symlink(packed, join(user, "node_modules/qstore-decode")).catch(() => {});
	await writeFile(join(user, "package.json"), JSON.stringify({ type: "module" }));
	await writeFile(join(user, name), text);
	const program = ts.createProgram([join(user, name)], {
		noEmit: true, strict: true, target: ts.ScriptTarget.ES2022, lib: ["es2023", "dom", "dom.iterable", "dom.asynciterable"]
			.map((lib) => `lib.${lib}.d.ts`), types: [], ...options,
	});
	return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

const BUNDLER = { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler };
const NODE = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext };

test("every exported type can be imported by its name", async () => {
	const program = (values, types) => `import type { ${[...values, ...types].join(", ")} } from "qstore-decode";
		export type All = [${[...values.map((name) => `typeof ${name}`), ...types].join(", ")}];\n`;
	assert.deepEqual(await compile("names.ts", program(VALUES, TYPES), BUNDLER), []);
	assert.deepEqual(await compile("names-node.ts", program(NODE_VALUES, NODE_TYPES), NODE), []);
	assert.notDeepEqual(await compile("names-none.ts", program([], ["NoSuchType"]), BUNDLER), []);
});

test("in Node the entry's types are Node's: an open file is one of the inputs", async () => {
	const program = `import { openQstore, type OpenFile } from "qstore-decode";
		export const open = (file: OpenFile) => openQstore(file, { base: "a/folder" });\n`;
	assert.deepEqual(await compile("open-node.ts", program, NODE), []);
	assert.notDeepEqual(await compile("open-bundler.ts", program, BUNDLER), []);
});

test("the command runs from the tarball", async () => {
	const cli = join(packed, manifest.bin["qstore-decode"]);
	const { stdout } = await run(process.execPath, [cli, "--version"], { cwd: folder });
	assert.ok(stdout.includes(manifest.version), stdout);
	assert.match(await readFile(cli, "utf8"), /^#!\/usr\/bin\/env node\n/);
	assert.ok((await stat(cli)).mode & 0o100, "js/cli.js can be executed");
});

test("the lock file names no registry or mirror", async () => {
	const lock = JSON.parse(await read("package-lock.json"));
	// "url" says where a package's authors take donations.
	assert.doesNotMatch((await read("package-lock.json")).replace(/^ *"url": .*$/gm, ""), /"resolved"|https?:/);
	for (const [path, { integrity }] of Object.entries(lock.packages).filter(([path]) => path !== ""))
		assert.match(integrity ?? "", /^sha512-/, path);
	assert.equal(lock.packages[""].version, manifest.version);
});
