/* Chunks that refine codes: ranks in cells, by every rule. */
#include "chunk_help.h"

#include <math.h>

#include "core/cells.h"
#include "core/ranks.h"
#include "encode/ranks_encode.h"

/* All patterns that are in the cells of a row, coded as ranks, with some exceptions of every kind among them.
 */
static void test_all_patterns_as_ranks(void **state)
{
	fixture *f = *state;
	static const float scales[] = {1, 448, 65504, 0x1p-8f, 0x1.3p-9f, 0x1p-14f, 0x1.8p-20f, 0x1p-24f};
	for (int d = 0; d < 2; d++)
		for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
			uint32_t dtype = d ? QS_BF16 : QS_F16, n = 0, outside = 0;
			for (uint32_t v = 0; v < 65536; v++) {
				int inside = ref_half_of(v & 0x7fff, dtype) <= (double)scales[s];
				if (!inside && (v % 16 || outside++ > 2000))
					continue;
				put16(f->values + 2 * n, v);
				f->codes[n++] = (uint8_t)ref_code(v, dtype, scales[s]);
			}
			for (uint32_t row = 0; row <= n / 999; row++)
				memcpy(f->row_scales + 4 * row, &scales[s], 4);
			qs_chunk_desc desc = refine_desc(f, dtype, n, 999, 0);
			round_trip(f, &desc, f->values);
			if (s < 3)
				assert_int_equal(f->coded[0], QS_MODE_RANKS);
		}
}

static void test_matrices(void **state)
{
	fixture *f = *state;
	rng r = {4};
	static const uint64_t cols[] = {1,  7,  8,   31,  32,   33,     63,
	                                64, 65, 129, 288, 4096, 300000, (uint64_t)1 << 40};
	static const size_t sizes[] = {1, 7, 8, 9, 31, 32, 33, 127, 128, 129, 255, 256, 257, 2000, 33000};
	for (size_t c = 0; c < sizeof cols / sizeof *cols; c++)
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (int d = 0; d < 2; d++) {
				uint32_t dtype = d ? QS_BF16 : QS_F16;
				/* Also chunks that start in mid row, far into the object. */
				uint64_t first = s % 2 ? cols[c] * 3 + cols[c] / 3 : 0;
				if (sizes[s] > 2000 && cols[c] > 4096 && d)
					continue;
				fill_weights(&r, f->values, dtype, sizes[s], cols[c], first);
				ref_quantize(f->values, dtype, sizes[s], cols[c], first, f->codes, f->row_scales);
				qs_chunk_desc desc = codes_desc(sizes[s], cols[c], first);
				uint8_t *copy = malloc(sizes[s]);
				memcpy(copy, f->codes, sizes[s]);
				round_trip(f, &desc, copy);
				free(copy);
				desc = refine_desc(f, dtype, sizes[s], cols[c], first);
				round_trip(f, &desc, f->values);
			}
}

static void test_large_matrices(void **state)
{
	fixture *f = *state;
	rng r = {5};
	static const uint64_t cols[] = {1, 33, 1024, 288, 300000, 262144, 262143};
	for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
		size_t n = FULL + 1 - c % 3;
		uint64_t first = cols[c] > FULL ? cols[c] * 2 + 1000 : 0;
		uint32_t dtype = c % 2 ? QS_F16 : QS_BF16;
		fill_weights(&r, f->values, dtype, n, cols[c], first);
		ref_quantize(f->values, dtype, n, cols[c], first, f->codes, f->row_scales);
		qs_chunk_desc desc = codes_desc(n, cols[c], first);
		memcpy(f->values + QS_CHUNK_SIZE_MAX / 2 + 8, f->codes, n);
		round_trip(f, &desc, f->values + QS_CHUNK_SIZE_MAX / 2 + 8);
		desc = refine_desc(f, dtype, n, cols[c], first);
		size_t size = round_trip(f, &desc, f->values);
		if (cols[c] > 1) {
			assert_int_equal(f->coded[0], QS_MODE_RANKS);
			assert_true(size < n * 3 / 2);
		}
	}
	/* The largest chunks of all: 2^19 values of 16 bits, 2^20 codes in rows of different spread. */
	fill_weights(&r, f->values, QS_BF16, QS_CHUNK_SIZE_MAX / 2, 512, 0);
	ref_quantize(f->values, QS_BF16, QS_CHUNK_SIZE_MAX / 2, 512, 0, f->codes, f->row_scales);
	qs_chunk_desc desc = refine_desc(f, QS_BF16, QS_CHUNK_SIZE_MAX / 2, 512, 0);
	round_trip(f, &desc, f->values);
	for (size_t i = 0; i < QS_CHUNK_SIZE_MAX; i++)
		f->values[i] = (uint8_t)(int)(rng_normal(&r) * (i / 512 % 2 ? 2 : 35));
	desc = codes_desc(QS_CHUNK_SIZE_MAX, 512, 0);
	size_t size = round_trip(f, &desc, f->values);
	assert_true(size < QS_CHUNK_SIZE_MAX * 7 / 8);
}

