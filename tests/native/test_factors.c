/* Column factors: the cell of an element is exactly what its column's factor takes into the cell of its code;
 * chunks come back whatever the factors are. */
#include "codec_help.h"

#include <math.h>

#include "core/factors.h"
#include "encode/encode.h"

enum { COLS = 48, ROWS = 40, ELEMS = COLS * ROWS };

static const uint32_t types[] = {QS_BF16, QS_F16};

static double end_of(uint32_t dtype)
{
	return dtype == QS_F16 ? 0x7c00 : 0x7f80;
}

/* The product of a magnitude and a factor as a pattern, by FORMAT.md in double precision. */
static uint32_t product_of(uint32_t magnitude, uint32_t dtype, float factor, uint32_t products)
{
	double product = ref_value(magnitude, dtype) * (double)factor;
	double most = products == QS_F16 ? 65520 : 0x1.ffp127;
	return product >= most ? (uint32_t)end_of(products) : ref_pattern(product, products);
}

static void check_cells(uint32_t dtype, uint32_t products, uint32_t pattern, uint32_t first, uint32_t count,
                        uint32_t sign)
{
	uint8_t factors[2], index = 1;
	put16(factors, pattern);
	qs_chunk_desc desc = {
	    .dtype = dtype, .n_elems = 1, .cols = 1, .factors = factors, .factors_dtype = products};
	qs_cell_table table = {.cells = {qs_make_cell(0, 1), qs_make_cell(first | sign, count)}};
	qs_cell found;
	float factor = qs_factor_value(products, factors);
	qs_factor_cells(&desc, 0, (qs_cells){.table = &table}, &index, 1, &found);
	uint32_t low = QS_CELL_FIRST(found) & 0x7fff, n = QS_CELL_COUNT(found), end = (uint32_t)end_of(dtype);
	assert_int_equal(QS_CELL_FIRST(found) & 0x8000, sign);
	/* Products rise with the magnitude: the borders tell all. */
	for (int64_t m = (int64_t)low - 2; m <= (int64_t)low + n + 1; m++) {
		if (m < 1 || m >= end)
			continue;
		uint32_t product = product_of((uint32_t)m, dtype, factor, products);
		int belongs = product >= first && product < first + count, inside = m >= low && m < (int64_t)low + n;
		if (belongs != inside && (n > 1 || belongs))
			fail_msg("dtype %u, products %u, factor %04x, cell %04x + %u: %04x is %s", dtype, products,
			         pattern, first, count, (unsigned)m, inside ? "inside" : "outside");
	}
}

static void test_cells_are_what_products_are_in(void **state)
{
	rng r = {1};
	(void)state;
	for (int i = 0; i < 40000; i++) {
		uint32_t dtype = types[i & 1], products = types[i >> 1 & 1];
		/* Values, factors and products that are neither subnormal nor beyond the range of FP16. */
		uint32_t factor = products == QS_F16 ? 0x3c00 + rng_below(&r, 0x1800) - 0xc00
		                                     : 0x3f80 + rng_below(&r, 0x300) - 0x180;
		uint32_t first = products == QS_F16 ? 0x1c00 + rng_below(&r, 0x3000) : 0x3d00 + rng_below(&r, 0x400);
		check_cells(dtype, products, factor, first, 1 + rng_below(&r, i % 3 ? 4 : 300), i & 4 ? 0x8000 : 0);
	}
	/* Products that are subnormal in FP16: what is a little more than half way between two is rounded up. */
	for (int i = 0; i < 200000; i++)
		check_cells(types[i & 1], QS_F16, 0x3800 + rng_below(&r, 0x800), 1 + rng_below(&r, 0x400),
		            1 + rng_below(&r, 4), i & 4 ? 0x8000 : 0);
	/* 2^-25 and 2^-40. */
	check_cells(QS_BF16, QS_F16, 0x3bc2, 1, 1, 0);
	/* All infinite products belong to what is not finite. */
	check_cells(QS_BF16, QS_F16, 0x4000, 0x7bff, 1, 0);
	check_cells(QS_F16, QS_F16, 0x4000, 0x7bff, 1, 0);
	check_cells(QS_F16, QS_F16, 0x3c00, 0x0001, 1, 0x8000);
	check_cells(QS_BF16, QS_BF16, 0x3f80, 0x0001, 3, 0);
}

