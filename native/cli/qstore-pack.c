/* qstore-pack: a model at several precisions into one archive. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum {
	OPTION_LOW = CLI_OPTION_FIRST,
	OPTION_BASE,
	OPTION_FROM,
	OPTION_QUANTIZE,
	OPTION_INCLUDE,
	OPTION_EXCLUDE,
	OPTION_STRICT,
	OPTION_ALLOW_MISMATCH,
	OPTION_SKIP,
	OPTION_BESIDE
};

static const cli_option option_table[] = {
    {'o', "output", "FILE", CLI_ARCHIVE, "the archive", CLI_ONCE},
    {OPTION_LOW, "low", "LOW", CLI_ANY_FILE, "a coarser version of HIGH; several from fine to coarse",
     CLI_REPEATS},
    {OPTION_QUANTIZE, "quantize", "RULE", "llm.int8 q8_0 none",
     "how to make the coarse variant, without LOW: llm.int8 (default for safetensors in 16 bits), q8_0 "
     "(default for GGUF) or none: store HIGH alone",
     CLI_ONCE},
    {OPTION_FROM, "from", "NAME", "int8 int4 q8_0 q4_0 bf16 fp16",
     "code HIGH from this LOW, not from the next coarser one (int4, q4_0 …)", CLI_ONCE},
    {OPTION_BASE, "base", "OLD", CLI_ANY_FILE,
     "store only the difference to this model: an earlier version, or the model that HIGH was made from (a "
     "folder, "
     "a file or an archive); unpacking needs OLD too",
     CLI_ONCE},
    {OPTION_INCLUDE, "include", "PATTERN", NULL, "quantize these tensors too: a shell pattern on the name",
     CLI_REPEATS},
    {OPTION_EXCLUDE, "exclude", "PATTERN", NULL, "do not quantize these tensors; wins over --include",
     CLI_REPEATS},
    {OPTION_STRICT, "strict", NULL, NULL,
     "fail if a matrix has no counterpart in LOW that fits; else it is stored apart, with a warning",
     CLI_ONCE},
    {OPTION_ALLOW_MISMATCH, "allow-mismatch", NULL, NULL,
     "pack HIGH and LOW even if most of their weights differ, no name is the same, or LOW is the finer one",
     CLI_ONCE},
    {OPTION_SKIP, "skip", "PATTERN", NULL,
     "leave these files or folders out: a shell pattern on the name within the folder, or on its last part",
     CLI_REPEATS},
    {OPTION_BESIDE, "beside", NULL, NULL,
     "with a file as HIGH or LOW: pack the small files beside it too (README, LICENSE, config.json …)",
     CLI_ONCE},
    CLI_THREADS("threads (default: all cores); the archive is the same for all N"),
    {'f', "force", NULL, NULL, "replace an existing archive", CLI_ONCE},
    CLI_JSON,
    CLI_COMMON,
};

static const cli_term exit_codes[] = {{"0", "done"}, {"1", "failed"}, {"2", "wrong usage"}, {NULL, NULL}};

static const cli_term examples[] = {
    {"qstore-pack Llama/ -o llama.qstore", "makes the INT8 variant itself, by the LLM.int8 rule"},
    {"qstore-pack Llama-fp32/ --low Llama/ --low Llama-int8/ -o llama.qstore",
     "three published precisions, each coded from the next coarser one"},
    {"qstore-pack llama-bf16.gguf --low llama-q8_0.gguf --low llama-q4_0.gguf -o llama.qstore",
     "GGUF, from 4 bits to 16"},
    {"qstore-pack Llama/ --skip '*.bin' --skip original -o llama.qstore",
     "without the pickled weights and the folder original"},
    {"qstore-pack Llama-chat/ --base llama.qstore -o chat.qstore",
     "a finetune: only its differences to the base"},
    {NULL, NULL}};

static const cli_tool tool = {
    .name = "qstore-pack",
    .summary = "pack a model at several precisions into one archive",
    .synopsis = "HIGH [--low LOW]… -o FILE.qstore",
    .offers = CLI_ANY_FILE,
    .description =
        "Packs a model at two or more precisions into one archive, losslessly: every file comes back byte "
        "for byte, and the first part of the archive is all of the coarsest model.\n"
        "\n"
        "HIGH and LOW are a folder as model hubs have it (safetensors, config.json, tokenizer …), or one "
        "file: safetensors, GGUF (the first shard of several) or ONNX. Each is coded from the next coarser "
        "one: FP32 from BF16 or FP16, those from 8 bits, 8 bits from 4, whatever quantizer made them. A "
        "folder with several precisions becomes one archive of them all: model.safetensors and "
        "model.fp16.safetensors, the quantizations of a GGUF repository, ONNX as for transformers.js, "
        "folders "
        "such as fp16/ and int8/. Of a folder or file in one precision an 8-bit variant is made without LOW: "
        "LLM.int8 as bitsandbytes has it, of GGUF Q8_0. Hidden entries (.git, .gitattributes …), links to "
        "folders and empty folders are left out.",
    .options = option_table,
    .exit_codes = exit_codes,
    .exit_text = "FILE appears complete and verified, or not at all.",
    .examples = examples,
    .see_also = "qstore-info qstore-mount qstore-unpack",
};

static double ratio(uint64_t a, uint64_t b)
{
	return b == 0 ? 0.0 : (double)a / (double)b;
}

static double paired_bits(const qstore_pack_result *result)
{
	return ratio(8 * result->paired_size, result->paired_weights);
}

/* Says which files were taken for a variant, where a folder has several. */
static void print_file(const qstore_pack_variant *variant)
{
	if (variant->file[0] == 0)
		return;
	printf("%s is ", variant->name);
	cli_print_name(stdout, variant->file);
	if (variant->n_more_files > 0)
		printf(" and %" PRIu32 " more file%s of weights", variant->n_more_files,
		       variant->n_more_files == 1 ? "" : "s");
	printf("\n");
}

