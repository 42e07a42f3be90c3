/* qstore-chunks prints coded chunks of 16-bit floats, with their codes, by every rule and over the whole
 * range of scales, also where no model has scales. Decoders are compared with one another by them
 * (tests/js/chunks.test.mjs). Each chunk is decoded here first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cells.h"
#include "core/factors.h"
#include "encode/encode.h"
#include "options.h"
#include "random.h"
#include "writer.h"

enum { ELEMS_MAX = 1 << 17, COLS_MAX = 1024, SCALES_MAX = ELEMS_MAX / 16 };

typedef struct sample {
	qs_chunk_desc desc;
	uint8_t scales[4 * SCALES_MAX], zero_points[SCALES_MAX], factors[2 * COLS_MAX];
	uint8_t codes[ELEMS_MAX], values[2 * ELEMS_MAX], coded[4 * ELEMS_MAX], back[2 * ELEMS_MAX];
	size_t coded_size;
	uint32_t n_scales;
	int shares; /* are some values at the borders of their cells? */
	int shifts; /* are the factors of runs off by some ulps? */
} sample;

static uint32_t below(rng *r, uint32_t n)
{
	return (uint32_t)rng_below(r, n);
}

static void put16(uint8_t *p, uint32_t value)
{
	qs_store16(p, (uint16_t)value);
}

static uint32_t with_sign(rng *r, uint32_t magnitude)
{
	return magnitude | below(r, 2) << 15;
}

/* Chooses the rule and the grid, without the scales. wide: with as many elements as chunks of 64 lanes
 * have. */
static void choose_grid(sample *s, rng *r, int wide)
{
	qs_grid *grid = &s->desc.coarse_grid;
	uint32_t rule = 1 + below(r, QS_RULE_COUNT - 1), record = qs_rule_record_size(rule),
	         in_record = qs_rule_record_scales(rule), group = qs_rule_group(rule),
	         levels = qs_rule_levels(rule);
	uint32_t cols = in_record > 1 ? 256 : group ? 32 * (1 + below(r, 4)) : 16 * (1 + below(r, 8));
	cols *= wide ? 4 : 1;
	uint32_t rows = (wide ? 70000 : 512) / cols, n = rows * cols,
	         is_own = !qs_rule_is_free(rule) || !below(r, 2);
	int any_sign = levels == 256 && !group;
	s->n_scales = rows * (cols / (group ? group : (group = below(r, 3) ? cols : 16)));
	s->desc = (qs_chunk_desc){.kind = QS_KIND_REFINE, .n_elems = n, .cols = cols, .coarse = s->codes};
	s->desc.dtype = below(r, 2) ? QS_F16 : QS_BF16;
	*grid = (qs_grid){
	    .rule = rule, .group = group, .row_stride = cols / group, .group_stride = 1, .scales = s->scales};
	int signed_codes = (qs_rule_is_symmetric(rule) && qs_rule_group(rule)) || (any_sign && below(r, 2));
	grid->codes_dtype = s->desc.coarse_dtype = signed_codes ? QS_I8 : QS_U8;
	static const uint32_t floats[] = {QS_F32, QS_F16, QS_BF16};
	grid->scales_dtype = record                                            ? QS_BYTES
	                     : qs_rule_scales(rule) == QS_SCALES_F16 && is_own ? QS_F16
	                     : qs_rule_is_free(rule)                           ? QS_F32
	                                                                       : floats[below(r, 3)];
	grid->scales_size =
	    record ? s->n_scales / in_record * record : s->n_scales * qs_dtype_size(grid->scales_dtype);
	if (qs_rule_group(rule))
		return;
	grid->zero_offset = below(r, 10) == 0  ? (int32_t)below(r, 511) - 255
	                    : below(r, 3) == 0 ? (int32_t)below(r, 200) - 60
	                    : signed_codes     ? 0
	                                       : (int32_t)levels / 2;
	if (below(r, 2)) {
		grid->zero_offset = 0;
		grid->zero_points = s->zero_points;
		grid->zero_points_size = s->n_scales;
		for (uint32_t i = 0; i < s->n_scales; i++)
			s->zero_points[i] = (uint8_t)below(r, levels);
	}
}

