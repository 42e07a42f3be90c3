/* qstore_pack: the steps, in order. Each stage is a folder, and depends only on those before it:
 *
 *     input/   what is packed: variants, files, tensors, and how they are read
 *     match/   how each tensor is coded, from which others
 *     make/    a variant that is made from the given one
 *     write/   the archive */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "make/make.h"
#include "match/base.h"
#include "match/equal.h"
#include "match/match.h"
#include "options.h"
#include "os/file.h"
#include "os/temp.h"
#include "write/write.h"

/* All that lives as long as a pack. */
typedef struct packer {
	const qstore_pack_options *options;
	pack_progress progress;
	qs_arena arena;
	pack_spool made; /* bytes that are in no input */
	pack_input input;
	pack_derived derived;
	pack_apart apart;
	pack_base base;
	pack_members members;
	pack_plan plan;
	pack_spool layers;
	qstore_pack_result result;
} packer;

/* Refuses an output that could not be written at the end, before the work. */
static qstore_status check_output(const packer *p, const char *path, int force, qstore_error *error)
{
	struct stat info;
	if (stat(path, &info) != 0)
		return QSTORE_OK;
	if (!S_ISREG(info.st_mode))
		return qs_fail(error, QSTORE_IO, "%s: cannot create: exists and is not a regular file", path);
	if (pack_is_in_base(&p->base, &info))
		return qs_fail(error, QSTORE_USAGE,
		               "%s: is part of the base, which the archive needs: choose another output", path);
	if (pack_is_source(&p->input.sources, &info))
		return qs_fail(error, QSTORE_USAGE, "%s: is one of the files to be packed: choose another output",
		               path);
	if (!force)
		return qs_fail(error, QSTORE_EXISTS,
		               "%s: exists already: choose another output, or replace it with --force", path);
	return QSTORE_OK;
}

/* Removes what killed runs have left in the output's folder. */
static void sweep(const char *output)
{
	const char *slash = strrchr(output, '/');
	char *folder = slash ? strndup(output, (size_t)(slash + 1 - output)) : strdup(".");
	if (folder)
		qs_temp_sweep(folder);
	free(folder);
}

static qstore_status open_base(packer *p, qstore_error *error)
{
	return p->options->base ? pack_open_base(&p->base, p->options->base, &p->input.sources, &p->arena, error)
	                        : QSTORE_OK;
}

static qstore_status open_spools(packer *p, qstore_error *error)
{
	const char *output = p->options->output;
	qstore_status status = pack_open_spool(&p->made, output, error);
	if (!status)
		status = pack_open_spool(&p->members.spool, output, error);
	if (!status)
		status = pack_open_spool(&p->layers, output, error);
	return status;
}

/* Makes a variant from the given one, when there is only one; nothing is made when no tensor is fit for it.
 */
static qstore_status make_variant(packer *p, qstore_quantize quantizer, qstore_error *error)
{
	int made = 0;
	qstore_status status =
	    quantizer == QSTORE_QUANTIZE_Q8_0
	        ? pack_make_q8_0(&p->input, &p->derived, &made, error)
	        : pack_make_llm_int8(&p->input, &p->derived, p->options, &p->progress, &made, error);
	p->result.nothing_quantized = !made;
	return status;
}

/* Decides how every tensor is coded. */
static qstore_status match_tensors(packer *p, qstore_quantize quantizer, qstore_error *error)
{
	const qstore_pack_options *options = p->options;
	int is_alone = p->input.n_variants == 1;
	qstore_status status = pack_find_matrices(&p->input, &p->derived, error);
	if (!status && p->input.n_variants > 1)
		status = pack_pair_variants(&p->input, &p->derived, &p->apart, options, &p->progress, error);
	if (!status && options->base)
		status = pack_pair_base(&p->base, &p->input, &p->derived, &p->progress, error);
	if (!status && quantizer != QSTORE_QUANTIZE_NONE)
		status = make_variant(p, quantizer, error);
	/* Tensors of one variant, and of one that was made of it, have not been compared with others yet. */
	if (!status && is_alone)
		status = pack_find_equal(&p->input, &p->progress, error);
	if (!status)
		status = pack_share_all(&p->input, &p->derived, &p->progress, error);
	pack_drop_shared(&p->apart);
	if (!status && options->strict)
		status = pack_refuse_apart(&p->apart, &p->input, error);
	return status;
}

/* Writes everything into the open file at temp_path, and makes sure that it can be read. */
static qstore_status write_archive(packer *p, int fd, const char *temp_path, qstore_error *error)
{
	const char *base = pack_is_base_used(&p->base) ? p->options->base : NULL;
	qstore_status status =
	    pack_make_members(&p->members, &p->input, p->options->compare, &p->progress, error);
	if (!status)
		status = pack_hash_base(&p->base, &p->progress, error);
	if (!status)
		status = pack_make_plan(&p->plan, &p->input, &p->derived, &p->base, &p->members, error);
	if (!status)
		status = pack_encode(&p->plan, &p->layers, &p->progress, &p->result, error);
	if (!status)
		status = pack_check_sources(&p->input.sources, error);
	if (!status)
		status = pack_write_archive(&p->plan, &p->members, &p->layers, fd, &p->progress, &p->result, error);
	if (!status)
		status = pack_check_archive(&p->plan, &p->input.sources, base, fd, temp_path, &p->progress,
		                            &p->result, error);
	return status;
}

