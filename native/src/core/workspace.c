#include "workspace.h"

#include "mode.h"
#include "ranks.h"
#include "symbols.h"
#include "zstd.h"

_Static_assert(QS_CHUNK_SIZE_MAX % 64 == 0, "parts of scratch memory begin at cache lines");

static size_t align64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

/* Lays the arrays out one after the other, from p on, and returns their bytes together. w may be NULL. */
static size_t lay_out(qs_workspace *w, uint8_t *p)
{
	size_t sizes[] = {qs_symbols_workspace_size(),
	                  sizeof(qs_cell_cache),
	                  QS_CHUNK_SIZE_MAX + QS_ESCAPES_SLACK,
	                  QS_CHUNK_SIZE_MAX / 2,
	                  QS_CHUNK_SIZE_MAX / 2,
	                  QS_CHUNK_SIZE_MAX,
	                  QS_GROUPS_COLS_MAX * sizeof(uint16_t),
	                  QS_SHIFTS_MAX,
	                  qs_zstd_workspace_size()};
	enum { N_PARTS = sizeof sizes / sizeof *sizes };
	size_t at[N_PARTS], size = 0;
	for (int i = 0; i < N_PARTS; i++) {
		at[i] = size;
		size += align64(sizes[i]);
	}
	if (w) {
		w->tables = p + at[0];
		w->cells = (qs_cell_cache *)(p + at[1]);
		w->scratch = p + at[2];
		w->codes = p + at[3];
		w->indexes = p + at[4];
		w->values = p + at[5];
		w->columns = (uint16_t *)(p + at[6]);
		w->shifts = p + at[7];
		w->zstd = p + at[8];
		w->zstd_size = align64(sizes[8]);
	}
	return size;
}

size_t qs_workspace_bytes(void)
{
	return 64 + lay_out(NULL, NULL);
}

int qs_workspace_open(qs_workspace *w, void *work, size_t work_size)
{
	if (!work || work_size < qs_workspace_bytes())
		return 0;
	uint8_t *p = work;
	lay_out(w, p + ((64 - ((uintptr_t)p & 63)) & 63));
	return 1;
}

qstore_status qs_decode_blocks(qs_reader *r, unsigned n_blocks, size_t n, uint8_t *dst, const qs_workspace *w)
{
	for (; n_blocks; n_blocks--, dst += n) {
		qstore_status status = qs_symbols_decode(r, dst, n, w->tables, w->zstd, w->zstd_size);
		if (status)
			return status;
	}
	return QSTORE_OK;
}
