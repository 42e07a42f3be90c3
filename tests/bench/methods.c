#define ZSTD_STATIC_LINKING_ONLY
#include "methods.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "core/planes.h"
#include "encode/encode.h"

struct worker {
	ZSTD_CCtx *zstd_encoder;
	ZSTD_DCtx *zstd_decoder;
	qs_encoder *encoder;
	void *work;
	uint8_t planes[2 * CHUNK_ELEMS];
};

worker *worker_create(void)
{
	worker *w = need(calloc(1, sizeof *w));
	w->zstd_encoder = need(ZSTD_createCCtx());
	w->zstd_decoder = need(ZSTD_createDCtx());
	w->encoder = need(qs_encoder_create());
	w->work = need(malloc(qs_chunk_workspace_size()));
	qs_chunk_workspace_init(w->work);
	return w;
}

void worker_destroy(worker *w)
{
	ZSTD_freeCCtx(w->zstd_encoder);
	ZSTD_freeDCtx(w->zstd_decoder);
	qs_encoder_destroy(w->encoder);
	free(w->work);
	free(w);
}

/* ---- qstore ---- */

static size_t encode_own(worker *w, uint32_t dtype, const chunk *c, coded_as as, uint8_t *dst)
{
	size_t size, n = (as == AS_CODES ? 1u : 2u) * (size_t)c->n;
	qs_chunk_desc desc = chunk_describe(dtype, c, as, c->codes);
	if (qs_chunk_encode(w->encoder, &desc, as == AS_CODES ? c->codes : c->values, n, dst, n + 1, &size, NULL))
		fail("encoding failed");
	return size;
}

void worker_decode(worker *w, const qs_chunk_desc *desc, const uint8_t *src, size_t size, uint8_t *dst)
{
	if (qs_chunk_decode(desc, src, size, dst, (size_t)desc->n_elems * qs_dtype_size(desc->dtype), w->work,
	                    qs_chunk_workspace_size()))
		fail("decoding failed");
}

static void decode_own(worker *w, uint32_t dtype, const chunk *c, coded_as as, const uint8_t *src,
                       size_t size, const uint8_t *coarse, uint8_t *dst)
{
	qs_chunk_desc desc = chunk_describe(dtype, c, as, coarse);
	worker_decode(w, &desc, src, size, dst);
}

static size_t encode_codes(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst)
{
	return encode_own(w, dtype, c, AS_CODES, dst);
}

static void decode_codes(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src, size_t size,
                         uint8_t *codes, uint8_t *values)
{
	(void)values;
	decode_own(w, dtype, c, AS_CODES, src, size, NULL, codes);
}

static size_t encode_ranks(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst)
{
	return encode_own(w, dtype, c, AS_RANKS, dst);
}

static void decode_ranks(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src, size_t size,
                         uint8_t *codes, uint8_t *values)
{
	(void)codes;
	decode_own(w, dtype, c, AS_RANKS, src, size, c->codes, values);
}

/* Writes the coarsest layer's size, that layer, and the refinement. */
static size_t encode_both(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst)
{
	size_t base = encode_codes(w, dtype, c, dst + 4);
	qs_store32(dst, (uint32_t)base);
	return 4 + base + encode_ranks(w, dtype, c, dst + 4 + base);
}

static void decode_both(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src, size_t size,
                        uint8_t *codes, uint8_t *values)
{
	size_t base = qs_load32(src);
	decode_own(w, dtype, c, AS_CODES, src + 4, base, NULL, codes);
	decode_own(w, dtype, c, AS_RANKS, src + 4 + base, size - 4 - base, codes, values);
}

static size_t encode_plain(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst)
{
	return encode_own(w, dtype, c, AS_PLAIN, dst);
}

static void decode_plain(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src, size_t size,
                         uint8_t *codes, uint8_t *values)
{
	(void)codes;
	decode_own(w, dtype, c, AS_PLAIN, src, size, NULL, values);
}

