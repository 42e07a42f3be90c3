/* Safetensors headers: what is read, what is refused with which words, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/safetensors.h"
#include "scratch.h"

#define BF16_10 "{\"dtype\":\"BF16\",\"shape\":[2,5],\"data_offsets\":[0,20]}"

/* The file must be refused, and the one line about it must hold the file's name and both of these. */
static void expect_path(const char *path, const char *tensor, const char *what)
{
	qs_weights file;
	qstore_error error = {0};
	qstore_status status = qs_safetensors_open(&file, path, &error);
	qs_weights_close(&file);
	if (status != QSTORE_INPUT || !strstr(error.text, "model.safetensors") || !strstr(error.text, tensor) ||
	    !strstr(error.text, what) || error.status != status || strpbrk(error.text, "\n\r\t"))
		fail_msg("status %d, \"%s\", expected \"%s\" and \"%s\"", status, error.text, tensor, what);
}

static void expect(void **state, const char *json, size_t data_size, const char *tensor, const char *what)
{
	expect_path(scratch_safetensors(state, "model.safetensors", json, data_size), tensor, what);
}

static void open_file(qs_weights *file, const char *path)
{
	qstore_error error = {0};
	if (qs_safetensors_open(file, path, &error))
		fail_msg("%s", error.text);
}

static void open_json(void **state, qs_weights *file, const char *json, size_t data_size)
{
	open_file(file, scratch_safetensors(state, "model.safetensors", json, data_size));
}

static void reads_tensors_in_order_of_offset(void **state)
{
	const char *json =
	    "{\"__metadata__\":{\"format\":\"pt\",\"\":\"\"},"
	    "\"z\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[20,32]},"
	    "\"a\":" BF16_10 ","
	    "\"nothing\":{\"dtype\":\"I64\",\"shape\":[4,0],\"data_offsets\":[20,20]},"
	    "\"one\":{\"dtype\":\"F8_E4M3\",\"shape\":[],\"data_offsets\":[32,33],\"more\":[1]}}  \n";
	static const char *const names[] = {"a", "nothing", "z", "one"};
	qs_weights file;
	open_json(state, &file, json, 33);
	assert_int_equal(file.n_tensors, 4);
	assert_int_equal(file.header_size, 8 + strlen(json));
	assert_int_equal(file.file_size, 8 + strlen(json) + 33);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(file.tensors[i].name, names[i]);
		assert_ptr_equal(qs_weights_find(&file, names[i]), &file.tensors[i]);
	}
	assert_null(qs_weights_find(&file, "b"));
	assert_null(qs_weights_find(&file, ""));
	assert_int_equal(file.tensors[0].dtype, QS_BF16);
	assert_int_equal(file.tensors[0].n_dims, 2);
	assert_int_equal(file.tensors[0].dims[1], 5);
	assert_int_equal(file.tensors[0].offset, file.header_size);
	assert_int_equal(file.tensors[0].size, 20);
	assert_int_equal(file.tensors[3].n_dims, 0);
	assert_int_equal(file.tensors[3].size, 1);
	qs_weights_close(&file);
}

static void accepts_gaps_trailing_bytes_and_no_tensors(void **state)
{
	qs_weights file;
	open_json(state, &file,
	          "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[5,8]},"
	          "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[11,13]}}",
	          100);
	assert_int_equal(file.n_tensors, 2);
	assert_int_equal(file.tensors[1].offset, file.header_size + 11);
	qs_weights_close(&file);
	open_json(state, &file, "{}", 0);
	assert_int_equal(file.n_tensors, 0);
	assert_null(qs_weights_find(&file, "a"));
	qs_weights_close(&file);
}

static void knows_every_dtype(void **state)
{
	static const char *const names[] = {"BOOL", "U8",  "I8",   "F8_E4M3", "F8_E5M2", "U16",
	                                    "I16",  "F16", "BF16", "U32",     "I32",     "F32",
	                                    "U64",  "I64", "F64",  "C64",     "F8_E8M0"};
	static const unsigned sizes[] = {1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8, 1};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char json[200];
		qs_weights file;
		snprintf(json, sizeof json, "{\"t\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%u]}}",
		         names[i], 3 * sizes[i]);
		open_json(state, &file, json, 3 * sizes[i]);
		assert_string_equal(qs_dtype_name(file.tensors[0].dtype), names[i]);
		qs_weights_close(&file);
	}
}

