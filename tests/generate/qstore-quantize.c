/* qstore-quantize quantizes a model in the arithmetic and the layouts of several quantizers, for tests and
 * benchmarks. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "options.h"
#include "quantize.h"
#include "writer.h"

static void usage(FILE *to)
{
	fputs(
	    "Usage: qstore-quantize [OPTION …] RULE MODEL -o DIR\n"
	    "Makes a quantized copy of a model (a folder or a safetensors file; F32, F16 or BF16), as that\n"
	    "quantizer's library would write it. The same options make the same bytes everywhere.\n\n"
	    "Rules:\n"
	    "  gptq                AutoGPTQ, with error feedback: X.qweight, X.qzeros, X.scales, X.g_idx\n"
	    "  awq                 AutoAWQ, 4 bits, columns scaled first: X.qweight, X.qzeros, X.scales\n"
	    "  compressed-tensors  X.weight, X.weight_scale; --packed: X.weight_packed, X.weight_shape too\n"
	    "  torchao             int8 weights: X._weight_qdata, X._weight_scale\n"
	    "  llm.int8            bitsandbytes: X.weight, X.SCB, X.weight_format\n"
	    "  round               plain: X.weight, X.weight.scale, X.weight.zero_point\n"
	    "  cast                to --dtype: all floats, or to 8 bits the linear weights only\n"
	    "  finetune            the same model, a part of it a little changed\n\n"
	    "  -o, --output DIR    where to write it (made when missing; files are overwritten)\n"
	    "      --seed N        other activations, other noise (default 1)\n"
	    "      --correlation P  percent, of neighbouring channels of a layer's inputs (default 50): the "
	    "more,\n"
	    "                      the further error feedback moves codes\n"
	    "      --smooth        scale the columns first, as SmoothQuant and AWQ do (not cast, finetune)\n"
	    "gptq, compressed-tensors; awq knows --group only:\n"
	    "      --bits 4|8      (default 8)\n"
	    "      --group N       columns that share a scale, 0: all (default: gptq, awq 128; else all)\n"
	    "      --asymmetric    with zero points\n"
	    "      --act-order     gptq: columns of large activations first (desc_act)\n"
	    "      --static-groups  gptq: groups of neighbouring columns, their scales from the weights as they "
	    "were\n"
	    "      --search        gptq: scales that lose least, not the largest values' (mse)\n"
	    "      --v2            gptq: qzeros without the offset of 1 (checkpoint_format gptq_v2)\n"
	    "      --feedback      compressed-tensors: with GPTQ's error feedback, as llm-compressor's GPTQ\n"
	    "      --packed        compressed-tensors: pack-quantized\n"
	    "      --single        compressed-tensors: quotients in single precision, as its Triton kernel\n"
	    "round:\n"
	    "      --per row|column|tensor (default row), or --group N\n"
	    "      --asymmetric    codes 0 to 255 with a zero point\n"
	    "      --multiply      by the scale's reciprocal, instead of a division\n"
	    "llm.int8:\n"
	    "      --ulps N        each row's 127 / absmax is off by up to N ulps, as on a GPU (default 0)\n"
	    "cast:\n"
	    "      --dtype bf16|f16|f8_e4m3|f8_e5m2\n"
	    "finetune:\n"
	    "      --part P        of the tensors that change, in percent (default 50)\n"
	    "      --step S        their change, in millionths of the tensor's spread (default 1000)\n"
	    "      --help          show this\n",
	    to);
}

/* Returns the index of text in a NULL-terminated list. */
static int choice(const char *option, const char *text, const char *const *list)
{
	for (int i = 0; list[i]; i++)
		if (!strcmp(text, list[i]))
			return i;
	gen_die("%s: \"%s\" is not known; see --help", option, text);
}

