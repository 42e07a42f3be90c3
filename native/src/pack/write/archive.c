/* The archive itself: where everything stands in it, its index, its members; and whether all of it comes
 * back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "read/archive.h"
#include "read/verify.h"
#include "pack/pack.h"
#include "container/tar.h"

#define INDEX_NAME "qstore/index"
#define LAYER_NAME "qstore/layer-"
#define INDEX_LEVEL 19

/* Names of members: the finest variant's files have their own, those of others stand in a folder. */
static qstore_status name_members(packer *p, qs_error *error)
{
	for (size_t i = 0; i < p->n_smalls; i++) {
		pack_small *small = &p->smalls[i];
		int finest = small->variants >> p->high_number & 1;
		uint32_t v = p->high_number;
		while ((small->variants >> v & 1) == 0)
			v--;
		const char *folder = finest ? "" : p->names[v], *end = small->kind == QS_FILE_ZSTD ? ".zst" : "";
		size_t size = strlen(folder) + strlen(small->name) + strlen(end) + p->n_smalls + 4;
		small->member = malloc(size);
		if (!small->member)
			return pack_no_memory(error);
		snprintf(small->member, size, "%s%s%s%s", folder, finest ? "" : "/", small->name, end);
		for (;;) {
			int taken = strncmp(small->member, "qstore/", 7) == 0;
			for (size_t j = 0; j < i && !taken; j++)
				taken = strcmp(p->smalls[j].member, small->member) == 0;
			if (!taken)
				break;
			memmove(small->member + 1, small->member, strlen(small->member) + 1);
			small->member[0] = '_';
		}
	}
	return QSTORE_OK;
}

static void layer_name(char name[96], const qs_variant *variant)
{
	snprintf(name, 96, LAYER_NAME "%.64s", variant->name);
}

/* Where everything stands in the payload. */
static qstore_status lay_out(packer *p, uint64_t *payload_size, qs_error *error)
{
	qs_index_builder *builder = &p->builder;
	uint64_t at = 0, header_size, spool = 0;
	qstore_status status = name_members(p, error);
	size_t number = 0;
	for (size_t i = 0; i < p->n_smalls && !status; i++) {
		const pack_small *small = &p->smalls[i];
		status = qs_tar_header_size(small->member, small->coded_size, &header_size, error);
		if (status)
			return status;
		/* Both are sorted alike. */
		while (!qs_file_is_member(&builder->files[number]))
			number++;
		at += header_size;
		builder->files[number++].offset = at;
		at = qs_tar_padded(at + small->coded_size);
	}
	uint32_t object = 0;
	for (uint32_t v = 0; v < builder->n_variants && !status; v++) {
		qs_variant *variant = &builder->variants[v];
		char name[96];
		layer_name(name, variant);
		status = qs_tar_header_size(name, variant->layer_size, &header_size, error);
		if (status)
			return status;
		at += header_size;
		variant->layer_offset = at;
		for (; object < builder->n_objects && builder->objects[object].variant == v; object++)
			builder->objects[object].offset += at - spool;
		spool += variant->layer_size;
		at = qs_tar_padded(at + variant->layer_size);
	}
	uint64_t trailer_size = 0;
	if (!status)
		status = qs_tar_trailer_size(&trailer_size, error);
	*payload_size = at + trailer_size;
	return status;
}

/* The index as it is stored, header first. */
static qstore_status make_index(packer *p, uint64_t payload_size, uint8_t **out, size_t *out_size,
                                qs_error *error)
{
	uint8_t *body = NULL;
	size_t body_size = 0;
	*out = NULL;
	qstore_status status = qs_builder_body(&p->builder, &body, &body_size);
	if (status)
		return qs_fail(error, status, "%s: the index: %s", p->options->output, qstore_status_message(status));
	/* The reader's own checks, before anything is written. */
	qs_index check;
	if (qs_index_open(&check, body, body_size, payload_size)) {
		free(body);
		return qs_fail(error, QSTORE_CORRUPT, "%s: the index contradicts itself: please report this",
		               p->options->output);
	}
	size_t cap = ZSTD_compressBound(body_size);
	uint8_t *stored = malloc(QS_INDEX_HEADER_SIZE + cap);
	if (!stored) {
		free(body);
		return pack_no_memory(error);
	}
	size_t coded_size = ZSTD_compress(stored + QS_INDEX_HEADER_SIZE, cap, body, body_size, INDEX_LEVEL);
	qs_index_header header = {.zstd_body = 1, .body_size = body_size, .payload_size = payload_size};
	if (ZSTD_isError(coded_size) || coded_size >= body_size) {
		header.zstd_body = 0;
		coded_size = body_size;
		memcpy(stored + QS_INDEX_HEADER_SIZE, body, body_size);
	}
	free(body);
	header.body_coded_size = coded_size;
	header.body_checksum = qs_checksum(stored + QS_INDEX_HEADER_SIZE, coded_size);
	qs_index_write_header(&header, stored);
	*out = stored;
	*out_size = QS_INDEX_HEADER_SIZE + coded_size;
	return QSTORE_OK;
}

