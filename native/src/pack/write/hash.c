/* First pass: small files into their spool, the SHA-256 of these and of the base; and on request, beside
 * that, what zstd alone would make of all the others. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pack/pack.h"

/* Larger small files are compressed when that helps; FORMAT.md, "Container". */
#define STORED_SIZE_MAX 16384u
#define COMPARE_LEVEL 3
#define LEVEL_BEST 19
#define LEVEL_FAST 12
#define LEVEL_BEST_SIZE_MAX ((uint64_t)4 << 20)

/* ---- Small files ---- */

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
		if (!context || ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)) ||
		    ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, small->size)))
			status = pack_no_memory(error);
	}
	if (!status && !qs_sha256_reset(sha256))
		status = pack_no_memory(error);
	small->spool_offset = *spool_size;
	do {
		size_t n = small->size - at < QS_IO_BLOCK ? (size_t)(small->size - at) : QS_IO_BLOCK;
		if (!status && pack_is_cancelled(p))
			status = qs_fail(error, QSTORE_CANCELLED, "cancelled");
		if (!status)
			status = pack_read(p, small->source, in, n, small->source_offset + at, error);
		if (status)
			break;
		if (!qs_sha256_update(sha256, in, n))
			status = pack_no_memory(error);
		at += n;
		ZSTD_inBuffer source = {in, n, 0};
		size_t more = compress;
		while (!status && more != 0) {
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
	} while (!status && at < small->size);
	ZSTD_freeCCtx(context);
	if (!status && !qs_sha256_final(sha256, small->sha256))
		status = pack_no_memory(error);
	small->kind = QS_FILE_ZSTD;
	small->coded_size = coded_size;
	if (!compress || coded_size >= small->size) {
		small->kind = QS_FILE_STORED;
		small->coded_size = small->size;
		for (at = 0; at < small->size && !status;) {
			size_t n = small->size - at < QS_IO_BLOCK ? (size_t)(small->size - at) : QS_IO_BLOCK;
			status = pack_read(p, small->source, in, n, small->source_offset + at, error);
			if (!status)
				status = qs_pwrite_all(p->small_fd, in, n, small->spool_offset + at, path, error);
			at += n;
		}
	}
	*spool_size += small->coded_size;
	pack_advance(p, small->size);
	return status;
}

/* ---- What zstd alone would make of files ---- */

typedef struct compare_block {
	uint32_t file, size;
	uint64_t offset;
} compare_block;

typedef struct comparer {
	packer *p;
	compare_block *blocks;
	size_t n_blocks;
	uint8_t *buffers; /* 2 * QS_IO_BLOCK bytes, for small files */
	qs_sha256 *sha256;
} comparer;

typedef struct compare_thread {
	ZSTD_CCtx *context;
	uint8_t *data, *scratch, *coded;
	size_t zstd_size;
} compare_thread;

static void compare_destroy(void *user, void *memory)
{
	(void)user;
	compare_thread *t = memory;
	ZSTD_freeCCtx(t->context);
	free(t->data);
	free(t->scratch);
	free(t->coded);
	free(t);
}

static void *compare_create(void *user)
{
	compare_thread *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->data = malloc(QS_IO_BLOCK);
	t->scratch = malloc(PACK_SCRATCH_SIZE);
	t->coded = malloc(ZSTD_compressBound(QS_IO_BLOCK));
	t->context = ZSTD_createCCtx();
	if (!t->data || !t->scratch || !t->coded || !t->context) {
		compare_destroy(user, t);
		return NULL;
	}
	return t;
}

static qstore_status compare_work(void *user, void *memory, uint64_t job, qs_error *error)
{
	const comparer *c = user;
	const compare_block *block = &c->blocks[job];
	compare_thread *t = memory;
	qstore_status status = pack_file_read(c->p, &c->p->files[block->file], t->data, block->size,
	                                      block->offset, t->scratch, error);
	if (status)
		return status;
	t->zstd_size = ZSTD_compressCCtx(t->context, t->coded, ZSTD_compressBound(QS_IO_BLOCK), t->data,
	                                 block->size, COMPARE_LEVEL);
	return ZSTD_isError(t->zstd_size) ? pack_no_memory(error) : QSTORE_OK;
}

