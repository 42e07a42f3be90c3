/* The archive itself: the place of everything in it, its index, its members; and whether all files come back
 * from it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "container/member_names.h"
#include "container/tar.h"
#include "core/checksum.h"
#include "os/file.h"
#include "read/archive.h"
#include "read/download.h"
#include "read/verify.h"
#include "plan.h"
#include "restored.h"

#define INDEX_LEVEL 19
#define INDEX_CHAIN_LOG 20
#define INDEX_HASH_LOG 18

/* The record of a member's file in the index; *number: its search begins there, and the next one's behind it.
 * Members and records are in the same order. */
static qs_file *next_member_record(qs_index_builder *builder, size_t *number)
{
	for (; !qs_file_is_member(&builder->files[*number]); ++*number)
		assert(*number + 1 < builder->n_files);
	return &builder->files[(*number)++];
}

/* Sets all offsets in the payload. */
static qstore_status lay_out_payload(pack_plan *plan, const pack_members *members, uint64_t *payload_size,
                                     qstore_error *error)
{
	qs_index_builder *builder = &plan->builder;
	uint64_t at = 0, header_size, trailer_size = 0;
	size_t number = 0, object = 0;
	for (size_t i = 0; i < members->n; i++) {
		const pack_member *member = &members->items[i];
		qstore_status status = qs_tar_header_size(member->name, member->coded_size, &header_size, error);
		if (status)
			return status;
		at += header_size;
		next_member_record(builder, &number)->offset = at;
		at = qs_tar_padded(at + member->coded_size);
	}
	for (uint32_t v = 0; v < builder->n_variants; v++) {
		qs_variant *variant = &builder->variants[v];
		char name[QS_MEMBER_LAYER_SIZE];
		qs_member_name_layer(name, variant->name);
		qstore_status status = qs_tar_header_size(name, variant->layer_size, &header_size, error);
		if (status)
			return status;
		at += header_size;
		variant->layer_offset = at;
		for (; object < builder->n_objects && builder->objects[object].variant == v; object++) {
			builder->objects[object].offset = at;
			at += builder->objects[object].coded_size;
		}
		assert(at == variant->layer_offset + variant->layer_size);
		at = qs_tar_padded(at);
	}
	assert(object == builder->n_objects);
	qstore_status status = qs_tar_trailer_size(&trailer_size, error);
	*payload_size = at + trailer_size;
	return status;
}

/* Sets what readers of each variant fetch. */
static qstore_status fill_downloads(const qs_index *index, uint64_t payload, qstore_pack_result *result,
                                    qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (uint32_t v = 0; v < index->n_variants && !status; v++)
		status = qs_download_size(index, payload, v, &result->variants[v].download_size, error);
	return status;
}

/* Compresses the index's columns; returns 0 if it fails. The tables of zstd's best level would be larger than
 * all else that packing needs; these are a tenth as large, and enough for columns. */
static size_t compress_columns(uint8_t *dst, size_t dst_size, const uint8_t *columns, size_t size)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	if (!context)
		return 0;
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, INDEX_LEVEL);
	ZSTD_CCtx_setParameter(context, ZSTD_c_chainLog, INDEX_CHAIN_LOG);
	ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, INDEX_HASH_LOG);
	size_t coded_size = ZSTD_compress2(context, dst, dst_size, columns, size);
	ZSTD_freeCCtx(context);
	return ZSTD_isError(coded_size) ? 0 : coded_size;
}

/* The index as it is stored, header first. *out is malloc'd. */
static qstore_status make_index(const pack_plan *plan, uint64_t payload_size, uint8_t **out, size_t *out_size,
                                qstore_pack_result *result, qstore_error *error)
{
	uint8_t *body = NULL;
	size_t body_size = 0;
	*out = NULL;
	qstore_status status = qs_builder_body(&plan->builder, &body, &body_size);
	if (status)
		return pack_fail_index(plan, status, error);
	/* The checks of readers, before anything is written. */
	qs_index check;
	status = qs_index_open(&check, body, body_size, payload_size);
	if (status) {
		free(body);
		return qs_fail(error, status,
		               status == QSTORE_LIMIT
		                   ? "%s: restoring it would take more memory or time than the format allows: please "
		                     "report this"
		                   : "%s: the index contradicts itself: please report this",
		               plan->output);
	}
	size_t cap = ZSTD_compressBound(body_size);
	uint8_t *stored = malloc(QS_INDEX_HEADER_SIZE + cap), *columns = malloc(body_size);
	if (!stored || !columns) {
		free(stored);
		free(columns);
		free(body);
		return qs_no_memory(error);
	}
	qs_index_to_columns(body, body_size, columns);
	size_t coded_size = compress_columns(stored + QS_INDEX_HEADER_SIZE, cap, columns, body_size);
	free(columns);
	qs_index_header header = {.zstd_body = 1, .body_size = body_size, .payload_size = payload_size};
	if (coded_size == 0 || coded_size >= body_size || !qs_frame_is_allowed(body_size, coded_size)) {
		header.zstd_body = 0;
		coded_size = body_size;
		memcpy(stored + QS_INDEX_HEADER_SIZE, body, body_size);
	}
	header.body_coded_size = coded_size;
	header.body_checksum = qs_checksum(stored + QS_INDEX_HEADER_SIZE, coded_size);
	qs_index_write_header(&header, stored);
	*out = stored;
	*out_size = QS_INDEX_HEADER_SIZE + coded_size;
	status = fill_downloads(&check, qs_index_payload_offset(&header), result, error);
	free(body);
	return status;
}

