/* The arithmetic of quantizers: from a range of values to a scale and a zero point, from a value to a code.
 */
#ifndef GENERATE_ROUNDING_H
#define GENERATE_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

enum {
	GEN_LLM_INT8,           /* bitsandbytes: cast to FP16, times 127 / absmax */
	GEN_DIVIDE,             /* round(w / s), s in F32 */
	GEN_MULTIPLY,           /* round(w × (1 / s)), s in F32 */
	GEN_COMPRESSED_TENSORS, /* compressed-tensors: all in the weights' own type, down to −2^(bits−1) */
	GEN_TORCHAO,            /* torchao: s in the weights' own type, then multiply in F32 */
	GEN_AWQ,                /* AutoAWQ: cast to FP16, all in it, round(w / s) + zero, from 0 to 15 */
	GEN_GPTQ                /* AutoGPTQ: round(w / s) + zero, from 0 to 2^bits − 1 */
};

typedef struct gen_rounding {
	int rule;
	unsigned bits;  /* of a code: 2 to 8 */
	int asymmetric; /* with a zero point (DIVIDE, COMPRESSED_TENSORS, GPTQ) */
	uint32_t dtype; /* the weights' */
	int search;     /* GPTQ: for the range, up to the values' own, that they lose least by */
	int wide;       /* COMPRESSED_TENSORS: quotients are not rounded to dtype, as where weights were
	                   changed in F32 */
} gen_rounding;

typedef struct gen_params {
	float scale;  /* as it is stored; LLM_INT8: the absmax */
	float factor; /* LLM_INT8, MULTIPLY, TORCHAO: what values are multiplied by */
	int32_t zero; /* the code of 0 */
} gen_params;

/* Scale and zero point for values from min to max (finite, min ≤ max). */
gen_params gen_find_params(const gen_rounding *rounding, float min, float max);

/* Scale and zero point for n > 0 finite values; looks for a smaller range where `search` is set. */
gen_params gen_find_params_of(const gen_rounding *rounding, const float *values, size_t n);

/* The code of a finite value, zero point included. */
int gen_round(const gen_rounding *rounding, const gen_params *params, float value);

/* scale × (code − zero): not of LLM_INT8. */
float gen_restore(const gen_params *params, int code);

#endif