static void test_what_is_no_factor_is_one(void **state)
{
	static const uint16_t patterns[][4] = {{0, 0x8000, 0x7f80, 0x7fc0}, {0x8000, 0xbc00, 0x7c00, 0x7e00}};
	(void)state;
	for (int t = 0; t < 2; t++)
		for (int i = 0; i < 4; i++) {
			uint8_t bytes[2];
			put16(bytes, patterns[t][i]);
			assert_true(qs_factor_value(types[t], bytes) == 1.0f);
		}
}

static void test_products(void **state)
{
	(void)state;
	/* Half to even, ends, and what is not finite. */
	assert_int_equal(qs_factor_product(QS_BF16, QS_BF16, 0xbf81, 1.0f), 0xbf81);
	assert_int_equal(qs_factor_product(QS_F16, QS_BF16, 0x3c04, 1.0f), 0x3f80);
	assert_int_equal(qs_factor_product(QS_F16, QS_BF16, 0x3c0c, 1.0f), 0x3f82);
	assert_int_equal(qs_factor_product(QS_BF16, QS_F16, 0x4780, 1.0f), 0x7c00);
	assert_int_equal(qs_factor_product(QS_BF16, QS_F16, 0x3f80, 0x1p-25f), 0);
	assert_int_equal(qs_factor_product(QS_BF16, QS_F16, 0x7fc0, 2.0f), 0x7fc0);
	rng r = {2};
	for (int i = 0; i < 20000; i++) {
		uint32_t dtype = types[i & 1], products = types[i >> 1 & 1];
		uint32_t m = dtype == QS_F16 ? rng_below(&r, 0x7c00) : 0x3800 + rng_below(&r, 0xf00);
		uint8_t bytes[2];
		put16(bytes, products == QS_F16 ? 0x3000 + rng_below(&r, 0x1800) : 0x3e80 + rng_below(&r, 0x200));
		float factor = qs_factor_value(products, bytes);
		assert_int_equal(qs_factor_product(dtype, products, (uint16_t)m, factor),
		                 product_of(m, dtype, factor, products));
	}
}

typedef struct chunk {
	uint8_t values[2 * ELEMS], codes[ELEMS], scales[4 * ROWS], factors[2 * COLS];
	qs_chunk_desc desc;
} chunk;

/* Codes of round(product / scale) by row. off: of 1000, codes that are one higher. period: factors that
 * differ. */
static void make_chunk(chunk *c, rng *r, uint32_t dtype, uint32_t products, uint32_t n_elems, uint32_t first,
                       uint32_t off, uint32_t period)
{
	*c = (chunk){.desc = {.kind = QS_KIND_REFINE,
	                      .dtype = dtype,
	                      .n_elems = n_elems,
	                      .cols = COLS,
	                      .first_elem = first,
	                      .coarse = c->codes,
	                      .coarse_dtype = QS_I8,
	                      .factors = c->factors,
	                      .factors_dtype = products,
	                      .coarse_grid = {.rule = QS_RULE_DIVIDE,
	                                      .codes_dtype = QS_I8,
	                                      .group = COLS,
	                                      .row_stride = 1,
	                                      .scales = c->scales,
	                                      .scales_size = sizeof c->scales,
	                                      .scales_dtype = QS_F32,
	                                      .scales_first = first / COLS}}};
	for (uint32_t i = 0; i < COLS; i++)
		put16(c->factors + 2 * i, i < period ? ref_pattern(exp(0.5 * rng_normal(r)), products)
		                                     : get16(c->factors + 2 * (i - period)));
	for (uint32_t i = 0; i < ROWS; i++) {
		float scale = (float)(0.001 * exp(0.2 * rng_normal(r)));
		memcpy(c->scales + 4 * i, &scale, 4);
	}
	for (uint32_t i = 0; i < n_elems; i++) {
		float scale;
		memcpy(&scale, c->scales + 4 * ((first + i) / COLS - first / COLS), 4);
		uint16_t value = (uint16_t)ref_pattern(0.005 * rng_normal(r), dtype);
		put16(c->values + 2 * i, value);
		uint16_t product = qs_factor_product(
		    dtype, products, value, qs_factor_value(products, c->factors + 2 * ((first + i) % COLS)));
		double code = nearbyint((double)((float)ref_value(product, products) / scale));
		code += rng_below(r, 1000) < off;
		c->codes[i] = (uint8_t)(int8_t)(code > 127 ? 127 : code < -128 ? -128 : code);
	}
}

