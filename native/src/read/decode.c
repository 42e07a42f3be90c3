/* Decoding of one chunk, with what it builds on. */
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"
#include "archive.h"
#include "base.h"
#include "os/file.h"
#include "whole.h"

/* Differences, a refinement, and its codes, recoded layer by layer. */
#define CHAIN_MAX (2 * QS_VARIANTS_MAX + 2)

/* A range of an object's elements, as grids need them. */
typedef struct range {
	/* What `chunk` holds: neighbours in a matrix need the same one. */
	const qstore_archive *archive;
	uint32_t object, number, size;
	uint8_t *chunk, *joined; /* joined: of more than one chunk */
	size_t joined_cap;
} range;

enum { COARSE_SCALES, COARSE_ZEROS, COARSE_ORDER, OWN_SCALES, OWN_ZEROS, OWN_ORDER, FACTORS, N_RANGES };

struct qs_decoder {
	uint8_t *coded, *data[2]; /* data: of a chunk, and of the one that it builds on */
	void *work;
	size_t work_size;
	range ranges[N_RANGES];
	qs_wholes *wholes, *own_wholes;
	qs_whole *whole;
	int check_coded;
	qs_decoder *base; /* of an archive that is the base */
};

qs_decoder *qs_decoder_create(qs_wholes *wholes, int check_coded)
{
	qs_decoder *decoder = calloc(1, sizeof(*decoder));
	if (!decoder)
		return NULL;
	decoder->check_coded = check_coded;
	decoder->work_size = (qs_chunk_workspace_size() + 63) / 64 * 64;
	decoder->coded = malloc(QS_CHUNK_CODED_MAX);
	decoder->data[0] = aligned_alloc(64, QS_CHUNK_SIZE_MAX);
	decoder->data[1] = aligned_alloc(64, QS_CHUNK_SIZE_MAX);
	decoder->work = aligned_alloc(64, decoder->work_size > 0 ? decoder->work_size : 64);
	decoder->own_wholes = wholes ? NULL : qs_wholes_create();
	decoder->wholes = wholes ? wholes : decoder->own_wholes;
	if (!decoder->coded || !decoder->data[0] || !decoder->data[1] || !decoder->work || !decoder->wholes) {
		qs_decoder_destroy(decoder);
		return NULL;
	}
	qs_chunk_workspace_init(decoder->work);
	return decoder;
}

void qs_decoder_destroy(qs_decoder *decoder)
{
	if (!decoder)
		return;
	free(decoder->coded);
	free(decoder->data[0]);
	free(decoder->data[1]);
	free(decoder->work);
	for (int i = 0; i < N_RANGES; i++) {
		free(decoder->ranges[i].chunk);
		free(decoder->ranges[i].joined);
	}
	if (decoder->wholes)
		qs_wholes_put(decoder->wholes, decoder->whole);
	qs_wholes_destroy(decoder->own_wholes);
	qs_decoder_destroy(decoder->base);
	free(decoder);
}

static qstore_status chunk_error(const qstore_archive *archive, uint32_t number, uint32_t chunk,
                                 qstore_status status, const char *what, qs_error *error)
{
	const qs_index *index = &archive->index;
	qs_object object;
	qs_index_object(index, number, &object);
	unsigned long long n_parts = qs_object_n_parts(&object);
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		if (tensor.object == number)
			return qs_fail(error, status, "%s: tensor %.400s: chunk %u of %llu %s", archive->path,
			               tensor.name, chunk + 1, n_parts, what);
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		for (uint32_t j = 0; j < file.n_extents; j++) {
			qs_extent extent;
			qs_index_extent(index, file.first_extent + j, &extent);
			if (extent.object == number)
				return qs_fail(error, status,
				               "%s: file %.400s: chunk %u of %llu of the bytes outside its tensors %s",
				               archive->path, file.name, chunk + 1, n_parts, what);
		}
	}
	return qs_fail(error, status, "%s: object %u: chunk %u of %llu %s", archive->path, number, chunk + 1,
	               n_parts, what);
}

/* Elements of a chunk. */
static uint32_t chunk_elems(const qs_object *object, uint32_t chunk)
{
	uint64_t left = object->n_elems - (uint64_t)chunk * object->chunk_elems;
	return left < object->chunk_elems ? (uint32_t)left : object->chunk_elems;
}

static qstore_status read_chunk(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                const qs_object *object, uint32_t chunk, int check, size_t *coded_size,
                                qs_error *error)
{
	uint32_t i = object->first_chunk + chunk;
	*coded_size = qs_index_chunk_size(&archive->index, i);
	uint64_t offset = archive->chunk_offsets[i];
	if (offset + *coded_size > archive->file_size)
		return chunk_error(archive, number, chunk, QSTORE_TRUNCATED, "is beyond the end of this file", error);
	qstore_status status =
	    qs_pread_all(archive->fd, decoder->coded, *coded_size, offset, archive->path, error);
	if (status)
		return status;
	if (check && qs_checksum(decoder->coded, *coded_size) != qs_index_chunk_checksum(&archive->index, i))
		return chunk_error(archive, number, chunk, QSTORE_CORRUPT, "is damaged: its checksum differs", error);
	return QSTORE_OK;
}

