/* GGUF files of every kind come back from archives: all types of metadata, of tensors, and alignments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <qstore.h>

#include "../generate/gguf_writer.h"
#include "../generate/random.h"
#include "../generate/values.h"
#include "quantize/q8_0.h"
#include "scratch.h"

/* Numbers of ggml_type, those that are gone and some that are not given yet included. */
enum { TYPES = 48 };

typedef struct odd_file {
	uint32_t version, alignment;
	unsigned seed;           /* of the bytes of types that are not floats */
	unsigned first, n_types; /* of the tensors: one of each type */
	unsigned split_no, split_count;
	uint32_t main; /* type of a larger tensor, which the model's precision is named by */
} odd_file;

static int is_float(uint32_t type)
{
	return type <= 1 || type == 28 || type == 30;
}

static void put_tensor(gguf_bytes *infos, gguf_bytes *data, const odd_file *o, const char *name,
                       uint32_t type, uint64_t rows)
{
	uint32_t dtype = gguf_dtype(type);
	uint64_t size = rows * 256 / qs_block_elems(dtype) * qs_block_size(dtype);
	rng r;
	rng_seed(&r, is_float(type) ? 0 : o->seed, name, 0);
	gguf_put_info(infos, name, 2, (uint64_t[]){256, rows}, type, data->size);
	/* Every so often one value over and over, so that not all of it is noise. */
	for (uint64_t i = 0; i < size; i++) {
		uint8_t byte = i / 64 % 2 ? 0x3a : (uint8_t)rng_below(&r, 256);
		gguf_put(data, &byte, 1);
	}
	gguf_pad(data, o->alignment);
}

static const char *write_odd(void **state, const char *name, const odd_file *o)
{
	gguf_bytes b = {0}, data = {0}, infos = {0};
	for (uint32_t type = o->first; type < o->first + o->n_types; type++) {
		char tensor[30];
		snprintf(tensor, sizeof tensor, "type.%u", type);
		put_tensor(&infos, &data, o, tensor, type, 2);
	}
	if (o->main)
		put_tensor(&infos, &data, o, "main", o->main, 4);
	gguf_put_start(&b, o->version, o->n_types + (o->main != 0),
	               GGUF_ALL_TYPES + 2 + (o->split_count ? 3 : 0));
	gguf_put_key_text(&b, "general.architecture", "odd");
	gguf_put_all_types(&b);
	gguf_put_key_u32(&b, "general.alignment", o->alignment);
	if (o->split_count) {
		gguf_put_key(&b, "split.no", GGUF_U16);
		gguf_put(&b, &(uint16_t){(uint16_t)o->split_no}, 2);
		gguf_put_key(&b, "split.count", GGUF_U16);
		gguf_put(&b, &(uint16_t){(uint16_t)o->split_count}, 2);
		gguf_put_key(&b, "split.tensors.count", GGUF_I32);
		gguf_put_u32(&b, TYPES + 1);
	}
	gguf_put(&b, infos.data, infos.size);
	gguf_pad(&b, o->alignment);
	gguf_put(&b, data.data, data.size);
	const char *path = scratch_write(state, name, b.data, b.size);
	gguf_free(&b);
	gguf_free(&infos);
	gguf_free(&data);
	return path;
}

/* Packs one or two models and compares what comes back; names: of their files, NULL-terminated. */
static qstore_pack_result round_trip(void **state, const char *const *high, const char *const *low)
{
	char archive_path[1000], first[2][1000];
	qstore_error error;
	qstore_pack_result result;
	qstore_archive *archive;
	snprintf(archive_path, sizeof archive_path, "%s", scratch_path(state, "a.qstore"));
	snprintf(first[0], sizeof first[0], "%s", scratch_path(state, high[0]));
	snprintf(first[1], sizeof first[1], "%s", low ? scratch_path(state, low[0]) : "");
	qstore_pack_options options = {.high = first[0],
	                               .low = low ? first[1] : NULL,
	                               .output = archive_path,
	                               .quantize = QSTORE_QUANTIZE_NONE,
	                               .force = 1,
	                               .work = {.threads = 2}};
	if (qstore_pack(&options, &result, &error))
		fail_msg("pack: %s", error.text);
	assert_int_equal(result.n_variants, low ? 2 : 1);
	if (qstore_open(archive_path, &archive, &error))
		fail_msg("open: %s", error.text);
	for (uint32_t v = 0; v < result.n_variants; v++) {
		char out[1000], made[1200];
		qstore_variant_info info;
		qstore_get_variant(archive, v, &info);
		snprintf(out, sizeof out, "%s", scratch_path(state, v ? "out-high" : "out-low"));
		qstore_unpack_options unpack = {
		    .precision = info.name, .output = out, .force = 1, .work = {.threads = 2}};
		if (qstore_unpack(archive, &unpack, NULL, &error))
			fail_msg("unpack: %s", error.text);
		for (const char *const *name = v + 1 == result.n_variants ? high : low; *name; name++) {
			const char *slash = strrchr(*name, '/');
			snprintf(made, sizeof made, "%s/%s", out, slash ? slash + 1 : *name);
			expect_same_file(made, scratch_path(state, *name));
		}
	}
	qstore_close(archive);
	return result;
}