/* name: of a seed, or NULL. */
static size_t round_trip(const chunk *c, uint32_t *n_exceptions, const char *name)
{
	static uint8_t coded[2 * ELEMS + 64], back[2 * ELEMS];
	size_t size, work_size = qs_chunk_workspace_size();
	void *work = malloc(work_size);
	qs_chunk_workspace_init(work);
	qs_encoder *encoder = qs_encoder_create();
	qs_chunk_stats stats;
	size_t bytes = 2 * (size_t)c->desc.n_elems;
	assert_int_equal(qs_chunk_encode(encoder, &c->desc, c->values, bytes, coded, sizeof coded, &size, &stats),
	                 QSTORE_OK);
	assert_int_equal(qs_chunk_decode(&c->desc, coded, size, back, bytes, work, work_size), QSTORE_OK);
	assert_memory_equal(back, c->values, bytes);
	*n_exceptions = stats.n_exceptions;
	if (name)
		write_chunk_seed(&c->desc, coded, size, name);
	/* Every cut of it is refused. */
	for (size_t cut = 0; cut < size; cut += 1 + cut / 64)
		assert_int_not_equal(qs_chunk_decode(&c->desc, coded, cut, back, bytes, work, work_size), QSTORE_OK);
	qs_encoder_destroy(encoder);
	free(work);
	return size;
}

static void test_chunks_come_back(void **state)
{
	static chunk c, other;
	rng r = {3};
	uint32_t n;
	(void)state;
	for (int t = 0; t < 4; t++) {
		make_chunk(&c, &r, types[t & 1], types[t >> 1], ELEMS, 0, 0, COLS);
		size_t size = round_trip(&c, &n, NULL);
		assert_int_equal(n, 0);
		/* Much smaller than without factors. */
		other = c;
		other.desc.coarse = other.codes;
		other.desc.coarse_grid.scales = other.scales;
		other.desc.factors = NULL;
		assert_true(10 * size < 8 * round_trip(&other, &n, NULL));
		/* Some codes are others. */
		make_chunk(&c, &r, types[t & 1], types[t >> 1], ELEMS, 0, 20, COLS);
		round_trip(&c, &n, NULL);
		assert_true(n > 0);
		/* Pieces of rows. */
		make_chunk(&c, &r, types[t & 1], types[t >> 1], 5 * COLS + 7, 3 * COLS + 11, 0, COLS);
		round_trip(&c, &n, NULL);
		assert_int_equal(n, 0);
		/* Few elements, as seeds for fuzzing. */
		char name[32];
		snprintf(name, sizeof name, "factors %d", t);
		make_chunk(&c, &r, types[t & 1], types[t >> 1], 4 * COLS, 0, 0, 4);
		c.desc.coarse_grid.scales_size = 16;
		round_trip(&c, &n, name);
		assert_int_equal(n, 0);
		make_chunk(&c, &r, types[t & 1], types[t >> 1], 5 * COLS + 7, 3 * COLS + 11, 0, COLS);
		/* Factors that are none, and tiny and huge ones. */
		for (uint32_t i = 0; i < COLS; i++)
			put16(c.factors + 2 * i, rng_below(&r, 0x10000));
		round_trip(&c, &n, NULL);
	}
}

static void test_refused(void **state)
{
	static chunk c;
	rng r = {4};
	(void)state;
	make_chunk(&c, &r, QS_BF16, QS_BF16, ELEMS, 0, 0, COLS);
	assert_int_equal(qs_chunk_desc_check(&c.desc), QSTORE_OK);
	c.desc.factors_dtype = QS_F32;
	assert_int_equal(qs_chunk_desc_check(&c.desc), QSTORE_USAGE);
	c.desc.factors_dtype = QS_F16;
	c.desc.coarse_grid.rule = QS_RULE_Q8_0_D;
	assert_int_equal(qs_chunk_desc_check(&c.desc), QSTORE_USAGE);
	c.desc.coarse_grid.rule = QS_RULE_LLM_INT8;
	assert_int_equal(qs_chunk_desc_check(&c.desc), QSTORE_OK);
	c.desc.kind = QS_KIND_CODES;
	c.desc.dtype = QS_I8;
	assert_int_equal(qs_chunk_desc_check(&c.desc), QSTORE_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cells_are_what_products_are_in),
	    cmocka_unit_test(test_what_is_no_factor_is_one),
	    cmocka_unit_test(test_products),
	    cmocka_unit_test(test_chunks_come_back),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
