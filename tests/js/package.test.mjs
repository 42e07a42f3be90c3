// What npm publishes: a package that works as it is, with no compiler and no other package.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

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

test("types come first in exports", () => {
	for (const conditions of Object.values(manifest.exports)) {
		if (typeof conditions === "object")
			assert.equal(Object.keys(conditions)[0], "types");
	}
});

test("everything that package.json names is in the tarball", async () => {
	for (const path of paths([manifest.exports, manifest.bin, manifest.types]))
		assert.ok((await stat(join(packed, path))).isFile(), path);
});

test("it has both modules and no sources of theirs, no tests, and is small", async () => {
	const { size } = await stat(join(packed, "dist/qstore.wasm"));
	assert.ok(size > 50_000 && size < 400_000, `${size} bytes of WebAssembly`);
	assert.ok((await stat(join(packed, "dist/qstore-scalar.wasm"))).isFile());
	assert.ok((await stat(join(packed, "dist/THIRD-PARTY.txt"))).isFile());
	assert.deepEqual((await readdir(packed)).sort(), ["CHANGELOG.md", "LICENSE", "dist", "js", "native", "package.json",
		...(await readdir(packed)).includes("README.md") ? ["README.md"] : []].sort());
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
		console.log(main === node, [main.openQstore, main.httpSource, node.unpack].map((part) => typeof part).join());
	`);
	const { stdout } = await run(process.execPath, ["main.mjs"], { cwd: join(folder, "user") });
	assert.equal(stdout, "true function,function,function\n");
	for (const { types } of Object.values(manifest.exports).filter((entry) => entry.types))
		assert.match(await readFile(join(packed, types), "utf8"), /export /);
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
