/* Shared by tests of pairs whose tensors are made one by one (tests/generate/tensors.h). */
#ifndef TESTS_PAIR_HELP_H
#define TESTS_PAIR_HELP_H

#include <qstore.h>

#include "../generate/tensors.h"

typedef struct pair_outcome {
	qstore_pack_result result;
	unsigned n_warnings;
	char warning[1024]; /* the last one */
} pair_outcome;

/* Writes both models into files of the test's folder, and frees them. options: their paths are set. */
void write_pair(void **state, gen_tensors *high, gen_tensors *low, qstore_pack_options *options);

/* Writes both models, packs them, restores all variants and compares; a failure fails the test. The archive
 * is a.qstore in the test's folder. */
pair_outcome pack_pair(void **state, gen_tensors *high, gen_tensors *low, qstore_pack_options options);

/* Fails the test unless packing both fails with MISMATCH and this text. */
void expect_pair_fails(void **state, gen_tensors *high, gen_tensors *low, qstore_pack_options options,
                       const char *text);

#endif
