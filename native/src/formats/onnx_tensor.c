#include "onnx_tensor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/array.h"
#include "text.h"

#define DIMS_MAX 32
#define ELEMS_MAX ((uint64_t)1 << 58)

/* The dtype of each TensorProto.DataType. Types that are left out have none here: strings, complex numbers of
 * 16 bytes, types of six, three and two bits, floats of 8 bits without infinities. */
static const uint8_t dtypes[] = {
    [1] = QS_F32,      [2] = QS_U8,   [3] = QS_I8,   [4] = QS_U16,      [5] = QS_I16,
    [6] = QS_I32,      [7] = QS_I64,  [9] = QS_BOOL, [10] = QS_F16,     [11] = QS_F64,
    [12] = QS_U32,     [13] = QS_U64, [14] = QS_C64, [16] = QS_BF16,    [17] = QS_F8_E4M3,
    [19] = QS_F8_E5M2, [21] = QS_U4,  [22] = QS_I4,  [24] = QS_F8_E8M0,
};
enum { TYPE_FLOAT = 1, TYPE_DOUBLE = 11 };

/* The fields of a TensorProto. */
typedef struct proto {
	qs_pb name, raw, typed, varints;
	int has_raw, is_external, n_typed, n_varints, is_part;
	uint64_t typed_size; /* bytes of all typed fields */
	uint64_t type, dims[DIMS_MAX];
	uint32_t n_dims;
	qs_pb location, offset, length;
} proto;

static qstore_status read_dims(onnx_scan *scan, qs_pb_field *field, qs_pb message, proto *out)
{
	const char *wrong;
	uint64_t dim = field->value;
	int more = 1;
	if (field->type == QS_PB_BYTES)
		more = qs_pb_varint(&field->bytes, &dim, &wrong);
	else if (field->type != QS_PB_VARINT)
		return onnx_malformed(scan, message, "a dimension is not a number");
	for (; more > 0; more = field->type == QS_PB_BYTES ? qs_pb_varint(&field->bytes, &dim, &wrong) : 0) {
		if (out->n_dims == DIMS_MAX)
			return ONNX_FAIL(scan, out->name, "more than %d dimensions", DIMS_MAX);
		if (dim > INT64_MAX)
			return ONNX_FAIL(scan, out->name, "dimension %u of its shape is negative", out->n_dims);
		out->dims[out->n_dims++] = dim;
	}
	return more < 0 ? onnx_malformed(scan, message, wrong) : QSTORE_OK;
}

static qstore_status read_external_entry(onnx_scan *scan, qs_pb message, proto *out)
{
	qs_pb_field field;
	qs_pb key = {0}, value = {0};
	qstore_status status = QSTORE_OK;
	while (onnx_next(scan, &message, &field, &status) > 0) {
		if (field.number > 2)
			continue;
		if (!onnx_is_bytes(scan, &field, message, &status))
			return status;
		*(field.number == 1 ? &key : &value) = field.bytes;
	}
	if (qs_pb_equals(key, "location"))
		out->location = value;
	else if (qs_pb_equals(key, "offset"))
		out->offset = value;
	else if (qs_pb_equals(key, "length"))
		out->length = value;
	return status;
}

static qstore_status read_proto(onnx_scan *scan, qs_pb message, proto *out)
{
	enum {
		DIMS = 1,
		DATA_TYPE,
		SEGMENT,
		FLOATS,
		INT32S,
		INT64S = 7,
		NAME,
		RAW,
		DOUBLES,
		UINT64S,
		EXTERNAL = 13,
		LOCATION
	};
	qs_pb_field field;
	qs_pb again = message;
	qstore_status status = QSTORE_OK;
	while (onnx_next(scan, &again, &field, &status) > 0) /* the name first, for messages */
		if (field.number == NAME && onnx_is_bytes(scan, &field, again, &status))
			out->name = field.bytes;
	while (!status && onnx_next(scan, &message, &field, &status) > 0) {
		if (field.number == FLOATS || field.number == INT32S || field.number == INT64S ||
		    field.number == DOUBLES || field.number == UINT64S)
			out->typed_size += field.type == QS_PB_BYTES ? qs_pb_size(field.bytes) : 1;
		switch (field.number) {
		case DIMS:
			status = read_dims(scan, &field, message, out);
			break;
		case DATA_TYPE:
			out->type = field.value;
			break;
		case SEGMENT:
			out->is_part = 1;
			break;
		case FLOATS:
		case DOUBLES:
			out->n_typed += field.type == QS_PB_BYTES ? 1 : 2; /* one by one, they have tags between them */
			out->typed = field.bytes;
			break;
		case INT32S:
			out->n_varints += field.type == QS_PB_BYTES ? 1 : 2;
			out->varints = field.bytes;
			break;
		case RAW:
			if (onnx_is_bytes(scan, &field, message, &status) && out->has_raw)
				return ONNX_FAIL(scan, out->name, "its raw_data is there twice");
			out->raw = field.bytes;
			out->has_raw = 1;
			break;
		case EXTERNAL:
			if (onnx_is_bytes(scan, &field, message, &status))
				status = read_external_entry(scan, field.bytes, out);
			break;
		case LOCATION:
			out->is_external = field.value == 1;
			break;
		}
	}
	return status;
}

