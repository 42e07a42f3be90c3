/* Safetensors files: reading and checking the header, writing one.
 * Layout: u64 header size N, N bytes of JSON, then the data. (github.com/huggingface/safetensors, README) */
#ifndef QS_SAFETENSORS_H
#define QS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "../core/index.h"
#include "../error.h"

typedef struct qs_st_tensor {
	char *name;     /* owned by the file */
	uint32_t dtype; /* qs_dtype */
	uint32_t n_dims;
	uint64_t *dims;  /* owned by the file */
	uint64_t offset; /* bytes, from the start of the file (not of its data) */
	uint64_t size;   /* bytes */
} qs_st_tensor;

typedef struct qs_safetensors {
	char *path;
	uint64_t file_size, header_size; /* header_size: 8 + N */
	size_t n_tensors;
	qs_st_tensor *tensors;  /* in order of offset, then empty ones first, then of the header: none begins
	                           before  the end of the one before it */
	qs_st_tensor **by_name; /* for qs_safetensors_find */
} qs_safetensors;

/* Reads and checks the header of the file at path: its length against the file, JSON without duplicate names,
 * known dtypes, shapes that multiply (without overflow) to the sizes, ranges inside the data that do not
 * overlap. INPUT with a line that names the file, the tensor and what is wrong; IO; MEMORY. Free with
 * qs_safetensors_close, also after errors. */
qstore_status qs_safetensors_open(qs_safetensors *file, const char *path, qs_error *error);
void qs_safetensors_close(qs_safetensors *file);

/* Tensor by name, or NULL. O(log n) */
const qs_st_tensor *qs_safetensors_find(const qs_safetensors *file, const char *name);

/* Makes the first 8 + N bytes of a file of these tensors (name, dtype, dims, size are read; offset is set,
 * relative to the start of the file), standing one after the other in the order given; N is padded with
 * spaces to a multiple of 8, metadata (JSON object text such as {"format":"pt"}) may be NULL. *header is
 * malloc'd, the caller frees it. */
qstore_status qs_safetensors_header(qs_st_tensor *tensors, size_t n_tensors, const char *metadata,
                                    uint8_t **header, size_t *header_size, qs_error *error);

#endif
