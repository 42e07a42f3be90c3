/* LOW as given: which of its tensors are codes of HIGH's, and which are the same. */
#include <stdlib.h>
#include <string.h>

#include "pack.h"

/* More tensors than this are not named in a message. */
#define NAMED_MAX 5

typedef struct tensor_map {
	pack_tensor **tensors; /* sorted by name */
	size_t n_tensors;
} tensor_map;

static int compare_tensors(const void *a, const void *b)
{
	return strcmp((*(pack_tensor *const *)a)->name, (*(pack_tensor *const *)b)->name);
}

static int compare_name(const void *name, const void *tensor)
{
	return strcmp(name, (*(pack_tensor *const *)tensor)->name);
}

static pack_tensor *map_find(const tensor_map *map, const char *name)
{
	pack_tensor **found = map->n_tensors == 0 ? NULL
	                                          : bsearch(name, map->tensors, map->n_tensors,
	                                                    sizeof(*map->tensors), compare_name);
	return found == NULL ? NULL : *found;
}

static int same_shape(const pack_tensor *a, const pack_tensor *b)
{
	if (a->n_dims != b->n_dims)
		return 0;
	for (uint32_t i = 0; i < a->n_dims; i++) {
		if (a->dims[i] != b->dims[i])
			return 0;
	}
	return 1;
}

static int is_float(uint32_t dtype)
{
	return dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
}

/* The scales of a tensor of codes "X.weight" are "X.SCB". */
static pack_tensor *find_scales(const tensor_map *map, const pack_tensor *codes)
{
	size_t size = strlen(codes->name);
	if (codes->dtype != QS_I8 || codes->n_dims != 2 || size < 7 ||
	    strcmp(codes->name + size - 7, ".weight") != 0)
		return NULL;
	char *name = strndup(codes->name, size - 2);
	if (name == NULL)
		return NULL;
	strcpy(name + size - 6, "SCB");
	pack_tensor *scales = map_find(map, name);
	free(name);
	if (scales == NULL || scales->dtype != QS_F32 || pack_n_elems(scales) != codes->dims[0])
		return NULL;
	return scales;
}

