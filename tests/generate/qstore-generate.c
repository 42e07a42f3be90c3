/* qstore-generate makes deterministic models for the demo, tests and benchmarks. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixtures.h"
#include "llama.h"
#include "options.h"
#include "writer.h"

static void usage(FILE *to)
{
	const char *name, *description;
	fputs(
	    "Usage: qstore-generate [OPTION …] -o DIR\n"
	    "Makes a model of noise with the statistics of a trained one: the same options make the same bytes "
	    "everywhere.\n\n"
	    "  -o, --output DIR       where to write it (made when missing; files are overwritten)\n"
	    "      --low DIR          write its INT8 twin too\n"
	    "      --low-rule RULE    that twin's quantizer and layout: llm.int8 (default), divide, multiply or\n"
	    "                         compressed-tensors\n"
	    "      --per-tensor       with one scale for all rows (not llm.int8)\n"
	    "      --cast bf16|f16 DIR  with --dtype f32: write a copy in 16 bits too\n"
	    "      --dtype TYPE       bf16 (default), f16 or f32\n"
	    "      --seed N           other numbers (default 1)\n"
	    "      --layers N, --hidden N, --intermediate N, --vocab N\n"
	    "                         sizes (defaults make a model of about 30 MB)\n"
	    "      --weights SIZE     choose sizes for about so many bytes, such as 500M or 2G (10^6, 10^9)\n"
	    "      --shards N         number of safetensors files (default 2)\n"
	    "      --fixture NAME     a small odd model instead\n"
	    "      --help             show this\n\nFixtures:\n",
	    to);
	for (unsigned i = 0; (name = fixture_name(i, &description)); i++)
		fprintf(to, "  %-22s %s\n", name, description);
}

int main(int argc, char **argv)
{
	enum {
		HELP = 256,
		LOW,
		LOW_RULE,
		PER_TENSOR,
		CAST,
		DTYPE,
		SEED,
		LAYERS,
		HIDDEN,
		INTERMEDIATE,
		VOCAB,
		WEIGHTS,
		SHARDS,
		FIXTURE
	};
	static const struct option options[] = {
	    {"output", required_argument, NULL, 'o'},
	    {"help", no_argument, NULL, HELP},
	    {"low", required_argument, NULL, LOW},
	    {"low-rule", required_argument, NULL, LOW_RULE},
	    {"per-tensor", no_argument, NULL, PER_TENSOR},
	    {"cast", required_argument, NULL, CAST},
	    {"dtype", required_argument, NULL, DTYPE},
	    {"seed", required_argument, NULL, SEED},
	    {"layers", required_argument, NULL, LAYERS},
	    {"hidden", required_argument, NULL, HIDDEN},
	    {"intermediate", required_argument, NULL, INTERMEDIATE},
	    {"vocab", required_argument, NULL, VOCAB},
	    {"weights", required_argument, NULL, WEIGHTS},
	    {"shards", required_argument, NULL, SHARDS},
	    {"fixture", required_argument, NULL, FIXTURE},
	    {NULL, 0, NULL, 0},
	};
	llama_options llama = {.dtype = QS_BF16, .seed = 1, .shards = 2};
	const char *fixture = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			llama.high = optarg;
			break;
		case LOW:
			llama.low = optarg;
			break;
		case LOW_RULE:
			llama.low_rule = !strcmp(optarg, "llm.int8")             ? GEN_LLM_INT8
			                 : !strcmp(optarg, "divide")             ? GEN_DIVIDE
			                 : !strcmp(optarg, "multiply")           ? GEN_MULTIPLY
			                 : !strcmp(optarg, "compressed-tensors") ? GEN_COMPRESSED_TENSORS
			                                                         : -1;
			if (llama.low_rule < 0)
				gen_die("--low-rule: \"%s\" is not llm.int8, divide, multiply or compressed-tensors", optarg);
			break;
		case PER_TENSOR:
			llama.per_tensor = 1;
			break;
		case CAST:
			llama.cast_dtype = !strcmp(optarg, "f16") || !strcmp(optarg, "fp16") ? QS_F16 : QS_BF16;
			if (optind >= argc)
				gen_die("--cast: which folder?");
			llama.cast = argv[optind++];
			break;
		case DTYPE:
			llama.dtype = !strcmp(optarg, "bf16")                             ? QS_BF16
			              : !strcmp(optarg, "f16") || !strcmp(optarg, "fp16") ? QS_F16
			              : !strcmp(optarg, "f32") || !strcmp(optarg, "fp32") ? QS_F32
			                                                                  : QS_DTYPE_COUNT;
			if (llama.dtype == QS_DTYPE_COUNT)
				gen_die("--dtype: \"%s\" is not bf16, f16 or f32", optarg);
			break;
		case SEED:
			llama.seed = gen_number("seed", optarg, 0, UINT64_MAX);
			break;
		case LAYERS:
			llama.layers = gen_number("layers", optarg, 0, 1000);
			break;
		case HIDDEN:
			llama.hidden = gen_number("hidden", optarg, 0, 1000000);
			break;
		case INTERMEDIATE:
			llama.intermediate = gen_number("intermediate", optarg, 0, 1000000);
			break;
		case VOCAB:
			llama.vocab = gen_number("vocab", optarg, 0, 1000000);
			break;
		case WEIGHTS:
			llama.weights_size = gen_number("weights", optarg, 0, UINT64_C(1000000000000));
			break;
		case SHARDS:
			llama.shards = gen_number("shards", optarg, 1, 1000);
			break;
		case FIXTURE:
			fixture = optarg;
			break;
		case HELP:
			usage(stdout);
			return 0;
		default:
			fputs("Try 'qstore-generate --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc || !llama.high) {
		fprintf(stderr, "qstore-generate: %s\nTry 'qstore-generate --help'.\n",
		        llama.high ? "too many arguments" : "where to? give -o DIR");
		return 2;
	}
	if (!fixture)
		generate_llama(&llama);
	else if (!generate_fixture(fixture, llama.seed, llama.high, llama.low))
		gen_die("no fixture \"%s\"", fixture);
	return 0;
}
