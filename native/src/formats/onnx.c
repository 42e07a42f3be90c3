#include "onnx.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx_scan.h"

#define DIMS_MAX 32
#define ELEMS_MAX ((uint64_t)1 << 58)
#define DEPTH_MAX                                                                                            \
	32 /* graphs within graphs; the protobuf library's own limit is 100 messages, three a graph */

/* TensorProto.DataType. Those without a line have no dtype here: strings, complex of 16 bytes, types of six,
 * three and two bits, floats of 8 bits that have no infinities. */
static const uint8_t dtypes[] = {
    [1] = QS_F32,      [2] = QS_U8,   [3] = QS_I8,   [4] = QS_U16,      [5] = QS_I16,
    [6] = QS_I32,      [7] = QS_I64,  [9] = QS_BOOL, [10] = QS_F16,     [11] = QS_F64,
    [12] = QS_U32,     [13] = QS_U64, [14] = QS_C64, [16] = QS_BF16,    [17] = QS_F8_E4M3,
    [19] = QS_F8_E5M2, [21] = QS_U4,  [22] = QS_I4,  [24] = QS_F8_E8M0,
};
enum { TYPE_FLOAT = 1, TYPE_DOUBLE = 11 };

qstore_status onnx_no_memory(onnx_scan *scan)
{
	return qs_weights_no_memory(scan->onnx->weights.path, scan->error);
}

void *onnx_grow(void *array, size_t n, size_t *capacity, size_t item_size)
{
	if (n < *capacity)
		return array;
	size_t more = *capacity ? *capacity * 2 : 16;
	array = realloc(array, more * item_size);
	if (array)
		*capacity = more;
	return array;
}

/* ---- Errors ---- */

static qstore_status malformed(onnx_scan *scan, qs_pb at, const char *what)
{
	const char *path = qs_weights_shown_path(scan->onnx->weights.path);
	return qs_fail(scan->error, QSTORE_INPUT, "%s: truncated, or not an ONNX file: %s (at byte %zu)", path,
	               what, (size_t)(at.at - scan->message));
}

/* Names are shown as far as they are text. */
#define SHOWN_MAX 200
static const char *shown(qs_pb name, char text[SHOWN_MAX + 1])
{
	size_t size = qs_pb_size(name) < SHOWN_MAX ? qs_pb_size(name) : SHOWN_MAX;
	if (size)
		memcpy(text, name.at, size);
	text[size] = 0;
	return text;
}

#define FAIL(scan, name, ...)                                                                                \
	qs_weights_fail((scan)->error, (scan)->onnx->weights.path, shown(name, (char[SHOWN_MAX + 1]){0}),        \
	                __VA_ARGS__)

/* Takes a field. 1, 0: as qs_pb_next; -1: *status is set. */
static int next(onnx_scan *scan, qs_pb *message, qs_pb_field *field, qstore_status *status)
{
	const char *wrong = NULL;
	int more = qs_pb_next(message, field, &wrong);
	if (more < 0)
		*status = malformed(scan, *message, wrong);
	return more;
}

static int is_bytes(onnx_scan *scan, const qs_pb_field *field, qs_pb message, qstore_status *status)
{
	if (field->type != QS_PB_BYTES)
		*status = malformed(scan, message, "a field is not of the type that ONNX gives it");
	return field->type == QS_PB_BYTES;
}

/* ---- Tensors ---- */

/* What a TensorProto says. */
typedef struct proto {
	qs_pb name, raw, typed, varints;
	int has_raw, is_external, n_typed, n_varints, is_part;
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
		return malformed(scan, message, "a dimension is not a number");
	for (; more > 0; more = field->type == QS_PB_BYTES ? qs_pb_varint(&field->bytes, &dim, &wrong) : 0) {
		if (out->n_dims == DIMS_MAX)
			return FAIL(scan, out->name, "more than %d dimensions", DIMS_MAX);
		if (dim > INT64_MAX)
			return FAIL(scan, out->name, "dimension %u of its shape is negative", out->n_dims);
		out->dims[out->n_dims++] = dim;
	}
	return more < 0 ? malformed(scan, message, wrong) : QSTORE_OK;
}

