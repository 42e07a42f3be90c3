// Prints the table of docs/formats.md in Markdown: bits a weight of each row of tests/js/helpers/rows.mjs, beside the bound. The model is
// shared/data/stories15M-llama if it is there, else a generated one. It is a generated one too for types whose rows must be multiples of
// 256, and for ONNX, which needs embeddings.
// Usage: node tests/bench/rows.mjs [PATTERN]   only rows whose names match the pattern
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROWS, packArguments } from "../js/helpers/rows.mjs";
import { native } from "../js/helpers/tools.mjs";

/** Rows that are left out of the table, because other rows have the same figures. */
const LEFT_OUT =
	/^FP16 \| (?!LLM.int8$|compressed-tensors$|round, by row$)|^GGUF F32 \| (?!Q[48]_0)|^ONNX FP32.*(reduced|external)|INT8, Q4F16$/;

const pattern = process.argv[2] && new RegExp(process.argv[2]);
const folder = fileURLToPath(new URL("../../build/bench/rows/", import.meta.url));
const stories = fileURLToPath(new URL("../../../shared/data/stories15M-llama/", import.meta.url));

rmSync(folder, { recursive: true, force: true });
const generated = join(folder, "generated"), real = existsSync(stories) ? join(folder, "stories15M") : generated;
mkdirSync(generated, { recursive: true });
native("qstore-generate", ..."--layers 2 --hidden 512 --intermediate 1536 --vocab 512 --dtype f32 --shards 1 -o".split(" "),
	join(generated, "fp32"));
if (real !== generated) {
	mkdirSync(join(real, "fp32"), { recursive: true });
	for (const file of ["config.json", "model.safetensors"])
		copyFileSync(join(stories, file), join(real, "fp32", file));
}

console.log("| row | bits of the coarsest | each finer one adds | all | bound | above it |\n|---|---|---|---|---|---|");
for (const row of ROWS) {
	if (pattern ? !pattern.test(row.name) : LEFT_OUT.test(row.name))
		continue;
	const of = /Q\d_K|ONNX/.test(row.name) ? generated : real, archive = join(folder, "row.qstore");
	native("qstore-pack", ...packArguments(of, row), "-o", archive, "-f", "-q");
	const name = `${row.name.replaceAll(" | ", " over ")}${of === real || real === generated ? "" : " *"}`;
	if (row.base) {
		// Tensors of the base have no chunks to compare: the row tells the whole archive's size for each weight of the model.
		const { tensors } = JSON.parse(native("qstore-info", archive, "--json")),
			weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
		console.log(`| ${name} | – | – | ${(8 * statSync(archive).size / weights).toFixed(3)} | – | – |`);
		continue;
	}
	const { variants } = JSON.parse(native("qstore-bound", archive));
	const all = variants.reduce((sum, { bits }) => sum + bits, 0), bound = variants.reduce((sum, variant) => sum + variant.bound, 0);
	const fixed = variants.map(({ bits }) => bits.toFixed(3));
	console.log(`| ${name} | ${fixed[0]} | ${fixed.slice(1).join(", ") ||
		"–"} | ${all.toFixed(3)} | ${bound.toFixed(3)} | ${(100 * (all / bound - 1)).toFixed(2).replace("-", "−")} % |`);
}
rmSync(folder, { recursive: true, force: true });