/* Decodes a chunk, given what it builds on (desc's coarse and scales). */
static qstore_status decode_one(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                const qs_object *object, uint32_t chunk, const qs_chunk_desc *desc,
                                uint8_t *dst, uint32_t *dst_size, qs_error *error)
{
	size_t coded_size;
	qstore_status status =
	    read_chunk(decoder, archive, number, object, chunk, decoder->check_coded, &coded_size, error);
	if (status)
		return status;
	*dst_size = desc->n_elems * qs_dtype_size(object->dtype);
	status =
	    qs_chunk_decode(desc, decoder->coded, coded_size, dst, *dst_size, decoder->work, decoder->work_size);
	if (status)
		return chunk_error(archive, number, chunk, status, "is damaged: it does not decode", error);
	return QSTORE_OK;
}

static qs_chunk_desc describe(const qs_object *object, uint32_t chunk)
{
	return (qs_chunk_desc){
	    .kind = object->kind,
	    .dtype = object->dtype,
	    .n_elems = chunk_elems(object, chunk),
	    .cols = object->cols,
	    .first_elem = (uint64_t)chunk * object->chunk_elems,
	};
}

/* Elements [first, first + n) of a plain object; *data is valid until the next call for this range. */
static qstore_status load_range(qs_decoder *decoder, const qstore_archive *archive, range *r, uint32_t number,
                                uint64_t first, uint64_t n, const uint8_t **data, qs_error *error)
{
	qs_object object;
	qs_index_object(&archive->index, number, &object);
	size_t filled = 0, elem_size = qs_dtype_size(object.dtype), total = (size_t)n * elem_size;
	if (!r->chunk && !(r->chunk = aligned_alloc(64, QS_CHUNK_SIZE_MAX)))
		return qs_no_memory(error);
	while (filled < total) {
		uint32_t chunk = (uint32_t)(first / object.chunk_elems),
		         skip = (uint32_t)(first % object.chunk_elems);
		if (r->archive != archive || r->object != number || r->number != chunk) {
			r->archive = NULL;
			qs_chunk_desc own = describe(&object, chunk);
			qstore_status status =
			    decode_one(decoder, archive, number, &object, chunk, &own, r->chunk, &r->size, error);
			if (status)
				return status;
			r->archive = archive;
			r->object = number;
			r->number = chunk;
		}
		size_t at = skip * elem_size, size = r->size - at;
		if (filled == 0 && size >= total) {
			*data = r->chunk + at;
			return QSTORE_OK;
		}
		size = size < total - filled ? size : total - filled;
		if (r->joined_cap < total) {
			free(r->joined);
			r->joined = malloc(total);
			r->joined_cap = r->joined ? total : 0;
			if (!r->joined)
				return qs_no_memory(error);
		}
		memcpy(r->joined + filled, r->chunk + at, size);
		filled += size;
		first += size / elem_size;
	}
	*data = r->joined;
	return QSTORE_OK;
}

/* The grid of codes as far as elements [first, first + n) need it. ranges: scales, zero points, order. */
static qstore_status load_grid(qs_decoder *decoder, const qstore_archive *archive, const qs_object *codes,
                               uint64_t first, uint64_t n, range *ranges, qs_grid *grid, qs_error *error)
{
	uint64_t at, count;
	qs_object scales;
	qs_index_object(&archive->index, codes->scales, &scales);
	*grid = (qs_grid){.rule = codes->rule,
	                  .codes_dtype = codes->dtype,
	                  .group = codes->group,
	                  .row_stride = codes->row_stride,
	                  .group_stride = codes->group_stride,
	                  .scales_dtype = scales.dtype,
	                  .zero_offset = codes->zero_offset};
	qstore_status status = QSTORE_OK;
	if (codes->order != QS_NONE)
		status = load_range(decoder, archive, &ranges[2], codes->order, 0, codes->cols, &grid->order, error);
	qs_grid_needs(grid, codes->cols, first, n, &at, &count);
	if (!status)
		status = load_range(decoder, archive, &ranges[0], codes->scales, at, count, &grid->scales, error);
	if (!status && codes->zeros != QS_NONE)
		status = load_range(decoder, archive, &ranges[1], codes->zeros, grid->scales_first, grid->zeros_size,
		                    &grid->zeros, error);
	return status;
}

