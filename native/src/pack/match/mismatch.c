#include "mismatch.h"

#include <string.h>

/* At most so many tensors are named in a message. */
#define NAMED_MAX 5

void pack_note_value(pack_mismatch *mismatch, const char *name, uint32_t fine, uint32_t coarse)
{
	if (mismatch->n == 0) {
		mismatch->fine = fine;
		mismatch->coarse = coarse;
	}
	if (mismatch->n++ < NAMED_MAX && strlen(mismatch->named) + strlen(name) + 3 < sizeof(mismatch->named)) {
		if (mismatch->named[0] != 0)
			strcat(mismatch->named, ", ");
		strcat(mismatch->named, name);
	}
}

void pack_note_shape(pack_mismatch *mismatch, const char *name, uint32_t fine, uint32_t coarse)
{
	pack_note_value(mismatch, name, fine, coarse);
	mismatch->n_shapes++;
}

qstore_status pack_fail_mismatch(const pack_mismatch *mismatch, const char *fine_path,
                                 const char *coarse_path, qstore_error *error)
{
	const char *what = mismatch->n_shapes == mismatch->n ? "shape"
	                   : mismatch->n_shapes == 0         ? "value"
	                                                     : "shape or value";
	return qs_fail(error, QSTORE_MISMATCH,
	               "%s does not belong to %s: %zu tensor%s in %s: %s%s; give a version of the same model",
	               coarse_path, fine_path, mismatch->n, mismatch->n == 1 ? " differs" : "s differ", what,
	               mismatch->named, mismatch->n > NAMED_MAX ? ", …" : "");
}