/* Types that have no dtype here are bytes. */
static void keeps_other_dtypes_as_bytes(void **state)
{
	static const struct {
		const char *dtype, *shape;
		unsigned size;
	} good[] = {{"F4", "[4]", 2},          {"F4", "[2,3]", 3},          {"F6_E2M3", "[4]", 3},
	            {"F6_E3M2", "[2,1,2]", 3}, {"F8_E4M3FNUZ", "[2,2]", 4}, {"F8_E5M2FNUZ", "[]", 1},
	            {"F8_E5M2FNUZ", "[0]", 0}, {"Q77", "[4]", 2},           {"I1", "[8,2]", 2},
	            {"C128", "[]", 16},        {"bytes", "[2]", 2},         {"Q4_0", "[32]", 16},
	            {"Q77", "[3,0]", 0}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char json[200];
		qs_weights file;
		snprintf(json, sizeof json, "{\"t\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%u]}}",
		         good[i].dtype, good[i].shape, good[i].size);
		open_json(state, &file, json, good[i].size);
		assert_int_equal(file.tensors[0].dtype, QS_BYTES);
		assert_int_equal(file.tensors[0].size, good[i].size);
		assert_int_equal(file.tensors[0].n_dims, 1);
		assert_int_equal(file.tensors[0].dims[0], good[i].size);
		qs_weights_close(&file);
	}
}

static void refuses_dtypes_whose_sizes_do_not_fit(void **state)
{
	expect(state, "{\"my.w\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3, "my.w",
	       "shape [4] of F4 needs 2 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"F4\",\"shape\":[5],\"data_offsets\":[0,3]}}", 3, "my.w",
	       "does not end with a whole byte");
	expect(state, "{\"my.w\":{\"dtype\":\"F6_E2M3\",\"shape\":[6],\"data_offsets\":[0,5]}}", 5, "my.w",
	       "does not end with a whole byte");
	expect(state, "{\"my.w\":{\"dtype\":\"F8_E4M3FNUZ\",\"shape\":[2,3],\"data_offsets\":[0,5]}}", 5, "my.w",
	       "shape [2, 3] of F8_E4M3FNUZ needs 6 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"Q77\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "my.w",
	       "unknown dtype \"Q77\", and 2 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"Q77\",\"shape\":[3],\"data_offsets\":[0,0]}}", 2, "my.w",
	       "unknown dtype");
	expect(state, "{\"my.w\":{\"dtype\":\"Q77\",\"shape\":[0],\"data_offsets\":[0,1]}}", 2, "my.w",
	       "unknown dtype");
	expect(state, "{\"my.w\":{\"dtype\":\"Q77\",\"shape\":[8],\"data_offsets\":[0,4]}}", 3, "my.w",
	       "ends at byte 4");
	expect(state, "{\"my.w\":{\"dtype\":\"F4\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 2,
	       "my.w", "2^64 bytes");
	expect(state, "{\"my.w\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,2]}}", 2, "my.w", "no dtype");
	expect(state, "{\"my.w\":{\"shape\":[4],\"data_offsets\":[0,2]}}", 2, "my.w", "no dtype");
}

/* The expectations are those of the reference reader (serde's Option and HashMap). */
static void reads_odd_metadata(void **state)
{
	static const char *const good[] = {
	    "null",
	    "{}",
	    "{\"format\":\"pt\",\"format\":\"pt\"}",
	    "{\"a\":\"1\",\"\\u0061\":\"2\",\"a\":\"3\"}",
	    "{\"\":\"\",\"\xc3\xa9\":\"\\ud83d\\ude00 \\\"\\/\\b\\f\\n\\r\\t\\\\ \\u00e9\"}",
	};
	static const char *const bad[][2] = {
	    {"{\"format\":null}", "\"format\" is not a string"},
	    {"{\"step\":1200}", "\"step\" is not a string"},
	    {"[]", "neither an object nor null"},
	    {"\"pt\"", "neither an object nor null"},
	    {"{\"a\":\"1\"},\"__metadata__\":null", "twice"},
	};
	char json[300];
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		qs_weights file;
		snprintf(json, sizeof json, "{\"__metadata__\":%s,\"w\":" BF16_10 "}", good[i]);
		open_json(state, &file, json, 20);
		assert_int_equal(file.n_tensors, 1);
		qs_weights_close(&file);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(json, sizeof json, "{\"__metadata__\":%s,\"w\":" BF16_10 "}", bad[i][0]);
		expect(state, json, 20, "__metadata__", bad[i][1]);
	}
}

