#include "safetensors.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "json.h"
#include "os/array.h"
#include "text.h"

/* The format's own limit (safetensors/src/tensor.rs, MAX_HEADER_SIZE). */
#define HEADER_JSON_MAX 100000000u
#define DIMS_MAX 32
#define METADATA_KEY "__metadata__"

/* "[2, 3]", cut when long. */
static const char *shape_text(const uint64_t *dims, uint32_t n_dims, char *text, size_t text_size)
{
	size_t at = (size_t)snprintf(text, text_size, "[");
	for (uint32_t i = 0; i < n_dims && at < text_size; i++)
		at += (size_t)snprintf(text + at, text_size - at, "%s%" PRIu64, i ? ", " : "", dims[i]);
	if (at < text_size)
		snprintf(text + at, text_size - at, "]");
	return text;
}

static qstore_status read_json(const char *path, uint64_t *file_size, uint8_t **json, size_t *json_size,
                               qstore_error *error)
{
	struct stat info;
	FILE *stream = fopen(path, "rb");
	if (!stream)
		return qs_fail(error, QSTORE_IO, "%s: cannot open: %s", qs_shown_path(path), strerror(errno));
	qstore_status status = QSTORE_OK;
	uint8_t start[16];
	size_t start_size = 0;
	if (fstat(fileno(stream), &info)) {
		status = qs_fail(error, QSTORE_IO, "%s: cannot read: %s", qs_shown_path(path), strerror(errno));
		goto end;
	}
	if (!S_ISREG(info.st_mode)) {
		status = qs_fail(error, QSTORE_INPUT, "%s: not a regular file", qs_shown_path(path));
		goto end;
	}
	*file_size = (uint64_t)info.st_size;
	start_size = fread(start, 1, sizeof start, stream);
	if (ferror(stream)) {
		status = qs_fail(error, QSTORE_IO, "%s: cannot read: %s", qs_shown_path(path), strerror(errno));
		goto end;
	}
	if (start_size < 8 || *file_size < 8) {
		status = qs_fail(error, QSTORE_INPUT,
		                 "%s: truncated: %zu bytes cannot hold a safetensors header; download it again",
		                 qs_shown_path(path), start_size);
		goto end;
	}
	uint64_t size = qs_load64(start);
	if (size > *file_size - 8 || size > HEADER_JSON_MAX || size < 2) {
		char other[QS_OTHER_SIZE];
		if (qs_weights_is_other(start, start_size, "safetensors", other))
			status = qs_fail(error, QSTORE_INPUT, "%s: %s", qs_shown_path(path), other);
		else if (size > *file_size - 8)
			status = qs_fail(error, QSTORE_INPUT,
			                 "%s: header length %" PRIu64 " is beyond the end of the file (%" PRIu64
			                 " bytes): truncated, or not a safetensors file; download it again",
			                 qs_shown_path(path), size, *file_size);
		else
			status = qs_fail(error, QSTORE_INPUT,
			                 "%s: header length %" PRIu64
			                 " is not between 2 and %u: not a safetensors file; download it again",
			                 qs_shown_path(path), size, HEADER_JSON_MAX);
		goto end;
	}
	*json_size = (size_t)size;
	*json = malloc(*json_size);
	if (!*json) {
		status = qs_no_memory(error);
		goto end;
	}
	if (fseeko(stream, 8, SEEK_SET) || fread(*json, 1, *json_size, stream) != *json_size)
		status = qs_fail(error, QSTORE_IO, "%s: cannot read its header: %s", qs_shown_path(path),
		                 ferror(stream) ? strerror(errno) : "the file became shorter");
end:
	fclose(stream);
	return status;
}

/* ---- The header ---- */

typedef struct header_reader {
	qs_weights *file;
	qs_json json;
	qs_arena arena; /* of texts that nobody needs later */
	qstore_error *error;
} header_reader;

/* The header is no JSON, or not the JSON that the format wants: `expected` is not there. */
static qstore_status fail_header(header_reader *reader, const char *expected)
{
	const qs_json *json = &reader->json;
	const char *path = qs_shown_path(reader->file->path);
	if (json->is_out_of_memory)
		return qs_no_memory(reader->error);
	if (!json->wrong)
		return qs_fail(reader->error, QSTORE_INPUT, "%s: %s", path, expected);
	return qs_fail(reader->error, QSTORE_INPUT,
	               "%s: the header is not valid JSON: %s (at byte %zu of it); download the file again", path,
	               json->wrong, (size_t)(json->at - json->start));
}

