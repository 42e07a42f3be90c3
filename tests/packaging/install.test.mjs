// The source tarball builds without git; `make install` puts a library in place with which programs that know nothing else are built.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
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
const noGit = { ...process.env, PATH: `${folder}/no-git:${process.env.PATH}` };
const make = (...args) => run("make", ["-s", `-j${availableParallelism()}`, ...args], { env: noGit });

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

/** All that is in the build's folder, with the times of the last changes. */
const built = () => execFileSync("find", [join(source, "build"), "-type", "f", "-printf", "%P %C@\n"], { encoding: "utf8" })
	.split("\n").sort();

test("make install only copies what make native built, also by other environment variables; modes do not depend on umask", { skip }, () => {
	const before = built(), place = join(folder, "it's a & b");
	const { CC, ...env } = noGit;
	run("sh", ["-c", 'umask 077; exec make -s install "$@"', "sh", `DESTDIR=${place}`, "PREFIX=/usr"], { env: { ...env, CFLAGS: "-O2" } });
	assert.deepEqual(built(), before);
	for (const name of filesIn(place).filter((each) => !/\.so(\.0)?$/.test(each)))
		assert.equal((statSync(join(place, name)).mode & 0o7777).toString(8), name.startsWith("usr/bin/") ? "755" : "644", name);
	assert.ok(filesIn(place).includes("usr/lib/pkgconfig/qstore.pc"));
	// A machine without libfuse3 removes qstore-mount all the same.
	run("make", ["-s", "uninstall", `DESTDIR=${place}`, "PREFIX=/usr"], { env: withoutFuse() });
	assert.deepEqual(filesIn(place), []);
});

test("folders that cannot be right are refused before anything is written, in one line", { skip }, () => {
	for (const [setting, why] of [["PREFIX=usr", "give the whole path"], ["PREFIX=/a b", "spaces"], ["LIBDIR=/a&b", "spaces and these"],
		["BINDIR=/it's", "spaces and these"], ["MANDIR=lib", "give the whole path"], ["PREFIX=/a%b", "spaces and these"]]) {
		for (const target of ["install", "uninstall"]) {
			const place = join(folder, "refused");
			const { status, stdout, stderr } = spawnSync("make", [target, setting, `DESTDIR=${place}`], { cwd: source, encoding: "utf8", env: noGit });
			assert.equal(status, 2);
			assert.match(stderr, new RegExp(`^native/packaging/build\\.mk:\\d+: \\*\\*\\* ${RegExp.escape?.(setting) ?? setting}: ${why}.*\n$`));
			assert.equal(stdout, "");
			assert.equal(existsSync(place), false);
		}
	}
});

/** An environment in which pkg-config knows no libfuse3. */
function withoutFuse() {
	const bin = join(folder, "no-fuse"), real = run("sh", ["-c", "command -v pkg-config"]).trim();
	mkdirSync(bin, { recursive: true });
	writeFileSync(join(bin, "pkg-config"), `#!/bin/sh\ncase "$*" in *fuse3*) exit 1 ;; esac\nexec ${real} "$@"\n`, { mode: 0o755 });
	return { ...noGit, PATH: `${bin}:${noGit.PATH}` };
}

/** The work that make would do in a copy of the tree as it was built: the objects that it compiles, the programs that it links, what it says. */
function wouldDo(goal, settings, env = noGit) {
	const copy = join(folder, "copy");
	rmSync(copy, { recursive: true, force: true });
	execFileSync("cp", ["-a", source, copy]);
	const { status, stdout, stderr } = spawnSync("make", ["-n", goal, ...settings], { cwd: copy, encoding: "utf8", env });
	assert.equal(status, 0, stderr);
	const made = (what, at) => stdout.split("\n").map((line) => line.match(new RegExp(`^printf '.*' ${what} build/${at}(\\S+) `))?.[1]).filter(Boolean);
	return { compiled: made("cc", "obj/"), linked: made("link", "(?:bin|lib)/"), stdout };
}

test("other flags count in a tree that is built already, and the same ones rebuild nothing", { skip }, () => {
	const same = ["CFLAGS=-O1"], none = { compiled: [], linked: [] };
	const pick = ({ compiled, linked }) => ({ compiled, linked });
	assert.deepEqual(pick(wouldDo("native", same)), none);
	assert.deepEqual(pick(wouldDo("native", [...same, "WERROR=1"])), none);
	const before = built();
	assert.match(run("make", ["-n", "native", "CFLAGS=-O2"], { env: noGit }), /^printf .* cc build\/obj\//m);
	assert.deepEqual(built(), before, "make -n writes nothing");
	const tools = readdirSync(join(source, "native/cli")).filter((name) => /^qstore-.*\.c$/.test(name)).map((name) => name.replace(/\.c$/, ""));
	const shared = wouldDo("native", [...same, "SHARED=1"]);
	assert.deepEqual(pick(shared), { compiled: [], linked: tools });
	const objects = filesIn(join(source, "build/obj")).filter((name) => name.endsWith(".o") && name.includes("/"));
	assert.ok(objects.length > 50);
	for (const other of [["CFLAGS=-O2"], [...same, "CC=ccache cc"], [...same, "CPPFLAGS=-DOTHER"]])
		assert.deepEqual(wouldDo("native", other).compiled.sort(), objects, other.join(" "));
	assert.deepEqual(wouldDo("install", [...same, "SHARED=1", `DESTDIR=${folder}/never`]).linked, tools, "install with a flag of its own");
	// Objects of the tests: CPPFLAGS says where headers are, and counts there too.
	for (const kind of ["asan", "tsan", "fuzz"]) {
		const object = `build/${kind}/native/src/text.o`, isMade = ({ stdout }) => stdout.includes(`-c -o ${object} `);
		make("FUZZ_CC=true", "TEST_CC=true", "CPPFLAGS=-DOTHER", object);
		writeFileSync(join(source, object), "");
		assert.ok(!isMade(wouldDo(object, ["FUZZ_CC=true", "TEST_CC=true", "CPPFLAGS=-DOTHER"])), kind);
		const again = wouldDo(object, ["FUZZ_CC=true", "TEST_CC=true", "CPPFLAGS=-DANOTHER"]);
		assert.ok(isMade(again) && again.stdout.includes("-DANOTHER"), kind);
	}
	// Without libfuse3 everything else stays as it was.
	assert.deepEqual(pick(wouldDo("native", same, withoutFuse())), none);
});

test("a build without libfuse3 says each time which tool it leaves out, and which package has it", { skip }, () => {
	for (let i = 0; i < 2; i++) {
		const { status, stderr } = spawnSync("make", ["-s", "native", "CFLAGS=-O1"], { cwd: source, encoding: "utf8", env: withoutFuse() });
		assert.equal(status, 0, stderr);
		assert.equal(stderr.match(/^note: libfuse3 .*libfuse3-dev.*fuse3-devel.* so qstore-mount is left out$/gm)?.length, 1, stderr);
	}
	assert.equal(spawnSync("make", ["-s", "native", "CFLAGS=-O1"], { cwd: source, encoding: "utf8", env: noGit }).stderr, "");
});

test("make that is called from elsewhere says in one line how to call it", { skip }, () => {
	const { status, stderr } = spawnSync("make", ["-f", join(source, "Makefile"), "native"], { cwd: folder, encoding: "utf8" });
	assert.equal(status, 2);
	assert.ok(stderr.endsWith(`call it as make -C ${source}.  Stop.\n`) && stderr.split("\n").length === 2, stderr);
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
