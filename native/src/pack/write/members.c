/* Small files become members; beside that, on request, all other files are compressed by zstd alone, so that
 * users can compare. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "container/member_names.h"
#include "os/file.h"
#include "os/pool.h"
#include "os/sha256.h"
#include "write.h"

/* Larger small files are compressed when that helps; FORMAT.md, "Container". */
#define STORED_SIZE_MAX 16384u
#define LEVEL_BEST 19
#define LEVEL_FAST 12
#define LEVEL_BEST_SIZE_MAX ((uint64_t)4 << 20)
/* The level that archives are compared with. */
#define COMPARE_LEVEL 3

/* ---- Small files into the spool ---- */

/* One thread's memory for small files. */
typedef struct member_writer {
	pack_spool *spool;
	pack_progress *progress;
	qs_sha256 *sha256;
	uint8_t *in, *out; /* QS_IO_BLOCK bytes each */
} member_writer;

static qstore_status create_context(ZSTD_CCtx **context, uint64_t size, qstore_error *error)
{
	int level = size <= LEVEL_BEST_SIZE_MAX ? LEVEL_BEST : LEVEL_FAST;
	*context = ZSTD_createCCtx();
	if (!*context || ZSTD_isError(ZSTD_CCtx_setParameter(*context, ZSTD_c_compressionLevel, level)) ||
	    ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(*context, size)))
		return qs_no_memory(error);
	return QSTORE_OK;
}

/* Compresses n bytes of a small file, the last ones when is_last, and writes them behind the member's coded
 * bytes. */
static qstore_status write_compressed(const member_writer *w, ZSTD_CCtx *context, pack_member *member,
                                      size_t n, int is_last, qstore_error *error)
{
	ZSTD_inBuffer source = {w->in, n, 0};
	size_t more = 1;
	while (more != 0) {
		ZSTD_outBuffer target = {w->out, QS_IO_BLOCK, 0};
		more = ZSTD_compressStream2(context, &target, &source, is_last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(more))
			return qs_fail(error, QSTORE_MEMORY, "%s: cannot be compressed: %s", member->small->path,
			               ZSTD_getErrorName(more));
		qstore_status status =
		    pack_spool_write(w->spool, w->out, target.pos, member->spool_offset + member->coded_size, error);
		if (status)
			return status;
		member->coded_size += target.pos;
		if (!is_last && source.pos == source.size)
			break;
	}
	return QSTORE_OK;
}

/* Reads a small file once, computes its SHA-256, and writes it to the member's place in the spool:
 * compressed, when there is a context, else as it is, when `copies` is set. */
static qstore_status read_small(const member_writer *w, pack_member *member, ZSTD_CCtx *context, int copies,
                                qstore_error *error)
{
	const pack_range *bytes = &member->small->bytes;
	uint64_t at = 0;
	if (!qs_sha256_reset(w->sha256))
		return qs_no_memory(error);
	do {
		size_t n = bytes->size - at < QS_IO_BLOCK ? (size_t)(bytes->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_check_cancelled(w->progress, error);
		if (!status)
			status = pack_read(bytes->source, w->in, n, bytes->offset + at, error);
		if (!status && !qs_sha256_update(w->sha256, w->in, n))
			status = qs_no_memory(error);
		if (!status && context)
			status = write_compressed(w, context, member, n, at + n == bytes->size, error);
		if (!status && copies)
			status = pack_spool_write(w->spool, w->in, n, member->spool_offset + at, error);
		if (status)
			return status;
		at += n;
	} while (at < bytes->size);
	return qs_sha256_final(w->sha256, member->sha256) ? QSTORE_OK : qs_no_memory(error);
}

/* Puts a small file at the end of the spool, compressed when that makes it smaller. */
static qstore_status spool_member(const member_writer *w, pack_member *member, qstore_error *error)
{
	uint64_t size = member->small->bytes.size;
	ZSTD_CCtx *context = NULL;
	qstore_status status = QSTORE_OK;
	member->spool_offset = w->spool->size;
	if (size > STORED_SIZE_MAX) {
		status = create_context(&context, size, error);
		if (!status)
			status = read_small(w, member, context, 0, error);
		ZSTD_freeCCtx(context);
	}
	member->kind = QS_FILE_ZSTD;
	if (size <= STORED_SIZE_MAX || member->coded_size >= size ||
	    !qs_frame_is_allowed(size, member->coded_size)) {
		member->kind = QS_FILE_STORED;
		if (!status)
			status = read_small(w, member, NULL, 1, error);
		member->coded_size = size;
	}
	pack_spool_reserve(w->spool, member->coded_size);
	pack_advance(w->progress, size);
	return status;
}

/* ---- The other files under zstd alone ---- */

typedef struct compared_range {
	const pack_file *file;
	uint64_t offset;
	uint32_t size;
} compared_range;

/* The jobs: a range of a file each; and one beside them, which is all small files. */
typedef struct first_pass {
	pack_members *members;
	member_writer writer;
	compared_range *ranges;
	size_t n_ranges;
} first_pass;

typedef struct zstd_thread {
	ZSTD_CCtx *context;
	uint8_t *data, *scratch, *coded;
	size_t zstd_size;
} zstd_thread;

static void zstd_destroy(void *user, void *memory)
{
	(void)user;
	zstd_thread *t = memory;
	ZSTD_freeCCtx(t->context);
	free(t->data);
	free(t->scratch);
	free(t->coded);
	free(t);
}

static void *zstd_create(void *user)
{
	zstd_thread *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->data = malloc(QS_IO_BLOCK);
	t->scratch = malloc(PACK_SCRATCH_SIZE);
	t->coded = malloc(ZSTD_compressBound(QS_IO_BLOCK));
	t->context = ZSTD_createCCtx();
	if (!t->data || !t->scratch || !t->coded || !t->context) {
		zstd_destroy(user, t);
		return NULL;
	}
	return t;
}

static qstore_status zstd_work(void *user, void *memory, uint64_t job, qstore_error *error)
{
	const first_pass *pass = user;
	const compared_range *range = &pass->ranges[job];
	zstd_thread *t = memory;
	qstore_status status =
	    pack_file_read(range->file, t->data, range->size, range->offset, t->scratch, error);
	if (status)
		return status;
	t->zstd_size = ZSTD_compressCCtx(t->context, t->coded, ZSTD_compressBound(QS_IO_BLOCK), t->data,
	                                 range->size, COMPARE_LEVEL);
	return ZSTD_isError(t->zstd_size) ? qs_no_memory(error) : QSTORE_OK;
}

static qstore_status zstd_commit(void *user, void *memory, uint64_t job, qstore_error *error)
{
	first_pass *pass = user;
	const compared_range *range = &pass->ranges[job];
	const zstd_thread *t = memory;
	(void)error;
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++)
		if (range->file->variants >> v & 1)
			pass->members->zstd_size[v] += t->zstd_size;
	pack_advance(pass->writer.progress, range->size);
	return QSTORE_OK;
}

