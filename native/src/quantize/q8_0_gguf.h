/* The Q8_0 file that llama-quantize would make of a GGUF file: everything but the tensors' data.
 * Source: llama.cpp, src/llama-quant.cpp (llama_model_quantize_impl, tensor_allows_quantization) and
 * ggml/src/gguf.cpp. */
#ifndef QS_Q8_0_GGUF_H
#define QS_Q8_0_GGUF_H

#include "formats/gguf.h"

/* True when llama-quantize makes this tensor Q8_0: Matrices (and stacks of them) in F32, F16 or BF16 named
 * "…weight", but not norms, routers, positions, convolutions and other small ones, by their names; and only
 * rows of whole blocks of 32. */
int qs_gguf_q8_0_selects(const qs_weight *tensor);

/* Makes the first bytes, up to the tensors' data, of the Q8_0 file of the GGUF file at path, which source
 * describes (qs_gguf_open). The metadata is kept; general.quantization_version (2) and general.file_type (7)
 * come last, the numbers of a shard after them (as with --keep-split). Tensors are in the order of their
 * layers and names; those of a shard in their own order. *planned gets the place of each tensor (name,
 * dtype, dims, offset, size), and the length of the file: each tensor is padded with zeros to the
 * alignment, the last one too. Free *header with free, *planned with qs_weights_close, also after errors.
 * INPUT, IO, MEMORY.
 */
qstore_status qs_gguf_q8_0_header(const char *path, const qs_weights *source, uint8_t **header,
                                  size_t *header_size, qs_weights *planned, qstore_error *error);

#endif
