/* The arithmetic of quantizers: finding scale and zero point for a range of values, and the code of a
 * value. */
#ifndef GENERATE_ROUNDING_H
#define GENERATE_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

enum {
	GEN_LLM_INT8,           /* bitsandbytes: cast to FP16, times 127 / absmax */
	GEN_DIVIDE,             /* round(w / s), s in F32 */
	GEN_MULTIPLY,           /* round(w × (1 / s)), s in F32 */
	GEN_COMPRESSED_TENSORS, /* compressed-tensors: all numbers in the weights' type, least code −2^(bits−1) */
	GEN_TORCHAO,            /* torchao: s in the weights' type, then multiply in F32 */
	GEN_AWQ,                /* AutoAWQ: all numbers in FP16, round(w / s) + zero, from 0 to 15 */
	GEN_GPTQ                /* AutoGPTQ: round(w / s) + zero, from 0 to 2^bits − 1 */
};

typedef struct gen_rounding {
	int rule;
	unsigned bits;  /* of a code: 2 to 8 */
	int asymmetric; /* with a zero point (DIVIDE, COMPRESSED_TENSORS, GPTQ) */
	uint32_t dtype; /* of the weights */
	int search;     /* GPTQ: find the range, at most that of the values, with which they lose least */
	int wide;       /* COMPRESSED_TENSORS: quotients are not rounded to dtype, as if weights were F32 */
} gen_rounding;

typedef struct gen_params {
	float scale;  /* as it is stored; LLM_INT8: the absmax */
	float factor; /* LLM_INT8, MULTIPLY, TORCHAO: the factor of values */
	int32_t zero; /* the code of 0 */
} gen_params;

/* Finds scale and zero point for finite values from min to max, min ≤ max. */
gen_params gen_find_params(const gen_rounding *rounding, float min, float max);

/* Finds scale and zero point for n > 0 finite values. With `search`, it looks for a smaller range that loses
 * less. */
gen_params gen_find_params_of(const gen_rounding *rounding, const float *values, size_t n);

/* Returns the code of a finite value, zero point included. */
int gen_round(const gen_rounding *rounding, const gen_params *params, float value);

/* Returns scale × (code − zero). Not for LLM_INT8. */
float gen_restore(const gen_params *params, int code);

#endif
