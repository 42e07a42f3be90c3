#include "index_columns.h"

#include <string.h>

#include "bytes.h"
#include "index.h"

/* The word of a record that holds the field at an offset in bytes. */
#define WORD(offset) (1u << (offset) / 4)

/* count: offset of the number of records among the counts, in bytes. */
static const struct {
	uint8_t count, record_size, has_columns;
	uint32_t rising;
} formats[QS_ARRAY_COUNT] = {
    [QS_ARRAY_VARIANTS] = {0, QS_VARIANT_SIZE, 1, 0},
    [QS_ARRAY_FILES] = {4, QS_FILE_SIZE, 1, WORD(0) | WORD(52)},
    [QS_ARRAY_EXTENTS] = {8, QS_EXTENT_SIZE, 1, WORD(0)},
    [QS_ARRAY_TENSORS] = {12, QS_TENSOR_SIZE, 1, WORD(0) | WORD(8) | WORD(28) | WORD(36)},
    [QS_ARRAY_OBJECTS] = {16, QS_OBJECT_SIZE, 1, WORD(4) | WORD(8) | WORD(36) | WORD(48) | WORD(92)},
    [QS_ARRAY_PARTS] = {32, 8, 0, 0},
    [QS_ARRAY_SEALS] = {36, QS_SEAL_BYTES, 0, 0},
    [QS_ARRAY_CHECKSUMS] = {20, 4, 0, 0},
    [QS_ARRAY_SIZES] = {20, 4, 1, 0},
    [QS_ARRAY_DIMS] = {24, 8, 1, 0},
    [QS_ARRAY_STRINGS] = {28, 1, 0, 0},
};

int qs_index_arrays(const uint8_t *counts, size_t size, qs_index_array out[QS_ARRAY_COUNT])
{
	/* Each array is below 2^39 bytes, so their sum cannot wrap. size_t may have 32 bits, hence the check of
	 * the sum before any offset is stored. */
	uint64_t total = QS_COUNTS_SIZE;
	for (int i = 0; i < QS_ARRAY_COUNT; i++)
		total += (uint64_t)qs_load32(counts + formats[i].count) * formats[i].record_size;
	if (total != size)
		return 0;
	size_t at = QS_COUNTS_SIZE;
	for (int i = 0; i < QS_ARRAY_COUNT; i++) {
		out[i] = (qs_index_array){.at = at,
		                          .n = qs_load32(counts + formats[i].count),
		                          .record_size = formats[i].record_size,
		                          .rising = formats[i].rising,
		                          .has_columns = formats[i].has_columns};
		at += out[i].n * out[i].record_size;
	}
	return 1;
}

static void array_from_columns(const uint8_t *src, const qs_index_array *array, uint8_t *dst)
{
	size_t n = array->n, record_size = array->record_size;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < record_size; j++)
			dst[i * record_size + j] = src[j * n + i];
	for (size_t at = 0; at < record_size; at += 4) {
		uint32_t sum = 0;
		if ((array->rising >> at / 4 & 1) == 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			uint8_t *word = dst + i * record_size + at;
			sum += qs_load32(word);
			qs_store32(word, sum);
		}
	}
}

qstore_status qs_index_from_columns(const uint8_t *src, size_t size, uint8_t *dst)
{
	qs_index_array arrays[QS_ARRAY_COUNT];
	if (size < QS_COUNTS_SIZE || !qs_index_arrays(src, size, arrays))
		return QSTORE_CORRUPT;
	memcpy(dst, src, QS_COUNTS_SIZE);
	for (const qs_index_array *array = arrays; array < arrays + QS_ARRAY_COUNT; array++) {
		if (array->has_columns)
			array_from_columns(src + array->at, array, dst + array->at);
		else
			memcpy(dst + array->at, src + array->at, array->n * array->record_size);
	}
	return QSTORE_OK;
}
