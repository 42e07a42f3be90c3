#include "grid.h"

#include <string.h>

#include "bytes.h"
#include "rules.h"

int qs_grid_is_plain(const qs_grid *grid)
{
	return qs_rule_is_symmetric(grid->rule) && grid->codes_dtype == QS_I8 && !grid->zero_points &&
	       !grid->zero_offset;
}

void qs_grid_window(const qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n, uint64_t *low,
                    uint64_t *high)
{
	QS_ASSERT(n > 0 && cols > 0 && grid->group > 0);
	uint64_t row = first / cols, last_row = (first + n - 1) / cols, begin = 0, end;
	end = grid->order ? grid->n_groups - 1 : (cols - 1) / grid->group;
	if (row == last_row && !grid->order) {
		begin = (first - row * cols) / grid->group;
		end = (first + n - 1 - row * cols) / grid->group;
	}
	*low = row * grid->row_stride + begin * grid->group_stride;
	*high = last_row * grid->row_stride + end * grid->group_stride;
}

void qs_grid_needs(qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n, uint64_t *at, uint64_t *count)
{
	uint32_t record = qs_rule_record_size(grid->rule), groups = qs_rule_record_scales(grid->rule);
	uint64_t low, high;
	qs_grid_window(grid, cols, first, n, &low, &high);
	low -= low % groups;
	*at = record ? low / groups * record : low;
	*count = record ? ((high - low) / groups + 1) * record : high - low + 1;
	grid->scales_first = low;
	grid->scales_size = (size_t)(*count * qs_dtype_size(grid->scales_dtype));
	grid->zero_points_size = (size_t)(high - low + 1);
}

int qs_grid_covers(const qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n)
{
	uint64_t low, high, n_scales;
	uint32_t record = qs_rule_record_size(grid->rule), groups = qs_rule_record_scales(grid->rule);
	if (record)
		n_scales = grid->scales_size / record * groups;
	else
		n_scales = grid->scales_size / qs_dtype_size(grid->scales_dtype);
	qs_grid_window(grid, cols, first, n, &low, &high);
	if (low < grid->scales_first || high - grid->scales_first >= n_scales || grid->scales_first % groups)
		return 0;
	if (grid->zero_points && high - grid->scales_first >= grid->zero_points_size)
		return 0;
	for (uint64_t c = 0; grid->order && c < cols; c++)
		if (qs_load32(grid->order + 4 * c) >= grid->n_groups)
			return 0;
	return 1;
}

/* ggml-quants.c, get_scale_min_k4: eight scales and eight mins of 6 bits in 12 bytes. */
static void unpack_k4(const uint8_t *packed, unsigned i, unsigned *scale, unsigned *min)
{
	if (i < 4) {
		*scale = packed[i] & 63;
		*min = packed[i + 4] & 63;
	} else {
		*scale = (packed[i + 4] & 15) | packed[i - 4] >> 6 << 4;
		*min = packed[i + 4] >> 4 | packed[i] >> 6 << 4;
	}
}

void qs_grid_step(const qs_grid *grid, uint64_t number, qs_step *step)
{
	QS_ASSERT(number >= grid->scales_first);
	size_t i = (size_t)(number - grid->scales_first);
	uint32_t size = qs_rule_record_size(grid->rule), groups = qs_rule_record_scales(grid->rule);
	const uint8_t *record = grid->scales + i / groups * size;
	unsigned scale, min;
	step->offset = 0;
	step->shift = step->centre = 0;
	step->zero = (int32_t)qs_rule_zero(grid->rule);
	switch (qs_rule_scales(grid->rule)) {
	case QS_SCALES_PAIR:
		step->scale = qs_half_value(qs_load16(record), QS_F16);
		step->offset = qs_half_value(qs_load16(record + 2), QS_F16);
		return;
	case QS_SCALES_K:
		unpack_k4(record + 4, (unsigned)i % 8, &scale, &min);
		step->scale = qs_half_value(qs_load16(record), QS_F16) * (float)(int)scale;
		step->offset = -(qs_half_value(qs_load16(record + 2), QS_F16) * (float)(int)min);
		return;
	case QS_SCALES_K_SIGNED:
		step->scale = qs_half_value(qs_load16(record + 16), QS_F16) * (float)(int8_t)record[i % 16];
		return;
	default:
		step->scale = grid->scales_dtype == QS_F32 ? qs_load_f32(grid->scales + 4 * i)
		              : grid->scales_dtype == QS_F64
		                  ? (float)qs_load_f64(grid->scales + 8 * i)
		                  : qs_half_value(qs_load16(grid->scales + 2 * i), grid->scales_dtype);
		if (step->zero) /* the rule has a zero point of its own, and grids have none */
			return;
		step->zero = grid->zero_offset;
		if (grid->zero_points)
			step->zero += grid->codes_dtype == QS_I8 ? (int8_t)grid->zero_points[i] : grid->zero_points[i];
		if (qs_rule_adds_zero(grid->rule) && grid->codes_dtype == QS_U8)
			step->centre = (int32_t)qs_rule_levels(grid->rule) / 2;
	}
}

