#include "npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_SIZE 10 /* bytes of magic, version and length */
#define ALIGNMENT 64
#define DIMS_MAX 64 /* of an array of NumPy 2 */

/* NumPy's name of a dtype; NULL: it has none. */
static const char *numpy_type(uint32_t dtype)
{
	switch (dtype) {
	case QS_BOOL:
		return "|b1";
	case QS_U8:
		return "|u1";
	case QS_I8:
		return "|i1";
	case QS_U16:
		return "<u2";
	case QS_I16:
		return "<i2";
	case QS_F16:
		return "<f2";
	case QS_U32:
		return "<u4";
	case QS_I32:
		return "<i4";
	case QS_F32:
		return "<f4";
	case QS_U64:
		return "<u8";
	case QS_I64:
		return "<i8";
	case QS_F64:
		return "<f8";
	case QS_C64:
		return "<c8";
	default:
		return NULL;
	}
}

qstore_status qs_npy_header(const qs_weight *tensor, uint8_t **header, size_t *header_size,
                            qstore_error *error)
{
	const char *type = numpy_type(tensor->dtype);
	*header = NULL;
	*header_size = 0;
	if (!type)
		return qs_fail(error, QSTORE_USAGE,
		               "tensor %.400s is %s, which NumPy does not have: add --as f32, or name a .bin file",
		               tensor->name, qs_dtype_name(tensor->dtype));
	if (tensor->n_dims > DIMS_MAX)
		return qs_fail(error, QSTORE_LIMIT, "tensor %.400s has %u dimensions: NumPy's arrays have %d at most",
		               tensor->name, tensor->n_dims, DIMS_MAX);
	/* A dimension has at most 20 digits. */
	size_t room = START_SIZE + 100 + (size_t)22 * tensor->n_dims + ALIGNMENT;
	char *text = malloc(room);
	if (!text)
		return qs_no_memory(error);
	static const uint8_t start[START_SIZE] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0, 0};
	memcpy(text, start, START_SIZE);
	size_t size = START_SIZE;
	size += (size_t)snprintf(text + size, room - size, "{'descr': '%s', 'fortran_order': False, 'shape': (",
	                         type);
	for (uint32_t i = 0; i < tensor->n_dims; i++)
		size += (size_t)snprintf(text + size, room - size, i == 0 ? "%" PRIu64 "," : " %" PRIu64 ",",
		                         tensor->dims[i]);
	if (tensor->n_dims > 1)
		size--; /* only a shape of one dimension ends in a comma */
	size += (size_t)snprintf(text + size, room - size, "), }");
	while ((size + 1) % ALIGNMENT != 0)
		text[size++] = ' ';
	text[size++] = '\n';
	text[8] = (char)((size - START_SIZE) & 255);
	text[9] = (char)((size - START_SIZE) >> 8);
	*header = (uint8_t *)text;
	*header_size = size;
	return QSTORE_OK;
}
