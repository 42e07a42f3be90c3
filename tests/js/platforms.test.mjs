// Platforms on which the C code would decode other bytes refuse to compile it, with one clear sentence.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url)), core = join(root, "native/src/core");

/** Preprocesses a source of the core as on a platform that has these macros; gives the compiler's errors. */
function errorsOf(source, ...macros) {
	const { status, stderr } = spawnSync("cc", ["-E", "-o", "/dev/null", `-I${join(root, "native/src")}`, `-I${join(root, "native/include")}`,
		"-w", ...macros, join(core, source)], { encoding: "utf8" });
	const errors = stderr.split("\n").filter((line) => /error:/.test(line));
	assert.equal(status === 0, errors.length === 0, stderr);
	return errors;
}

/** The sources that decode chunks and the index, without kernels for instruction sets. */
const sources = readdirSync(core).filter((name) =>
	/^(ans|cells|chunk|delta|factors|grid|index.*|layout|peaks|planes|ranks|recode|symbols)\.c$/.test(name));

const platforms = {
	"that are big-endian": [["-U__BYTE_ORDER__", "-D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__"], /#error "qstore's codec writes native words: big-endian hosts/],
	"with wider arithmetic than single precision": [["-U__FLT_EVAL_METHOD__", "-D__FLT_EVAL_METHOD__=2"],
		/#error "qstore's rules are in single precision: on 32-bit x86 compile with -msse2 -mfpmath=sse"/],
};

test("this platform does not refuse", () => {
	assert.ok(sources.length > 15);
	for (const source of sources)
		assert.deepEqual(errorsOf(source), [], source);
});

for (const [name, [macros, message]] of Object.entries(platforms))
	test(`platforms ${name} refuse to compile`, () => {
		for (const source of sources)
			assert.ok(errorsOf(source, ...macros).some((line) => message.test(line)), source);
	});
