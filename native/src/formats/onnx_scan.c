#include "onnx_scan.h"

#include <string.h>

#include "os/search.h"
#include "text.h"

qstore_status onnx_malformed(onnx_scan *scan, qs_pb at, const char *what)
{
	const char *path = qs_shown_path(scan->onnx->weights.path);
	return qs_fail(scan->error, QSTORE_INPUT,
	               "%s: truncated, or not an ONNX file: %s (at byte %zu); download it again", path, what,
	               (size_t)(at.at - scan->message));
}

const char *onnx_shown(qs_pb name, char text[ONNX_SHOWN_MAX + 1])
{
	size_t size = qs_pb_size(name) < ONNX_SHOWN_MAX ? qs_pb_size(name) : ONNX_SHOWN_MAX;
	if (size)
		memcpy(text, name.at, size);
	text[size] = 0;
	return text;
}

int onnx_next(onnx_scan *scan, qs_pb *message, qs_pb_field *field, qstore_status *status)
{
	const char *wrong = NULL;
	int more = qs_pb_next(message, field, &wrong);
	if (more < 0)
		*status = onnx_malformed(scan, *message, wrong);
	return more;
}

int onnx_is_bytes(onnx_scan *scan, const qs_pb_field *field, qs_pb message, qstore_status *status)
{
	if (field->type != QS_PB_BYTES)
		*status = onnx_malformed(scan, message, "a field is not of the type that ONNX gives it");
	return field->type == QS_PB_BYTES;
}

qs_weights *onnx_file_of(const onnx_scan *scan, const onnx_value *value)
{
	return value->file == ONNX_NO_TENSOR  ? NULL
	       : value->file == ONNX_IN_MODEL ? &scan->onnx->weights
	                                      : &scan->onnx->externals[value->file - ONNX_IN_MODEL - 1].weights;
}

static int compare_value_name(const void *value, const void *name)
{
	return qs_pb_compare(((const onnx_value *)value)->name, *(const qs_pb *)name);
}

const onnx_value *onnx_find_value(const onnx_scan *scan, qs_pb name)
{
	size_t low =
	    qs_lower_bound(scan->values, scan->n_values, sizeof *scan->values, &name, compare_value_name);
	return low < scan->n_values && !qs_pb_compare(scan->values[low].name, name) ? &scan->values[low] : NULL;
}

static int compare_with_offset(const void *tensor, const void *offset)
{
	return ((const qs_weight *)tensor)->offset < *(const uint64_t *)offset ? -1 : 0;
}

const qs_weight *onnx_tensor_of(const onnx_scan *scan, const onnx_value *value)
{
	const qs_weights *file = value ? onnx_file_of(scan, value) : NULL;
	if (!file)
		return NULL;
	uint64_t offset = value->offset;
	size_t low =
	    qs_lower_bound(file->tensors, file->n_tensors, sizeof *file->tensors, &offset, compare_with_offset);
	return low < file->n_tensors && file->tensors[low].offset == offset &&
	               file->tensors[low].size == value->size
	           ? &file->tensors[low]
	           : NULL;
}
