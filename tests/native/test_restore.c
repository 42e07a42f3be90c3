/* Restoring through the public header: files, tensors and prefixes of an archive come back byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/bytes.h"
#include "core/index.h"
#include "read/escape.h"
#include "../generate/fixtures.h"
#include "archive_help.h"
#include "effort.h"
#include "scratch.h"

static void round_trip(void **state, const char *high, const char *low, const char *high_name)
{
	char *archive = copy_text(scratch_path(state, "a.qstore")), *out = copy_text(scratch_path(state, "out"));
	char path[1024];
	archive_pack(high, low, archive);
	archive_verify(archive);
	archive_unpack(archive, "all", out);
	snprintf(path, sizeof(path), "%s/%s", out, high_name);
	expect_same_folder(path, high);
	if (low) {
		snprintf(path, sizeof(path), "%s/int8", out);
		expect_same_folder(path, low);
	}
	free(archive);
	free(out);
}

static void restores_pairs(void **state)
{
	make_pair(state, QS_BF16);
	round_trip(state, scratch_path(state, "high"), scratch_path(state, "low"), "bf16");
}

/* Names that this system allows come back as they are, also where others would not allow them. */
static void restores_names_that_other_systems_refuse(void **state)
{
	static const char *const names[] = {"a\\b", "t 2024:07/x",      "c\nd", "nul",
	                                    "end.", "e\xc3\xa9*?\"<>|", "50%"};
	char name[60];
	make_pair(state, QS_BF16);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(name, sizeof(name), "high/%s", names[i]);
		scratch_write(state, name, names[i], strlen(names[i]));
	}
	round_trip(state, scratch_path(state, "high"), scratch_path(state, "low"), "bf16");
}

static void take_warning(void *user, const char *text)
{
	snprintf(user, 400, "%s", text);
}

/* Tensors of dtypes that have no name here are bytes, and no INT8 model is made with them. */
static void restores_foreign_dtypes(void **state)
{
	static const char *const json =
	    "{\"__metadata__\":null,\"w\":{\"dtype\":\"BF16\",\"shape\":[64,64],\"data_offsets\":[0,8192]},"
	    "\"f\":{\"dtype\":\"F8_E4M3FNUZ\",\"shape\":[64,64],\"data_offsets\":[8192,12288]},"
	    "\"g\":{\"dtype\":\"F6_E2M3\",\"shape\":[8],\"data_offsets\":[12288,12294]}}";
	char warning[400] = "";
	qstore_error error;
	scratch_safetensors(state, "m/model.safetensors", json, 12294);
	char *archive = copy_text(scratch_path(state, "a.qstore")), *out = copy_text(scratch_path(state, "out"));
	char *model = copy_text(scratch_path(state, "m"));
	qstore_pack_options options = {
	    .high = model, .output = archive, .work = {.on_warning = take_warning, .user = warning}};
	assert_int_equal(qstore_pack(&options, NULL, NULL), QSTORE_OK);
	assert_non_null(
	    strstr(warning, "tensor f is of a dtype that an INT8 model cannot be made with: none is made"));
	archive_verify(archive);
	archive_unpack(archive, "high", out);
	expect_same_folder(out, model);
	options.quantize = QSTORE_QUANTIZE_LLM_INT8;
	options.force = 1;
	assert_int_equal(qstore_pack(&options, NULL, &error), QSTORE_INPUT);
	assert_non_null(strstr(error.text, "pack with --quantize none"));
	free(model);
	free(archive);
	free(out);
}

