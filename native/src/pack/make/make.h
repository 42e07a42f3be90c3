/* The third stage, where the packer is given one variant only: it makes a variant of 8 bits from it.
 *
 * make/ depends on input/, on quantize/ and on formats/ for the headers of files; not on match/. A variant is
 * added to the input once it is known which of its tensors are quantized; when there is none, the input stays
 * as it was. */
#ifndef QS_PACK_MAKE_H
#define QS_PACK_MAKE_H

#include "pack/input/input.h"

/* Which quantizer makes a variant from the given one: the wanted one, or the default for its format. NONE
 * when none is wanted, or when the model is quantized already; then *is_quantized is set. */
qstore_status pack_choose_quantizer(const qstore_pack_options *options, const pack_variant *given,
                                    qstore_quantize *quantizer, int *is_quantized, qstore_error *error);

/* Adds the variant that bitsandbytes makes by LLM.int8. *made is 0 when no tensor is fit to be quantized. */
qstore_status pack_make_llm_int8(pack_input *input, pack_derived *derived, const qstore_pack_options *options,
                                 pack_progress *progress, int *made, qstore_error *error);

/* Adds the variant that llama-quantize makes as Q8_0. *made is 0 when no tensor is fit to be quantized. */
qstore_status pack_make_q8_0(pack_input *input, pack_derived *derived, int *made, qstore_error *error);

/* Adds the config.json of an INT8 variant, made from HIGH's. *made is 0 when HIGH's is no JSON object: both
 * keep it then. (config.c) */
qstore_status pack_make_config(pack_input *input, pack_spool *spool, const qs_model_file *original, int *made,
                               qstore_error *error);

/* Makes HIGH's tensor a duplicate of the made variant's, which is coded like it was. The derived tensors of
 * HIGH's belong to the made one then. */
void pack_share_with_made(pack_derived *derived, pack_tensor *fine, pack_tensor *made);

#endif