/* Scales of every kind in one chunk, and codes that have nothing to do with the values. */
static void test_odd_scales(void **state)
{
	fixture *f = *state;
	rng r = {6};
	static const float odd[] = {0,         -0.0f,     -1,        NAN,      INFINITY,
	                            -INFINITY, 0x1p-149f, 0x1p-126f, 0x1p-24f, 0x1p-25f,
	                            0x1p-15f,  65504,     65505,     1e30f,    0.5f};
	for (int round = 0; round < 40; round++) {
		size_t cols = 5 + rng_below(&r, 100), n = cols * (1 + rng_below(&r, 40)) - rng_below(&r, 4);
		uint32_t dtype = round & 1 ? QS_BF16 : QS_F16;
		fill_weights(&r, f->values, dtype, n, cols, 0);
		ref_quantize(f->values, dtype, n, cols, 0, f->codes, f->row_scales);
		for (size_t row = 0; row * cols < n; row++)
			if (rng_below(&r, 3) == 0)
				memcpy(f->row_scales + 4 * row, &odd[rng_below(&r, sizeof odd / sizeof *odd)], 4);
		for (size_t i = 0; i < n; i += 1 + rng_below(&r, 40)) {
			static const uint8_t extreme[] = {0, 0x80, 0x7f, 0x81, 1, 0xff};
			static const uint16_t special[] = {0,      0x8000, 0x7f80, 0xff80, 0x7fc0, 0x7c00,
			                                   0xfc00, 1,      0x8001, 0x7fff, 0xffff};
			f->codes[i] = extreme[rng_below(&r, sizeof extreme)];
			if (round % 4 > 1)
				put16(f->values + 2 * i, special[rng_below(&r, sizeof special / sizeof *special)]);
		}
		qs_chunk_desc desc = refine_desc(f, dtype, n, cols, 0);
		round_trip(f, &desc, f->values);
		/* Ranks decode to the values too, even where the encoder chose planes. */
		qs_ranks_scratch *scratch = malloc(sizeof *scratch);
		qs_writer w = {f->coded, f->coded + BOUND, 0};
		uint32_t n_exceptions;
		qs_ranks_encode(&w, &desc, f->values, 0, scratch, &n_exceptions);
		free(scratch);
		if (w.bad)
			continue;
		assert_int_equal(decode_chunk(f, &desc, f->coded, (size_t)(w.at - f->coded), 1), QSTORE_OK);
		assert_memory_equal(decoded_chunk(f, &desc), f->values, 2 * n);
	}
}

