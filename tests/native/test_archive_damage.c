/* Archives that are damaged, cut, hostile or none at all: one line says so, and nothing is read or written
 * out of bounds. */
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
#include "core/chunk.h"
#include "core/index.h"
#include "../generate/fixtures.h"
#include "../generate/llama.h"
#include "archive_help.h"
#include "effort.h"
#include "scratch.h"

static void refuses_what_is_no_archive(void **state)
{
	char *out = copy_text(scratch_path(state, "out"));
	char zeros[2000] = "";
	expect_unpack_fails(scratch_path(state, "nowhere"), out, QSTORE_IO, "nowhere: cannot open: No such file");
	expect_unpack_fails(scratch_write(state, "empty", "", 0), out, QSTORE_NOT_QSTORE,
	                    "empty: not a qstore archive");
	expect_unpack_fails(scratch_write(state, "short", "abc", 3), out, QSTORE_NOT_QSTORE,
	                    "not a qstore archive");
	expect_unpack_fails(scratch_write(state, "zeros", zeros, sizeof(zeros)), out, QSTORE_NOT_QSTORE,
	                    "not a qstore archive");
	expect_unpack_fails("/dev/null", out, QSTORE_NOT_QSTORE, "/dev/null: not a qstore archive");
	expect_unpack_fails("/", out, QSTORE_NOT_QSTORE, "not a qstore archive");
	free(out);
}

static void refuses_newer_versions(void **state)
{
	size_t size;
	generate_fixture("clean", 1, scratch_path(state, "high"), NULL);
	archive_pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size);
	qs_store16(data + 512 + 8, 2);
	qs_store64(data + 512 + 56, qs_checksum(data + 512, 56));
	expect_unpack_fails(scratch_write(state, "b.qstore", data, size), scratch_path(state, "out"),
	                    QSTORE_NEWER, "b.qstore: made by a newer qstore");
	free(data);
}

/* The body of an archive's index, of header->body_size bytes and room for 512 more. */
static uint8_t *decode_body(const qs_index_header *header, const uint8_t *archive, size_t size)
{
	size_t body_size = (size_t)header->body_size, work_size = qs_chunk_workspace_size();
	uint8_t *body = malloc(body_size + 512), *columns = malloc(body_size), *work = malloc(work_size);
	assert_true(body && columns && work);
	assert_int_equal(
	    qs_index_decode_body(header, archive + 576, size - 576, body, body_size, columns, work, work_size),
	    QSTORE_OK);
	free(columns);
	free(work);
	return body;
}

/* Sums the bytes of a tar header again. */
static void sum_header(uint8_t *header)
{
	unsigned sum = 8 * ' ';
	for (size_t i = 0; i < 512; i++)
		sum += i < 148 || i >= 156 ? header[i] : 0;
	snprintf((char *)header + 148, 8, "%06o", sum);
}

/* Writes a changed copy of the archive, and expects that verifying it fails with this text. */
static void expect_verify_fails(void **state, const uint8_t *data, size_t size, const char *text)
{
	qstore_archive *archive;
	qstore_error error;
	const char *path = scratch_write(state, "b.qstore", data, size);
	assert_int_equal(qstore_open(path, &archive, &error), QSTORE_OK);
	assert_int_equal(qstore_verify(archive, NULL, &error), QSTORE_CORRUPT);
	if (!strstr(error.text, text))
		fail_msg("%s: no \"%s\"", error.text, text);
	qstore_close(archive);
}

/* Other programs unpack an archive by its tar headers, so whoever verifies it relies on these. */
static void checks_the_tar_headers(void **state)
{
	static const struct {
		size_t at;
		const char *bytes, *text;
	} changes[] = {
	    {0, "../../evil", "is member ../../evil"},
	    {0, "config.jsoN", "is member config.jsoN"},
	    {100, "0004755", "no regular file of mode 0644"},
	    {108, "0001750", "no regular file of mode 0644"},
	    {116, "0001750", "no regular file of mode 0644"},
	    {136, "14725036740", "no regular file of mode 0644"},
	    {156, "1", ""}, /* a hard link, a symbolic one, a folder, a long name of GNU's tar */
	    {156, "2", ""},
	    {156, "5", ""},
	    {156, "L", ""},
	    {124, "00000000001", ""},
	};
	size_t size, at;
	generate_fixture("clean", 1, scratch_path(state, "high"), NULL);
	archive_pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size), kept[512];
	for (at = 1024; memcmp(data + at, "config.json", 12) != 0; at += 512)
		assert_true(at + 512 < size);
	uint8_t *header = data + at;
	memcpy(kept, header, 512);
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		size_t length = strlen(changes[i].bytes);
		memcpy(header + changes[i].at, changes[i].bytes, length);
		if (changes[i].at == 0)
			header[length] = 0;
		sum_header(header);
		expect_verify_fails(state, data, size, changes[i].text);
		memcpy(header, kept, 512);
	}
	/* Padding behind the member's data, and the zeros at the archive's end. */
	uint64_t bytes = strtoull((char *)header + 124, NULL, 8);
	assert_true(bytes % 512 != 0);
	header[512 + bytes] = 1;
	expect_verify_fails(state, data, size, "between two members, is not zero");
	header[512 + bytes] = 0;
	data[size - 1] = 1;
	expect_verify_fails(state, data, size, "is not zero");
	free(data);
}