static void takes_the_last_entry_of_a_repeated_name(void **state)
{
	qs_weights file;
	open_json(state, &file,
	          "{\"w\":{\"dtype\":\"U8\",\"shape\":[20],\"data_offsets\":[0,20]},\"v\":{\"dtype\":\"U8\","
	          "\"shape\":[1],\"data_offsets\":[20,21]},\"\\u0077\":" BF16_10 ",\"w\":" BF16_10 "}",
	          21);
	assert_int_equal(file.n_tensors, 2);
	assert_int_equal(qs_weights_find(&file, "w")->dtype, QS_BF16);
	assert_non_null(qs_weights_find(&file, "v"));
	qs_weights_close(&file);
}

/* Each of these is one fault in a header that is good otherwise. */
static void refuses_malformed_json(void **state)
{
	static const char *const bad[] = {
	    "{\"w\":" BF16_10 ",}",
	    "{,\"w\":" BF16_10 "}",
	    "{\"w\":" BF16_10 ",,\"v\":" BF16_10 "}",
	    "{\"w\":" BF16_10 " \"v\":" BF16_10 "}",
	    "{\"w\" " BF16_10 "}",
	    "{w:" BF16_10 "}",
	    "{'w':" BF16_10 "}",
	    "{\"w\":" BF16_10 "}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":01}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1.}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1e}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":-}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":nul}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":[1 2]}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":{\"a\"}}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[01],\"data_offsets\":[0,1]}}",
	    "{\"w\":{\"dtype\":\"U8\",\"shape\":[1,],\"data_offsets\":[0,1]}}",
	    "{\"a\nb\":" BF16_10 "}",
	    "{\"a\\x\":" BF16_10 "}",
	    "{\"a\\u12g4\":" BF16_10 "}",
	    "{\"a\\ud800\":" BF16_10 "}",
	    "{\"a\\ud800\\u0041\":" BF16_10 "}",
	    "{\"a\\udc00\":" BF16_10 "}",
	    "{\"\xed\xa0\x80\":" BF16_10 "}",
	    "{\"\xc3\":" BF16_10 "}",
	};
	qs_weights file;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		expect(state, bad[i], 20, "", i == 7 ? "something follows" : "not valid JSON");
	open_json(state, &file,
	          " \t\r\n{ \"w\" : { \"dtype\" : \"U8\" , \"x\" : [ null , true,false,-0.5e+3,{\"a\":[]}, "
	          "\"\\u0041\"] , "
	          "\"shape\" : [ 1 , 1 ] , \"data_offsets\" : [ 0 , 1 ] } }\n",
	          1);
	assert_int_equal(file.n_tensors, 1);
	qs_weights_close(&file);
}

static void refuses_truncation_at_every_length(void **state)
{
	const char *json = "{\"my.w\":" BF16_10 "}";
	uint8_t whole[8 + 100 + 20] = {0};
	size_t size = 8 + strlen(json) + 20;
	assert_true(size <= sizeof whole);
	whole[0] = (uint8_t)strlen(json);
	memcpy(whole + 8, json, strlen(json));
	for (size_t n = 0; n < size; n++)
		expect_path(scratch_write(state, "model.safetensors", whole, n), n < 8 + strlen(json) ? "" : "my.w",
		            "truncated");
	qs_weights file;
	open_file(&file, scratch_write(state, "model.safetensors", whole, size));
	qs_weights_close(&file);
}

static void refuses_header_lengths(void **state)
{
	uint8_t start[64] = {0};
	start[0] = 57; /* one byte more than there is */
	expect_path(scratch_write(state, "model.safetensors", start, sizeof start), "header length 57",
	            "beyond the end");
	memset(start, 0xff, 8);
	expect_path(scratch_write(state, "model.safetensors", start, sizeof start), "18446744073709551615",
	            "beyond the end");
	memset(start, 0, 8);
	expect_path(scratch_write(state, "model.safetensors", start, sizeof start), "header length 0", "");

	/* 100,000,001 in a file that is long enough, but empty */
	static const uint8_t long_header[8] = {0x01, 0xe1, 0xf5, 0x05};
	const char *path = scratch_write(state, "model.safetensors", long_header, 8);
	FILE *stream = fopen(path, "r+b");
	assert_non_null(stream);
	assert_int_equal(fseek(stream, 200000000, SEEK_SET), 0);
	assert_int_equal(fputc(0, stream), 0);
	assert_int_equal(fclose(stream), 0);
	expect_path(path, "header length 100000001", "not between");
}

