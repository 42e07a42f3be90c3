/* qstore-pack: a model at several precisions into one archive. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "Usage: qstore-pack HIGH [--low LOW]… -o FILE.qstore\n"
    "\n"
    "Packs a model at two or more precisions into one archive, losslessly: every file comes back\n"
    "byte for byte, and the first part of the archive is all of the coarsest model.\n"
    "\n"
    "HIGH and LOW are a folder as model hubs have it (safetensors, config.json, tokenizer …), or one\n"
    "file: safetensors, GGUF (the first shard of several) or ONNX. Each is coded from the next coarser\n"
    "one: FP32 from BF16 or FP16, those from 8 bits, 8 bits from 4, whatever quantizer made them.\n"
    "A folder of transformers.js with several precisions becomes one archive of them all. Without LOW an\n"
    "8-bit variant is made of 16 bits: LLM.int8 as bitsandbytes has it, of GGUF Q8_0.\n"
    "Hidden entries (.git, .gitattributes …), links to folders and empty folders are left out.\n"
    "\n"
    "  -o, --output FILE     the archive\n"
    "      --low LOW         a coarser version of HIGH (repeatable, from fine to coarse)\n"
    "      --quantize RULE   without LOW: llm.int8 (default for safetensors in 16 bits), q8_0 (default for "
    "GGUF)\n"
    "                        or none: store HIGH alone\n"
    "      --from NAME       code HIGH from this variant, not from the next coarser one (int4, q4_0 …)\n"
    "      --base OLD        an earlier version of the model, or what it was made from (a folder, a file or "
    "an\n"
    "                        archive): only what differs is stored, and unpacking needs OLD too\n"
    "      --include PATTERN quantize these tensors too (shell pattern on the name; repeatable)\n"
    "      --exclude PATTERN do not quantize these (repeatable; wins over --include)\n"
    "  -j, --threads N       threads (default: all cores); the archive is the same for all N\n"
    "  -f, --force           replace an existing archive\n"
    "  -q, --quiet           print nothing but errors\n"
    "      --json            print the result as JSON\n"
    "  -h, --help            this text\n"
    "  -V, --version         the version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage. FILE appears complete and verified, or not at all.\n";

enum {
	OPTION_LOW = CLI_OPTION_FIRST,
	OPTION_BASE,
	OPTION_FROM,
	OPTION_QUANTIZE,
	OPTION_INCLUDE,
	OPTION_EXCLUDE
};

static double ratio(uint64_t a, uint64_t b)
{
	return b == 0 ? 0.0 : (double)a / (double)b;
}

static double paired_bits(const qstore_pack_result *result)
{
	return ratio(8 * result->paired_size, result->paired_weights);
}

static void print_table(const qstore_pack_options *options, const qstore_pack_result *result)
{
	uint64_t raw = 0, zstd = 0;
	printf("%-12s %10s %10s %18s\n", "", "raw", "zstd -3", "in the archive");
	for (uint32_t i = 0; i < result->n_variants; i++) {
		const qstore_pack_variant *variant = &result->variants[i];
		raw += variant->raw_size;
		zstd += variant->zstd_size;
		printf("%-12s %10s %10s", variant->name, cli_format_size(variant->raw_size).text,
		       cli_format_size(variant->zstd_size).text);
		if (i == 0 && result->n_variants > 1)
			printf(" %18s  (the first %.1f %%: what its users download)\n",
			       cli_format_size(variant->download_size).text,
			       100.0 * ratio(variant->download_size, result->archive_size));
		else if (i + 1 < result->n_variants)
			printf(" %18s  (what it adds: its users download the first %.1f %%)\n",
			       cli_format_size(variant->download_size - variant[-1].download_size).text,
			       100.0 * ratio(variant->download_size, result->archive_size));
		else if (result->n_variants > 1)
			printf(" %18s  (what it adds)\n",
			       cli_format_size(result->archive_size - result->variants[i - 1].download_size).text);
		else
			printf(" %18s\n", cli_format_size(result->archive_size).text);
	}
	printf("%-12s %10s %10s %18s  %.2f to 1\n", "all", cli_format_size(raw).text, cli_format_size(zstd).text,
	       cli_format_size(result->archive_size).text, ratio(raw, result->archive_size));
	if (result->n_paired > 0)
		printf("%llu paired tensors: %.2f bits per weight for %s versions\n",
		       (unsigned long long)result->n_paired, paired_bits(result),
		       result->n_variants == 2 ? "both" : "all");
	for (uint32_t i = 0; i < result->n_rules; i++) {
		const qstore_pack_rule *rule = &result->rules[i];
		printf("  %llu by the rule %s, which explains ", (unsigned long long)rule->n_tensors, rule->name);
		if (rule->n_exceptions == 0)
			printf("every code\n");
		else
			printf("all but %.3f %% of the codes\n", 100.0 * ratio(rule->n_exceptions, rule->n_weights));
	}
	if (result->n_delta > 0)
		printf("%llu tensors as differences to coarser floats: %.2f bits per weight\n",
		       (unsigned long long)result->n_delta, ratio(8 * result->delta_size, result->delta_weights));
	if (result->n_equal > 0)
		printf("%llu tensors are the same in a coarser variant and stored once\n",
		       (unsigned long long)result->n_equal);
	if (result->n_base_equal + result->n_base_delta > 0)
		printf("%llu tensors are the same in %s, %llu are differences to it: unpacking needs it\n",
		       (unsigned long long)result->n_base_equal, options->base,
		       (unsigned long long)result->n_base_delta);
	if (result->nothing_quantized)
		printf("No tensor of %s is fit to be quantized: it is stored alone\n", options->high);
}

static int print_json(const qstore_pack_options *options, const qstore_pack_result *result)
{
	json_t *variants = json_array();
	for (uint32_t i = 0; i < result->n_variants; i++) {
		const qstore_pack_variant *variant = &result->variants[i];
		json_array_append_new(variants, json_pack("{s:s, s:I, s:I, s:I}", "name", variant->name, "rawSize",
		                                          (json_int_t)variant->raw_size, "zstdSize",
		                                          (json_int_t)variant->zstd_size, "downloadSize",
		                                          (json_int_t)variant->download_size));
	}
	json_t *root = json_pack(
	    "{s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:b}", "archive", options->output, "archiveSize",
	    (json_int_t)result->archive_size, "indexSize", (json_int_t)result->index_size, "variants", variants,
	    "pairedTensors", (json_int_t)result->n_paired, "pairedWeights", (json_int_t)result->paired_weights,
	    "pairedSize", (json_int_t)result->paired_size, "exceptions", (json_int_t)result->n_exceptions,
	    "equalTensors", (json_int_t)result->n_equal, "nothingQuantized", result->nothing_quantized);
	if (root != NULL) {
		json_t *rules = json_array();
		for (uint32_t i = 0; i < result->n_rules; i++) {
			const qstore_pack_rule *rule = &result->rules[i];
			json_array_append_new(rules, json_pack("{s:s, s:I, s:I, s:I}", "rule", rule->name, "tensors",
			                                       (json_int_t)rule->n_tensors, "weights",
			                                       (json_int_t)rule->n_weights, "exceptions",
			                                       (json_int_t)rule->n_exceptions));
		}
		json_object_set_new(root, "rules", rules);
		json_object_set_new(root, "deltaTensors", json_integer((json_int_t)result->n_delta));
		json_object_set_new(root, "deltaWeights", json_integer((json_int_t)result->delta_weights));
		json_object_set_new(root, "deltaSize", json_integer((json_int_t)result->delta_size));
	}
	if (root != NULL && result->paired_weights > 0)
		json_object_set_new(root, "pairedBitsPerWeight", json_real(paired_bits(result)));
	return cli_print_json(root);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"output", required_argument, NULL, 'o'},
	    {"low", required_argument, NULL, OPTION_LOW},
	    {"quantize", required_argument, NULL, OPTION_QUANTIZE},
	    {"base", required_argument, NULL, OPTION_BASE},
	    {"from", required_argument, NULL, OPTION_FROM},
	    {"include", required_argument, NULL, OPTION_INCLUDE},
	    {"exclude", required_argument, NULL, OPTION_EXCLUDE},
	    {"force", no_argument, NULL, 'f'},
	    CLI_OPTIONS,
	};
	qstore_pack_options pack = {0};
	cli_list include = {0}, exclude = {0}, lower = {0};
	cli_common common = {0};
	int code = CLI_OK, ended, option, quantize_given = 0;
	cli_set_name("qstore-pack");
	while ((option = getopt_long(argc, argv, ":o:f" CLI_LETTERS, options, NULL)) != -1) {
		switch (option) {
		case 'o':
			pack.output = optarg;
			break;
		case OPTION_LOW:
			if (pack.low == NULL)
				pack.low = optarg;
			else
				cli_list_add(&lower, optarg);
			break;
		case OPTION_QUANTIZE:
			quantize_given = 1;
			if (strcmp(optarg, "llm.int8") == 0)
				pack.quantize = QSTORE_QUANTIZE_LLM_INT8;
			else if (strcmp(optarg, "none") == 0)
				pack.quantize = QSTORE_QUANTIZE_NONE;
			else if (strcmp(optarg, "q8_0") == 0)
				pack.quantize = QSTORE_QUANTIZE_Q8_0;
			else
				return cli_usage("--quantize is llm.int8, q8_0 or none, not %s", optarg);
			break;
		case OPTION_BASE:
			pack.base = optarg;
			break;
		case OPTION_FROM:
			pack.from = optarg;
			break;
		case OPTION_INCLUDE:
			cli_list_add(&include, optarg);
			break;
		case OPTION_EXCLUDE:
			cli_list_add(&exclude, optarg);
			break;
		case 'f':
			pack.force = 1;
			break;
		default:
			ended = cli_option(option, argv, options, help, &common);
			if (ended >= 0)
				return ended;
		}
	}
	pack.high = cli_argument(argc, argv, "model");
	if (pack.high == NULL)
		return CLI_USAGE;
	if (pack.output == NULL)
		return cli_usage("no output given: -o FILE.qstore");
	if (pack.low != NULL && (quantize_given || include.items != NULL || exclude.items != NULL))
		return cli_usage("--quantize, --include and --exclude are for packing without --low");
	pack.lower = lower.items;
	pack.include = include.items;
	pack.exclude = exclude.items;
	pack.compare = !common.quiet || common.json;

	cli_bar bar;
	qstore_pack_result result;
	qstore_error error;
	pack.work.threads = common.threads;
	cli_work(&pack.work, &bar, !common.quiet && !common.json);
	qstore_status status = qstore_pack(&pack, &result, &error);
	cli_bar_end(&bar);
	cli_list_free(&lower);
	cli_list_free(&include);
	cli_list_free(&exclude);
	if (status != QSTORE_OK)
		return cli_fail(&error);
	if (common.json)
		code = print_json(&pack, &result);
	else if (!common.quiet)
		print_table(&pack, &result);
	return code == CLI_OK ? cli_finish() : code;
}
