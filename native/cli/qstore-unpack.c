/* qstore-unpack: the files of one precision out of an archive. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "pipe.h"

enum {
	OPTION_FILE = CLI_OPTION_FIRST,
	OPTION_TENSOR,
	OPTION_AS,
	OPTION_BASE,
	OPTION_DIGEST,
	OPTION_SHA256,
	OPTION_HIDDEN
};

static const cli_option option_table[] = {
    {'p', "precision", "NAME", "low high all int8 bf16 fp16 fp32",
     "which variant: its name, low, high (default), or all: each in DIR/NAME", CLI_ONCE},
    {'o', "output", "DIR", CLI_FOLDER,
     "where to (default: the archive's name without .qstore, \"-\" and the precision); \"-\" writes one file "
     "to "
     "standard output, and with --tensor a name in .safetensors, .npy or .bin is that of a file",
     CLI_ONCE},
    {OPTION_FILE, "file", "NAME", NULL, "restore only this file; '*' stands for anything", CLI_REPEATS},
    {OPTION_TENSOR, "tensor", "NAME", NULL,
     "restore only this tensor, into DIR/tensors.safetensors (blocks of GGUF: the bytes, into DIR/NAME.bin); "
     "'*' stands for anything",
     CLI_REPEATS},
    {OPTION_AS, "as", "f32", "f32",
     "make these tensors F32: floats of 8 and 16 bits, and most blocks of GGUF; others stay as they are",
     CLI_ONCE},
    {OPTION_BASE, "base", "OLD", CLI_ANY_FILE,
     "the model that the archive is a difference to: a folder, a file or an archive", CLI_ONCE},
    CLI_DIGEST(OPTION_DIGEST),
    {OPTION_SHA256, "sha256", NULL, NULL,
     "compute each file's SHA-256 too, and compare it with the archive's (slower)", CLI_ONCE},
    {OPTION_HIDDEN, "hidden", NULL, NULL,
     "restore files with hidden names too (.NAME, .DIR/NAME), which are left out unless --file has the name",
     CLI_ONCE},
    CLI_THREADS("threads (default: all cores)"),
    {'f', "force", NULL, NULL, "replace existing files", CLI_ONCE},
    {'k', "keep-going", NULL, NULL,
     "restore what is whole of a damaged or cut archive: a file that lacks bytes becomes NAME.damaged, with "
     "zeros for them, and a line about each range of them",
     CLI_ONCE},
    CLI_JSON,
    CLI_COMMON,
};

static const cli_term exit_codes[] = {{"0", "done"},
                                      {"1", "failed"},
                                      {"2", "wrong usage"},
                                      {"3", "with --keep-going: not all could be restored"},
                                      {NULL, NULL}};

static const cli_term examples[] = {
    {"qstore-unpack llama.qstore", "the finest variant, into a folder such as llama-high"},
    {"qstore-unpack llama.qstore --precision int8 -o out/", "the INT8 files, as they were"},
    {"qstore-unpack llama.qstore --tensor 'model.layers.0.*' -o out/",
     "the tensors of one layer, in one safetensors file"},
    {"qstore-unpack llama.qstore --tensor output.weight --as f32 -o output.npy",
     "one tensor of any precision, for NumPy"},
    {"curl -s https://example.org/m.qstore | qstore-unpack -p int8 - -o out/",
     "the INT8 files, of which no more is downloaded than they need"},
    {"qstore-unpack llama.qstore --keep-going", "what a damaged archive still has"},
    {"qstore-unpack chat.qstore --base llama.qstore",
     "an archive that was packed as the difference to another model"},
    {NULL, NULL}};

static const cli_tool tool = {
    .name = "qstore-unpack",
    .summary = "restore a model's files from a qstore archive",
    .synopsis = "FILE.qstore|- [--precision int8|bf16|fp16|fp32|low|high|all] [-o DIR|-]",
    .offers = CLI_ARCHIVE,
    .description =
        "Restores a model's files from an archive, byte for byte; checksums of all bytes are "
        "checked. The first part of an archive is enough for the coarse precision; of an archive on "
        "standard input (\"-\") no more is read.",
    .options = option_table,
    .exit_codes = exit_codes,
    .exit_text = "No file appears before all are complete and verified; with --keep-going, files that are "
                 "not whole have names that end in .damaged. On standard output, each part of a file is "
                 "verified before it is written.",
    .examples = examples,
    .see_also = "qstore-info qstore-mount qstore-pack",
};

/* "model.qstore" and "high" give "model-high", in the current folder; standard input gives "archive-high". */
static char *default_output(const char *path, const char *precision)
{
	const char *name = strrchr(path, '/');
	name = strcmp(path, "-") == 0 ? "archive" : name ? name + 1 : path;
	size_t size = strlen(name);
	if (size > 7 && strcmp(name + size - 7, ".qstore") == 0)
		size -= 7;
	size_t output_size = size + strlen(precision) + 2;
	char *output = malloc(output_size);
	if (output)
		snprintf(output, output_size, "%.*s-%s", (int)size, name, precision);
	return output;
}