/* Fails for a tensor, unless the header is no JSON. */
#define FAIL_TENSOR(reader, name, ...)                                                                       \
	((reader)->json.wrong ? fail_header(reader, "")                                                          \
	                      : qs_weights_fail((reader)->error, (reader)->file->path, name, __VA_ARGS__))

/* Reads __metadata__: null, or texts by name. The last text of a name counts, as in the reference reader
 * (serde's HashMap). */
static qstore_status read_metadata(header_reader *reader)
{
	qs_json *json = &reader->json;
	size_t n = 0;
	char *key, *value;
	if (qs_json_null(json))
		return QSTORE_OK;
	if (!qs_json_open(json, '{'))
		return fail_header(reader, METADATA_KEY " is neither an object nor null");
	while (qs_json_next(json, '}', &n)) {
		if (!qs_json_key(json, &reader->arena, &key))
			return fail_header(reader, "");
		if (qs_json_string(json, &reader->arena, &value))
			continue;
		if (json->wrong)
			return fail_header(reader, "");
		return qs_fail(reader->error, QSTORE_INPUT,
		               "%s: " METADATA_KEY " \"" QS_NAME_SHOWN
		               "\" is not a string: make it one, or leave it out",
		               qs_shown_path(reader->file->path), key);
	}
	return json->wrong ? fail_header(reader, "") : QSTORE_OK;
}

/* An entry of the header. */
typedef struct entry {
	const char *name;
	char *dtype;
	uint64_t *dims;
	size_t n_dims;
	uint64_t begin, end;
	int has_shape, has_offsets;
} entry;

static qstore_status read_shape(header_reader *reader, entry *e)
{
	qs_json *json = &reader->json;
	uint64_t dims[DIMS_MAX];
	if (!qs_json_open(json, '['))
		return FAIL_TENSOR(reader, e->name, "its shape is not a list");
	while (qs_json_next(json, ']', &e->n_dims)) {
		if (e->n_dims > DIMS_MAX)
			return FAIL_TENSOR(reader, e->name, "more than %d dimensions", DIMS_MAX);
		if (!qs_json_count(json, &dims[e->n_dims - 1]))
			return FAIL_TENSOR(reader, e->name, "dimension %zu of its shape is not a count", e->n_dims - 1);
	}
	if (json->wrong)
		return fail_header(reader, "");
	e->has_shape = 1;
	e->dims = qs_arena_array(&reader->file->arena, e->n_dims, sizeof *e->dims);
	if (!e->dims)
		return qs_no_memory(reader->error);
	if (e->n_dims)
		memcpy(e->dims, dims, e->n_dims * sizeof *dims);
	return QSTORE_OK;
}

static qstore_status read_offsets(header_reader *reader, entry *e)
{
	qs_json *json = &reader->json;
	uint64_t offsets[2] = {0};
	size_t n = 0;
	int good = qs_json_open(json, '[');
	while (good && qs_json_next(json, ']', &n))
		good = n <= 2 && qs_json_count(json, &offsets[n - 1]);
	if (!good || n != 2 || json->wrong)
		return FAIL_TENSOR(reader, e->name, "data_offsets is not a pair of offsets");
	e->has_offsets = 1;
	e->begin = offsets[0];
	e->end = offsets[1];
	return QSTORE_OK;
}

static qstore_status read_field(header_reader *reader, const char *key, entry *e)
{
	qs_json *json = &reader->json;
	int is_dtype = !strcmp(key, "dtype"), is_shape = !strcmp(key, "shape"),
	    is_offsets = !strcmp(key, "data_offsets");
	if ((is_dtype && e->dtype) || (is_shape && e->has_shape) || (is_offsets && e->has_offsets))
		return FAIL_TENSOR(reader, e->name, "its %s is there twice", key);
	if (is_shape)
		return read_shape(reader, e);
	if (is_offsets)
		return read_offsets(reader, e);
	if (is_dtype ? qs_json_string(json, &reader->arena, &e->dtype) : qs_json_skip(json))
		return QSTORE_OK;
	return FAIL_TENSOR(reader, e->name, "no dtype");
}

