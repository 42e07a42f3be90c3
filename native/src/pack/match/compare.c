#include "compare.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/dequantize.h"
#include "core/index.h"
#include "core/rules.h"
#include "os/file.h"
#include "pack/input/grid.h"

/* Elements of the middle chunk that are coded to see whether differences pay. */
#define SAMPLE_ELEMS (1u << 16)
/* Elements of matrices whose rows and columns are compared with scales. */
#define FOLLOW_ELEMS_MAX (1u << 24)

qstore_status pack_are_equal(const pack_tensor *a, const pack_tensor *b, const pack_progress *progress,
                             uint8_t *buffer, int *equal, qstore_error *error)
{
	assert(a->size == b->size);
	*equal = 1;
	for (uint64_t at = 0; at < a->size && *equal; at += QS_IO_BLOCK) {
		size_t n = a->size - at < QS_IO_BLOCK ? (size_t)(a->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_tensor_read(a, buffer, n, at, NULL, error);
		if (!status)
			status = pack_tensor_read(b, buffer + QS_IO_BLOCK, n, at, NULL, error);
		if (!status)
			status = pack_check_cancelled(progress, error);
		if (status)
			return status;
		*equal = memcmp(buffer, buffer + QS_IO_BLOCK, n) == 0;
	}
	return QSTORE_OK;
}

/* A sample of a pair of tensors, and the memory to code it in. */
typedef struct pair_sample {
	uint8_t *memory, *values, *coarse, *coded, *scratch;
	size_t size, cap;
	qs_chunk_desc desc; /* of a refinement or a delta */
} pair_sample;

/* Reads a sample of the middle chunk. Free sample->memory even after errors. */
static qstore_status read_pair(pair_sample *sample, const pack_tensor *fine, const pack_tensor *coarse,
                               uint32_t kind, qstore_error *error)
{
	uint32_t chunk_elems;
	uint64_t elems = pack_n_elems(fine), first;
	qs_chunk_desc *desc = &sample->desc;
	*desc = (qs_chunk_desc){.kind = kind, .dtype = fine->dtype, .coarse_dtype = coarse->dtype};
	pack_geometry(fine, &desc->cols, &chunk_elems);
	first = elems / chunk_elems / 2 * chunk_elems;
	desc->first_elem = first;
	desc->n_elems = elems - first < SAMPLE_ELEMS ? (uint32_t)(elems - first) : SAMPLE_ELEMS;
	size_t elem_size = qs_dtype_size(fine->dtype), coarse_elem_size = qs_dtype_size(coarse->dtype),
	       coarse_size = desc->n_elems * coarse_elem_size;
	sample->size = desc->n_elems * elem_size;
	sample->cap = qs_chunk_bound(sample->size > coarse_size ? sample->size : coarse_size);
	sample->memory = malloc(sample->size + coarse_size + sample->cap + PACK_SCRATCH_SIZE);
	if (!sample->memory)
		return qs_no_memory(error);
	sample->values = sample->memory;
	sample->coarse = sample->values + sample->size;
	sample->coded = sample->coarse + coarse_size;
	sample->scratch = sample->coded + sample->cap;
	desc->coarse = sample->coarse;
	qstore_status status =
	    pack_tensor_read(fine, sample->values, sample->size, first * elem_size, sample->scratch, error);
	return status ? status
	              : pack_tensor_read(coarse, sample->coarse, coarse_size, first * coarse_elem_size,
	                                 sample->scratch, error);
}

/* Codes the sample as *desc says. name: of the tensor. */
static qstore_status code_sample(qs_encoder *encoder, const pair_sample *sample, const qs_chunk_desc *desc,
                                 const char *name, size_t *size, qstore_error *error)
{
	qstore_status status =
	    qs_chunk_encode(encoder, desc, sample->values, sample->size, sample->coded, sample->cap, size, NULL);
	return status == QSTORE_USAGE || status == QSTORE_LIMIT
	           ? qs_fail(error, status, "tensor %s: cannot be coded: %s; please report this", name,
	                     qstore_status_message(status))
	           : status;
}

/* Does coding the sample as sample->desc says save 2 % of its size as a plain chunk? */
static qstore_status saves(qs_encoder *encoder, const pair_sample *sample, const char *name, int *pays,
                           qstore_error *error)
{
	const qs_chunk_desc *desc = &sample->desc;
	qs_chunk_desc plain = {.kind = QS_KIND_PLAIN,
	                       .dtype = desc->dtype,
	                       .n_elems = desc->n_elems,
	                       .cols = desc->cols,
	                       .first_elem = desc->first_elem};
	size_t plain_size = 0, size = 0;
	qstore_status status = code_sample(encoder, sample, &plain, name, &plain_size, error);
	if (!status)
		status = code_sample(encoder, sample, desc, name, &size, error);
	*pays = !status && size < plain_size - plain_size / 50;
	return status;
}

qstore_status pack_delta_pays(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *coarse,
                              int *pays, qstore_error *error)
{
	pair_sample sample = {0};
	*pays = 0;
	qstore_status status = read_pair(&sample, fine, coarse, QS_KIND_DELTA, error);
	if (!status)
		status = saves(encoder, &sample, fine->name, pays, error);
	free(sample.memory);
	return status;
}

/* The most that a narrower tensor may take to download with the wider one that it is coded from, as a part of
 * what it takes alone. */
#define NARROW_MAX 1.1

qstore_status pack_narrow_pays(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *coarse,
                               int *pays, qstore_error *error)
{
	pair_sample sample = {0};
	size_t plain_size = 0, coarse_size = 0, delta_size = 0;
	*pays = 1;
	if (coarse->coding.role != PACK_PLAIN || qs_dtype_size(fine->dtype) >= qs_dtype_size(coarse->dtype))
		return QSTORE_OK;
	qstore_status status = read_pair(&sample, fine, coarse, QS_KIND_DELTA, error);
	const qs_chunk_desc *desc = &sample.desc;
	qs_chunk_desc plain = {.kind = QS_KIND_PLAIN,
	                       .dtype = fine->dtype,
	                       .n_elems = desc->n_elems,
	                       .cols = desc->cols,
	                       .first_elem = desc->first_elem};
	pair_sample wide = sample;
	wide.values = sample.coarse;
	wide.size = desc->n_elems * qs_dtype_size(coarse->dtype);
	if (!status)
		status = code_sample(encoder, &sample, desc, fine->name, &delta_size, error);
	if (!status)
		status = code_sample(encoder, &sample, &plain, fine->name, &plain_size, error);
	plain.dtype = coarse->dtype;
	if (!status)
		status = code_sample(encoder, &wide, &plain, fine->name, &coarse_size, error);
	*pays = (double)(delta_size + coarse_size) <= NARROW_MAX * (double)plain_size;
	free(sample.memory);
	return status;
}

/* Reads a sample of a refinement of codes, and their grid. Free sample->memory and *grid even after errors.
 */
static qstore_status read_refinement(pair_sample *sample, pack_grid_memory *grid, const pack_tensor *fine,
                                     const pack_tensor *codes, qstore_error *error)
{
	qs_chunk_desc *desc = &sample->desc;
	qstore_status status = read_pair(sample, fine, codes, QS_KIND_REFINE, error);
	return status ? status
	              : pack_load_grid(&codes->coding.grid, codes->dtype, desc->cols, desc->first_elem,
	                               desc->n_elems, grid, sample->scratch, &desc->coarse_grid, error);
}

qstore_status pack_refine_pays(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *codes,
                               int *pays, qstore_error *error)
{
	pair_sample sample = {0};
	pack_grid_memory grid = {0};
	*pays = 0;
	qstore_status status = read_refinement(&sample, &grid, fine, codes, error);
	if (!status)
		status = pack_load_factors(fine, &grid, sample.scratch, &sample.desc, error);
	if (!status)
		status = saves(encoder, &sample, fine->name, pays, error);
	pack_grid_free(&grid);
	free(sample.memory);
	return status;
}

qstore_status pack_cast_size(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *half,
                             const pack_tensor *codes, size_t *size, qstore_error *error)
{
	pair_sample refinement = {0}, delta = {0};
	pack_grid_memory grid = {0};
	size_t delta_size = 0;
	*size = 0;
	qstore_status status = read_refinement(&refinement, &grid, half, codes, error);
	if (!status)
		status = code_sample(encoder, &refinement, &refinement.desc, fine->name, size, error);
	if (!status)
		status = read_pair(&delta, fine, half, QS_KIND_DELTA, error);
	if (!status)
		status = code_sample(encoder, &delta, &delta.desc, fine->name, &delta_size, error);
	*size += delta_size;
	pack_grid_free(&grid);
	free(refinement.memory);
	free(delta.memory);
	return status;
}

static double fp8_value(const uint8_t *elem, uint32_t dtype)
{
	uint8_t single[4];
	qs_dequantize(dtype, elem, 1, single);
	return (double)qs_load_f32(single);
}

static double float_value(const uint8_t *elems, size_t i, uint32_t dtype)
{
	double value = dtype == QS_F64                              ? qs_load_f64(elems + 8 * i)
	               : dtype == QS_F8_E4M3 || dtype == QS_F8_E5M2 ? fp8_value(elems + i, dtype)
	               : dtype == QS_F32                            ? (double)qs_load_f32(elems + 4 * i)
	                                 : (double)qs_half_value(qs_load16(elems + 2 * i), dtype);
	return value * value < 1e76 ? value : 0; /* infinities and NaN count as 0 */
}

/* Is maxima[i] / scales[i] nearly the same for 9 of 10 of them? */
static int are_proportional(const float *maxima, const float *scales, size_t n)
{
	double factor = 0;
	size_t n_near = 0, n_used = 0;
	for (size_t i = 0; i < n; i++)
		factor += scales[i] > 0 && maxima[i] > 0 ? log((double)maxima[i] / (double)scales[i]) : 0;
	for (size_t i = 0; i < n; i++)
		n_used += scales[i] > 0 && maxima[i] > 0;
	for (size_t i = 0; i < n && n_used > 0; i++)
		n_near += scales[i] > 0 && maxima[i] > 0 &&
		          fabs(log((double)maxima[i] / (double)scales[i]) - factor / (double)n_used) < 0.01;
	return n_used >= 8 && n_near >= n_used - n_used / 10;
}

qstore_status pack_scales_follow(const pack_tensor *fine, const pack_tensor *scales, int *follow,
                                 qstore_error *error)
{
	uint64_t elems = pack_n_elems(fine), cols = pack_cols(fine), rows = pack_rows(fine),
	         n = pack_n_elems(scales), size = scales->size;
	*follow = 0;
	if (!qs_dtype_is_scale(scales->dtype) || (n != rows && n != cols) || elems > FOLLOW_ELEMS_MAX ||
	    elems != rows * cols)
		return QSTORE_OK;
	uint8_t *values = malloc((size_t)(2 * elems)), *stored = malloc((size_t)size),
	        *scratch = malloc(PACK_SCRATCH_SIZE);
	float *numbers = calloc((size_t)(n + rows + cols), sizeof(*numbers));
	qstore_status status = values && stored && scratch && numbers ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = pack_tensor_read(fine, values, (size_t)(2 * elems), 0, scratch, error);
	if (!status)
		status = pack_tensor_read(scales, stored, (size_t)size, 0, scratch, error);
	if (!status) {
		float *by_row = numbers + n, *by_col = by_row + rows;
		for (uint64_t i = 0; i < n; i++)
			numbers[i] = scales->dtype == QS_F64 ? (float)qs_load_f64(stored + 8 * i)
			                                     : (float)float_value(stored, (size_t)i, scales->dtype);
		for (uint64_t i = 0; i < elems; i++) {
			float magnitude = fabsf((float)float_value(values, (size_t)i, fine->dtype));
			by_row[i / cols] = fmaxf(by_row[i / cols], magnitude);
			by_col[i % cols] = fmaxf(by_col[i % cols], magnitude);
		}
		*follow = (n == rows && are_proportional(by_row, numbers, (size_t)n)) ||
		          (n == cols && are_proportional(by_col, numbers, (size_t)n));
	}
	free(values);
	free(stored);
	free(scratch);
	free(numbers);
	return status;
}

qstore_status pack_correlate_floats(const pack_tensor *a, const pack_tensor *b, double *correlation,
                                    qstore_error *error)
{
	pair_sample sample = {0};
	double products = 0, squares_a = 0, squares_b = 0;
	qstore_status status = read_pair(&sample, a, b, QS_KIND_DELTA, error);
	for (size_t i = 0; i < sample.desc.n_elems && !status; i++) {
		double x = float_value(sample.values, i, a->dtype), y = float_value(sample.coarse, i, b->dtype);
		products += x * y;
		squares_a += x * x;
		squares_b += y * y;
	}
	free(sample.memory);
	double squares = squares_a * squares_b;
	*correlation = squares > 0 && products > 0 ? products * products / squares : squares == 0;
	return status;
}

/* Weights of a group that is compared. */
#define FP8_GROUP 32u

qstore_status pack_correlate_fp8(const pack_tensor *fine, const pack_tensor *fp8, double *correlation,
                                 qstore_error *error)
{
	pair_sample sample = {0};
	double sum = 0;
	size_t n_groups = 0;
	qstore_status status = read_pair(&sample, fine, fp8, QS_KIND_DELTA, error);
	for (size_t i = 0; i + FP8_GROUP <= sample.desc.n_elems && !status; i += FP8_GROUP) {
		double products = 0, squares_a = 0, squares_b = 0;
		/* Groups across the end of a row may have two scales. */
		if (sample.desc.cols >= FP8_GROUP && i % sample.desc.cols > sample.desc.cols - FP8_GROUP)
			continue;
		for (size_t j = i; j < i + FP8_GROUP; j++) {
			double x = float_value(sample.values, j, fine->dtype),
			       y = float_value(sample.coarse, j, fp8->dtype);
			products += x * y;
			squares_a += x * x;
			squares_b += y * y;
		}
		if (squares_a * squares_b <= 0)
			continue;
		sum += products > 0 ? products * products / (squares_a * squares_b) : 0;
		n_groups++;
	}
	free(sample.memory);
	*correlation = n_groups > 0 ? sum / (double)n_groups : 1;
	return status;
}
