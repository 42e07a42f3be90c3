/* Chunks. Any bytes as a chunk of any object: decoding says OK or CORRUPT, stays in its buffers, and depends
 * on nothing but them. Any bytes as values: encoding brings them back. tests/fuzz/make-seeds.mjs and
 * tests/native/test_chunk.c write the same layout:
 *
 * - u8: bits 0–6 the kind, bit 7: encode
 *
 * - u8: the dtype; refine: bit 0 BF16 or else F16, bits 1–2 the rule − 1, bits 3–4 the scales' dtype (F32,
 * F16, BF16), bit 5 one scale for all rows; delta: which pair of dtypes
 *
 * - u16 elements; u16 columns − 1; u16 first element
 *
 * - refine and delta: u8 n, then n bytes of codes or coarse values; refine: 16 bytes of scales; both repeated
 * as often as needed
 *
 * - the coded chunk, or the values, repeated likewise */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/src/core/bytes.h"
#include "../../native/src/core/chunk.h"
#include "../../native/src/core/index.h"
#include "../../native/src/core/mode.h"
#include "../../native/src/encode/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_HEAD = 8, FUZZ_ELEMS_MAX = 20000, FUZZ_SCALES_SIZE = 16 };

static void require(int good)
{
	if (!good)
		abort();
}

/* n bytes from src, again and again, in an allocation of exactly their size: the sanitizer sees any access
 * beyond it. */
static uint8_t *repeated(const uint8_t *src, size_t src_size, size_t n)
{
	uint8_t *p = malloc(n + !n);
	require(p != NULL);
	for (size_t i = 0; i < n; i++)
		p[i] = src_size ? src[i % src_size] : 0;
	return p;
}

/* Made once: it is large, and a fuzzer runs this many thousand times. */
typedef struct scratch {
	size_t work_size;
	uint8_t *work[2]; /* of different content: results must not depend on it */
	qs_encoder *encoder;
} scratch;

static const scratch *get_scratch(void)
{
	static scratch s;
	if (s.encoder)
		return &s;
	s.work_size = qs_chunk_workspace_size();
	s.encoder = qs_encoder_create();
	for (int k = 0; k < 2; k++) {
		s.work[k] = malloc(s.work_size);
		require(s.encoder && s.work[k]);
		memset(s.work[k], k ? 0xff : 0, s.work_size);
	}
	return &s;
}

static void fuzz_decode(const scratch *s, const qs_chunk_desc *desc, const uint8_t *src, size_t src_size)
{
	size_t n = (size_t)desc->n_elems * qs_dtype_size(desc->dtype);
	uint8_t *coded = repeated(src, src_size, src_size), *out[2] = {malloc(n + !n), malloc(n + !n)};
	qstore_status status[2];
	for (int k = 0; k < 2; k++) {
		memset(out[k], k ? 0xee : 0, n);
		status[k] = qs_chunk_decode(desc, coded, src_size, out[k], n, s->work[k], s->work_size);
	}
	require(status[0] == status[1] && (status[0] == QSTORE_OK || status[0] == QSTORE_CORRUPT));
	require(status[0] || !memcmp(out[0], out[1], n)); /* all of dst is written, and from src alone */
	free(out[0]);
	free(out[1]);
	free(coded);
}

static void fuzz_encode(const scratch *s, const qs_chunk_desc *desc, const uint8_t *src, size_t src_size)
{
	size_t n = (size_t)desc->n_elems * qs_dtype_size(desc->dtype), bound = qs_chunk_bound(n), coded_size = 0;
	uint8_t *values = repeated(src, src_size, n), *coded = malloc(bound), *back = malloc(n + !n);
	require(qs_chunk_encode(s->encoder, desc, values, n, coded, bound, &coded_size, NULL) == QSTORE_OK);
	require(coded_size >= 1 && coded_size <= bound);
	uint8_t *exact = repeated(coded, coded_size, coded_size);
	require(qs_chunk_decode(desc, exact, coded_size, back, n, s->work[0], s->work_size) == QSTORE_OK);
	require(!memcmp(back, values, n));
	free(exact);
	free(back);
	free(coded);
	free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < FUZZ_HEAD)
		return 0;
	qs_chunk_desc desc = {
	    .kind = (data[0] & 127) % QS_KIND_COUNT,
	    .dtype = data[1] % QS_Q4_0, /* those in blocks are not coded */
	    .n_elems = qs_load16(data + 2) % FUZZ_ELEMS_MAX,
	    .cols = (uint64_t)qs_load16(data + 4) + 1,
	    .first_elem = qs_load16(data + 6),
	};
	const uint8_t *src = data + FUZZ_HEAD;
	size_t left = size - FUZZ_HEAD;
	uint8_t *codes = NULL, *scales = NULL;
	if (desc.kind == QS_KIND_CODES)
		desc.dtype = QS_I8;
	if (desc.kind >= QS_KIND_REFINE) {
		size_t n_coarse = left ? *src : 0, elem_size = 1;
		src += left > 0;
		left -= left > 0;
		n_coarse = n_coarse < left ? n_coarse : left;
		if (desc.kind == QS_KIND_DELTA) {
			static const uint8_t fine[] = {QS_F32, QS_F32, QS_F32, QS_BF16, QS_F16};
			static const uint8_t coarse[] = {QS_BF16, QS_F16, QS_F32, QS_BF16, QS_F16};
			desc.dtype = fine[data[1] % 5];
			desc.coarse_dtype = coarse[data[1] % 5];
			elem_size = qs_dtype_size(desc.coarse_dtype);
		}
		desc.coarse = codes = repeated(src, n_coarse, elem_size * desc.n_elems);
		src += n_coarse;
		left -= n_coarse;
	}
	if (desc.kind == QS_KIND_REFINE) {
		static const uint8_t scale_dtypes[] = {QS_F32, QS_F16, QS_BF16, QS_F32};
		size_t scales_size = left < FUZZ_SCALES_SIZE ? left : FUZZ_SCALES_SIZE;
		desc.dtype = data[1] & 1 ? QS_BF16 : QS_F16;
		desc.rule = 1 + (data[1] >> 1 & 3) % (QS_RULE_COUNT - 1);
		desc.scales_dtype = scale_dtypes[data[1] >> 3 & 3];
		desc.scales_size =
		    qs_dtype_size(desc.scales_dtype) * (data[1] & 32 ? 1 : (size_t)qs_chunk_rows(&desc));
		desc.scales = scales = repeated(src, scales_size, desc.scales_size);
		src += scales_size;
		left -= scales_size;
	}
	if (data[0] >> 7)
		fuzz_encode(get_scratch(), &desc, src, left);
	else
		fuzz_decode(get_scratch(), &desc, src, left);
	free(codes);
	free(scales);
	return 0;
}
