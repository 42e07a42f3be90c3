#include "stream.h"

#include <stdlib.h>

#include "core/dequantize.h"
#include "error.h"
#include "member.h"
#include "os/pool.h"
#include "os/sha256.h"

/* Bytes that are decoded at once for each thread, and at most: threads wait for one another at the end of
 * each such window. */
#define WINDOW_PER_THREAD ((size_t)4 << 20)
#define WINDOW_MAX ((size_t)64 << 20)
/* Bytes that are converted at once; they are more than those of the largest block. */
#define CONVERTED_MAX ((size_t)1 << 20)

/* Gives blocks as singles. */
static qstore_status give_converted(uint32_t dtype, const uint8_t *blocks, size_t size, uint8_t *converted,
                                    qs_stream_take *take, void *user, qstore_error *error)
{
	size_t block = qs_block_size(dtype), as_f32 = (size_t)qs_block_elems(dtype) * 4;
	size_t most = CONVERTED_MAX / as_f32;
	for (size_t left = size / block, n; left > 0; left -= n, blocks += n * block) {
		n = left < most ? left : most;
		qs_dequantize(dtype, blocks, n, converted);
		qstore_status status = take(user, converted, n * as_f32, error);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

qstore_status qs_stream_range(const qstore_archive *archive, const qs_range *range, const qstore_work *work,
                              qs_stream_take *take, void *user, qstore_error *error)
{
	qstore_work reading = {.threads = work->threads, .cancel = work->cancel};
	size_t block = qs_block_size(range->dtype), most = WINDOW_PER_THREAD * qs_pool_threads(work->threads);
	most = (most < WINDOW_MAX ? most : WINDOW_MAX) / block * block;
	most = range->size < most ? (size_t)range->size : most;
	uint8_t *window = malloc(most + 1), *converted = malloc(range->dtype == QS_BYTES ? 1 : CONVERTED_MAX);
	qstore_status status = window && converted ? QSTORE_OK : qs_no_memory(error);
	for (uint64_t at = 0; at < range->size && !status;) {
		size_t size = range->size - at < most ? (size_t)(range->size - at) : most;
		status = qstore_read_file(archive, range->file, range->offset + at, size, window, &reading, error);
		if (!status)
			status = range->dtype == QS_BYTES
			             ? take(user, window, size, error)
			             : give_converted(range->dtype, window, size, converted, take, user, error);
		at += size;
	}
	free(window);
	free(converted);
	return status;
}

/* An output on its way to the caller. */
typedef struct stream {
	qs_stream_take *take; /* the caller's */
	void *user;
	qs_sha256 *sha256; /* of what was taken; NULL: it is not compared */
	qstore_progress progress;
	const qstore_work *work;
} stream;

static qstore_status give(void *user, const void *data, size_t size, qstore_error *error)
{
	stream *s = user;
	qstore_error own = {QSTORE_OK, ""};
	if (qs_is_cancelled(s->work->cancel))
		return qs_cancelled(error);
	if (s->sha256 && !qs_sha256_update(s->sha256, data, size))
		return qs_no_memory(error);
	qstore_status status = s->take(s->user, data, size, &own);
	own.text[sizeof(own.text) - 1] = 0;
	if (status)
		return qs_fail(error, status, "%s", own.text[0] ? own.text : qstore_status_message(status));
	s->progress.done += size;
	if (s->work->on_progress)
		s->work->on_progress(s->work->user, &s->progress);
	return QSTORE_OK;
}

/* Gives a file that is compressed as a whole, once it is compared with its SHA-256. */
static qstore_status give_compressed(const qstore_archive *archive, stream *s, uint32_t number, size_t size,
                                     qstore_error *error)
{
	uint8_t *data = malloc(size + 1);
	if (!data)
		return qs_no_memory(error);
	qstore_status status = qstore_read_file(archive, number, 0, size, data, NULL, error);
	if (!status)
		status = give(s, data, size, error);
	free(data);
	return status;
}

static qstore_status give_file(const qstore_archive *archive, stream *s, uint32_t number, qstore_error *error)
{
	qs_file file;
	uint8_t digest[32];
	qs_index_file(&archive->index, number, &file);
	if (file.kind == QS_FILE_ZSTD)
		return give_compressed(archive, s, number, (size_t)file.size, error);
	qs_range all = {.file = number, .size = file.size};
	qstore_status status = qs_stream_range(archive, &all, s->work, give, s, error);
	if (status || !s->sha256)
		return status;
	return qs_sha256_final(s->sha256, digest) ? qs_file_check_sha256(archive, &file, digest, error)
	                                          : qs_no_memory(error);
}

qstore_status qs_stream(const qstore_archive *archive, const qs_output *output, int sha256,
                        qs_stream_take *take, void *user, const qstore_work *work, qstore_error *error)
{
	int is_hashed = sha256 && output->file != QS_NONE;
	stream s = {.take = take,
	            .user = user,
	            .sha256 = is_hashed ? qs_sha256_create() : NULL,
	            .progress = {"restoring", 0, output->size},
	            .work = work};
	qstore_status status = is_hashed && !s.sha256 ? qs_no_memory(error) : QSTORE_OK;
	if (!status && output->header_size > 0)
		status = give(&s, output->header, output->header_size, error);
	if (!status && output->file != QS_NONE)
		status = give_file(archive, &s, output->file, error);
	for (size_t i = 0; i < output->n_ranges && !status; i++)
		status = qs_stream_range(archive, &output->ranges[i], work, give, &s, error);
	qs_sha256_destroy(s.sha256);
	return status;
}
