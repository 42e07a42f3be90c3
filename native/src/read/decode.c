#include "decode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"
#include "describe.h"
#include "grids.h"
#include "os/file.h"
#include "part.h"

/* The longest chain of objects that build on one another (core/index_objects.c): differences of ever coarser
 * variants, then a refinement, then codes of ever coarser variants; or differences, then an object of the
 * base. */
#define CHAIN_MAX (2 * QS_VARIANTS_MAX + 2)

/* The memory of a part is aligned for the widest vectors. aligned_alloc wants sizes that are multiples of
 * it. */
#define ALIGNMENT 64
_Static_assert(QS_CHUNK_SIZE_MAX % ALIGNMENT == 0, "a part's memory is not a multiple of its alignment");

struct qs_decoder {
	const qstore_archive *archive;
	qs_chunk_memory chunk;
	/* QS_CHUNK_SIZE_MAX bytes each: the objects of a chain take turns in the first two; the third, which is
	 * made when it is needed, has the left one of two joined matrices. */
	uint8_t *data[3];
	qs_grid_memory coarse_grid, own_grid;
	qs_side factors;
	qs_wholes *wholes, *own_wholes;
	qs_whole *whole;  /* the matrix that was used last, or NULL */
	qs_decoder *base; /* of the base, if that is an archive and was needed; else NULL */
};

qs_decoder *qs_decoder_create(const qstore_archive *archive, qs_wholes *wholes, int check_coded)
{
	qs_decoder *decoder = calloc(1, sizeof(*decoder));
	if (!decoder)
		return NULL;
	decoder->archive = archive;
	decoder->chunk.check_coded = check_coded;
	qs_grid_memory_init(&decoder->coarse_grid);
	qs_grid_memory_init(&decoder->own_grid);
	qs_side_init(&decoder->factors);
	decoder->data[0] = aligned_alloc(ALIGNMENT, QS_CHUNK_SIZE_MAX);
	decoder->data[1] = aligned_alloc(ALIGNMENT, QS_CHUNK_SIZE_MAX);
	decoder->own_wholes = wholes ? NULL : qs_wholes_create(archive);
	decoder->wholes = wholes ? wholes : decoder->own_wholes;
	if (!qs_chunk_memory_create(&decoder->chunk) || !decoder->data[0] || !decoder->data[1] ||
	    !decoder->wholes) {
		qs_decoder_destroy(decoder);
		return NULL;
	}
	return decoder;
}

void qs_decoder_destroy(qs_decoder *decoder)
{
	if (!decoder)
		return;
	qs_chunk_memory_free(&decoder->chunk);
	free(decoder->data[0]);
	free(decoder->data[1]);
	free(decoder->data[2]);
	qs_grid_memory_free(&decoder->coarse_grid);
	qs_grid_memory_free(&decoder->own_grid);
	qs_side_free(&decoder->factors);
	if (decoder->wholes)
		qs_wholes_put(decoder->wholes, decoder->whole);
	qs_wholes_destroy(decoder->own_wholes);
	qs_decoder_destroy(decoder->base);
	free(decoder);
}

/* ---- Chains of objects that build on one another ---- */

/* Reads a part whose bytes are in a file of the base. */
static qstore_status read_base(qs_decoder *decoder, const qs_part *part, uint8_t *dst, qstore_error *error)
{
	qstore_status status = qs_archive_check_base(decoder->archive, error);
	if (status)
		return status;
	const qs_base *base = decoder->archive->base;
	const qs_base_file *file = &base->files[part->object.base_file];
	uint64_t offset = part->object.base_offset + qs_part_first(part) * qs_dtype_size(part->object.dtype);
	if (!base->archive)
		return qs_pread_all(file->fd, dst, qs_part_size(part), offset, base->path, error);
	if (!decoder->base && !(decoder->base = qs_decoder_create(base->archive, NULL, 0)))
		return qs_no_memory(error);
	return qs_decoder_read_file(decoder->base, file->number, offset, dst, qs_part_size(part), error);
}

/* Decodes a part, given the decoded part `coarse` of the object that it builds on; NULL: it builds on none.
 */
