/* Q8_0: its arithmetic against ggml's own words for it, which tensors get it, and the file around them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quantize/q8_0.h"
#include "quantize/q8_0_gguf.h"
#include "../generate/gguf_writer.h"
#include "../generate/random.h"
#include "../generate/values.h"
#include "scratch.h"

#define DATA "../shared/data/tiny1m-llama/"

/* A block with the C library's roundf, and a conversion to FP16 of its own. */
static void quantize_slowly(const float *x, uint8_t *dst)
{
	float largest = 0;
	for (int i = 0; i < 32; i++)
		largest = fmaxf(largest, fabsf(x[i]));
	float d = largest / 127, inverse = d != 0 ? 1 / d : 0;
	value_store(dst, QS_F16, 0, d);
	for (int i = 0; i < 32; i++)
		dst[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
}

static void expect_block(const float *x)
{
	uint8_t made[34], expected[34];
	assert_int_equal(qs_q8_0_quantize(x, 1, made), 1);
	quantize_slowly(x, expected);
	assert_memory_equal(made, expected, 34);
}

static void rounds_as_ggml(void **state)
{
	normal_table table;
	rng r;
	float x[32];
	(void)state;
	normal_table_init(&table);
	rng_seed(&r, 1, "q8_0", 0);
	for (int exponent = -110; exponent <= 20; exponent++) {
		for (int round = 0; round < 200; round++) {
			for (int i = 0; i < 32; i++)
				x[i] = value_round(round % 2 ? QS_BF16 : QS_F32,
				                   ldexpf((float)normal_next(&table, &r), exponent));
			expect_block(x);
		}
	}
	/* With 127 the factor is 1: every half, and its neighbours. */
	for (int half = -253; half <= 253; half++) {
		for (int i = 0; i < 32; i++)
			x[i] = (float)half / 2;
		x[0] = 127;
		x[1] = nextafterf(x[1], 200);
		x[2] = nextafterf(x[2], -200);
		expect_block(x);
	}
	memset(x, 0, sizeof x);
	expect_block(x);
	x[7] = -0.0f;
	expect_block(x);
}

static void tells_what_cannot_be_stored(void **state)
{
	static const float bad[] = {INFINITY, -INFINITY, NAN, 9e6f, -3e38f};
	uint8_t made[2 * 34];
	float x[64] = {1, 2, 3};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		x[5] = bad[i];
		assert_int_equal(qs_q8_0_quantize(x, 2, made), 0);
	}
	x[5] = 8.3e6f; /* 65354 × 127 */
	assert_int_equal(qs_q8_0_quantize(x, 2, made), 1);
	x[0] = x[1] = x[2] = x[5] = 0;
	x[3] = 1e-44f; /* the inverse of its d is infinite: no code is anything but 0 */
	assert_int_equal(qs_q8_0_quantize(x, 1, made), 1);
	assert_memory_equal(made, (uint8_t[34]){0}, 34);
}

