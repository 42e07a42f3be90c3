/* Tensors of an ONNX file: what their shape and type need, and where their bytes are. */
#ifndef QS_ONNX_TENSOR_H
#define QS_ONNX_TENSOR_H

#include "onnx_scan.h"

/* Reads a TensorProto and appends it to the scan's values, and to its file's tensors where it is one of ours.
 * name: of the value that it is; empty: the tensor's own. */
qstore_status onnx_take_tensor(onnx_scan *scan, qs_pb message, qs_pb name);

#endif