static void says_what_other_files_are(void **state)
{
	static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";
	expect_path(scratch_write(state, "model.safetensors", lfs, sizeof lfs - 1), "", "git lfs pull");
	expect_path(scratch_write(state, "model.safetensors", "GGUF\3\0\0\0\0\0\0\0\0\0", 14), "", "GGUF");
	expect_path(scratch_write(state, "model.safetensors", "PK\3\4............", 16), "", "zip");
	expect_path(scratch_write(state, "model.safetensors", "\200\2}q............", 16), "", "pickle");
	static const char *const pages[] = {
	    "<!DOCTYPE html>",    "<!doctype html><h",          "<html lang=\"en\">",
	    "\n <HTML>.........", "\xef\xbb\xbf<?xml version=", "<head>............"};
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		expect_path(scratch_write(state, "model.safetensors", pages[i], strlen(pages[i])), "",
		            "a web page, not safetensors: download");
	expect_path(scratch_write(state, "model.safetensors", "qstore/index\0\0\0\0", 16), "",
	            "a qstore archive");
	expect_path(scratch_write(state, "model.safetensors", "{\"model_type\":0}", 16), "", "JSON");
	scratch_path(state, "model.safetensors.d/x");
	expect_path(scratch_path(state, "model.safetensors.d"), "", "not a regular file");
}

static void a_missing_file_is_an_io_error(void **state)
{
	qs_weights file;
	qstore_error error;
	assert_int_equal(qs_safetensors_open(&file, scratch_path(state, "nowhere.safetensors"), &error),
	                 QSTORE_IO);
	assert_non_null(strstr(error.text, "nowhere.safetensors: cannot open: "));
	qs_weights_close(&file);
	assert_int_equal(qs_safetensors_open(&file, scratch_path(state, "nowhere.safetensors"), NULL), QSTORE_IO);
	qs_weights_close(&file);
}

static void refuses_what_is_not_json(void **state)
{
	expect(state, "{\"my.w\":" BF16_10, 20, "", "not valid JSON");
	expect(state, "{\"my.w\":" BF16_10 "} {}", 20, "", "something follows");
	expect(state, "[]", 20, "", "not a JSON object");
	expect(state, "{\"\xff\":" BF16_10 "}", 20, "", "not valid JSON");
	expect(state, "{\"a\\u0000b\":" BF16_10 "}", 20, "", "zero byte");
	expect(state, "{\"my.w\":[]}", 20, "my.w", "not an object");
	expect(state, "{\"my.w\":null}", 20, "my.w", "not an object");
	expect(state, "{\"\":" BF16_10 "}", 20, "", "empty name");
	expect(state, "{\"__metadata__\":[]}", 20, "__metadata__", "neither an object nor null");
	expect(state, "{\"__metadata__\":{\"format\":1}}", 20, "__metadata__ \"format\"", "not a string");
}

static void refuses_deep_nesting(void **state)
{
	size_t depth = 100000;
	static const char head[] = "{\"my.w\":{\"x\":", tail[] = "}}";
	char *json = malloc(2 * depth + 30), *values = json + sizeof head - 1;
	assert_non_null(json);
	memcpy(json, head, sizeof head);
	memset(values, '[', depth);
	memset(values + depth, ']', depth);
	memcpy(values + 2 * depth, tail, sizeof tail);
	expect(state, json, 0, "", "not valid JSON: values are nested too deep");
	free(json);
}

#define OTHER_20 "{\"dtype\":\"U8\",\"shape\":[20],\"data_offsets\":[20,40]}"

static void refuses_duplicate_names(void **state)
{
	char json[2000], name[600];
	expect(state, "{\"my.w\":" BF16_10 ",\"x\":" OTHER_20 ",\"my.w\":" OTHER_20 "}", 40, "\"my.w\"", "twice");
	expect(state, "{\"my.w\":" BF16_10 ",\"\\u006dy.w\" :" OTHER_20 "}", 40, "\"my.w\"", "twice");
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	snprintf(json, sizeof json, "{\"%s\":" BF16_10 ",\"%s\":" OTHER_20 "}", name, name);
	expect(state, json, 40, "nnnnnnnnnn", "twice");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
	       "dtype", "twice");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[],\"shape\":[],\"data_offsets\":[0,1]}}", 1,
	       "shape", "twice");
}

