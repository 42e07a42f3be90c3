#include "sha256.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct qs_sha256 {
	EVP_MD_CTX *context;
};

qs_sha256 *qs_sha256_create(void)
{
	qs_sha256 *sha256 = malloc(sizeof(*sha256));
	if (!sha256)
		return NULL;
	sha256->context = EVP_MD_CTX_new();
	if (!sha256->context || !qs_sha256_reset(sha256)) {
		qs_sha256_destroy(sha256);
		return NULL;
	}
	return sha256;
}

void qs_sha256_destroy(qs_sha256 *sha256)
{
	if (!sha256)
		return;
	EVP_MD_CTX_free(sha256->context);
	free(sha256);
}

int qs_sha256_reset(qs_sha256 *sha256)
{
	return EVP_DigestInit_ex(sha256->context, EVP_sha256(), NULL) == 1;
}

int qs_sha256_update(qs_sha256 *sha256, const void *src, size_t size)
{
	return EVP_DigestUpdate(sha256->context, src, size) == 1;
}

int qs_sha256_final(qs_sha256 *sha256, uint8_t digest[32])
{
	unsigned size = 0;
	return EVP_DigestFinal_ex(sha256->context, digest, &size) == 1 && size == 32;
}

void qs_hex(const uint8_t *bytes, size_t n, char *text)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * n] = 0;
}