/* The tool's options. */
typedef struct options {
	qstore_unpack_options unpack;
	const char *base, *digest;
	cli_list files, tensors;
	int to_stdout;
} options;

/* One run, and its archive. */
typedef struct run {
	qstore_archive *archive;
	const cli_common *common;
	json_t *raw;     /* the files that are bytes of a tensor, for JSON */
	json_t *damaged; /* the ranges that could not be restored, for JSON */
	cli_bar *bar;
	FILE *lines; /* where a line about each of them goes; NULL: nowhere */
} run;

static void on_raw(void *user, const char *path, uint32_t tensor)
{
	run *r = user;
	qstore_tensor_info info;
	qstore_get_tensor(r->archive, tensor, &info);
	json_t *shape = json_array();
	for (uint32_t i = 0; i < info.n_dims; i++)
		json_array_append_new(shape, json_integer((json_int_t)qstore_get_tensor_dim(r->archive, tensor, i)));
	if (r->lines) {
		char *text = json_dumps(shape, 0);
		cli_print_name(r->lines, path);
		fprintf(r->lines, ": %s %s\n", info.dtype, text ? text : "");
		free(text);
	}
	json_array_append_new(r->raw, json_pack("{s:s, s:s, s:s, s:o}", "file", path, "tensor", info.name,
	                                        "dtype", info.dtype, "shape", shape));
}

static void on_damage(void *user, const qstore_damage *damage)
{
	run *r = user;
	if (!r->common->json) {
		cli_bar_end(r->bar);
		cli_fail_start();
		cli_print_name(stderr, damage->path ? damage->path : damage->name);
		if (damage->path)
			fprintf(stderr, ": %llu bytes from byte %llu on are zero", (unsigned long long)damage->size,
			        (unsigned long long)damage->offset);
		else
			fputs(": nothing of it could be restored", stderr);
		fprintf(stderr, ": %s\n", damage->reason);
	}
	json_array_append_new(r->damaged, json_pack("{s:s?, s:s, s:s?, s:I, s:I, s:s}", "file", damage->path,
	                                            "name", damage->name, "tensor", damage->tensor, "offset",
	                                            (json_int_t)damage->offset, "size", (json_int_t)damage->size,
	                                            "reason", damage->reason));
}

static qstore_status write_stdout(void *user, const void *data, size_t size, qstore_error *error)
{
	(void)user;
	if (fwrite(data, 1, size, stdout) == size)
		return QSTORE_OK;
	snprintf(error->text, sizeof(error->text), "cannot write to standard output");
	return QSTORE_IO;
}

/* Prints what was restored; CLI_FAILED if it cannot. */
static int report(const run *r, const options *o, const qstore_unpack_result *result)
{
	const char *output = o->unpack.output;
	if (r->common->json) {
		json_t *root = json_pack("{s:s, s:s, s:I, s:I}", "output", output, "precision", o->unpack.precision,
		                         "files", (json_int_t)result->n_files, "size", (json_int_t)result->size);
		if (json_array_size(r->raw) > 0)
			json_object_set(root, "tensors", r->raw);
		if (o->unpack.keep_going) {
			json_object_set_new(root, "damagedFiles", json_integer((json_int_t)result->n_damaged));
			json_object_set(root, "damage", r->damaged);
		}
		int code = cli_print_json(root);
		return code == CLI_OK && result->n_damaged > 0 ? CLI_DAMAGED : code;
	}
	if (!r->common->quiet && !o->to_stdout) {
		cli_print_name(stdout, output);
		printf(": %llu file%s, %s", (unsigned long long)result->n_files, result->n_files == 1 ? "" : "s",
		       cli_format_size(result->size).text);
	}
	if (!r->common->quiet && result->n_damaged > 0)
		printf(", of which %llu could not be restored as a whole", (unsigned long long)result->n_damaged);
	if (!r->common->quiet && !o->to_stdout)
		putchar('\n');
	return result->n_damaged > 0 ? CLI_DAMAGED : CLI_OK;
}