static qstore_status decode_link(qs_decoder *decoder, const qs_part *part, const qs_part *coarse,
                                 const uint8_t *coarse_data, uint8_t *dst, qstore_error *error)
{
	qs_chunk_desc desc = qs_part_describe(part);
	qstore_status status = QSTORE_OK;
	if (part->object.kind == QS_KIND_BASE)
		return read_base(decoder, part, dst, error);
	if (coarse) {
		desc.coarse = coarse_data;
		desc.coarse_dtype = coarse->object.dtype;
	}
	if (coarse && part->object.kind != QS_KIND_DELTA)
		status = qs_grid_load(coarse, &decoder->coarse_grid, &decoder->chunk, &desc.coarse_grid, error);
	if (!status && coarse && part->object.kind == QS_KIND_CODES)
		status = qs_grid_load(part, &decoder->own_grid, &decoder->chunk, &desc.grid, error);
	if (!status && part->object.kind == QS_KIND_REFINE && part->object.scales != QS_NONE)
		status = qs_factors_load(part, &decoder->factors, &decoder->chunk, &desc, error);
	return status ? status : qs_part_decode(part, &desc, &decoder->chunk, dst, error);
}

/* Decodes a part of an object that is no layout. Objects that build on one another have chunks of the same
 * elements. So the chunks of these elements are decoded one after the other, the coarsest first, into the
 * decoder's two buffers in turn, and the last one into dst, which may be data[0]. */
static qstore_status decode_chain(qs_decoder *decoder, const qs_part *part, uint8_t *dst, qstore_error *error)
{
	uint32_t chain[CHAIN_MAX], n = 0;
	qs_object object = part->object;
	chain[n++] = part->object_number;
	while (object.coarse != QS_NONE) {
		assert(n < CHAIN_MAX);
		chain[n++] = object.coarse;
		qs_index_object(&decoder->archive->index, object.coarse, &object);
	}
	qs_part coarse, fine;
	const uint8_t *data = NULL;
	while (n-- > 0) {
		uint8_t *to = n == 0 ? dst : decoder->data[n & 1];
		fine = qs_part_of(decoder->archive, chain[n], part->number);
		qstore_status status = decode_link(decoder, &fine, data ? &coarse : NULL, data, to, error);
		if (status)
			return status;
		data = to;
		coarse = fine;
	}
	return QSTORE_OK;
}

/* ---- Layouts ---- */

static qstore_status decode_to_whole(void *user, const qs_part *part, uint8_t *dst, qstore_error *error)
{
	return decode_chain(user, part, dst, error);
}

/* Sets decoder->whole to a whole matrix of codes or floats, which is kept for the parts that follow. */
static qstore_status load_whole(qs_decoder *decoder, uint32_t number, qstore_error *error)
{
	if (decoder->whole && decoder->whole->object == number)
		return QSTORE_OK;
	qs_wholes_put(decoder->wholes, decoder->whole);
	return qs_wholes_get(decoder->wholes, number, decode_to_whole, decoder, &decoder->whole, error);
}

/* Makes a part of a layout that needs a whole matrix. */
static qstore_status lay_out_transposed(qs_decoder *decoder, const qs_part *part, uint8_t *dst,
                                        qstore_error *error)
{
	const qs_object *layout = &part->object;
	qs_object source;
	qs_index_object(&decoder->archive->index, layout->coarse, &source);
	qstore_status status = load_whole(decoder, layout->coarse, error);
	if (status)
		return status;
	const uint8_t *whole = decoder->whole->data;
	uint64_t rows = source.n_elems / source.cols, first = qs_part_first(part);
	uint32_t n = qs_part_elems(part);
	if (layout->rule == QS_LAYOUT_INTERLEAVED_COLUMNS)
		qs_words_interleave_columns(whole, rows, source.cols, first, n, dst);
	else if (layout->dtype == QS_I32)
		qs_words_pack_transposed(layout->bits, whole, rows, source.cols, first, n, dst);
	else
		qs_transpose_elems(qs_dtype_size(layout->dtype), whole, rows, source.cols, first, n, dst);
	return QSTORE_OK;
}

