// Builds a copy of this checkout in another folder, with other permissions, and compares its modules and its npm tarball with this
// checkout's: equal sources and an equal Emscripten must give equal bytes.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const tracked = sources();
let folder, copy;

/** This checkout's files, without what was built; undefined where there is no git. */
function sources() {
	try {
		const names = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
			{ cwd: root, encoding: "utf8" });
		return names.split("\0").filter((name) => name !== "" && existsSync(join(root, name)) && !statSync(join(root, name)).isDirectory());
	} catch {
		return undefined;
	}
}

/** SHA-256 of all files below a folder, by name. */
function hashes(top, below = "") {
	const found = {};
	for (const entry of readdirSync(join(top, below), { withFileTypes: true })) {
		const name = join(below, entry.name);
		if (entry.isDirectory())
			Object.assign(found, hashes(top, name));
		else
			found[name] = createHash("sha256").update(readFileSync(join(top, name))).digest("hex");
	}
	return found;
}

/** The npm tarball of a checkout, as SHA-256. */
function tarball(checkout, into) {
	mkdirSync(into);
	execFileSync("npm", ["pack", "--loglevel=error", "--pack-destination", into], { cwd: checkout, stdio: "pipe" });
	const [name] = readdirSync(into);
	return createHash("sha256").update(readFileSync(join(into, name))).digest("hex");
}

before(() => {
	if (!tracked)
		return;
	folder = mkdtempSync(join(tmpdir(), "qstore-reproducible-"));
	copy = join(folder, "a checkout's folder with a longer name".replaceAll(/[ ']/g, "-"), "qstore");
	for (const name of tracked) {
		mkdirSync(dirname(join(copy, name)), { recursive: true });
		cpSync(join(root, name), join(copy, name));
		chmodSync(join(copy, name), statSync(join(root, name)).mode & 0o100 ? 0o700 : 0o600);
	}
	symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
	// Where npm's zstd is not installed, the source package's need not be fetched a second time.
	const env = existsSync(join(root, "node_modules/zstd-napi")) ? process.env : { ...process.env, ZSTD_SRC: join(root, "build/zstd") };
	execFileSync("bash", ["-c", `umask 077; exec make -s -j${availableParallelism()} npm`], { cwd: copy, env, stdio: "pipe" });
});

after(() => folder && rmSync(folder, { recursive: true }));

const skip = tracked ? false : "needs git, to know this checkout's files";

test("another folder's modules, types and licences are the same bytes", { skip }, () => {
	const built = hashes(join(copy, "dist"));
	assert.ok("qstore.wasm" in built && "qstore-scalar.wasm" in built && "types/index.d.ts" in built);
	assert.deepEqual(built, hashes(join(root, "dist")));
});

test("the npm tarball too, whatever the permissions of its files", { skip }, () => {
	assert.equal(tarball(copy, join(folder, "copy")), tarball(root, join(folder, "root")));
});
