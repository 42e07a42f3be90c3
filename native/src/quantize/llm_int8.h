/* LLM.int8 as bitsandbytes computes it on a CPU, row by row: weights are cast to FP16; scale = 127 / absmax
 * in single precision; code = round half to even of weight × scale; an all-zero row has absmax 0 and codes 0.
 * Source: bitsandbytes backends/default/ops.py (int8_vectorwise_quant), nn/modules.py (cast). Only IEEE
 * single-precision operations are used, so that results are the same everywhere. */
#ifndef QS_LLM_INT8_H
#define QS_LLM_INT8_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* The largest magnitude of n values (dtype QS_F16 or QS_BF16, little-endian; src need not be aligned) after
 * the cast to FP16. The largest of a row is that of its pieces. *finite is cleared (never set) when a value
 * is not finite after the cast: such a row cannot be quantized. */
float qs_llm_int8_absmax(const uint8_t *src, size_t n, uint32_t dtype, int *finite);

/* Makes the n codes of one row, or a piece of it, from the row's absmax. */
void qs_llm_int8_quantize(const uint8_t *src, size_t n, uint32_t dtype, float absmax, int8_t *dst);

/* True when the whole name matches one of the fnmatch patterns (a NULL-terminated list, or NULL). */
int qs_llm_int8_matches(const char *name, const char *const *patterns);

/* True when LLM.int8 quantizes this tensor by default: a 2-D 16-bit weight whose name ends in ".weight" and
 * has neither an embedding's, a norm's nor a head's name (embed, wte, wpe, norm, ln_, lm_head, …);
 * include/exclude are NULL-terminated lists of fnmatch patterns on the whole name (exclude wins; include adds
 * any 2-D 16-bit tensor), or NULL. */
int qs_llm_int8_selects(const char *name, uint32_t dtype, uint32_t n_dims, const uint64_t *dims,
                        const char *const *include, const char *const *exclude);

#endif
