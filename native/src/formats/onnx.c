#include "onnx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx_quant.h"
#include "onnx_scan.h"
#include "onnx_tensor.h"
#include "os/array.h"
#include "text.h"

#define DEPTH_MAX                                                                                            \
	32 /* graphs within graphs; the protobuf library's own limit is 100 messages, three a graph */

/* ---- Graphs ---- */

static qstore_status read_graph(onnx_scan *scan, qs_pb message, int depth);

/* AttributeProto: tensors and graphs within it. output: of the node, when it is a Constant. */
static qstore_status read_attribute(onnx_scan *scan, qs_pb message, qs_pb output, int depth)
{
	enum { TENSOR = 5, GRAPH, TENSORS = 10, GRAPHS };
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	while (!status && onnx_next(scan, &message, &field, &status) > 0) {
		if (field.number == TENSOR && onnx_is_bytes(scan, &field, message, &status))
			status = onnx_take_tensor(scan, field.bytes, output);
		else if (field.number == TENSORS && onnx_is_bytes(scan, &field, message, &status))
			status = onnx_take_tensor(scan, field.bytes, (qs_pb){0});
		else if ((field.number == GRAPH || field.number == GRAPHS) &&
		         onnx_is_bytes(scan, &field, message, &status))
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
	while (onnx_next(scan, &message, &field, &status) > 0) {
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
	while (!status && onnx_next(scan, &message, &field, &status) > 0) {
		if (field.number > ATTRIBUTE || field.number == 3)
			continue;
		if (!onnx_is_bytes(scan, &field, message, &status))
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
	while (!status && onnx_next(scan, &again, &field, &status) > 0)
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
		return qs_fail(scan->error, QSTORE_INPUT,
		               "%s: graphs are nested more than %d deep; leave the file out by --skip",
		               qs_shown_path(scan->onnx->weights.path), DEPTH_MAX);
	while (!status && onnx_next(scan, &message, &field, &status) > 0) {
		if (field.number == NODE && onnx_is_bytes(scan, &field, message, &status))
			status = read_node(scan, field.bytes, depth);
		else if (field.number == INITIALIZER && onnx_is_bytes(scan, &field, message, &status))
			status = onnx_take_tensor(scan, field.bytes, (qs_pb){0});
	}
	return status;
}

static qstore_status read_function(onnx_scan *scan, qs_pb message)
{
	enum { NODE = 7 };
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	while (!status && onnx_next(scan, &message, &field, &status) > 0)
		if (field.number == NODE && onnx_is_bytes(scan, &field, message, &status))
			status = read_node(scan, field.bytes, 0);
	return status;
}

static qstore_status read_model(onnx_scan *scan, qs_pb message)
{
	enum { GRAPH = 7, FUNCTION = 25 };
	const char *path = qs_shown_path(scan->onnx->weights.path);
	int has_graph = 0;
	qs_pb_field field;
	qstore_status status = QSTORE_OK;
	char other[QS_OTHER_SIZE];
	if (qs_weights_is_other(message.at, qs_pb_size(message), "ONNX", other))
		return qs_fail(scan->error, QSTORE_INPUT, "%s: %s", path, other);
	while (!status && onnx_next(scan, &message, &field, &status) > 0) {
		if (field.number == GRAPH && onnx_is_bytes(scan, &field, message, &status)) {
			has_graph = 1;
			status = read_graph(scan, field.bytes, 0);
		} else if (field.number == FUNCTION && onnx_is_bytes(scan, &field, message, &status)) {
			status = read_function(scan, field.bytes);
		}
	}
	if (!status && !has_graph)
		status = qs_fail(
		    scan->error, QSTORE_INPUT,
		    "%s: not an ONNX model: it has no graph; download it again, or leave it out by --skip", path);
	return status;
}

/* ---- After the message is read ---- */

static int compare_values(const void *a, const void *b)
{
	const onnx_value *x = a, *y = b;
	int order = qs_pb_compare(x->name, y->name);
	return order ? order : x->order < y->order ? -1 : x->order > y->order;
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
		qs_weight *tensor = &onnx_file_of(scan, value)->tensors[value->index];
		tensor->name = qs_arena_text(&onnx_file_of(scan, value)->arena, "%s#%lu", tensor->name, n);
		if (!tensor->name)
			return qs_no_memory(scan->error);
		if (onnx_find_value(scan, qs_pb_of_text(tensor->name)))
			return ONNX_FAIL(scan, value->name, "the name is there %lu times", n);
	}
	return QSTORE_OK;
}

static int compare_extents(const void *a, const void *b)
{
	const qs_weight *x = a, *y = b;
	return x->offset != y->offset ? (x->offset < y->offset ? -1 : 1)
	       : x->size != y->size   ? (x->size < y->size ? -1 : 1)
	                              : strcmp(x->name, y->name);
}

/* Leaves out tensors that have bytes of another one (weights that are tied, parts of a tensor), of any two
 * the smaller, and sorts the rest. */
static qstore_status settle(qs_weights *file, qstore_error *error)
{
	size_t n = 0;
	if (file->n_tensors)
		qsort(file->tensors, file->n_tensors, sizeof *file->tensors, compare_extents);
	for (size_t i = 0; i < file->n_tensors; i++) {
		qs_weight *tensor = &file->tensors[i], *last = n ? &file->tensors[n - 1] : NULL;
		if (!last || last->offset + last->size <= tensor->offset)
			file->tensors[n++] = *tensor;
		else if (tensor->size > last->size)
			*last = *tensor;
	}
	file->n_tensors = n;
	return qs_weights_sort(file, error);
}

qstore_status qs_onnx_merge(qs_weights *file, qs_weights *other, qstore_error *error)
{
	qs_weight *tensors = qs_array_grow(file->tensors, file->n_tensors, other->n_tensors, sizeof *tensors);
	if (!tensors)
		return qs_no_memory(error);
	file->tensors = tensors;
	if (other->n_tensors)
		memcpy(tensors + file->n_tensors, other->tensors, other->n_tensors * sizeof *tensors);
	file->n_tensors += other->n_tensors;
	other->n_tensors = 0;
	qs_arena_take(&file->arena, &other->arena);
	free(file->by_name);
	file->by_name = NULL;
	return settle(file, error);
}

static int compare_locations(const void *a, const void *b)
{
	return strcmp(((const qs_onnx_external *)a)->location, ((const qs_onnx_external *)b)->location);
}

static qstore_status settle_all(onnx_scan *scan)
{
	qs_onnx *onnx = scan->onnx;
	if (scan->n_values)
		qsort(scan->values, scan->n_values, sizeof *scan->values, compare_values);
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
		qsort(onnx->externals, onnx->n_externals, sizeof *onnx->externals, compare_locations);
	return status;
}

static qstore_status map_file(onnx_scan *scan, const char *path, size_t *size)
{
	const char *shown_path = qs_shown_path(path);
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

qstore_status qs_onnx_open(qs_onnx *onnx, const char *path, qstore_error *error)
{
	onnx_scan scan = {.onnx = onnx, .error = error};
	size_t size = 0;

	memset(onnx, 0, sizeof *onnx);
	qstore_status status = qs_weights_init(&onnx->weights, path, QS_FORMAT_ONNX, error);
	if (!status)
		status = map_file(&scan, path, &size);
	if (!status) {
		status = read_model(&scan, (qs_pb){scan.message, scan.message + size});
		if (!status)
			status = settle_all(&scan);
		munmap((void *)(uintptr_t)scan.message, size);
	}
	free(scan.values);
	free(scan.claims);
	qs_arena_free(&scan.arena);
	return status;
}

void qs_onnx_close(qs_onnx *onnx)
{
	qs_weights_close(&onnx->weights);
	for (size_t i = 0; i < onnx->n_externals; i++)
		qs_weights_close(&onnx->externals[i].weights);
	free(onnx->externals);
	free(onnx->quants);
	memset(onnx, 0, sizeof *onnx);
}