static qstore_status load_factors(qs_decoder *decoder, const qstore_archive *archive, const qs_object *object,
                                  qs_chunk_desc *desc, qs_error *error)
{
	qs_object factors;
	qs_index_object(&archive->index, object->scales, &factors);
	desc->factors_dtype = factors.dtype;
	return load_range(decoder, archive, &decoder->ranges[FACTORS], object->scales, 0, object->cols,
	                  &desc->factors, error);
}

/* What an object builds on has its chunks laid out alike: chunk by chunk from the coarsest on, in two
 * buffers, the last one into dst, which may be the first of these. */
static qstore_status decode_chain(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                  uint32_t chunk, uint8_t *dst, uint32_t *data_size, qs_error *error)
{
	uint32_t chain[CHAIN_MAX], n = 0;
	qs_object object, coarse;
	for (uint32_t next = number; next != QS_NONE; next = object.coarse) {
		if (n == CHAIN_MAX) /* not in a valid index */
			return chunk_error(archive, number, chunk, QSTORE_CORRUPT, "builds on too many others", error);
		chain[n++] = next;
		qs_index_object(&archive->index, next, &object);
	}
	const uint8_t *data = NULL;
	memset(&coarse, 0, sizeof(coarse));
	while (n-- > 0) {
		uint8_t *to = n == 0 ? dst : decoder->data[n & 1];
		qs_index_object(&archive->index, chain[n], &object);
		qs_chunk_desc desc = describe(&object, chunk);
		desc.coarse = data;
		desc.coarse_dtype = coarse.dtype;
		qstore_status status = QSTORE_OK;
		if (object.kind == QS_KIND_BASE) {
			*data_size = desc.n_elems * qs_dtype_size(object.dtype);
			status = qs_archive_check_base(archive, error);
			if (!status)
				status = qs_base_read(archive->base, object.group,
				                      object.row_stride + desc.first_elem * qs_dtype_size(object.dtype),
				                      *data_size, to, &decoder->base, error);
			if (status)
				return status;
			data = to;
			coarse = object;
			continue;
		}
		if (data && object.kind != QS_KIND_DELTA && desc.n_elems > 0)
			status = load_grid(decoder, archive, &coarse, desc.first_elem, desc.n_elems,
			                   &decoder->ranges[COARSE_SCALES], &desc.coarse_grid, error);
		if (!status && data && object.kind == QS_KIND_CODES && desc.n_elems > 0)
			status = load_grid(decoder, archive, &object, desc.first_elem, desc.n_elems,
			                   &decoder->ranges[OWN_SCALES], &desc.grid, error);
		if (!status && object.kind == QS_KIND_REFINE && object.scales != QS_NONE)
			status = load_factors(decoder, archive, &object, &desc, error);
		if (!status)
			status = decode_one(decoder, archive, chain[n], &object, chunk, &desc, to, data_size, error);
		if (status)
			return status;
		data = to;
		coarse = object;
	}
	return QSTORE_OK;
}

/* What a matrix is decoded by. */
typedef struct whole_user {
	qs_decoder *decoder;
	const qstore_archive *archive;
	uint32_t number, chunk_bytes;
} whole_user;

static qstore_status decode_to_whole(void *user, uint32_t chunk, uint8_t *whole, qs_error *error)
{
	const whole_user *u = user;
	uint32_t size;
	return decode_chain(u->decoder, u->archive, u->number, chunk, whole + (size_t)chunk * u->chunk_bytes,
	                    &size, error);
}

/* All codes or floats of a matrix, kept for the pieces that follow. */
static qstore_status load_whole(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                const qs_object *object, qs_error *error)
{
	whole_user user = {decoder, archive, number, object->chunk_elems * qs_dtype_size(object->dtype)};
	if (decoder->whole && decoder->whole->archive == archive && decoder->whole->object == number)
		return QSTORE_OK;
	qs_wholes_put(decoder->wholes, decoder->whole);
	decoder->whole = NULL;
	qstore_status status =
	    qs_wholes_get(decoder->wholes, archive, number, decode_to_whole, &user, &decoder->whole, error);
	return status == QSTORE_MEMORY ? qs_no_memory(error) : status;
}

