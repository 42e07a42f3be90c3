/* Shared by tests of models: a folder's hash, and its tensors as numbers. */
#ifndef TESTS_MODEL_HELP_H
#define TESTS_MODEL_HELP_H

#include <stddef.h>
#include <stdint.h>

/* Writes a safetensors file of these tensors, a text of "NAME DTYPE DIM,DIM…" separated by '|' (no dims: a
 * scalar). Bytes differ from tensor to tensor. Returns its path as scratch_path does. */
const char *write_tensors(void **state, const char *name, const char *tensors);

/* Writes a GGUF file of one matrix of 256 columns, of ggml's type of this number. count: of shards, of which
 * the file is `no`, or 0. */
const char *write_gguf(void **state, const char *name, const char *tensor, uint32_t type, uint16_t no,
                       uint16_t count, int32_t n_tensors);

/* FNV-1a over the names and bytes of all files. */
uint64_t hash_model(const char *path);

typedef struct loaded_tensor {
	uint32_t dtype, n_dims;
	uint64_t dims[4];
	size_t n; /* elements */
	uint8_t *data;
} loaded_tensor;

/* Tensor STEM.SUFFIX (suffix NULL: STEM) of the model, its data malloc'd; false when it has none. */
int load_tensor(const char *path, const char *stem, const char *suffix, loaded_tensor *out);

/* Elements, whatever their type, computed from its definition. */
double float_at(const loaded_tensor *tensor, size_t i);
int64_t integer_at(const loaded_tensor *tensor, size_t i); /* signed as its type is */

/* Code i of words that lie `stride` words apart from word `first` on, each holding 32 / bits codes, the first
 * in the low bits. */
int packed_at(const loaded_tensor *tensor, size_t first, size_t stride, size_t i, unsigned bits);

/* x rounded to nearest even, to a float type. */
double round_to(uint32_t dtype, double x);

#endif