/* Makes scales of all sizes, a few of them special. Some are an earlier one times a power of two, which has
 * the same cells moved. */
static void fill_scales(sample *s, rng *r)
{
	const qs_grid *grid = &s->desc.coarse_grid;
	uint32_t rule = grid->rule, record = qs_rule_record_size(rule), size = qs_dtype_size(grid->scales_dtype);
	uint32_t before = 0;
	int narrow = s->desc.dtype == QS_F16 || qs_rule_casts(rule);
	if (record) {
		for (size_t i = 0; i < grid->scales_size; i++)
			s->scales[i] = (uint8_t)rng_next(r);
		for (size_t at = 0; at < grid->scales_size; at += record) {
			int is_signed = qs_rule_scales(rule) == QS_SCALES_K_SIGNED;
			put16(s->scales + at + (is_signed ? 16 : 0), below(r, 20 << 10));
			if (!is_signed)
				put16(s->scales + at + 2, with_sign(r, below(r, 24 << 10)));
		}
		return;
	}
	for (uint32_t i = 0; i < s->n_scales; i++) {
		uint8_t *p = s->scales + (size_t)size * i;
		if (grid->scales_dtype == QS_F16) {
			int is_negative = qs_rule_has_either_sign(rule) && !below(r, 4);
			put16(p, below(r, 8) ? below(r, 31 << 10) | (uint32_t)is_negative << 15 : below(r, 1 << 16));
			continue;
		}
		uint32_t exponent = narrow ? 100 + below(r, 45) : below(r, 4) ? 100 + below(r, 50) : below(r, 256);
		uint32_t bits = exponent << 23 | below(r, 1 << 23);
		bits = below(r, 16) ? bits : (uint32_t)rng_next(r);
		bits &= below(r, 4) ? 0xffffffff : 0xffff0000;
		bits = i && !below(r, 3) ? (bits & 0xff800000) | (before & 0x7fffff) : bits;
		before = bits;
		if (size == 2)
			put16(p, bits >> 16);
		else
			qs_store32(p, bits);
	}
}

static void choose_factors(sample *s, rng *r)
{
	qs_chunk_desc *desc = &s->desc;
	if (!qs_rule_takes_factors(desc->coarse_grid.rule) || below(r, 3))
		return;
	desc->factors = s->factors;
	desc->factors_dtype = below(r, 2) ? QS_F16 : QS_BF16;
	for (uint32_t c = 0; c < desc->cols; c++) {
		uint32_t likely =
		    desc->factors_dtype == QS_F16 ? 0x3000 + below(r, 0x1800) : 0x3e00 + below(r, 0x300);
		put16(s->factors + 2 * c, below(r, 20) ? likely : below(r, 1 << 16));
	}
}

/* Chooses a value of the cell of a code. */
static uint32_t choose_value(const sample *s, rng *r, const qs_cell_table *table, uint32_t i)
{
	uint8_t index = (uint8_t)(s->codes[i] - (uint32_t)table->zero);
	if (table->zero == QS_ALL_ZERO)
		return below(r, 1 << 16);
	if (index == 0)
		return with_sign(r, below(r, 64));
	qs_cell cell = table->cells[index];
	if (s->desc.factors)
		qs_factor_cells(&s->desc, i, (qs_cells){.table = table}, &index, 1, &cell);
	uint32_t count = QS_CELL_COUNT(cell), most = below(r, 2) ? count - 1 : 0;
	if (s->shares && !below(r, 12))
		return QS_CELL_FIRST(cell) + count;
	return QS_CELL_FIRST(cell) + (below(r, 3) ? below(r, count) : most);
}

