/* First pass: SHA-256 of all files, small files into their spool. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pack.h"

/* Larger small files are compressed when that helps; FORMAT.md, "Container". */
#define STORED_SIZE_MAX 16384u
#define COMPARE_LEVEL 3
#define LEVEL_BEST 19
#define LEVEL_FAST 12
#define LEVEL_BEST_SIZE_MAX ((uint64_t)4 << 20)

typedef struct hash_block {
	uint32_t file, size;
	uint64_t offset;
} hash_block;

typedef struct hasher {
	packer *p;
	hash_block *blocks;
	size_t n_blocks;
	qs_sha256 *sha256;
} hasher;

typedef struct hash_thread {
	ZSTD_CCtx *compare; /* or NULL */
	uint8_t *data, *scratch, *plain;
	size_t zstd_size;
} hash_thread;

/* Bytes [offset, offset + size) of a file as it will be restored. */
static qstore_status file_read(const packer *p, const pack_file *file, uint8_t *dst, size_t size,
                               uint64_t offset, uint8_t *scratch, qs_error *error)
{
	/* The first tensor that ends behind offset. */
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
		if (t != NULL && t->offset <= offset) {
			n = t->offset + t->size - offset;
			n = n < size ? n : size;
			status = pack_tensor_read(p, t, dst, (size_t)n, offset - t->offset, scratch, error);
			low += offset + n == t->offset + t->size;
		} else {
			n = t != NULL ? t->offset - offset : size;
			n = n < size ? n : size;
			status = pack_read(p, file->gaps.source, dst, (size_t)n, pack_gap_offset(file, offset), error);
		}
		if (status != QSTORE_OK)
			return status;
		dst += n;
		offset += n;
		size -= (size_t)n;
	}
	return QSTORE_OK;
}

static void hash_destroy(void *user, void *memory)
{
	(void)user;
	hash_thread *t = memory;
	ZSTD_freeCCtx(t->compare);
	free(t->data);
	free(t->scratch);
	free(t->plain);
	free(t);
}

static void *hash_create(void *user)
{
	const hasher *h = user;
	hash_thread *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->data = malloc(QS_IO_BLOCK);
	t->scratch = malloc(PACK_SCRATCH_SIZE);
	int ok = t->data != NULL && t->scratch != NULL;
	if (h->p->options->compare) {
		t->plain = malloc(ZSTD_compressBound(QS_IO_BLOCK));
		t->compare = ZSTD_createCCtx();
		ok = ok && t->plain != NULL && t->compare != NULL;
	}
	if (!ok) {
		hash_destroy(user, t);
		return NULL;
	}
	return t;
}

static qstore_status hash_work(void *user, void *memory, uint64_t job, qs_error *error)
{
	const hasher *h = user;
	const hash_block *block = &h->blocks[job];
	hash_thread *t = memory;
	qstore_status status =
	    file_read(h->p, &h->p->files[block->file], t->data, block->size, block->offset, t->scratch, error);
	t->zstd_size = 0;
	if (status == QSTORE_OK && t->compare != NULL) {
		t->zstd_size = ZSTD_compressCCtx(t->compare, t->plain, ZSTD_compressBound(QS_IO_BLOCK), t->data,
		                                 block->size, COMPARE_LEVEL);
		if (ZSTD_isError(t->zstd_size))
			return pack_no_memory(error);
	}
	return status;
}

static qstore_status hash_commit(void *user, void *memory, uint64_t job, qs_error *error)
{
	hasher *h = user;
	const hash_block *block = &h->blocks[job];
	pack_file *file = &h->p->files[block->file];
	int ok = (block->offset != 0 || qs_sha256_reset(h->sha256)) &&
	         qs_sha256_update(h->sha256, ((hash_thread *)memory)->data, block->size);
	if (ok && block->offset + block->size == file->size)
		ok = qs_sha256_final(h->sha256, file->sha256);
	for (uint32_t v = 0; v <= h->p->high_number; v++)
		if (file->variants >> v & 1)
			h->p->result.variants[v].zstd_size += ((hash_thread *)memory)->zstd_size;
	pack_advance(h->p, block->size);
	return ok ? QSTORE_OK : pack_no_memory(error);
}