static qstore_status lay_out(qs_decoder *decoder, const qstore_archive *archive, const qs_object *object,
                             uint32_t chunk, uint8_t *dst, uint32_t *data_size, qs_error *error)
{
	qs_object codes;
	qs_index_object(&archive->index, object->coarse, &codes);
	uint32_t n = chunk_elems(object, chunk), block = qs_block_elems(object->dtype);
	uint64_t first = (uint64_t)chunk * object->chunk_elems;
	*data_size = n / block * qs_block_size(object->dtype);
	if (qs_layout_is_by_columns(object->rule)) {
		qstore_status status = load_whole(decoder, archive, object->coarse, &codes, error);
		uint64_t rows = codes.n_elems / codes.cols;
		if (!status && object->rule == QS_LAYOUT_INTERLEAVED_COLUMNS)
			qs_words_interleave_columns(decoder->whole->data, rows, codes.cols, first, n, dst);
		else if (!status && object->dtype == QS_I32)
			qs_words_pack_transposed(object->group, decoder->whole->data, rows, codes.cols, first, n, dst);
		else if (!status)
			qs_turn(qs_dtype_size(object->dtype), decoder->whole->data, rows, codes.cols, first, n, dst);
		return status;
	}
	const uint8_t *source = decoder->data[0];
	uint32_t size;
	qs_grid grid;
	qstore_status status =
	    decode_chain(decoder, archive, object->coarse, chunk, decoder->data[0], &size, error);
	if (status || n == 0)
		return status;
	if (object->rule == QS_LAYOUT_PACKED) {
		qs_words_pack(object->group, source, *data_size / 4, dst);
		return QSTORE_OK;
	}
	if (object->rule == QS_LAYOUT_INTERLEAVED) {
		qs_words_interleave(source, n, dst);
		return QSTORE_OK;
	}
	status = load_grid(decoder, archive, &codes, first, n, &decoder->ranges[COARSE_SCALES], &grid, error);
	if (!status)
		qs_blocks_join(object->dtype, qs_rule_has_absmax(codes.rule) ? grid.scales_dtype : QS_BYTES, source,
		               grid.scales, n / block, dst);
	return status;
}

/* ---- Checks ---- */

static qstore_status find_damage(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                 uint32_t first, uint32_t n, qs_error *error);

/* The same in all of an object; NONE: nothing to look at. */
static qstore_status find_damage_in(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                    qs_error *error)
{
	qs_object object;
	if (number == QS_NONE)
		return QSTORE_OK;
	qs_index_object(&archive->index, number, &object);
	return find_damage(decoder, archive, number, 0, object.n_chunks, error);
}

/* Which of the chunks that chunks [first, first + n) of an object are made of is not as it was written? The
 * error names it; OK: all are. */
static qstore_status find_damage(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                 uint32_t first, uint32_t n, qs_error *error)
{
	qs_object object;
	qs_index_object(&archive->index, number, &object);
	qstore_status status = QSTORE_OK;
	if (object.kind == QS_KIND_LAYOUT && qs_layout_is_by_columns(object.rule))
		status = find_damage_in(decoder, archive, object.coarse, error);
	else if (object.coarse != QS_NONE)
		status = find_damage(decoder, archive, object.coarse, first, n, error);
	const uint32_t whole[] = {object.scales, object.zeros, object.order};
	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole) && !status; i++)
		status = find_damage_in(decoder, archive, whole[i], error);
	for (uint32_t i = first; i < first + n && object.n_chunks > 0 && !status; i++) {
		size_t coded_size;
		status = read_chunk(decoder, archive, number, &object, i, 1, &coded_size, error);
	}
	return status;
}

/* A part of an object, whose bytes dst has room for. */
static qstore_status decode_part(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                 const qs_object *object, uint32_t part, uint8_t *dst, qs_error *error)
{
	uint32_t size;
	qstore_status status = object->kind == QS_KIND_LAYOUT
	                           ? lay_out(decoder, archive, object, part, dst, &size, error)
	                           : decode_chain(decoder, archive, number, part, dst, &size, error);
	/* What it was made of was not checked: it is right when this is. */
	if (!status &&
	    qs_checksum(dst, size) != qs_index_part_checksum(&archive->index, object->first_part + part))
		status = chunk_error(archive, number, part, QSTORE_CORRUPT,
		                     object->kind == QS_KIND_BASE ? "is not what the base had"
		                                                  : "decodes to other bytes than were packed",
		                     error);
	if (status == QSTORE_CORRUPT) {
		/* Whatever was noticed first: bytes that are not those that were written are the reason. */
		qstore_status damage = find_damage(decoder, archive, number, part, 1, error);
		status = damage ? damage : status;
	}
	return status;
}

qstore_status qs_decoder_read(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                              uint32_t part, uint32_t skip, uint32_t size, uint8_t *dst, qs_error *error)
{
	qs_object object;
	qs_index_object(&archive->index, number, &object);
	uint64_t part_bytes = qs_part_bytes(&object), left = qs_object_bytes(&object) - part * part_bytes;
	if (skip == 0 && size == (left < part_bytes ? left : part_bytes))
		return decode_part(decoder, archive, number, &object, part, dst, error);
	/* The buffer that neither a chain's last chunk nor what is laid out comes from. */
	uint8_t *whole = decoder->data[object.kind == QS_KIND_LAYOUT];
	qstore_status status = decode_part(decoder, archive, number, &object, part, whole, error);
	if (!status)
		memcpy(dst, whole + skip, size);
	return status;
}