/* A part of a layout that is the same parts of two matrices, side by side. */
static qstore_status lay_out_joined(qs_decoder *decoder, const qs_part *part, uint8_t *dst,
                                    qstore_error *error)
{
	qs_part left = qs_part_of(decoder->archive, part->object.coarse, part->number),
	        right = qs_part_of(decoder->archive, part->object.beside, part->number);
	if (!decoder->data[2] && !(decoder->data[2] = aligned_alloc(ALIGNMENT, QS_CHUNK_SIZE_MAX)))
		return qs_no_memory(error);
	qstore_status status = decode_chain(decoder, &left, decoder->data[2], error);
	if (!status)
		status = decode_chain(decoder, &right, decoder->data[0], error);
	if (status)
		return status;
	uint32_t size = qs_dtype_size(part->object.dtype);
	qs_join_rows(decoder->data[2], (size_t)left.object.cols * size, decoder->data[0],
	             (size_t)right.object.cols * size, qs_part_elems(part) / (size_t)part->object.cols, dst);
	return QSTORE_OK;
}

/* A part of a layout whose elements are those of the same part of the codes. */
static qstore_status lay_out_in_place(qs_decoder *decoder, const qs_part *part, uint8_t *dst,
                                      qstore_error *error)
{
	const qs_object *layout = &part->object;
	qs_part codes = qs_part_of(decoder->archive, layout->coarse, part->number);
	uint8_t *source = decoder->data[0];
	uint32_t n = qs_part_elems(part);
	qstore_status status = decode_chain(decoder, &codes, source, error);
	if (status)
		return status;
	if (layout->rule == QS_LAYOUT_PACKED) {
		qs_words_pack(layout->bits, source, qs_part_size(part) / 4, dst);
	} else if (layout->rule == QS_LAYOUT_INTERLEAVED) {
		qs_words_interleave(source, n, dst);
	} else {
		qs_grid grid;
		status = qs_grid_load(&codes, &decoder->coarse_grid, &decoder->chunk, &grid, error);
		if (!status)
			qs_blocks_join(layout->dtype, qs_rule_has_absmax(grid.rule) ? grid.scales_dtype : QS_BYTES,
			               source, grid.scales, n / qs_block_elems(layout->dtype), dst);
	}
	return status;
}

/* ---- Checks ---- */

static qstore_status find_damage(qs_decoder *decoder, uint32_t number, uint32_t first, uint32_t n,
                                 qstore_error *error);

/* Compares all chunks that an object is made of with their checksums. number may be QS_NONE: no object. */
static qstore_status find_damage_in(qs_decoder *decoder, uint32_t number, qstore_error *error)
{
	qs_object object;
	if (number == QS_NONE)
		return QSTORE_OK;
	qs_index_object(&decoder->archive->index, number, &object);
	return find_damage(decoder, number, 0, object.n_chunks, error);
}

/* Compares the chunks that parts [first, first + n) of an object are made of with their checksums, the
 * coarsest ones first. The error names the first chunk that differs. */
static qstore_status find_damage(qs_decoder *decoder, uint32_t number, uint32_t first, uint32_t n,
                                 qstore_error *error)
{
	qs_object object;
	qs_index_object(&decoder->archive->index, number, &object);
	qstore_status status = QSTORE_OK;
	if (qs_object_is_by_columns(&object))
		status = find_damage_in(decoder, object.coarse, error);
	else if (object.coarse != QS_NONE)
		status = find_damage(decoder, object.coarse, first, n, error);
	int is_joined = object.kind == QS_KIND_LAYOUT && object.rule == QS_LAYOUT_JOINED;
	if (is_joined && !status)
		status = find_damage(decoder, object.beside, first, n, error);
	const uint32_t sides[] = {object.scales, is_joined ? QS_NONE : object.zero_points, object.order};
	for (size_t i = 0; i < sizeof(sides) / sizeof(*sides) && !status; i++)
		status = find_damage_in(decoder, sides[i], error);
	for (uint32_t i = first; i < first + n && object.n_chunks > 0 && !status; i++) {
		qs_part part = qs_part_of(decoder->archive, number, i);
		size_t coded_size;
		status = qs_part_read(&part, &decoder->chunk, 1, &coded_size, error);
	}
	return status;
}

