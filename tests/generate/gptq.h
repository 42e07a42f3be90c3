/* GPTQ's error feedback: each column's rounding error is made up for by the columns after it, so that the
 * layer's outputs change little. (Frantar et al. 2022, "GPTQ", algorithm 1; AutoGPTQ quantization/gptq.py) */
#ifndef GENERATE_GPTQ_H
#define GENERATE_GPTQ_H

#include "codes.h"

typedef struct gen_inputs {
	uint64_t seed;
	double correlation; /* of neighbouring channels, from 0 to below 1 */
} gen_inputs;

typedef struct gen_gptq_options {
	gen_inputs inputs;
	size_t group_size; /* columns that share a scale, 0: all */
	int act_order; /* columns of large activations first (desc_act): groups are then of columns in that order
	                */
	int keep_params; /* with the parameters and groups that are there, as llm-compressor does, and AutoGPTQ
	                    with static_groups; else each group's are found when its turn comes, from what the
	                    weights have become by then */
} gen_gptq_options;

/* Inputs of the layer `name`, one a row: channels at a distance d have the correlation^d, and their spreads
 * differ by powers of two, a few far larger. malloc'd, n_samples × cols. */
float *gen_activations(const gen_inputs *inputs, const char *name, size_t cols, size_t n_samples);

/* How many of them the codes are fitted to. */
#define GEN_SAMPLES_PER_COLUMN 4

/* Codes, parameters and groups, of codes that were initialised with one scale a row and group. */
void gen_codes_gptq(gen_codes *codes, const gen_matrix *matrix, const gen_gptq_options *options);

#endif
