/* Growing arrays and arenas: contents stay, new memory is zeroed and aligned, sizes that overflow are
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/arena.h"
#include "os/array.h"

typedef struct item {
	uint64_t number;
	uint8_t zeros[5];
} item;

static void test_array_add_keeps_elements(void **state)
{
	(void)state;
	item *items = NULL;
	size_t n = 0;
	for (uint64_t i = 0; i < 1000; i++) {
		item *added = qs_array_add(&items, &n, sizeof(*items));
		assert_non_null(added);
		assert_ptr_equal(added, &items[i]);
		for (size_t k = 0; k < sizeof(added->zeros); k++)
			assert_int_equal(added->zeros[k], 0);
		memset(added, 0xff, sizeof(*added));
		added->number = i;
	}
	assert_int_equal(n, 1000);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(items[i].number, i);
	free(items);
}

static void test_array_grows_to_any_size(void **state)
{
	(void)state;
	for (size_t n = 0; n < 70; n++)
		for (size_t more = 1; more < 70; more++) {
			uint16_t *array = n == 0 ? NULL : qs_array_grow(NULL, 0, n, sizeof(*array));
			assert_true(n == 0 || array);
			for (size_t i = 0; i < n; i++)
				array[i] = (uint16_t)(i + 1);
			array = qs_array_grow(array, n, more, sizeof(*array));
			assert_non_null(array);
			for (size_t i = 0; i < n + more; i++)
				assert_int_equal(array[i], i < n ? i + 1 : 0);
			free(array);
		}
}

static void test_sizes_that_overflow(void **state)
{
	(void)state;
	qs_arena arena = {0};
	assert_null(qs_array_grow(NULL, 0, SIZE_MAX, 1));
	assert_null(qs_array_grow(NULL, SIZE_MAX / 8, 1, 16));
	assert_null(qs_arena_alloc(&arena, SIZE_MAX));
	assert_null(qs_arena_array(&arena, SIZE_MAX / 2, 4));
	qs_arena_free(&arena);
}

static void test_arena(void **state)
{
	(void)state;
	enum { N = 3000 };
	static uint8_t *all[N];
	qs_arena arena = {0};
	for (size_t i = 0; i < N; i++) {
		size_t size = i % 100 == 99 ? 100000 : i % 61;
		all[i] = qs_arena_array(&arena, size, 1);
		assert_non_null(all[i]);
		assert_int_equal((uintptr_t)all[i] % _Alignof(max_align_t), 0);
		for (size_t k = 0; k < size; k++)
			assert_int_equal(all[i][k], 0);
		memset(all[i], (int)(i % 251), size);
	}
	for (size_t i = 0; i < N; i++)
		for (size_t k = 0; k < (i % 100 == 99 ? 100000 : i % 61); k++)
			assert_int_equal(all[i][k], i % 251);
	const char *text = qs_arena_text(&arena, "%s/%s-%u", "folder", "name", 12u);
	assert_string_equal(text, "folder/name-12");
	qs_arena_free(&arena);
	assert_null(arena.blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_array_add_keeps_elements),
	    cmocka_unit_test(test_array_grows_to_any_size),
	    cmocka_unit_test(test_sizes_that_overflow),
	    cmocka_unit_test(test_arena),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
