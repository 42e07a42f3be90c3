/* qstore-bound: what an archive's weights take, variant by variant, and the bound of it (docs/formats.md). */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define ZSTD_STATIC_LINKING_ONLY /* literal compression modes */
#include <zstd.h>

#include "../../native/src/archive/archive.h"
#include "../../native/src/core/delta.h"
#include "../../native/src/core/planes.h"
#include "../../native/src/core/workspace.h"
#include "bench.h"
#include "bound.h"

void fail(const char *format, ...)
{
	va_list args;
	fputs("qstore-bound: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *need(void *p)
{
	if (!p)
		fail("out of memory");
	return p;
}

typedef struct reader {
	qstore_archive *archive;
	qs_decoder *decoder;
	uint8_t *counted; /* of each object: is it a part of what is compared? */
} reader;

typedef struct total {
	double coded, bound;
	/* Of floats on their own: their planes with the exponents' by Huff0, and the others where it pays, as
	 * ZipNN has them (Hershcovitch et al., arXiv 2411.05239; the method, not its code). */
	double zipnn;
} total;

static qs_object object_at(const reader *r, uint32_t number)
{
	qs_object object;
	qs_index_object(&r->archive->index, number, &object);
	return object;
}

/* All of an object; owned by the caller. */
static uint8_t *load(reader *r, uint32_t number)
{
	qs_object object = object_at(r, number);
	uint64_t filled = 0, size = object.n_elems * qs_dtype_size(object.dtype);
	uint8_t *bytes = need(malloc(size ? size : 1));
	for (uint32_t c = 0; c < object.n_chunks; c++) {
		const uint8_t *data;
		uint32_t n;
		qs_error error;
		if (qs_decoder_chunk(r->decoder, r->archive, number, c, &data, &n, &error))
			fail("%s", error.text);
		memcpy(bytes + filled, data, n);
		filled += n;
	}
	return bytes;
}

/* ---- What takes part ---- */

static void count_scales(reader *r, uint32_t number)
{
	qs_object codes = object_at(r, number);
	if (codes.kind == QS_KIND_REFINE && codes.scales != QS_NONE)
		r->counted[codes.scales] = 1; /* factors */
	uint32_t parts[] = {codes.scales, codes.zeros, codes.order};
	for (int i = 0; i < 3; i++)
		if (codes.kind == QS_KIND_CODES && codes.rule != QS_RULE_NONE && parts[i] != QS_NONE)
			r->counted[parts[i]] = 1;
}

/* Objects that build on coarser ones, and those; when there are none, all. Returns the weights. */
static uint64_t choose(reader *r)
{
	const qs_index *index = &r->archive->index;
	uint64_t weights = 0;
	int n = 0;
	for (uint32_t i = index->n_objects; i-- > 0;) {
		qs_object o = object_at(r, i);
		int builds = o.kind == QS_KIND_REFINE || o.kind == QS_KIND_DELTA || o.kind == QS_KIND_CODES;
		if (!builds || (o.coarse == QS_NONE && !r->counted[i]))
			continue;
		n++;
		r->counted[i] = 1;
		if (o.coarse != QS_NONE)
			r->counted[o.coarse] = 1;
	}
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object o = object_at(r, i);
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
	/* The fastest level finds almost no matches: what is left is Huff0 on literals. */
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

/* The grid of codes, all of it; what it points to is owned by the caller. */
static qs_grid load_grid(reader *r, const qs_object *codes, uint8_t *memory[3])
{
	qs_object scales = object_at(r, codes->scales);
	memory[0] = load(r, codes->scales);
	memory[1] = codes->zeros == QS_NONE ? NULL : load(r, codes->zeros);
	memory[2] = codes->order == QS_NONE ? NULL : load(r, codes->order);
	return (qs_grid){.rule = codes->rule,
	                 .codes_dtype = codes->dtype,
	                 .group = codes->group,
	                 .row_stride = codes->row_stride,
	                 .group_stride = codes->group_stride,
	                 .order = memory[2],
	                 .scales = memory[0],
	                 .scales_size = scales.n_elems * qs_dtype_size(scales.dtype),
	                 .scales_dtype = scales.dtype,
	                 .zeros = memory[1],
	                 .zeros_size = memory[1] ? object_at(r, codes->zeros).n_elems : 0,
	                 .zero_offset = codes->zero_offset};
}

static void free_grid(uint8_t *memory[3])
{
	for (int i = 0; i < 3; i++)
		free(memory[i]);
}

/* The part of an object that a chunk has; grids that are there are complete. */
static qs_chunk_desc describe(const qs_object *object, uint32_t chunk)
{
	uint64_t first = (uint64_t)chunk * object->chunk_elems, left = object->n_elems - first;
	return (qs_chunk_desc){.kind = object->kind,
	                       .dtype = object->dtype,
	                       .n_elems = left < object->chunk_elems ? (uint32_t)left : object->chunk_elems,
	                       .cols = object->cols,
	                       .first_elem = first};
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* Codes on their own: as they are, or around their zero points; or as differences to what coarser ones let
 * expect. */
static double codes_bound(reader *r, const qs_object *object, const uint8_t *codes)
{
	uint64_t rows = object->n_elems / object->cols;
	double bits = least(bound_codes(codes, rows, object->cols), bound_bytes(codes, object->n_elems));
	if (object->rule == QS_RULE_NONE)
		return bits;
	uint8_t *memory[3], *coarse_memory[3],
	    *changed = need(malloc(object->n_elems)),
	    *coarse = object->coarse == QS_NONE ? NULL : load(r, object->coarse);
	qs_grid grid = load_grid(r, object, memory), coarse_grid = {0};
	qs_object coarse_object = {0};
	for (uint32_t c = 0; c < object->n_chunks; c++) {
		qs_chunk_desc desc = describe(object, c);
		desc.coarse = codes + desc.first_elem;
		desc.coarse_dtype = object->dtype;
		desc.coarse_grid = grid;
		bound_indexes(&desc, changed + desc.first_elem);
	}
	bits = least(bits, bound_codes(changed, rows, object->cols));
	if (coarse) {
		coarse_object = object_at(r, object->coarse);
		coarse_grid = load_grid(r, &coarse_object, coarse_memory);
		for (uint32_t c = 0; c < object->n_chunks; c++) {
			qs_chunk_desc desc = describe(object, c);
			desc.coarse = coarse + desc.first_elem;
			desc.coarse_dtype = coarse_object.dtype;
			desc.coarse_grid = coarse_grid;
			desc.grid = grid;
			qs_predict_codes(&desc, changed + desc.first_elem);
		}
		for (uint64_t i = 0; i < object->n_elems; i++)
			changed[i] = (uint8_t)(codes[i] - changed[i]);
		bits = least(bits, bound_codes(changed, rows, object->cols));
		free_grid(coarse_memory);
	}
	free_grid(memory);
	free(changed);
	free(coarse);
	return bits;
}

static double values_bound(reader *r, const qs_object *object, const uint8_t *fine)
{
	qs_object codes = object_at(r, object->coarse);
	uint8_t *memory[3], *coarse = load(r, object->coarse);
	uint8_t *factors = object->scales == QS_NONE ? NULL : load(r, object->scales);
	bound_values values = {0};
	qs_grid grid = load_grid(r, &codes, memory);
	for (uint32_t c = 0; c < object->n_chunks; c++) {
		qs_chunk_desc desc = describe(object, c);
		desc.coarse = coarse + desc.first_elem;
		desc.coarse_dtype = codes.dtype;
		desc.coarse_grid = grid;
		if (factors) {
			desc.factors = factors;
			desc.factors_dtype = object_at(r, object->scales).dtype;
		}
		bound_add_values(&values, &desc, fine + 2 * desc.first_elem);
	}
	free_grid(memory);
	free(coarse);
	free(factors);
	return bound_of_values(&values);
}

static void add_object(reader *r, uint32_t number, int is_scales, total *sum)
{
	qs_object object = object_at(r, number);
	uint8_t *bytes = load(r, number);
	sum->coded += 8.0 * (double)object.coded_size;
	if (is_scales || object.dtype == QS_BYTES) {
		sum->bound += 8.0 * (double)object.coded_size;
		sum->zipnn += 8.0 * (double)object.coded_size;
	} else if (object.kind == QS_KIND_CODES) {
		sum->bound += codes_bound(r, &object, bytes);
	} else if (object.kind == QS_KIND_REFINE) {
		sum->bound += values_bound(r, &object, bytes);
	} else if (object.kind == QS_KIND_DELTA) {
		uint8_t *coarse = load(r, object.coarse);
		qs_delta_subtract(coarse, object_at(r, object.coarse).dtype, object.n_elems, object.dtype, bytes);
		add_planes(bytes, object.n_elems, object.dtype, 0, sum);
		free(coarse);
	} else {
		add_planes(bytes, object.n_elems, object.dtype, qs_planes_rotated(object.dtype), sum);
	}
	free(bytes);
}

static int is_scales(const reader *r, uint32_t number)
{
	for (uint32_t i = number + 1; i < r->archive->index.n_objects; i++) {
		qs_object o = object_at(r, i);
		if ((o.kind == QS_KIND_CODES && o.rule &&
		     (o.scales == number || o.zeros == number || o.order == number)) ||
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
	qs_error error;
	reader r = {.decoder = need(qs_decoder_create(NULL))};
	if (qs_archive_open(argv[1], &r.archive, &error))
		fail("%s", error.text);
	const qs_index *index = &r.archive->index;
	r.counted = need(calloc(index->n_objects + 1, 1));
	double weights = (double)choose(&r);
	json_t *variants = json_array();
	for (uint32_t v = 0; v < index->n_variants; v++) {
		qs_variant variant;
		total sum = {0};
		qs_index_variant(index, v, &variant);
		for (uint32_t i = 0; i < index->n_objects; i++)
			if (r.counted[i] && object_at(&r, i).variant == v)
				add_object(&r, i, is_scales(&r, i), &sum);
		json_array_append_new(variants, json_pack("{s:s, s:f, s:f, s:f}", "name", variant.name, "bits",
		                                          sum.coded / weights, "bound", sum.bound / weights, "zipnn",
		                                          sum.zipnn / weights));
	}
	json_t *root = json_pack("{s:f, s:o}", "weights", weights, "variants", variants);
	int failed = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) || putchar('\n') == EOF;
	json_decref(root);
	free(r.counted);
	qs_decoder_destroy(r.decoder);
	qstore_close(r.archive);
	return failed;
}
