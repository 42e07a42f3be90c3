/* Asserts for the core's own invariants, never for data. They are checked in builds with sanitizers, which
 * tests and fuzzers use; elsewhere they cost nothing, and WebAssembly needs no library that prints. */
#ifndef QS_CHECK_H
#define QS_CHECK_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QS_CHECKED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define QS_CHECKED
#endif

/* Analyzers (`make lint`) read an assert as a fact. */
#if defined(__clang_analyzer__) || defined(__CPPCHECK__)
#define QS_CHECKED
#endif

#if defined(QS_CHECKED)
#define QS_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#define QS_ASSERT(condition) ((void)sizeof(condition))
#endif

#endif