static qstore_status read_external_entry(onnx_scan *scan, qs_pb message, proto *out)
{
	qs_pb_field field;
	qs_pb key = {0}, value = {0};
	qstore_status status = QSTORE_OK;
	int more;
	while ((more = next(scan, &message, &field, &status)) > 0) {
		if (field.number > 2)
			continue;
		if (!is_bytes(scan, &field, message, &status))
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
	enum { DIMS = 1, DATA_TYPE, SEGMENT, FLOATS, INT32S, NAME = 8, RAW, DOUBLES, EXTERNAL = 13, LOCATION };
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	int more;
	while (!status && (more = next(scan, &message, &field, &status)) > 0) {
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
		case NAME:
			if (is_bytes(scan, &field, message, &status))
				out->name = field.bytes;
			break;
		case RAW:
			if (is_bytes(scan, &field, message, &status) && out->has_raw)
				return FAIL(scan, out->name, "its raw_data is there twice");
			out->raw = field.bytes;
			out->has_raw = 1;
			break;
		case EXTERNAL:
			if (is_bytes(scan, &field, message, &status))
				status = read_external_entry(scan, field.bytes, out);
			break;
		case LOCATION:
			out->is_external = field.value == 1;
			break;
		}
	}
	return status;
}

/* Product of the dimensions. False when it is more than 2^58, so that no type's size overflows; a dimension
 * of zero does not excuse the others. */
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
			return FAIL(scan, from->name, "the %s of its external data is not a number of bytes", what);
		*number = *number * 10 + *at.at - '0';
	}
	return QSTORE_OK;
}

static qstore_status open_external(onnx_scan *scan, const proto *from, char *location,
                                   qs_onnx_external *external)
{
	const char *path = scan->onnx->weights.path, *slash = strrchr(path, '/');
	size_t folder_size = slash ? (size_t)(slash + 1 - path) : 0, size = strlen(location) + 1;
	char *own_path = malloc(folder_size + size);
	struct stat info, model;

	external->location = location;
	external->weights.path = own_path;
	if (!own_path)
		return onnx_no_memory(scan);
	memcpy(own_path, path, folder_size);
	memcpy(own_path + folder_size, location, size);
	if (stat(own_path, &info))
		return FAIL(scan, from->name, "its bytes should be in \"" NAME_SHOWN "\": %s", location,
		            strerror(errno));
	if (!S_ISREG(info.st_mode))
		return FAIL(scan, from->name, "its bytes should be in \"" NAME_SHOWN "\", which is no regular file",
		            location);
	if (!stat(path, &model) && model.st_dev == info.st_dev && model.st_ino == info.st_ino)
		return FAIL(scan, from->name, "its external data is in the ONNX file itself");
	external->weights.file_size = (uint64_t)info.st_size;
	return QSTORE_OK;
}

/* The external file that a tensor names; *at is its number. */
static qstore_status find_external(onnx_scan *scan, const proto *from, size_t *at)
{
	qs_onnx *onnx = scan->onnx;
	qs_pb name = from->location;
	if (qs_pb_size(name) > 2 && name.at[0] == '.' && name.at[1] == '/')
		name.at += 2;
	size_t size = qs_pb_size(name);
	if (!size)
		return FAIL(scan, from->name, "it has external data, but no location of it");
	char *location = memchr(name.at, 0, size) ? NULL : strndup((const char *)name.at, size);
	if (!location && !memchr(name.at, 0, size))
		return onnx_no_memory(scan);
	if (!location || !qs_path_is_safe(location)) {
		free(location);
		return FAIL(scan, from->name, "its external data is at \"%s\", which is not a name within the folder",
		            shown(name, (char[SHOWN_MAX + 1]){0}));
	}
	for (*at = 0; *at < onnx->n_externals; ++*at) {
		if (!strcmp(onnx->externals[*at].location, location)) {
			free(location);
			return QSTORE_OK;
		}
	}
	size_t n = onnx->n_externals;
	qs_onnx_external *externals = realloc(onnx->externals, (n + 1) * sizeof *externals);
	if (externals)
		onnx->externals = externals;
	size_t *capacities = externals ? realloc(scan->capacities, (n + 1) * sizeof *capacities) : NULL;
	if (!capacities) {
		free(location);
		return onnx_no_memory(scan);
	}
	scan->capacities = capacities;
	scan->capacities[n] = 0;
	onnx->externals[n] = (qs_onnx_external){.weights.format = QS_FORMAT_ONNX};
	onnx->n_externals++; /* counted before it is opened, so that closing frees what a failure leaves */
	return open_external(scan, from, location, &onnx->externals[n]);
}

