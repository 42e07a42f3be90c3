/* A file of weights in any format: its tensors, and where their bytes are. */
#ifndef QS_WEIGHTS_H
#define QS_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/index.h"
#include "error.h"
#include "os/arena.h"

typedef struct qs_weight {
	char *name;     /* in the file's arena */
	uint32_t dtype; /* qs_dtype */
	uint32_t n_dims;
	uint64_t *dims;  /* outermost first; in the file's arena */
	uint64_t offset; /* bytes, from the start of the file (not of its data) */
	uint64_t size;   /* bytes */
} qs_weight;

typedef enum qs_format { QS_FORMAT_SAFETENSORS, QS_FORMAT_GGUF, QS_FORMAT_ONNX } qs_format;

typedef struct qs_weights {
	char *path;
	qs_format format; /* QS_FORMAT_ONNX: an ONNX file, or external data of one */
	char *prefix;     /* makes names unique in a model of several ONNX files: tensors of two variants belong
	                     together when their prefixes and names are equal; NULL: "" */
	uint64_t file_size, header_size; /* bytes; header_size: those before the first that can be a tensor's */
	uint64_t unread_size; /* bytes of tensors that are not in this list, because the file has them not as they
	                         are in memory: lists of numbers in an ONNX file (int32_data) */
	size_t n_tensors;
	qs_weight *tensors;  /* in order of offset, then empty ones first, then of the header: none begins before
	                        the end of the one before it */
	qs_weight **by_name; /* the same, sorted by name */
	qs_arena arena;      /* of names, dims and paths */
} qs_weights;

/* Zeroes *file and gives it a path of its own. MEMORY. */
qstore_status qs_weights_init(qs_weights *file, const char *path, qs_format format, qstore_error *error);
void qs_weights_close(qs_weights *file);

/* Tensor by name, or NULL. O(log n) */
const qs_weight *qs_weights_find(const qs_weights *file, const char *name);

/* ---- For readers of formats ---- */

/* Appends a zeroed tensor, which is at *added until the next is appended. MEMORY. */
qstore_status qs_weights_add(qs_weights *file, qs_weight **added, qstore_error *error);

/* Sets *size to the bytes of a tensor, whose innermost dimension is whole blocks. False when they are 2^64 or
 * more; a dimension of zero does not excuse the others. */
int qs_weights_size(uint32_t dtype, const uint64_t *dims, uint32_t n_dims, uint64_t *size);

/* True when a file that begins so is the pointer that Git LFS leaves in place of a file. */
int qs_weights_is_pointer(const uint8_t *src, size_t size);

/* Is a file that begins so, and that is none of `format` ("safetensors"), something else that users mix up
 * with weights? Then text says what. */
#define QS_OTHER_SIZE 200
int qs_weights_is_other(const uint8_t *src, size_t size, const char *format, char text[QS_OTHER_SIZE]);

/* Puts the tensors in order, fills by_name, and checks that no tensor overlaps another. INPUT, MEMORY. */
qstore_status qs_weights_sort(qs_weights *file, qstore_error *error);

/* Fails with INPUT: "PATH: tensor "NAME": …". */
__attribute__((format(printf, 4, 5))) qstore_status
qs_weights_fail(qstore_error *error, const char *path, const char *name, const char *format, ...);

#endif