static void test_rules(void **state)
{
	fixture *f = *state;
	rng r = {8};
	static const uint32_t scale_dtypes[] = {QS_F32, QS_F16, QS_BF16};
	for (uint32_t rule = QS_RULE_LLM_INT8; rule <= QS_RULE_DIVIDE_HALF; rule++)
		for (int both = 0; both < 12; both++) {
			size_t cols = both % 5 ? 130 : 33, n = both % 2 ? 700 : both == 2 ? 33000 : 3000;
			uint64_t first = both % 3 ? 0 : cols * 7 + 5;
			qs_chunk_desc desc = refine_desc(f, both & 1 ? QS_BF16 : QS_F16, n, cols, first);
			set_scales(&desc, rule, f->row_scales, scale_dtypes[both % 3], both >= 6);
			fill_weights(&r, f->values, desc.dtype, n, cols, first);
			quantize_rows(&r, &desc, f->values, f->codes, f->row_scales);
			size_t size = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[0], QS_MODE_RANKS);
			/* Codes that were made of other values: most are next to the rule's own. */
			for (size_t i = 0; i < n; i++) {
				int code = (int8_t)f->codes[i] + (int)rng_below(&r, 3) - 1;
				f->codes[i] = (uint8_t)(code < -127 ? -127 : code > 127 ? 127 : code);
			}
			size_t more = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[0], QS_MODE_RANKS);
			assert_int_equal(f->coded[1] & QS_RANKS_RESIDUAL, QS_RANKS_RESIDUAL);
			assert_true(more < size + n / 4 + 200); /* log2(3) bits each */
		}
}

/* Factors that were not divided exactly: a shift for each row makes up for it. */
static void test_shifts(void **state)
{
	fixture *f = *state;
	rng r = {81};
	unsigned n_shifted = 0;
	for (uint32_t rule = QS_RULE_LLM_INT8; rule <= QS_RULE_DIVIDE; rule++)
		for (int round = 0; round < 2; round++) {
			size_t n = 100000, cols = 500;
			uint64_t first = round ? cols * 7 + 5 : 0;
			qs_chunk_desc desc = refine_desc(f, QS_BF16, n, cols, first);
			set_scales(&desc, rule, f->row_scales, QS_F16, 0);
			fill_weights(&r, f->values, desc.dtype, n, cols, first);
			quantize_rows(&r, &desc, f->values, f->codes, f->row_scales);
			size_t exact = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[1] & QS_RANKS_SHIFTS, 0);
			uint32_t changed = 0;
			for (uint32_t row = 0; row < qs_chunk_rows(&desc); row++) {
				qs_row_slice slice = qs_chunk_row(&desc, row);
				float scale = get_scale(f->row_scales, QS_F16, row);
				int shift = (int)rng_below(&r, 5) - 2;
				for (uint32_t i = slice.begin; i < slice.begin + slice.count; i++) {
					uint8_t code =
					    (uint8_t)ref_shifted_code(rule, get16(f->values + 2 * i), desc.dtype, scale, shift);
					changed += code != f->codes[i];
					f->codes[i] = code;
				}
			}
			qs_chunk_stats stats;
			size_t size = round_trip(f, &desc, f->values), bound = qs_chunk_bound(2 * n);
			assert_int_equal(
			    qs_chunk_encode(f->encoder, &desc, f->values, 2 * n, f->again, bound, &size, &stats),
			    QSTORE_OK);
			print_message("rule %u: %u codes changed, %zu bytes for %zu, %u exceptions\n", rule, changed,
			              size, exact, stats.n_exceptions);
			/* How many values are next to a border is chance. */
			n_shifted += changed > 40;
			assert_true(changed <= 40 || (f->coded[1] & QS_RANKS_SHIFTS && !stats.n_exceptions));
			assert_true(size < exact + 4 * changed + 20);
		}
	assert_true(n_shifted >= 3);
}

/* Writes the chunk as ranks, with or without shared borders, to f->again; the size. */
static size_t encode_ranks(fixture *f, const qs_chunk_desc *desc, int shared, uint32_t *outside)
{
	qs_ranks_scratch *scratch = malloc(sizeof *scratch);
	qs_writer w = {f->again, f->again + BOUND, 0};
	qs_ranks_encode(&w, desc, f->values, shared, scratch, outside);
	free(scratch);
	assert_false(w.bad);
	return (size_t)(w.at - f->again);
}

/* Codes of finer values than those beside them: what is rounded from both sides of a border is in both cells.
 * Rows whose scale is of no use have no cells, whatever their codes; the table in their place, with the same
 * mantissa, has. */
