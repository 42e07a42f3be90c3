/* The public header: what its calls tell of an archive, and that archives do not depend on the number of
 * threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/index.h"
#include "archive_help.h"
#include "scratch.h"

static void same_bytes_for_any_number_of_threads(void **state)
{
	static const unsigned threads[] = {1, 2, 5};
	make_pair(state, QS_BF16);
	for (int with_low = 0; with_low < 2; with_low++) {
		for (size_t i = 0; i < 3; i++) {
			archive_pack_with(
			    (qstore_pack_options){.high = scratch_path(state, "high"),
			                          .low = with_low ? scratch_path(state, "low") : NULL,
			                          .output = scratch_path(state, i == 0 ? "1.qstore" : "n.qstore"),
			                          .compare = i == 1,
			                          .force = 1,
			                          .work = {.threads = threads[i]}},
			    NULL);
			if (i > 0)
				expect_same_file(scratch_path(state, "1.qstore"), scratch_path(state, "n.qstore"));
		}
	}
}

static void tells_what_is_inside(void **state)
{
	make_pair(state, QS_BF16);
	qstore_pack_result result;
	archive_pack_with((qstore_pack_options){.high = scratch_path(state, "high"),
	                                        .low = scratch_path(state, "low"),
	                                        .output = scratch_path(state, "a.qstore"),
	                                        .compare = 1},
	                  &result);
	qstore_archive *archive;
	qstore_archive_info info;
	qstore_variant_info low, high;
	uint32_t number;
	qstore_error error;
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	qstore_get_info(archive, &info);
	qstore_get_variant(archive, 0, &low);
	qstore_get_variant(archive, 1, &high);
	assert_string_equal(low.name, "int8");
	assert_string_equal(high.name, "bf16");
	assert_null(low.coarser);
	assert_string_equal(high.coarser, "int8");
	assert_int_equal(result.archive_size, info.archive_size);
	assert_int_equal(info.archive_size, info.file_size);
	assert_int_equal(result.variants[0].download_size, low.download_size);
	assert_int_equal(result.variants[1].raw_size, high.raw_size);
	assert_true(result.variants[0].zstd_size > low.download_size);
	assert_true(result.n_paired == 14 && result.n_equal > 0 && result.n_exceptions == 0);
	assert_true(result.paired_size * 8 < result.paired_weights * 11);
	assert_int_equal(qstore_find_variant(archive, "low", &number, NULL), QSTORE_OK);
	assert_int_equal(number, 0);
	assert_int_equal(qstore_find_variant(archive, "high", &number, NULL), QSTORE_OK);
	assert_int_equal(number, 1);
	assert_int_equal(qstore_find_variant(archive, "fp16", &number, &error), QSTORE_NOT_FOUND);
	assert_non_null(strstr(error.text, "only int8, bf16"));
	unsigned n_refined = 0;
	for (uint32_t i = 0; i < info.n_tensors; i++) {
		qstore_tensor_info tensor;
		qstore_get_tensor(archive, i, &tensor);
		if (strcmp(tensor.kind, "refine") != 0)
			continue;
		n_refined++;
		/* Eight bits of a row's range: about 48 dB. */
		assert_true(tensor.error > 1e-6 && tensor.error < 1e-3);
		assert_int_equal(tensor.n_dims, 2);
		assert_int_equal(qstore_get_tensor_dim(archive, i, 0) * qstore_get_tensor_dim(archive, i, 1),
		                 tensor.n_elems);
	}
	assert_int_equal(n_refined, 14);
	qstore_close(archive);
	qstore_close(NULL);
	assert_string_equal(qstore_version(), QSTORE_VERSION_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	    TEST(same_bytes_for_any_number_of_threads),
	    TEST(tells_what_is_inside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
