/* SHA-256 of bytes that come in pieces. */
#ifndef QS_SHA256_H
#define QS_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* Computes one digest at a time. It is ready for the first one when it is created. */
typedef struct qs_sha256 qs_sha256;

qs_sha256 *qs_sha256_create(void);         /* NULL: out of memory */
void qs_sha256_destroy(qs_sha256 *sha256); /* NULL is allowed */

/* These functions return 0 if libcrypto fails; lack of memory is the only known reason. */
int qs_sha256_reset(qs_sha256 *sha256);
int qs_sha256_update(qs_sha256 *sha256, const void *src, size_t size);
int qs_sha256_final(qs_sha256 *sha256, uint8_t digest[32]);

/* Writes n bytes as 2 * n hexadecimal digits in lower case, with a zero byte behind them. */
void qs_hex(const uint8_t *bytes, size_t n, char *text);

#endif