void qs_grid_steps(const qs_grid *grid, const qs_run *runs, uint32_t n, qs_step *steps)
{
	/* Scales of 16 bits without zero points, the common case, are handled below. */
	if (qs_rule_record_size(grid->rule) || qs_dtype_size(grid->scales_dtype) != 2 || grid->zero_points ||
	    qs_rule_adds_zero(grid->rule)) {
		for (uint32_t r = 0; r < n; r++)
			qs_grid_step(grid, runs[r].number, &steps[r]);
		return;
	}
	qs_step step;
	qs_grid_step(grid, runs[0].number, &step);
	for (uint32_t r = 0; r < n; r++) {
		size_t i = (size_t)(runs[r].number - grid->scales_first);
		steps[r] = step;
		steps[r].scale = qs_half_value(qs_load16(grid->scales + 2 * i), grid->scales_dtype);
	}
}

void qs_step_shift(qs_step *step, uint32_t rule, uint32_t dtype, int8_t shift)
{
	if (!qs_rule_shifts_scale(rule))
		step->shift = shift;
	else if (shift != QS_SHIFT_NONE)
		step->scale = qs_recovered_scale(dtype, step->scale, step->offset, qs_rule_levels(rule), shift);
}

qs_line qs_grid_line(const qs_grid *grid, uint64_t number)
{
	qs_step step;
	qs_grid_step(grid, number, &step);
	float slope = qs_rule_step(grid->rule, step.scale);
	return (qs_line){slope, step.offset - (float)step.zero * slope};
}

qs_coded_order qs_coded_order_of(const qs_grid *grid, uint64_t cols, uint64_t first, uint32_t n)
{
	if (cols < 2 || first % cols || n % cols || n / cols < 2)
		return QS_CODED_ROWS;
	if (grid->order)
		return cols <= QS_GROUPS_COLS_MAX && grid->n_groups <= QS_GROUPS_COLS_MAX ? QS_CODED_GROUPS
		                                                                          : QS_CODED_ROWS;
	return grid->group == 1 && !grid->row_stride ? QS_CODED_COLUMNS : QS_CODED_ROWS;
}

void qs_coded_columns(const qs_grid *grid, uint32_t cols, uint16_t *columns, uint32_t *counts)
{
	memset(counts, 0, grid->n_groups * sizeof *counts);
	for (uint32_t c = 0; c < cols; c++)
		counts[qs_load32(grid->order + 4 * (size_t)c)]++;
	uint32_t at = 0;
	for (uint32_t g = 0; g < grid->n_groups; g++) {
		uint32_t count = counts[g];
		counts[g] = at;
		at += count;
	}
	for (uint32_t c = 0; c < cols; c++)
		columns[counts[qs_load32(grid->order + 4 * (size_t)c)]++] = (uint16_t)c;
}

/* Transposes a matrix of rows × cols, in tiles that stay in the cache. */
#define TRANSPOSE(name, type)                                                                                \
	static void name(const uint8_t *src, uint32_t rows, uint32_t cols, uint8_t *dst)                         \
	{                                                                                                        \
		enum { TILE = 32 };                                                                                  \
		for (uint32_t r0 = 0; r0 < rows; r0 += TILE)                                                         \
			for (uint32_t c0 = 0; c0 < cols; c0 += TILE) {                                                   \
				uint32_t r1 = rows - r0 < TILE ? rows : r0 + TILE, c1 = cols - c0 < TILE ? cols : c0 + TILE; \
				for (uint32_t c = c0; c < c1; c++)                                                           \
					for (uint32_t r = r0; r < r1; r++)                                                       \
						memcpy(dst + ((size_t)c * rows + r) * sizeof(type),                                  \
						       src + ((size_t)r * cols + c) * sizeof(type), sizeof(type));                   \
			}                                                                                                \
	}
TRANSPOSE(transpose8, uint8_t)
TRANSPOSE(transpose16, uint16_t)

void qs_coded_gather8(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                      const uint8_t *src, uint8_t *dst)
{
	if (order == QS_CODED_COLUMNS) {
		transpose8(src, n / cols, cols, dst);
		return;
	}
	for (; n; n -= cols, src += cols, dst += cols)
		for (uint32_t c = 0; c < cols; c++)
			dst[c] = src[columns[c]];
}

