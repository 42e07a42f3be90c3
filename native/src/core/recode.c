/* Predicting codes from coarser codes of the same values (FORMAT.md, "Recoded codes"). */
#include "mode.h"
#include "rules.h"
#include "workspace.h"

/* Elements that are handled at a time, all of one row. */
enum { AT_ONCE = 64 };

/* Finds the number of an element's scale, and how many elements from there on in the row share it. */
static uint64_t scale_at(const qs_grid *grid, uint64_t row, uint64_t column, uint64_t cols, uint32_t *count)
{
	uint64_t g = 0, end = cols;
	if (grid->order) {
		g = qs_load32(grid->order + 4 * column);
		end = column + 1;
	} else if (grid->group < cols) {
		g = column / grid->group;
		end = (g + 1) * grid->group;
		end = end < cols ? end : cols;
	}
	*count = end - column < *count ? (uint32_t)(end - column) : *count;
	return row * grid->row_stride + g * grid->group_stride;
}

/* Writes the line of each of n elements of a row. */
static void find_lines(const qs_grid *grid, uint64_t row, uint64_t column, uint64_t cols, uint32_t n,
                       float *slope, float *start)
{
	for (uint32_t i = 0; i < n;) {
		uint32_t count = n - i;
		qs_line line = qs_grid_line(grid, scale_at(grid, row, column + i, cols, &count));
		for (uint32_t end = i + count; i < end; i++) {
			slope[i] = line.slope;
			start[i] = line.start;
		}
	}
}

void qs_predict_codes(const qs_chunk_desc *desc, uint8_t *dst)
{
	int32_t low = desc->dtype == QS_I8 ? -128 : 0, high = desc->dtype == QS_I8 ? 127 : 255;
	uint32_t levels = qs_rule_levels(desc->grid.rule);
	high = levels < 256 ? (int32_t)levels - 1 : high;
	float slope[AT_ONCE], start[AT_ONCE], own_slope[AT_ONCE], own_start[AT_ONCE];
	uint64_t row = desc->first_elem / desc->cols, column = desc->first_elem % desc->cols;
	for (uint32_t at = 0; at < desc->n_elems;) {
		uint32_t n = desc->n_elems - at < AT_ONCE ? desc->n_elems - at : AT_ONCE;
		n = desc->cols - column < n ? (uint32_t)(desc->cols - column) : n;
		find_lines(&desc->coarse_grid, row, column, desc->cols, n, slope, start);
		find_lines(&desc->grid, row, column, desc->cols, n, own_slope, own_start);
		for (uint32_t i = 0; i < n; i++) {
			uint8_t byte = desc->coarse[at + i];
			int32_t coarse = desc->coarse_dtype == QS_I8 ? (int8_t)byte : byte;
			float value = (float)coarse * slope[i] + start[i];
			float code = (value - own_start[i]) / own_slope[i];
			code = code > (float)low ? code : (float)low; /* NaN too */
			code = code < (float)high ? code : (float)high;
			dst[at + i] = (uint8_t)(int32_t)((code + 0x1.8p23f) - 0x1.8p23f);
		}
		at += n;
		column += n;
		if (column == desc->cols) {
			column = 0;
			row++;
		}
	}
}