static qstore_status compare_commit(void *user, void *memory, uint64_t job, qs_error *error)
{
	comparer *c = user;
	const compare_block *block = &c->blocks[job];
	(void)error;
	for (uint32_t v = 0; v <= c->p->high_number; v++)
		if (c->p->files[block->file].variants >> v & 1)
			c->p->result.variants[v].zstd_size += ((compare_thread *)memory)->zstd_size;
	pack_advance(c->p, block->size);
	return QSTORE_OK;
}

/* All of them: where each stands in the spool depends on those before it. A model's tokenizer can take longer
 * than the comparison of everything else. */
static qstore_status spool_smalls(void *user, void *memory, uint64_t job, qs_error *error)
{
	const comparer *c = user;
	uint64_t spool_size = 0;
	qstore_status status = QSTORE_OK;
	(void)memory;
	(void)job;
	for (size_t i = 0; i < c->p->n_smalls && !status; i++)
		status = spool_small(c->p, &c->p->smalls[i], &spool_size, c->sha256, c->buffers,
		                     c->buffers + QS_IO_BLOCK, error);
	return status;
}

static qstore_status read_files(packer *p, uint8_t *buffers, qs_sha256 *sha256, qs_error *error)
{
	comparer c = {.p = p, .buffers = buffers, .sha256 = sha256};
	size_t n_files = p->options->compare ? p->n_files : 0;
	uint64_t n_blocks = 0;
	for (size_t i = 0; i < n_files; i++)
		n_blocks += (p->files[i].size + QS_IO_BLOCK - 1) / QS_IO_BLOCK;
	c.blocks = malloc((size_t)(n_blocks + 1) * sizeof(*c.blocks));
	if (!c.blocks)
		return pack_no_memory(error);
	for (size_t i = 0; i < n_files; i++) {
		uint64_t size = p->files[i].size;
		for (uint64_t at = 0; at < size; at += QS_IO_BLOCK) {
			uint32_t n = size - at < QS_IO_BLOCK ? (uint32_t)(size - at) : (uint32_t)QS_IO_BLOCK;
			c.blocks[c.n_blocks++] = (compare_block){(uint32_t)i, n, at};
		}
	}
	qs_jobs jobs = {
	    .n_jobs = c.n_blocks,
	    .user = &c,
	    .create = compare_create,
	    .destroy = compare_destroy,
	    .work = compare_work,
	    .commit = compare_commit,
	    .n_side = p->n_smalls > 0,
	    .side = spool_smalls,
	    .cancel = p->options->work.cancel,
	};
	qstore_status status = qs_pool_run(&jobs, p->options->work.threads, error);
	free(c.blocks);
	return status;
}

/* ---- The base ---- */

static qstore_status hash_base(packer *p, pack_base_file *base, qs_sha256 *sha256, uint8_t *buffer,
                               qs_error *error)
{
	if (!qs_sha256_reset(sha256))
		return pack_no_memory(error);
	for (uint64_t at = 0; at < base->size; at += QS_IO_BLOCK) {
		size_t n = base->size - at < QS_IO_BLOCK ? (size_t)(base->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_read(p, base->source, buffer, n, at, error);
		if (status)
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
	uint64_t total = 0;
	uint8_t *buffers = malloc(2 * QS_IO_BLOCK);
	qs_sha256 *sha256 = qs_sha256_create();
	qstore_status status = sha256 && buffers ? QSTORE_OK : pack_no_memory(error);
	for (size_t i = 0; i < p->n_files && p->options->compare; i++)
		total += p->files[i].size;
	for (size_t i = 0; i < p->n_smalls; i++)
		total += p->smalls[i].size;
	if (!status) {
		pack_phase(p, "reading", total);
		status = read_files(p, buffers, sha256, error);
	}
	for (size_t i = 0; i < p->n_bases && !status; i++)
		if (p->bases[i].used && !p->base_archive)
			status = hash_base(p, &p->bases[i], sha256, buffers, error);
	free(buffers);
	qs_sha256_destroy(sha256);
	return status;
}