static void every_type(void **state)
{
	static const uint32_t alignments[] = {1, 8, 24, 32, 64, 4096};
	for (uint32_t version = 2; version <= 3; version++)
		for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
			odd_file o = {version, alignments[i], 1, 0, TYPES, 0, 0, 8};
			write_odd(state, "odd.gguf", &o);
			round_trip(state, (const char *const[]){"odd.gguf", NULL}, NULL);
			/* Beside another version of it, with the same floats. */
			o.seed = 2;
			o.main = 2;
			o.version = 5 - version;
			write_odd(state, "low/other.gguf", &o);
			round_trip(state, (const char *const[]){"odd.gguf", NULL},
			           (const char *const[]){"low/other.gguf", NULL});
		}
}

static void split_files(void **state)
{
	static const char *const names[] = {"s/m-00001-of-00003.gguf", "s/m-00002-of-00003.gguf",
	                                    "s/m-00003-of-00003.gguf", NULL};
	for (unsigned i = 0; i < 3; i++)
		write_odd(state, names[i], &(odd_file){3, 64, 1, i * TYPES / 3, TYPES / 3, i, 3, i == 2 ? 8 : 0});
	round_trip(state, names, NULL);
	write_odd(state, "whole.gguf", &(odd_file){3, 32, 1, 0, TYPES, 0, 0, 2});
	round_trip(state, names, (const char *const[]){"whole.gguf", NULL});
}

/* A file of two matrices of 256 columns: weights in BF16, or these as Q8_0. The first rows of the vocabulary
 * are the same in all files. */
static void write_vocabulary(void **state, const char *name, int is_q8_0, uint64_t rows)
{
	enum { COLS = 256 };
	static const char *const tensors[] = {"token_embd.weight", "blk.0.ffn_up.weight"};
	gguf_bytes b = {0}, data = {0}, infos = {0};
	for (size_t i = 0; i < 2; i++) {
		uint64_t n = i == 0 ? rows : 64;
		normal_table table;
		rng r;
		normal_table_init(&table);
		rng_seed(&r, 1, tensors[i], 0);
		gguf_put_info(&infos, tensors[i], 2, (uint64_t[]){COLS, n}, is_q8_0 ? 8 : 30, data.size);
		for (uint64_t row = 0; row < n; row++) {
			uint8_t bf16[2 * COLS], blocks[COLS / 32 * 34];
			float x[COLS];
			for (size_t j = 0; j < COLS; j++) {
				value_store(bf16, QS_BF16, j, (float)normal_next(&table, &r) * 0.02f);
				x[j] = value_round(QS_BF16, value_load(bf16, QS_BF16, j));
			}
			assert_true(qs_q8_0_quantize(x, COLS / 32, blocks));
			gguf_put(&data, is_q8_0 ? blocks : bf16, is_q8_0 ? sizeof(blocks) : sizeof(bf16));
		}
		gguf_pad(&data, 32);
	}
	gguf_put_start(&b, 3, 2, 1);
	gguf_put_key_text(&b, "general.architecture", "odd");
	gguf_put(&b, infos.data, infos.size);
	gguf_pad(&b, 32);
	gguf_put(&b, data.data, data.size);
	scratch_write(state, name, b.data, b.size);
	gguf_free(&b);
	gguf_free(&infos);
	gguf_free(&data);
}

/* Either model's vocabulary has more rows: those that both have are paired. */
static void pairs_padded_vocabularies(void **state)
{
	for (int more_in_low = 0; more_in_low < 2; more_in_low++) {
		write_vocabulary(state, "high.gguf", 0, more_in_low ? 96 : 104);
		write_vocabulary(state, "low/low.gguf", 1, more_in_low ? 104 : 96);
		qstore_pack_result result = round_trip(state, (const char *const[]){"high.gguf", NULL},
		                                       (const char *const[]){"low/low.gguf", NULL});
		assert_int_equal(result.n_paired, 2);
		assert_int_equal(result.paired_weights, (96 + 64) * 256);
		assert_int_equal(result.n_exceptions, 0);
		assert_int_equal(result.n_apart, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(every_type, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(split_files, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_padded_vocabularies, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
