/* Tensors that do not fit the coarser tensors of their name: they are stored apart, and a user is told. When
 * most weights do not fit, the models do not belong together, and packing is refused. */
#ifndef QS_PACK_APART_H
#define QS_PACK_APART_H

#include "pack/input/input.h"

/* The result of comparing a tensor with the coarser tensor that has its key. */
typedef enum pack_match {
	PACK_UNCOMPARED,    /* nothing can be said */
	PACK_MATCHED,       /* both are of the same weights */
	PACK_OTHER_WEIGHTS, /* codes are of similar weights: their quantizer would have made others of these */
	PACK_FAR_VALUES,    /* both are related, but the coarser one says too little about the values */
	PACK_OTHER_VALUES,  /* both have nothing to do with each other */
	PACK_OTHER_SHAPE,   /* the shapes differ, and no common part fits */
	PACK_NO_SCALES,     /* the coarser one has codes, but no scales that fit them */
	PACK_OTHER_NAME,    /* the coarser model has codes of a byte each, under a name that is not known */
	PACK_OTHER_PACKING, /* the coarser one has codes that are packed in a way that is not known */
	PACK_OTHER_ORDER,   /* the coarser one has as many codes, but other rows and columns */
	PACK_OTHER_TYPE,    /* the finer one's type is not coded from codes */
	PACK_UNMODELLED,    /* both are of the same weights, but the coarser one's type predicts nothing */
	PACK_NO_PARTNER     /* no coarser tensor has its key, its values or a name like its own */
} pack_match;

/* A tensor that is stored apart. */
typedef struct pack_apart_tensor {
	pack_tensor *fine;
	pack_match why;
	uint32_t fine_variant, coarse_variant;
	uint64_t coded_size; /* set when it is encoded */
} pack_apart_tensor;

/* Zeroed at first. */
typedef struct pack_apart {
	pack_apart_tensor *tensors; /* those of one variant follow one another */
	size_t n;
} pack_apart;

void pack_apart_free(pack_apart *apart);
qstore_status pack_note_apart(pack_apart *apart, const pack_apart_tensor *tensor, qstore_error *error);

/* Forgets the tensors that are equal to others by now, or coded from others. */
void pack_drop_shared(pack_apart *apart);

/* MISMATCH when there are tensors apart. */
qstore_status pack_refuse_apart(const pack_apart *apart, const pack_input *input, qstore_error *error);

/* Warns of the tensors apart, with a line for each variant that has some. */
void pack_warn_apart(const pack_apart *apart, const pack_input *input, const qstore_work *work);

/* Which of a variant's weights are those of coarser variants. Zeroed at first. */
typedef struct pack_tally {
	uint64_t matched_weights, wrong_weights;
	size_t n_compared, n_wrong; /* tensors */
	uint32_t coarse;            /* the variant of the first wrong one's partner */
	char wrong[600];            /* names of the first wrong ones */
} pack_tally;

void pack_count_match(pack_tally *tally, const pack_tensor *fine, pack_match match, uint32_t coarse_variant);

/* MISMATCH when most of the compared weights of variant `fine` are wrong. */
qstore_status pack_check_tally(const pack_tally *tally, const pack_input *input, uint32_t fine,
                               qstore_error *error);

#endif
