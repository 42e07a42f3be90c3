/* qstore-gguf makes GGUF models for tests and benchmarks, as llama.cpp's tools do. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_model.h"
#include "options.h"
#include "writer.h"

static void usage(FILE *to)
{
	fputs("Usage: qstore-gguf [OPTION …] TYPE IN OUT.gguf\n"
	      "Makes a GGUF model of safetensors (a Llama's folder or file, with a config.json beside it), or a "
	      "quantized "
	      "one of\n"
	      "a GGUF file, bit for bit as llama.cpp without an importance matrix.\n\n"
	      "Types of a converted model: f32, f16, bf16\n"
	      "Types of a quantized one:   q8_0, q4_0, q4_1, q5_0, q5_1, q4_k_s, q4_k_m, q5_k_s, q5_k_m, q6_k\n\n"
	      "      --pure         all matrices in the same type\n"
	      "      --imatrix      with an importance matrix, which is noise (q4_0, q5_0, K types)\n"
	      "      --version N    of the format: 2 or 3 (default)\n"
	      "      --alignment N  of tensors (default 32)\n"
	      "      --shards N     OUT-00001-of-0000N.gguf …\n"
	      "      --help         show this\n",
	      to);
}

int main(int argc, char **argv)
{
	enum { HELP = 256, PURE, IMATRIX, VERSION, ALIGNMENT, SHARDS };
	static const struct option long_options[] = {
	    {"help", no_argument, NULL, HELP},
	    {"pure", no_argument, NULL, PURE},
	    {"imatrix", no_argument, NULL, IMATRIX},
	    {"version", required_argument, NULL, VERSION},
	    {"alignment", required_argument, NULL, ALIGNMENT},
	    {"shards", required_argument, NULL, SHARDS},
	    {NULL, 0, NULL, 0},
	};
	gguf_options options = {.version = 3, .alignment = 32, .shards = 1};
	int option;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (option) {
		case HELP:
			usage(stdout);
			return 0;
		case PURE:
			options.pure = 1;
			break;
		case IMATRIX:
			options.imatrix = 1;
			break;
		case VERSION:
			options.version = (uint32_t)gen_number("version", optarg, 2, 3);
			break;
		case ALIGNMENT:
			options.alignment = (uint32_t)gen_number("alignment", optarg, 8, 1 << 20);
			break;
		case SHARDS:
			options.shards = (uint32_t)gen_number("shards", optarg, 1, 999);
			break;
		default:
			fputs("Try 'qstore-gguf --help'.\n", stderr);
			return 2;
		}
	}
	if (argc - optind != 3) {
		fputs("qstore-gguf: give TYPE IN OUT.gguf\nTry 'qstore-gguf --help'.\n", stderr);
		return 2;
	}
	const char *type = argv[optind], *in = argv[optind + 1], *out = argv[optind + 2];
	uint32_t dtype = !strcmp(type, "f32")    ? QS_F32
	                 : !strcmp(type, "f16")  ? QS_F16
	                 : !strcmp(type, "bf16") ? QS_BF16
	                                         : QS_BYTES;
	if (dtype != QS_BYTES)
		gguf_convert(in, dtype, &options, out);
	else if (!gguf_quantize_model(in, type, &options, out))
		gen_die("no type \"%s\"", type);
	return 0;
}
