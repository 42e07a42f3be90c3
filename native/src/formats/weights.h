/* A file of weights in any format: its tensors, and where they stand. */
#ifndef QS_WEIGHTS_H
#define QS_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/index.h"
#include "error.h"

typedef struct qs_weight {
	char *name;     /* owned by the file */
	uint32_t dtype; /* qs_dtype */
	uint32_t n_dims;
	uint64_t *dims;  /* outermost first; owned by the file */
	uint64_t offset; /* bytes, from the start of the file (not of its data) */
	uint64_t size;   /* bytes */
} qs_weight;

typedef enum qs_format { QS_FORMAT_SAFETENSORS, QS_FORMAT_GGUF, QS_FORMAT_ONNX } qs_format;

typedef struct qs_weights {
	char *path;
	qs_format format; /* QS_FORMAT_ONNX: an ONNX file, or external data of one */
	char *prefix;     /* what makes the names unique in a model of several ONNX files: a tensor is the same as
	                     another variant's when prefix and name are; NULL: "" */
	uint64_t file_size, header_size; /* header_size: bytes before the first that can be a tensor's */
	size_t n_tensors;
	qs_weight *tensors;  /* in order of offset, then empty ones first, then of the header: none begins before
	                        the end of the one before it */
	qs_weight **by_name; /* for qs_weights_find */
} qs_weights;

void qs_weights_close(qs_weights *file);

/* Tensor by name, or NULL. O(log n) */
const qs_weight *qs_weights_find(const qs_weights *file, const char *name);

/* ---- For readers of formats ---- */

/* Bytes of a tensor, whose innermost dimension is whole blocks. False when they are 2^64 or more; a dimension
 * of zero does not excuse the others. */
int qs_weights_size(uint32_t dtype, const uint64_t *dims, uint32_t n_dims, uint64_t *size);

/* Archives hold names as UTF-8. */
int qs_weights_is_utf8(const char *name);

/* Is this the beginning of what Git LFS leaves in place of a file? */
int qs_weights_is_pointer(const uint8_t *src, size_t size);
#define QS_WEIGHTS_IS_POINTER "a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`"

/* Puts the tensors in order and checks that none overlaps another. INPUT, MEMORY. */
qstore_status qs_weights_sort(qs_weights *file, qs_error *error);

/* Names in messages are cut, so that what is wrong with them always fits behind them. */
#define NAME_SHOWN "%.200s"
const char *qs_weights_shown_path(const char *path);

/* INPUT: "PATH: tensor "NAME": what". */
__attribute__((format(printf, 4, 5))) qstore_status
qs_weights_fail(qs_error *error, const char *path, const char *name, const char *format, ...);

#endif