static void escapes_names(void **state)
{
	static const char *const names[][2] = {
	    {"a/b.txt", "a/b.txt"},
	    {"50%/.x", "50%/.x"},
	    {"a\\b:c/50%:/x", "a%5Cb%3Ac/50%25%3A/x"},
	    {"*?\"<>|\n\x7f", "%2A%3F%22%3C%3E%7C%0A%7F"},
	    {"a./b /c..", "a%2E/b%20/c.%2E"},
	    {"NUL/con.txt/Com1 .a/lpt9/com10/aux-/conx", "%4EUL/%63on.txt/%43om1 .a/%6Cpt9/com10/aux-/conx"},
	    {"\xc3\xa9:", "\xc3\xa9%3A"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *escaped = qs_escape_name(names[i][0]);
		assert_string_equal(escaped, names[i][1]);
		free(escaped);
	}
	/* Parts are cut at whole characters and escapes. */
	for (size_t n = 240; n < 300; n++) {
		char name[400];
		memset(name, 'a', n);
		snprintf(name + n, sizeof(name) - n, "%s", "\xe6\x96\x87\xe6\x96\x87:::::/end");
		char *escaped = qs_escape_name(name), *slash = strchr(escaped, '/');
		assert_string_equal(slash, "/end");
		*slash = 0;
		assert_true(strlen(escaped) <= 255 && qs_text_is_utf8(escaped, 1000));
		if (strlen(name) - 10 > 255) {
			const char *tilde = strrchr(escaped, '~');
			assert_int_equal(strlen(tilde), 9);
			assert_true(tilde - escaped > 240 && tilde[-1] != '%' && tilde[-2] != '%');
		}
		free(escaped);
	}
}

static void restores_fp16_pairs(void **state)
{
	make_pair(state, QS_F16);
	round_trip(state, scratch_path(state, "high"), scratch_path(state, "low"), "fp16");
}

static void restores_what_it_quantized(void **state)
{
	make_pair(state, QS_BF16);
	round_trip(state, scratch_path(state, "high"), NULL, "bf16");
	/* The generator's twin was made by the same rule: same codes, in another order. */
	qstore_archive *archive;
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	const char *all[] = {"*.SCB", "*proj.weight", NULL};
	qstore_unpack_options options = {
	    .precision = "low", .output = scratch_path(state, "made"), .tensors = all};
	assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
	qstore_close(archive);
	assert_true(scratch_exists(scratch_path(state, "out/int8/config.json")));
	assert_false(scratch_exists(scratch_path(state, "out/int8/model.safetensors.index.json")));
	size_t size;
	char *config = (char *)scratch_read(scratch_path(state, "out/int8/config.json"), &size);
	config[size] = 0;
	assert_non_null(strstr(config, "\"quant_method\": \"bitsandbytes\""));
	assert_non_null(strstr(config, "\"load_in_8bit\": true"));
	free(config);
}

static void restores_fixtures(void **state)
{
	const char *name;
	for (unsigned i = 0; (name = fixture_name(i, NULL)); i += 9 / effort_of(9)) {
		char high[64], low[64];
		snprintf(high, sizeof(high), "%s/high", name);
		snprintf(low, sizeof(low), "%s/low", name);
		char *high_path = copy_text(scratch_path(state, high)),
		     *low_path = copy_text(scratch_path(state, low));
		char *archive = copy_text(scratch_path(state, "f.qstore"));
		int has_low = strcmp(name, "gaps") != 0;
		assert_true(generate_fixture(name, 3, high_path, has_low ? low_path : NULL));
		for (int mode = 0; mode < 3; mode++) {
			if (mode == 1 && !has_low)
				continue;
			qstore_pack_result result;
			archive_pack_with(
			    (qstore_pack_options){.high = high_path,
			                          .low = mode == 1 ? low_path : NULL,
			                          .quantize = mode == 2 ? QSTORE_QUANTIZE_NONE : QSTORE_QUANTIZE_LLM_INT8,
			                          .output = archive,
			                          .force = 1},
			    &result);
			char out[128];
			snprintf(out, sizeof(out), "%s/out%d", name, mode);
			char *out_path = copy_text(scratch_path(state, out));
			archive_unpack(archive, "high", out_path);
			expect_same_folder(out_path, high_path);
			free(out_path);
			if (mode != 1)
				continue;
			snprintf(out, sizeof(out), "%s/outlow", name);
			out_path = copy_text(scratch_path(state, out));
			archive_unpack(archive, "low", out_path);
			expect_same_folder(out_path, low_path);
			free(out_path);
		}
		free(high_path);
		free(low_path);
		free(archive);
	}
}

/* A name of more than 100 bytes. */
#define LONG_NAME                                                                                            \
	"high/n123456789/n123456789/n123456789/n123456789/n123456789/n123456789/n123456789/n123456789/"          \
	"n123456789/n12345/long"

static void restores_odd_names(void **state)
{
	static const char *const names[] = {
	    "high/config.json",   "high/config.json.zst", "high/qstore/index",
	    "high/_qstore/index", "high/empty",           "high/mod\xc3\xa8le/\xe5\x90\x8d.txt",
	    "high/a b",           "high/sub/sub/x",       LONG_NAME,
	};
	make_pair(state, QS_BF16);
	char *text = calloc(1, 40000);
	assert_non_null(text);
	memset(text, 'x', 40000);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		scratch_write(state, names[i], text, i == 4 ? 0 : i == 0 ? 40000 : 10 * i);
	/* Different from HIGH's, the same, and one that only LOW has. */
	scratch_write(state, "low/a b", "low", 3);
	scratch_write(state, "low/sub/sub/x", text, 70);
	scratch_write(state, "low/only", "1", 1);
	free(text);
	round_trip(state, scratch_path(state, "high"), scratch_path(state, "low"), "bf16");
}

static void restores_single_files(void **state)
{
	char high[1024], low[1024];
	make_pair(state, QS_BF16);
	snprintf(high, sizeof(high), "%s", scratch_path(state, "high/model-00001-of-00002.safetensors"));
	snprintf(low, sizeof(low), "%s", scratch_path(state, "low/model-00001-of-00002.safetensors"));
	archive_pack(high, low, scratch_path(state, "one.qstore"));
	archive_unpack(scratch_path(state, "one.qstore"), "all", scratch_path(state, "out"));
	expect_same_file(scratch_path(state, "out/bf16/model-00001-of-00002.safetensors"), high);
	expect_same_file(scratch_path(state, "out/int8/model-00001-of-00002.safetensors"), low);
}

static void prefix_holds_the_coarse_variant(void **state)
{
	make_pair(state, QS_BF16);
	char *path = copy_text(scratch_path(state, "a.qstore")),
	     *prefix = copy_text(scratch_path(state, "prefix"));
	archive_pack(scratch_path(state, "high"), scratch_path(state, "low"), path);
	qstore_archive *archive;
	qstore_variant_info low;
	assert_int_equal(qstore_open(path, &archive, NULL), QSTORE_OK);
	qstore_get_variant(archive, 0, &low);
	size_t size, download_size = (size_t)low.download_size;
	qstore_close(archive);
	uint8_t *data = scratch_read(path, &size);
	assert_true(download_size < size);
	write_file(prefix, data, download_size);
	archive_unpack(prefix, "low", scratch_path(state, "out"));
	expect_same_folder(scratch_path(state, "out"), scratch_path(state, "low"));
	expect_unpack_fails(prefix, scratch_path(state, "out2"), QSTORE_TRUNCATED, "int8 is complete");
	write_file(prefix, data, download_size - 1);
	expect_unpack_fails(prefix, scratch_path(state, "out3"), QSTORE_TRUNCATED, "prefix: ends too early");
	free(data);
	free(path);
	free(prefix);
}

static void restores_tensors(void **state)
{
	static const char json[] =
	    "{\"b\\\"\\u00e9\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[1,13]},"
	    "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}";
	uint8_t model[8 + sizeof(json) + 13];
	qs_store64(model, sizeof(json) - 1);
	memcpy(model + 8, json, sizeof(json) - 1);
	memcpy(model + 8 + sizeof(json) - 1, "abcdefghijklm", 13);
	scratch_write(state, "tiny/model.safetensors", model, sizeof(model) - 1);
	archive_pack(scratch_path(state, "tiny"), NULL, scratch_path(state, "tiny.qstore"));
	qstore_archive *archive;
	qstore_error error;
	const char *names[] = {"b*", "a", NULL}, *files[] = {"*nothing", NULL};
	qstore_unpack_options options = {.output = scratch_path(state, "out"), .tensors = names};
	qstore_unpack_result result;
	assert_int_equal(qstore_open(scratch_path(state, "tiny.qstore"), &archive, NULL), QSTORE_OK);
	if (qstore_unpack(archive, &options, &result, &error))
		fail_msg("%s", error.text);
	assert_int_equal(result.n_files, 1);
	static const char header[] =
	    "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},"
	    "\"b\\\"\xc3\xa9\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[1,13]}}";
	size_t size, header_size = (sizeof(header) - 1 + 7) / 8 * 8;
	uint8_t *data = scratch_read(scratch_path(state, "out/tensors.safetensors"), &size);
	assert_int_equal(qs_load64(data), header_size);
	assert_int_equal(size, 8 + header_size + 13);
	assert_memory_equal(data + 8, header, sizeof(header) - 1);
	for (size_t i = sizeof(header) - 1; i < header_size; i++)
		assert_int_equal(data[8 + i], ' ');
	assert_memory_equal(data + 8 + header_size, "abcdefghijklm", 13);
	free(data);
	/* A pattern that matches nothing is an error, and so is an output that exists. */
	qstore_status got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_EXISTS, "tensors.safetensors: exists already");
	options.output = scratch_path(state, "out2");
	options.files = files;
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_NOT_FOUND, "*nothing");
	options.files = NULL;
	names[1] = "c";
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_NOT_FOUND, "no tensor c");
	options.tensors = NULL;
	options.precision = "int4";
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_NOT_FOUND, "int4");
	assert_false(scratch_exists(scratch_path(state, "out2")));
	qstore_close(archive);
}

