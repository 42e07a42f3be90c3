#include "objects.h"

#include <stdlib.h>
#include <string.h>

void objects_open(objects *o, const char *path)
{
	qstore_error error;
	if (qstore_open(path, &o->archive, &error))
		fail("%s", error.text);
	o->decoder = need(qs_decoder_create(o->archive, NULL, 0));
}

void objects_close(objects *o)
{
	qs_decoder_destroy(o->decoder);
	qstore_close(o->archive);
}

qs_object object_at(const objects *o, uint32_t number)
{
	qs_object object;
	qs_index_object(&o->archive->index, number, &object);
	return object;
}

uint8_t *object_load(const objects *o, uint32_t number)
{
	qs_object object = object_at(o, number);
	uint64_t filled = 0, size = object.n_elems * qs_dtype_size(object.dtype);
	uint8_t *bytes = need(malloc(size ? size : 1));
	for (uint32_t c = 0; c < object.n_chunks; c++) {
		uint64_t part = qs_part_bytes(&object), n = size - filled < part ? size - filled : part;
		qstore_error error;
		if (qs_decoder_read(o->decoder, &(qs_part_range){number, c, 0, (uint32_t)n}, bytes + filled, &error))
			fail("%s", error.text);
		filled += n;
	}
	return bytes;
}

qs_grid grid_load(const objects *o, const qs_object *codes, uint8_t *memory[3])
{
	qs_object scales = object_at(o, codes->scales);
	memory[0] = object_load(o, codes->scales);
	memory[1] = codes->zero_points == QS_NONE ? NULL : object_load(o, codes->zero_points);
	memory[2] = codes->order == QS_NONE ? NULL : object_load(o, codes->order);
	return (qs_grid){.rule = codes->rule,
	                 .codes_dtype = codes->dtype,
	                 .group = codes->group,
	                 .row_stride = codes->row_stride,
	                 .group_stride = codes->group_stride,
	                 .order = memory[2],
	                 .scales = memory[0],
	                 .scales_size = scales.n_elems * qs_dtype_size(scales.dtype),
	                 .scales_dtype = scales.dtype,
	                 .zero_points = memory[1],
	                 .zero_points_size = memory[1] ? object_at(o, codes->zero_points).n_elems : 0,
	                 .zero_offset = codes->zero_offset};
}

void grid_free(uint8_t *memory[3])
{
	for (int i = 0; i < 3; i++)
		free(memory[i]);
}

qs_chunk_desc object_chunk(const qs_object *object, uint32_t chunk)
{
	uint64_t first = (uint64_t)chunk * object->chunk_elems, left = object->n_elems - first;
	return (qs_chunk_desc){.kind = object->kind,
	                       .dtype = object->dtype,
	                       .n_elems = left < object->chunk_elems ? (uint32_t)left : object->chunk_elems,
	                       .cols = object->cols,
	                       .first_elem = first};
}
