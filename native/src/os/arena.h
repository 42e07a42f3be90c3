/* Memory for many small things that are freed together. One thread at a time allocates. */
#ifndef QS_ARENA_H
#define QS_ARENA_H

#include <stddef.h>

/* A zeroed arena is empty. */
typedef struct qs_arena {
	struct qs_arena_block *blocks;
	size_t used, capacity; /* bytes of the first block */
} qs_arena;

/* Returns `size` zeroed bytes, aligned for every type, which do not move; NULL if memory is out. */
void *qs_arena_alloc(qs_arena *arena, size_t size);

/* Returns n zeroed elements of elem_size bytes, aligned for every type; NULL if memory is out. */
void *qs_arena_array(qs_arena *arena, size_t n, size_t elem_size);

/* Returns a copy of `size` bytes, with a zero byte behind them; NULL if memory is out. */
char *qs_arena_copy(qs_arena *arena, const void *src, size_t size);

/* Returns a text as printf makes it; NULL if memory is out. */
char *qs_arena_text(qs_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Moves all memory of `from` to `arena`, which frees it. `from` is empty afterwards. */
void qs_arena_take(qs_arena *arena, qs_arena *from);

/* Frees everything. The arena is empty afterwards. */
void qs_arena_free(qs_arena *arena);

#endif