/* Where an external tensor's bytes are, checked against the file. size is by its shape, or UINT64_MAX for
 * types that have none here. */
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
	if (!qs_pb_size(from->length))
		length = size == UINT64_MAX ? 0 : size;
	else if (size != UINT64_MAX && length != size)
		return FAIL(scan, from->name,
		            "its shape and type need %" PRIu64 " bytes, its external data has %" PRIu64, size,
		            length);
	if (*offset > file_size || length > file_size - *offset)
		return FAIL(scan, from->name,
		            "%" PRIu64 " bytes from byte %" PRIu64 " of \"" NAME_SHOWN "\", which has %" PRIu64
		            ": truncated file or wrong offset",
		            length, *offset, external->location, file_size);
	*file = ONNX_IN_MODEL + 1 + at;
	return QSTORE_OK;
}

static qstore_status add_tensor(onnx_scan *scan, const proto *from, onnx_value *value, uint32_t dtype,
                                uint64_t size)
{
	int is_inside = value->file == ONNX_IN_MODEL;
	size_t at = is_inside ? 0 : value->file - ONNX_IN_MODEL - 1;
	qs_weights *file = is_inside ? &scan->onnx->weights : &scan->onnx->externals[at].weights;
	size_t *capacity = is_inside ? &scan->capacity : &scan->capacities[at];

	qs_weight *tensors = onnx_grow(file->tensors, file->n_tensors, capacity, sizeof *tensors);
	if (!tensors)
		return onnx_no_memory(scan);
	file->tensors = tensors;
	value->index = file->n_tensors++;
	qs_weight *tensor = &tensors[value->index];
	*tensor = (qs_weight){.dtype = dtype, .n_dims = from->n_dims, .offset = value->offset, .size = size};
	tensor->name = strndup((const char *)from->name.at, qs_pb_size(from->name));
	tensor->dims = calloc(from->n_dims ? from->n_dims : 1, sizeof *tensor->dims);
	if (!tensor->name || !tensor->dims)
		return onnx_no_memory(scan);
	if (strlen(tensor->name) != qs_pb_size(from->name) || !qs_weights_is_utf8(tensor->name))
		return FAIL(scan, from->name, "its name is not UTF-8");
	memcpy(tensor->dims, from->dims, from->n_dims * sizeof *tensor->dims);
	return QSTORE_OK;
}