static void print_table(const qstore_pack_options *options, const qstore_pack_result *result)
{
	uint64_t raw = 0, zstd = 0;
	int width = 12;
	for (uint32_t i = 0; i < result->n_variants; i++)
		width = (int)strlen(result->variants[i].name) > width ? (int)strlen(result->variants[i].name) : width;
	printf("%-*s %10s %10s %18s\n", width, "", "raw", "zstd -3", "in the archive");
	for (uint32_t i = 0; i < result->n_variants; i++) {
		const qstore_pack_variant *variant = &result->variants[i];
		raw += variant->raw_size;
		zstd += variant->zstd_size;
		printf("%-*s %10s %10s", width, variant->name, cli_format_size(variant->raw_size).text,
		       cli_format_size(variant->zstd_size).text);
		uint64_t before = i == 0 ? 0 : variant[-1].prefix_size;
		if (i + 1 < result->n_variants) {
			printf(" %18s  (", cli_format_size(variant->prefix_size - before).text);
			if (variant->download_size < variant->prefix_size)
				printf("%sits users download %s)\n", i > 0 ? "what it adds: " : "",
				       cli_format_size(variant->download_size).text);
			else if (i == 0)
				printf("the first %.1f %%: what its users download)\n",
				       100.0 * ratio(variant->prefix_size, result->archive_size));
			else
				printf("what it adds: its users download the first %.1f %%)\n",
				       100.0 * ratio(variant->prefix_size, result->archive_size));
		} else if (result->n_variants > 1)
			printf(" %18s  (what it adds)\n", cli_format_size(result->archive_size - before).text);
		else
			printf(" %18s\n", cli_format_size(result->archive_size).text);
	}
	printf("%-*s %10s %10s %18s  %.2f to 1\n", width, "all", cli_format_size(raw).text,
	       cli_format_size(zstd).text, cli_format_size(result->archive_size).text,
	       ratio(raw, result->archive_size));
	for (uint32_t i = 0; i < result->n_variants; i++)
		print_file(&result->variants[i]);
	if (result->n_paired > 0)
		printf("%llu paired tensor%s: %.2f bits per weight for %s versions\n",
		       (unsigned long long)result->n_paired, result->n_paired == 1 ? "" : "s", paired_bits(result),
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
		printf("%llu tensor%s to other floats: %.2f bits per weight\n", (unsigned long long)result->n_delta,
		       result->n_delta == 1 ? " as a difference" : "s as differences",
		       ratio(8 * result->delta_size, result->delta_weights));
	if (result->n_equal > 0)
		printf("%llu tensor%s\n", (unsigned long long)result->n_equal,
		       result->n_equal == 1 ? " is equal to another and shares its bytes"
		                            : "s are equal to others and share their bytes");
	if (result->n_base_equal + result->n_base_delta > 0)
		printf("%llu tensor%s the same in %s, %llu %s to it: unpacking needs it\n",
		       (unsigned long long)result->n_base_equal, result->n_base_equal == 1 ? " is" : "s are",
		       options->base, (unsigned long long)result->n_base_delta,
		       result->n_base_delta == 1 ? "is a difference" : "are differences");
	printf("digest %s\n", result->digest);
	if (result->nothing_quantized)
		printf("No tensor of %s is fit to be quantized: it is stored alone\n", options->high);
}

static int print_json(const qstore_pack_options *options, const qstore_pack_result *result)
{
	json_t *variants = json_array();
	for (uint32_t i = 0; i < result->n_variants; i++) {
		const qstore_pack_variant *variant = &result->variants[i];
		json_t *entry = json_pack("{s:s, s:I, s:I, s:I}", "name", variant->name, "rawSize",
		                          (json_int_t)variant->raw_size, "zstdSize", (json_int_t)variant->zstd_size,
		                          "downloadSize", (json_int_t)variant->download_size);
		if (variant->file[0] != 0)
			json_object_set_new(entry, "file", json_string(variant->file));
		json_array_append_new(variants, entry);
	}
	json_t *root = json_pack(
	    "{s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:b}", "archive", options->output, "digest",
	    result->digest, "archiveSize", (json_int_t)result->archive_size, "indexSize",
	    (json_int_t)result->index_size, "variants", variants, "pairedTensors", (json_int_t)result->n_paired,
	    "pairedWeights", (json_int_t)result->paired_weights, "pairedSize", (json_int_t)result->paired_size,
	    "exceptions", (json_int_t)result->n_exceptions, "equalTensors", (json_int_t)result->n_equal,
	    "nothingQuantized", result->nothing_quantized);
	if (root) {
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
		json_object_set_new(root, "apartTensors", json_integer((json_int_t)result->n_apart));
		json_object_set_new(root, "apartWeights", json_integer((json_int_t)result->apart_weights));
		json_object_set_new(root, "apartSize", json_integer((json_int_t)result->apart_size));
		json_object_set_new(root, "deltaSize", json_integer((json_int_t)result->delta_size));
	}
	if (root && result->paired_weights > 0)
		json_object_set_new(root, "pairedBitsPerWeight", json_real(paired_bits(result)));
	return cli_print_json(root);
}

int main(int argc, char **argv)
{
	qstore_pack_options pack = {.struct_size = sizeof(pack)};
	cli_list include = {0}, exclude = {0}, lower = {0}, skip = {0};
	cli_common common = {0};
	int code = CLI_OK, option, quantize_given = 0;
	cli_start(&tool);
	while ((option = cli_next_option(argc, argv, &common)) > 0) {
		switch (option) {
		case 'o':
			pack.output = optarg;
			break;
		case OPTION_LOW:
			assert(optarg); /* getopt_long knows which options have an argument */
			if (!pack.low)
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
		case OPTION_STRICT:
			pack.strict = 1;
			break;
		case OPTION_ALLOW_MISMATCH:
			pack.allow_mismatch = 1;
			break;
		case OPTION_SKIP:
			cli_list_add(&skip, optarg);
			break;
		case OPTION_BESIDE:
			pack.beside = 1;
			break;
		case 'f':
			pack.force = 1;
			break;
		}
	}
	if (option == CLI_EXIT)
		return common.code;
	if (optind + 1 < argc)
		return cli_usage("one HIGH at a time; give a coarser version of it as --low %s", argv[optind + 1]);
	pack.high = cli_argument(argc, argv, "model");
	if (!pack.high)
		return CLI_USAGE;
	if (!pack.output)
		return cli_usage("no output given: -o FILE.qstore");
	if (strcmp(pack.output, "-") == 0)
		return cli_usage(
		    "archives are not written to standard output, for they are read again; give a file (./- "
		    "for one of that name)");
	if (pack.low && (quantize_given || include.items || exclude.items))
		return cli_usage("--quantize, --include and --exclude are for packing without --low");
	pack.lower = lower.items;
	pack.include = include.items;
	pack.exclude = exclude.items;
	pack.skip = skip.items;
	pack.compare = !common.quiet || common.json;

	cli_bar bar;
	qstore_pack_result result;
	qstore_error error;
	cli_work(&pack.work, &bar, &common);
	qstore_status status = qstore_pack(&pack, &result, &error);
	cli_bar_end(&bar);
	cli_list_free(&lower);
	cli_list_free(&include);
	cli_list_free(&exclude);
	cli_list_free(&skip);
	if (status)
		return cli_fail(&error);
	if (common.json)
		code = print_json(&pack, &result);
	else if (!common.quiet)
		print_table(&pack, &result);
	return code == CLI_OK ? cli_finish() : code;
}
