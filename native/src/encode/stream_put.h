/* Writing the streams of Huffman blocks (core/streams.h decodes them). */
#ifndef QS_STREAM_PUT_H
#define QS_STREAM_PUT_H

#include <stddef.h>
#include <stdint.h>

/* Writes the codes of n bytes of src one after the other, the first in the lowest bits, and returns the end.
 * codes: for each byte its code's length, at most 11 bits, in bits 0–7, the code above. Up to 8 bytes beyond
 * the end may be written. The scalar one is the oracle of the others. */
typedef uint8_t *qs_stream_put_kernel(const uint8_t *src, size_t n, const uint32_t codes[256], uint8_t *dst);

qs_stream_put_kernel qs_stream_put_scalar;
qs_stream_put_kernel qs_stream_put_bmi2; /* the same source */
qs_stream_put_kernel qs_stream_put_avx512;

/* The fastest that runs on this machine. */
qs_stream_put_kernel *qs_stream_put_best(void);

/* The last `used` bits of a stream, fewer than 8, and after them the codes of n more bytes. */
uint8_t *qs_stream_put_rest(const uint8_t *src, size_t n, const uint32_t codes[256], uint8_t *dst,
                            uint64_t bits, unsigned used);

#endif
