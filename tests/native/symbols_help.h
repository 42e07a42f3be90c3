/* Symbol blocks for tests: plans that are made by hand, and coding and decoding between guard pages. */
#ifndef SYMBOLS_HELP_H
#define SYMBOLS_HELP_H

#include "codec_help.h"

#include "core/symbols.h"
#include "encode/symbols_encode.h"

enum { BLOCK_MAX = 5000 }; /* symbols of a block */

typedef struct symbols_fixture {
	guarded src, dst, table;
	void *zstd;
	size_t zstd_size;
	uint8_t data[BLOCK_MAX], scratch[BLOCK_MAX], coded[4 * BLOCK_MAX + 4096];
} symbols_fixture;

/* For cmocka: make and free the symbols_fixture that *state points to. */
int symbols_set_up(void **state);
int symbols_tear_down(void **state);

/* Decodes n symbols from a copy of src that ends at a guard page. *used: the bytes that were consumed. */
qstore_status symbols_decode_copy(symbols_fixture *f, const uint8_t *src, size_t src_size, size_t n,
                                  size_t *used);

/* Writes n symbols of f->data by the plan into f->coded; returns the size. */
size_t symbols_write_data(symbols_fixture *f, size_t n, const qs_block_plan *plan);

/* Writes and decodes n symbols of f->data, alone and with bytes behind them. */
void symbols_check_round_trip(symbols_fixture *f, size_t n, const qs_block_plan *plan);

/* Makes a Huffman plan for n symbols of f->data, with codes of at most `longest` bits. skewed: with the
 * longest codes that there can be. Returns 0 if there are too many top symbols for such codes. */
int symbols_make_plan(symbols_fixture *f, size_t n, unsigned raw_bits, unsigned zigzag, unsigned longest,
                      int skewed, qs_block_plan *plan);

/* Makes an ANS plan; returns 0 if there are fewer than two top symbols, or more than the table has slots. */
int symbols_make_ans_plan(symbols_fixture *f, size_t n, unsigned raw_bits, unsigned zigzag,
                          unsigned table_log, qs_block_plan *plan);

enum { SYMBOLS_STYLES = 7 };

/* Fills data with n symbols of one of SYMBOLS_STYLES distributions. */
void symbols_fill(rng *r, uint8_t *data, size_t n, int style);

/* Fills f->data with n symbols that are mostly the same. The others are at random places, in a run, or at
 * both ends; style: 0 to 3. */
void symbols_make_sparse(symbols_fixture *f, rng *r, size_t n, int style);

#endif
