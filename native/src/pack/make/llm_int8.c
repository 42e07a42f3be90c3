/* The variant that bitsandbytes makes by LLM.int8: the files that its users would save. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/index.h"
#include "formats/safetensors.h"
#include "make.h"
#include "quantize/llm_int8.h"
#include "row_maxima.h"
#include "text.h"

/* ---- The file of weights ---- */

/* The file that HIGH's weights begin with; find_quantizable has found tensors. */
static const pack_file *first_weights(const pack_input *input)
{
	size_t i = 0;
	while (input->files[i].n_tensors == 0)
		i++;
	return &input->files[i];
}

/* `name` in the folder that HIGH's weights are in: in a pipeline that is one of its parts'. NULL when out of
 * memory. */
static const char *name_in_folder(const pack_input *input, qs_arena *arena, const char *name)
{
	const char *component = first_weights(input)->input->component, *slash = strrchr(component, '/');
	return qs_arena_text(arena, "%.*s%s", slash ? (int)(slash + 1 - component) : 0, component, name);
}

/* The name under which libraries look for the weights: that of diffusers for its models, else that of
 * transformers. */
static const char *weights_name(const pack_input *input, qs_arena *arena)
{
	static const char diffusers[] = "diffusion_pytorch_model.safetensors";
	return name_in_folder(
	    input, arena,
	    qs_ends_in(first_weights(input)->input->component, diffusers) ? diffusers : "model.safetensors");
}

/* A tensor of the made file. */
typedef struct made_tensor {
	pack_tensor tensor;
	pack_tensor *fine;          /* HIGH's tensor that it was made of or is a copy of, or NULL */
	size_t codes_of, scales_of; /* numbers of the candidate whose codes or scales it is, or NO_CANDIDATE */
} made_tensor;

#define NO_CANDIDATE SIZE_MAX

/* "X" + suffix, for the weight "X.weight"; NULL when out of memory. */
static const char *name_beside(qs_arena *arena, const char *weight, const char *suffix)
{
	size_t size = strlen(weight);
	if (size > 7 && strcmp(weight + size - 7, ".weight") == 0)
		size -= 7;
	return qs_arena_text(arena, "%.*s%s", (int)size, weight, suffix);
}

/* The serializer of safetensors writes tensors by dtype, those of the widest alignment first, then by name.
 * (safetensors/src/tensor.rs: enum Dtype, fn prepare) */
static int dtype_rank(uint32_t dtype)
{
	static const uint8_t ranks[QS_DTYPE_COUNT] = {
	    [QS_BOOL] = 1, [QS_U8] = 2,   [QS_I8] = 3,   [QS_F8_E5M2] = 4, [QS_F8_E4M3] = 5, [QS_F8_E8M0] = 6,
	    [QS_I16] = 7,  [QS_U16] = 8,  [QS_F16] = 9,  [QS_BF16] = 10,   [QS_I32] = 11,    [QS_U32] = 12,
	    [QS_F32] = 13, [QS_C64] = 14, [QS_F64] = 15, [QS_I64] = 16,    [QS_U64] = 17,
	};
	return ranks[dtype];
}

static int compare_made(const void *a, const void *b)
{
	const pack_tensor *x = &((const made_tensor *)a)->tensor, *y = &((const made_tensor *)b)->tensor;
	int difference = dtype_rank(y->dtype) - dtype_rank(x->dtype);
	return difference != 0 ? difference : strcmp(x->name, y->name);
}

