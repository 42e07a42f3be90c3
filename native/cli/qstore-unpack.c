/* qstore-unpack: the files of one precision out of an archive. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "Usage: qstore-unpack FILE.qstore [--precision int8|bf16|fp16|fp32|low|high|all] [-o DIR]\n"
    "\n"
    "Restores a model's files from an archive, byte for byte; checksums of all bytes are checked.\n"
    "The first part of an archive is enough for the coarse precision.\n"
    "\n"
    "  -p, --precision NAME  which variant: its name, low, high (default), or all: each in DIR/NAME\n"
    "  -o, --output DIR      folder (default: the archive's name without .qstore, \"-\" and the precision)\n"
    "      --file NAME       only this file (repeatable; '*' stands for anything)\n"
    "      --tensor NAME     only this tensor, into DIR/tensors.safetensors (repeatable; '*' likewise)\n"
    "      --base OLD        the model that the archive is a difference to: a folder, a file or an archive\n"
    "      --sha256          compute each file's SHA-256 too, and compare it with the archive's (slower)\n"
    "  -j, --threads N       threads (default: all cores)\n"
    "  -f, --force           replace existing files\n"
    "  -q, --quiet           print nothing but errors\n"
    "      --json            print the result as JSON\n"
    "  -h, --help            this text\n"
    "  -V, --version         the version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage. No file appears before all are complete and verified.\n";

enum { OPTION_FILE = CLI_OPTION_FIRST, OPTION_TENSOR, OPTION_BASE, OPTION_SHA256 };

/* "model.qstore" and "high" give "model-high", in the current folder. */
static char *default_output(const char *path, const char *precision)
{
	const char *name = strrchr(path, '/');
	name = name == NULL ? path : name + 1;
	size_t size = strlen(name);
	if (size > 7 && strcmp(name + size - 7, ".qstore") == 0)
		size -= 7;
	char *output = malloc(size + strlen(precision) + 2);
	if (output == NULL)
		return NULL;
	memcpy(output, name, size);
	output[size] = '-';
	strcpy(output + size + 1, precision);
	return output;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"precision", required_argument, NULL, 'p'},
	    {"output", required_argument, NULL, 'o'},
	    {"file", required_argument, NULL, OPTION_FILE},
	    {"tensor", required_argument, NULL, OPTION_TENSOR},
	    {"base", required_argument, NULL, OPTION_BASE},
	    {"sha256", no_argument, NULL, OPTION_SHA256},
	    {"force", no_argument, NULL, 'f'},
	    CLI_OPTIONS,
	};
	qstore_unpack_options unpack = {.precision = "high"};
	const char *base = NULL;
	cli_list files = {0}, tensors = {0};
	cli_common common = {0};
	int code = CLI_OK, ended, option;
	cli_set_name("qstore-unpack");
	while ((option = getopt_long(argc, argv, ":p:o:f" CLI_LETTERS, options, NULL)) != -1) {
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
		default:
			ended = cli_option(option, argv, options, help, &common);
			if (ended >= 0)
				return ended;
		}
	}
	const char *path = cli_argument(argc, argv, "archive");
	if (path == NULL)
		return CLI_USAGE;
	unpack.files = files.items;
	unpack.tensors = tensors.items;

	cli_bar bar;
	qstore_archive *archive;
	qstore_unpack_result result;
	qstore_error error;
	unpack.work.threads = common.threads;
	cli_work(&unpack.work, &bar, !common.quiet && !common.json);
	qstore_status status = qstore_open(path, &archive, &error);
	if (status != QSTORE_OK)
		return cli_fail(&error);
	if (base != NULL)
		status = qstore_set_base(archive, base, &error);
	/* A precision that the archive does not have names no folder. */
	uint32_t variant;
	if (status == QSTORE_OK && strcmp(unpack.precision, "all") != 0)
		status = qstore_find_variant(archive, unpack.precision, &variant, &error);
	char *made = NULL;
	if (status == QSTORE_OK && unpack.output == NULL)
		unpack.output = made = default_output(path, unpack.precision);
	if (status == QSTORE_OK)
		status = qstore_unpack(archive, &unpack, &result, &error);
	cli_bar_end(&bar);
	qstore_close(archive);
	cli_list_free(&files);
	cli_list_free(&tensors);
	if (status != QSTORE_OK) {
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
