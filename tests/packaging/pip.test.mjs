// The Python module as pip installs it from a checkout, in an environment of its own and without an index.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { native, temporary } from "../js/helpers/tools.mjs";
import { root } from "./helpers.mjs";

const python = ["/usr/bin/python3", "python3"].find((name) => spawnSync(name, ["-c", "import setuptools, venv, ensurepip"]).status === 0);
const library = [".so", ".dylib"].map((ending) => join(root, `build/lib/libqstore${ending}`)).find(existsSync);

/** Runs a program that must succeed; gives its output. */
function run(program, args, options) {
	const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", ...options });
	assert.equal(status, 0, `${program} ${args.join(" ")}: ${error ?? stderr}`);
	return stdout;
}

test("pip installs the module from a checkout", { skip: python ? undefined : "Python's setuptools, venv and pip are not here" }, (t) => {
	const folder = temporary(t), environment = join(folder, "environment"), program = join(environment, "bin/python");
	// Pip leaves its work beside the sources.
	cpSync(join(root, "native/python"), join(folder, "source"), { recursive: true });
	run(python, ["-m", "venv", "--system-site-packages", environment]);
	run(program, ["-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", join(folder, "source")]);
	native("qstore-generate", "--weights", "1000000", "-o", join(folder, "model"));
	writeFileSync(join(folder, "use.py"), `import qstore
qstore.pack("model", output="m.qstore")
with qstore.safe_open("m.qstore", precision="int8") as f:
    assert "int8" not in f.keys() and len(f.keys()) > 10
print(qstore.__file__, qstore.unpack("m.qstore", "out")[0] > 2)
`);
	const options = { cwd: folder, env: { ...process.env, QSTORE_LIBRARY: library, PYTHONPATH: "" } };
	assert.match(run(program, ["use.py"], options), /environment\/lib\/.*\/qstore\/__init__\.py True\n$/);
	// Without the library the import says what to do.
	const { status, stderr } = spawnSync(program, ["use.py"], { ...options, encoding: "utf8", env: { ...options.env, QSTORE_LIBRARY: "/nowhere.so" } });
	assert.equal(status, 1);
	assert.match(stderr, /ImportError: libqstore cannot be loaded \(.*\): install it .*QSTORE_LIBRARY to the path of libqstore\.so/);
});