/* All small files are one job, because the place of each in the spool depends on those before it. A model's
 * tokenizer can take longer than the comparison of everything else. */
static qstore_status spool_members(void *user, void *memory, uint64_t job, qstore_error *error)
{
	const first_pass *pass = user;
	qstore_status status = QSTORE_OK;
	(void)memory;
	(void)job;
	for (size_t i = 0; i < pass->members->n && !status; i++)
		status = spool_member(&pass->writer, &pass->members->items[i], error);
	return status;
}

static qstore_status list_ranges(first_pass *pass, const pack_input *input, int compare, qstore_error *error)
{
	size_t n_files = compare ? input->n_files : 0;
	uint64_t n = 0;
	for (size_t i = 0; i < n_files; i++)
		n += (input->files[i].size + QS_IO_BLOCK - 1) / QS_IO_BLOCK;
	pass->ranges = malloc((size_t)(n + 1) * sizeof(*pass->ranges));
	if (!pass->ranges)
		return qs_no_memory(error);
	for (size_t i = 0; i < n_files; i++) {
		uint64_t size = input->files[i].size;
		for (uint64_t at = 0; at < size; at += QS_IO_BLOCK) {
			uint32_t some = size - at < QS_IO_BLOCK ? (uint32_t)(size - at) : (uint32_t)QS_IO_BLOCK;
			pass->ranges[pass->n_ranges++] = (compared_range){&input->files[i], at, some};
		}
	}
	return QSTORE_OK;
}

static qstore_status read_inputs(first_pass *pass, const pack_input *input, int compare, qstore_error *error)
{
	pack_progress *progress = pass->writer.progress;
	uint64_t total = 0;
	for (size_t i = 0; i < input->n_files && compare; i++)
		total += input->files[i].size;
	for (size_t i = 0; i < input->n_smalls; i++)
		total += input->smalls[i].bytes.size;
	qs_jobs jobs = {
	    .n_jobs = pass->n_ranges,
	    .user = pass,
	    .create = zstd_create,
	    .destroy = zstd_destroy,
	    .work = zstd_work,
	    .commit = zstd_commit,
	    .n_side = input->n_smalls > 0,
	    .side = spool_members,
	    .cancel = progress->work->cancel,
	};
	pack_phase(progress, "reading", total);
	return qs_pool_run(&jobs, progress->work->threads, error);
}

/* ---- Names ---- */

static int compare_members(const void *a, const void *b)
{
	const pack_small *x = ((const pack_member *)a)->small, *y = ((const pack_member *)b)->small;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : (int)pack_coarsest(x->variants) - (int)pack_coarsest(y->variants);
}

static qstore_status name_members(pack_members *members, const pack_input *input, qstore_error *error)
{
	qs_member_names names = {.arena = input->arena};
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < members->n && !status; i++) {
		pack_member *member = &members->items[i];
		const pack_small *small = member->small;
		uint32_t v = input->n_variants - 1;
		while ((small->variants >> v & 1) == 0)
			v--;
		const char *variant = v == input->n_variants - 1 ? NULL : input->variants[v].name;
		member->name = qs_member_name_next(&names, variant, small->name, member->kind == QS_FILE_ZSTD);
		if (!member->name)
			status = qs_no_memory(error);
	}
	qs_member_names_end(&names);
	return status;
}

qstore_status pack_make_members(pack_members *members, const pack_input *input, int compare,
                                pack_progress *progress, qstore_error *error)
{
	uint8_t *buffers = malloc(2 * QS_IO_BLOCK);
	first_pass pass = {.members = members,
	                   .writer = {.spool = &members->spool,
	                              .progress = progress,
	                              .sha256 = qs_sha256_create(),
	                              .in = buffers,
	                              .out = buffers ? buffers + QS_IO_BLOCK : NULL}};
	members->items = qs_arena_array(input->arena, input->n_smalls, sizeof(*members->items));
	qstore_status status = buffers && pass.writer.sha256 && members->items ? QSTORE_OK : qs_no_memory(error);
	for (size_t i = 0; i < input->n_smalls && !status; i++)
		members->items[members->n++].small = &input->smalls[i];
	if (!status)
		status = list_ranges(&pass, input, compare, error);
	if (!status)
		status = read_inputs(&pass, input, compare, error);
	free(pass.ranges);
	free(buffers);
	qs_sha256_destroy(pass.writer.sha256);
	if (status)
		return status;
	if (members->n > 0)
		qsort(members->items, members->n, sizeof(*members->items), compare_members);
	return name_members(members, input, error);
}