static qstore_status copy_spool(qs_tar_writer *writer, const pack_spool *spool, uint64_t offset,
                                uint64_t size, uint8_t *buffer, pack_progress *progress, qstore_error *error)
{
	while (size > 0) {
		size_t n = size < QS_IO_BLOCK ? (size_t)size : QS_IO_BLOCK;
		qstore_status status = pack_check_cancelled(progress, error);
		if (!status)
			status = pack_read(&spool->source, buffer, n, offset, error);
		if (!status)
			status = qs_tar_writer_data(writer, buffer, n, error);
		if (status)
			return status;
		offset += n;
		size -= n;
		pack_advance(progress, n);
	}
	return QSTORE_OK;
}

/* Everything behind the index. payload: offset of the payload in the archive; buffer: QS_IO_BLOCK bytes. */
static qstore_status write_payload(pack_plan *plan, const pack_members *members, const pack_spool *layers,
                                   qs_tar_writer *writer, uint64_t payload, uint8_t *buffer,
                                   pack_progress *progress, qstore_error *error)
{
	qs_index_builder *builder = &plan->builder;
	uint64_t spool_offset = 0;
	size_t number = 0;
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < members->n && !status; i++) {
		const pack_member *member = &members->items[i];
		status = qs_tar_writer_member(writer, member->name, member->coded_size,
		                              payload + next_member_record(builder, &number)->offset, error);
		if (!status)
			status = copy_spool(writer, &members->spool, member->spool_offset, member->coded_size, buffer,
			                    progress, error);
	}
	for (uint32_t v = 0; v < builder->n_variants && !status; v++) {
		const qs_variant *variant = &builder->variants[v];
		char name[QS_MEMBER_LAYER_SIZE];
		qs_member_name_layer(name, variant->name);
		status =
		    qs_tar_writer_member(writer, name, variant->layer_size, payload + variant->layer_offset, error);
		if (!status)
			status = copy_spool(writer, layers, spool_offset, variant->layer_size, buffer, progress, error);
		spool_offset += variant->layer_size;
	}
	return status;
}

static void fill_sizes(const pack_plan *plan, uint64_t payload, uint64_t payload_size,
                       qstore_pack_result *result)
{
	const qs_index_builder *builder = &plan->builder;
	for (uint32_t v = 0; v < builder->n_variants; v++)
		result->variants[v].prefix_size =
		    payload + builder->variants[v].layer_offset + builder->variants[v].layer_size;
	result->index_size = payload;
	result->archive_size = payload + payload_size;
}

qstore_status pack_write_archive(pack_plan *plan, const pack_members *members, const pack_spool *layers,
                                 int fd, pack_progress *progress, qstore_pack_result *result,
                                 qstore_error *error)
{
	uint64_t payload_size = 0, payload = 0;
	uint8_t *index = NULL, *buffer = malloc(QS_IO_BLOCK);
	size_t index_size = 0;
	qs_tar_writer *writer = NULL;
	qstore_status status =
	    buffer ? lay_out_payload(plan, members, &payload_size, error) : qs_no_memory(error);
	if (!status)
		status = make_index(plan, payload_size, &index, &index_size, result, error);
	if (!status)
		status = qs_tar_writer_create(&writer, fd, plan->output, error);
	if (!status) {
		payload = qs_tar_padded(QS_INDEX_OFFSET + index_size);
		pack_phase(progress, "writing", payload_size);
		qs_allocate(fd, payload + payload_size);
		status = qs_tar_writer_member(writer, QS_MEMBER_INDEX, index_size, QS_INDEX_OFFSET, error);
	}
	if (!status)
		status = qs_tar_writer_data(writer, index, index_size, error);
	if (!status)
		status = write_payload(plan, members, layers, writer, payload, buffer, progress, error);
	if (!status)
		status = qs_tar_writer_finish(writer, payload + payload_size, error);
	if (!status)
		fill_sizes(plan, payload, payload_size, result);
	qs_tar_writer_destroy(writer);
	free(index);
	free(buffer);
	return status;
}

/* ---- Comparing ---- */

/* Restores every file from the finished archive, to nowhere. */
static qstore_status restore_all(const pack_plan *plan, const pack_sources *sources, const char *base,
                                 const char *path, const qstore_work *work, char digest[QSTORE_DIGEST_SIZE],
                                 qstore_error *error)
{
	qstore_archive *archive;
	qstore_status status = qstore_open(path, &archive, error);
	if (!status && base)
		status = qstore_set_base(archive, base, error);
	if (!status)
		status = qs_archive_verify(archive, work, pack_check_piece, (void *)plan, error);
	if (!status)
		qstore_get_digest(archive, digest);
	qstore_close(archive);
	if (status == QSTORE_CORRUPT) {
		/* An input that changed between the passes was coded from other bytes than were hashed. */
		qstore_status changed = pack_check_sources(sources, error);
		if (changed)
			return changed;
	}
	return status;
}

typedef struct flush {
	int fd, reason; /* reason: errno */
} flush;

static void *flush_file(void *user)
{
	flush *f = user;
	f->reason = fsync(f->fd) == 0 ? 0 : errno;
	return NULL;
}

qstore_status pack_check_archive(const pack_plan *plan, const pack_sources *sources, const char *base, int fd,
                                 const char *path, const pack_progress *progress, qstore_pack_result *result,
                                 qstore_error *error)
{
	/* The disk writes while the archive is read back, which comes from memory in any case. */
	flush f = {.fd = fd};
	pthread_t thread;
	int started = pthread_create(&thread, NULL, flush_file, &f) == 0;
	qstore_status status = restore_all(plan, sources, base, path, progress->work, result->digest, error);
	if (started)
		pthread_join(thread, NULL);
	else
		flush_file(&f);
	if (!status && f.reason != 0)
		status = qs_fail(error, QSTORE_IO, "%s: cannot write: %s", plan->output, strerror(f.reason));
	return status;
}