static void test_shared_borders(void **state)
{
	fixture *f = *state;
	rng r = {82};
	for (uint32_t rule = QS_RULE_LLM_INT8; rule <= QS_RULE_DIVIDE; rule++)
		for (int one = 0; one < 2; one++) {
			size_t n = 60000, cols = 500;
			qs_chunk_desc desc = refine_desc(f, QS_BF16, n, cols, one ? 0 : cols * 7 + 5);
			set_scales(&desc, rule, f->row_scales, QS_F32, one);
			for (uint32_t row = 0; row < qs_chunk_rows(&desc); row++) {
				qs_row_slice slice = qs_chunk_row(&desc, row);
				float scale = rule == QS_RULE_LLM_INT8 ? 0x1p-3f : 0x1p-11f;
				put_scale(f->row_scales, QS_F32, one ? 0 : row, !one && row % 30 == 29 ? 0 : scale);
				for (uint32_t i = slice.begin; i < slice.begin + slice.count; i++) {
					double value = (double)(float)(rng_normal(&r) * 0.014);
					put16(f->values + 2 * i, ref_pattern(value, QS_BF16));
					value = rule == QS_RULE_LLM_INT8 ? ref_cast_half(value) : value;
					double code = ref_round(rule, ref_scaled(rule, QS_BF16, fabs(value), scale, 0));
					f->codes[i] = (uint8_t)(int)(value < 0 ? -code : code);
				}
			}
			size_t size = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[0], QS_MODE_RANKS);
			assert_int_equal(f->coded[1] & (QS_RANKS_SHARED | QS_RANKS_RESIDUAL), QS_RANKS_SHARED);
			uint32_t outside[2];
			size_t plain = encode_ranks(f, &desc, 0, &outside[0]),
			       shared = encode_ranks(f, &desc, 1, &outside[1]);
			print_message("rule %u: %zu bytes for %zu, %u outside for %u\n", rule, shared, plain, outside[1],
			              outside[0]);
			assert_int_equal(shared, size);
			assert_true(shared < plain - n / 100 && outside[1] < outside[0] / 100);
		}
}

/* Scales of 16 bits have their values; FP16's infinities and NaN are no numbers here either. */
static void test_scales(void **state)
{
	fixture *f = *state;
	qs_chunk_desc desc = refine_desc(f, QS_BF16, 8, 4, 0);
	for (uint32_t dtype = QS_F16; dtype <= QS_BF16; dtype++)
		for (uint32_t pattern = 0; pattern < 65536; pattern++) {
			qs_step step;
			put16(f->row_scales + 2, pattern);
			set_scales(&desc, QS_RULE_DIVIDE, f->row_scales, dtype, 0);
			qs_grid_step(&desc.coarse_grid, 1, &step);
			double value = ref_value(pattern, dtype), scale = (double)step.scale;
			if (isfinite(value) ? scale != value : isfinite(scale))
				fail_msg("dtype %u, pattern %x: %a for %a", dtype, pattern, scale, value);
		}
}

/* Every zero is written as such: a code 0 holds +0, −0 and what is small. */
static void test_rows_of_zeros(void **state)
{
	fixture *f = *state;
	for (size_t n = 1; n < 300; n += 37) {
		memset(f->codes, 0, n);
		memset(f->row_scales, 0, 4 * n);
		for (size_t i = 0; i < n; i++)
			put16(f->values + 2 * i, i % 3 ? 0 : 0x8000);
		qs_chunk_desc desc = refine_desc(f, QS_BF16, n, 10, 0);
		round_trip(f, &desc, f->values);
	}
}

/* FORMAT.md's lanes backwards, in plain arithmetic: the codec's own encoder uses 64 lanes only for large
 * chunks. No zero codes. */