void qs_coded_gather16(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                       const uint8_t *src, uint8_t *dst)
{
	if (order == QS_CODED_COLUMNS) {
		transpose16(src, n / cols, cols, dst);
		return;
	}
	for (; n; n -= cols, src += 2 * (size_t)cols, dst += 2 * (size_t)cols)
		for (uint32_t c = 0; c < cols; c++)
			memcpy(dst + 2 * c, src + 2 * columns[c], 2);
}

void qs_coded_scatter16(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                        const uint8_t *src, uint8_t *dst)
{
	if (order == QS_CODED_COLUMNS) {
		transpose16(src, cols, n / cols, dst);
		return;
	}
	for (; n; n -= cols, src += 2 * (size_t)cols, dst += 2 * (size_t)cols)
		for (uint32_t c = 0; c < cols; c++)
			memcpy(dst + 2 * columns[c], src + 2 * c, 2);
}

uint64_t qs_coded_run(const qs_grid *grid, uint64_t cols, uint32_t n, qs_coded_order order)
{
	if (order == QS_CODED_COLUMNS)
		return n / cols;
	if (grid->order)
		return cols / grid->n_groups;
	return grid->group < cols ? grid->group : cols;
}

void qs_runs_begin(qs_runs *runs, const qs_grid *grid, uint64_t cols, uint64_t first, uint32_t n,
                   qs_coded_order order, const uint16_t *columns)
{
	*runs = (qs_runs){.grid = grid,
	                  .columns = columns,
	                  .order = order,
	                  .cols = order == QS_CODED_COLUMNS ? n / cols : cols,
	                  .row = order == QS_CODED_COLUMNS ? 0 : first / cols,
	                  .column = first % cols,
	                  .n = n};
	if (!grid->order)
		runs->group = runs->column / grid->group;
}

static uint32_t group_of(const qs_runs *runs, uint64_t column)
{
	return qs_load32(runs->grid->order +
	                 4 * (runs->order == QS_CODED_GROUPS ? runs->columns[column] : column));
}

/* Returns the next run. There must be an element left. */
static inline qs_run peek(const qs_runs *runs)
{
	const qs_grid *grid = runs->grid;
	uint64_t column = runs->column, end = runs->cols, g = 0;
	if (runs->order == QS_CODED_COLUMNS)
		return (qs_run){runs->row * grid->group_stride, runs->at, (uint32_t)end};
	if (grid->order) {
		g = group_of(runs, column);
		for (end = column + 1; end < runs->cols && group_of(runs, end) == g;)
			end++;
	} else if (grid->group < runs->cols) {
		g = runs->group;
		end = (g + 1) * grid->group;
		end = end < runs->cols ? end : runs->cols;
	}
	uint64_t count = end - column, left = runs->n - runs->at;
	count = count < left ? count : left;
	return (qs_run){runs->row * grid->row_stride + g * grid->group_stride, runs->at, (uint32_t)count};
}

static inline void advance_runs(qs_runs *runs, const qs_run *run)
{
	runs->at += run->count;
	runs->column += run->count;
	runs->group++;
	if (runs->column == runs->cols || runs->order == QS_CODED_COLUMNS) {
		runs->column = 0;
		runs->group = 0;
		runs->row++;
	}
}

int qs_runs_next(qs_runs *runs)
{
	if (runs->at == runs->n)
		return 0;
	runs->run = peek(runs);
	advance_runs(runs, &runs->run);
	return 1;
}

uint32_t qs_runs_next_some(qs_runs *runs, qs_run *out, uint32_t max_runs, uint32_t max_elems)
{
	const qs_grid *grid = runs->grid;
	uint32_t n = 0, begin = runs->at;
	/* Whole groups of a row, the common case, need no peek: only their number is counted up. */
	if (!grid->order && runs->order == QS_CODED_ROWS && grid->group < runs->cols &&
	    runs->column == runs->group * grid->group) {
		uint64_t left = (runs->cols - runs->column - 1) / grid->group, stride = grid->group_stride,
		         number = runs->row * grid->row_stride + runs->group * stride;
		uint32_t group = grid->group, end = runs->n - begin < max_elems ? runs->n : begin + max_elems,
		         at = begin;
		for (; n < max_runs && n < left && at + group <= end; n++, number += stride, at += group)
			out[n] = (qs_run){number, at, group};
		runs->at = at;
		runs->group += n;
		runs->column += (uint64_t)n * group;
	}
	for (; n < max_runs && runs->at < runs->n; n++) {
		out[n] = peek(runs);
		if (out[n].begin + out[n].count - begin > max_elems)
			break;
		advance_runs(runs, &out[n]);
	}
	return n;
}