static void refuses_shapes(void **state)
{
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":[2,5],\"data_offsets\":[0,18]}}", 20, "my.w",
	       "shape [2, 5] of BF16 needs 20 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,0]}}", 20, "my.w",
	       "needs 2 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":[0],\"data_offsets\":[0,2]}}", 20, "my.w",
	       "needs 0 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":[-2,-5],\"data_offsets\":[0,20]}}", 20, "my.w",
	       "not a count");
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":[2.0,5],\"data_offsets\":[0,20]}}", 20, "my.w",
	       "not a count");
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":[\"10\"],\"data_offsets\":[0,20]}}", 20, "my.w",
	       "not a count");
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":10,\"data_offsets\":[0,20]}}", 20, "my.w",
	       "its shape is not a list");
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"data_offsets\":[0,20]}}", 20, "my.w", "no shape");
	expect(state,
	       "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
	       "1,1,1,1],"
	       "\"data_offsets\":[0,1]}}",
	       1, "my.w", "more than 32 dimensions");
}

/* Sizes whose product wraps around to what the offsets say, or would be asked of malloc. */
static void refuses_absurd_counts(void **state)
{
	expect(state, "{\"my.w\":{\"dtype\":\"BF16\",\"shape\":[1152921504606846976,16],\"data_offsets\":[0,0]}}",
	       20, "my.w", "2^64 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 20,
	       "my.w", "2^64 bytes");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
	       20, "my.w", "2^64 bytes");
	expect(state,
	       "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[1152921504606846976,1152921504606846976,0],\"data_"
	       "offsets\":[0,0]}}",
	       20, "my.w", "2^64 bytes");
	expect(state,
	       "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[0,1152921504606846976,1152921504606846976],\"data_"
	       "offsets\":[0,0]}}",
	       20, "my.w", "2^64 bytes");
	expect(state,
	       "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[1152921504606846976],\"data_offsets\":[0,"
	       "1152921504606846976]}}",
	       20, "my.w", "ends at byte 1152921504606846976");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 20,
	       "my.w", "not a count");
}

static void refuses_offsets(void **state)
{
	expect(state, "{\"my.w\":" BF16_10 "}", 19, "my.w", "ends at byte 20 of the data, which has 19");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[20],\"data_offsets\":[1,21]}}", 20, "my.w",
	       "ends at byte 21");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[21,21]}}", 20, "my.w",
	       "ends at byte 21");
	expect(state,
	       "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[9223372036854775806,"
	       "9223372036854775807]}}",
	       20, "my.w", "ends at byte 9223372036854775807");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[10,5]}}", 20, "my.w",
	       "end before they begin");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[-5,0]}}", 20, "my.w",
	       "not a pair");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0]}}", 20, "my.w",
	       "not a pair");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5,5]}}", 20, "my.w",
	       "not a pair");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5.0]}}", 20, "my.w",
	       "not a pair");
	expect(state, "{\"my.w\":{\"dtype\":\"U8\",\"shape\":[5]}}", 20, "my.w", "not a pair");
}

static void refuses_overlaps(void **state)
{
	expect(state, "{\"a.w\":" BF16_10 ",\"my.w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[19,24]}}",
	       24, "my.w", "overlaps tensor \"a.w\"");
	expect(state, "{\"a.w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[3,8]},\"my.w\":" BF16_10 "}",
	       20, "a.w", "overlaps tensor \"my.w\"");
	expect(state, "{\"a.w\":" BF16_10 ",\"my.w\":" BF16_10 "}", 20, "my.w", "overlaps tensor \"a.w\"");
	/* nothing, inside something */
	expect(state, "{\"a.w\":" BF16_10 ",\"my.w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[7,7]}}",
	       20, "my.w", "overlaps tensor \"a.w\"");
}

/* Long and hostile names leave room for what is wrong, and cannot write lines or escapes to a terminal. */
static void messages_stay_one_line(void **state)
{
	char json[6000], name[5000];
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	snprintf(json, sizeof json, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,4]}}", name);
	expect(state, json, 20, "nnnn", "needs 5 bytes");
	expect(state, "{\"x\\n\\u001b[31m\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,4]}}", 20,
	       "x??[31m", "needs 5 bytes");
}

