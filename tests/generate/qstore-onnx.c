/* qstore-onnx makes a Llama in ONNX at several precisions, as transformers.js loads it, for tests and
 * benchmarks. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_llama.h"
#include "options.h"
#include "writer.h"

static void usage(FILE *to)
{
	fputs("Usage: qstore-onnx [OPTION …] MODEL -o DIR\n"
	      "Makes a folder for transformers.js from a Llama in safetensors (such as qstore-generate makes):\n"
	      "its small files, onnx/model.onnx, model_fp16.onnx and model_quantized.onnx, all of which run.\n"
	      "The same options make the same bytes everywhere.\n\n"
	      "  -o, --output DIR        where to write it (made when missing; files are overwritten)\n"
	      "      --precisions LIST   of fp32, fp16, int8, uint8, q8, q4, q4f16 (default fp32,fp16,q8)\n"
	      "      --per-channel       a scale for each output of a layer, not one for all\n"
	      "      --reduce-range      codes of seven bits\n"
	      "      --block N           q4: inputs that share a scale (16, 32, 64, 128 or 256; default 32)\n"
	      "      --asymmetric        q4: with zero points\n"
	      "      --external          weights in files of their own (model.onnx_data …)\n"
	      "      --gemm              the head is a Gemm, which stays in floats\n"
	      "      --base NAME         of the files (default model)\n"
	      "      --help              show this\n",
	      to);
}

static int precision_of(const char *name, size_t size)
{
	static const char *const names[] = {"fp32", "fp16", "int8", "uint8", "q8", "q4", "q4f16"};
	for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
		if (strlen(names[i]) == size && !memcmp(name, names[i], size))
			return i;
	gen_die("--precisions: \"%.*s\" is not fp32, fp16, int8, uint8, q8, q4 or q4f16", (int)size, name);
}

int main(int argc, char **argv)
{
	enum { HELP = 256, PRECISIONS, PER_CHANNEL, REDUCE_RANGE, BLOCK, ASYMMETRIC, EXTERNAL, GEMM, BASE };
	static const struct option options[] = {
	    {"output", required_argument, NULL, 'o'},
	    {"help", no_argument, NULL, HELP},
	    {"precisions", required_argument, NULL, PRECISIONS},
	    {"per-channel", no_argument, NULL, PER_CHANNEL},
	    {"reduce-range", no_argument, NULL, REDUCE_RANGE},
	    {"block", required_argument, NULL, BLOCK},
	    {"asymmetric", no_argument, NULL, ASYMMETRIC},
	    {"external", no_argument, NULL, EXTERNAL},
	    {"gemm", no_argument, NULL, GEMM},
	    {"base", required_argument, NULL, BASE},
	    {NULL, 0, NULL, 0},
	};
	onnx_options o = {.base = "model", .block = 32};
	const char *precisions = "fp32,fp16,q8";
	int option;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			o.output = optarg;
			break;
		case PRECISIONS:
			precisions = optarg;
			break;
		case PER_CHANNEL:
			o.per_channel = 1;
			break;
		case REDUCE_RANGE:
			o.reduced = 1;
			break;
		case BLOCK:
			o.block = (int)gen_number("block", optarg, 16, 256);
			if (o.block & (o.block - 1))
				gen_die("--block: 16, 32, 64, 128 or 256");
			break;
		case ASYMMETRIC:
			o.asymmetric = 1;
			break;
		case EXTERNAL:
			o.external = 1;
			break;
		case GEMM:
			o.gemm = 1;
			break;
		case BASE:
			o.base = optarg;
			break;
		case HELP:
			usage(stdout);
			return 0;
		default:
			fputs("Try 'qstore-onnx --help'.\n", stderr);
			return 2;
		}
	}
	if (argc - optind != 1 || !o.output || strlen(o.base) > 100) {
		fputs("qstore-onnx: give a model and -o DIR\nTry 'qstore-onnx --help'.\n", stderr);
		return 2;
	}
	o.model = argv[optind];
	for (const char *name = precisions; *name;) {
		size_t size = strcspn(name, ",");
		o.precision = precision_of(name, size);
		generate_onnx(&o);
		name += size + (name[size] == ',');
	}
	generate_onnx_small_files(&o);
	return 0;
}
