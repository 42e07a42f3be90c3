/* qstore-info: lists what is in an archive, and checks whether it is sound. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { OPTION_VERIFY = CLI_OPTION_FIRST, OPTION_BASE, OPTION_DIGEST, OPTION_CHUNKS };

static const cli_option option_table[] = {
    {OPTION_VERIFY, "verify", NULL, NULL,
     "check every checksum, restore everything to nowhere, compare every SHA-256; list the ranges of bytes "
     "that are bad",
     CLI_ONCE},
    {OPTION_BASE, "base", "OLD", CLI_ANY_FILE,
     "for --verify and --chunks: the model that the archive is a difference to", CLI_ONCE},
    CLI_DIGEST(OPTION_DIGEST),
    {OPTION_CHUNKS, "chunks", NULL, NULL,
     "list how each chunk is coded: its mode, the types of its symbol blocks, its bits (for those who debug; "
     "all chunks are decoded)",
     CLI_ONCE},
    CLI_THREADS("threads for --verify (default: all cores)"),
    CLI_JSON,
    CLI_COMMON,
};

static const cli_term kinds[] = {
    {"plain", "coded on its own"},
    {"codes", "quantized, in a coarser layer"},
    {"refine", "only the part that its codes lack. The column error is the relative squared "
               "error of the codes, rule is the arithmetic that made them"},
    {"delta", "the difference to coarser floats, or to the base's"},
    {"base", "equal to the base's tensor (see qstore-pack --base)"},
    {"literal", "kept with the file's header"},
    {"shared", "in a coarser variant's layer already"},
    {NULL, NULL}};

static const cli_term exit_codes[] = {{"0", "good"}, {"1", "failed"}, {"2", "wrong usage"}, {NULL, NULL}};

static const cli_term examples[] = {
    {"qstore-info llama.qstore", "the archive's variants, files and tensors"},
    {"qstore-info llama.qstore --verify --quiet", "is the archive sound? Exit status 0 says so"},
    {"qstore-info llama.qstore --json", "the same for programs"},
    {NULL, NULL}};

static const cli_tool tool = {
    .name = "qstore-info",
    .summary = "list and verify a qstore archive",
    .synopsis = "FILE.qstore [--json] [--verify] [--chunks]",
    .offers = CLI_ARCHIVE,
    .description = "Prints an archive's variants, files and tensors, with bits per weight and ratio.",
    .options = option_table,
    .terms_title = "Kinds of tensors",
    .terms = kinds,
    .exit_codes = exit_codes,
    .examples = examples,
    .see_also = "qstore-mount qstore-pack qstore-unpack",
};

static double bits(uint64_t size, uint64_t n_elems)
{
	return n_elems == 0 ? 0.0 : 8.0 * (double)size / (double)n_elems;
}

static uint64_t raw_size(const qstore_archive *archive, const qstore_archive_info *info)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < info->n_variants; i++) {
		qstore_variant_info variant;
		qstore_get_variant(archive, i, &variant);
		sum += variant.raw_size;
	}
	return sum;
}

/* "int8 bf16": the variants of a mask. */
static void variant_names(const qstore_archive *archive, uint32_t mask, char *text, size_t text_size)
{
	text[0] = 0;
	for (uint32_t i = 0; mask >> i != 0; i++) {
		qstore_variant_info variant;
		if ((mask >> i & 1) == 0)
			continue;
		qstore_get_variant(archive, i, &variant);
		size_t size = strlen(text);
		snprintf(text + size, text_size - size, "%s%s", size == 0 ? "" : " ", variant.name);
		if (i == 31)
			break;
	}
}

