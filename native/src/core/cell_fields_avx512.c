/* The kernels of cell_fields.h in AVX-512. */
#include "simd.h"

#if QS_HAVE_FIELDS && QS_HAVE_AVX512
#define WIDTH 64
#define SET qs_fields_avx512
#include "cell_fields_vectors.h"
#else
typedef int qs_translation_unit_is_empty;
#endif