static void restores_one_file(void **state)
{
	make_pair(state, QS_BF16);
	archive_pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	qstore_archive *archive;
	const char *files[] = {"config.json", "*-00002-*", NULL};
	qstore_unpack_options options = {.output = scratch_path(state, "out"), .files = files};
	qstore_unpack_result result;
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	assert_int_equal(qstore_unpack(archive, &options, &result, NULL), QSTORE_OK);
	qstore_close(archive);
	assert_int_equal(result.n_files, 2);
	assert_int_equal(n_entries(scratch_path(state, "out")), 2);
	expect_same_file(scratch_path(state, "out/model-00002-of-00002.safetensors"),
	                 scratch_path(state, "high/model-00002-of-00002.safetensors"));
}

static void replaces_only_when_forced(void **state)
{
	generate_fixture("clean", 1, scratch_path(state, "high"), NULL);
	archive_pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	qstore_archive *archive;
	qstore_error error;
	qstore_unpack_options options = {.output = scratch_path(state, "out")};
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	scratch_write(state, "out/mine.txt", "mine", 4);
	scratch_write(state, "out/model.safetensors", "old", 3);
	qstore_status got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_EXISTS, "out/model.safetensors: exists already");
	size_t size;
	free(scratch_read(scratch_path(state, "out/model.safetensors"), &size));
	assert_int_equal(size, 3);
	assert_int_equal(n_entries(scratch_path(state, "out")), 2);
	options.force = 1;
	assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
	expect_same_file(scratch_path(state, "out/model.safetensors"),
	                 scratch_path(state, "high/model.safetensors"));
	assert_true(scratch_exists(scratch_path(state, "out/mine.txt")));
	options.output = scratch_write(state, "file", "", 0);
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_EXISTS, "file: exists and is not a folder");
	qstore_close(archive);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	    TEST(restores_pairs),
	    TEST(restores_names_that_other_systems_refuse),
	    TEST(restores_foreign_dtypes),
	    TEST(escapes_names),
	    TEST(restores_fp16_pairs),
	    TEST(restores_what_it_quantized),
	    TEST(restores_fixtures),
	    TEST(restores_odd_names),
	    TEST(restores_single_files),
	    TEST(prefix_holds_the_coarse_variant),
	    TEST(restores_tensors),
	    TEST(restores_one_file),
	    TEST(replaces_only_when_forced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
