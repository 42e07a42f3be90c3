#include "gguf_parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "text.h"

#define BUFFER_SIZE 65536  /* more than the longest key or name */
#define KEY_SIZE_MAX 65535 /* gguf.md: "up to 2^16-1 bytes" */
#define DEPTH_MAX 8        /* of arrays in arrays */
#define HEADER_SIZE 24

static qstore_status truncated(gguf_source *source, const char *what)
{
	return qs_fail(source->error, QSTORE_INPUT,
	               "%s: %s at byte %" PRIu64 " goes beyond the end of the file (%" PRIu64
	               " bytes): truncated; download it again",
	               qs_shown_path(source->path), what, source->at, source->size);
}

static qstore_status cannot_read(gguf_source *source, const char *reason)
{
	return qs_fail(source->error, QSTORE_IO, "%s: cannot read its header: %s", qs_shown_path(source->path),
	               reason);
}

/* Takes the next `size` bytes, at most BUFFER_SIZE; they are at *bytes until the next call. `what` names them
 * in messages. */
static qstore_status take(gguf_source *source, size_t size, const char *what, const uint8_t **bytes)
{
	*bytes = source->buffer;
	if (size > source->size - source->at)
		return truncated(source, what);
	if (source->at < source->buffer_at || source->at + size > source->buffer_at + source->buffer_size) {
		size_t wanted = BUFFER_SIZE;
		if (wanted > source->size - source->at)
			wanted = (size_t)(source->size - source->at);
		source->buffer_size = 0;
		if (fseeko(source->stream, (off_t)source->at, SEEK_SET))
			return cannot_read(source, strerror(errno));
		source->buffer_at = source->at;
		source->buffer_size = fread(source->buffer, 1, wanted, source->stream);
		if (source->buffer_size < size)
			return cannot_read(source, ferror(source->stream) ? strerror(errno) : "the file became shorter");
	}
	*bytes = source->buffer + (source->at - source->buffer_at);
	source->at += size;
	return QSTORE_OK;
}

static qstore_status skip(gguf_source *source, uint64_t size, const char *what)
{
	if (size > source->size - source->at)
		return truncated(source, what);
	source->at += size;
	return QSTORE_OK;
}

static qstore_status take_u32(gguf_source *source, const char *what, uint32_t *value)
{
	const uint8_t *bytes;
	qstore_status status = take(source, 4, what, &bytes);
	*value = status ? 0 : qs_load32(bytes);
	return status;
}

static qstore_status take_u64(gguf_source *source, const char *what, uint64_t *value)
{
	const uint8_t *bytes;
	qstore_status status = take(source, 8, what, &bytes);
	*value = status ? 0 : qs_load64(bytes);
	return status;
}

/* A key or a tensor's name: 1 to max bytes without a zero among them. */
static qstore_status take_name(gguf_source *source, const char *what, uint64_t max, const uint8_t **name,
                               size_t *size)
{
	uint64_t length, at = source->at;
	qstore_status status = take_u64(source, what, &length);
	*size = 0;
	*name = NULL;
	if (status)
		return status;
	if (!length || length > max)
		return qs_fail(source->error, QSTORE_INPUT,
		               "%s: %s at byte %" PRIu64 " has %" PRIu64 " bytes, not between 1 and %" PRIu64
		               "; convert or download the model again",
		               qs_shown_path(source->path), what, at, length, max);
	*size = (size_t)length;
	status = take(source, *size, what, name);
	if (!status && memchr(*name, 0, *size))
		return qs_fail(source->error, QSTORE_INPUT,
		               "%s: %s at byte %" PRIu64
		               " has a zero byte in it; convert or download the model again",
		               qs_shown_path(source->path), what, at);
	return status;
}

static void copy_cut(char *dst, size_t dst_size, const uint8_t *src, size_t size)
{
	if (size > dst_size - 1)
		size = dst_size - 1;
	memcpy(dst, src, size);
	dst[size] = 0;
}

static const char *other_version(uint32_t version)
{
	if (!(version & 0xffff)) /* as gguf.cpp tells them apart */
		return "a big-endian GGUF file, which is not supported: convert it (gguf_convert_endian.py)";
	if (version == 1)
		return "GGUF version 1, which is not supported (nor by llama.cpp any more): convert the model again";
	return NULL;
}

