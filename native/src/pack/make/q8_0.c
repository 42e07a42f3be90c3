/* The Q8_0 variant of a GGUF model, as llama-quantize would make it. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/q8_0_gguf.h"
#include "pack/pack.h"

/* The file's name with its precision replaced ("model-bf16.gguf": "model-q8_0.gguf"), or with one put before
 * ".gguf" or the shard's number. */
static const char *q8_0_name(packer *p, const char *name)
{
	static const char *const precisions[] = {"bf16", "f16", "fp16", "f32", "fp32"};
	const char *base = strrchr(name, '/'), *at = NULL;
	size_t cut = 0, size = strlen(name), upper = 0;
	base = base ? base + 1 : name;
	for (size_t i = 0; i < sizeof(precisions) / sizeof(*precisions); i++) {
		size_t n = strlen(precisions[i]);
		for (const char *s = base; strlen(s) > n; s++) {
			size_t same = 0;
			while (same < n && tolower((unsigned char)s[same]) == precisions[i][same])
				same++;
			/* A word of its own. */
			if (same == n && (s == base || !isalnum((unsigned char)s[-1])) && !isalnum((unsigned char)s[n])) {
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
		if (at - base > 15 && strncmp(at - 9, "-of-", 4) == 0 && at[-15] == '-')
			at -= 15;
		added = "-q8_0";
	}
	char *text = malloc(size + 8);
	if (!text)
		return NULL;
	memcpy(text, name, (size_t)(at - name));
	strcpy(text + (at - name), added);
	strcat(text, at + cut);
	return pack_keep(p, text);
}

/* One tensor of the made file: as HIGH has it, or blocks of their codes and scales. */
static qstore_status make_tensor(packer *p, pack_tensor *made, pack_tensor *fine, qs_error *error)
{
	if (made->dtype != QS_Q8_0) {
		made->source = fine->source;
		made->source_offset = fine->source_offset;
		made->role = fine->role;
		if (fine->role == PACK_PLAIN) {
			fine->role = PACK_SHARED;
			fine->coarse = made;
			p->result.n_equal++;
		}
		return QSTORE_OK;
	}
	uint64_t rows = pack_rows(fine), cols = pack_cols(fine), blocks = rows * cols / 32;
	int halves = fine->dtype != QS_F32;
	made->view = PACK_Q8_0;
	made->of = fine;
	if (fine->role != PACK_PLAIN) /* blocks are never too small for an object */
		return qs_fail(error, QSTORE_INPUT, "%s: cannot be quantized", fine->name);
	pack_tensor *codes = pack_add_part(p, fine, PACK_Q8_0_CODES, QS_I8, rows, cols);
	pack_tensor *scales = halves ? pack_add_part(p, fine, PACK_BLOCK_ABSMAX, fine->dtype, blocks, 1)
	                             : pack_add_part(p, fine, PACK_Q8_0_SCALES, QS_F16, blocks, 1);
	pack_tensor *half = fine;
	if (!halves)
		half = pack_add_part(p, fine, PACK_CAST_BF16, QS_BF16, rows, cols);
	if (!codes || !scales || !half)
		return pack_no_memory(error);
	codes->owner = scales->owner = made;
	pack_grid grid = {.rule = halves ? QS_RULE_Q8_0 : QS_RULE_Q8_0_D,
	                  .scales = scales,
	                  .group = 32,
	                  .row_stride = cols / 32,
	                  .group_stride = 1};
	pack_use_grid(codes, &grid);
	made->role = PACK_LAYOUT;
	made->coarse = made->codes = codes;
	half->role = PACK_REFINE;
	half->coarse = codes;
	if (half != fine) {
		fine->role = PACK_DELTA;
		fine->coarse = half;
	}
	return QSTORE_OK;
}

/* Zeros for what is between the tensors. */
static qstore_status make_padding(packer *p, pack_file *file, qs_error *error)
{
	uint64_t most = 0, at = file->gaps.size;
	for (size_t i = 0; i <= file->n_tensors; i++) {
		uint64_t end = i < file->n_tensors ? file->tensors[i].offset : file->size;
		most = end > at && end - at > most ? end - at : most;
		at = i < file->n_tensors ? end + file->tensors[i].size : end;
	}
	uint8_t *zeros = calloc((size_t)most + 1, 1);
	if (!zeros)
		return pack_no_memory(error);
	qstore_status status = pack_generate(p, zeros, (size_t)most + 1, &file->padding, error);
	free(zeros);
	file->is_padded = 1;
	return status;
}

static qstore_status make_file(packer *p, size_t number, size_t *n_made, qs_error *error)
{
	const qs_model_file *input = p->files[number].input;
	uint8_t *header = NULL;
	size_t header_size = 0;
	pack_file *file;
	/* Their names and shapes are used: freed with the packer. */
	qs_weights *larger = realloc(p->planned, (p->n_planned + 1) * sizeof(*larger));
	if (!larger)
		return pack_no_memory(error);
	p->planned = larger;
	qs_weights *planned = &larger[p->n_planned++];
	pack_map map = {0};
	memset(planned, 0, sizeof(*planned));
	qstore_status status =
	    qs_gguf_q8_0_header(input->path, &input->weights, &header, &header_size, planned, error);
	if (!status)
		status = pack_map_of_file(&p->files[number], &map) ? QSTORE_OK : pack_no_memory(error);
	if (!status)
		status = pack_add_file(p, &file, error);
	if (!status) {
		pack_file *high = &p->files[number];
		file->name = q8_0_name(p, high->name);
		file->path = high->path;
		file->variants = 1;
		file->size = planned->file_size;
		file->tensors = calloc(planned->n_tensors + 1, sizeof(*file->tensors));
		if (!file->name || !file->tensors)
			status = pack_no_memory(error);
		for (size_t i = 0; i < planned->n_tensors && !status; i++) {
			const qs_weight *t = &planned->tensors[i];
			pack_tensor *fine = pack_map_find(&map, t->name), *made = &file->tensors[file->n_tensors++];
			*made = (pack_tensor){.name = t->name,
			                      .full = t->name,
			                      .key = t->name,
			                      .dtype = t->dtype,
			                      .n_dims = t->n_dims,
			                      .dims = t->dims,
			                      .offset = t->offset,
			                      .size = t->size,
			                      .role = PACK_LITERAL,
			                      .object = QS_NONE};
			if (!fine) {
				status =
				    qs_fail(error, QSTORE_INPUT, "%s: tensor %s is of an unknown type", input->path, t->name);
				break;
			}
			*n_made += t->dtype == QS_Q8_0;
			status = make_tensor(p, made, fine, error);
		}
	}
	if (!status)
		status = pack_generate(p, header, header_size, &file->gaps.offset, error);
	if (!status) {
		file->gaps.source = p->generated;
		file->gaps.size = header_size;
		status = make_padding(p, file, error);
	}
	free(header);
	free(map.tensors);
	return status;
}

qstore_status pack_quantize_q8_0(packer *p, qs_error *error)
{
	size_t n_files = p->n_files, n_made = 0;
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < n_files && !status; i++)
		if (p->files[i].input && p->files[i].input->is_weights)
			status = make_file(p, i, &n_made, error);
	if (status)
		return status;
	if (n_made == 0) {
		p->made_low = 0;
		p->result.nothing_quantized = 1;
		for (size_t i = 0; i < n_files; i++)
			for (size_t j = 0; j < p->files[i].n_tensors; j++)
				if (p->files[i].tensors[j].role == PACK_SHARED) {
					p->files[i].tensors[j].role = PACK_PLAIN;
					p->files[i].tensors[j].coarse = NULL;
				}
		p->result.n_equal = 0;
		while (p->n_files > n_files)
			free(p->files[--p->n_files].tensors);
		return QSTORE_OK;
	}
	for (size_t i = 0; i < p->n_smalls; i++)
		p->smalls[i].variants |= 1;
	for (size_t i = 0; i < n_files; i++)
		if (p->files[i].n_tensors == 0)
			p->files[i].variants |= 1;
	return QSTORE_OK;
}
