/* qstore-unpack: the files of one precision out of an archive. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { OPTION_FILE = CLI_OPTION_FIRST, OPTION_TENSOR, OPTION_BASE, OPTION_SHA256 };

static const cli_option option_table[] = {
    {'p', "precision", "NAME", "low high all int8 bf16 fp16 fp32",
     "which variant: its name, low, high (default), or all: each in DIR/NAME", CLI_ONCE},
    {'o', "output", "DIR", CLI_FOLDER,
     "where to (default: the archive's name without .qstore, \"-\" and the precision)", CLI_ONCE},
    {OPTION_FILE, "file", "NAME", NULL, "restore only this file; '*' stands for anything", CLI_REPEATS},
    {OPTION_TENSOR, "tensor", "NAME", NULL,
     "restore only this tensor, into DIR/tensors.safetensors; '*' stands for anything", CLI_REPEATS},
    {OPTION_BASE, "base", "OLD", CLI_ANY_FILE,
     "the model that the archive is a difference to: a folder, a file or an archive", CLI_ONCE},
    {OPTION_SHA256, "sha256", NULL, NULL,
     "compute each file's SHA-256 too, and compare it with the archive's (slower)", CLI_ONCE},
    CLI_THREADS("threads (default: all cores)"),
    {'f', "force", NULL, NULL, "replace existing files", CLI_ONCE},
    CLI_COMMON,
};

static const cli_term exit_codes[] = {{"0", "done"}, {"1", "failed"}, {"2", "wrong usage"}, {NULL, NULL}};

static const cli_term examples[] = {
    {"qstore-unpack llama.qstore", "the finest variant, into a folder such as llama-high"},
    {"qstore-unpack llama.qstore --precision int8 -o out/", "the INT8 files, as they were"},
    {"qstore-unpack llama.qstore --tensor 'model.layers.0.*' -o out/",
     "the tensors of one layer, in one safetensors file"},
    {"qstore-unpack chat.qstore --base llama.qstore",
     "an archive that was packed as the difference to another model"},
    {NULL, NULL}};

static const cli_tool tool = {
    .name = "qstore-unpack",
    .summary = "restore a model's files from a qstore archive",
    .synopsis = "FILE.qstore [--precision int8|bf16|fp16|fp32|low|high|all] [-o DIR]",
    .offers = CLI_ARCHIVE,
    .description = "Restores a model's files from an archive, byte for byte; checksums of all bytes are "
                   "checked. The first part of an archive is enough for the coarse precision.",
    .options = option_table,
    .exit_codes = exit_codes,
    .exit_text = "No file appears before all are complete and verified.",
    .examples = examples,
    .see_also = "qstore-info qstore-mount qstore-pack",
};

/* "model.qstore" and "high" give "model-high", in the current folder. */
static char *default_output(const char *path, const char *precision)
{
	const char *name = strrchr(path, '/');
	name = name ? name + 1 : path;
	size_t size = strlen(name);
	if (size > 7 && strcmp(name + size - 7, ".qstore") == 0)
		size -= 7;
	char *output = malloc(size + strlen(precision) + 2);
	if (!output)
		return NULL;
	memcpy(output, name, size);
	output[size] = '-';
	strcpy(output + size + 1, precision);
	return output;
}

int main(int argc, char **argv)
{
	qstore_unpack_options unpack = {.struct_size = sizeof(unpack), .precision = "high"};
	const char *base = NULL;
	cli_list files = {0}, tensors = {0};
	cli_common common = {0};
	int code = CLI_OK, option;
	cli_start(&tool);
	while ((option = cli_next_option(argc, argv, &common)) > 0) {
		switch (option) {
		case 'p':
			unpack.precision = optarg;
			break;
		case 'o':
			unpack.output = optarg;
			break;
		case OPTION_FILE:
			cli_list_add(&files, optarg);
			break;
		case OPTION_BASE:
			base = optarg;
			break;
		case OPTION_SHA256:
			unpack.sha256 = 1;
			break;
		case OPTION_TENSOR:
			cli_list_add(&tensors, optarg);
			break;
		case 'f':
			unpack.force = 1;
			break;
		}
	}
	if (option == CLI_EXIT)
		return common.code;
	const char *path = cli_argument(argc, argv, "archive");
	if (!path)
		return CLI_USAGE;
	if (unpack.output && strcmp(unpack.output, "-") == 0)
		return cli_usage(
		    "files are not written to standard output; give a folder (./- for one of that name)");
	unpack.files = files.items;
	unpack.tensors = tensors.items;

	cli_bar bar;
	qstore_archive *archive;
	qstore_unpack_result result;
	qstore_error error;
	cli_work(&unpack.work, &bar, &common);
	qstore_status status = qstore_open(path, &archive, &error);
	if (status)
		return cli_fail(&error);
	if (base)
		status = qstore_set_base(archive, base, &error);
	/* A precision that the archive does not have names no folder. */
	uint32_t variant;
	if (!status && strcmp(unpack.precision, "all") != 0)
		status = qstore_find_variant(archive, unpack.precision, &variant, &error);
	char *made = NULL;
	if (!status && !unpack.output)
		unpack.output = made = default_output(path, unpack.precision);
	if (!status)
		status = qstore_unpack(archive, &unpack, &result, &error);
	cli_bar_end(&bar);
	qstore_close(archive);
	cli_list_free(&files);
	cli_list_free(&tensors);
	if (status) {
		code = cli_fail(&error);
	} else if (common.json) {
		code = cli_print_json(json_pack("{s:s, s:s, s:I, s:I}", "output", unpack.output, "precision",
		                                unpack.precision, "files", (json_int_t)result.n_files, "size",
		                                (json_int_t)result.size));
	} else if (!common.quiet) {
		printf("%s: %llu file%s, %s\n", unpack.output, (unsigned long long)result.n_files,
		       result.n_files == 1 ? "" : "s", cli_format_size(result.size).text);
	}
	free(made);
	return code == CLI_OK ? cli_finish() : code;
}
