#include "arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT _Alignof(max_align_t)

/* Under AddressSanitizer each allocation has a block of its own, so that overruns are found. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define BLOCK_SIZE ((size_t)0)
#else
#define BLOCK_SIZE ((size_t)1 << 16)
#endif

typedef struct qs_arena_block {
	struct qs_arena_block *next;
	_Alignas(max_align_t) unsigned char bytes[];
} qs_arena_block;

void *qs_arena_alloc(qs_arena *arena, size_t size)
{
	if (size > SIZE_MAX / 2)
		return NULL;
	size_t start = (arena->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!arena->blocks || start > arena->capacity || arena->capacity - start < size) {
		size_t capacity = size > BLOCK_SIZE ? size : BLOCK_SIZE;
		qs_arena_block *block = calloc(1, sizeof(*block) + capacity);
		if (!block)
			return NULL;
		block->next = arena->blocks;
		arena->blocks = block;
		arena->capacity = capacity;
		start = 0;
	}
	arena->used = start + size;
	return arena->blocks->bytes + start;
}

void *qs_arena_array(qs_arena *arena, size_t n, size_t elem_size)
{
	assert(elem_size > 0);
	return n > SIZE_MAX / elem_size ? NULL : qs_arena_alloc(arena, n * elem_size);
}

char *qs_arena_copy(qs_arena *arena, const void *src, size_t size)
{
	char *copy = size < SIZE_MAX / 2 ? qs_arena_alloc(arena, size + 1) : NULL;
	if (copy && size > 0)
		memcpy(copy, src, size);
	return copy;
}

char *qs_arena_text(qs_arena *arena, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int size = vsnprintf(NULL, 0, format, args);
	char *text = size < 0 ? NULL : qs_arena_alloc(arena, (size_t)size + 1);
	if (text)
		vsnprintf(text, (size_t)size + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}

void qs_arena_take(qs_arena *arena, qs_arena *from)
{
	if (!arena->blocks) {
		*arena = *from;
	} else if (from->blocks) {
		/* The blocks go behind the first one, which stays first because it has room left. */
		qs_arena_block *last = from->blocks;
		while (last->next)
			last = last->next;
		last->next = arena->blocks->next;
		arena->blocks->next = from->blocks;
	}
	*from = (qs_arena){0};
}

void qs_arena_free(qs_arena *arena)
{
	while (arena->blocks) {
		qs_arena_block *block = arena->blocks;
		arena->blocks = block->next;
		free(block);
	}
	*arena = (qs_arena){0};
}