static qstore_status read_start(gguf_source *source)
{
	const uint8_t *start;
	if (source->size < HEADER_SIZE)
		return qs_fail(source->error, QSTORE_INPUT,
		               "%s: truncated: %" PRIu64 " bytes cannot hold a GGUF header; download it again",
		               qs_shown_path(source->path), source->size);
	qstore_status status = take(source, HEADER_SIZE, "the header", &start);
	if (status)
		return status;
	char other_format[QS_OTHER_SIZE];
	if (memcmp(start, "GGUF", 4) != 0)
		return qs_fail(source->error, QSTORE_INPUT, "%s: %s", qs_shown_path(source->path),
		               qs_weights_is_other(start, HEADER_SIZE, "GGUF", other_format) ? other_format
		                                                                             : "not a GGUF file");
	source->version = qs_load32(start + 4);
	source->n_tensors = qs_load64(start + 8);
	source->n_entries = qs_load64(start + 16);
	const char *other = other_version(source->version);
	if (other)
		return qs_fail(source->error, QSTORE_INPUT, "%s: %s", qs_shown_path(source->path), other);
	if (source->version != 2 && source->version != 3)
		return qs_fail(source->error, QSTORE_INPUT,
		               "%s: GGUF version %" PRIu32
		               ", only 2 and 3 are known; convert the model with a current llama.cpp",
		               qs_shown_path(source->path), source->version);
	return QSTORE_OK;
}