static void encode_wide(sample *s)
{
	uint64_t states[QS_LANES_MAX];
	static uint8_t units[8192];
	uint8_t *at = units + sizeof units, *out = s->coded;
	static qs_cell_cache cache;
	qs_cell_cache_init(&cache, s->desc.dtype, s->desc.coarse_grid.rule, QS_I8);
	for (int lane = 0; lane < QS_LANES_MAX; lane++)
		states[lane] = 65536;
	for (uint32_t i = s->desc.n_elems; i-- > 0;) {
		qs_step step;
		qs_grid_step(&s->desc.coarse_grid, (s->desc.first_elem + i) / s->desc.cols, &step);
		qs_cell cell = qs_cell_cache_get(&cache, &step, 255)->cells[s->codes[i]];
		uint32_t n = QS_CELL_COUNT(cell), rank = get16(s->values + 2 * i) - QS_CELL_FIRST(cell);
		assert_true(rank < n);
		uint64_t f = 65536 / n > 65535 ? 65535 : 65536 / n, x = states[i % QS_LANES_MAX];
		if (x >= f << 16) {
			at -= 2;
			put16(at, x & 0xffff);
			x >>= 16;
		}
		states[i % QS_LANES_MAX] = x / f * 65536 + rank * f + x % f;
	}
	*out++ = QS_MODE_RANKS;
	*out++ = QS_RANKS_WIDE;
	*out++ = 0; /* no element of index 0 */
	/* States: how many bits each has below its first, less 16, and these bits. */
	uint8_t *bits = out + QS_LANES_MAX / 2;
	memset(out, 0, 4 * QS_LANES_MAX);
	uint32_t n_bits = 0;
	for (int lane = 0; lane < QS_LANES_MAX; lane++) {
		uint32_t below = 0;
		for (; states[lane] >> (below + 1); below++, n_bits++)
			bits[n_bits / 8] |= (uint8_t)((states[lane] >> below & 1) << n_bits % 8);
		out[lane / 2] |= (uint8_t)((below - 16) << lane % 2 * 4);
	}
	out = bits + (n_bits + 7) / 8;
	memcpy(out, at, (size_t)(units + sizeof units - at));
	s->size = (size_t)(out - s->coded) + (size_t)(units + sizeof units - at);
}

/* Shifts by hand, of all runs the same: none, and then another that moves no border of these values. */
static void add_shifts(fixture *f, sample *s)
{
	static const uint8_t block[] = {1, 0}; /* constant */
	assert_int_equal(s->coded[1], 0);
	memmove(s->coded + 2 + sizeof block, s->coded + 2, s->size - 2);
	s->coded[1] = QS_RANKS_SHIFTS;
	memcpy(s->coded + 2, block, sizeof block);
	s->size += sizeof block;
	assert_int_equal(decode_chunk(f, &s->desc, s->coded, s->size, 0), QSTORE_OK);
	assert_memory_equal(decoded_chunk(f, &s->desc), s->values, 2 * s->desc.n_elems);
	qs_chunk_desc desc = s->desc;
	desc.coarse_grid.rule = QS_RULE_Q4_0; /* takes no shifts */
	desc.coarse_grid.scales_dtype = QS_F16;
	desc.coarse_grid.group = 32;
	assert_int_equal(decode_chunk(f, &desc, s->coded, s->size, 0), QSTORE_CORRUPT);
}

/* Codes the sample with shared borders, which exact codes do not need. */
static void make_shared(fixture *f, sample *s)
{
	uint32_t outside;
	memcpy(f->values, s->values, 2 * s->desc.n_elems);
	s->size = encode_ranks(f, &s->desc, 1, &outside);
	memcpy(s->coded, f->again, s->size);
	assert_int_equal(decode_chunk(f, &s->desc, s->coded, s->size, 0), QSTORE_OK);
	assert_memory_equal(decoded_chunk(f, &s->desc), s->values, 2 * s->desc.n_elems);
	assert_int_equal(s->coded[1] & QS_RANKS_SHARED, QS_RANKS_SHARED);
	for (unsigned other = QS_RANKS_RESIDUAL; other <= QS_RANKS_SHIFTS; other *= 2) {
		s->coded[1] |= (uint8_t)other;
		/* The flags do not go together. Readers may also take what follows for a block of an unknown type. */
		qstore_status status = decode_chunk(f, &s->desc, s->coded, s->size, 0);
		assert_true(status == QSTORE_CORRUPT || status == QSTORE_NEWER);
		s->coded[1] &= (uint8_t)~other;
	}
}