double scales_bits(worker *w, const batch *b)
{
	uint8_t *scales = need(malloc(4 * b->n_rows)), *coded = need(malloc(4 * CHUNK_ELEMS + 1));
	uint64_t at = 0;
	double bits = 0;
	for (size_t i = 0; i < b->n_chunks; i++) {
		memcpy(scales + at, b->chunks[i].scales, 4 * b->chunks[i].n_rows);
		at += 4 * b->chunks[i].n_rows;
	}
	for (uint64_t r = 0; r < b->n_rows; r += CHUNK_ELEMS) {
		uint32_t count = (uint32_t)(b->n_rows - r < CHUNK_ELEMS ? b->n_rows - r : CHUNK_ELEMS);
		qs_chunk_desc desc = {.kind = QS_KIND_PLAIN, .dtype = QS_F32, .n_elems = count, .cols = 1};
		size_t size = 0;
		if (qs_chunk_encode(w->encoder, &desc, scales + 4 * r, 4 * (size_t)count, coded, 4 * CHUNK_ELEMS + 1,
		                    &size, NULL))
			fail("encoding failed");
		bits += 8.0 * (double)size;
	}
	free(scales);
	free(coded);
	return bits;
}

/* ---- General compressors ---- */

static size_t zstd_at(worker *w, const uint8_t *src, size_t n, uint8_t *dst, size_t room, int level,
                      int huffman_only)
{
	ZSTD_CCtx_reset(w->zstd_encoder, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(w->zstd_encoder, ZSTD_c_compressionLevel, level);
	if (huffman_only)
		ZSTD_CCtx_setParameter(w->zstd_encoder, ZSTD_c_literalCompressionMode, ZSTD_ps_enable);
	size_t size = ZSTD_compress2(w->zstd_encoder, dst, room, src, n);
	if (ZSTD_isError(size))
		fail("zstd: %s", ZSTD_getErrorName(size));
	return size;
}

static void zstd_back(worker *w, const uint8_t *src, size_t size, uint8_t *dst, size_t n)
{
	if (ZSTD_decompressDCtx(w->zstd_decoder, dst, n, src, size) != n)
		fail("zstd: decoding failed");
}

/* The fastest level looks for almost no matches, so that zstd does little more than code literals by
 * Huff0. */
static size_t huff0(worker *w, const uint8_t *src, size_t n, uint8_t *dst, size_t room)
{
	return zstd_at(w, src, n, dst, room, ZSTD_minCLevel(), 1);
}

static size_t zstd1(worker *w, const uint8_t *src, size_t n, uint8_t *dst, size_t room)
{
	return zstd_at(w, src, n, dst, room, 1, 0);
}

static size_t zstd3(worker *w, const uint8_t *src, size_t n, uint8_t *dst, size_t room)
{
	return zstd_at(w, src, n, dst, room, 3, 0);
}

static size_t lz4(worker *w, const uint8_t *src, size_t n, uint8_t *dst, size_t room)
{
	(void)w;
	return (size_t)LZ4_compress_default((const char *)src, (char *)dst, (int)n, (int)room);
}

static void lz4_back(worker *w, const uint8_t *src, size_t size, uint8_t *dst, size_t n)
{
	(void)w;
	if (LZ4_decompress_safe((const char *)src, (char *)dst, (int)size, (int)n) != (int)n)
		fail("lz4: decoding failed");
}

static size_t copy(worker *w, const uint8_t *src, size_t n, uint8_t *dst, size_t room)
{
	(void)w;
	(void)room;
	memcpy(dst, src, n);
	return n;
}

static void copy_back(worker *w, const uint8_t *src, size_t size, uint8_t *dst, size_t n)
{
	(void)w;
	(void)size;
	memcpy(dst, src, n);
}

/* ---- ZipNN's method (Hershcovitch et al., arXiv 2411.05239) ----
 *
 * Floats become byte planes, with the exponent in a plane of its own, which is coded by Huffman; the others
 * are stored as they are. The method is theirs, the code is not: planes are qstore's, Huff0 is the zstd
 * library's. */

static size_t encode_zipnn(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst)
{
	(void)dtype;
	qs_planes_split(c->values, c->n, 2, 1, w->planes);
	memcpy(dst, w->planes + c->n, c->n);
	return c->n + huff0(w, w->planes, c->n, dst + c->n, METHOD_ROOM - c->n);
}

static void decode_zipnn(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src, size_t size,
                         uint8_t *codes, uint8_t *values)
{
	(void)dtype;
	(void)codes;
	zstd_back(w, src + c->n, size - c->n, w->planes, c->n);
	memcpy(w->planes + c->n, src, c->n);
	qs_planes_join(w->planes, c->n, 2, 1, values);
}

/* Defines the methods of a compressor of bytes, for codes and for values. */
#define ON_BOTH(name, forth, back)                                                                           \
	static size_t encode_codes_##name(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst)               \
	{                                                                                                        \
		(void)dtype;                                                                                         \
		return forth(w, c->codes, c->n, dst, METHOD_ROOM);                                                   \
	}                                                                                                        \
	static void decode_codes_##name(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src,           \
	                                size_t size, uint8_t *codes, uint8_t *values)                            \
	{                                                                                                        \
		(void)dtype;                                                                                         \
		(void)values;                                                                                        \
		back(w, src, size, codes, c->n);                                                                     \
	}                                                                                                        \
	static size_t encode_values_##name(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst)              \
	{                                                                                                        \
		(void)dtype;                                                                                         \
		return forth(w, c->values, 2 * (size_t)c->n, dst, METHOD_ROOM);                                      \
	}                                                                                                        \
	static void decode_values_##name(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src,          \
	                                 size_t size, uint8_t *codes, uint8_t *values)                           \
	{                                                                                                        \
		(void)dtype;                                                                                         \
		(void)codes;                                                                                         \
		back(w, src, size, values, 2 * (size_t)c->n);                                                        \
	}

