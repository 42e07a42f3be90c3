/* ONNX files: where the bytes of their tensors are, and which tensors are codes with scales and zero points.
 * A file is one protobuf message, ModelProto. Its weights are TensorProtos, whose bytes are in the message
 * itself (raw_data) or in other files of the folder ("external data"). (github.com/onnx/onnx, onnx.proto and
 * docs/ExternalData.md) */
#ifndef QS_ONNX_H
#define QS_ONNX_H

#include "weights.h"

/* Another file that has bytes of the model's tensors. */
typedef struct qs_onnx_external {
	char *location;     /* relative to the model's folder, '/'-separated; in its weights' arena */
	qs_weights weights; /* its tensors, the path to open it with, its size */
} qs_onnx_external;

/* Codes and the tensors that turn them into values: value = (code - zero point) × scale. Tensors are given by
 * name. Texts and zero points are in the arena of the .onnx file's weights. */
typedef struct qs_onnx_quant {
	char *weight;     /* the codes: I8, U8, I4, U4 (or packed in U8: bits) */
	char *original;   /* the name of the floats that it was made from, as quantizers derive the weight's from
	                     it;   NULL when it is not named so */
	char *scale;      /* NULL when its values have no place of their own in the file */
	char *zero_point; /* NULL when there is none, or it has no place of its own */
	const char *op;   /* the operator that has them as inputs; "" when only the names tell. Static */
	int32_t axis;     /* of the weight's dimensions, what scale and zero point vary along; -1: one for all, or
	                     (with a block_size) rows of blocks as the operator has them */
	uint32_t bits;    /* of a code */
	uint64_t block_size;  /* elements along axis that share a scale; 0: all */
	int16_t *zero_points; /* values of an 8-bit zero point: one, or as many as the axis is long; NULL when
	                   there is none (all are zero then) or zero_point is in another file or of other types */
	size_t n_zero_points;
} qs_onnx_quant;

typedef struct qs_onnx {
	qs_weights weights; /* the .onnx file itself */
	size_t n_externals;
	qs_onnx_external *externals; /* sorted by location */
	size_t n_quants;
	qs_onnx_quant *quants; /* sorted by weight: one each */
} qs_onnx;

/* Reads the file at path. Its tensors are the initializers of the graph, of graphs within nodes' attributes
 * and of functions, and the values of Constant nodes (by the name of their output), if
 *  - their type is a qs_dtype (4-bit types with an even number of elements), and they are not empty,
 *  - all their bytes are in one place, and are the values as they are in memory: raw_data, external data,
 * float_data or double_data in one piece. All other bytes belong to the graph. A name that occurs again in a
 * graph within a graph gets "#2" (and so on) behind it. If tensors share bytes of a file, only the largest is
 * taken; of equally large ones, the first by name.
 *
 * Weights are not read, only the message around them: the file is mapped, and memory is taken in proportion
 * to the number of tensors and nodes. INPUT, with a line that names the file and what is wrong: malformed
 * protobuf, no graph, graphs nested more than 32 deep, sizes that do not fit shape and type, external data
 * that is missing, too short, or not safely inside the folder (qs_path_is_safe). IO; MEMORY.
 * Close with qs_onnx_close, also after errors. */
qstore_status qs_onnx_open(qs_onnx *onnx, const char *path, qstore_error *error);
void qs_onnx_close(qs_onnx *onnx);

/* Adds to the tensors of an external file those that another ONNX file has in it, and empties `other`. Where
 * two share bytes, one is left out, as above. MEMORY. */
qstore_status qs_onnx_merge(qs_weights *file, qs_weights *other, qstore_error *error);

#endif
