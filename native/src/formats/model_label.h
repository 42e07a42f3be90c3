/* The precision that a file's name says: "onnx/model_int8_dynamic.onnx" is model.onnx of the folder onnx, in
 * int8 as a dynamic quantizer made it. */
#ifndef QS_MODEL_LABEL_H
#define QS_MODEL_LABEL_H

#include <stddef.h>

enum { QS_LABEL_TEXT_SIZE = 48 };

typedef struct qs_label {
	char precision[QS_LABEL_TEXT_SIZE]; /* "int8", "fp16", "q4_k_m" …; "" when the name says none */
	char text[QS_LABEL_TEXT_SIZE]; /* the precision and the words that qualify it: "int8_avx512_vnni"; "" … */
	unsigned bits;                 /* of a code or float; 0: the name does not say */
	unsigned order;                /* of two precisions with equal bits that with the lower number is finer */
} qs_label;

/* A name of a file of weights, taken apart. */
typedef struct qs_labelled_name {
	qs_label label;
	char *component; /* the name without the words of the label and of a shard; malloc'd */
	char *set; /* the name without a shard's number, which shards of one model have in common; malloc'd */
} qs_labelled_name;

/* Takes a name (relative, '/'-separated) apart. Words are what '/', '-', '_', '.' and spaces separate, in
 * upper or lower case. False when out of memory; free both names. */
int qs_label_name(const char *name, qs_labelled_name *out);

#endif