/* One byte changed in the middle of each tensor's chunks, and in each small file. */
static void names_the_damaged_tensor(void **state)
{
	size_t size;
	make_pair(state, QS_BF16);
	char *text = calloc(1, 40000);
	assert_non_null(text);
	scratch_write(state, "high/tokenizer.json", text, 40000);
	free(text);
	archive_pack(scratch_path(state, "high"), scratch_path(state, "low"), scratch_path(state, "a.qstore"));
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size);
	char *damaged = copy_text(scratch_path(state, "damaged.qstore")),
	     *out = copy_text(scratch_path(state, "out"));
	qs_index_header header;
	assert_int_equal(qs_index_read_header(data + 512, size - 512, &header), QSTORE_OK);
	size_t body_size = (size_t)header.body_size;
	uint8_t *body = decode_body(&header, data, size);
	qs_index index;
	assert_int_equal(qs_index_open(&index, body, body_size, header.payload_size), QSTORE_OK);
	uint64_t payload = qs_index_payload_offset(&header);
	for (uint32_t i = 0; i < index.n_tensors; i++) {
		qs_tensor tensor;
		qs_object object;
		qs_index_tensor(&index, i, &tensor);
		if (tensor.object == QS_NONE || i % (index.n_tensors / effort_of(index.n_tensors)))
			continue;
		qs_index_object(&index, tensor.object, &object);
		uint64_t at = payload + object.offset + object.coded_size / 2;
		data[at] ^= 0x10;
		write_file(damaged, data, size);
		data[at] ^= 0x10;
		char expected[300];
		snprintf(expected, sizeof(expected), "damaged.qstore: tensor %s: chunk 1 of 1 is damaged",
		         tensor.name);
		expect_unpack_fails(damaged, out, QSTORE_CORRUPT, expected);
	}
	for (uint32_t i = 0; i < index.n_files; i++) {
		qs_file file;
		qs_index_file(&index, i, &file);
		if (file.coded_size == 0)
			continue;
		data[payload + file.offset + file.coded_size / 2] ^= 0x10;
		write_file(damaged, data, size);
		data[payload + file.offset + file.coded_size / 2] ^= 0x10;
		expect_unpack_fails(damaged, out, QSTORE_CORRUPT, file.name);
	}
	/* Cut anywhere. */
	for (size_t cut = 0; cut < size; cut += 1 + size / effort_of(40)) {
		qstore_archive *archive;
		qstore_error error = {0};
		write_file(damaged, data, cut);
		qstore_status status = qstore_open(damaged, &archive, &error);
		if (!status) {
			status = qstore_verify(archive, NULL, &error);
			qstore_close(archive);
		}
		if (cut <= 512)
			assert_int_equal(status, QSTORE_NOT_QSTORE);
		else
			assert_int_equal(status, QSTORE_TRUNCATED);
	}
	free(body);
	free(data);
	free(damaged);
	free(out);
}

/* Hostile archives that are valid but for a name that leaves the output folder: refused when opened. */
static void refuses_escaping_names(void **state)
{
	static const char *const names[] = {"../../escape", "/tmp/escaped", "aa/../../bbb", "./././././",
	                                    "aaaa//bbbbbb"};
	size_t size;
	make_pair(state, QS_BF16);
	scratch_write(state, "high/harmless.txt", "x", 1);
	archive_pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size);
	qs_index_header header;
	assert_int_equal(qs_index_read_header(data + 512, size - 512, &header), QSTORE_OK);
	size_t body_size = (size_t)header.body_size;
	uint8_t *body = decode_body(&header, data, size);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t at = 0; at + 13 < body_size; at++) {
			if (memcmp(body + at, "harmless.txt", 13) == 0 ||
			    (i > 0 && strcmp((char *)body + at, names[i - 1]) == 0))
				memcpy(body + at, names[i], strlen(names[i]) + 1);
		}
		/* The body is stored as it is this time. The payload is out of place, but nobody comes so far. */
		qs_index_header plain = {0, body_size, body_size, qs_checksum(body, body_size), header.payload_size,
		                         0};
		uint8_t *hostile = calloc(1, 576 + body_size);
		assert_non_null(hostile);
		qs_index_write_header(&plain, hostile + 512);
		memcpy(hostile + 576, body, body_size);
		expect_unpack_fails(scratch_write(state, "hostile.qstore", hostile, 576 + body_size),
		                    scratch_path(state, "out"), QSTORE_CORRUPT,
		                    "hostile.qstore: the index is damaged");
		free(hostile);
	}
	free(body);
	free(data);
}

