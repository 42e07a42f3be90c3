/* Whole files, as they will be restored. */
#include "input.h"

#include "os/search.h"

/* A tensor that ends at or before the offset is below it. */
static int compare_end(const void *tensor, const void *offset)
{
	const pack_tensor *t = tensor;
	return t->offset + t->size <= *(const uint64_t *)offset ? -1 : 1;
}

qstore_status pack_file_read(const pack_file *file, uint8_t *dst, size_t size, uint64_t offset,
                             uint8_t *scratch, qstore_error *error)
{
	/* The first tensor that ends behind the offset. */
	size_t next =
	    qs_lower_bound(file->tensors, file->n_tensors, sizeof(*file->tensors), &offset, compare_end);
	while (size > 0) {
		const pack_tensor *t = next < file->n_tensors ? &file->tensors[next] : NULL;
		qstore_status status;
		uint64_t n;
		if (t && t->offset <= offset) {
			n = t->offset + t->size - offset;
			n = n < size ? n : size;
			status = pack_tensor_read(t, dst, (size_t)n, offset - t->offset, scratch, error);
			next += offset + n == t->offset + t->size;
		} else {
			n = t ? t->offset - offset : size;
			n = n < size ? n : size;
			status = pack_read(file->gaps.source, dst, (size_t)n, pack_gap_offset(file, offset), error);
		}
		if (status)
			return status;
		dst += n;
		offset += n;
		size -= (size_t)n;
	}
	return QSTORE_OK;
}
