#include "facts.h"

#include <stddef.h>
#include <string.h>

_Static_assert(QS_DTYPE_COUNT <= 256 && QS_RULE_COUNT <= 256 && QS_KIND_COUNT <= 256,
               "the index stores these numbers in bytes");

const char *qs_dtype_name(uint32_t dtype)
{
	switch (dtype) {
#define QS_DTYPE_CASE(name, number, bits, text)                                                              \
	case number:                                                                                             \
		return text;
#define QS_BLOCK_CASE(name, number, elems, bytes, text) QS_DTYPE_CASE(name, number, , text)
		QS_DTYPE_LIST(QS_DTYPE_CASE)
		QS_BLOCK_TYPE_LIST(QS_BLOCK_CASE)
#undef QS_DTYPE_CASE
#undef QS_BLOCK_CASE
	}
	return NULL;
}

uint32_t qs_dtype_size(uint32_t dtype)
{
	switch (dtype) {
#define QS_DTYPE_CASE(name, number, bits, text)                                                              \
	case number:                                                                                             \
		return bits / 8;
		QS_DTYPE_LIST(QS_DTYPE_CASE)
#undef QS_DTYPE_CASE
	}
	return 0;
}

#define QS_DTYPE_SIZE(name, number, bits, text) _Static_assert((bits) % 8 == 0 && (bits) <= 64, text);
QS_DTYPE_LIST(QS_DTYPE_SIZE)
#undef QS_DTYPE_SIZE

uint32_t qs_block_elems(uint32_t dtype)
{
	switch (dtype) {
#define QS_BLOCK_CASE(name, number, elems, bytes, text)                                                      \
	case number:                                                                                             \
		return elems;
		QS_BLOCK_TYPE_LIST(QS_BLOCK_CASE)
#undef QS_BLOCK_CASE
	}
	return qs_dtype_size(dtype) != 0;
}

uint32_t qs_block_size(uint32_t dtype)
{
	switch (dtype) {
#define QS_BLOCK_CASE(name, number, elems, bytes, text)                                                      \
	case number:                                                                                             \
		return bytes;
		QS_BLOCK_TYPE_LIST(QS_BLOCK_CASE)
#undef QS_BLOCK_CASE
	}
	return qs_dtype_size(dtype);
}

uint32_t qs_dtype_from_name(const char *name)
{
	for (uint32_t dtype = 0; dtype < QS_DTYPE_COUNT; dtype++)
		if (strcmp(name, qs_dtype_name(dtype)) == 0)
			return dtype;
	return QS_DTYPE_COUNT;
}

const char *qs_kind_name(uint32_t kind)
{
	static const char *const names[QS_KIND_COUNT] = {
#define QS_KIND_NAME(name, number, has_chunks, text) [number] = text,
	    QS_KIND_LIST(QS_KIND_NAME)
#undef QS_KIND_NAME
	};
	return names[kind];
}

int qs_kind_has_chunks(uint32_t kind)
{
	switch (kind) {
#define QS_KIND_CASE(name, number, has_chunks, text)                                                         \
	case number:                                                                                             \
		return has_chunks;
		QS_KIND_LIST(QS_KIND_CASE)
#undef QS_KIND_CASE
	}
	return 0;
}

const char *qs_file_kind_name(uint32_t kind)
{
	static const char *const names[QS_FILE_KIND_COUNT] = {
#define QS_FILE_NAME(name, number, is_member, text) [number] = text,
	    QS_FILE_KIND_LIST(QS_FILE_NAME)
#undef QS_FILE_NAME
	};
	return names[kind];
}

int qs_file_kind_is_member(uint32_t kind)
{
	switch (kind) {
#define QS_FILE_CASE(name, number, is_member, text)                                                          \
	case number:                                                                                             \
		return is_member;
		QS_FILE_KIND_LIST(QS_FILE_CASE)
#undef QS_FILE_CASE
	}
	return 0;
}

int qs_layout_is_by_columns(uint32_t layout)
{
	switch (layout) {
#define QS_LAYOUT_CASE(name, number, by_columns, interleaved)                                                \
	case number:                                                                                             \
		return by_columns;
		QS_LAYOUT_LIST(QS_LAYOUT_CASE)
#undef QS_LAYOUT_CASE
	}
	return 0;
}

int qs_layout_is_interleaved(uint32_t layout)
{
	switch (layout) {
#define QS_LAYOUT_CASE(name, number, by_columns, interleaved)                                                \
	case number:                                                                                             \
		return interleaved;
		QS_LAYOUT_LIST(QS_LAYOUT_CASE)
#undef QS_LAYOUT_CASE
	}
	return 0;
}

const char *qs_mode_name(uint32_t mode)
{
	switch (mode) {
#define QS_MODE_CASE(name, number, chunks, text)                                                             \
	case number:                                                                                             \
		return text;
		QS_MODE_LIST(QS_MODE_CASE)
#undef QS_MODE_CASE
	}
	return NULL;
}

const char *qs_symbols_name(uint32_t type)
{
	switch (type) {
#define QS_SYMBOLS_CASE(name, number, text)                                                                  \
	case number:                                                                                             \
		return text;
		QS_SYMBOLS_LIST(QS_SYMBOLS_CASE)
#undef QS_SYMBOLS_CASE
	}
	return NULL;
}

int qs_mode_applies(uint32_t mode, uint32_t kind, uint32_t dtype)
{
	/* One name for each group of chunks that QS_MODE_LIST mentions. */
	const int ALL = 1, BYTE_CODES = qs_dtype_is_codes(dtype), BYTES = dtype == QS_BYTES,
	          FLOATS = qs_dtype_is_float(dtype), REFINE = kind == QS_KIND_REFINE,
	          DELTA = kind == QS_KIND_DELTA, CODES = kind == QS_KIND_CODES;
	switch (mode) {
#define QS_MODE_CASE(name, number, chunks, text)                                                             \
	case number:                                                                                             \
		return chunks;
		QS_MODE_LIST(QS_MODE_CASE)
#undef QS_MODE_CASE
	}
	return 0;
}

const char *qs_rule_name(uint32_t rule)
{
	static const char *const names[QS_RULE_COUNT] = {
#define QS_RULE_NAME(name, number, text, ...) [number] = text,
	    QS_RULE_LIST(QS_RULE_NAME)
#undef QS_RULE_NAME
	};
	return rule == QS_RULE_NONE ? NULL : names[rule];
}

uint32_t qs_rule_of_block(uint32_t dtype)
{
	for (uint32_t rule = 0; dtype != QS_BYTES && rule < QS_RULE_COUNT; rule++)
		if (qs_rule_block(rule) == dtype && !qs_rule_has_absmax(rule))
			return rule;
	return QS_RULE_NONE;
}