static void hex(const uint8_t *bytes, char text[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void print_text(const qstore_archive *archive, const char *path)
{
	qstore_archive_info info;
	char names[256], digest[QSTORE_DIGEST_SIZE];
	qstore_get_info(archive, &info);
	uint64_t raw = raw_size(archive, &info);
	cli_print_name(stdout, path);
	printf(": %s", cli_format_size(info.archive_size).text);
	if (info.file_size < info.archive_size)
		printf(" (of which this file has %s)", cli_format_size(info.file_size).text);
	printf(", restored %s, %.2f to 1; index %s\n", cli_format_size(raw).text,
	       info.archive_size == 0 ? 0.0 : (double)raw / (double)info.archive_size,
	       cli_format_size(info.index_size).text);
	qstore_get_digest(archive, digest);
	printf("digest %s\n", digest);

	printf("\n%-12s %10s %14s %12s %8s %8s\n", "variant", "dtype", "restored", "download", "files",
	       "tensors");
	for (uint32_t i = 0; i < info.n_variants; i++) {
		qstore_variant_info variant;
		qstore_get_variant(archive, i, &variant);
		printf("%-12s %10s %14s %12s %8" PRIu32 " %8" PRIu32 "%s\n", variant.name, variant.dtype,
		       cli_format_size(variant.raw_size).text, cli_format_size(variant.download_size).text,
		       variant.n_files, variant.n_tensors,
		       info.file_size < variant.prefix_size ? "  (incomplete here)" : "");
	}

	printf("\n%-14s %10s %10s  %s\n", "of variants", "size", "kind", "file");
	for (uint32_t i = 0; i < info.n_files; i++) {
		qstore_file_info file;
		qstore_get_file(archive, i, &file);
		variant_names(archive, file.variants, names, sizeof(names));
		printf("%-14s %10s %10s  ", file.variants == 0 ? "(not here)" : names,
		       cli_format_size(file.size).text, file.kind);
		cli_print_name(stdout, file.name);
		putchar('\n');
	}

	printf("\n%-14s %-8s %-8s %8s %10s %-12s %s\n", "of variants", "dtype", "kind", "bits", "error", "rule",
	       "tensor");
	for (uint32_t i = 0; i < info.n_tensors; i++) {
		qstore_tensor_info tensor;
		char bit_text[16] = "", error_text[16] = "";
		qstore_get_tensor(archive, i, &tensor);
		variant_names(archive, tensor.variants, names, sizeof(names));
		if (strcmp(tensor.kind, "literal") != 0 && !tensor.shared)
			snprintf(bit_text, sizeof(bit_text), "%.3f", bits(tensor.coded_size, tensor.n_elems));
		if (strcmp(tensor.kind, "refine") == 0)
			snprintf(error_text, sizeof(error_text), "%.2e", tensor.error);
		printf("%-14s %-8s %-8s %8s %10s %-12s ", names, tensor.dtype, tensor.shared ? "shared" : tensor.kind,
		       bit_text, error_text, !tensor.rule || tensor.shared ? "" : tensor.rule);
		cli_print_name(stdout, tensor.name);
		fputs(" [", stdout);
		for (uint32_t j = 0; j < tensor.n_dims; j++)
			printf("%s%" PRIu64, j == 0 ? "" : ", ", qstore_get_tensor_dim(archive, i, j));
		fputs("]\n", stdout);
	}
}

/* The chunk's symbol blocks, of which equal neighbours are counted: "huffman 3×ans". */
static void block_names(const qstore_chunk_info *chunk, char *text, size_t text_size)
{
	text[0] = 0;
	for (uint32_t i = 0, n; i < chunk->n_blocks; i += n) {
		for (n = 1; i + n < chunk->n_blocks && strcmp(chunk->blocks[i + n], chunk->blocks[i]) == 0;)
			n++;
		size_t size = strlen(text);
		if (n == 1)
			snprintf(text + size, text_size - size, "%s%s", size == 0 ? "" : " ", chunk->blocks[i]);
		else
			snprintf(text + size, text_size - size, "%s%" PRIu32 "×%s", size == 0 ? "" : " ", n,
			         chunk->blocks[i]);
	}
}

static int print_chunk(void *user, const qstore_chunk_info *chunk)
{
	char blocks[1024];
	(void)user;
	if (chunk->chunk == 0) {
		printf("\nobject %" PRIu32 ": %s %s of %s%s", chunk->object, chunk->kind, chunk->dtype,
		       chunk->variant,
		       chunk->file     ? ", in file "
		       : chunk->tensor ? ", "
		                       : "");
		cli_print_name(stdout, chunk->tensor ? chunk->tensor : chunk->file ? chunk->file : "");
		printf("\n%8s %10s %10s %8s %-8s %s\n", "chunk", "elements", "bytes", "bits", "mode", "blocks");
	}
	block_names(chunk, blocks, sizeof(blocks));
	printf("%8" PRIu32 " %10" PRIu64 " %10" PRIu64 " %8.3f %-8s %s\n", chunk->chunk, chunk->n_elems,
	       chunk->coded_size, bits(chunk->coded_size, chunk->n_elems), chunk->mode, blocks);
	return 1;
}

static int add_chunk_json(void *user, const qstore_chunk_info *chunk)
{
	json_t *blocks = json_array();
	for (uint32_t i = 0; i < chunk->n_blocks; i++)
		json_array_append_new(blocks, json_string(chunk->blocks[i]));
	return json_array_append_new(
	           user, json_pack("{s:I, s:s, s:s, s:s, s:s?, s:s?, s:I, s:I, s:I, s:f, s:s, s:o}", "object",
	                           (json_int_t)chunk->object, "variant", chunk->variant, "kind", chunk->kind,
	                           "dtype", chunk->dtype, "tensor", chunk->tensor, "file", chunk->file, "chunk",
	                           (json_int_t)chunk->chunk, "elements", (json_int_t)chunk->n_elems, "codedSize",
	                           (json_int_t)chunk->coded_size, "bitsPerElement",
	                           bits(chunk->coded_size, chunk->n_elems), "mode", chunk->mode, "blocks",
	                           blocks)) == 0;
}

static json_t *variants_json(const qstore_archive *archive, uint32_t mask)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < 32; i++) {
		qstore_variant_info variant;
		if ((mask >> i & 1) == 0)
			continue;
		qstore_get_variant(archive, i, &variant);
		json_array_append_new(list, json_string(variant.name));
	}
	return list;
}

