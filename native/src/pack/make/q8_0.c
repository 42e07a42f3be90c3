/* The variant that llama-quantize makes of a GGUF model as Q8_0. */
#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "make.h"
#include "quantize/q8_0_gguf.h"

/* The file's name with its precision replaced ("model-bf16.gguf": "model-q8_0.gguf"), or with one put before
 * ".gguf" or the shard's number. NULL when out of memory. */
static const char *q8_0_name(qs_arena *arena, const char *name)
{
	static const char *const precisions[] = {"bf16", "f16", "fp16", "f32", "fp32"};
	const char *last = strrchr(name, '/'), *at = NULL;
	size_t cut = 0, size = strlen(name), upper = 0;
	last = last ? last + 1 : name;
	for (size_t i = 0; i < sizeof(precisions) / sizeof(*precisions); i++) {
		size_t n = strlen(precisions[i]);
		for (const char *s = last; strlen(s) > n; s++) {
			size_t same = 0;
			while (same < n && tolower((unsigned char)s[same]) == precisions[i][same])
				same++;
			/* Only as a word of its own. */
			if (same == n && (s == last || !isalnum((unsigned char)s[-1])) && !isalnum((unsigned char)s[n])) {
				at = s;
				cut = n;
				upper = isupper((unsigned char)s[0]) != 0;
			}
		}
	}
	const char *added = upper ? "Q8_0" : "q8_0";
	if (!at) {
		at = name + size;
		if (size > 5 && strcmp(at - 5, ".gguf") == 0)
			at -= 5;
		if (at - last > 15 && strncmp(at - 9, "-of-", 4) == 0 && at[-15] == '-')
			at -= 15;
		added = "-q8_0";
	}
	return qs_arena_text(arena, "%.*s%s%s", (int)(at - name), name, added, at + cut);
}

/* A file of HIGH, and how its Q8_0 version looks. */
typedef struct planned_file {
	size_t number; /* of HIGH's file */
	qs_weights weights;
	uint8_t *header;
	size_t header_size;
} planned_file;

/* A tensor of the made file that is as in HIGH. */
static void keep_tensor(pack_tensor *made, pack_tensor *fine, uint64_t offset, pack_derived *derived)
{
	*made = *fine;
	made->offset = offset;
	pack_share_with_made(derived, fine, made);
}

/* A tensor of blocks: a layout of codes and scales, which are views of HIGH's floats. */
static qstore_status quantize_tensor(pack_tensor *made, pack_tensor *fine, const qs_weight *planned,
                                     pack_derived *derived, qstore_error *error)
{
	uint64_t rows = pack_rows(fine), cols = pack_cols(fine), blocks = rows * cols / 32;
	int is_half = fine->dtype != QS_F32;
	/* Blocks are never too small for an object, so that only a base gives HIGH's tensor another role. */
	if (fine->coding.role != PACK_PLAIN)
		return qs_fail(
		    error, QSTORE_INPUT,
		    "tensor %s: is coded from the base, and cannot be quantized too: pack without --base, or with "
		    "--quantize none",
		    fine->name);
	pack_tensor *codes = pack_derive(derived, fine, PACK_Q8_0_CODES, QS_I8, rows, cols);
	pack_tensor *scales = is_half ? pack_derive(derived, fine, PACK_BLOCK_ABSMAX, fine->dtype, blocks, 1)
	                              : pack_derive(derived, fine, PACK_Q8_0_SCALES, QS_F16, blocks, 1);
	pack_tensor *half = is_half ? fine : pack_derive(derived, fine, PACK_CAST_BF16, QS_BF16, rows, cols);
	if (!codes || !scales || !half)
		return qs_no_memory(error);
	codes->owner = scales->owner = made;
	*made = (pack_tensor){.name = fine->name,
	                      .full = fine->full,
	                      .key = fine->key,
	                      .dtype = QS_Q8_0,
	                      .n_dims = fine->n_dims,
	                      .dims = fine->dims,
	                      .offset = planned->offset,
	                      .size = planned->size,
	                      .view = PACK_Q8_0,
	                      .viewed = fine,
	                      .matrix = codes,
	                      .object = QS_NONE};
	pack_set_codes(codes, &(pack_grid){.rule = is_half ? QS_RULE_Q8_0 : QS_RULE_Q8_0_D,
	                                   .scales = scales,
	                                   .group = 32,
	                                   .row_stride = cols / 32,
	                                   .group_stride = 1});
	pack_set_layout(made, codes, 0);
	pack_set_refine(half, codes);
	if (half != fine)
		pack_set_delta(fine, half);
	return QSTORE_OK;
}