/* ---- Parts and files ---- */

/* Decodes a part and compares it with its checksum. */
static qstore_status decode_part(qs_decoder *decoder, const qs_part *part, uint8_t *dst, qstore_error *error)
{
	const qs_object *object = &part->object;
	qstore_status status;
	if (qs_object_is_by_columns(object))
		status = lay_out_transposed(decoder, part, dst, error);
	else if (object->kind == QS_KIND_LAYOUT && object->rule == QS_LAYOUT_JOINED)
		status = lay_out_joined(decoder, part, dst, error);
	else if (object->kind == QS_KIND_LAYOUT)
		status = lay_out_in_place(decoder, part, dst, error);
	else
		status = decode_chain(decoder, part, dst, error);
	/* The parts that this one builds on were not compared with their checksums, because they are right if
	 * this one is. */
	if (!status && qs_checksum(dst, qs_part_size(part)) !=
	                   qs_index_part_checksum(&decoder->archive->index, object->first_part + part->number))
		status = qs_part_fail(part, QSTORE_CORRUPT,
		                      object->kind == QS_KIND_BASE
		                          ? "is damaged: it is not what the base had"
		                          : "is damaged: it decodes to other bytes than were packed",
		                      error);
	if (status != QSTORE_CORRUPT && status != QSTORE_NEWER)
		return status;
	/* A chunk whose coded bytes have changed is the best explanation, so the error names such a chunk if
	 * there is one. Changed bytes may also look like those of a newer version. */
	qstore_status damage = find_damage(decoder, part->object_number, part->number, 1, error);
	return damage ? damage : status;
}

qstore_status qs_decoder_read(qs_decoder *decoder, const qs_part_range *range, uint8_t *dst,
                              qstore_error *error)
{
	qs_part part = qs_part_of(decoder->archive, range->object, range->part);
	uint32_t part_size = qs_part_size(&part);
	assert(range->skip <= part_size && range->size <= part_size - range->skip);
	if (range->size == part_size)
		return decode_part(decoder, &part, dst, error);
	/* The end of a chain may be decoded into data[0], as the object before it is in data[1]. A layout reads
	 * its codes from data[0], so its part is made in data[1]. */
	uint8_t *all = decoder->data[part.object.kind == QS_KIND_LAYOUT];
	qstore_status status = decode_part(decoder, &part, all, error);
	if (!status)
		memcpy(dst, all + range->skip, range->size);
	return status;
}

qstore_status qs_decoder_view(qs_decoder *decoder, uint32_t object, uint32_t number, qs_chunk_view *view,
                              qstore_error *error)
{
	qs_part part = qs_part_of(decoder->archive, object, number);
	qs_chunk_memory *chunk = &decoder->chunk;
	qstore_status status = decode_part(decoder, &part, decoder->data[0], error);
	if (status)
		return status;
	/* The part's own chunk was the last of its chain to be decoded, so the decoder's memory still has it. */
	view->coded_size = qs_index_chunk_size(&decoder->archive->index, part.object.first_chunk + number);
	view->mode = chunk->coded[0];
	view->n_blocks = qs_chunk_block_types(chunk->work, chunk->work_size, &view->types);
	return QSTORE_OK;
}

qstore_status qs_decoder_read_file(qs_decoder *decoder, uint32_t number, uint64_t offset, uint8_t *dst,
                                   size_t size, qstore_error *error)
{
	qs_file file;
	qs_index_file(&decoder->archive->index, number, &file);
	qs_part_walk walk = qs_part_walk_start(decoder->archive, &file, offset, size);
	qstore_status status = QSTORE_OK;
	for (qs_part_range range; !status && qs_part_walk_next(&walk, &range); dst += range.size)
		status = qs_decoder_read(decoder, &range, dst, error);
	return status;
}
