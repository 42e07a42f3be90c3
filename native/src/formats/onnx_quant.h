/* Quantized weights of an ONNX file: which initializers are codes, and which are their scales and zero
 * points.
 */
#ifndef QS_ONNX_QUANT_H
#define QS_ONNX_QUANT_H

#include "onnx_scan.h"

enum { ONNX_INPUTS_MAX = 18 };

/* The parts of a node that say how its weights are quantized. */
typedef struct onnx_node {
	qs_pb op, output;
	qs_pb inputs[ONNX_INPUTS_MAX]; /* empty beyond n_inputs */
	size_t n_inputs;
	int64_t axis, quantize_axis, bits, block_size;
} onnx_node;

/* Notes the claims of a node of a known operator. */
qstore_status onnx_claim_node(onnx_scan *scan, const onnx_node *node);

/* Makes scan->onnx->quants, after everything is read and sorted. */
qstore_status onnx_resolve_claims(onnx_scan *scan);

#endif
