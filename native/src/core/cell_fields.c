#include "cell_fields.h"

#include "rules.h"
#include "simd.h"

QS_RULES_ARE(18);

/* Returns the kind of kernel for a rule, or −1 if there is none. */
static int kind_of(uint32_t rule)
{
	switch (rule) {
	case QS_RULE_Q8_0:
		return QS_FIELDS_ABSMAX;
	case QS_RULE_Q8_0_D:
		return QS_FIELDS_AWAY;
	case QS_RULE_MULTIPLY:
		return QS_FIELDS_MULTIPLY;
	case QS_RULE_DIVIDE:
	case QS_RULE_Q6_K:
		return QS_FIELDS_DIVIDE;
	case QS_RULE_DIVIDE_HALF:
		return QS_FIELDS_HALF;
	case QS_RULE_Q4_0:
	case QS_RULE_Q5_0:
		return QS_FIELDS_CUT;
	case QS_RULE_Q4_1:
	case QS_RULE_Q5_1:
		return QS_FIELDS_OFFSET;
	case QS_RULE_Q4_K:
	case QS_RULE_Q5_K:
		return QS_FIELDS_K;
	default:
		return -1;
	}
}

/* Are tables faster than these kernels? Tables of signed codes around 0 have fast kernels of their own, and
 * neighbouring BF16 scales are often equal, so that one table serves several runs. */
static int prefers_tables(qs_fields_kind kind, uint32_t dtype, const qs_grid *grid, uint64_t run)
{
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512() && qs_dtype_size(grid->scales_dtype) == 2 &&
	    (qs_grid_is_plain(grid) || kind == QS_FIELDS_CUT))
		return 1;
#endif
	if (!qs_grid_is_plain(grid) || kind == QS_FIELDS_HALF)
		return 0;
	QS_RETURN_AVX2(run >= 16, run >= 64);
	/* Where there are few different scales, their tables stay in the cache. Tables of FP16 values take longer
	 * to make. */
	return run >= 64 || grid->scales_dtype == QS_BF16 || (grid->scales_dtype == QS_F16 && dtype == QS_BF16);
}

static qs_cell_fields_kernel *best_fields_kernel(qs_fields_kind kind, uint32_t dtype, uint64_t run)
{
	int is_f16 = dtype == QS_F16;
	QS_RETURN_AVX512(run >= 32, qs_fields_avx512.kernels[kind][is_f16]);
	QS_RETURN_AVX2(run >= 16, qs_fields_avx2.kernels[kind][is_f16]);
#if QS_HAVE_FIELDS
	if (qs_cpu_has_fields())
		return qs_fields_sse41.kernels[kind][is_f16];
#endif
	(void)kind;
	(void)is_f16;
	return NULL;
}

void qs_strip_cells_init(qs_strip_cells *cells, uint32_t dtype, const qs_grid *grid, uint64_t run)
{
	uint32_t rule = grid->rule;
	int kind = kind_of(rule), is_f16 = dtype == QS_F16, is_block = qs_rule_levels(rule) < 256,
	    has_offset = kind == QS_FIELDS_OFFSET || kind == QS_FIELDS_K;
	*cells = (qs_strip_cells){.rule = rule};
	if (kind < 0)
		return;
	cells->kind = (qs_fields_kind)kind;
	if (run <= QS_STRIP_RUN_MAX && !prefers_tables(cells->kind, dtype, grid, run))
		cells->kernel = best_fields_kernel(cells->kind, dtype, run);
	qs_strip *strip = &cells->strip;
	for (int r = 0; r < QS_STRIP_RUNS_MAX; r++)
		strip->scale[r] = 1; /* a usable scale for the lanes of vectors that have no run */
	strip->divisor = qs_rule_has_absmax(rule) ? 127 : 1;
	strip->distance_max = !is_f16 ? 0x1p60f : has_offset ? 60000 : 240;
	strip->close_offset = is_f16 ? 0x1p-8f : 0x1p-11f;
	strip->close_step = kind != QS_FIELDS_OFFSET ? 0 : is_f16 ? 0x1p-5f : 0x1p-8f;
	strip->centre = 4 * (float)(int32_t)qs_rule_zero(rule) + 2;
	strip->bias = is_f16 ? 1 + 0x1p-13f : 1 + 0x1p-10f;
	strip->flip = !is_block && grid->codes_dtype == QS_I8 ? 128 : 0;
	strip->last = (int16_t)(qs_rule_levels(rule) - 1);
	strip->longer = is_block ? 3 : 4;
	strip->even = !qs_rule_rounds_away(rule);
	strip->is_symmetric_i8 = strip->flip != 0;
}

uint32_t qs_strip_find(qs_strip_cells *cells, const qs_run *runs, const qs_step *steps, uint32_t n_runs,
                       const uint8_t *codes, const qs_cell_fields *out)
{
	qs_strip *strip = &cells->strip;
	QS_ASSERT(n_runs >= 1 && n_runs <= QS_STRIP_RUNS_MAX);
	strip->n_runs = n_runs;
	for (uint32_t r = 0; r < n_runs; r++) {
		strip->scale[r] = steps[r].scale;
		strip->offset[r] = steps[r].offset;
		strip->zero[r] = steps[r].zero;
		strip->shift[r] = steps[r].shift;
		strip->begin[r + 1] = strip->begin[r] + runs[r].count;
	}
	QS_ASSERT(strip->begin[n_runs] <= QS_STRIP_MAX);
	uint32_t unsure = cells->kernel(strip, codes, out) & (uint32_t)((UINT64_C(1) << n_runs) - 1);
	for (uint32_t r = 0; unsure && r < n_runs; r++) {
		size_t begin = strip->begin[r], size = runs[r].count * sizeof *out->f;
		if (!(unsure >> r & 1) || qs_step_is_usable(cells->rule, &steps[r]))
			continue;
		memset(out->f + begin, 0xff, size);
		memset(out->g + begin, 0, size);
		unsure &= ~(1u << r);
	}
	return unsure;
}
