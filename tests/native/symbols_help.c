#include "symbols_help.h"

#include "core/ans.h"
#include "core/zstd.h"
#include "encode/ans_encode.h"
#include "encode/huffman.h"

int symbols_set_up(void **state)
{
	symbols_fixture *f = malloc(sizeof *f);
	guarded_create(&f->src, sizeof f->coded);
	guarded_create(&f->dst, BLOCK_MAX);
	guarded_create(&f->table, qs_symbols_workspace_size());
	f->zstd_size = qs_zstd_workspace_size();
	f->zstd = malloc(f->zstd_size);
	*state = f;
	return 0;
}

int symbols_tear_down(void **state)
{
	symbols_fixture *f = *state;
	guarded_destroy(&f->src);
	guarded_destroy(&f->dst);
	guarded_destroy(&f->table);
	free(f->zstd);
	free(f);
	return 0;
}

qstore_status symbols_decode_copy(symbols_fixture *f, const uint8_t *src, size_t src_size, size_t n,
                                  size_t *used)
{
	const uint8_t *p = guarded_copy(&f->src, src, src_size);
	qs_reader r = {p, p + src_size, 0};
	uint8_t *dst = guarded_place(&f->dst, n), *work = guarded_place(&f->table, qs_symbols_workspace_size());
	qs_symbols_ahead(work, dst, n, 1);
	qstore_status status = qs_symbols_decode(&r, dst, n, work, f->zstd, f->zstd_size);
	*used = (size_t)(r.at - p);
	assert_true(*used <= src_size);
	return status;
}

static uint32_t transformed(uint32_t value, unsigned zigzag)
{
	int v = (int8_t)value;
	return zigzag ? (uint32_t)(v < 0 ? -2 * v - 1 : 2 * v) : value;
}

size_t symbols_write_data(symbols_fixture *f, size_t n, const qs_block_plan *plan)
{
	qs_writer w = {f->coded, f->coded + sizeof f->coded, 0};
	qs_symbols_write(&w, f->data, n, plan, f->scratch);
	assert_false(w.bad);
	return (size_t)(w.at - f->coded);
}

void symbols_check_round_trip(symbols_fixture *f, size_t n, const qs_block_plan *plan)
{
	size_t size = symbols_write_data(f, n, plan), used;
	/* Alone, with nothing behind, and with more behind that must be left. */
	assert_int_equal(symbols_decode_copy(f, f->coded, size, n, &used), QSTORE_OK);
	assert_int_equal(used, size);
	assert_memory_equal(f->dst.end - n, f->data, n);
	memset(f->coded + size, 0xff, 9);
	assert_int_equal(symbols_decode_copy(f, f->coded, size + 9, n, &used), QSTORE_OK);
	assert_int_equal(used, size);
	assert_memory_equal(f->dst.end - n, f->data, n);
}

int symbols_make_plan(symbols_fixture *f, size_t n, unsigned raw_bits, unsigned zigzag, unsigned longest,
                      int skewed, qs_block_plan *plan)
{
	uint32_t top[256] = {0}, used = 0;
	for (size_t i = 0; i < n; i++)
		top[transformed(f->data[i], zigzag) >> raw_bits]++;
	for (int t = 0; t < 256; t++)
		used += top[t] > 0;
	*plan = (qs_block_plan){.type = QS_SYMBOLS_HUFFMAN,
	                        .raw_bits = raw_bits,
	                        .zigzag = zigzag,
	                        .table_log = used > 1 ? longest : 0};
	if (used > 1u << longest)
		return 0;
	if (used > 1 && skewed && used <= longest + 1) {
		/* Lengths 1, 2, 3, … last two alike: the longest code there is. */
		unsigned length = 0;
		for (int t = 0; t < 256; t++)
			if (top[t])
				plan->lengths[t] = (uint8_t)(++length < used ? length : used - 1);
	} else if (used > 1)
		qs_huffman_lengths(top, 256, longest, plan->lengths);
	return 1;
}

int symbols_make_ans_plan(symbols_fixture *f, size_t n, unsigned raw_bits, unsigned zigzag,
                          unsigned table_log, qs_block_plan *plan)
{
	uint32_t top[256] = {0}, used = 0;
	for (size_t i = 0; i < n; i++)
		used += !top[transformed(f->data[i], zigzag) >> raw_bits]++;
	if (used < 2 || used > 1u << table_log)
		return 0;
	*plan = (qs_block_plan){
	    .type = QS_SYMBOLS_ANS, .raw_bits = raw_bits, .zigzag = zigzag, .table_log = table_log};
	qs_ans_frequencies(top, 256u >> raw_bits, table_log, plan->frequencies);
	return 1;
}

void symbols_fill(rng *r, uint8_t *data, size_t n, int style)
{
	for (size_t i = 0; i < n; i++)
		switch (style) {
		case 0:
			data[i] = (uint8_t)rng_next(r);
			break;
		case 1:
			data[i] = (uint8_t)(int)(rng_normal(r) * 20);
			break;
		case 2:
			data[i] = rng_below(r, 12) ? 0 : (uint8_t)(1 + rng_below(r, 3));
			break;
		case 3:
			data[i] = (uint8_t)(i % 2 ? 0x80 : 0x7f);
			break;
		case 4:
			data[i] = (uint8_t)(rng_next(r) & rng_next(r) & rng_next(r));
			break;
		case 5:
			data[i] = 200;
			break;
		default:
			data[i] = i == n / 2 ? 255 : 0;
			break;
		}
}

void symbols_make_sparse(symbols_fixture *f, rng *r, size_t n, int style)
{
	size_t n_others = style == 3 ? 1 : 1 + rng_below(r, (uint32_t)(n / 17));
	memset(f->data, 0x5a, n);
	for (size_t i = 0; i < n_others; i++) {
		size_t at = style == 0   ? rng_below(r, (uint32_t)n)
		            : style == 1 ? n / 2 + i
		            : i % 2      ? n - 1 - i / 2
		                         : i / 2;
		f->data[at] = (uint8_t)(rng_below(r, 3) ? 0x5b : rng_next(r));
	}
}