ON_BOTH(copy, copy, copy_back)
ON_BOTH(huff0, huff0, zstd_back)
ON_BOTH(zstd1, zstd1, zstd_back)
ON_BOTH(zstd3, zstd3, zstd_back)
ON_BOTH(lz4, lz4, lz4_back)

const method methods[] = {
    {"INT8, qstore base layer", 1, 1, encode_codes, decode_codes},
    {"INT8, raw safetensors (memcpy)", 1, 1, encode_codes_copy, decode_codes_copy},
    {"INT8, Huff0 (zstd, no matches)", 1, 1, encode_codes_huff0, decode_codes_huff0},
    {"INT8, zstd -1", 1, 1, encode_codes_zstd1, decode_codes_zstd1},
    {"INT8, zstd -3", 1, 1, encode_codes_zstd3, decode_codes_zstd3},
    {"INT8, lz4", 1, 1, encode_codes_lz4, decode_codes_lz4},
    {"%s, qstore base and refinement", 3, 2, encode_both, decode_both},
    {"%s, qstore refinement alone", 2, 2, encode_ranks, decode_ranks},
    {"%s, qstore plain", 2, 2, encode_plain, decode_plain},
    {"%s, as ZipNN", 2, 2, encode_zipnn, decode_zipnn},
    {"%s, raw safetensors (memcpy)", 2, 2, encode_values_copy, decode_values_copy},
    {"%s, Huff0 (zstd, no matches)", 2, 2, encode_values_huff0, decode_values_huff0},
    {"%s, zstd -1", 2, 2, encode_values_zstd1, decode_values_zstd1},
    {"%s, zstd -3", 2, 2, encode_values_zstd3, decode_values_zstd3},
    {"%s, lz4", 2, 2, encode_values_lz4, decode_values_lz4},
};
const size_t n_methods = sizeof methods / sizeof *methods;

const method *method_named(const char *name)
{
	for (size_t m = 0; m < n_methods; m++)
		if (!strcmp(methods[m].name, name))
			return &methods[m];
	fail("no method \"%s\"", name);
}