static void writes_what_it_reads(void **state)
{
	uint64_t matrix[] = {2, 5}, row[] = {3}, nothing[] = {4, 0};
	qs_weight tensors[] = {
	    {.name = "a.weight", .dtype = QS_I8, .n_dims = 2, .dims = matrix, .size = 10},
	    {.name = "a.SCB", .dtype = QS_F32, .n_dims = 1, .dims = row, .size = 12},
	    {.name = "quotes \" \\ and \n \x01 caf\xc3\xa9",
	     .dtype = QS_U8,
	     .n_dims = 0,
	     .dims = NULL,
	     .size = 1},
	    {.name = "nothing", .dtype = QS_BF16, .n_dims = 2, .dims = nothing, .size = 0},
	};
	static const char *const metadata[] = {NULL, "{}", "{\"format\":\"pt\"}"};
	for (size_t m = 0; m < 3; m++) {
		uint8_t *header;
		size_t header_size;
		qstore_error error;
		qs_weights file;
		assert_int_equal(qs_safetensors_header(tensors, 4, metadata[m], &header, &header_size, &error),
		                 QSTORE_OK);
		assert_int_equal(header_size % 8, 0);
		uint8_t *whole = calloc(header_size + 23, 1);
		assert_non_null(whole);
		memcpy(whole, header, header_size);
		open_file(&file, scratch_write(state, "model.safetensors", whole, header_size + 23));
		assert_int_equal(file.header_size, header_size);
		assert_int_equal(file.n_tensors, 4);
		for (size_t i = 0; i < 4; i++) {
			const qs_weight *found = qs_weights_find(&file, tensors[i].name);
			assert_non_null(found);
			assert_int_equal(found->offset, tensors[i].offset);
			assert_int_equal(found->size, tensors[i].size);
			assert_int_equal(found->dtype, tensors[i].dtype);
			assert_int_equal(found->n_dims, tensors[i].n_dims);
		}
		qs_weights_close(&file);
		free(whole);
		free(header);
	}
}

/* Byte for byte what the safetensors library writes. */
static void writes_the_usual_layout(void **state)
{
	(void)state;
	uint64_t dims[] = {2, 5};
	qs_weight tensor = {.name = "w", .dtype = QS_BF16, .n_dims = 2, .dims = dims, .size = 20};
	static const char expected[] =
	    "\x60\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"},"
	    "\"w\":{\"dtype\":\"BF16\",\"shape\":[2,5],\"data_offsets\":[0,20]}}       ";
	uint8_t *header;
	size_t header_size;
	assert_int_equal(qs_safetensors_header(&tensor, 1, "{\"format\":\"pt\"}", &header, &header_size, NULL),
	                 QSTORE_OK);
	assert_int_equal(header_size, sizeof expected - 1);
	assert_memory_equal(header, expected, header_size);
	assert_int_equal(tensor.offset, header_size);
	free(header);
}

static void refuses_to_write_wrong_sizes(void **state)
{
	(void)state;
	uint64_t dims[] = {2, 5}, absurd[] = {UINT64_C(1) << 60, 16};
	qs_weight tensor = {.name = "my.w", .dtype = QS_BF16, .n_dims = 2, .dims = dims, .size = 19};
	uint8_t *header;
	size_t header_size;
	qstore_error error;
	assert_int_equal(qs_safetensors_header(&tensor, 1, NULL, &header, &header_size, &error), QSTORE_USAGE);
	assert_non_null(strstr(error.text, "my.w"));
	assert_null(header);
	tensor.dims = absurd;
	tensor.size = 0;
	assert_int_equal(qs_safetensors_header(&tensor, 1, NULL, &header, &header_size, &error), QSTORE_USAGE);
	tensor.dims = dims;
	tensor.size = 20;
	tensor.dtype = QS_DTYPE_COUNT;
	assert_int_equal(qs_safetensors_header(&tensor, 1, NULL, &header, &header_size, &error), QSTORE_USAGE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(reads_tensors_in_order_of_offset),
	    TEST(accepts_gaps_trailing_bytes_and_no_tensors),
	    TEST(knows_every_dtype),
	    TEST(keeps_other_dtypes_as_bytes),
	    TEST(refuses_dtypes_whose_sizes_do_not_fit),
	    TEST(reads_odd_metadata),
	    TEST(takes_the_last_entry_of_a_repeated_name),
	    TEST(refuses_malformed_json),
	    TEST(refuses_truncation_at_every_length),
	    TEST(refuses_header_lengths),
	    TEST(says_what_other_files_are),
	    TEST(a_missing_file_is_an_io_error),
	    TEST(refuses_what_is_not_json),
	    TEST(refuses_deep_nesting),
	    TEST(refuses_duplicate_names),
	    TEST(refuses_shapes),
	    TEST(refuses_absurd_counts),
	    TEST(refuses_offsets),
	    TEST(refuses_overlaps),
	    TEST(messages_stay_one_line),
	    TEST(writes_what_it_reads),
	    TEST(writes_the_usual_layout),
	    TEST(refuses_to_write_wrong_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
