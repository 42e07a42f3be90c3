/* The kernels of cell_fields.h in 128-bit vectors: SSE4.1, WebAssembly SIMD, NEON. */
#include "simd.h"

#if QS_HAVE_FIELDS
#define WIDTH 16
#define SET qs_fields_sse41
#include "cell_fields_vectors.h"
#else
typedef int qs_translation_unit_is_empty;
#endif
