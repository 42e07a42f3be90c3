// The source tarball builds without git; `make install` puts a library in place with which programs that know nothing else are built.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { temporary } from "../js/helpers/tools.mjs";
import { commit, root, sourceTarball } from "./helpers.mjs";

const skip = commit() ? undefined : "this is no git checkout: there is nothing to make the source tarball of";
const folder = temporary({ after }), tree = join(folder, "tree"), staged = join(folder, "staged"), usr = join(staged, "usr/local");
let source;

/** Runs a program that must succeed, in the tarball's tree; gives its output. */
function run(program, args, options) {
	const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: source, encoding: "utf8", ...options });
	assert.equal(status, 0, `${program} ${args.join(" ")}: ${error ?? stderr}`);
	return stdout;
}
const make = (...args) => run("make", ["-s", `-j${availableParallelism()}`, ...args],
	{ env: { ...process.env, PATH: `${folder}/no-git:${process.env.PATH}` } });

before(() => {
	if (skip)
		return;
	mkdirSync(join(folder, "no-git"));
	writeFileSync(join(folder, "no-git/git"), `#!/bin/sh\necho "$@" >>${folder}/git-was-called\nexit 1\n`);
	chmodSync(join(folder, "no-git/git"), 0o755);
	mkdirSync(tree);
	execFileSync("tar", ["xzf", sourceTarball(folder), "-C", tree]);
	source = join(tree, readdirSync(tree)[0]);
	// Quicker than -O3; nothing that is tested here depends on it.
	make("CFLAGS=-O1", "native");
	make("CFLAGS=-O1", "install", `DESTDIR=${staged}`);
});

