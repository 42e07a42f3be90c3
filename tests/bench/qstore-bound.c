/* qstore-bound prints the bits that an archive's weights take in each variant, and their bound
 * (docs/formats.md). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define ZSTD_STATIC_LINKING_ONLY /* literal compression modes */
#include <zstd.h>

#include "core/delta.h"
#include "core/planes.h"
#include "core/workspace.h"
#include "bound.h"
#include "objects.h"

typedef struct reader {
	objects all;
	uint8_t *counted; /* for each object: is it one of those that are compared? */
} reader;

typedef struct total {
	double coded, bound;
	/* Bits of floats on their own by ZipNN's method (Hershcovitch et al., arXiv 2411.05239; the method, not
	 * its code): byte planes, each coded by Huff0 if that makes it smaller. */
	double zipnn;
} total;

/* ---- Counting ---- */

static void count_scales(reader *r, uint32_t number)
{
	qs_object codes = object_at(&r->all, number);
	uint32_t parts[] = {codes.scales, codes.zero_points, codes.order};
	if (codes.kind == QS_KIND_REFINE && codes.scales != QS_NONE)
		r->counted[codes.scales] = 1; /* the column factors */
	for (int i = 0; i < 3; i++)
		if (codes.kind == QS_KIND_CODES && codes.rule != QS_RULE_NONE && parts[i] != QS_NONE)
			r->counted[parts[i]] = 1;
}

/* Chooses the objects that are compared: objects that build on coarser ones, and these; all objects if there
 * are none. Returns the number of weights. */
static uint64_t choose(reader *r)
{
	const qs_index *index = &r->all.archive->index;
	uint64_t weights = 0;
	int n = 0;
	for (uint32_t i = index->n_objects; i-- > 0;) {
		qs_object o = object_at(&r->all, i);
		int builds = o.kind == QS_KIND_REFINE || o.kind == QS_KIND_DELTA || o.kind == QS_KIND_CODES;
		if (!builds || (o.coarse == QS_NONE && !r->counted[i]))
			continue;
		n++;
		r->counted[i] = 1;
		if (o.coarse != QS_NONE)
			r->counted[o.coarse] = 1;
	}
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object o = object_at(&r->all, i);
		r->counted[i] |= !n && o.kind != QS_KIND_LAYOUT && o.kind != QS_KIND_BASE;
		if (r->counted[i] && o.coarse == QS_NONE && o.dtype != QS_BYTES &&
		    (n || o.variant + 1 == index->n_variants))
			weights += o.n_elems;
	}
	for (uint32_t i = 0; n && i < index->n_objects; i++)
		if (r->counted[i])
			count_scales(r, i);
	return weights;
}

/* ---- Bounds ---- */

static size_t huff0(const uint8_t *src, size_t n)
{
	static ZSTD_CCtx *context;
	static uint8_t *room;
	size_t most = ZSTD_compressBound(QS_CHUNK_SIZE_MAX);
	if (!context) {
		context = need(ZSTD_createCCtx());
		room = need(malloc(most));
	}
	/* The fastest level looks for almost no matches, so that zstd does little more than code literals by
	 * Huff0. */
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, ZSTD_minCLevel());
	ZSTD_CCtx_setParameter(context, ZSTD_c_literalCompressionMode, ZSTD_ps_enable);
	size_t size = ZSTD_compress2(context, room, most, src, n);
	if (ZSTD_isError(size))
		fail("zstd: %s", ZSTD_getErrorName(size));
	return size;
}

