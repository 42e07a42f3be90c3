/* GPTQ's error feedback: the columns that follow a column are changed to make up for its rounding error, so
 * that the layer's outputs change little. (Frantar et al. 2022, "GPTQ", algorithm 1; AutoGPTQ
 * quantization/gptq.py) */
#ifndef GENERATE_GPTQ_H
#define GENERATE_GPTQ_H

#include "codes.h"

typedef struct gen_inputs {
	uint64_t seed;
	double correlation; /* of neighbouring channels, from 0 to below 1 */
} gen_inputs;

typedef struct gen_gptq_options {
	gen_inputs inputs;
	size_t group_size; /* columns that share a scale; 0: all columns do */
	/* desc_act: columns of large activations come first, and groups are columns that follow one another
	 * then. */
	int act_order;
	/* Use the given parameters and groups, as llm-compressor does, and AutoGPTQ with static_groups. Otherwise
	 * the parameters of a group are found when it is reached, from the weights as they have been changed by
	 * then. */
	int keep_params;
} gen_gptq_options;

/* Makes n_samples inputs of the layer `name`, one a row of `cols` channels. The correlation of channels at a
 * distance d is correlation^d. The spreads of channels differ by powers of two, and a few are far larger. The
 * caller frees the result. */
float *gen_activations(const gen_inputs *inputs, const char *name, size_t cols, size_t n_samples);

/* The codes are fitted to this many inputs for each column. */
#define GEN_SAMPLES_PER_COLUMN 4

/* Finds codes, parameters and groups. The codes must have been initialised with a scale for each row and
 * group. */
void gen_codes_gptq(gen_codes *codes, const gen_matrix *matrix, const gen_gptq_options *options);

#endif