static int restore(const char *path, options *o, const cli_common *common)
{
	cli_bar bar;
	run r = {.common = common, .raw = json_array(), .damaged = json_array(), .bar = &bar};
	qstore_unpack_result result;
	qstore_error error;
	char *made = NULL;
	cli_work(&o->unpack.work, &bar, common);
	qstore_status status = cli_open(path, o->unpack.precision, &r.archive, &error);
	if (!status)
		status = cli_trust(r.archive, o->digest, o->base, &error);
	/* A precision that the archive does not have names no folder. */
	uint32_t variant;
	if (!status && strcmp(o->unpack.precision, "all") != 0)
		status = qstore_find_variant(r.archive, o->unpack.precision, &variant, &error);
	if (!o->unpack.output)
		o->unpack.output = made = default_output(path, o->unpack.precision);
	if (o->to_stdout)
		o->unpack.write = write_stdout;
	r.lines = common->quiet || common->json ? NULL : o->to_stdout ? stderr : stdout;
	o->unpack.on_raw = on_raw;
	o->unpack.on_damage = on_damage;
	o->unpack.user = &r;
	if (!status)
		status = qstore_unpack(r.archive, &o->unpack, &result, &error);
	cli_bar_end(&bar);
	qstore_close(r.archive);
	int code = status ? cli_fail(&error) : report(&r, o, &result);
	o->unpack.user = NULL; /* r ends here */
	json_decref(r.raw);
	json_decref(r.damaged);
	free(made);
	return code;
}

int main(int argc, char **argv)
{
	options o = {.unpack = {.struct_size = sizeof(o.unpack), .precision = "high"}};
	cli_common common = {0};
	int option;
	cli_start(&tool);
	while ((option = cli_next_option(argc, argv, &common)) > 0) {
		switch (option) {
		case 'p':
			o.unpack.precision = optarg;
			break;
		case 'o':
			o.unpack.output = optarg;
			break;
		case OPTION_FILE:
			cli_list_add(&o.files, optarg);
			break;
		case OPTION_BASE:
			o.base = optarg;
			break;
		case OPTION_DIGEST:
			o.digest = optarg;
			break;
		case OPTION_SHA256:
			o.unpack.sha256 = 1;
			break;
		case OPTION_HIDDEN:
			o.unpack.hidden = 1;
			break;
		case OPTION_TENSOR:
			cli_list_add(&o.tensors, optarg);
			break;
		case OPTION_AS:
			o.unpack.as = optarg;
			break;
		case 'f':
			o.unpack.force = 1;
			break;
		case 'k':
			o.unpack.keep_going = 1;
			break;
		}
	}
	if (option == CLI_EXIT)
		return common.code;
	const char *path = cli_argument(argc, argv, "archive");
	if (!path)
		return CLI_USAGE;
	o.to_stdout = o.unpack.output && strcmp(o.unpack.output, "-") == 0;
	if (o.to_stdout && common.json)
		return cli_usage("--json and -o - are both for standard output");
	if (o.to_stdout && o.unpack.keep_going)
		return cli_usage("--keep-going is for a folder: what is on standard output has no other name");
	if (o.unpack.as && !o.tensors.items)
		return cli_usage("--as is for tensors: select some with --tensor");
	o.unpack.files = o.files.items;
	o.unpack.tensors = o.tensors.items;
	int code = restore(path, &o, &common);
	cli_list_free(&o.files);
	cli_list_free(&o.tensors);
	int finished = code == CLI_OK || code == CLI_DAMAGED ? cli_finish() : CLI_OK;
	return finished == CLI_OK ? code : finished;
}
