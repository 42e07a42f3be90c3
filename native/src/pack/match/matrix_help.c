#include "matrix.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

void pack_set_matrix(pack_tensor *t, pack_tensor *codes, const pack_grid *grid, uint32_t bits)
{
	codes->code_bits = bits;
	pack_set_codes(codes, grid);
	pack_set_layout(t, codes, bits);
	t->matrix = codes;
}

pack_tensor *pack_derive_zero_points(pack_derived *derived, pack_tensor *packed, pack_view view,
                                     uint32_t bits, uint64_t rows, uint64_t cols)
{
	pack_tensor *zero_points = pack_derive(derived, packed, view, QS_U8, rows, cols);
	if (!zero_points)
		return NULL;
	zero_points->code_bits = bits;
	pack_set_layout(packed, zero_points, bits);
	return zero_points;
}

/* Elements that are read at a time, and the most of a tensor that are. */
#define NARROWED_AT_ONCE 1024
#define NARROWED_MAX (1u << 24)

/* Fills bytes[n]. *low and *high: the least and the largest value; reading ends when no byte holds both. */
static qstore_status narrow(const pack_tensor *t, uint64_t n, uint8_t *bytes, int64_t *low, int64_t *high,
                            qstore_error *error)
{
	uint8_t elems[8 * NARROWED_AT_ONCE];
	size_t elem_size = qs_dtype_size(t->dtype);
	*low = *high = 0;
	for (uint64_t at = 0; at < n && *low >= -128 && *high <= (*low < 0 ? 127 : 255); at += NARROWED_AT_ONCE) {
		size_t some = n - at < NARROWED_AT_ONCE ? (size_t)(n - at) : NARROWED_AT_ONCE;
		qstore_status status =
		    pack_read(t->source, elems, some * elem_size, t->source_offset + at * elem_size, error);
		if (status)
			return status;
		for (size_t i = 0; i < some; i++) {
			int64_t value =
			    elem_size == 8 ? (int64_t)qs_load64(elems + 8 * i) : (int32_t)qs_load32(elems + 4 * i);
			*low = value < *low ? value : *low;
			*high = value > *high ? value : *high;
			bytes[at + i] = (uint8_t)value;
		}
	}
	return QSTORE_OK;
}

qstore_status pack_narrow_zero_points(pack_derived *derived, pack_tensor *t, qstore_error *error)
{
	uint64_t n = pack_n_elems(t);
	if ((t->dtype != QS_I64 && t->dtype != QS_I32) || t->view != PACK_AS_IS || n == 0 || n > NARROWED_MAX ||
	    !strstr(t->name, "zero"))
		return QSTORE_OK;
	int64_t low, high;
	uint8_t *bytes = malloc((size_t)n);
	qstore_status status = bytes ? narrow(t, n, bytes, &low, &high, error) : qs_no_memory(error);
	if (!status && low >= -128 && high <= (low < 0 ? 127 : 255)) {
		status = pack_derive_copy(derived, t, high > 127 ? QS_U8 : QS_I8, bytes, n, &t->bytes, error);
		if (!status) { /* they may be those of slices */
			t->bytes->n_dims = t->n_dims;
			t->bytes->dims = t->dims;
		}
	}
	free(bytes);
	return status;
}

const char *pack_with_prefix(pack_derived *derived, const char *prefix, const char *name)
{
	return prefix && prefix[0] != 0 ? qs_arena_text(derived->arena, "%s/%s", prefix, name) : name;
}