static void test_damage_ranks(void **state)
{
	rng r = {24};
	for (int round = 0; round < 6; round++) {
		static const char *const names[] = {"ranks",
		                                    "ranks with exceptions",
		                                    "ranks in F16",
		                                    "ranks of odd rows",
		                                    "ranks with shifts",
		                                    "ranks with shared borders"};
		uint32_t dtype = round == 2 ? QS_F16 : QS_BF16;
		size_t n = 600, cols = round == 3 ? 13 : 64;
		sample *s = new_sample(names[round], (qs_chunk_desc){.kind = QS_KIND_REFINE,
		                                                     .dtype = dtype,
		                                                     .n_elems = (uint32_t)n,
		                                                     .cols = cols,
		                                                     .first_elem = cols * 5 + 7});
		fill_weights(&r, s->values, dtype, n, cols, s->desc.first_elem);
		ref_quantize(s->values, dtype, n, cols, s->desc.first_elem, s->codes, s->scales);
		if (round == 1)
			for (int i = 0; i < 25; i++)
				put16(s->values + 2 * rng_below(&r, 600), (uint32_t)rng_next(&r) & 0xffff);
		encode_sample(*state, s, QS_MODE_RANKS);
		assert_int_equal(s->coded[1] & QS_RANKS_WIDE, 0);
		if (round == 4)
			add_shifts(*state, s);
		if (round == 5)
			make_shared(*state, s);
		damage_sample(*state, s);
		free(s);
	}
}

static void test_damage_wide_ranks(void **state)
{
	rng r = {25};
	for (size_t cols = 33; cols < 300; cols += 127) {
		size_t n = 650;
		sample *s = new_sample("wide ranks", (qs_chunk_desc){.kind = QS_KIND_REFINE,
		                                                     .dtype = QS_BF16,
		                                                     .n_elems = (uint32_t)n,
		                                                     .cols = cols,
		                                                     .first_elem = cols + 3});
		fill_weights(&r, s->values, QS_BF16, n, cols, s->desc.first_elem);
		for (size_t i = 0; i < n; i++) /* no zero codes: this encoder has none */
			put16(s->values + 2 * i, (get16(s->values + 2 * i) & 0x807f) | 0x3c80);
		ref_quantize(s->values, QS_BF16, n, cols, s->desc.first_elem, s->codes, s->scales);
		s->desc.coarse = s->codes;
		set_scales(&s->desc, QS_RULE_LLM_INT8, s->scales, QS_F32, 0);
		encode_wide(s);
		assert_int_equal(decode_chunk(*state, &s->desc, s->coded, s->size, 0), QSTORE_OK);
		assert_memory_equal(decoded_chunk(*state, &s->desc), s->values, 2 * n);
		damage_sample(*state, s);
		free(s);
	}
}

static void test_damage_rules(void **state)
{
	rng r = {26};
	static const char *const names[] = {"llm.int8", "multiply", "divide", "divide in bf16"};
	static const uint32_t scale_dtypes[] = {QS_BF16, QS_F16, QS_F32, QS_BF16};
	for (uint32_t k = 0; k < 8; k++) {
		char name[40];
		uint32_t n = k < 4 ? 240 : 200;
		snprintf(name, sizeof name, "%s%s", names[k % 4], k < 4 ? "" : " residual");
		sample *s = new_sample(name, (qs_chunk_desc){.kind = QS_KIND_REFINE,
		                                             .dtype = k % 3 ? QS_BF16 : QS_F16,
		                                             .n_elems = n,
		                                             .cols = 100,
		                                             .first_elem = 130});
		set_scales(&s->desc, 1 + k % 4, s->scales, scale_dtypes[k % 4], k % 2 != 0);
		fill_weights(&r, s->values, s->desc.dtype, n, 100, 130);
		quantize_rows(&r, &s->desc, s->values, s->codes, s->scales);
		for (uint32_t i = 0; k >= 4 && i < n; i++)
			if ((int8_t)s->codes[i] < 126)
				s->codes[i] = (uint8_t)(s->codes[i] + rng_below(&r, 3));
		put16(s->values + 20, 0xff80); /* an exception */
		encode_sample(*state, s, QS_MODE_RANKS);
		assert_int_equal(s->coded[1] & QS_RANKS_RESIDUAL, k < 4 ? 0 : QS_RANKS_RESIDUAL);
		damage_sample(*state, s);
		free(s);
	}
}