static qstore_status copy_spool(packer *p, qs_tar_writer *writer, int fd, uint64_t offset, uint64_t size,
                                uint8_t *buffer, qs_error *error)
{
	while (size > 0) {
		size_t n = size < QS_IO_BLOCK ? (size_t)size : QS_IO_BLOCK;
		if (pack_is_cancelled(p))
			return qs_fail(error, QSTORE_CANCELLED, "cancelled");
		qstore_status status = qs_pread_all(fd, buffer, n, offset, p->options->output, error);
		if (!status)
			status = qs_tar_writer_data(writer, buffer, n, error);
		if (status)
			return status;
		offset += n;
		size -= n;
		pack_advance(p, n);
	}
	return QSTORE_OK;
}

static qstore_status write_members(packer *p, qs_tar_writer *writer, const uint8_t *index, size_t index_size,
                                   uint64_t payload_size, uint8_t *buffer, qs_error *error)
{
	const qs_index_builder *builder = &p->builder;
	uint64_t payload_offset = qs_tar_padded(QS_INDEX_OFFSET + index_size), spool = 0;
	qstore_status status = qs_tar_writer_member(writer, INDEX_NAME, index_size, QS_INDEX_OFFSET, error);
	if (!status)
		status = qs_tar_writer_data(writer, index, index_size, error);
	size_t number = 0;
	for (size_t i = 0; i < p->n_smalls && !status; i++) {
		const pack_small *small = &p->smalls[i];
		while (!qs_file_is_member(&builder->files[number]))
			number++;
		status = qs_tar_writer_member(writer, small->member, small->coded_size,
		                              payload_offset + builder->files[number++].offset, error);
		if (!status)
			status =
			    copy_spool(p, writer, p->small_fd, small->spool_offset, small->coded_size, buffer, error);
	}
	for (uint32_t v = 0; v < builder->n_variants && !status; v++) {
		const qs_variant *variant = &builder->variants[v];
		char name[96];
		layer_name(name, variant);
		status = qs_tar_writer_member(writer, name, variant->layer_size,
		                              payload_offset + variant->layer_offset, error);
		if (!status)
			status = copy_spool(p, writer, p->layer_fd, spool, variant->layer_size, buffer, error);
		spool += variant->layer_size;
		p->result.variants[v].download_size = payload_offset + variant->layer_offset + variant->layer_size;
	}
	p->result.index_size = payload_offset;
	p->result.archive_size = payload_offset + payload_size;
	if (!status)
		status = qs_tar_writer_finish(writer, p->result.archive_size, error);
	return status;
}

qstore_status pack_write(packer *p, int fd, qs_error *error)
{
	uint64_t payload_size = 0;
	uint8_t *index = NULL, *buffer = malloc(QS_IO_BLOCK);
	size_t index_size = 0;
	qs_tar_writer *writer = NULL;
	qstore_status status = !buffer ? pack_no_memory(error) : lay_out(p, &payload_size, error);
	if (!status)
		status = make_index(p, payload_size, &index, &index_size, error);
	if (!status)
		status = qs_tar_writer_create(&writer, fd, p->options->output, error);
	if (!status) {
		pack_phase(p, "writing", payload_size);
		qs_allocate(fd, qs_tar_padded(QS_INDEX_OFFSET + index_size) + payload_size);
		status = write_members(p, writer, index, index_size, payload_size, buffer, error);
	}
	qs_tar_writer_destroy(writer);
	free(index);
	free(buffer);
	return status;
}

/* Restores every file from the finished archive. */
static qstore_status check_archive(packer *p, const char *temp_path, qs_error *error)
{
	qstore_archive *archive;
	qstore_status status = qstore_open(temp_path, &archive, error);
	if (!status && p->n_bases > 0)
		status = qstore_set_base(archive, p->options->base, error);
	if (!status)
		status = qs_archive_verify(archive, &p->options->work, pack_check_piece, p, error);
	qstore_close(archive);
	if (status == QSTORE_CORRUPT) {
		/* An input that changed between the passes was coded from other bytes than were hashed. */
		qstore_status changed = pack_check_sources(p, error);
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

/* The disk writes what is read back meanwhile: that comes from memory in any case. */
qstore_status pack_check(packer *p, int fd, const char *temp_path, qs_error *error)
{
	flush f = {.fd = fd};
	pthread_t thread;
	int started = pthread_create(&thread, NULL, flush_file, &f) == 0;
	qstore_status status = check_archive(p, temp_path, error);
	if (started)
		pthread_join(thread, NULL);
	else
		flush_file(&f);
	if (!status && f.reason != 0)
		status = qs_fail(error, QSTORE_IO, "%s: cannot write: %s", p->options->output, strerror(f.reason));
	return status;
}
