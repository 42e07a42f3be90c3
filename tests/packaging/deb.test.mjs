// Debian packages: built, looked at by lintian, installed into a folder, run from there, and removed.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { native, temporary } from "../js/helpers/tools.mjs";
import { commit, root } from "./helpers.mjs";

const missing = (program) => spawnSync(program, ["--version"]).error && `${program} is not installed: scripts/setup --browsers`;
const skip = missing("dpkg-buildpackage") ?? missing("dh") ??
	(commit() ? undefined : "this is no git checkout: there is nothing to make the source tarball of");
const folder = temporary({ after }), debs = join(folder, "deb");
let packages;

before(() => {
	if (skip)
		return;
	// Debian's own compiler flags count, not those of whoever runs the tests.
	const { CC, CFLAGS, ...env } = process.env;
	execFileSync("make", ["-s", "deb", `COMMIT=${commit()}`, `B=${folder}`], { cwd: root, env, stdio: ["ignore", "ignore", "pipe"] });
	packages = readdirSync(debs).filter((name) => name.endsWith(".deb") && !name.includes("-dbgsym_")).sort();
});

test("there are five packages", { skip }, () => {
	assert.deepEqual(packages.map((name) => name.replace(/_.*/, "")), ["libqstore-dev", "libqstore0", "python3-qstore", "qstore-mount", "qstore"]);
});

test("lintian finds no errors", { skip: skip ?? missing("lintian") }, (t) => {
	const { status, stdout, stderr } = spawnSync("lintian", ["--fail-on", "error", ...packages.map((name) => join(debs, name))],
		{ encoding: "utf8" });
	assert.equal(status, 0, stdout + stderr);
	const warnings = stdout.split("\n").filter((line) => line.startsWith("W: "));
	t.diagnostic(`figures: lintian has ${warnings.length} warnings: ${[...new Set(warnings.map((line) => line.split(" ")[2]))].join(", ") ||
		"none"}`);
});

/** All that is in a folder but dpkg's own records. */
const found = (place) => execFileSync("find", [place, "-mindepth", "1", "-not", "-path", `${place}/var*`, "-printf", "%P\n"],
	{ encoding: "utf8" })
	.split("\n").filter(Boolean).sort();

test("they are installed, their tools run with the library that came along, and removed", { skip: skip ?? needsRoot() }, () => {
	// dpkg has a folder of its own for /, and there a copy of the list of installed packages: so dependencies are checked, and nothing
	// of this machine is touched.
	const place = join(folder, "root"), admin = join(place, "var/lib/dpkg"), log = join(folder, "dpkg.log");
	for (const each of ["info", "updates", "triggers"])
		mkdirSync(join(admin, each), { recursive: true });
	copyFileSync("/var/lib/dpkg/status", join(admin, "status"));
	const dpkg = (...args) => spawnSync("dpkg", [`--root=${place}`, `--log=${log}`, "--force-unsafe-io", "--force-script-chrootless",
		...args],
		{ encoding: "utf8", maxBuffer: 2 ** 26 });
	const empty = found(place);

	const refused = dpkg("-i", join(debs, packages.find((name) => name.startsWith("qstore_"))));
	assert.notEqual(refused.status, 0, "the tools need the library's package");
	assert.match(refused.stderr, /qstore depends on libqstore0 \(= /);
	const installed = dpkg("-i", ...packages.map((name) => join(debs, name)));
	assert.equal(installed.status, 0, installed.stderr);

	const { DEB_HOST_MULTIARCH: triplet } = Object.fromEntries(execFileSync("dpkg-architecture", { encoding: "utf8" }).split("\n")
		.map((line) => line.split("=")));
	const env = { ...process.env, LD_LIBRARY_PATH: join(place, "usr/lib", triplet) };
	const run = (tool, ...args) => execFileSync(join(place, "usr/bin", tool), args, { env, encoding: "utf8" });
	assert.match(execFileSync("readelf", ["-d", join(place, "usr/bin/qstore-pack")], { encoding: "utf8" }), /NEEDED.*\[libqstore\.so\.0\]/);
	const model = join(folder, "model"), archive = join(folder, "model.qstore");
	native("qstore-generate", "--weights", "100000", "-o", model);
	run("qstore-pack", "-q", model, "-o", archive);
	run("qstore-info", "-q", "--verify", archive);
	run("qstore-unpack", "-q", archive, "-o", join(folder, "restored"));
	execFileSync("diff", ["-r", model, join(folder, "restored")]);
	for (const tool of ["qstore-info", "qstore-pack", "qstore-unpack"])
		assert.ok(found(place).includes(`usr/share/man/man1/${tool}.1.gz`), tool);

	const python = "import sys, qstore\nwith qstore.safe_open(sys.argv[1]) as f:\n    print(len(f.keys()))";
	const keys = execFileSync("/usr/bin/python3", ["-c", python, archive], { encoding: "utf8", env: { ...env,
		PYTHONPATH: join(place, "usr/lib/python3/dist-packages"), PYTHONDONTWRITEBYTECODE: "1",
		QSTORE_LIBRARY: join(place, "usr/lib", triplet, "libqstore.so.0") } });
	assert.ok(Number(keys) > 10, keys);

	const purged = dpkg("--purge", ...packages.map((name) => name.replace(/_.*/, "")));
	assert.equal(purged.status, 0, purged.stderr);
	assert.deepEqual(found(place), empty);
	assert.match(readFileSync(log, "utf8"), / status not-installed qstore:/);
});

/** dpkg gives files to root. */
function needsRoot() {
	return process.getuid() === 0 ? undefined : "dpkg needs root to install";
}
