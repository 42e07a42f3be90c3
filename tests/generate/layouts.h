/* Layouts: the tensors that each quantizer stores for a linear layer. */
#ifndef GENERATE_LAYOUTS_H
#define GENERATE_LAYOUTS_H

#include "codes.h"
#include "writer.h"

typedef struct gen_list {
	gen_tensor *tensors; /* the list owns their data */
	size_t n_tensors, capacity;
	uint32_t shard; /* of tensors that are added */
} gen_list;

/* Adds a tensor whose name is made of a format ("%s.scales") and a stem; returns its data, zeroed. Dimensions
 * beyond n_dims are ignored. */
uint8_t *gen_list_add(gen_list *list, const char *format, const char *stem, uint32_t dtype, uint32_t n_dims,
                      const uint64_t *dims);
void gen_list_free(gen_list *list);

/* Can the codes be laid out for GPTQ and AWQ, whose words must be full? */
int gen_layout_fits(const gen_codes *codes);

/* Add the tensors of a layer. stem: the layer's name without ".weight". Unless a comment has other
 dimensions, codes are
 * [outputs, inputs] and scales [outputs, groups].

 *
 * GPTQ (AutoGPTQ, qlinear/…: pack): X.qweight I32 [inputs·bits/32, outputs], X.qzeros I32 [groups,
 * outputs·bits/32] holding zero − 1, X.scales F16 [groups, outputs], X.g_idx I32 [inputs]. The first of the
 * codes in a word is in its low bits. In version 2 (GPTQModel,
 * checkpoint_format gptq_v2) qzeros are the zero points themselves. */
void gen_layout_gptq(gen_list *list, const char *stem, const gen_codes *codes);
void gen_layout_gptq_v2(gen_list *list, const char *stem, const gen_codes *codes);

/* AWQ (AutoAWQ, modules/linear/gemm.py): X.qweight I32 [inputs, outputs/8], X.qzeros I32 [groups, outputs/8],
 * X.scales F16 [groups, outputs]. A word has the codes of eight outputs, in the order 0 2 4 6 1 3 5 7. Codes
 * have 4 bits. */
void gen_layout_awq(gen_list *list, const char *stem, const gen_codes *codes);

/* compressed-tensors: X.weight I8, X.weight_scale [outputs, groups], X.weight_zero_point I8 when asymmetric.
 */
void gen_layout_compressed_tensors(gen_list *list, const char *stem, const gen_codes *codes);

/* pack-quantized: X.weight_packed I32 [outputs, inputs·bits/32] of code + 2^(bits−1), X.weight_scale,
 * X.weight_shape I64 [2], X.weight_zero_point I32 [outputs·bits/32, groups] when asymmetric. The rest of a
 * word that a row does not fill is zero. (compressors/pack_quantized: pack_to_int32) */
void gen_layout_pack_quantized(gen_list *list, const char *stem, const gen_codes *codes);

/* torchao, whose tensors are flattened in safetensors: X._weight_qdata I8, X._weight_scale F32 [outputs,
 * 1]. */
void gen_layout_torchao(gen_list *list, const char *stem, const gen_codes *codes);

/* bitsandbytes: X.weight I8, X.SCB F32 [outputs], X.weight_format U8 []. */
void gen_layout_llm_int8(gen_list *list, const char *stem, const gen_codes *codes);

/* A layout of no particular quantizer: X.weight I8 (U8 when asymmetric), X.weight.scale F32 [outputs],
 * [outputs, groups], [1, inputs] or [1], and X.weight.zero_point U8 in the same shape when asymmetric. */
void gen_layout_plain(gen_list *list, const char *stem, const gen_codes *codes);

#endif