/* Small numbers that depend on the seed alone (xorshift64). */
static uint64_t next_random(uint64_t *r)
{
	*r ^= *r << 13;
	*r ^= *r >> 7;
	*r ^= *r << 17;
	return *r;
}

/* Hostile archives: bytes changed anywhere, and then all checksums set right. Whatever is said of them,
 * nothing may be read or written out of bounds. */
static void survives_hostile_archives(void **state)
{
	unsigned n_rounds = effort_of(300), n_opened = 0, n_good = 0;
	uint64_t r = 88172645463325252;
	generate_llama(&(llama_options){.dtype = QS_BF16,
	                                .seed = 7,
	                                .layers = 1,
	                                .hidden = 32,
	                                .intermediate = 64,
	                                .vocab = 40,
	                                .shards = 1,
	                                .high = scratch_path(state, "high"),
	                                .low = scratch_path(state, "low")});
	archive_pack(scratch_path(state, "high"), scratch_path(state, "low"), scratch_path(state, "a.qstore"));
	size_t size;
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size);
	qs_index_header header;
	assert_int_equal(qs_index_read_header(data + 512, size - 512, &header), QSTORE_OK);
	size_t body_size = (size_t)header.body_size, payload_at = (size_t)qs_index_payload_offset(&header);
	size_t payload_size = (size_t)header.payload_size;
	uint8_t *body = decode_body(&header, data, size);
	header = (qs_index_header){0, body_size, body_size, 0, payload_size, 0};
	size_t hostile_at = (size_t)qs_index_payload_offset(&header);
	uint8_t *hostile = calloc(1, hostile_at + payload_size);
	char *path = copy_text(scratch_path(state, "hostile.qstore"));
	assert_non_null(hostile);
	for (unsigned round = 0; round < n_rounds; round++) {
		uint8_t *b = hostile + 576, *p = hostile + hostile_at;
		memcpy(b, body, body_size);
		memcpy(p, data + payload_at, payload_size);
		for (unsigned n = 1 + (unsigned)(next_random(&r) % 3); n > 0; n--) {
			uint8_t value = (uint8_t)next_random(&r);
			/* Records more than strings, and low bits of fields more than high ones. */
			if (next_random(&r) % 2 == 0)
				b[64 + next_random(&r) % (body_size - 64) / 4 * 4 % (body_size - 64)] = value;
			else
				p[next_random(&r) % payload_size] = value;
		}
		qs_index index;
		if (!qs_index_open(&index, b, body_size, payload_size)) {
			n_opened++;
			for (uint32_t i = 0; i < index.n_objects; i++) {
				qs_object object;
				qs_index_object(&index, i, &object);
				uint64_t at = object.offset;
				for (uint32_t j = object.first_chunk; j < object.first_chunk + object.n_chunks; j++) {
					uint32_t chunk_size = qs_index_chunk_size(&index, j);
					qs_store32(b + index.checksums + 4 * (size_t)j,
					           (uint32_t)qs_checksum(p + at, chunk_size));
					at += chunk_size;
				}
			}
		}
		header.body_checksum = qs_checksum(b, body_size);
		qs_index_write_header(&header, hostile + 512);
		write_file(path, hostile, hostile_at + payload_size);
		qstore_archive *archive;
		qstore_error error = {0};
		if (qstore_open(path, &archive, &error)) {
			assert_int_equal(error.status, QSTORE_CORRUPT);
			continue;
		}
		const char *all[] = {"*", NULL};
		qstore_unpack_options options = {.output = scratch_path(state, "out"), .tensors = all, .force = 1};
		options.work.threads = 1;
		qstore_status status = qstore_unpack(archive, &options, NULL, &error);
		assert_true(!status || status == QSTORE_CORRUPT);
		options.tensors = NULL;
		status = qstore_unpack(archive, &options, NULL, &error);
		assert_true(!status || status == QSTORE_CORRUPT || status == QSTORE_IO || status == QSTORE_EXISTS);
		n_good += !status;
		qstore_close(archive);
	}
	/* Most damage is noticed by the index's checks, or by a file's SHA-256. */
	assert_true(n_opened > n_rounds / 4 && n_good < n_opened);
	free(path);
	free(hostile);
	free(body);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	    TEST(refuses_what_is_no_archive), TEST(refuses_newer_versions), TEST(checks_the_tar_headers),
	    TEST(names_the_damaged_tensor),   TEST(refuses_escaping_names), TEST(survives_hostile_archives),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
