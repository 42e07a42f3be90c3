/* qstore_each_chunk, which tells how an archive's chunks are coded. */
#include <string.h>

#include "core/facts.h"
#include "core/symbols.h"
#include "decode.h"
#include "error.h"

/* Returns the name of a tensor that is the object, else of a file that has bytes of it; NULL if there is
 * neither. */
static const char *owner_name(const qs_index *index, uint32_t object, int *is_tensor)
{
	qs_file file;
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		*is_tensor = tensor.object == object;
		if (*is_tensor)
			return tensor.name;
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_index_file(index, i, &file);
		for (uint32_t j = 0; j < file.n_extents; j++) {
			qs_extent extent;
			qs_index_extent(index, file.first_extent + j, &extent);
			if (extent.object == object)
				return file.name;
		}
	}
	return NULL;
}

_Static_assert((int)QSTORE_BLOCKS_MAX == (int)QS_BLOCK_TYPES_MAX, "the public header has another limit");

static void describe_object(const qs_index *index, uint32_t number, const qs_object *object,
                            qstore_chunk_info *info)
{
	int is_tensor = 0;
	const char *name = owner_name(index, number, &is_tensor);
	qs_variant variant;
	qs_index_variant(index, object->variant, &variant);
	*info = (qstore_chunk_info){.object = number,
	                            .variant = variant.name,
	                            .kind = qs_kind_name(object->kind),
	                            .dtype = qs_dtype_name(object->dtype),
	                            .tensor = is_tensor ? name : NULL,
	                            .file = is_tensor ? NULL : name,
	                            .n_chunks = object->n_chunks};
}

qstore_status qstore_each_chunk(const qstore_archive *archive,
                                int (*take)(void *user, const qstore_chunk_info *chunk), void *user,
                                qstore_error *error)
{
	const qs_index *index = &archive->index;
	qs_error_clear(error);
	qs_decoder *decoder = qs_decoder_create(archive, NULL, 1);
	qstore_status status = decoder ? QSTORE_OK : qs_no_memory(error);
	int go_on = 1;
	for (uint32_t i = 0; i < index->n_objects && !status && go_on; i++) {
		qs_object object;
		qstore_chunk_info info;
		qs_index_object(index, i, &object);
		if (object.n_chunks > 0)
			describe_object(index, i, &object, &info);
		for (uint32_t c = 0; c < object.n_chunks && !status && go_on; c++) {
			qs_chunk_view view;
			uint64_t left = object.n_elems - (uint64_t)c * object.chunk_elems;
			status = qs_decoder_view(decoder, i, c, &view, error);
			if (status)
				break;
			info.chunk = c;
			info.n_elems = left < object.chunk_elems ? left : object.chunk_elems;
			info.coded_size = view.coded_size;
			info.mode = qs_mode_name(view.mode);
			info.n_blocks = view.n_blocks;
			for (uint32_t b = 0; b < view.n_blocks; b++)
				info.blocks[b] = qs_symbols_name(view.types[b]);
			go_on = take(user, &info);
		}
	}
	qs_decoder_destroy(decoder);
	return status;
}
