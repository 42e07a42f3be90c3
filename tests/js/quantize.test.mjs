// qstore-quantize as a user meets it: options, the tensors each rule makes, errors. Its numbers are tests/native/test_quantizers.c's.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../build/bin/", import.meta.url));
let folder = "";

/** @param {string} tool @param {string[]} args */
const run = (tool, ...args) => spawnSync(join(bin, tool), args, { cwd: folder, encoding: "utf8" });

before(() => {
	folder = mkdtempSync(join(tmpdir(), "qstore-quantize-"));
	const sizes = ["--layers", "1", "--hidden", "64", "--intermediate", "128", "--vocab", "50", "--shards", "1"];
	assert.equal(run("qstore-generate", ...sizes, "-o", "model").status, 0);
});
after(() => rmSync(folder, { recursive: true }));

/** The down projection's tensors (64 outputs, 128 inputs), "DTYPE[shape]" by what follows its name; config.json's entry.
 * @param {string[]} args */
function made(...args) {
	const { status, stderr } = run("qstore-quantize", ...args, "model", "-o", "out");
	assert.equal(stderr, "");
	assert.equal(status, 0);
	const file = readFileSync(join(folder, "out/model.safetensors"));
	const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString());
	const layer = "model.layers.0.mlp.down_proj.";
	const tensors = Object.entries(header).filter(([name]) => name.startsWith(layer))
		.map(([name, { dtype, shape }]) => [name.slice(layer.length), `${dtype}[${shape}]`]);
	const config = JSON.parse(readFileSync(join(folder, "out/config.json"), "utf8"));
	assert.equal(config.hidden_size, 64);
	return { tensors: Object.fromEntries(tensors), config: config.quantization_config };
}

test("every rule's tensors", () => {
	const rules = [
		["gptq", { qweight: "I32[32,64]", qzeros: "I32[1,16]", scales: "F16[1,64]", g_idx: "I32[128]" }],
		["gptq --bits 4 --group 32 --act-order", { qweight: "I32[16,64]", qzeros: "I32[4,8]", scales: "F16[4,64]", g_idx: "I32[128]" }],
		["gptq --bits 4 --group 0 --asymmetric", { qweight: "I32[16,64]", qzeros: "I32[1,8]", scales: "F16[1,64]", g_idx: "I32[128]" }],
		["gptq --bits 4 --group 32 --act-order --static-groups --search --v2",
			{ qweight: "I32[16,64]", qzeros: "I32[4,8]", scales: "F16[4,64]", g_idx: "I32[128]" }],
		["awq --group 32", { qweight: "I32[128,8]", qzeros: "I32[4,8]", scales: "F16[4,64]" }],
		["compressed-tensors", { weight: "I8[64,128]", weight_scale: "BF16[64,1]" }],
		["compressed-tensors --feedback --smooth", { weight: "I8[64,128]", weight_scale: "BF16[64,1]" }],
		["compressed-tensors --group 32 --asymmetric", { weight: "I8[64,128]", weight_scale: "BF16[64,4]", weight_zero_point: "I8[64,4]" }],
		["compressed-tensors --packed --bits 4 --group 32", { weight_packed: "I32[64,16]", weight_scale: "BF16[64,4]",
			weight_shape: "I64[2]" }],
		["torchao", { _weight_qdata: "I8[64,128]", _weight_scale: "F32[64,1]" }],
		["llm.int8 --ulps 2", { weight: "I8[64,128]", SCB: "F32[64]", weight_format: "U8[]" }],
		["round", { weight: "I8[64,128]", "weight.scale": "F32[64]" }],
		["round --multiply --group 32", { weight: "I8[64,128]", "weight.scale": "F32[64,4]" }],
		["round --per column", { weight: "I8[64,128]", "weight.scale": "F32[1,128]" }],
		["round --per tensor --asymmetric", { weight: "U8[64,128]", "weight.scale": "F32[1]", "weight.zero_point": "U8[1]" }],
		["cast --dtype f8_e4m3", { weight: "F8_E4M3[64,128]" }],
		["cast --dtype f8_e5m2", { weight: "F8_E5M2[64,128]" }],
		["cast --dtype f16", { weight: "F16[64,128]" }],
		["finetune --part 100 --step 500 --seed 9", { weight: "BF16[64,128]" }],
	];
	for (const [options, tensors] of rules) assert.deepEqual(made(...options.split(" ")).tensors, tensors, options);
});

test("the entry of config.json", () => {
	const gptq = made("gptq", "--bits", "4", "--act-order").config;
	assert.deepEqual([gptq.quant_method, gptq.bits, gptq.group_size, gptq.desc_act, gptq.sym, gptq.damp_percent],
		["gptq", 4, 128, true, true, 0.01]);
	assert.deepEqual(JSON.parse(readFileSync(join(folder, "out/quantize_config.json"), "utf8")), gptq);
	const v2 = made("gptq", "--v2", "--static-groups").config;
	assert.deepEqual([gptq, v2].map(({ checkpoint_format, static_groups }) => [checkpoint_format, static_groups]),
		[["gptq", false], ["gptq_v2", true]]);
	const packed = made("compressed-tensors", "--packed", "--bits", "4", "--group", "32").config;
	const { num_bits, group_size, strategy, symmetric } = packed.config_groups.group_0.weights;
	assert.deepEqual([packed.quant_method, packed.format, num_bits, group_size, strategy, symmetric],
		["compressed-tensors", "pack-quantized", 4, 32, "group", true]);
	assert.equal(made("awq").config.quant_method, "awq");
	assert.equal(made("torchao").config.quant_method, "torchao");
	assert.equal(made("llm.int8").config.quant_method, "bitsandbytes");
	assert.equal(made("round").config, undefined);
});

test("options that cannot be", () => {
	const cases = [
		[2, /give a rule, a model and -o DIR/, "gptq", "model"],
		[1, /"q5" is not known/, "q5", "model", "-o", "out"],
		[1, /--packed does not go with this rule/, "gptq", "model", "--packed", "-o", "out"],
		[1, /--asymmetric does not go/, "round", "--multiply", "--asymmetric", "model", "-o", "out"],
		[1, /4 or 8/, "gptq", "--bits", "5", "model", "-o", "out"],
		[1, /--group: "x" is not a number/, "gptq", "--group", "x", "model", "-o", "out"],
		[1, /give --group/, "round", "--per", "group", "--group", "0", "model", "-o", "out"],
		[1, /give --dtype/, "cast", "model", "-o", "out"],
		[1, /missing/, "cast", "--dtype", "f16", "missing", "-o", "out"],
	];
	for (const [code, what, ...args] of cases) {
		const { status, stdout, stderr } = run("qstore-quantize", ...args);
		assert.match(stderr, what);
		assert.match(stderr, /^qstore-quantize: /);
		assert.deepEqual([status, stdout], [code, ""]);
	}
});