static void print_damage(void *user, uint64_t offset, uint64_t size, const char *reason)
{
	(void)user;
	cli_fail_start();
	fprintf(stderr, "bad: %" PRIu64 " bytes from byte %" PRIu64 " on: %s\n", size, offset, reason);
}

static void add_damage_json(void *user, uint64_t offset, uint64_t size, const char *reason)
{
	json_array_append_new(user, json_pack("{s:I, s:I, s:s}", "offset", (json_int_t)offset, "size",
	                                      (json_int_t)size, "reason", reason));
}

/* Lists what is bad in an archive that could not be verified. */
static void list_damage(const qstore_archive *archive, const qstore_work *work, json_t *damage)
{
	qstore_error error;
	qstore_work quiet = {.threads = work->threads, .cancel = work->cancel};
	if (qstore_find_damage(archive, &quiet, damage ? add_damage_json : print_damage, damage, NULL, &error))
		cli_fail(&error);
}

/* chunks, damage: lists, which are taken over; or NULL. */
static int print_json(const qstore_archive *archive, const char *path, int verified, json_t *chunks,
                      json_t *damage)
{
	qstore_archive_info info;
	qstore_get_info(archive, &info);
	json_t *variants = json_array(), *files = json_array(), *tensors = json_array();
	for (uint32_t i = 0; i < info.n_variants; i++) {
		qstore_variant_info v;
		qstore_get_variant(archive, i, &v);
		json_array_append_new(
		    variants,
		    json_pack("{s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:b}", "name", v.name, "dtype", v.dtype,
		              "coarser", v.coarser, "size", (json_int_t)v.raw_size, "layerSize",
		              (json_int_t)v.layer_size, "prefixSize", (json_int_t)v.prefix_size, "downloadSize",
		              (json_int_t)v.download_size, "complete", info.file_size >= v.prefix_size));
	}
	for (uint32_t i = 0; i < info.n_files; i++) {
		qstore_file_info f;
		char sha256[65];
		qstore_get_file(archive, i, &f);
		hex(f.sha256, sha256);
		json_array_append_new(files, json_pack("{s:s, s:o, s:I, s:s, s:s}", "name", f.name, "variants",
		                                       variants_json(archive, f.variants), "size", (json_int_t)f.size,
		                                       "sha256", sha256, "kind", f.kind));
	}
	for (uint32_t i = 0; i < info.n_tensors; i++) {
		qstore_tensor_info t;
		qstore_file_info f;
		qstore_get_tensor(archive, i, &t);
		qstore_get_file(archive, t.file, &f);
		json_t *shape = json_array();
		for (uint32_t j = 0; j < t.n_dims; j++)
			json_array_append_new(shape, json_integer((json_int_t)qstore_get_tensor_dim(archive, i, j)));
		json_t *entry = json_pack("{s:s, s:s, s:o, s:s, s:o, s:I, s:s, s:I, s:b}", "name", t.name, "file",
		                          f.name, "variants", variants_json(archive, t.variants), "dtype", t.dtype,
		                          "shape", shape, "size", (json_int_t)t.size, "kind", t.kind, "codedSize",
		                          (json_int_t)t.coded_size, "shared", t.shared);
		if (strcmp(t.kind, "literal") != 0)
			json_object_set_new(entry, "bitsPerWeight", json_real(bits(t.coded_size, t.n_elems)));
		if (strcmp(t.kind, "refine") == 0)
			json_object_set_new(entry, "error", json_real(t.error));
		if (t.rule)
			json_object_set_new(entry, "rule", json_string(t.rule));
		json_array_append_new(tensors, entry);
	}
	uint64_t raw = raw_size(archive, &info);
	char digest[QSTORE_DIGEST_SIZE];
	qstore_get_digest(archive, digest);
	json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:b, s:o, s:o, s:o}", "archive", path,
	                         "digest", digest, "archiveSize", (json_int_t)info.archive_size, "fileSize",
	                         (json_int_t)info.file_size, "indexSize", (json_int_t)info.index_size, "rawSize",
	                         (json_int_t)raw, "ratio",
	                         info.archive_size == 0 ? 0.0 : (double)raw / (double)info.archive_size,
	                         "verified", verified, "variants", variants, "files", files, "tensors", tensors);
	if (chunks)
		json_object_set_new(root, "chunks", chunks);
	if (damage)
		json_object_set_new(root, "damage", damage);
	return cli_print_json(root);
}