test("the source tarball is the same twice, and has what git has", { skip }, () => {
	const other = temporary({ after });
	assert.deepEqual(readFileSync(sourceTarball(other)), readFileSync(sourceTarball(folder)));
	const listed = execFileSync("git", ["ls-tree", "-r", "--name-only", "-z", commit()], { cwd: root, encoding: "utf8" }).split("\0")
		.filter(Boolean);
	const packed = execFileSync("tar", ["tzf", sourceTarball(folder), "--quoting-style=literal"], { encoding: "utf8", maxBuffer: 2 ** 26 })
		.split("\n")
		.filter((name) => name && !name.endsWith("/")).map((name) => name.replace(/^[^/]*\//, ""));
	assert.deepEqual(packed.sort(), listed.sort());
});

test("it builds without git", { skip }, () => assert.equal(existsSync(join(folder, "git-was-called")), false));

/** All files and links below a folder. */
const filesIn = (place) => execFileSync("find", [place, "(", "-type", "f", "-o", "-type", "l", ")", "-printf", "%P\n"],
	{ encoding: "utf8" })
	.split("\n").filter(Boolean).sort();

test("make install puts everything in its place, and make uninstall removes it", { skip }, () => {
	const { version } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
	const tools = readdirSync(join(source, "native/cli")).filter((name) => /^qstore-.*\.c$/.test(name))
		.map((name) => name.replace(/\.c$/, ""));
	const library = ["libqstore.a", "libqstore.so", "libqstore.so.0", `libqstore.so.${version.split("-")[0]}`, "pkgconfig/qstore.pc"];
	const elsewhere = (lib) => [...tools.flatMap((tool) => [`bin/${tool}`, `share/man/man1/${tool}.1`,
		`share/bash-completion/completions/${tool}`,
		`share/zsh/site-functions/_${tool}`, `share/fish/vendor_completions.d/${tool}.fish`]), ...library.map((name) => `${lib}/${name}`),
			"include/qstore.h"].sort();
	assert.deepEqual(filesIn(usr), elsewhere("lib"));
	const other = join(folder, "other"), settings = ["CFLAGS=-O1", `DESTDIR=${other}`, "PREFIX=/opt/q", "LIBDIR=/opt/q/lib64"];
	make(...settings, "install");
	assert.deepEqual(filesIn(join(other, "opt/q")), elsewhere("lib64"));
	assert.match(readFileSync(join(other, "opt/q/lib64/pkgconfig/qstore.pc"), "utf8"), /^prefix=\/opt\/q\nlibdir=\$\{prefix\}\/lib64\n/);
	make(...settings, "uninstall");
	assert.deepEqual(filesIn(other), []);
	// In no file is the name of the folder that it was installed through.
	for (const name of filesIn(usr))
		assert.ok(!readFileSync(join(usr, name)).includes(staged), name);
});

test("both libraries show the names of qstore.h and no others", { skip }, () => {
	const names = (...args) => run("nm", [...args, "--defined-only"]).split("\n").map((line) => line.split(" ")[2]).filter(Boolean).sort();
	const declared = [...readFileSync(join(usr, "include/qstore.h"), "utf8").matchAll(/^[a-z][\w *]*?\b(qstore_\w+)\(/gm)].map(([, name]) =>
		name).sort();
	assert.ok(declared.length >= 14);
	assert.deepEqual(names("-D", join(usr, "lib/libqstore.so")), declared);
	assert.deepEqual(names("-g", join(usr, "lib/libqstore.a")), declared);
	assert.match(run("readelf", ["-d", join(usr, "lib/libqstore.so")]), /SONAME.*\[libqstore\.so\.0\]/);
});

/** pkg-config for the staged files. */
const pkgConfig = (...args) => run("pkg-config", args, {
	env: { ...process.env, PKG_CONFIG_PATH: join(usr, "lib/pkgconfig"), PKG_CONFIG_SYSROOT_DIR: staged },
}).trim().split(/\s+/);

/** Compiles an example of the staged header and library, and gives the program. */
function compile(name, { libs = pkgConfig("--libs", "qstore") } = {}) {
	const program = join(folder, `${name}-${libs.length}`), strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
	const [compiler, standard] = name.endsWith(".c") ? ["cc", "-std=c99"] : ["c++", "-std=c++11"];
	run(compiler, [standard, ...strict, join("native/examples", name), ...pkgConfig("--cflags", "qstore"), ...libs, "-o", program],
		{ cwd: source });
	return program;
}

const example = (program, ...args) => run(program, args, { env: { ...process.env, LD_LIBRARY_PATH: join(usr, "lib") } });
const needsCxx = skip ?? (spawnSync("c++", ["--version"]).error && "c++ is not installed: scripts/setup");

test("an example in C++ packs and restores, others in C list and read a tensor; with the static library too", { skip: needsCxx }, () => {
	const model = join(folder, "model"), archive = join(folder, "model.qstore"), restored = join(folder, "restored");
	run(join(source, "build/bin/qstore-generate"), ["--weights", "100000", "-o", model]);
	const said = example(compile("roundtrip.cpp"), model, archive, restored);
	for (const phase of ["quantizing", "encoding", "verifying", "restoring"])
		assert.match(said, new RegExp(`^${phase}: \\d+ bytes$`, "m"));
	const low = join(folder, "low"), high = join(folder, "high"), unpack = join(usr, "bin/qstore-unpack");
	run(unpack, ["-q", "-p", "low", archive, "-o", low]);
	run(unpack, ["-q", archive, "-o", high]);
	run("diff", ["-r", low, restored]);
	run("diff", ["-r", model, high]);

	const { variants, files } = JSON.parse(run(join(usr, "bin/qstore-info"), ["--json", archive]));
	const expected = [
		...variants.map((v) =>
			new RegExp(`^variant ${v.name}: \\d+ tensors, ${v.size} bytes, out of the archive's first ${v.downloadSize}$`, "m")),
		...files.filter((file) => file.variants.includes(variants[0].name))
			.map((file) => new RegExp(`^file ${file.name}: ${file.size} bytes$`, "m")),
	];
	const tensor = example(compile("tensor.c"), archive, "bf16", "model.norm.weight");
	assert.match(tensor, /^model\.norm\.weight BF16 \[\d+\]:( [0-9a-f]{2}){16}$/m);
	const others = run("pkg-config", ["--libs", ...pkgConfig("--print-requires-private", "qstore")]).trim().split(/\s+/);
	const fixed = [`-L${join(usr, "lib")}`, "-Wl,-Bstatic", "-lqstore", "-Wl,-Bdynamic", ...others, "-pthread", "-lm"];
	const programs = [compile("contents.c"), compile("contents.c", { libs: fixed })];
	for (const program of programs) {
		const text = example(program, archive);
		for (const line of expected)
			assert.match(text, line);
	}
	assert.deepEqual(programs.map((program) => run("readelf", ["-d", program]).includes("[libqstore.so.0]")), [true, false]);
});
