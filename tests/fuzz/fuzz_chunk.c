/* Chunks. Any bytes as a chunk of any object: decoding says OK or CORRUPT, stays in its buffers, and depends
 * on nothing but them. Any bytes as values: encoding brings them back. tests/fuzz/make-seeds.mjs and
 * tests/native/test_chunk.c write the same layout:
 *
 * - u8: bits 0–5 the kind, bit 6: codes that build on coarser ones, bit 7: encode
 *
 * - u8: the dtype; refine: bit 0 BF16 or else F16, bit 1 column factors, bit 2 BF16 of these; codes: bit 0 U8
 * or else I8; delta: which pair of dtypes
 *
 * - u16 elements; u16 columns − 1; u16 first element
 *
 * - what builds on others: u8 n, then n bytes of codes or coarse values, repeated as often as needed
 *
 * - refine, and codes that build on coarser ones: the grid of the coarse codes, codes then their own: u8 rule
 * − 1; u8 of bit 0 U8 codes, bits 1–2 the floats (F32, F16, BF16), bit 3 zero points, bit 4 an order, bits
 * 5–7 one scale a row, for all, a column, or three columns of a row (scales row by row, or group by group);
 * i8 zero offset; 16 bytes of scales, repeated as often as needed, which zero points and order are made of
 * too
 *
 * - column factors, where the rule allows them: 8 bytes, repeated as often as needed
 *
 * - the coded chunk, or the values, repeated likewise */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/chunk.h"
#include "core/index.h"
#include "core/mode.h"
#include "encode/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	FUZZ_HEAD = 8,
	FUZZ_ELEMS_MAX = 20000,
	FUZZ_GRID_SIZE = 3,
	FUZZ_SCALES_SIZE = 16,
	FUZZ_FACTORS_SIZE = 8
};

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
	require(!!p);
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
		qs_chunk_workspace_init(s.work[k]);
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
	require(status[0] == status[1] &&
	        (!status[0] || status[0] == QSTORE_CORRUPT || status[0] == QSTORE_NEWER));
	require(status[0] || !memcmp(out[0], out[1], n)); /* all of dst is written, and from src alone */
	free(out[0]);
	free(out[1]);
	free(coded);
}

static void fuzz_encode(const scratch *s, const qs_chunk_desc *desc, const uint8_t *src, size_t src_size)
{
	size_t n = (size_t)desc->n_elems * qs_dtype_size(desc->dtype), bound = qs_chunk_bound(n), coded_size = 0;
	uint8_t *values = repeated(src, src_size, n), *coded = malloc(bound), *back = malloc(n + !n);
	require(!qs_chunk_encode(s->encoder, desc, values, n, coded, bound, &coded_size, NULL));
	require(coded_size >= 1 && coded_size <= bound);
	uint8_t *exact = repeated(coded, coded_size, coded_size);
	require(!qs_chunk_decode(desc, exact, coded_size, back, n, s->work[0], s->work_size));
	require(!memcmp(back, values, n));
	free(exact);
	free(back);
	free(coded);
	free(values);
}

typedef struct input {
	const uint8_t *at;
	size_t left;
} input;

static size_t take(input *in, size_t n, const uint8_t **bytes)
{
	n = n < in->left ? n : in->left;
	*bytes = in->at;
	in->at += n;
	in->left -= n;
	return n;
}

/* Memory that a grid's pointers are into. */
typedef struct grid_memory {
	uint8_t *scales, *zeros, *order;
} grid_memory;

/* The rule's own group and columns; else bits 5–7 say which scales there are. */
static void shape_grid(qs_grid *grid, uint64_t cols, uint64_t rows, unsigned shape)
{
	uint32_t own = qs_rule_group(grid->rule);
	grid->group = own ? own : shape < 2 || shape > 4 ? (uint32_t)cols : shape == 2 ? 1 : 3;
	uint64_t groups = (cols - 1) / grid->group + 1;
	grid->group_stride = shape == 4 && !own ? rows : 1;
	grid->row_stride = own || shape == 3 ? groups : shape == 0 || shape == 4 ? 1 : 0;
}

static void make_grid(input *in, const qs_chunk_desc *desc, qs_grid *grid, grid_memory *memory)
{
	static const uint8_t floats[] = {QS_F32, QS_F16, QS_BF16, QS_F32};
	const uint8_t *head, *scales;
	uint8_t bytes[FUZZ_GRID_SIZE] = {0};
	size_t n_head = take(in, FUZZ_GRID_SIZE, &head);
	memcpy(bytes, head, n_head);
	size_t n_scales = take(in, FUZZ_SCALES_SIZE, &scales);
	uint64_t rows = (desc->first_elem + desc->n_elems) / desc->cols + 1, low, high;
	*grid = (qs_grid){.rule = 1 + bytes[0] % (QS_RULE_COUNT - 1)};
	grid->codes_dtype = bytes[1] & 1 && !qs_rule_record_size(grid->rule) ? QS_U8 : QS_I8;
	shape_grid(grid, desc->cols, rows, bytes[1] >> 5);
	uint32_t record = qs_rule_record_size(grid->rule), per_record = qs_rule_record_scales(grid->rule);
	grid->scales_dtype = record ? QS_BYTES : floats[bytes[1] >> 1 & 3];
	if (!qs_rule_group(grid->rule)) {
		grid->zero_offset = (int8_t)bytes[2];
		if (bytes[1] & 16) {
			memory->order = malloc(4 * desc->cols);
			require(!!memory->order);
			for (uint64_t c = 0; c < desc->cols; c++)
				qs_store32(memory->order + 4 * c,
				           n_scales ? (uint32_t)(scales[c % n_scales] + c) % grid->group : 0);
			grid->order = memory->order;
		}
	}
	if (!desc->n_elems)
		return;
	qs_grid_window(grid, desc->cols, desc->first_elem, desc->n_elems, &low, &high);
	grid->scales_first = low - low % per_record;
	size_t n = (size_t)(high - grid->scales_first) + 1;
	grid->scales_size =
	    record ? (n + per_record - 1) / per_record * record : n * qs_dtype_size(grid->scales_dtype);
	grid->scales = memory->scales = repeated(scales, n_scales, grid->scales_size);
	if (bytes[1] & 8 && !qs_rule_group(grid->rule)) {
		grid->zero_points_size = n;
		grid->zero_points = memory->zeros = repeated(scales, n_scales ? n_scales - 1 : 0, n);
	}
}