static qstore_status read_entry(header_reader *reader, entry *e)
{
	qs_json *json = &reader->json;
	size_t n = 0;
	char *key;
	if (!qs_json_open(json, '{'))
		return FAIL_TENSOR(reader, e->name, "its entry is not an object");
	while (qs_json_next(json, '}', &n)) {
		if (!qs_json_key(json, &reader->arena, &key))
			return fail_header(reader, "");
		qstore_status status = read_field(reader, key, e);
		if (status)
			return status;
	}
	if (json->wrong)
		return fail_header(reader, "");
	if (!e->dtype || !e->has_shape)
		return FAIL_TENSOR(reader, e->name, e->dtype ? "no shape" : "no dtype");
	return e->has_offsets ? QSTORE_OK : FAIL_TENSOR(reader, e->name, "data_offsets is not a pair of offsets");
}

/* Bits of an element of the dtypes that the safetensors library knows (its tensor.rs, Dtype) and that are
 * bytes here; 0: it knows no such type. */
static uint32_t foreign_bits(const char *dtype)
{
	static const struct {
		const char *name;
		uint32_t bits;
	} types[] = {{"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(dtype, types[i].name))
			return types[i].bits;
	return 0;
}

/* Checks the size of a tensor whose type has no dtype here, which is then bytes to us. */
static qstore_status check_foreign(header_reader *reader, const entry *e, const char *shape, uint64_t size)
{
	assert(e->dtype); /* read_entry refuses entries that have none */
	uint64_t elems, bits = foreign_bits(e->dtype);
	if (!qs_weights_size(QS_U8, e->dims, (uint32_t)e->n_dims, &elems) || elems > UINT64_MAX / 8)
		return FAIL_TENSOR(reader, e->name, "shape %s of %.40s has 2^64 bytes or more", shape, e->dtype);
	if (bits && elems * bits % 8)
		return FAIL_TENSOR(reader, e->name, "shape %s of %.40s does not end with a whole byte", shape,
		                   e->dtype);
	if (bits && size != elems * bits / 8)
		return FAIL_TENSOR(reader, e->name,
		                   "shape %s of %.40s needs %" PRIu64 " bytes, data_offsets [%" PRIu64 ", %" PRIu64
		                   "] have %" PRIu64,
		                   shape, e->dtype, elems * bits / 8, e->begin, e->end, size);
	if (!bits && (elems ? size > UINT64_MAX / 8 || !size || size * 8 % elems : size))
		return FAIL_TENSOR(reader, e->name,
		                   "unknown dtype \"%.40s\", and %" PRIu64
		                   " bytes are not as many bits for each element "
		                   "of shape %s: the header is damaged, or newer than this program",
		                   e->dtype, size, shape);
	return QSTORE_OK;
}

static qstore_status place_entry(header_reader *reader, const entry *e, qs_weight *tensor)
{
	qs_weights *file = reader->file;
	uint64_t data_size = file->file_size - file->header_size, size = e->end - e->begin;
	uint32_t dtype = qs_dtype_from_name(e->dtype);
	char shape[200];
	shape_text(e->dims, (uint32_t)e->n_dims, shape, sizeof shape);
	if (e->begin > e->end)
		return FAIL_TENSOR(reader, e->name, "data_offsets [%" PRIu64 ", %" PRIu64 "] end before they begin",
		                   e->begin, e->end);
	*tensor = (qs_weight){.name = (char *)e->name,
	                      .dtype = qs_dtype_size(dtype) ? dtype : QS_BYTES,
	                      .n_dims = (uint32_t)e->n_dims,
	                      .dims = e->dims,
	                      .offset = file->header_size + e->begin,
	                      .size = size};
	if (tensor->dtype == QS_BYTES) {
		qstore_status status = check_foreign(reader, e, shape, size);
		if (status)
			return status;
		tensor->n_dims = 1;
		tensor->dims = qs_arena_array(&file->arena, 1, sizeof *tensor->dims);
		if (!tensor->dims)
			return qs_no_memory(reader->error);
		tensor->dims[0] = size;
	} else if (!qs_weights_size(dtype, e->dims, (uint32_t)e->n_dims, &tensor->size)) {
		return FAIL_TENSOR(reader, e->name, "shape %s of %s has 2^64 bytes or more", shape, e->dtype);
	} else if (tensor->size != size) {
		return FAIL_TENSOR(reader, e->name,
		                   "shape %s of %s needs %" PRIu64 " bytes, data_offsets [%" PRIu64 ", %" PRIu64
		                   "] have %" PRIu64,
		                   shape, e->dtype, tensor->size, e->begin, e->end, size);
	}
	if (e->end > data_size)
		return FAIL_TENSOR(reader, e->name,
		                   "ends at byte %" PRIu64 " of the data, which has %" PRIu64
		                   ": truncated file or wrong offset",
		                   e->end, data_size);
	return QSTORE_OK;
}

static qstore_status read_header(header_reader *reader)
{
	qs_json *json = &reader->json;
	size_t n = 0;
	int has_metadata = 0;
	char *name;
	qs_weight *tensor;
	qstore_status status = QSTORE_OK;
	if (!qs_json_open(json, '{'))
		return fail_header(reader, "the header is not a JSON object");
	while (!status && qs_json_next(json, '}', &n)) {
		if (!qs_json_key(json, &reader->file->arena, &name))
			return fail_header(reader, "");
		if (!strcmp(name, METADATA_KEY)) {
			status =
			    has_metadata++ ? fail_header(reader, METADATA_KEY " is there twice") : read_metadata(reader);
			continue;
		}
		entry e = {.name = name};
		if (!*name)
			return fail_header(reader, "a tensor has an empty name");
		if (!(status = read_entry(reader, &e)) &&
		    !(status = qs_weights_add(reader->file, &tensor, reader->error)))
			status = place_entry(reader, &e, tensor);
	}
	if (status || json->wrong)
		return status ? status : fail_header(reader, "");
	return qs_json_end(json) ? QSTORE_OK : fail_header(reader, "something follows the header's JSON object");
}

/* ---- Names that are there twice ---- */

static int compare_names(const void *a, const void *b)
{
	const qs_weight *x = *(const qs_weight *const *)a, *y = *(const qs_weight *const *)b;
	int order = strcmp(x->name, y->name);
	return order ? order : x < y ? -1 : x > y;
}

/* Drops all entries of a tensor's name but the last one, which counts in the reference reader too (serde's
 * HashMap). Entries that name other bytes are refused, as that reader does. */
static qstore_status drop_repeated(qs_weights *file, qstore_error *error)
{
	size_t n = file->n_tensors, kept = 0;
	int found = 0;
	qs_weight **sorted = malloc((n ? n : 1) * sizeof *sorted);
	if (!sorted)
		return qs_no_memory(error);
	for (size_t i = 0; i < n; i++)
		sorted[i] = &file->tensors[i];
	qsort(sorted, n, sizeof *sorted, compare_names);
	for (size_t i = 1; i < n; i++) {
		qs_weight *before = sorted[i - 1];
		if (strcmp(before->name, sorted[i]->name) != 0)
			continue;
		if (before->offset != sorted[i]->offset || before->size != sorted[i]->size) {
			qstore_status status = qs_weights_fail(error, file->path, before->name,
			                                       "the name is in the header twice, for different bytes");
			free(sorted);
			return status;
		}
		before->name = NULL;
		found = 1;
	}
	free(sorted);
	for (size_t i = 0; i < n && found; i++)
		if (file->tensors[i].name)
			file->tensors[kept++] = file->tensors[i];
	if (found)
		file->n_tensors = kept;
	return QSTORE_OK;
}

qstore_status qs_safetensors_open(qs_weights *file, const char *path, qstore_error *error)
{
	uint8_t *json = NULL;
	size_t json_size = 0;
	qstore_status status = qs_weights_init(file, path, QS_FORMAT_SAFETENSORS, error);
	if (!status)
		status = read_json(path, &file->file_size, &json, &json_size, error);
	if (!status) {
		header_reader reader = {
		    .file = file, .json = {json, json, json + json_size, NULL, 0}, .error = error};
		file->header_size = 8 + (uint64_t)json_size;
		status = read_header(&reader);
		qs_arena_free(&reader.arena);
	}
	free(json);
	if (!status)
		status = drop_repeated(file, error);
	return status ? status : qs_weights_sort(file, error);
}

/* A growing text. When memory is out, has_failed is set and it does not grow any more. */
typedef struct header_text {
	char *data;
	size_t size;
	int has_failed;
} header_text;

static void append(header_text *text, const char *src, size_t size)
{
	char *data = text->has_failed ? NULL : qs_array_grow(text->data, text->size, size, 1);
	if (!data) {
		text->has_failed = 1;
		return;
	}
	text->data = data;
	memcpy(text->data + text->size, src, size);
	text->size += size;
}

static void append_text(header_text *text, const char *src)
{
	append(text, src, strlen(src));
}

static void append_u64(header_text *text, uint64_t value)
{
	char digits[24];
	append(text, digits, (size_t)snprintf(digits, sizeof digits, "%" PRIu64, value));
}

static void append_string(header_text *text, const char *src)
{
	append(text, "\"", 1);
	for (; *src; src++) {
		unsigned char c = (unsigned char)*src;
		char escape[8];
		if (c == '"' || c == '\\')
			append(text, escape, (size_t)snprintf(escape, sizeof escape, "\\%c", c));
		else if (c < 0x20)
			append(text, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
		else
			append(text, src, 1);
	}
	append(text, "\"", 1);
}

qstore_status qs_safetensors_header(qs_weight *tensors, size_t n_tensors, const char *metadata,
                                    uint8_t **header, size_t *header_size, qstore_error *error)
{
	header_text text = {0};
	uint64_t at = 0;

	*header = NULL;
	*header_size = 0;
	append(&text, "\0\0\0\0\0\0\0\0{", 9);
	if (metadata) {
		append_text(&text, "\"" METADATA_KEY "\":");
		append_text(&text, metadata);
	}
	for (size_t i = 0; i < n_tensors; i++) {
		qs_weight *tensor = &tensors[i];
		uint64_t size;
		if (!qs_dtype_size(tensor->dtype) ||
		    !qs_weights_size(tensor->dtype, tensor->dims, tensor->n_dims, &size) || size != tensor->size ||
		    size > UINT64_MAX / 2 - at) {
			free(text.data);
			return qs_fail(error, QSTORE_USAGE,
			               "tensor \"" QS_NAME_SHOWN "\": its shape does not have %" PRIu64 " bytes",
			               tensor->name, tensor->size);
		}
		if (i || metadata)
			append(&text, ",", 1);
		append_string(&text, tensor->name);
		append_text(&text, ":{\"dtype\":\"");
		append_text(&text, qs_dtype_name(tensor->dtype));
		append_text(&text, "\",\"shape\":[");
		for (uint32_t d = 0; d < tensor->n_dims; d++) {
			if (d)
				append(&text, ",", 1);
			append_u64(&text, tensor->dims[d]);
		}
		append_text(&text, "],\"data_offsets\":[");
		append_u64(&text, at);
		append(&text, ",", 1);
		append_u64(&text, at + size);
		append_text(&text, "]}");
		tensor->offset = at; /* of the data, until the header's size is known */
		at += size;
	}
	append(&text, "}", 1);
	while (!text.has_failed && text.size % 8)
		append(&text, " ", 1);
	if (text.has_failed) {
		free(text.data);
		return qs_no_memory(error);
	}
	if (text.size - 8 > HEADER_JSON_MAX) {
		size_t json_size = text.size - 8;
		free(text.data);
		return qs_fail(error, QSTORE_LIMIT,
		               "a safetensors header of %zu bytes would be more than the format's %u", json_size,
		               HEADER_JSON_MAX);
	}
	for (size_t i = 0; i < 8; i++)
		text.data[i] = (char)(uint8_t)((uint64_t)(text.size - 8) >> 8 * i);
	for (size_t i = 0; i < n_tensors; i++)
		tensors[i].offset += text.size;
	*header = (uint8_t *)text.data;
	*header_size = text.size;
	return QSTORE_OK;
}