/* Exceptions' list by hand: out of range, too many, running backwards, longer than its size. */
static void test_bad_exceptions(void **state)
{
	fixture *f = *state;
	static const struct {
		uint8_t list[16];
		size_t size;
		int good;
	} cases[] = {
	    {{1, 0, 0xaa, 0xbb}, 4, 1},
	    {{1, 7, 0xaa, 0xbb}, 4, 1},
	    {{0}, 1, 1},
	    {{2, 6, 1, 2, 0, 3, 4}, 7, 1},
	    {{1, 8, 0xaa, 0xbb}, 4, 0}, /* beyond the chunk */
	    {{2, 7, 1, 2, 0, 3, 4}, 7, 0},
	    {{9, 0, 1, 2}, 4, 0},                                    /* more than elements */
	    {{1, 0, 1}, 3, 0},                                       /* cut */
	    {{1, 0, 1, 2, 3}, 5, 0},                                 /* too long */
	    {{2, 3, 1, 2, 0xff, 0xff, 0xff, 0xff, 15, 3, 4}, 11, 0}, /* a distance of 2^32, which must not wrap */
	    {{2, 3, 1, 2, 0xfe, 0xff, 0xff, 0xff, 15, 3, 4}, 11, 0}, /* of 2^32 − 1: backwards in 32 bits */
	    {{1, 0xff, 0xff, 0xff, 0xff, 31, 3, 4}, 8, 0},           /* varint over 32 bits */
	    {{1, 0x80, 0x80, 0x80, 0x80, 0x80, 3, 4}, 8, 0},
	};
	/* A symmetric rule, with codes so far from all values that each cell is empty. */
	float tiny = 0x1p-118f;
	memset(f->codes, 1, 8);
	memcpy(f->row_scales, &tiny, 4);
	qs_chunk_desc desc = refine_desc(f, QS_F16, 8, 8, 0);
	set_scales(&desc, QS_RULE_DIVIDE, f->row_scales, QS_F32, 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t coded[80] = {QS_MODE_RANKS, QS_RANKS_EXCEPTIONS, (uint8_t)cases[i].size}, *p = coded + 3;
		memcpy(p, cases[i].list, cases[i].size);
		p += cases[i].size;
		*p++ = 0; /* no element of index 0 */
		/* Eight lanes, each of one value: the state before 65536 → F × (65536 / 65536) + 65536 mod F … 65536
		 * again. They have no bits above their lower 16. */
		memset(p, 0, 4);
		p += 4;
		for (int lane = 0; lane < 8; lane++, p += 2)
			put16(p, 1);
		qstore_status status = decode_chunk(f, &desc, coded, (size_t)(p - coded), 0);
		if (status != (cases[i].good ? QSTORE_OK : QSTORE_CORRUPT))
			fail_msg("list %zu: status %d", i, status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_patterns_as_ranks),
	    cmocka_unit_test(test_matrices),
	    cmocka_unit_test(test_large_matrices),
	    cmocka_unit_test(test_odd_scales),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_shifts),
	    cmocka_unit_test(test_shared_borders),
	    cmocka_unit_test(test_scales),
	    cmocka_unit_test(test_rows_of_zeros),
	    cmocka_unit_test(test_damage_ranks),
	    cmocka_unit_test(test_damage_wide_ranks),
	    cmocka_unit_test(test_damage_rules),
	    cmocka_unit_test(test_bad_exceptions),
	};
	return cmocka_run_group_tests(tests, chunk_set_up, chunk_tear_down);
}