/* Finds what the tensors that are stored apart take, and warns of them. */
static void report_apart(packer *p)
{
	for (size_t i = 0; i < p->apart.n; i++) {
		pack_apart_tensor *t = &p->apart.tensors[i];
		t->coded_size = pack_coded_size(&p->plan, t->fine);
		p->result.n_apart++;
		p->result.apart_weights += pack_n_elems(t->fine);
		p->result.apart_size += t->coded_size;
	}
	pack_warn_apart(&p->apart, &p->input, &p->options->work);
}

/* Counts the tensors of the given models that are equal to others, or differences to the base. */
static void count_tensors(const pack_input *input, qstore_pack_result *result)
{
	for (size_t i = 0; i < input->n_files; i++)
		for (size_t j = 0; j < input->files[i].n_tensors && input->files[i].input; j++) {
			const pack_tensor *t = &input->files[i].tensors[j];
			if (t->coding.role == PACK_DUPLICATE && t->coding.original->coding.role == PACK_BASE)
				result->n_base_equal++;
			else if (t->coding.role == PACK_DUPLICATE)
				result->n_equal++;
			else if (t->coding.role == PACK_DELTA && t->coding.reference->coding.role == PACK_BASE)
				result->n_base_delta++;
		}
}

static void fill_result(const packer *p, qstore_pack_result *result)
{
	result->n_variants = p->input.n_variants;
	for (uint32_t v = 0; v < result->n_variants; v++) {
		const qs_variant *variant = &p->plan.builder.variants[v];
		strncpy(result->variants[v].name, variant->name, sizeof(result->variants[v].name) - 1);
		const pack_file *file = pack_main_file(&p->input, v, &result->variants[v].n_more_files);
		if (file)
			strncpy(result->variants[v].file, file->name, sizeof(result->variants[v].file) - 1);
		result->variants[v].raw_size = variant->raw_size;
		result->variants[v].zstd_size = p->members.zstd_size[v];
		for (size_t i = 0; i < p->members.n && p->options->compare; i++) {
			if (p->members.items[i].small->variants >> v & 1)
				result->variants[v].zstd_size += p->members.items[i].coded_size;
		}
	}
	count_tensors(&p->input, result);
}

static qstore_status run_steps(packer *p, qstore_error *error)
{
	const char *output = p->options->output;
	qstore_quantize quantizer = QSTORE_QUANTIZE_NONE;
	char *temp_path = NULL;
	int fd = -1;
	qstore_status status = pack_open_input(&p->input, p->options, error);
	if (!status && p->input.n_variants > 1 && !p->options->low &&
	    (p->options->quantize == QSTORE_QUANTIZE_LLM_INT8 || p->options->quantize == QSTORE_QUANTIZE_Q8_0))
		status = qs_fail(error, QSTORE_USAGE,
		                 "%s has %u precisions already; only of a model in one precision another is made",
		                 p->options->high, p->input.n_variants);
	if (!status && p->input.n_variants == 1 && p->options->from)
		status = qs_fail(error, QSTORE_USAGE,
		                 "%s is in one precision, and --from %s names a coarser one: give that with --low",
		                 p->options->high, p->options->from);
	if (!status && p->input.n_variants == 1)
		status = pack_choose_quantizer(p->options, &p->input.variants[0], &quantizer,
		                               &p->result.nothing_quantized, error);
	if (!status)
		status = open_base(p, error);
	if (!status)
		status = check_output(p, output, p->options->force, error);
	if (!status)
		sweep(output);
	if (!status)
		status = qs_temp_create(&fd, &temp_path, output, error);
	if (!status)
		status = open_spools(p, error);
	if (!status)
		status = match_tensors(p, quantizer, error);
	if (!status)
		status = write_archive(p, fd, temp_path, error);
	if (fd >= 0 && close(fd) != 0 && !status)
		status = qs_fail(error, QSTORE_IO, "%s: cannot write: %s", output, strerror(errno));
	if (!status)
		status = qs_temp_rename(temp_path, output, p->options->force, error);
	if (!status) {
		qs_sync_folders(output, strlen(output));
		fill_result(p, &p->result);
		report_apart(p);
	} else if (temp_path) {
		unlink(temp_path);
	}
	free(temp_path);
	return status;
}

static void packer_free(packer *p)
{
	pack_free_plan(&p->plan);
	pack_close_base(&p->base);
	pack_apart_free(&p->apart);
	pack_derived_free(&p->derived);
	pack_close_input(&p->input);
	pack_close_spool(&p->layers);
	pack_close_spool(&p->members.spool);
	pack_close_spool(&p->made);
	qs_arena_free(&p->arena);
	pack_progress_free(&p->progress);
	free(p);
}

qstore_status qstore_pack(const qstore_pack_options *given, qstore_pack_result *result, qstore_error *error)
{
	qstore_pack_options own = {0};
	const qstore_pack_options *options = &own;
	qs_error_clear(error);
	qs_take_options(&own, sizeof(own), given, given->struct_size);
	if (!options->high || !options->output || options->high[0] == 0 || options->output[0] == 0 ||
	    (options->low && options->low[0] == 0))
		return qs_fail(error, QSTORE_USAGE, "a model and an output are needed");
	packer *p = calloc(1, sizeof(*p));
	if (!p)
		return qs_no_memory(error);
	p->options = options;
	pack_progress_init(&p->progress, &options->work);
	p->input.arena = p->derived.arena = &p->arena;
	p->derived.spool = &p->made;
	p->plan.output = options->output;
	qstore_status status = run_steps(p, error);
	if (!status && result)
		*result = p->result;
	packer_free(p);
	return status;
}