static qstore_status same_bytes(const packer *p, const pack_tensor *a, const pack_tensor *b, uint8_t *buffer,
                                int *same, qs_error *error)
{
	*same = 1;
	for (uint64_t at = 0; at < a->size && *same; at += QS_IO_BLOCK) {
		size_t n = a->size - at < QS_IO_BLOCK ? (size_t)(a->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_read(p, a->source, buffer, n, a->source_offset + at, error);
		if (status == QSTORE_OK)
			status = pack_read(p, b->source, buffer + QS_IO_BLOCK, n, b->source_offset + at, error);
		if (status != QSTORE_OK)
			return status;
		if (pack_is_cancelled(p))
			return qs_fail(error, QSTORE_CANCELLED, "cancelled");
		*same = memcmp(buffer, buffer + QS_IO_BLOCK, n) == 0;
	}
	return QSTORE_OK;
}

/* Whether the first chunk's codes are anything like its values: wrong pairs are found before hours of work.
 */
static qstore_status looks_alike(const packer *p, const pack_tensor *fine, const pack_tensor *codes,
                                 const pack_tensor *scales, uint8_t *buffer, int *alike, qs_error *error)
{
	uint64_t cols;
	uint32_t n;
	double error_sum, square_sum;
	pack_geometry(fine->dtype, fine->n_dims, fine->dims, &cols, &n);
	if (n > pack_n_elems(fine))
		n = (uint32_t)pack_n_elems(fine);
	uint64_t n_rows = (n + cols - 1) / cols;
	uint8_t *values = buffer, *code_bytes = buffer + 2 * (size_t)n, *scale_bytes = code_bytes + n;
	qstore_status status = pack_read(p, fine->source, values, 2 * (size_t)n, fine->source_offset, error);
	if (status == QSTORE_OK)
		status = pack_read(p, codes->source, code_bytes, n, codes->source_offset, error);
	if (status == QSTORE_OK)
		status = pack_read(p, scales->source, scale_bytes, (size_t)n_rows * sizeof(float),
		                   scales->source_offset, error);
	if (status != QSTORE_OK)
		return status;
	pack_error_sums(values, fine->dtype, code_bytes, scale_bytes, 0, n, cols, &error_sum, &square_sum);
	*alike = pack_alike(error_sum, square_sum, n);
	return QSTORE_OK;
}

static qstore_status pair_files(packer *p, const tensor_map *map, uint8_t *buffer, qs_error *error)
{
	char named[600] = "";
	size_t n_common = 0, n_wrong = 0, n_shapes = 0;
	for (size_t i = 0; i < p->n_files; i++) {
		pack_file *file = &p->files[i];
		if ((file->variants >> p->high_number & 1) == 0)
			continue;
		for (size_t j = 0; j < file->n_tensors; j++) {
			pack_tensor *fine = &file->tensors[j];
			pack_tensor *coarse = map_find(map, fine->name);
			int wrong = 0;
			if (coarse == NULL)
				continue;
			n_common++;
			pack_tensor *scales = find_scales(map, coarse);
			if (!same_shape(fine, coarse)) {
				/* Packed formats have shapes of their own; codes and floats have not. */
				wrong = scales != NULL || (is_float(fine->dtype) && is_float(coarse->dtype));
				n_shapes += (size_t)wrong;
			} else if (fine->dtype == coarse->dtype) {
				int same = 0;
				if (fine->role == PACK_PLAIN && coarse->role == PACK_PLAIN) {
					qstore_status status = same_bytes(p, fine, coarse, buffer, &same, error);
					if (status != QSTORE_OK)
						return status;
				}
				if (same) {
					fine->role = PACK_SHARED;
					fine->coarse = coarse;
					p->result.n_equal++;
				}
			} else if (scales != NULL && (fine->dtype == QS_F16 || fine->dtype == QS_BF16) &&
			           coarse->role == PACK_PLAIN && fine->role == PACK_PLAIN) {
				int alike = 0;
				qstore_status status = looks_alike(p, fine, coarse, scales, buffer, &alike, error);
				if (status != QSTORE_OK)
					return status;
				wrong = !alike;
				coarse->role = PACK_CODES;
				scales->role = PACK_PLAIN;
				fine->role = PACK_REFINE;
				fine->coarse = coarse;
				fine->scales = scales;
			}
			if (wrong && n_wrong++ < NAMED_MAX && strlen(named) + strlen(fine->name) + 3 < sizeof(named)) {
				if (named[0] != 0)
					strcat(named, ", ");
				strcat(named, fine->name);
			}
		}
	}
	if (n_common == 0)
		return qs_fail(error, QSTORE_MISMATCH, "%s does not belong to %s: they have no tensor name in common",
		               p->low.path, p->high.path);
	if (n_wrong > 0) {
		const char *what = n_shapes == n_wrong ? "shape" : n_shapes == 0 ? "value" : "shape or value";
		return qs_fail(error, QSTORE_MISMATCH, "%s does not belong to %s: %zu tensor%s in %s: %s%s",
		               p->low.path, p->high.path, n_wrong, n_wrong == 1 ? " differs" : "s differ", what,
		               named, n_wrong > NAMED_MAX ? ", …" : "");
	}
	return QSTORE_OK;
}

qstore_status pack_pair(packer *p, qs_error *error)
{
	tensor_map map = {NULL, 0};
	size_t n = 0;
	uint8_t *buffer = malloc(2 * QS_IO_BLOCK);
	for (size_t i = 0; i < p->n_files; i++)
		n += p->files[i].n_tensors;
	map.tensors = malloc((n + 1) * sizeof(*map.tensors));
	qstore_status status = QSTORE_OK;
	if (buffer == NULL || map.tensors == NULL) {
		status = pack_no_memory(error);
	} else {
		for (size_t i = 0; i < p->n_files; i++) {
			if ((p->files[i].variants & 1) == 0)
				continue;
			for (size_t j = 0; j < p->files[i].n_tensors; j++)
				map.tensors[map.n_tensors++] = &p->files[i].tensors[j];
		}
		if (map.n_tensors > 0)
			qsort(map.tensors, map.n_tensors, sizeof(*map.tensors), compare_tensors);
		status = pair_files(p, &map, buffer, error);
	}
	free(buffer);
	free(map.tensors);
	return status;
}