static void selects_what_llama_quantize_does(void **state)
{
	static const struct {
		const char *name;
		uint32_t dtype, n_dims;
		uint64_t dims[4];
		int selected;
	} cases[] = {
	    {"blk.0.attn_q.weight", QS_BF16, 2, {64, 64}, 1},
	    {"token_embd.weight", QS_F16, 2, {5, 32}, 1},
	    {"output.weight", QS_F32, 2, {5, 32}, 1},
	    {"blk.3.ffn_up_exps.weight", QS_BF16, 3, {8, 64, 64}, 1},
	    {"weight", QS_BF16, 2, {64, 64}, 1},
	    {"blk.0.attn_q.bias", QS_BF16, 2, {64, 64}, 0},
	    {"blk.0.attn_q.weights", QS_BF16, 2, {64, 64}, 0},
	    {"blk.0.attn_q.weight", QS_BF16, 1, {64}, 0},
	    {"blk.0.attn_q.weight", QS_BF16, 2, {1, 64}, 0},
	    {"blk.0.attn_q.weight", QS_BF16, 2, {64, 48}, 0},
	    {"blk.0.attn_q.weight", QS_BF16, 0, {0}, 0},
	    {"blk.0.attn_q.weight", QS_Q4_0, 2, {64, 64}, 0},
	    {"blk.0.ffn_gate_tid2eid.weight", QS_I32, 2, {64, 64}, 0},
	    {"blk.0.attn_norm.weight", QS_F32, 2, {64, 64}, 0},
	    {"blk.0.ffn_gate_inp.weight", QS_F32, 2, {8, 64}, 0},
	    {"position_embd.weight", QS_F32, 2, {64, 64}, 0},
	    {"blk.0.ssm_conv1d.weight", QS_F32, 2, {64, 32}, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t dims[4];
		memcpy(dims, cases[i].dims, sizeof dims);
		qs_weight tensor = {
		    .name = (char *)cases[i].name, .dtype = cases[i].dtype, .n_dims = cases[i].n_dims, .dims = dims};
		if (qs_gguf_q8_0_selects(&tensor) != cases[i].selected)
			fail_msg("%s (case %zu)", cases[i].name, i);
	}
}

enum { TYPE_F32 = 0, TYPE_BF16 = 30 };

/* Names and numbers of the metadata, one after the other. */
static void expect_entries(const char *path, const char *const *keys, size_t n)
{
	gguf_source source;
	gguf_entry entry;
	qstore_error error;
	assert_int_equal(gguf_source_open(&source, path, &error), QSTORE_OK);
	assert_int_equal(source.version, 3);
	assert_int_equal(source.n_entries, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(gguf_next_entry(&source, &entry), QSTORE_OK);
		assert_string_equal(entry.key, keys[i]);
	}
	gguf_source_close(&source);
}

/* The file that the header says, of zeros; what is read of it must be what was planned. */
static const char *write_planned(void **state, const char *name, const uint8_t *header, size_t size,
                                 const qs_weights *planned)
{
	qs_weights file;
	qstore_error error;
	uint8_t *bytes = calloc(1, (size_t)planned->file_size);
	memcpy(bytes, header, size);
	const char *path = scratch_write(state, name, bytes, (size_t)planned->file_size);
	free(bytes);
	if (qs_gguf_open(&file, path, &error))
		fail_msg("%s", error.text);
	assert_int_equal(file.header_size, size);
	assert_int_equal(file.header_size, planned->header_size);
	assert_int_equal(file.file_size, planned->file_size);
	assert_int_equal(file.n_tensors, planned->n_tensors);
	for (size_t i = 0; i < file.n_tensors; i++) {
		const qs_weight *a = &file.tensors[i], *b = &planned->tensors[i];
		assert_string_equal(a->name, b->name);
		assert_int_equal(a->dtype, b->dtype);
		assert_int_equal(a->offset, b->offset);
		assert_int_equal(a->size, b->size);
	}
	const qs_weight *last = &file.tensors[file.n_tensors - 1];
	assert_true(file.file_size - last->offset - last->size < 64);
	qs_weights_close(&file);
	return path;
}

static void plan_header(void **state, const char *source_path, const char *const *keys, size_t n_keys,
                        const char *const *names, qs_weights *planned)
{
	qs_weights source;
	qstore_error error;
	uint8_t *header;
	size_t size;
	assert_int_equal(qs_gguf_open(&source, source_path, &error), QSTORE_OK);
	if (qs_gguf_q8_0_header(source_path, &source, &header, &size, planned, &error))
		fail_msg("%s", error.text);
	expect_entries(write_planned(state, "made.gguf", header, size, planned), keys, n_keys);
	for (size_t i = 0; i < planned->n_tensors; i++)
		assert_string_equal(planned->tensors[i].name, names[i]);
	free(header);
	qs_weights_close(&source);
}

static const char *write_source(void **state, const char *name, int is_shard)
{
	gguf_bytes b = {0};
	gguf_put_start(&b, 2, 4, is_shard ? 8 : 5);
	gguf_put_key_u32(&b, "general.file_type", 32);
	gguf_put_key_text(&b, "general.architecture", "llama");
	gguf_put_key_u32(&b, "general.alignment", 64);
	gguf_put_array(&b, "tokens", GGUF_STRING, 2);
	gguf_put_text(&b, "a");
	gguf_put_text(&b, "bc");
	gguf_put_key_u32(&b, "general.quantization_version", 1);
	if (is_shard) {
		gguf_put_key(&b, "split.no", GGUF_U16);
		gguf_put(&b, "\0\0", 2);
		gguf_put_key(&b, "split.count", GGUF_U16);
		gguf_put(&b, "\2\0", 2);
		gguf_put_key_u32(&b, "split.tensors.count", 8);
	}
	gguf_put_info(&b, "token_embd.weight", 2, (uint64_t[]){32, 3}, TYPE_BF16, 0);
	gguf_put_info(&b, "blk.10.ffn_up.weight", 3, (uint64_t[]){64, 2, 1}, TYPE_BF16, 192);
	gguf_put_info(&b, "blk.9.attn_norm.weight", 1, (uint64_t[]){32}, TYPE_F32, 448);
	gguf_put_info(&b, "blk.9.attn_k.weight", 2, (uint64_t[]){16, 2}, TYPE_BF16, 576);
	gguf_pad(&b, 64);
	gguf_put(&b, (uint8_t[640]){0}, 640);
	const char *path = scratch_write(state, name, b.data, b.size);
	gguf_free(&b);
	return path;
}

static void makes_the_header_of_a_file(void **state)
{
	static const char *const keys[] = {"general.architecture", "general.alignment", "tokens",
	                                   "general.quantization_version", "general.file_type"};
	static const char *const names[] = {"token_embd.weight", "blk.9.attn_k.weight", "blk.9.attn_norm.weight",
	                                    "blk.10.ffn_up.weight"};
	qs_weights planned;
	qs_gguf_info info;
	qstore_error error;
	plan_header(state, write_source(state, "source.gguf", 0), keys, 5, names, &planned);
	assert_int_equal(planned.tensors[0].dtype, QS_Q8_0);
	assert_int_equal(planned.tensors[0].size, 3 * 34);
	assert_int_equal(planned.tensors[1].dtype, QS_BF16); /* rows of half a block */
	assert_int_equal(planned.tensors[2].dtype, QS_F32);
	assert_int_equal(planned.tensors[3].size, 4 * 34);
	assert_int_equal(planned.tensors[3].offset, planned.header_size + 128 + 64 + 128);
	qs_weights_close(&planned);
	assert_int_equal(qs_gguf_read_info(&info, scratch_path(state, "made.gguf"), &error), QSTORE_OK);
	assert_int_equal(info.file_type, 7);
	assert_int_equal(info.alignment, 64);
}

/* A shard stays one, in its own order. */
static void makes_the_header_of_a_shard(void **state)
{
	static const char *const keys[] = {
	    "general.architecture", "general.alignment", "tokens",      "general.quantization_version",
	    "general.file_type",    "split.no",          "split.count", "split.tensors.count"};
	static const char *const names[] = {"token_embd.weight", "blk.10.ffn_up.weight", "blk.9.attn_norm.weight",
	                                    "blk.9.attn_k.weight"};
	qs_weights planned;
	qs_gguf_info info;
	qstore_error error;
	plan_header(state, write_source(state, "source.gguf", 1), keys, 8, names, &planned);
	qs_weights_close(&planned);
	assert_int_equal(qs_gguf_read_info(&info, scratch_path(state, "made.gguf"), &error), QSTORE_OK);
	assert_int_equal(info.split_no, 0);
	assert_int_equal(info.split_count, 2);
	assert_int_equal(info.split_tensors, 8);
}

/* A real model's Q8_0 file, made of its BF16 file by another implementation: the same tensors with the same
 * bytes. (It keeps the source's order of keys and tensors, as a converter does, so that the files differ.) */
static void makes_a_real_models_blocks(void **state)
{
	qs_weights source, real, planned;
	qstore_error error;
	uint8_t *header;
	size_t size, n_blocks = 0;
	if (!scratch_exists(DATA "tiny1m-q8_0.gguf")) {
		skip();
		return;
	}
	(void)state;
	assert_int_equal(qs_gguf_open(&source, DATA "tiny1m-bf16.gguf", &error), QSTORE_OK);
	assert_int_equal(qs_gguf_open(&real, DATA "tiny1m-q8_0.gguf", &error), QSTORE_OK);
	assert_int_equal(qs_gguf_q8_0_header(source.path, &source, &header, &size, &planned, &error), QSTORE_OK);
	uint8_t *from = scratch_read(source.path, &size), *to = scratch_read(real.path, &size);
	assert_int_equal(planned.n_tensors, real.n_tensors);
	for (size_t t = 0; t < planned.n_tensors; t++) {
		const qs_weight *tensor = &planned.tensors[t], *found = qs_weights_find(&real, tensor->name),
		                *origin = qs_weights_find(&source, tensor->name);
		assert_non_null(found);
		assert_int_equal(tensor->dtype, found->dtype);
		assert_int_equal(tensor->size, found->size);
		if (tensor->dtype != QS_Q8_0) {
			assert_memory_equal(from + origin->offset, to + found->offset, (size_t)found->size);
			continue;
		}
		for (uint64_t b = 0; b < tensor->size / 34; b++, n_blocks++) {
			uint8_t made[34];
			float x[32];
			for (uint64_t i = 0; i < 32; i++)
				x[i] = value_load(from + origin->offset, origin->dtype, 32 * b + i);
			qs_q8_0_quantize(x, 1, made);
			assert_memory_equal(made, to + found->offset + 34 * b, 34);
		}
	}
	assert_true(n_blocks > 1000);
	free(from);
	free(to);
	free(header);
	qs_weights_close(&source);
	qs_weights_close(&real);
	qs_weights_close(&planned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rounds_as_ggml),
	    cmocka_unit_test(tells_what_cannot_be_stored),
	    cmocka_unit_test(selects_what_llama_quantize_does),
	    cmocka_unit_test_setup_teardown(makes_the_header_of_a_file, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(makes_the_header_of_a_shard, scratch_setup, scratch_teardown),
	    cmocka_unit_test(makes_a_real_models_blocks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