/* Where the bytes are, if all in one place. size: UINT64_MAX when the type has none here. */
static qstore_status place(onnx_scan *scan, const proto *from, uint64_t size, onnx_value *value)
{
	qs_pb inside = {0};
	if (from->is_external)
		return place_external(scan, from, size, &value->file, &value->offset);
	if (from->has_raw) {
		if (size != UINT64_MAX && qs_pb_size(from->raw) != size)
			return FAIL(scan, from->name, "its shape and type need %" PRIu64 " bytes, its raw_data has %zu",
			            size, qs_pb_size(from->raw));
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

/* A TensorProto. name: of the value that it is, or empty: its own. */
static qstore_status take_tensor(onnx_scan *scan, qs_pb message, qs_pb name)
{
	proto from = {.name = name};
	uint64_t elems = 0, size = UINT64_MAX;
	qstore_status status = read_proto(scan, message, &from);
	if (status)
		return status;
	if (qs_pb_size(name))
		from.name = name;
	if (!count_elems(&from, &elems))
		return FAIL(scan, from.name, "its shape has more than 2^58 elements");
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
	status = place(scan, &from, size, &value);
	if (status || !qs_pb_size(from.name))
		return status;
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
	onnx_value *values = onnx_grow(scan->values, scan->n_values, &scan->values_capacity, sizeof *values);
	if (!values)
		return onnx_no_memory(scan);
	scan->values = values;
	values[scan->n_values++] = value;
	return QSTORE_OK;
}

/* ---- Graphs ---- */

static qstore_status read_graph(onnx_scan *scan, qs_pb message, int depth);

/* AttributeProto: tensors and graphs within it. output: of the node, when it is a Constant. */
static qstore_status read_attribute(onnx_scan *scan, qs_pb message, qs_pb output, int depth)
{
	enum { TENSOR = 5, GRAPH, TENSORS = 10, GRAPHS };
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	while (!status && next(scan, &message, &field, &status) > 0) {
		if (field.number == TENSOR && is_bytes(scan, &field, message, &status))
			status = take_tensor(scan, field.bytes, output);
		else if (field.number == TENSORS && is_bytes(scan, &field, message, &status))
			status = take_tensor(scan, field.bytes, (qs_pb){0});
		else if ((field.number == GRAPH || field.number == GRAPHS) &&
		         is_bytes(scan, &field, message, &status))
			status = read_graph(scan, field.bytes, depth + 1);
	}
	return status;
}

/* The numbers of quantizing operators. */
static qstore_status read_numbers(onnx_scan *scan, qs_pb message, onnx_node *node)
{
	enum { NAME = 1, INT = 3 };
	qs_pb_field field;
	qs_pb name = {0};
	uint64_t number = 0;
	qstore_status status = QSTORE_OK;
	while (next(scan, &message, &field, &status) > 0) {
		if (field.number == NAME)
			name = field.bytes;
		else if (field.number == INT)
			number = field.value;
	}
	int64_t *to = qs_pb_equals(name, "axis")            ? &node->axis
	              : qs_pb_equals(name, "quantize_axis") ? &node->quantize_axis
	              : qs_pb_equals(name, "bits")          ? &node->bits
	              : qs_pb_equals(name, "block_size")    ? &node->block_size
	                                                    : NULL;
	if (to)
		*to = (int64_t)number;
	return status;
}

static qstore_status read_node(onnx_scan *scan, qs_pb message, int depth)
{
	enum { INPUT = 1, OUTPUT, OP_TYPE = 4, ATTRIBUTE };
	onnx_node node = {.axis = INT64_MIN, .quantize_axis = INT64_MIN};
	qs_pb again = message;
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	while (!status && next(scan, &message, &field, &status) > 0) {
		if (field.number > ATTRIBUTE || field.number == 3)
			continue;
		if (!is_bytes(scan, &field, message, &status))
			return status;
		if (field.number == INPUT && node.n_inputs < ONNX_INPUTS_MAX)
			node.inputs[node.n_inputs++] = field.bytes;
		else if (field.number == OUTPUT && !node.output.at)
			node.output = field.bytes;
		else if (field.number == OP_TYPE)
			node.op = field.bytes;
		else if (field.number == ATTRIBUTE)
			status = read_numbers(scan, field.bytes, &node);
	}
	if (!status)
		status = onnx_claim_node(scan, &node);
	qs_pb output = qs_pb_equals(node.op, "Constant") ? node.output : (qs_pb){0};
	while (!status && next(scan, &again, &field, &status) > 0)
		if (field.number == ATTRIBUTE)
			status = read_attribute(scan, field.bytes, output, depth);
	return status;
}

static qstore_status read_graph(onnx_scan *scan, qs_pb message, int depth)
{
	enum { NODE = 1, INITIALIZER = 5 };
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	if (depth > DEPTH_MAX)
		return qs_fail(scan->error, QSTORE_INPUT, "%s: graphs are nested more than %d deep",
		               qs_weights_shown_path(scan->onnx->weights.path), DEPTH_MAX);
	while (!status && next(scan, &message, &field, &status) > 0) {
		if (field.number == NODE && is_bytes(scan, &field, message, &status))
			status = read_node(scan, field.bytes, depth);
		else if (field.number == INITIALIZER && is_bytes(scan, &field, message, &status))
			status = take_tensor(scan, field.bytes, (qs_pb){0});
	}
	return status;
}

static qstore_status read_function(onnx_scan *scan, qs_pb message)
{
	enum { NODE = 7 };
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	while (!status && next(scan, &message, &field, &status) > 0)
		if (field.number == NODE && is_bytes(scan, &field, message, &status))
			status = read_node(scan, field.bytes, 0);
	return status;
}

static qstore_status read_model(onnx_scan *scan, qs_pb message)
{
	enum { GRAPH = 7, FUNCTION = 25 };
	const char *path = qs_weights_shown_path(scan->onnx->weights.path);
	int has_graph = 0;
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	if (qs_weights_is_pointer(message.at, qs_pb_size(message)))
		return qs_fail(scan->error, QSTORE_INPUT, "%s: " QS_WEIGHTS_IS_POINTER, path);
	while (!status && next(scan, &message, &field, &status) > 0) {
		if (field.number == GRAPH && is_bytes(scan, &field, message, &status)) {
			has_graph = 1;
			status = read_graph(scan, field.bytes, 0);
		} else if (field.number == FUNCTION && is_bytes(scan, &field, message, &status)) {
			status = read_function(scan, field.bytes);
		}
	}
	if (!status && !has_graph)
		status = qs_fail(scan->error, QSTORE_INPUT, "%s: not an ONNX file: it has no graph", path);
	return status;
}

/* ---- When all is read ---- */

static int by_name(const void *a, const void *b)
{
	const onnx_value *x = a, *y = b;
	int order = qs_pb_compare(x->name, y->name);
	return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

static qs_weights *file_of(const onnx_scan *scan, const onnx_value *value)
{
	return value->file == ONNX_NO_TENSOR  ? NULL
	       : value->file == ONNX_IN_MODEL ? &scan->onnx->weights
	                                      : &scan->onnx->externals[value->file - ONNX_IN_MODEL - 1].weights;
}

const onnx_value *onnx_find_value(const onnx_scan *scan, qs_pb name)
{
	size_t low = 0, high = scan->n_values;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (qs_pb_compare(scan->values[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < scan->n_values && !qs_pb_compare(scan->values[low].name, name) ? &scan->values[low] : NULL;
}

const qs_weight *onnx_tensor_of(const onnx_scan *scan, const onnx_value *value)
{
	const qs_weights *file = value ? file_of(scan, value) : NULL;
	size_t low = 0, high = file ? file->n_tensors : 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (file->tensors[middle].offset < value->offset)
			low = middle + 1;
		else
			high = middle;
	}
	return file && low < file->n_tensors && file->tensors[low].offset == value->offset ? &file->tensors[low]
	                                                                                   : NULL;
}

/* Names that graphs within the graph have again get a number. */
static qstore_status number_names(onnx_scan *scan)
{
	unsigned long n = 1;
	for (size_t i = 1; i < scan->n_values; i++) {
		const onnx_value *value = &scan->values[i];
		if (qs_pb_compare(value->name, scan->values[i - 1].name)) {
			n = 1;
			continue;
		}
		n++;
		if (value->file == ONNX_NO_TENSOR)
			continue;
		qs_weight *tensor = &file_of(scan, value)->tensors[value->index];
		size_t room = strlen(tensor->name) + 24;
		char *name = malloc(room);
		if (!name)
			return onnx_no_memory(scan);
		size_t size = (size_t)snprintf(name, room, "%s#%lu", tensor->name, n);
		free(tensor->name);
		tensor->name = name;
		if (onnx_find_value(scan, (qs_pb){(const uint8_t *)name, (const uint8_t *)name + size}))
			return FAIL(scan, value->name, "the name is there %lu times", n);
	}
	return QSTORE_OK;
}

static int by_place(const void *a, const void *b)
{
	const qs_weight *x = a, *y = b;
	return x->offset != y->offset ? (x->offset < y->offset ? -1 : 1)
	       : x->size != y->size   ? (x->size < y->size ? -1 : 1)
	                              : strcmp(x->name, y->name);
}

/* Leaves out tensors that are the very bytes of another (weights that are tied), and sorts the rest. */
static qstore_status settle(qs_weights *file, qs_error *error)
{
	size_t n = 0;
	if (file->n_tensors)
		qsort(file->tensors, file->n_tensors, sizeof *file->tensors, by_place);
	for (size_t i = 0; i < file->n_tensors; i++) {
		qs_weight *tensor = &file->tensors[i];
		if (n && file->tensors[n - 1].offset == tensor->offset && file->tensors[n - 1].size == tensor->size) {
			free(tensor->name);
			free(tensor->dims);
		} else {
			file->tensors[n++] = *tensor;
		}
	}
	file->n_tensors = n;
	return qs_weights_sort(file, error);
}

qstore_status qs_onnx_merge(qs_weights *file, qs_weights *other, qs_error *error)
{
	size_t n = file->n_tensors + other->n_tensors;
	qs_weight *tensors = realloc(file->tensors, (n ? n : 1) * sizeof *tensors);
	if (!tensors)
		return qs_weights_no_memory(file->path, error);
	file->tensors = tensors;
	if (other->n_tensors)
		memcpy(tensors + file->n_tensors, other->tensors, other->n_tensors * sizeof *tensors);
	file->n_tensors = n;
	other->n_tensors = 0;
	free(file->by_name);
	file->by_name = NULL;
	return settle(file, error);
}

static int by_location(const void *a, const void *b)
{
	return strcmp(((const qs_onnx_external *)a)->location, ((const qs_onnx_external *)b)->location);
}

static qstore_status settle_all(onnx_scan *scan)
{
	qs_onnx *onnx = scan->onnx;
	if (scan->n_values)
		qsort(scan->values, scan->n_values, sizeof *scan->values, by_name);
	qstore_status status = number_names(scan);
	if (!status)
		status = settle(&onnx->weights, scan->error);
	for (size_t i = 0; i < onnx->n_externals && !status; i++)
		status = settle(&onnx->externals[i].weights, scan->error);
	if (!status)
		status = onnx_resolve_claims(scan);
	if (onnx->weights.n_tensors)
		onnx->weights.header_size = onnx->weights.tensors[0].offset;
	if (onnx->n_externals)
		qsort(onnx->externals, onnx->n_externals, sizeof *onnx->externals, by_location);
	return status;
}

static qstore_status map_file(onnx_scan *scan, const char *path, size_t *size)
{
	const char *shown_path = qs_weights_shown_path(path);
	struct stat info;
	void *map;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info)) {
		int reason = errno;
		if (fd >= 0)
			close(fd);
		return qs_fail(scan->error, QSTORE_IO, "%s: cannot open: %s", shown_path, strerror(reason));
	}
	if (!S_ISREG(info.st_mode) || !info.st_size || (uint64_t)info.st_size > PTRDIFF_MAX) {
		close(fd);
		return qs_fail(scan->error, QSTORE_INPUT, "%s: %s", shown_path,
		               !S_ISREG(info.st_mode) ? "not a regular file"
		               : info.st_size         ? "too large for this machine"
		                                      : "empty, not an ONNX file");
	}
	*size = (size_t)info.st_size;
	map = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
	int reason = errno;
	close(fd);
	if (map == MAP_FAILED)
		return qs_fail(scan->error, QSTORE_IO, "%s: cannot read: %s", shown_path, strerror(reason));
	scan->message = map;
	scan->onnx->weights.file_size = *size;
	return QSTORE_OK;
}

qstore_status qs_onnx_open(qs_onnx *onnx, const char *path, qs_error *error)
{
	onnx_scan scan = {.onnx = onnx, .error = error};
	size_t size = 0;

	memset(onnx, 0, sizeof *onnx);
	onnx->weights.format = QS_FORMAT_ONNX;
	onnx->weights.path = strdup(path);
	if (!onnx->weights.path)
		return qs_weights_no_memory(path, error);
	qstore_status status = map_file(&scan, path, &size);
	if (!status) {
		status = read_model(&scan, (qs_pb){scan.message, scan.message + size});
		if (!status)
			status = settle_all(&scan);
		munmap((void *)(uintptr_t)scan.message, size);
	}
	free(scan.capacities);
	free(scan.values);
	free(scan.claims);
	return status;
}

void qs_onnx_close(qs_onnx *onnx)
{
	qs_weights_close(&onnx->weights);
	for (size_t i = 0; i < onnx->n_externals; i++) {
		qs_weights_close(&onnx->externals[i].weights);
		free(onnx->externals[i].location);
	}
	free(onnx->externals);
	qs_onnx_free_quants(onnx->quants, onnx->n_quants);
	memset(onnx, 0, sizeof *onnx);
}
