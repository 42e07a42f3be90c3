/* The kernels of cell_fields.h in AVX2. */
#include "simd.h"

#if QS_HAVE_FIELDS && defined(__x86_64__)
#define WIDTH 32
#define SET qs_fields_avx2
#include "cell_fields_vectors.h"
#else
typedef int qs_translation_unit_is_empty;
#endif
