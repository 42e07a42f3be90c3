/* Making whole GGUF models: from safetensors as llama.cpp's converter does, and quantized as llama-quantize
 * does. Any failure ends the program. */
#ifndef GENERATE_GGUF_MODEL_H
#define GENERATE_GGUF_MODEL_H

#include <stdint.h>

typedef struct gguf_options {
	uint32_t version;   /* 2 or 3 */
	uint32_t alignment; /* bytes; 32, the default, has no entry in the metadata */
	uint32_t shards;    /* 1: one file; more: the output's name gets "-00001-of-00003" */
	int pure;           /* quantize all matrices to the same type */
	int imatrix;        /* quantize with an importance matrix, which is noise */
} gguf_options;

/* Converts a Llama as convert_hf_to_gguf.py does. in: a folder of safetensors or one such file, with a
 * config.json beside it. Names are changed, and the order of rows in the matrices of queries and keys. Norms
 * become F32, matrices dtype (QS_F32, QS_F16 or QS_BF16). The tokens are invented. */
void gguf_convert(const char *in, uint32_t dtype, const gguf_options *options, const char *out);

/* Quantizes the GGUF file `in` as llama-quantize does without an importance matrix. type: "q8_0", "q4_0",
 * "q4_1", "q5_0", "q5_1", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m" or "q6_k". Returns 0 for another type. */
int gguf_quantize_model(const char *in, const char *type, const gguf_options *options, const char *out);

#endif
