#include "member.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "core/zstd.h"
#include "error.h"
#include "os/file.h"
#include "os/sha256.h"

typedef struct member {
	const qstore_archive *archive;
	const qs_file *file;
	qs_member_take *take;
	void *user;
	qs_sha256 *sha256;
	uint64_t taken;     /* bytes, so far */
	ZSTD_DCtx *context; /* NULL: the member is stored */
	uint8_t *block;     /* QS_IO_BLOCK bytes as they are in the archive */
	uint8_t *plain;     /* QS_IO_BLOCK bytes, decompressed */
} member;

static qstore_status fail_damaged(const member *m, const char *what, qstore_error *error)
{
	if (m->archive->pin)
		return qs_fail(error, QSTORE_INTEGRITY, "%s: file %.400s is not what the digest promises",
		               m->archive->path, m->file->name);
	return qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: %s", m->archive->path, m->file->name,
	               what);
}

static qstore_status hand_over(member *m, const uint8_t *data, size_t size, qstore_error *error)
{
	if (!qs_sha256_update(m->sha256, data, size))
		return qs_no_memory(error);
	m->taken += size;
	return m->take(m->user, data, size, error);
}

/* Decompresses the first `size` bytes of m->block. *wanted is 0 when the frame has ended; afterwards nothing
 * may follow. */
static qstore_status decompress(member *m, size_t size, size_t *wanted, qstore_error *error)
{
	ZSTD_inBuffer in = {m->block, size, 0};
	ZSTD_outBuffer out;
	do {
		if (*wanted == 0)
			return fail_damaged(m, "bytes follow its zstd frame", error);
		out = (ZSTD_outBuffer){m->plain, QS_IO_BLOCK, 0};
		*wanted = ZSTD_decompressStream(m->context, &out, &in);
		if (ZSTD_isError(*wanted) || out.pos > m->file->size - m->taken)
			return fail_damaged(m, "it does not decompress", error);
		qstore_status status = hand_over(m, m->plain, out.pos, error);
		if (status)
			return status;
	} while (in.pos < in.size || (out.pos == out.size && *wanted != 0));
	return QSTORE_OK;
}

static qstore_status read_blocks(member *m, qstore_error *error)
{
	const qstore_archive *archive = m->archive;
	uint64_t offset = archive->payload_offset + m->file->offset, left = m->file->coded_size;
	size_t wanted = m->context ? 1 : 0;
	while (left > 0) {
		size_t size = left < QS_IO_BLOCK ? (size_t)left : QS_IO_BLOCK;
		qstore_status status = qs_source_read(&archive->source, offset, size, m->block, error);
		/* The stream would take a whole frame that is small without a look at its window. */
		if (!status && m->context && left == m->file->coded_size &&
		    !qs_zstd_first_fits_window(m->block, size, UINT64_C(1) << QS_FILE_WINDOW_LOG))
			status = fail_damaged(m, "it does not decompress", error);
		if (!status)
			status = m->context ? decompress(m, size, &wanted, error) : hand_over(m, m->block, size, error);
		if (status)
			return status;
		offset += size;
		left -= size;
	}
	return wanted != 0 || m->taken != m->file->size ? fail_damaged(m, "it has another size", error)
	                                                : QSTORE_OK;
}

qstore_status qs_file_check_sha256(const qstore_archive *archive, const qs_file *file,
                                   const uint8_t digest[32], qstore_error *error)
{
	if (memcmp(digest, file->sha256, 32) == 0)
		return QSTORE_OK;
	return archive->pin ? qs_fail(error, QSTORE_INTEGRITY, "%s: file %.400s is not what the digest promises",
	                              archive->path, file->name)
	                    : qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: its SHA-256 differs",
	                              archive->path, file->name);
}

qstore_status qs_member_read(const qstore_archive *archive, const qs_file *file, qs_member_take *take,
                             void *user, qstore_error *error)
{
	int is_zstd = file->kind == QS_FILE_ZSTD;
	uint8_t digest[32];
	member m = {.archive = archive,
	            .file = file,
	            .take = take,
	            .user = user,
	            .sha256 = qs_sha256_create(),
	            .context = is_zstd ? ZSTD_createDCtx() : NULL,
	            .block = malloc(QS_IO_BLOCK),
	            .plain = is_zstd ? malloc(QS_IO_BLOCK) : NULL};
	qstore_status status = QSTORE_OK;
	if (!m.sha256 || !m.block || (is_zstd && (!m.plain || !m.context)) ||
	    (is_zstd && ZSTD_isError(ZSTD_DCtx_setParameter(m.context, ZSTD_d_windowLogMax, QS_FILE_WINDOW_LOG))))
		status = qs_no_memory(error);
	if (!status)
		status = read_blocks(&m, error);
	if (!status && !qs_sha256_final(m.sha256, digest))
		status = qs_no_memory(error);
	if (!status)
		status = qs_file_check_sha256(archive, file, digest, error);
	qs_sha256_destroy(m.sha256);
	ZSTD_freeDCtx(m.context);
	free(m.block);
	free(m.plain);
	return status;
}