int main(int argc, char **argv)
{
	static const char *const rules[] = {
	    [QUANTIZE_GPTQ] = "gptq",
	    [QUANTIZE_AWQ] = "awq",
	    [QUANTIZE_COMPRESSED_TENSORS] = "compressed-tensors",
	    [QUANTIZE_TORCHAO] = "torchao",
	    [QUANTIZE_LLM_INT8] = "llm.int8",
	    [QUANTIZE_ROUND] = "round",
	    [QUANTIZE_CAST] = "cast",
	    [QUANTIZE_FINETUNE] = "finetune",
	    NULL,
	};
	static const char *const per_names[] = {
	    [GEN_PER_ROW] = "row",
	    [GEN_PER_GROUP] = "group",
	    [GEN_PER_COLUMN] = "column",
	    [GEN_PER_TENSOR] = "tensor",
	    NULL,
	};
	static const char *const dtype_names[] = {"bf16", "f16", "f8_e4m3", "f8_e5m2", NULL};
	static const uint32_t dtypes[] = {QS_BF16, QS_F16, QS_F8_E4M3, QS_F8_E5M2};
	enum {
		HELP = 256,
		SEED,
		CORRELATION,
		SMOOTH,
		BITS,
		GROUP,
		ASYMMETRIC,
		ACT_ORDER,
		STATIC_GROUPS,
		SEARCH,
		V2,
		FEEDBACK,
		PACKED,
		SINGLE,
		PER,
		MULTIPLY,
		ULPS,
		DTYPE,
		PART,
		STEP
	};
	static const struct option options[] = {
	    {"output", required_argument, NULL, 'o'},    {"help", no_argument, NULL, HELP},
	    {"seed", required_argument, NULL, SEED},     {"correlation", required_argument, NULL, CORRELATION},
	    {"smooth", no_argument, NULL, SMOOTH},       {"bits", required_argument, NULL, BITS},
	    {"group", required_argument, NULL, GROUP},   {"asymmetric", no_argument, NULL, ASYMMETRIC},
	    {"act-order", no_argument, NULL, ACT_ORDER}, {"static-groups", no_argument, NULL, STATIC_GROUPS},
	    {"search", no_argument, NULL, SEARCH},       {"v2", no_argument, NULL, V2},
	    {"feedback", no_argument, NULL, FEEDBACK},   {"packed", no_argument, NULL, PACKED},
	    {"single", no_argument, NULL, SINGLE},       {"per", required_argument, NULL, PER},
	    {"multiply", no_argument, NULL, MULTIPLY},   {"ulps", required_argument, NULL, ULPS},
	    {"dtype", required_argument, NULL, DTYPE},   {"part", required_argument, NULL, PART},
	    {"step", required_argument, NULL, STEP},     {NULL, 0, NULL, 0},
	};
	quantize_options o = {.seed = 1, .correlation = 0.5, .group = UINT64_MAX, .part = 0.5, .step = 1e-3};
	int option;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			o.output = optarg;
			break;
		case SEED:
			o.seed = gen_number("seed", optarg, 0, UINT64_MAX);
			break;
		case CORRELATION:
			o.correlation = (double)gen_number("correlation", optarg, 0, 99) / 100;
			break;
		case SMOOTH:
			o.smooth = 1;
			break;
		case BITS:
			o.bits = (unsigned)gen_number("bits", optarg, 4, 8);
			if (o.bits != 4 && o.bits != 8)
				gen_die("--bits: 4 or 8");
			break;
		case GROUP:
			o.group = gen_number("group", optarg, 0, 1000000);
			break;
		case ASYMMETRIC:
			o.asymmetric = 1;
			break;
		case ACT_ORDER:
			o.act_order = 1;
			break;
		case STATIC_GROUPS:
			o.static_groups = 1;
			break;
		case SEARCH:
			o.search = 1;
			break;
		case V2:
			o.v2 = 1;
			break;
		case FEEDBACK:
			o.feedback = 1;
			break;
		case PACKED:
			o.packed = 1;
			break;
		case SINGLE:
			o.single = 1;
			break;
		case PER:
			o.per = choice("--per", optarg, per_names);
			break;
		case MULTIPLY:
			o.multiply = 1;
			break;
		case ULPS:
			o.ulps = (unsigned)gen_number("ulps", optarg, 0, 1000);
			break;
		case DTYPE:
			o.dtype = dtypes[choice("--dtype", optarg, dtype_names)];
			break;
		case PART:
			o.part = (double)gen_number("part", optarg, 0, 100) / 100;
			break;
		case STEP:
			o.step = (double)gen_number("step", optarg, 0, 1000000) / 1e6;
			break;
		case HELP:
			usage(stdout);
			return 0;
		default:
			fputs("Try 'qstore-quantize --help'.\n", stderr);
			return 2;
		}
	}
	if (argc - optind != 2 || !o.output) {
		fputs("qstore-quantize: give a rule, a model and -o DIR\nTry 'qstore-quantize --help'.\n", stderr);
		return 2;
	}
	o.rule = choice("rule", argv[optind], rules);
	o.model = argv[optind + 1];
	if (o.group == UINT64_MAX)
		o.group = o.rule == QUANTIZE_GPTQ || o.rule == QUANTIZE_AWQ || o.per == GEN_PER_GROUP ? 128 : 0;
	if (o.group)
		o.per = GEN_PER_GROUP;
	else if (o.per == GEN_PER_GROUP)
		gen_die("groups of how many columns? give --group");
	quantize_check(&o);
	generate_quantized(&o);
	return 0;
}
