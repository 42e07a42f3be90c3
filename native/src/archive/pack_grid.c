/* The grids of codes, read from the packer's inputs. */
#include <stdlib.h>

#include "../core/bytes.h"
#include "../core/rules.h"
#include "pack.h"

void pack_grid_free(pack_grid_memory *memory)
{
	free(memory->scales);
	free(memory->zeros);
	free(memory->order);
	*memory = (pack_grid_memory){0};
}

/* Elements [first, first + n) of a tensor into memory that grows. */
static qstore_status read_elems(const packer *p, const pack_tensor *t, uint64_t first, uint64_t n,
                                uint8_t **memory, size_t *cap, uint8_t *scratch, qs_error *error)
{
	size_t elem_size = qs_dtype_size(t->dtype), size = (size_t)n * elem_size;
	if (size > *cap) {
		free(*memory);
		*memory = malloc(size);
		*cap = *memory == NULL ? 0 : size;
		if (*memory == NULL)
			return pack_no_memory(error);
	}
	return pack_tensor_read(p, t, *memory, size, first * elem_size, scratch, error);
}

qstore_status pack_load_grid(const packer *p, const pack_grid *grid, uint32_t codes_dtype, uint64_t cols,
                             uint64_t first, uint64_t n, pack_grid_memory *memory, uint8_t *scratch,
                             qs_grid *loaded, qs_error *error)
{
	uint64_t at, count;
	qstore_status status = QSTORE_OK;
	*loaded = (qs_grid){.rule = grid->rule,
	                    .codes_dtype = codes_dtype,
	                    .group = grid->group,
	                    .row_stride = grid->row_stride,
	                    .group_stride = grid->group_stride,
	                    .scales_dtype = grid->scales->dtype,
	                    .zero_offset = grid->zero_offset};
	if (grid->order != NULL) {
		status = read_elems(p, grid->order, 0, cols, &memory->order, &memory->order_cap, scratch, error);
		loaded->order = memory->order;
	}
	qs_grid_needs(loaded, cols, first, n, &at, &count);
	if (status == QSTORE_OK)
		status = read_elems(p, grid->scales, at, count, &memory->scales, &memory->scales_cap, scratch, error);
	loaded->scales = memory->scales;
	if (status == QSTORE_OK && grid->zeros != NULL) {
		status = read_elems(p, grid->zeros, loaded->scales_first, loaded->zeros_size, &memory->zeros,
		                    &memory->zeros_cap, scratch, error);
		loaded->zeros = memory->zeros;
	}
	if (status == QSTORE_OK && !qs_grid_covers(loaded, cols, first, n))
		return qs_fail(error, QSTORE_INPUT, "%s: names groups that have no scale",
		               grid->order != NULL ? grid->order->name : grid->scales->name);
	return status;
}

void pack_add_sums(const qs_chunk_desc *desc, const uint8_t *fine, pack_sums *sums)
{
	double errors = 0.0, squares = 0.0, coarse_squares = 0.0;
	qs_runs runs;
	qs_runs_begin(&runs, &desc->coarse_grid, desc->cols, desc->first_elem, desc->n_elems, QS_CODED_ROWS,
	              NULL);
	while (qs_runs_next(&runs)) {
		qs_line line = qs_grid_line(&desc->coarse_grid, runs.run.number);
		for (uint32_t i = runs.run.begin, end = i + runs.run.count; i < end; i++) {
			uint8_t byte = desc->coarse[i];
			int code = desc->coarse_dtype == QS_I8 ? (int8_t)byte : byte;
			float value = qs_half_value(qs_load16(fine + 2 * (size_t)i), desc->dtype);
			double coarse = (double)(line.slope * (float)code + line.start),
			       difference = coarse - (double)value;
			double square = (double)value * (double)value;
			/* Infinities and NaN say nothing about the rest. */
			if (!(square <= 1e300) || !(difference * difference <= 1e300))
				continue;
			errors += difference * difference;
			squares += square;
			coarse_squares += coarse * coarse;
		}
	}
	sums->errors += errors;
	sums->squares += squares;
	sums->coarse_squares += coarse_squares;
	sums->n += desc->n_elems;
}

int pack_alike(const pack_sums *sums)
{
	/* Values below FP16's range are rounded to multiples of 2^-24, or to zero, before they are quantized. */
	return sums->errors <= 0.5 * sums->squares + (double)sums->n * 3.5527136788005009e-15 /* 2^-48 */;
}

double pack_correlation(const pack_sums *sums)
{
	double product = (sums->coarse_squares + sums->squares - sums->errors) / 2;
	double squares = sums->coarse_squares * sums->squares;
	return product > 0 && squares > 0 ? product * product / squares : 0;
}