/* Sets *elems to the product of the dimensions. False when it is more than 2^58, so that no type's size
 * overflows; a dimension of zero does not excuse the others. */
static int count_elems(const proto *from, uint64_t *elems)
{
	uint64_t product = 1;
	int empty = 0;
	for (uint32_t i = 0; i < from->n_dims; i++) {
		if (!from->dims[i])
			empty = 1;
		else if (product > ELEMS_MAX / from->dims[i])
			return 0;
		else
			product *= from->dims[i];
	}
	*elems = empty ? 0 : product;
	return 1;
}

static qstore_status read_number(onnx_scan *scan, const proto *from, qs_pb text, const char *what,
                                 uint64_t *number)
{
	*number = 0;
	for (qs_pb at = text; at.at < at.end; at.at++) {
		if (*at.at < '0' || *at.at > '9' || *number > (INT64_MAX - 9) / 10)
			return ONNX_FAIL(scan, from->name, "the %s of its external data is not a number of bytes", what);
		*number = *number * 10 + *at.at - '0';
	}
	return QSTORE_OK;
}

/* Makes *external the file at `location`, which must not be empty. */
static qstore_status open_external(onnx_scan *scan, const proto *from, qs_pb location,
                                   qs_onnx_external *external)
{
	const char *path = scan->onnx->weights.path, *slash = strrchr(path, '/');
	qs_weights *weights = &external->weights;
	struct stat info, model;

	external->location = qs_arena_copy(&weights->arena, location.at, qs_pb_size(location));
	char *folder = qs_arena_copy(&scan->arena, path, slash ? (size_t)(slash + 1 - path) : 0);
	if (folder && external->location)
		weights->path = qs_arena_text(&weights->arena, "%s%s", folder, external->location);
	if (!weights->path)
		return qs_no_memory(scan->error);
	if (stat(weights->path, &info))
		return ONNX_FAIL(scan, from->name, "its bytes should be in \"" QS_NAME_SHOWN "\": %s",
		                 external->location, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return ONNX_FAIL(scan, from->name,
		                 "its bytes should be in \"" QS_NAME_SHOWN "\", which is no regular file",
		                 external->location);
	if (!stat(path, &model) && model.st_dev == info.st_dev && model.st_ino == info.st_ino)
		return ONNX_FAIL(scan, from->name, "its external data is in the ONNX file itself");
	weights->file_size = (uint64_t)info.st_size;
	return QSTORE_OK;
}

/* True when the name, without a zero byte in it, may be that of a file in the model's folder. */
static int is_safe_location(onnx_scan *scan, qs_pb name, qstore_status *status)
{
	if (memchr(name.at, 0, qs_pb_size(name)) || qs_pb_size(name) > QS_NAME_MAX)
		return 0;
	const char *text = qs_arena_copy(&scan->arena, name.at, qs_pb_size(name));
	if (!text)
		*status = qs_no_memory(scan->error);
	return text && qs_path_is_safe(text);
}

/* Sets *at to the number of the external file that a tensor names; a new one is opened. */
static qstore_status find_external(onnx_scan *scan, const proto *from, size_t *at)
{
	qs_onnx *onnx = scan->onnx;
	qs_pb name = from->location;
	if (qs_pb_size(name) > 2 && name.at[0] == '.' && name.at[1] == '/')
		name.at += 2;
	if (!qs_pb_size(name))
		return ONNX_FAIL(scan, from->name, "it has external data, but no location of it");
	for (*at = 0; *at < onnx->n_externals; ++*at)
		if (qs_pb_equals(name, onnx->externals[*at].location))
			return QSTORE_OK;
	qstore_status status = QSTORE_OK;
	if (!is_safe_location(scan, name, &status))
		return status ? status
		              : ONNX_FAIL(scan, from->name,
		                          "its external data is at \"%s\", which is not a name within the folder",
		                          onnx_shown(name, (char[ONNX_SHOWN_MAX + 1]){0}));
	qs_onnx_external *added = qs_array_add(&onnx->externals, &onnx->n_externals, sizeof *added);
	if (!added)
		return qs_no_memory(scan->error);
	added->weights.format = QS_FORMAT_ONNX;
	return open_external(scan, from, name, added);
}

/* Finds where an external tensor's bytes are, and checks that the file has them. size: bytes that its shape
 * needs, or UINT64_MAX for types that have no dtype here. */
static qstore_status place_external(onnx_scan *scan, const proto *from, uint64_t size, size_t *file,
                                    uint64_t *offset)
{
	uint64_t length;
	size_t at = 0;
	qstore_status status = read_number(scan, from, from->offset, "offset", offset);
	if (!status)
		status = read_number(scan, from, from->length, "length", &length);
	if (!status)
		status = find_external(scan, from, &at);
	if (status)
		return status;
	const qs_onnx_external *external = &scan->onnx->externals[at];
	uint64_t file_size = external->weights.file_size;
	if (!length) /* it is not given, or 0, which some exporters write for all of the tensor */
		length = size == UINT64_MAX ? 0 : size;
	else if (size != UINT64_MAX && length != size)
		return ONNX_FAIL(scan, from->name,
		                 "its shape and type need %" PRIu64 " bytes, its external data has %" PRIu64, size,
		                 length);
	if (*offset > file_size || length > file_size - *offset)
		return ONNX_FAIL(scan, from->name,
		                 "%" PRIu64 " bytes from byte %" PRIu64 " of \"" QS_NAME_SHOWN
		                 "\", which has %" PRIu64 ": truncated file or wrong offset",
		                 length, *offset, external->location, file_size);
	*file = ONNX_IN_MODEL + 1 + at;
	return QSTORE_OK;
}

static qstore_status add_tensor(onnx_scan *scan, const proto *from, onnx_value *value, uint32_t dtype,
                                uint64_t size)
{
	qs_weights *file = onnx_file_of(scan, value);
	qs_weight *tensor;
	qstore_status status = qs_weights_add(file, &tensor, scan->error);
	if (status)
		return status;
	value->index = file->n_tensors - 1;
	*tensor = (qs_weight){.dtype = dtype, .n_dims = from->n_dims, .offset = value->offset, .size = size};
	tensor->name = qs_arena_copy(&file->arena, from->name.at, qs_pb_size(from->name));
	tensor->dims = qs_arena_array(&file->arena, from->n_dims, sizeof *tensor->dims);
	if (!tensor->name || !tensor->dims)
		return qs_no_memory(scan->error);
	if (strlen(tensor->name) != qs_pb_size(from->name) || !qs_text_is_utf8(tensor->name, SIZE_MAX))
		return ONNX_FAIL(scan, from->name, "its name is not UTF-8");
	memcpy(tensor->dims, from->dims, from->n_dims * sizeof *tensor->dims);
	return QSTORE_OK;
}

/* Sets where the value's bytes are, if all are in one place. size: as in place_external. */
static qstore_status place_tensor(onnx_scan *scan, const proto *from, uint64_t size, onnx_value *value)
{
	qs_pb inside = {0};
	if (from->is_external)
		return place_external(scan, from, size, &value->file, &value->offset);
	if (from->has_raw) {
		if (size != UINT64_MAX && qs_pb_size(from->raw) != size)
			return ONNX_FAIL(scan, from->name,
			                 "its shape and type need %" PRIu64 " bytes, its raw_data has %zu", size,
			                 qs_pb_size(from->raw));
		inside = from->raw;
	} else if (from->n_typed == 1 && (from->type == TYPE_FLOAT || from->type == TYPE_DOUBLE) &&
	           qs_pb_size(from->typed) == size) {
		inside = from->typed; /* little-endian numbers, one after the other: as in memory */
	} else {
		return QSTORE_OK;
	}
	value->file = ONNX_IN_MODEL;
	value->offset = (uint64_t)(inside.at - scan->message);
	return QSTORE_OK;
}

qstore_status onnx_take_tensor(onnx_scan *scan, qs_pb message, qs_pb name)
{
	proto from = {.name = name};
	uint64_t elems = 0, size = UINT64_MAX;
	qstore_status status = read_proto(scan, message, &from);
	if (status)
		return status;
	if (qs_pb_size(name))
		from.name = name;
	if (!count_elems(&from, &elems))
		return ONNX_FAIL(scan, from.name, "its shape has more than 2^58 elements");
	uint32_t dtype = from.type < sizeof dtypes ? dtypes[from.type] : QS_BYTES;
	if (from.is_part)
		dtype = QS_BYTES;
	if (dtype != QS_BYTES) { /* two of 4 bits share a byte, and the last may have one alone */
		uint32_t block = qs_block_elems(dtype);
		size = (elems / block + (elems % block != 0)) * qs_block_size(dtype);
		if (elems % block)
			dtype = QS_BYTES;
	}
	onnx_value value = {.name = from.name, .type = (uint32_t)from.type, .order = scan->order++};
	status = place_tensor(scan, &from, size, &value);
	if (status || !qs_pb_size(from.name))
		return status;
	value.size = size;
	if (value.file == ONNX_NO_TENSOR && dtype != QS_BYTES)
		scan->onnx->weights.unread_size += from.typed_size;
	if (dtype == QS_BYTES || !size)
		value.file = ONNX_NO_TENSOR;
	if (from.type == ONNX_INT8 || from.type == ONNX_UINT8) {
		value.are_varints = !from.has_raw;
		if (from.has_raw)
			value.numbers = from.raw;
		else if (from.n_varints == 1)
			value.numbers = from.varints;
	}
	if (value.file != ONNX_NO_TENSOR && (status = add_tensor(scan, &from, &value, dtype, size)))
		return status;
	onnx_value *added = qs_array_add(&scan->values, &scan->n_values, sizeof *added);
	if (!added)
		return qs_no_memory(scan->error);
	*added = value;
	return QSTORE_OK;
}