static void free_grid(const grid_memory *memory)
{
	free(memory->scales);
	free(memory->zeros);
	free(memory->order);
}

/* The columns that both rules take. */
static uint64_t fit_columns(uint64_t cols, const input *in, size_t at)
{
	uint64_t unit = 1;
	for (int i = 0; i < 2; i++, at += FUZZ_GRID_SIZE + FUZZ_SCALES_SIZE)
		if (at < in->left) {
			uint32_t rule = 1 + in->at[at] % (QS_RULE_COUNT - 1);
			uint64_t own = (uint64_t)qs_rule_group(rule) * qs_rule_record_scales(rule);
			unit = own > unit ? own : unit;
		}
	return (cols + unit - 1) / unit * unit;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < FUZZ_HEAD)
		return 0;
	qs_chunk_desc desc = {
	    .kind = (data[0] & 63) % QS_KIND_LAYOUT, /* layouts have no chunks */
	    .dtype = data[1] % QS_Q4_0,              /* nor types in blocks */
	    .n_elems = qs_load16(data + 2) % FUZZ_ELEMS_MAX,
	    .cols = (uint64_t)qs_load16(data + 4) + 1,
	    .first_elem = qs_load16(data + 6),
	};
	input in = {data + FUZZ_HEAD, size - FUZZ_HEAD};
	uint8_t *coarse = NULL, *factors = NULL;
	grid_memory coarse_memory = {0}, memory = {0};
	int recoded = desc.kind == QS_KIND_CODES && data[0] & 64;
	if (desc.kind == QS_KIND_CODES)
		desc.dtype = data[1] & 1 ? QS_U8 : QS_I8;
	if (desc.kind == QS_KIND_REFINE)
		desc.dtype = data[1] & 1 ? QS_BF16 : QS_F16;
	if (desc.kind >= QS_KIND_REFINE || recoded) {
		const uint8_t *bytes;
		size_t n_coarse = take(&in, 1, &bytes) ? *bytes : 0, elem_size = 1;
		n_coarse = take(&in, n_coarse, &bytes);
		if (desc.kind == QS_KIND_DELTA) {
			static const uint8_t fine[] = {QS_F32, QS_F32, QS_F32, QS_BF16, QS_F16, QS_BF16, QS_F16, QS_BF16,
			                               QS_F16, QS_F64, QS_F64, QS_F64,  QS_F64, QS_F32,  QS_F16, QS_BF16};
			static const uint8_t coarser[] = {QS_BF16, QS_F16, QS_F32, QS_BF16, QS_F16, QS_F16,
			                                  QS_BF16, QS_F32, QS_F32, QS_F32,  QS_F64, QS_F16,
			                                  QS_BF16, QS_F64, QS_F64, QS_F64};
			desc.dtype = fine[data[1] % sizeof fine];
			desc.coarse_dtype = coarser[data[1] % sizeof coarser];
			elem_size = qs_dtype_size(desc.coarse_dtype);
		}
		desc.coarse = coarse = repeated(bytes, n_coarse, elem_size * desc.n_elems);
	}
	if (desc.kind == QS_KIND_REFINE || recoded) {
		desc.cols = fit_columns(desc.cols, &in, 0);
		make_grid(&in, &desc, &desc.coarse_grid, &coarse_memory);
		desc.coarse_dtype = desc.coarse_grid.codes_dtype;
	}
	if (desc.kind == QS_KIND_REFINE && data[1] & 2 && qs_rule_takes_factors(desc.coarse_grid.rule)) {
		const uint8_t *bytes;
		size_t n_bytes = take(&in, FUZZ_FACTORS_SIZE, &bytes);
		desc.factors = factors = repeated(bytes, n_bytes, 2 * (size_t)desc.cols);
		desc.factors_dtype = data[1] & 4 ? QS_BF16 : QS_F16;
	}
	if (recoded) {
		make_grid(&in, &desc, &desc.grid, &memory);
		desc.grid.codes_dtype = desc.dtype;
	}
	if (data[0] >> 7)
		fuzz_encode(get_scratch(), &desc, in.at, in.left);
	else
		fuzz_decode(get_scratch(), &desc, in.at, in.left);
	free(coarse);
	free(factors);
	free_grid(&coarse_memory);
	free_grid(&memory);
	return 0;
}
