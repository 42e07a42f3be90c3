/* Making models from a model: quantized copies, casts, a finetune. */
#ifndef GENERATE_QUANTIZE_H
#define GENERATE_QUANTIZE_H

#include <stddef.h>
#include <stdint.h>

enum {
	QUANTIZE_GPTQ,
	QUANTIZE_AWQ, /* 4 bits, asymmetric, after smoothing */
	QUANTIZE_COMPRESSED_TENSORS,
	QUANTIZE_TORCHAO,
	QUANTIZE_LLM_INT8,
	QUANTIZE_ROUND,
	QUANTIZE_CAST,
	QUANTIZE_FINETUNE
};

typedef struct quantize_options {
	const char *model, *output; /* model: a folder or a safetensors file; output: a folder */
	int rule;
	uint64_t seed;
	double correlation; /* of neighbouring channels of the layers' inputs, for `feedback` and `smooth` */
	unsigned bits;      /* GPTQ, COMPRESSED_TENSORS: 4 or 8 (0: 8) */
	int per;            /* GEN_PER_…: ROUND; GPTQ, AWQ and COMPRESSED_TENSORS know ROW and GROUP */
	uint64_t group;     /* columns of a group */
	int asymmetric;     /* GPTQ, COMPRESSED_TENSORS, ROUND */
	int act_order;      /* GPTQ */
	int static_groups;  /* GPTQ: groups are neighbouring columns, with parameters of the unchanged weights */
	int search;         /* GPTQ: find the scales that lose least (mse) */
	int v2;             /* GPTQ: the second version of its files */
	int feedback;       /* COMPRESSED_TENSORS: with GPTQ's error feedback */
	int packed;         /* COMPRESSED_TENSORS: codes are packed into words */
	int single;         /* COMPRESSED_TENSORS: quotients in single precision */
	int multiply;       /* ROUND: multiply by the scale's reciprocal */
	int smooth;         /* scale columns first, as SmoothQuant and AWQ do */
	unsigned ulps;      /* LLM_INT8: each row's factor is off by at most this many ulps */
	uint32_t dtype;     /* CAST: the type to cast to */
	double part;        /* FINETUNE: the share of tensors that change, from 0 to 1 */
	double step;        /* FINETUNE: standard deviation of the change, relative to the tensor's */
} quantize_options;

/* Ends the program, with a line that says why, if options do not go together. */
void quantize_check(const quantize_options *options);

/* Writes the folder: quantized linear weights, the other tensors and small files as they are, and config.json
 * with the quantizer's entry. Any failure ends the program. */
void generate_quantized(const quantize_options *options);

#endif
