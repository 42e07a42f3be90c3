/* Status codes of every qstore function, in C, in WebAssembly and in JavaScript.
 *
 * One list: the enum, the messages and (through wasm/) the JavaScript table are made from it. Numbers are
 * part of the WebAssembly ABI: append, never renumber. */
#ifndef QS_STATUS_H
#define QS_STATUS_H

#define QS_STATUS_LIST(X)                                                                                    \
	X(OK, 0, "success")                                                                                      \
	X(USAGE, 1, "the caller's arguments make no sense")                                                      \
	X(NOT_QSTORE, 2, "not a qstore archive")                                                                 \
	X(NEWER, 3, "made by a newer qstore than this one can read")                                             \
	X(TRUNCATED, 4, "the data ends too early")                                                               \
	X(CORRUPT, 5, "the data is damaged")                                                                     \
	X(LIMIT, 6, "over a limit of this implementation")                                                       \
	X(MEMORY, 7, "out of memory")                                                                            \
	X(IO, 8, "reading or writing failed")                                                                    \
	X(INPUT, 9, "a model file is not valid")                                                                 \
	X(MISMATCH, 10, "the two models do not belong together")                                                 \
	X(NOT_FOUND, 11, "no such variant, file or tensor in the archive")                                       \
	X(EXISTS, 12, "the output exists already")                                                               \
	X(CANCELLED, 13, "cancelled")                                                                            \
	X(OLDER, 14, "made by an older qstore, whose layout is no longer read: pack the model again")            \
	X(INTEGRITY, 15, "the bytes are not those of the pinned digest")

#ifndef QSTORE_STATUS_DEFINED /* qstore.h has the same enum for the library's users */
#define QSTORE_STATUS_DEFINED
typedef enum qstore_status {
#define QS_STATUS_ENUM(name, value, message) QSTORE_##name = value,
	QS_STATUS_LIST(QS_STATUS_ENUM)
#undef QS_STATUS_ENUM
} qstore_status;
#endif

/* A sentence for a status; static storage, never NULL. */
const char *qstore_status_message(qstore_status status);

#endif