/* Makes zero bytes for the space between the tensors. */
static qstore_status make_padding(pack_file *file, pack_spool *spool, qstore_error *error)
{
	uint64_t most = 0, at = file->gaps.size;
	for (size_t i = 0; i <= file->n_tensors; i++) {
		uint64_t end = i < file->n_tensors ? file->tensors[i].offset : file->size;
		most = end > at && end - at > most ? end - at : most;
		at = i < file->n_tensors ? end + file->tensors[i].size : end;
	}
	uint8_t *padding = calloc((size_t)most + 1, 1);
	if (!padding)
		return qs_no_memory(error);
	qstore_status status = pack_spool_append(spool, padding, (size_t)most + 1, &file->padding, error);
	free(padding);
	file->is_padded = 1;
	return status;
}

static qstore_status make_tensors(pack_file *file, const planned_file *planned, const pack_map *high,
                                  pack_derived *derived, qstore_error *error)
{
	const qs_weights *weights = &planned->weights;
	file->tensors = qs_arena_array(derived->arena, weights->n_tensors, sizeof(*file->tensors));
	if (!file->tensors)
		return qs_no_memory(error);
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < weights->n_tensors && !status; i++) {
		const qs_weight *t = &weights->tensors[i];
		pack_tensor *fine = pack_map_find(high, t->name), *made = &file->tensors[file->n_tensors++];
		if (!fine)
			status =
			    qs_fail(error, QSTORE_INPUT, "%s: tensor %s is of an unknown type: pack with --quantize none",
			            file->path, t->name);
		else if (t->dtype == QS_Q8_0)
			status = quantize_tensor(made, fine, t, derived, error);
		else
			keep_tensor(made, fine, t->offset, derived);
	}
	return status;
}

/* Adds the Q8_0 version of a file. */
static qstore_status make_file(pack_input *input, const planned_file *planned, pack_derived *derived,
                               qstore_error *error)
{
	pack_map map = {0};
	pack_file *file = pack_add_file(input);
	if (!file)
		return qs_no_memory(error);
	const pack_file *high = &input->files[planned->number];
	*file = (pack_file){.name = q8_0_name(derived->arena, high->name),
	                    .path = high->path,
	                    .variants = 1,
	                    .size = planned->weights.file_size,
	                    .gaps = {.source = &derived->spool->source, .size = planned->header_size}};
	qstore_status status = file->name ? pack_map_file(high, &map, error) : qs_no_memory(error);
	if (!status)
		status = make_tensors(file, planned, &map, derived, error);
	free(map.tensors);
	if (!status)
		status = pack_spool_append(derived->spool, planned->header, planned->header_size, &file->gaps.offset,
		                           error);
	return status ? status : make_padding(file, derived->spool, error);
}

/* Plans the Q8_0 version of all files of weights. *n_quantized: tensors of Q8_0 in them. */
static qstore_status plan_files(const pack_input *input, planned_file *planned, size_t *n,
                                size_t *n_quantized, qstore_error *error)
{
	for (size_t i = 0; i < input->n_files; i++) {
		const qs_model_file *given = input->files[i].input;
		if (!given->is_weights)
			continue;
		planned_file *file = &planned[(*n)++];
		file->number = i;
		qstore_status status = qs_gguf_q8_0_header(given->path, &given->weights, &file->header,
		                                           &file->header_size, &file->weights, error);
		if (status)
			return status;
		for (size_t j = 0; j < file->weights.n_tensors; j++)
			*n_quantized += file->weights.tensors[j].dtype == QS_Q8_0;
	}
	return QSTORE_OK;
}

static qstore_status make_files(pack_input *input, const planned_file *planned, size_t n,
                                pack_derived *derived, qstore_error *error)
{
	size_t n_high_files = input->n_files;
	pack_insert_coarsest(input, "q8_0", QS_Q8_0);
	for (size_t i = 0; i < n; i++) {
		qstore_status status = make_file(input, &planned[i], derived, error);
		if (status)
			return status;
	}
	/* Files without weights are in both variants. */
	for (size_t i = 0; i < input->n_smalls; i++)
		input->smalls[i].variants |= 1;
	for (size_t i = 0; i < n_high_files; i++)
		if (input->files[i].n_tensors == 0)
			input->files[i].variants |= 1;
	return QSTORE_OK;
}

qstore_status pack_make_q8_0(pack_input *input, pack_derived *derived, int *made, qstore_error *error)
{
	size_t n = 0, n_quantized = 0;
	planned_file *planned = calloc(input->n_files + 1, sizeof(*planned));
	qstore_status status =
	    planned ? plan_files(input, planned, &n, &n_quantized, error) : qs_no_memory(error);
	*made = !status && n_quantized > 0;
	if (*made)
		status = make_files(input, planned, n, derived, error);
	for (size_t i = 0; i < n; i++) {
		qs_weights_close(&planned[i].weights);
		free(planned[i].header);
	}
	free(planned);
	return status;
}