/* A small file into the spool, compressed when that is smaller, and its SHA-256. */
static qstore_status spool_small(packer *p, pack_small *small, uint64_t *spool_size, qs_sha256 *sha256,
                                 uint8_t *in, uint8_t *out, qs_error *error)
{
	const char *path = p->options->output;
	qstore_status status = QSTORE_OK;
	int compress = small->size > STORED_SIZE_MAX;
	uint64_t at = 0, coded_size = 0;
	ZSTD_CCtx *context = NULL;
	if (compress) {
		int level = small->size <= LEVEL_BEST_SIZE_MAX ? LEVEL_BEST : LEVEL_FAST;
		context = ZSTD_createCCtx();
		if (context == NULL ||
		    ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)) ||
		    ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, small->size)))
			status = pack_no_memory(error);
	}
	if (status == QSTORE_OK && !qs_sha256_reset(sha256))
		status = pack_no_memory(error);
	small->spool_offset = *spool_size;
	do {
		size_t n = small->size - at < QS_IO_BLOCK ? (size_t)(small->size - at) : QS_IO_BLOCK;
		if (status == QSTORE_OK && pack_is_cancelled(p))
			status = qs_fail(error, QSTORE_CANCELLED, "cancelled");
		if (status == QSTORE_OK)
			status = pack_read(p, small->source, in, n, small->source_offset + at, error);
		if (status != QSTORE_OK)
			break;
		if (!qs_sha256_update(sha256, in, n))
			status = pack_no_memory(error);
		at += n;
		ZSTD_inBuffer source = {in, n, 0};
		size_t more = compress;
		while (status == QSTORE_OK && more != 0) {
			ZSTD_outBuffer target = {out, QS_IO_BLOCK, 0};
			more = ZSTD_compressStream2(context, &target, &source,
			                            at == small->size ? ZSTD_e_end : ZSTD_e_continue);
			if (ZSTD_isError(more))
				status = qs_fail(error, QSTORE_MEMORY, "%s: %s", small->path, ZSTD_getErrorName(more));
			else
				status = qs_pwrite_all(p->small_fd, out, target.pos, small->spool_offset + coded_size, path,
				                       error);
			coded_size += target.pos;
			if (at < small->size && source.pos == source.size)
				break;
		}
	} while (status == QSTORE_OK && at < small->size);
	ZSTD_freeCCtx(context);
	if (status == QSTORE_OK && !qs_sha256_final(sha256, small->sha256))
		status = pack_no_memory(error);
	small->kind = QS_FILE_ZSTD;
	small->coded_size = coded_size;
	if (!compress || coded_size >= small->size) {
		small->kind = QS_FILE_STORED;
		small->coded_size = small->size;
		for (at = 0; at < small->size && status == QSTORE_OK;) {
			size_t n = small->size - at < QS_IO_BLOCK ? (size_t)(small->size - at) : QS_IO_BLOCK;
			status = pack_read(p, small->source, in, n, small->source_offset + at, error);
			if (status == QSTORE_OK)
				status = qs_pwrite_all(p->small_fd, in, n, small->spool_offset + at, path, error);
			at += n;
		}
	}
	*spool_size += small->coded_size;
	pack_advance(p, small->size);
	return status;
}

static qstore_status hash_base(packer *p, pack_base_file *base, qs_sha256 *sha256, uint8_t *buffer,
                               qs_error *error)
{
	if (!qs_sha256_reset(sha256))
		return pack_no_memory(error);
	for (uint64_t at = 0; at < base->size; at += QS_IO_BLOCK) {
		size_t n = base->size - at < QS_IO_BLOCK ? (size_t)(base->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_read(p, base->source, buffer, n, at, error);
		if (status != QSTORE_OK)
			return status;
		if (pack_is_cancelled(p))
			return qs_fail(error, QSTORE_CANCELLED, "cancelled");
		if (!qs_sha256_update(sha256, buffer, n))
			return pack_no_memory(error);
	}
	return qs_sha256_final(sha256, base->sha256) ? QSTORE_OK : pack_no_memory(error);
}

qstore_status pack_hash(packer *p, qs_error *error)
{
	hasher h = {.p = p, .sha256 = qs_sha256_create()};
	uint64_t total = 0, n_blocks = 0, spool_size = 0;
	uint8_t *buffers = malloc(2 * QS_IO_BLOCK);
	for (size_t i = 0; i < p->n_files; i++) {
		total += p->files[i].size;
		n_blocks += (p->files[i].size + QS_IO_BLOCK - 1) / QS_IO_BLOCK;
	}
	for (size_t i = 0; i < p->n_smalls; i++)
		total += p->smalls[i].size;
	h.blocks = malloc((size_t)(n_blocks + 1) * sizeof(*h.blocks));
	qstore_status status = QSTORE_OK;
	if (h.sha256 == NULL || h.blocks == NULL || buffers == NULL)
		status = pack_no_memory(error);
	if (status == QSTORE_OK)
		pack_phase(p, "reading", total);
	for (size_t i = 0; i < p->n_smalls && status == QSTORE_OK; i++)
		status = spool_small(p, &p->smalls[i], &spool_size, h.sha256, buffers, buffers + QS_IO_BLOCK, error);
	if (status == QSTORE_OK) {
		for (size_t i = 0; i < p->n_files; i++) {
			const pack_file *file = &p->files[i];
			for (uint64_t at = 0; at < file->size; at += QS_IO_BLOCK) {
				uint32_t n =
				    file->size - at < QS_IO_BLOCK ? (uint32_t)(file->size - at) : (uint32_t)QS_IO_BLOCK;
				h.blocks[h.n_blocks++] = (hash_block){(uint32_t)i, n, at};
			}
		}
		qs_jobs jobs = {
		    .n_jobs = h.n_blocks,
		    .user = &h,
		    .create = hash_create,
		    .destroy = hash_destroy,
		    .work = hash_work,
		    .commit = hash_commit,
		    .cancel = p->options->work.cancel,
		};
		status = qs_pool_run(&jobs, p->options->work.threads, error);
	}
	for (size_t i = 0; i < p->n_bases && status == QSTORE_OK; i++)
		if (p->bases[i].used && p->base_archive == NULL)
			status = hash_base(p, &p->bases[i], h.sha256, buffers, error);
	free(h.blocks);
	free(buffers);
	qs_sha256_destroy(h.sha256);
	return status;
}