static void add_planes(const uint8_t *bytes, uint64_t n, uint32_t dtype, int rotated, total *sum)
{
	const size_t piece = QS_CHUNK_SIZE_MAX / 4;
	unsigned size = qs_dtype_size(dtype);
	uint8_t *planes = need(malloc(n * size + 1));
	if (size == 1)
		memcpy(planes, bytes, n);
	else
		qs_planes_split(bytes, n, size, rotated, planes);
	for (unsigned p = 0; p < size; p++) {
		sum->bound += bound_bytes(planes + p * n, n);
		for (uint64_t at = 0; at < n; at += piece) {
			size_t some = n - at < piece ? n - at : piece, coded = huff0(planes + p * n + at, some);
			sum->zipnn += 8.0 * (double)(coded < some ? coded : some);
		}
	}
	free(planes);
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* Returns the bound of codes: as they are, or less their zero points; or as differences to the codes that
 * coarser codes predict. */
static double codes_bound(reader *r, const qs_object *object, const uint8_t *codes)
{
	uint64_t rows = object->n_elems / object->cols;
	double bits = least(bound_codes(codes, rows, object->cols), bound_bytes(codes, object->n_elems));
	if (object->rule == QS_RULE_NONE)
		return bits;
	uint8_t *memory[3], *coarse_memory[3],
	    *changed = need(malloc(object->n_elems)),
	    *coarse = object->coarse == QS_NONE ? NULL : object_load(&r->all, object->coarse);
	qs_grid grid = grid_load(&r->all, object, memory), coarse_grid = {0};
	qs_object coarse_object = {0};
	for (uint32_t c = 0; c < object->n_chunks; c++) {
		qs_chunk_desc desc = object_chunk(object, c);
		desc.coarse = codes + desc.first_elem;
		desc.coarse_dtype = object->dtype;
		desc.coarse_grid = grid;
		bound_indexes(&desc, changed + desc.first_elem);
	}
	bits = least(bits, bound_codes(changed, rows, object->cols));
	if (coarse) {
		coarse_object = object_at(&r->all, object->coarse);
		coarse_grid = grid_load(&r->all, &coarse_object, coarse_memory);
		for (uint32_t c = 0; c < object->n_chunks; c++) {
			qs_chunk_desc desc = object_chunk(object, c);
			desc.coarse = coarse + desc.first_elem;
			desc.coarse_dtype = coarse_object.dtype;
			desc.coarse_grid = coarse_grid;
			desc.grid = grid;
			qs_predict_codes(&desc, changed + desc.first_elem);
		}
		for (uint64_t i = 0; i < object->n_elems; i++)
			changed[i] = (uint8_t)(codes[i] - changed[i]);
		bits = least(bits, bound_codes(changed, rows, object->cols));
		grid_free(coarse_memory);
	}
	grid_free(memory);
	free(changed);
	free(coarse);
	return bits;
}

static double values_bound(reader *r, const qs_object *object, const uint8_t *fine)
{
	qs_object codes = object_at(&r->all, object->coarse);
	uint8_t *memory[3], *coarse = object_load(&r->all, object->coarse);
	uint8_t *factors = object->scales == QS_NONE ? NULL : object_load(&r->all, object->scales);
	bound_values values = {0};
	qs_grid grid = grid_load(&r->all, &codes, memory);
	for (uint32_t c = 0; c < object->n_chunks; c++) {
		qs_chunk_desc desc = object_chunk(object, c);
		desc.coarse = coarse + desc.first_elem;
		desc.coarse_dtype = codes.dtype;
		desc.coarse_grid = grid;
		if (factors) {
			desc.factors = factors;
			desc.factors_dtype = object_at(&r->all, object->scales).dtype;
		}
		bound_add_values(&values, &desc, fine + 2 * desc.first_elem);
	}
	grid_free(memory);
	free(coarse);
	free(factors);
	return bound_of_values(&values);
}

static void add_object(reader *r, uint32_t number, int is_scales, total *sum)
{
	qs_object object = object_at(&r->all, number);
	uint8_t *bytes = object_load(&r->all, number);
	sum->coded += 8.0 * (double)object.coded_size;
	if (is_scales || object.dtype == QS_BYTES) {
		sum->bound += 8.0 * (double)object.coded_size;
		sum->zipnn += 8.0 * (double)object.coded_size;
	} else if (object.kind == QS_KIND_CODES) {
		sum->bound += codes_bound(r, &object, bytes);
	} else if (object.kind == QS_KIND_REFINE) {
		sum->bound += values_bound(r, &object, bytes);
	} else if (object.kind == QS_KIND_DELTA) {
		uint8_t *coarse = object_load(&r->all, object.coarse);
		qs_delta_subtract(coarse, object_at(&r->all, object.coarse).dtype, object.n_elems, object.dtype,
		                  bytes);
		add_planes(bytes, object.n_elems, object.dtype, 0, sum);
		free(coarse);
	} else {
		add_planes(bytes, object.n_elems, object.dtype, qs_planes_rotated(object.dtype), sum);
	}
	free(bytes);
}

static int is_scales(const reader *r, uint32_t number)
{
	for (uint32_t i = number + 1; i < r->all.archive->index.n_objects; i++) {
		qs_object o = object_at(&r->all, i);
		if ((o.kind == QS_KIND_CODES && o.rule &&
		     (o.scales == number || o.zero_points == number || o.order == number)) ||
		    (o.kind == QS_KIND_REFINE && o.scales == number))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2 || argv[1][0] == '-') {
		fputs("usage: qstore-bound FILE.qstore\n\n"
		      "Prints, as JSON, how many bits a weight of matrices that are quantized or given twice (or of "
		      "all, where there are "
		      "none) takes in each\nvariant's layer, and the bound of that. Scales are in the bound as they "
		      "are stored.\n",
		      argc == 2 && !strcmp(argv[1], "--help") ? stdout : stderr);
		return argc == 2 && !strcmp(argv[1], "--help") ? 0 : 2;
	}
	reader r;
	objects_open(&r.all, argv[1]);
	const qs_index *index = &r.all.archive->index;
	r.counted = need(calloc(index->n_objects + 1, 1));
	double weights = (double)choose(&r);
	json_t *variants = json_array();
	for (uint32_t v = 0; v < index->n_variants; v++) {
		qs_variant variant;
		total sum = {0};
		qs_index_variant(index, v, &variant);
		for (uint32_t i = 0; i < index->n_objects; i++)
			if (r.counted[i] && object_at(&r.all, i).variant == v)
				add_object(&r, i, is_scales(&r, i), &sum);
		json_array_append_new(variants, json_pack("{s:s, s:f, s:f, s:f}", "name", variant.name, "bits",
		                                          sum.coded / weights, "bound", sum.bound / weights, "zipnn",
		                                          sum.zipnn / weights));
	}
	json_t *root = json_pack("{s:f, s:o}", "weights", weights, "variants", variants);
	int failed = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) || putchar('\n') == EOF;
	json_decref(root);
	free(r.counted);
	objects_close(&r.all);
	return failed;
}