qstore_status gguf_source_open(gguf_source *source, const char *path, qstore_error *error)
{
	struct stat info;
	*source = (gguf_source){.path = path, .error = error};
	source->stream = fopen(path, "rb");
	if (!source->stream)
		return qs_fail(error, QSTORE_IO, "%s: cannot open: %s", qs_shown_path(path), strerror(errno));
	if (fstat(fileno(source->stream), &info))
		return cannot_read(source, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return qs_fail(error, QSTORE_INPUT, "%s: not a regular file", qs_shown_path(path));
	source->size = (uint64_t)info.st_size;
	setvbuf(source->stream, NULL, _IONBF, 0); /* it is read in large pieces */
	source->buffer = malloc(BUFFER_SIZE);
	return source->buffer ? read_start(source) : qs_no_memory(error);
}

void gguf_source_close(gguf_source *source)
{
	if (source->stream)
		fclose(source->stream);
	free(source->buffer);
	*source = (gguf_source){0};
}

/* Bytes of a value of this type, 0 when that depends on the value. */
static uint32_t value_size(uint32_t type)
{
	static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
	return type < sizeof sizes ? sizes[type] : 0;
}

int gguf_is_integer(uint32_t type)
{
	return type <= GGUF_I32 || type == GGUF_U64 || type == GGUF_I64;
}

static uint64_t load_number(uint32_t type, const uint8_t *src)
{
	switch (type) {
	case GGUF_U8:
		return src[0];
	case GGUF_I8:
		return (uint64_t)(int8_t)src[0];
	case GGUF_U16:
		return qs_load16(src);
	case GGUF_I16:
		return (uint64_t)(int16_t)qs_load16(src);
	case GGUF_U32:
		return qs_load32(src);
	case GGUF_I32:
		return (uint64_t)(int32_t)qs_load32(src);
	default:
		return qs_load64(src);
	}
}

static qstore_status unknown_type(gguf_source *source, const char *key, uint32_t type)
{
	return qs_fail(source->error, QSTORE_INPUT,
	               "%s: metadata \"" QS_NAME_SHOWN "\": unknown type %" PRIu32
	               "; convert or download the model again",
	               qs_shown_path(source->path), key, type);
}

static qstore_status skip_array(gguf_source *source, const char *key, int depth)
{
	static const char *const what = "an array of the metadata";
	uint32_t type;
	uint64_t n, size;
	qstore_status status = take_u32(source, what, &type);
	if (status || (status = take_u64(source, what, &n)))
		return status;
	if (value_size(type))
		return n > source->size ? truncated(source, what) : skip(source, n * value_size(type), what);
	if (type != GGUF_STRING && type != GGUF_ARRAY)
		return unknown_type(source, key, type);
	if (type == GGUF_ARRAY && depth == DEPTH_MAX)
		return qs_fail(source->error, QSTORE_INPUT,
		               "%s: metadata \"" QS_NAME_SHOWN
		               "\": arrays are nested more than %d deep; leave this entry out",
		               qs_shown_path(source->path), key, DEPTH_MAX);
	/* Each element takes bytes, so that the file's end bounds a count that lies. */
	for (uint64_t i = 0; i < n && !status; i++) {
		if (type == GGUF_ARRAY)
			status = skip_array(source, key, depth + 1);
		else if (!(status = take_u64(source, what, &size)))
			status = skip(source, size, "a text of the metadata");
	}
	return status;
}

static qstore_status take_text(gguf_source *source, gguf_entry *entry)
{
	static const char *const what = "a text of the metadata";
	const uint8_t *bytes;
	uint64_t size;
	qstore_status status = take_u64(source, what, &size);
	if (!status && size > source->size - source->at)
		return truncated(source, what);
	if (!status && size < BUFFER_SIZE && !(status = take(source, (size_t)size, what, &bytes)))
		copy_cut(entry->text, sizeof entry->text, bytes, (size_t)size);
	else if (!status)
		status = skip(source, size, what);
	return status;
}

qstore_status gguf_next_entry(gguf_source *source, gguf_entry *entry)
{
	const uint8_t *bytes;
	size_t size;
	*entry = (gguf_entry){.offset = source->at};
	qstore_status status = take_name(source, "a key of the metadata", KEY_SIZE_MAX, &bytes, &size);
	if (status)
		return status;
	copy_cut(entry->key, sizeof entry->key, bytes, size);
	status = take_u32(source, "a type of the metadata", &entry->type);
	if (status)
		return status;
	if (value_size(entry->type)) {
		status = take(source, value_size(entry->type), "a value of the metadata", &bytes);
		if (!status && gguf_is_integer(entry->type))
			entry->number = load_number(entry->type, bytes);
	} else if (entry->type == GGUF_STRING) {
		status = take_text(source, entry);
	} else if (entry->type == GGUF_ARRAY) {
		status = skip_array(source, entry->key, 1);
	} else {
		status = unknown_type(source, entry->key, entry->type);
	}
	entry->size = source->at - entry->offset;
	return status;
}

qstore_status gguf_next_tensor(gguf_source *source, qs_arena *arena, gguf_tensor *tensor)
{
	static const char *const what = "a tensor's info";
	const uint8_t *bytes;
	size_t size;
	*tensor = (gguf_tensor){0};
	qstore_status status = take_name(source, "a tensor's name", QS_TENSOR_NAME_MAX, &bytes, &size);
	if (status)
		return status;
	char *name = tensor->name = qs_arena_copy(arena, bytes, size);
	if (!name)
		return qs_no_memory(source->error);
	if (!qs_text_is_utf8(name, SIZE_MAX))
		status = qs_weights_fail(source->error, source->path, name, "its name is not UTF-8");
	if (!status)
		status = take_u32(source, what, &tensor->n_dims);
	if (!status && tensor->n_dims > GGUF_DIMS_MAX)
		status = qs_weights_fail(source->error, source->path, name, "%" PRIu32 " dimensions, more than %d",
		                         tensor->n_dims, GGUF_DIMS_MAX);
	for (uint32_t i = 0; i < tensor->n_dims && !status; i++)
		status = take_u64(source, what, &tensor->dims[i]);
	if (!status)
		status = take_u32(source, what, &tensor->type);
	if (!status)
		status = take_u64(source, what, &tensor->offset);
	return status;
}

/* ggml.h, ggml_type. The numbers that are left out are of types that are gone, or newer than this list. */
static const struct {
	uint8_t type, dtype;
} types[] = {
    {0, QS_F32},     {1, QS_F16},    {2, QS_Q4_0},     {3, QS_Q4_1},    {6, QS_Q5_0},     {7, QS_Q5_1},
    {8, QS_Q8_0},    {9, QS_Q8_1},   {10, QS_Q2_K},    {11, QS_Q3_K},   {12, QS_Q4_K},    {13, QS_Q5_K},
    {14, QS_Q6_K},   {15, QS_Q8_K},  {16, QS_IQ2_XXS}, {17, QS_IQ2_XS}, {18, QS_IQ3_XXS}, {19, QS_IQ1_S},
    {20, QS_IQ4_NL}, {21, QS_IQ3_S}, {22, QS_IQ2_S},   {23, QS_IQ4_XS}, {24, QS_I8},      {25, QS_I16},
    {26, QS_I32},    {27, QS_I64},   {28, QS_F64},     {29, QS_IQ1_M},  {30, QS_BF16},    {34, QS_TQ1_0},
    {35, QS_TQ2_0},  {39, QS_MXFP4},
};

uint32_t gguf_dtype(uint32_t type)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].type == type)
			return types[i].dtype;
	return QS_BYTES;
}

uint32_t gguf_type(uint32_t dtype)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].dtype == dtype)
			return types[i].type;
	return UINT32_MAX;
}