int main(int argc, char **argv)
{
	const char *base = NULL, *digest = NULL;
	qstore_work work = {0};
	cli_common common = {0};
	int code = CLI_OK, verify = 0, list_chunks = 0, option;
	cli_start(&tool);
	while ((option = cli_next_option(argc, argv, &common)) > 0) {
		switch (option) {
		case OPTION_VERIFY:
			verify = 1;
			break;
		case OPTION_BASE:
			base = optarg;
			break;
		case OPTION_DIGEST:
			digest = optarg;
			break;
		case OPTION_CHUNKS:
			list_chunks = 1;
			break;
		}
	}
	if (option == CLI_EXIT)
		return common.code;
	const char *path = cli_argument(argc, argv, "archive");
	if (!path)
		return CLI_USAGE;

	cli_bar bar;
	qstore_archive *archive;
	qstore_error error;
	cli_work(&work, &bar, &common);
	qstore_status status = qstore_open(path, &archive, &error);
	if (status)
		return cli_fail(&error);
	status = cli_trust(archive, digest, base, &error);
	if (!status && !common.json && !common.quiet)
		print_text(archive, path);
	json_t *chunks = list_chunks && common.json ? json_array() : NULL;
	if (list_chunks && !status && (common.json || !common.quiet))
		status = qstore_each_chunk(archive, chunks ? add_chunk_json : print_chunk, chunks, &error);
	json_t *damage = NULL;
	if (verify && !status) {
		status = qstore_verify(archive, &work, &error);
		cli_bar_end(&bar);
	}
	if (status)
		code = cli_fail(&error);
	/* Nothing is bad in an archive that cannot be verified without its base. */
	if (verify && status && status != QSTORE_CANCELLED && status != QSTORE_NOT_FOUND) {
		damage = common.json ? json_array() : NULL;
		list_damage(archive, &work, damage);
	}
	if (common.json && (!status || damage)) {
		int printed = print_json(archive, path, verify && !status, json_incref(chunks), json_incref(damage));
		code = code == CLI_OK ? printed : code;
	} else if (!status && verify && !common.quiet) {
		printf("\nVerified: all checksums and SHA-256 are right\n");
	}
	json_decref(chunks);
	json_decref(damage);
	qstore_close(archive);
	return code == CLI_OK ? cli_finish() : code;
}
