#include "compare.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/index.h"
#include "os/file.h"

/* Elements of the middle chunk that are coded to see whether differences pay. */
#define SAMPLE_ELEMS (1u << 16)

qstore_status pack_are_equal(const pack_tensor *a, const pack_tensor *b, const pack_progress *progress,
                             uint8_t *buffer, int *equal, qstore_error *error)
{
	assert(a->size == b->size && a->view == PACK_AS_IS && b->view == PACK_AS_IS);
	*equal = 1;
	for (uint64_t at = 0; at < a->size && *equal; at += QS_IO_BLOCK) {
		size_t n = a->size - at < QS_IO_BLOCK ? (size_t)(a->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_read(a->source, buffer, n, a->source_offset + at, error);
		if (!status)
			status = pack_read(b->source, buffer + QS_IO_BLOCK, n, b->source_offset + at, error);
		if (!status)
			status = pack_check_cancelled(progress, error);
		if (status)
			return status;
		*equal = memcmp(buffer, buffer + QS_IO_BLOCK, n) == 0;
	}
	return QSTORE_OK;
}

qstore_status pack_delta_pays(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *coarse,
                              int *pays, qstore_error *error)
{
	uint32_t chunk_elems;
	uint64_t elems = pack_n_elems(fine), first;
	qs_chunk_desc desc = {.kind = QS_KIND_PLAIN, .dtype = fine->dtype, .coarse_dtype = coarse->dtype};
	pack_geometry(fine, &desc.cols, &chunk_elems);
	first = elems / chunk_elems / 2 * chunk_elems;
	desc.first_elem = first;
	desc.n_elems = elems - first < SAMPLE_ELEMS ? (uint32_t)(elems - first) : SAMPLE_ELEMS;
	size_t elem_size = qs_dtype_size(fine->dtype), coarse_elem_size = qs_dtype_size(coarse->dtype);
	size_t size = desc.n_elems * elem_size, coarse_size = desc.n_elems * coarse_elem_size;
	size_t cap = qs_chunk_bound(size), plain_size = 0, delta_size = 0;
	uint8_t *memory = malloc(size + coarse_size + cap + PACK_SCRATCH_SIZE);
	*pays = 0;
	qstore_status status = memory ? QSTORE_OK : qs_no_memory(error);
	if (!status) {
		uint8_t *values = memory, *given = values + size, *coded = given + coarse_size,
		        *scratch = coded + cap;
		status = pack_tensor_read(fine, values, size, first * elem_size, scratch, error);
		if (!status)
			status = pack_tensor_read(coarse, given, coarse_size, first * coarse_elem_size, scratch, error);
		if (!status)
			status = qs_chunk_encode(encoder, &desc, values, size, coded, cap, &plain_size, NULL);
		desc.kind = QS_KIND_DELTA;
		desc.coarse = given;
		if (!status)
			status = qs_chunk_encode(encoder, &desc, values, size, coded, cap, &delta_size, NULL);
		if (status == QSTORE_USAGE || status == QSTORE_LIMIT)
			status = qs_fail(error, status, "tensor %s: cannot be coded: %s; please report this", fine->name,
			                 qstore_status_message(status));
	}
	free(memory);
	*pays = !status && delta_size < plain_size - plain_size / 50;
	return status;
}