static int compare_pointed_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static qstore_status check_made_names(const pack_input *input, const pack_file *file, qstore_error *error)
{
	const char **names = malloc((file->n_tensors + 1) * sizeof(*names));
	qstore_status status = QSTORE_OK;
	if (!names)
		return qs_no_memory(error);
	for (size_t i = 0; i < file->n_tensors; i++)
		names[i] = file->tensors[i].name;
	qsort(names, file->n_tensors, sizeof(*names), compare_pointed_names);
	for (size_t i = 1; i < file->n_tensors && !status; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			status =
			    qs_fail(error, QSTORE_INPUT,
			            "%s: tensor %s has the name that the quantized model needs; rename it, or pack with "
			            "--quantize none",
			            pack_high_path(input), names[i]);
	free(names);
	return status;
}

/* The header of a file with these tensors, which are in their order, into the spool; sets all offsets. */
static qstore_status write_made_header(pack_file *file, pack_spool *spool, qstore_error *error)
{
	qs_weight *listed = calloc(file->n_tensors + 1, sizeof(*listed));
	uint8_t *header = NULL;
	size_t header_size = 0;
	if (!listed)
		return qs_no_memory(error);
	for (size_t i = 0; i < file->n_tensors; i++) {
		const pack_tensor *t = &file->tensors[i];
		listed[i] = (qs_weight){.name = (char *)t->name,
		                        .dtype = t->dtype,
		                        .n_dims = t->n_dims,
		                        .dims = (uint64_t *)t->dims,
		                        .size = t->size};
	}
	qstore_status status =
	    qs_safetensors_header(listed, file->n_tensors, "{\"format\":\"pt\"}", &header, &header_size, error);
	free(listed);
	if (status)
		return status;
	file->size = header_size;
	for (size_t i = 0; i < file->n_tensors; i++) {
		file->tensors[i].offset = file->size;
		file->size += file->tensors[i].size;
	}
	file->gaps = (pack_range){.source = &spool->source, .size = header_size};
	status = pack_spool_append(spool, header, header_size, &file->gaps.offset, error);
	free(header);
	return status;
}

/* Appends codes, scales and weight_format of a candidate. */
static qstore_status make_candidate(made_tensor *made, size_t *n, const pack_quantized *c, size_t number,
                                    pack_derived *derived, uint64_t format_offset, qstore_error *error)
{
	pack_tensor *fine = c->fine;
	made_tensor *codes = &made[(*n)++], *scales = &made[(*n)++], *format = &made[(*n)++];
	const char *scales_name = name_beside(derived->arena, fine->name, ".SCB"),
	           *format_name = name_beside(derived->arena, fine->name, ".weight_format");
	if (!scales_name || !format_name)
		return qs_no_memory(error);
	*codes = (made_tensor){.tensor = *fine, .fine = fine, .codes_of = number, .scales_of = NO_CANDIDATE};
	codes->tensor.coding = (pack_coding){.role = PACK_PLAIN};
	codes->tensor.dtype = QS_I8;
	codes->tensor.size = pack_n_elems(fine);
	codes->tensor.view = PACK_LLM_INT8;
	codes->tensor.viewed = fine;
	*scales = (made_tensor){.tensor = {.name = scales_name,
	                                   .full = scales_name,
	                                   .key = scales_name,
	                                   .dtype = QS_F32,
	                                   .n_dims = 1,
	                                   .dims = &fine->dims[0], /* a scale for each row */
	                                   .size = fine->dims[0] * sizeof(float),
	                                   .coding.role = PACK_PLAIN,
	                                   .source = &derived->spool->source,
	                                   .source_offset = c->scales_offset,
	                                   .object = QS_NONE},
	                        .codes_of = NO_CANDIDATE,
	                        .scales_of = number};
	*format = (made_tensor){.tensor = {.name = format_name,
	                                   .full = format_name,
	                                   .key = format_name,
	                                   .dtype = QS_U8,
	                                   .size = 1,
	                                   .coding.role = PACK_LITERAL,
	                                   .source = &derived->spool->source,
	                                   .source_offset = format_offset,
	                                   .object = QS_NONE},
	                        .codes_of = NO_CANDIDATE,
	                        .scales_of = NO_CANDIDATE};
	return QSTORE_OK;
}

/* Says how the made file's tensors and HIGH's are coded. */
static qstore_status pair_made(pack_file *file, const made_tensor *made, const pack_candidates *q,
                               pack_derived *derived, qstore_error *error)
{
	pack_tensor **scales = malloc((q->n + 1) * sizeof(*scales));
	if (!scales)
		return qs_no_memory(error);
	for (size_t i = 0; i < file->n_tensors; i++)
		if (made[i].scales_of != NO_CANDIDATE)
			scales[made[i].scales_of] = &file->tensors[i];
	for (size_t i = 0; i < file->n_tensors; i++) {
		pack_tensor *t = &file->tensors[i];
		if (made[i].codes_of != NO_CANDIDATE) {
			pack_set_codes(t, &(pack_grid){.rule = QS_RULE_LLM_INT8,
			                               .scales = scales[made[i].codes_of],
			                               .group = pack_row_group(pack_cols(t)),
			                               .row_stride = 1});
			/* Tensors that are coded from the base need no codes. */
			if (made[i].fine->coding.role == PACK_PLAIN)
				pack_set_refine(made[i].fine, t);
		} else if (made[i].fine) {
			pack_share_with_made(derived, made[i].fine, t);
		}
	}
	free(scales);
	return QSTORE_OK;
}

/* Adds the file of weights, made of the tensors of HIGH's n_high_files files. */
static qstore_status make_weights(const pack_candidates *q, pack_input *input, size_t n_high_files,
                                  pack_derived *derived, qstore_error *error)
{
	size_t n_high = 0, n = 0, next = 0;
	uint64_t format_offset;
	/* weight_format 0: codes are stored row by row. All tensors share this byte. */
	qstore_status status = pack_spool_append(derived->spool, "", 1, &format_offset, error);
	pack_file *file = pack_add_file(input);
	if (status || !file)
		return status ? status : qs_no_memory(error);
	const char *name = weights_name(input, derived->arena);
	if (!name)
		return qs_no_memory(error);
	*file = (pack_file){.name = name, .path = name, .variants = 1};
	for (size_t i = 0; i < n_high_files; i++)
		n_high += input->files[i].n_tensors;
	made_tensor *made = calloc(n_high + 2 * q->n + 1, sizeof(*made));
	file->tensors = qs_arena_array(derived->arena, n_high + 2 * q->n, sizeof(*file->tensors));
	if (!made || !file->tensors)
		status = qs_no_memory(error);
	for (size_t i = 0; i < n_high_files && !status; i++)
		for (size_t j = 0; j < input->files[i].n_tensors && !status; j++) {
			pack_tensor *fine = &input->files[i].tensors[j];
			if (next < q->n && q->items[next].fine == fine) {
				status = make_candidate(made, &n, &q->items[next], next, derived, format_offset, error);
				next++;
			} else {
				made[n++] = (made_tensor){
				    .tensor = *fine, .fine = fine, .codes_of = NO_CANDIDATE, .scales_of = NO_CANDIDATE};
			}
		}
	if (!status) {
		assert(next == q->n && n == n_high + 2 * q->n);
		qsort(made, n, sizeof(*made), compare_made);
		for (size_t i = 0; i < n; i++)
			file->tensors[file->n_tensors++] = made[i].tensor;
		status = check_made_names(input, file, error);
	}
	if (!status)
		status = write_made_header(file, derived->spool, error);
	if (!status)
		status = pair_made(file, made, q, derived, error);
	free(made);
	return status;
}

/* ---- All files ---- */

/* Gives the made variant HIGH's small files, but for those that would contradict the new weights. */
static qstore_status share_small_files(pack_input *input, pack_derived *derived, qstore_error *error)
{
	const qs_model *high = input->variants[input->n_variants - 1].model;
	const char *config = name_in_folder(input, derived->arena, "config.json");
	int made = 0;
	if (!config)
		return qs_no_memory(error);
	for (size_t i = 0; i < high->n_files; i++) {
		if (strcmp(high->files[i].name, config) == 0) {
			qstore_status status = pack_make_config(input, derived->spool, &high->files[i], &made, error);
			if (status)
				return status;
		}
	}
	for (size_t i = 0; i < input->n_smalls; i++) {
		pack_small *small = &input->smalls[i];
		if (small->variants == 1 || qs_ends_in(small->name, ".safetensors.index.json") ||
		    (made && strcmp(small->name, config) == 0))
			continue;
		small->variants |= 1;
	}
	for (size_t i = 0; i < input->n_files; i++) {
		if (input->files[i].n_tensors == 0 && !qs_ends_in(input->files[i].name, ".safetensors"))
			input->files[i].variants |= 1;
	}
	return QSTORE_OK;
}

/* Refuses a pattern that matches no tensor's name: it is probably misspelt. */
static qstore_status check_patterns(const pack_input *input, const char *const *patterns, qstore_error *error)
{
	for (; patterns && *patterns; patterns++) {
		const char *const one[] = {*patterns, NULL};
		int found = 0;
		for (size_t i = 0; i < input->n_files && !found; i++)
			for (size_t j = 0; j < input->files[i].n_tensors && !found; j++)
				found = qs_llm_int8_matches(input->files[i].tensors[j].name, one);
		if (!found)
			return qs_fail(error, QSTORE_NOT_FOUND, "%s: no tensor's name is like %s; check the pattern",
			               pack_high_path(input), *patterns);
	}
	return QSTORE_OK;
}

/* Is the tensor coded on its own, or from the base? */
static int can_be_quantized(const pack_tensor *t)
{
	const pack_coding *coding = &t->coding;
	return coding->role == PACK_PLAIN || coding->role == PACK_PARTS ||
	       (coding->role == PACK_DELTA && coding->reference->coding.role == PACK_BASE) ||
	       (coding->role == PACK_DUPLICATE && coding->original->coding.role == PACK_BASE);
}

/* The first weight that is stored as [in, out], as transformers' Conv1D has it (pytorch_utils.py): GPT-2 and
 * its kin, in which the names and the ratio of the dims show that. NULL: there is none. */
static const pack_tensor *find_conv1d(const pack_candidates *q)
{
	for (size_t i = 0; i < q->n; i++) {
		const pack_tensor *t = q->items[i].fine;
		if ((qs_ends_in(t->name, ".c_attn.weight") && t->dims[1] == 3 * t->dims[0]) ||
		    (qs_ends_in(t->name, ".c_fc.weight") && t->dims[1] == 4 * t->dims[0]))
			return t;
	}
	return NULL;
}

/* Fewer codes are too few for an object. */
#define CODES_LEAST 64

/* Is the tensor large enough? A user may ask for smaller ones than are worth it. */
static int is_large_enough(const pack_tensor *t, const qstore_pack_options *options)
{
	return pack_n_elems(t) >= (qs_llm_int8_matches(t->name, options->include) ? (uint64_t)CODES_LEAST
	                                                                          : (uint64_t)PACK_CODES_MIN);
}

static qstore_status find_quantizable(const pack_input *input, const qstore_pack_options *options,
                                      pack_candidates *q, qstore_error *error)
{
	size_t n = 0;
	for (size_t i = 0; i < input->n_files; i++)
		n += input->files[i].n_tensors;
	q->items = calloc(n + 1, sizeof(*q->items));
	if (!q->items)
		return qs_no_memory(error);
	for (size_t i = 0; i < input->n_files; i++) {
		for (size_t j = 0; j < input->files[i].n_tensors; j++) {
			pack_tensor *t = &input->files[i].tensors[j];
			if (can_be_quantized(t) && is_large_enough(t, options) && t->n_dims == 2 &&
			    qs_llm_int8_selects(t->name, t->dtype, t->n_dims, t->dims, options->include,
			                        options->exclude))
				q->items[q->n++].fine = t;
		}
	}
	return q->n > 0 ? pack_find_row_maxima(q, error) : QSTORE_OK;
}

qstore_status pack_make_llm_int8(pack_input *input, pack_derived *derived, const qstore_pack_options *options,
                                 pack_progress *progress, int *made, qstore_error *error)
{
	pack_candidates q = {.spool = derived->spool, .progress = progress};
	size_t n_high_files = input->n_files;
	*made = 0;
	qstore_status status = check_patterns(input, options->include, error);
	if (!status)
		status = check_patterns(input, options->exclude, error);
	if (!status)
		status = find_quantizable(input, options, &q, error);
	const pack_tensor *conv1d = status ? NULL : find_conv1d(&q);
	if (conv1d) {
		static const char text[] =
		    "%s: tensor %s is [in, out], as Conv1D has it, and bitsandbytes transposes that before it "
		    "quantizes, which is not done here; give the INT8 version with --low, or pack with --quantize "
		    "none";
		if (options->quantize == QSTORE_QUANTIZE_LLM_INT8)
			status = qs_fail(error, QSTORE_INPUT, text, pack_high_path(input), conv1d->name);
		else
			qs_warn(&options->work, text, pack_high_path(input), conv1d->name);
		q.n = 0;
	}
	if (!status && q.n > 0) {
		*made = 1;
		pack_insert_coarsest(input, "int8", QS_I8);
		status = make_weights(&q, input, n_high_files, derived, error);
		if (!status)
			status = share_small_files(input, derived, error);
	}
	free(q.items);
	return status;
}
