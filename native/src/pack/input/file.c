/* Whole files, as they will be restored. */
#include "input.h"

qstore_status pack_file_read(const pack_file *file, uint8_t *dst, size_t size, uint64_t offset,
                             uint8_t *scratch, qstore_error *error)
{
	/* `low` becomes the first tensor that ends behind offset. */
	size_t low = 0, high = file->n_tensors;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (file->tensors[middle].offset + file->tensors[middle].size <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	while (size > 0) {
		const pack_tensor *t = low < file->n_tensors ? &file->tensors[low] : NULL;
		qstore_status status;
		uint64_t n;
		if (t && t->offset <= offset) {
			n = t->offset + t->size - offset;
			n = n < size ? n : size;
			status = pack_tensor_read(t, dst, (size_t)n, offset - t->offset, scratch, error);
			low += offset + n == t->offset + t->size;
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
