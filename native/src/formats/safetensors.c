#include "safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "core/bytes.h"
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

/* Says what a file that is no safetensors file seems to be, for users who mixed something up. NULL: not
 * known. */
static const char *other_format(const uint8_t *src, size_t size)
{
	if (qs_weights_is_pointer(src, size))
		return QS_WEIGHTS_IS_POINTER;
	if (size >= 4 && !memcmp(src, "GGUF", 4))
		return "a GGUF file, not safetensors";
	if (size >= 4 && !memcmp(src, "PK\3\4", 4))
		return "a zip archive (perhaps a PyTorch pickle), not safetensors";
	if (size >= 2 && src[0] == 0x80 && src[1] >= 2 && src[1] <= 5)
		return "a Python pickle, not safetensors";
	if (size >= 5 && (!memcmp(src, "<html", 5) || !memcmp(src, "<!DOC", 5)))
		return "a web page, not safetensors";
	if (size >= 12 && !memcmp(src, "qstore/index", 12))
		return "a qstore archive, not a model: qstore-unpack restores the models in it";
	if (size >= 1 && src[0] == '{')
		return "JSON, not safetensors";
	return NULL;
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
		status = qs_fail(error, QSTORE_INPUT, "%s: truncated: %zu bytes cannot hold a safetensors header",
		                 qs_shown_path(path), start_size);
		goto end;
	}
	uint64_t size = qs_load64(start);
	if (size > *file_size - 8 || size > HEADER_JSON_MAX || size < 2) {
		const char *other = other_format(start, start_size);
		if (other)
			status = qs_fail(error, QSTORE_INPUT, "%s: %s", qs_shown_path(path), other);
		else if (size > *file_size - 8)
			status = qs_fail(error, QSTORE_INPUT,
			                 "%s: header length %" PRIu64 " is beyond the end of the file (%" PRIu64
			                 " bytes): truncated, or not a safetensors file",
			                 qs_shown_path(path), size, *file_size);
		else
			status = qs_fail(error, QSTORE_INPUT,
			                 "%s: header length %" PRIu64 " is not between 2 and %u: not a safetensors file",
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

/* Finds the string literal that ends just before position, since jansson's own messages show only short ones.
 */
static int literal_before(const uint8_t *json, size_t position, size_t *at, size_t *size)
{
	if (position < 2 || json[position - 1] != '"')
		return 0;
	for (size_t i = position - 1; i-- > 0;) {
		size_t backslashes = 0;
		if (json[i] != '"')
			continue;
		while (backslashes < i && json[i - 1 - backslashes] == '\\')
			backslashes++;
		if (backslashes % 2)
			continue;
		*at = i + 1;
		*size = position - 1 - *at;
		return 1;
	}
	return 0;
}

static qstore_status parse_header(const char *path, const uint8_t *json, size_t json_size, json_t **root,
                                  qstore_error *error)
{
	json_error_t reason;
	*root = json_loadb((const char *)json, json_size, JSON_REJECT_DUPLICATES, &reason);
	if (!*root) {
		size_t at, size;
		if (json_error_code(&reason) == json_error_out_of_memory)
			return qs_no_memory(error);
		if (json_error_code(&reason) == json_error_duplicate_key && reason.position > 0 &&
		    (size_t)reason.position <= json_size && literal_before(json, (size_t)reason.position, &at, &size))
			return qs_fail(error, QSTORE_INPUT, "%s: tensor \"%.*s\": the name is in the header twice",
			               qs_shown_path(path), (int)(size < 200 ? size : 200), (const char *)json + at);
		return qs_fail(error, QSTORE_INPUT, "%s: the header is not valid JSON: %s (at byte %d of it)",
		               qs_shown_path(path), reason.text, reason.position);
	}
	if (!json_is_object(*root))
		return qs_fail(error, QSTORE_INPUT, "%s: the header is not a JSON object", qs_shown_path(path));
	return QSTORE_OK;
}

static qstore_status check_metadata(const char *path, json_t *metadata, qstore_error *error)
{
	const char *key;
	json_t *value;
	if (!json_is_object(metadata))
		return qs_fail(error, QSTORE_INPUT, "%s: " METADATA_KEY " is not an object", qs_shown_path(path));
	json_object_foreach(metadata, key, value) if (!json_is_string(value)) return qs_fail(
	    error, QSTORE_INPUT, "%s: " METADATA_KEY " \"" QS_NAME_SHOWN "\" is not a string",
	    qs_shown_path(path), key);
	return QSTORE_OK;
}

static qstore_status read_dtype(const char *path, const char *name, json_t *value, uint32_t *dtype,
                                qstore_error *error)
{
	const char *text = json_string_value(value);
	if (!text)
		return qs_weights_fail(error, path, name, "no dtype");
	*dtype = qs_dtype_from_name(text);
	if (qs_dtype_size(*dtype) != 0 && *dtype != QS_BYTES)
		return QSTORE_OK;
	if (!strcmp(text, "F4") || !strncmp(text, "F6_", 3))
		return qs_weights_fail(error, path, name,
		                       "dtype %.40s is smaller than a byte, which is not supported", text);
	return qs_weights_fail(error, path, name, "unknown dtype \"%.40s\"", text);
}

static qstore_status read_shape(qs_weights *file, const char *name, json_t *shape, qs_weight *tensor,
                                qstore_error *error)
{
	const char *path = file->path;
	size_t n_dims = json_array_size(shape);
	if (!json_is_array(shape))
		return qs_weights_fail(error, path, name, "no shape");
	if (n_dims > DIMS_MAX)
		return qs_weights_fail(error, path, name, "%zu dimensions, more than %d", n_dims, DIMS_MAX);
	tensor->dims = qs_arena_array(&file->arena, n_dims, sizeof *tensor->dims);
	if (!tensor->dims)
		return qs_no_memory(error);
	tensor->n_dims = (uint32_t)n_dims;
	for (size_t i = 0; i < n_dims; i++) {
		json_t *dim = json_array_get(shape, i);
		if (!json_is_integer(dim) || json_integer_value(dim) < 0)
			return qs_weights_fail(error, path, name, "dimension %zu of its shape is not a count", i);
		tensor->dims[i] = (uint64_t)json_integer_value(dim);
	}
	return QSTORE_OK;
}

static int read_offset(json_t *value, uint64_t *offset)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return 0;
	*offset = (uint64_t)json_integer_value(value);
	return 1;
}

static qstore_status read_tensor(qs_weights *file, const char *name, json_t *entry, qs_weight *tensor,
                                 qstore_error *error)
{
	const char *path = file->path;
	uint64_t data_size = file->file_size - file->header_size, begin, end;
	char text[200];
	qstore_status status;

	if (!json_is_object(entry))
		return qs_weights_fail(error, path, name, "its entry is not an object");
	if ((status = read_dtype(path, name, json_object_get(entry, "dtype"), &tensor->dtype, error)) ||
	    (status = read_shape(file, name, json_object_get(entry, "shape"), tensor, error)))
		return status;
	shape_text(tensor->dims, tensor->n_dims, text, sizeof text);
	if (!qs_weights_size(tensor->dtype, tensor->dims, tensor->n_dims, &tensor->size))
		return qs_weights_fail(error, path, name, "shape %s of %s has 2^64 bytes or more", text,
		                       qs_dtype_name(tensor->dtype));

	json_t *offsets = json_object_get(entry, "data_offsets");
	if (json_array_size(offsets) != 2 || !read_offset(json_array_get(offsets, 0), &begin) ||
	    !read_offset(json_array_get(offsets, 1), &end))
		return qs_weights_fail(error, path, name, "data_offsets is not a pair of offsets");
	if (begin > end)
		return qs_weights_fail(error, path, name,
		                       "data_offsets [%" PRIu64 ", %" PRIu64 "] end before they begin", begin, end);
	if (end - begin != tensor->size)
		return qs_weights_fail(error, path, name,
		                       "shape %s of %s needs %" PRIu64 " bytes, data_offsets [%" PRIu64 ", %" PRIu64
		                       "] have %" PRIu64,
		                       text, qs_dtype_name(tensor->dtype), tensor->size, begin, end, end - begin);
	if (end > data_size)
		return qs_weights_fail(error, path, name,
		                       "ends at byte %" PRIu64 " of the data, which has %" PRIu64
		                       ": truncated file or wrong offset",
		                       end, data_size);
	tensor->offset = file->header_size + begin;
	tensor->name = qs_arena_text(&file->arena, "%s", name);
	return tensor->name ? QSTORE_OK : qs_no_memory(error);
}

qstore_status qs_safetensors_open(qs_weights *file, const char *path, qstore_error *error)
{
	uint8_t *json = NULL;
	size_t json_size = 0;
	json_t *root = NULL, *entry;
	const char *name;
	qs_weight *tensor;

	qstore_status status = qs_weights_init(file, path, QS_FORMAT_SAFETENSORS, error);
	if (!status)
		status = read_json(path, &file->file_size, &json, &json_size, error);
	if (!status)
		status = parse_header(path, json, json_size, &root, error);
	free(json);
	if (status)
		goto end;
	file->header_size = 8 + (uint64_t)json_size;
	json_object_foreach(root, name, entry)
	{
		if (!strcmp(name, METADATA_KEY))
			status = check_metadata(path, entry, error);
		else if (!*name)
			status = qs_fail(error, QSTORE_INPUT, "%s: a tensor has an empty name", qs_shown_path(path));
		else if (!(status = qs_weights_add(file, &tensor, error)))
			status = read_tensor(file, name, entry, tensor, error);
		if (status)
			goto end;
	}
	status = qs_weights_sort(file, error);
end:
	json_decref(root);
	return status;
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
