/* Memory for many small things that are freed together. One thread at a time allocates. */
#ifndef QS_ARENA_H
#define QS_ARENA_H

#include <stddef.h>

/* Zeroed: an empty arena. */
typedef struct qs_arena {
	struct qs_arena_block *blocks;
	size_t used, capacity; /* bytes of the first block */
} qs_arena;

/* size zeroed bytes, aligned for every type; they do not move. NULL when out of memory. */
void *qs_arena_alloc(qs_arena *arena, size_t size);

/* n zeroed elements of elem_size bytes, aligned for every type. NULL when out of memory. */
void *qs_arena_array(qs_arena *arena, size_t n, size_t elem_size);

/* A copy of size bytes, with a zero byte behind them. NULL when out of memory. */
char *qs_arena_copy(qs_arena *arena, const void *src, size_t size);

/* A text as printf makes it. NULL when out of memory. */
char *qs_arena_text(qs_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes what `from` has allocated live as long as the arena; `from` is empty then. */
void qs_arena_take(qs_arena *arena, qs_arena *from);

/* Frees everything; the arena is empty then. */
void qs_arena_free(qs_arena *arena);

#endif
