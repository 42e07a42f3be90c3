/* Stands in, when analyzers (`make lint`) read the tests, for cmocka's asserts, whose failure ends a test by
 * a jump that they cannot follow. It is included before all else by the Makefile; builds do not have it. */
#ifndef CMOCKA_LINT_H
#define CMOCKA_LINT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINT_ASSERT(condition) ((condition) ? (void)0 : abort())

#undef assert_true
#undef assert_false
#undef assert_non_null
#undef assert_null
#undef assert_int_equal
#undef assert_int_not_equal
#undef assert_ptr_equal
#undef assert_string_equal
#undef assert_memory_equal
#undef assert_memory_not_equal
#undef assert_in_range
#undef fail_msg
#undef skip
#define assert_true(value) LINT_ASSERT(value)
#define assert_false(value) LINT_ASSERT(!(value))
#define assert_non_null(value) LINT_ASSERT(value)
#define assert_null(value) LINT_ASSERT(!(value))
#define assert_int_equal(a, b) LINT_ASSERT((uintmax_t)(a) == (uintmax_t)(b))
#define assert_int_not_equal(a, b) LINT_ASSERT((uintmax_t)(a) != (uintmax_t)(b))
#define assert_ptr_equal(a, b) LINT_ASSERT((a) == (b))
#define assert_string_equal(a, b) LINT_ASSERT(strcmp(a, b) == 0)
/* Tests compare the bits of floats on purpose. */
#define LINT_COMPARE(a, b, size) memcmp((const char *)(a), (const char *)(b), size)
#define assert_memory_equal(a, b, size) LINT_ASSERT(LINT_COMPARE(a, b, size) == 0)
#define assert_memory_not_equal(a, b, size) LINT_ASSERT(LINT_COMPARE(a, b, size) != 0)
#define assert_in_range(value, least, most) LINT_ASSERT((value) >= (least) && (value) <= (most))
#define fail_msg(...) (print_error(__VA_ARGS__), abort())
#define skip() abort()

#endif