static void fill_values(sample *s, rng *r, qs_cell_cache *cache)
{
	const qs_chunk_desc *desc = &s->desc;
	const qs_grid *grid = &desc->coarse_grid;
	uint32_t levels = qs_rule_levels(grid->rule);
	uint64_t before = UINT64_MAX;
	int8_t shift = 0;
	int middle = levels == 256 && grid->codes_dtype == QS_I8 ? 0 : (int)levels / 2;
	qs_cell_cache_init(cache, desc->factors ? desc->factors_dtype : desc->dtype, grid->rule,
	                   grid->codes_dtype);
	for (uint32_t i = 0; i < desc->n_elems; i++) {
		uint64_t number = i / desc->cols * grid->row_stride + i % desc->cols / grid->group;
		qs_step step;
		qs_grid_step(grid, number, &step);
		shift = number != before ? (int8_t)((int)below(r, 7) - 3) : shift;
		before = number;
		if (s->shifts)
			qs_step_shift(&step, grid->rule, desc->dtype, shift);
		s->codes[i] = (uint8_t)(below(r, 4) ? (uint32_t)(middle + (int)below(r, 13) - 6) & (levels - 1)
		                                    : below(r, levels));
		put16(s->values + 2 * (size_t)i, choose_value(s, r, qs_cell_cache_get(cache, &step, 255), i));
	}
}

static void print_hex(const char *name, const uint8_t *bytes, size_t size)
{
	printf(", \"%s\": \"", name);
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	putchar('"');
}

static void print_sample(const sample *s)
{
	const qs_chunk_desc *desc = &s->desc;
	const qs_grid *grid = &desc->coarse_grid;
	printf("{\"rule\": %u, \"dtype\": %u, \"elems\": %u, \"cols\": %u, \"group\": %u, \"codesDtype\": %u, "
	       "\"scalesDtype\": %u, \"zeroOffset\": %d, \"factorsDtype\": %u",
	       grid->rule, desc->dtype, desc->n_elems, (unsigned)desc->cols, grid->group, grid->codes_dtype,
	       grid->scales_dtype, grid->zero_offset, desc->factors_dtype);
	print_hex("scales", grid->scales, grid->scales_size);
	print_hex("zeroPoints", grid->zero_points, grid->zero_points_size);
	print_hex("factors", desc->factors, desc->factors ? 2 * (size_t)desc->cols : 0);
	print_hex("codes", s->codes, desc->n_elems);
	print_hex("values", s->values, 2 * (size_t)desc->n_elems);
	print_hex("coded", s->coded, s->coded_size);
	puts("}");
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("Usage: qstore-chunks COUNT SEED\nPrints coded chunks, one a line of JSON: each 100th has 64 "
		      "lanes.\n",
		      stderr);
		return 2;
	}
	uint64_t count = gen_number("COUNT", argv[1], 1, 1000000),
	         seed = gen_number("SEED", argv[2], 0, UINT64_MAX);
	size_t work_size = qs_chunk_workspace_size();
	sample *s = gen_allocate(sizeof *s);
	qs_cell_cache *cache = gen_allocate(sizeof *cache);
	void *work = gen_allocate(work_size);
	qs_encoder *encoder = qs_encoder_create();
	if (!encoder)
		gen_die("out of memory");
	qs_chunk_workspace_init(work);
	for (uint64_t i = 0; i < count; i++) {
		rng r;
		rng_seed(&r, seed, "chunks", i);
		choose_grid(s, &r, i % 100 == 99);
		fill_scales(s, &r);
		choose_factors(s, &r);
		s->shares = qs_rule_is_symmetric(s->desc.coarse_grid.rule) && !s->desc.factors && !below(&r, 3);
		s->shifts =
		    qs_rule_takes_shifts(s->desc.coarse_grid.rule) && !s->desc.factors && !s->shares && below(&r, 2);
		fill_values(s, &r, cache);
		size_t size = 2 * (size_t)s->desc.n_elems;
		if (qs_chunk_encode(encoder, &s->desc, s->values, size, s->coded, sizeof s->coded, &s->coded_size,
		                    NULL) ||
		    qs_chunk_decode(&s->desc, s->coded, s->coded_size, s->back, size, work, work_size) ||
		    memcmp(s->back, s->values, size) != 0)
			gen_die("chunk %llu does not come back", (unsigned long long)i);
		print_sample(s);
	}
	qs_encoder_destroy(encoder);
	free(work);
	free(cache);
	free(s);
	return 0;
}
