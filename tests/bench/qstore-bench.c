/* Codec benchmark on one core: bits per weight against the bound, and speeds beside memcpy, zstd, lz4 and
 * Huffman alone on the same data in the same run. All of it in memory, chunk by chunk as archives have it.
 * `qstore-bench --help` tells the rest. */
#define ZSTD_STATIC_LINKING_ONLY
#include <getopt.h>
#include <lz4.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "../../native/src/core/cells.h"
#include "../../native/src/core/chunk.h"
#include "../../native/src/encode/encode.h"
#include "../../native/src/formats/model.h"
#include "../../native/src/quantize/llm_int8.h"

enum { CHUNK_ELEMS = 1 << 18, CODED_CAP = 2 * CHUNK_ELEMS + 64 };

typedef struct chunk {
	uint32_t n;
	uint64_t cols, first;
	uint8_t *codes, *values, *scales; /* inputs: 1, 2 and (per row) 4 bytes */
	size_t n_rows;
	uint8_t *coded[3]; /* as codes, as ranks, as plain values */
	size_t coded_size[3];
} chunk;

typedef struct data {
	chunk *chunks;
	size_t n_chunks, cap;
	uint64_t n_weights, n_rows;
	double bound_codes, bound_ranks, scale_bits; /* bits */
	uint32_t dtype;
} data;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *need(void *p)
{
	if (!p) {
		fprintf(stderr, "qstore-bench: out of memory\n");
		exit(1);
	}
	return p;
}

/* ---- The bound: entropy of the codes by row class, and the width model of the values in their cells
 * (docs/codec.md) ---- */

static double class_entropy(const uint8_t *codes, uint64_t rows, uint64_t cols)
{
	static uint32_t counts[64][256];
	double bits = 0;
	memset(counts, 0, sizeof counts);
	for (uint64_t r = 0; r < rows; r++) {
		double sum = 0;
		for (uint64_t c = 0; c < cols; c++)
			sum += abs((int8_t)codes[r * cols + c]);
		long k = lround(4 * log2(sum / (double)cols + 0.01));
		k = k < 0 ? 0 : k > 63 ? 63 : k;
		for (uint64_t c = 0; c < cols; c++)
			counts[k][codes[r * cols + c]]++;
	}
	for (int k = 0; k < 64; k++) {
		double n = 0;
		for (int s = 0; s < 256; s++)
			n += counts[k][s];
		for (int s = 0; s < 256; s++)
			if (counts[k][s])
				bits -= counts[k][s] * log2(counts[k][s] / n);
	}
	return bits;
}

/* Spacing of the values around a magnitude pattern, relative to the smallest. */
static double width(uint32_t magnitude, unsigned mantissa_bits)
{
	uint32_t exponent = magnitude >> mantissa_bits;
	return ldexp(1, (int)(exponent ? exponent - 1 : 0));
}

static double interval_width(uint32_t first, uint32_t end, unsigned mantissa_bits)
{
	double sum = 0;
	while (first < end) {
		uint32_t next = ((first >> mantissa_bits) + 1) << mantissa_bits;
		next = next < end ? next : end;
		sum += (next - first) * width(first, mantissa_bits);
		first = next;
	}
	return sum;
}

static double width_model_bits(const uint8_t *codes, const uint8_t *values, uint64_t cols, uint32_t dtype,
                               float scale)
{
	unsigned mantissa_bits = dtype == QS_F16 ? 10 : 7;
	qs_cell cells[QS_CELL_TABLE];
	double log_width[128], bits = 0;
	qs_cells_build(cells, dtype, QS_RULE_LLM_INT8, scale);
	for (uint32_t k = 1; k < 128; k++) {
		uint32_t first = QS_CELL_FIRST(cells[k]);
		log_width[k] = log2(interval_width(first, first + QS_CELL_COUNT(cells[k]), mantissa_bits));
	}
	log_width[0] = 1 + log2(interval_width(0, QS_CELL_FIRST(cells[1]), mantissa_bits)); /* and a sign */
	for (uint64_t c = 0; c < cols; c++) {
		uint16_t v;
		memcpy(&v, values + 2 * c, 2);
		unsigned k = (unsigned)abs((int8_t)codes[c]);
		bits += log_width[k & 127] - log2(width(v & 0x7fff, mantissa_bits));
	}
	return bits;
}

/* ---- Data ---- */

static uint16_t bf16_to_fp16(uint16_t v)
{
	/* Through the scale of doubles: exact, then rounded half to even by hand. */
	uint32_t bits = (uint32_t)v << 16;
	float f;
	memcpy(&f, &bits, 4);
	uint16_t sign = v & 0x8000;
	double x = fabs((double)f);
	if (x >= 65520)
		return (uint16_t)(sign | 0x7c00);
	int exponent;
	frexp(x, &exponent);
	int step = exponent - 11 < -24 ? -24 : exponent - 11;
	double units = rint(ldexp(x, -step));
	double rounded = ldexp(units, step);
	if (rounded < 0x1p-14)
		return (uint16_t)(sign | (uint16_t)ldexp(rounded, 24));
	frexp(rounded, &exponent);
	return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) |
	                  ((uint16_t)ldexp(rounded, 11 - exponent) & 0x3ff));
}

static void add_tensor(data *d, const uint8_t *values, uint64_t rows, uint64_t cols, uint64_t max_weights)
{
	uint64_t chunk_rows = cols <= CHUNK_ELEMS ? CHUNK_ELEMS / cols : 1;
	for (uint64_t r = 0; r < rows && d->n_weights < max_weights; r += chunk_rows) {
		uint64_t n_rows = rows - r < chunk_rows ? rows - r : chunk_rows, n = n_rows * cols;
		chunk c = {.n = (uint32_t)n, .cols = cols, .first = r * cols, .n_rows = n_rows};
		c.codes = need(malloc(n));
		c.values = need(malloc(2 * n));
		c.scales = need(malloc(4 * n_rows));
		memcpy(c.values, values + 2 * r * cols, 2 * n);
		for (uint64_t i = 0; i < n_rows; i++) {
			int finite = 1;
			uint8_t *row = c.values + 2 * i * cols, *codes = c.codes + i * cols;
			float scale = qs_llm_int8_absmax(row, cols, d->dtype, &finite);
			qs_llm_int8_quantize(row, cols, d->dtype, scale, (int8_t *)codes);
			memcpy(c.scales + 4 * i, &scale, 4);
			if (finite && scale > 0)
				d->bound_ranks += width_model_bits(codes, row, cols, d->dtype, scale);
		}
		d->bound_codes += class_entropy(c.codes, n_rows, cols);
		d->n_weights += n;
		d->n_rows += n_rows;
		if (d->n_chunks == d->cap) {
			d->cap = d->cap ? 2 * d->cap : 64;
			d->chunks = need(realloc(d->chunks, d->cap * sizeof *d->chunks));
		}
		d->chunks[d->n_chunks++] = c;
	}
}

static int load(data *d, const char *path, int to_fp16, uint64_t max_weights)
{
	qs_model model;
	qs_error error;
	if (qs_model_open(&model, path, &error)) {
		fprintf(stderr, "qstore-bench: %s\n", error.text);
		return 0;
	}
	for (size_t f = 0; f < model.n_files; f++)
		for (size_t t = 0; model.files[f].is_weights && t < model.files[f].weights.n_tensors; t++) {
			const qs_weight *tensor = &model.files[f].weights.tensors[t];
			if (!qs_llm_int8_selects(tensor->name, tensor->dtype, tensor->n_dims, tensor->dims, NULL, NULL) ||
			    !tensor->size || d->n_weights >= max_weights)
				continue;
			uint8_t *values = need(malloc(tensor->size));
			FILE *file = fopen(model.files[f].path, "rb");
			if (!file || fseeko(file, (off_t)tensor->offset, SEEK_SET) ||
			    fread(values, 1, tensor->size, file) != tensor->size) {
				fprintf(stderr, "qstore-bench: cannot read %s\n", model.files[f].path);
				return 0;
			}
			fclose(file);
			d->dtype = tensor->dtype;
			if (to_fp16 && tensor->dtype == QS_BF16) {
				for (uint64_t i = 0; i < tensor->size; i += 2) {
					uint16_t v;
					memcpy(&v, values + i, 2);
					v = bf16_to_fp16(v);
					memcpy(values + i, &v, 2);
				}
				d->dtype = QS_F16;
			}
			add_tensor(d, values, tensor->dims[0], tensor->dims[1], max_weights);
			free(values);
		}
	qs_model_close(&model);
	if (!d->n_weights)
		fprintf(stderr, "qstore-bench: %s: no 16-bit weights that LLM.int8 would quantize\n", path);
	return d->n_weights > 0;
}

/* ---- Our codec ---- */

enum { AS_CODES, AS_RANKS, AS_PLAIN };

static qs_chunk_desc describe(const data *d, const chunk *c, int as)
{
	qs_chunk_desc desc = {
	    .kind = QS_KIND_PLAIN, .dtype = d->dtype, .n_elems = c->n, .cols = c->cols, .first_elem = c->first};
	if (as == AS_CODES) {
		desc.kind = QS_KIND_CODES;
		desc.dtype = QS_I8;
	} else if (as == AS_RANKS) {
		desc.kind = QS_KIND_REFINE;
		desc.rule = QS_RULE_LLM_INT8;
		desc.coarse = c->codes;
		desc.scales = c->scales;
		desc.scales_size = 4 * c->n_rows;
		desc.scales_dtype = QS_F32;
	}
	return desc;
}

/* Seconds of one pass over all chunks. */
static double encode_pass(data *d, int as, qs_encoder *encoder)
{
	static uint8_t coded[CODED_CAP * 8];
	double start = now(), spent = 0;
	for (size_t i = 0; i < d->n_chunks; i++) {
		chunk *c = &d->chunks[i];
		qs_chunk_desc desc = describe(d, c, as);
		size_t size = 0;
		if (qs_chunk_encode(encoder, &desc, as == AS_CODES ? c->codes : c->values,
		                    (as == AS_CODES ? 1u : 2u) * c->n, coded, sizeof coded, &size, NULL)) {
			fprintf(stderr, "qstore-bench: encoding failed\n");
			exit(1);
		}
		double pause = now();
		free(c->coded[as]);
		c->coded[as] = need(malloc(size));
		memcpy(c->coded[as], coded, size);
		c->coded_size[as] = size;
		spent += now() - pause;
	}
	return now() - start - spent;
}

static double decode_pass(const data *d, int as, uint8_t *dst, void *work, int check)
{
	double start = now();
	for (size_t i = 0; i < d->n_chunks; i++) {
		const chunk *c = &d->chunks[i];
		qs_chunk_desc desc = describe(d, c, as);
		size_t size = (as == AS_CODES ? 1u : 2u) * (size_t)c->n;
		if (qs_chunk_decode(&desc, c->coded[as], c->coded_size[as], dst, size, work,
		                    qs_chunk_workspace_size()) ||
		    (check && memcmp(dst, as == AS_CODES ? c->codes : c->values, size))) {
			fprintf(stderr, "qstore-bench: decoding failed\n");
			exit(1);
		}
	}
	return now() - start;
}

/* ---- Peers, on the same bytes in the same pieces ---- */

typedef struct peer {
	const char *name;
	size_t (*encode)(const uint8_t *src, size_t n, uint8_t *dst, size_t cap);
	size_t (*decode)(const uint8_t *src, size_t size, uint8_t *dst, size_t n);
} peer;

static ZSTD_CCtx *zstd_encoder;
static ZSTD_DCtx *zstd_decoder;

static size_t zstd_at(const uint8_t *src, size_t n, uint8_t *dst, size_t cap, int level, int huffman_only)
{
	ZSTD_CCtx_reset(zstd_encoder, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(zstd_encoder, ZSTD_c_compressionLevel, level);
	if (huffman_only)
		ZSTD_CCtx_setParameter(zstd_encoder, ZSTD_c_literalCompressionMode, ZSTD_ps_enable);
	return ZSTD_compress2(zstd_encoder, dst, cap, src, n);
}

static size_t encode_zstd1(const uint8_t *src, size_t n, uint8_t *dst, size_t cap)
{
	return zstd_at(src, n, dst, cap, 1, 0);
}

static size_t encode_zstd3(const uint8_t *src, size_t n, uint8_t *dst, size_t cap)
{
	return zstd_at(src, n, dst, cap, 3, 0);
}

/* The fastest level looks for almost no matches: what is left is Huff0 on literals. */
static size_t encode_huff0(const uint8_t *src, size_t n, uint8_t *dst, size_t cap)
{
	return zstd_at(src, n, dst, cap, ZSTD_minCLevel(), 1);
}

static size_t decode_zstd(const uint8_t *src, size_t size, uint8_t *dst, size_t n)
{
	return ZSTD_decompressDCtx(zstd_decoder, dst, n, src, size);
}

static size_t encode_lz4(const uint8_t *src, size_t n, uint8_t *dst, size_t cap)
{
	return (size_t)LZ4_compress_default((const char *)src, (char *)dst, (int)n, (int)cap);
}

static size_t decode_lz4(const uint8_t *src, size_t size, uint8_t *dst, size_t n)
{
	return (size_t)LZ4_decompress_safe((const char *)src, (char *)dst, (int)size, (int)n);
}

static size_t copy(const uint8_t *src, size_t n, uint8_t *dst, size_t cap)
{
	(void)cap;
	memcpy(dst, src, n);
	return n;
}

static size_t copy_back(const uint8_t *src, size_t size, uint8_t *dst, size_t n)
{
	(void)n;
	memcpy(dst, src, size);
	return size;
}

static const peer peers[] = {
    {"memcpy", copy, copy_back},
    {"huff0 (zstd, no matches)", encode_huff0, decode_zstd},
    {"zstd -1", encode_zstd1, decode_zstd},
    {"zstd -3", encode_zstd3, decode_zstd},
    {"lz4", encode_lz4, decode_lz4},
};

/* ---- Report ---- */

typedef struct row {
	char name[64];
	double bits;           /* per weight */
	double encode, decode; /* GB/s of raw bytes; 0 = not applicable */
} row;

static void run_peer(const data *d, const peer *p, int wide, int passes, row *out)
{
	static uint8_t coded[4 * CODED_CAP], back[2 * CHUNK_ELEMS];
	uint8_t **all = need(calloc(d->n_chunks, sizeof *all));
	size_t *sizes = need(calloc(d->n_chunks, sizeof *sizes)), total = 0;
	double start = now(), encode, decode = 1e9;
	for (size_t i = 0; i < d->n_chunks; i++) {
		const chunk *c = &d->chunks[i];
		sizes[i] =
		    p->encode(wide ? c->values : c->codes, (wide ? 2u : 1u) * (size_t)c->n, coded, sizeof coded);
		all[i] = need(malloc(sizes[i] + 1));
		memcpy(all[i], coded, sizes[i]);
		total += sizes[i];
	}
	encode = now() - start;
	for (int pass = 0; pass < passes; pass++) {
		start = now();
		for (size_t i = 0; i < d->n_chunks; i++)
			p->decode(all[i], sizes[i], back, (wide ? 2u : 1u) * (size_t)d->chunks[i].n);
		double t = now() - start;
		decode = t < decode ? t : decode;
	}
	double bytes = (wide ? 2.0 : 1.0) * (double)d->n_weights;
	*out = (row){.bits = 8.0 * (double)total / (double)d->n_weights,
	             .encode = bytes / encode / 1e9,
	             .decode = bytes / decode / 1e9};
	snprintf(out->name, sizeof out->name, "%s, %s", wide ? "16-bit" : "INT8", p->name);
	for (size_t i = 0; i < d->n_chunks; i++)
		free(all[i]);
	free(all);
	free(sizes);
}

static void print_row(const row *r)
{
	printf("  %-34s %8.3f", r->name, r->bits);
	if (r->encode > 0)
		printf(" %10.2f", r->encode);
	else
		printf(" %10s", "");
	if (r->decode > 0)
		printf(" %10.2f", r->decode);
	printf("\n");
}

static void usage(FILE *to)
{
	fprintf(to,
	        "usage: qstore-bench MODEL [--fp16] [--weights N] [--passes N] [--label TEXT] [--json FILE]\n\n"
	        "MODEL      a folder or a safetensors file with 16-bit weights; INT8 codes are made by the "
	        "LLM.int8 rule\n"
	        "--fp16     cast BF16 weights to FP16 first\n"
	        "--weights  take this many weights at most (default 64000000)\n"
	        "--passes   of each decoder; the fastest counts (default 5)\n"
	        "--json     add the results to FILE, one JSON object a line\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"fp16", no_argument, NULL, 'f'},
	                                        {"weights", required_argument, NULL, 'w'},
	                                        {"passes", required_argument, NULL, 'p'},
	                                        {"label", required_argument, NULL, 'l'},
	                                        {"json", required_argument, NULL, 'j'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {0}};
	int to_fp16 = 0, passes = 5, option;
	uint64_t max_weights = 64000000;
	const char *json = NULL, *label = NULL;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (option) {
		case 'f':
			to_fp16 = 1;
			break;
		case 'w':
			max_weights = strtoull(optarg, NULL, 10);
			break;
		case 'p':
			passes = atoi(optarg);
			break;
		case 'l':
			label = optarg;
			break;
		case 'j':
			json = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	if (optind + 1 != argc) {
		usage(stderr);
		return 2;
	}
	data d = {0};
	if (!load(&d, argv[optind], to_fp16, max_weights))
		return 1;
	zstd_encoder = need(ZSTD_createCCtx());
	zstd_decoder = need(ZSTD_createDCtx());
	qs_encoder *encoder = need(qs_encoder_create());
	void *work = need(malloc(qs_chunk_workspace_size()));
	uint8_t *dst = need(malloc(2 * CHUNK_ELEMS));
	double seconds_encode[3], seconds_decode[3] = {1e9, 1e9, 1e9}, n = (double)d.n_weights, bits[3] = {0};
	for (int as = 0; as < 3; as++) {
		seconds_encode[as] = encode_pass(&d, as, encoder);
		decode_pass(&d, as, dst, work, 1);
		for (int pass = 0; pass < passes; pass++) {
			double t = decode_pass(&d, as, dst, work, 0);
			seconds_decode[as] = t < seconds_decode[as] ? t : seconds_decode[as];
		}
		for (size_t i = 0; i < d.n_chunks; i++)
			bits[as] += 8.0 * (double)d.chunks[i].coded_size[as];
	}
	/* Scales, as their own plain F32 tensor. */
	uint8_t *scales = need(malloc(4 * d.n_rows)), *coded = need(malloc(4 * CHUNK_ELEMS + 1));
	uint64_t at = 0;
	for (size_t i = 0; i < d.n_chunks; i++) {
		memcpy(scales + at, d.chunks[i].scales, 4 * d.chunks[i].n_rows);
		at += 4 * d.chunks[i].n_rows;
	}
	for (uint64_t r = 0; r < d.n_rows; r += CHUNK_ELEMS) {
		uint32_t count = (uint32_t)(d.n_rows - r < CHUNK_ELEMS ? d.n_rows - r : CHUNK_ELEMS);
		qs_chunk_desc desc = {.kind = QS_KIND_PLAIN, .dtype = QS_F32, .n_elems = count, .cols = 1};
		size_t size = 0;
		if (qs_chunk_encode(encoder, &desc, scales + 4 * r, 4 * (size_t)count, coded, 4 * CHUNK_ELEMS + 1,
		                    &size, NULL))
			return 1;
		d.scale_bits += 8.0 * (double)size;
	}
	const char *high = d.dtype == QS_F16 ? "FP16" : "BF16";
	row rows[32];
	int n_rows = 0;
	double both = seconds_decode[AS_CODES] + seconds_decode[AS_RANKS];
	rows[n_rows++] = (row){.bits = bits[AS_CODES] / n,
	                       .encode = n / seconds_encode[AS_CODES] / 1e9,
	                       .decode = n / seconds_decode[AS_CODES] / 1e9,
	                       .name = "INT8, base layer"};
	rows[n_rows] = (row){.bits = bits[AS_RANKS] / n,
	                     .encode = 2 * n / seconds_encode[AS_RANKS] / 1e9,
	                     .decode = 2 * n / seconds_decode[AS_RANKS] / 1e9};
	snprintf(rows[n_rows++].name, 64, "%s, refinement alone", high);
	rows[n_rows] = (row){.bits = (bits[AS_CODES] + bits[AS_RANKS] + d.scale_bits) / n,
	                     .decode = 2 * n / both / 1e9,
	                     .encode = 3 * n / (seconds_encode[AS_CODES] + seconds_encode[AS_RANKS]) / 1e9};
	snprintf(rows[n_rows++].name, 64, "both, with scales; %s decode", high);
	rows[n_rows] = (row){.bits = bits[AS_PLAIN] / n,
	                     .encode = 2 * n / seconds_encode[AS_PLAIN] / 1e9,
	                     .decode = 2 * n / seconds_decode[AS_PLAIN] / 1e9};
	snprintf(rows[n_rows++].name, 64, "%s alone, plain", high);
	int n_own = n_rows;
	for (int wide = 0; wide < 2; wide++)
		for (size_t p = 0; p < sizeof peers / sizeof *peers; p++)
			run_peer(&d, &peers[p], wide, passes, &rows[n_rows++]);

	double bound = (d.bound_codes + d.bound_ranks + d.scale_bits) / n;
	printf("%s: %.1f M paired weights, %s + INT8, one core\n", label ? label : argv[optind], n / 1e6, high);
	printf("  %-34s %8s %10s %10s\n", "", "bits/wt", "enc GB/s", "dec GB/s");
	for (int i = 0; i < n_rows; i++) {
		print_row(&rows[i]);
		if (i + 1 == n_own || i + 1 == n_own + (n_rows - n_own) / 2)
			printf("\n");
	}
	printf("\n  bound: codes %.3f + values %.3f + scales %.3f = %.3f bits a weight; coded %.3f, %+.2f %%; "
	       "raw 24 → ratio %.2f\n\n",
	       d.bound_codes / n, d.bound_ranks / n, d.scale_bits / n, bound, rows[2].bits,
	       100 * (rows[2].bits / bound - 1), (24 + 32.0 * (double)d.n_rows / n) / rows[2].bits);
	FILE *out = json ? fopen(json, "a") : NULL;
	if (json && !out) {
		fprintf(stderr, "qstore-bench: cannot write %s\n", json);
		return 1;
	}
	if (out) {
		fprintf(out,
		        "{\"data\":\"%s\",\"platform\":\"native\",\"high\":\"%s\",\"weights\":%llu,\"bound_bits\":%."
		        "4f,\"rows\":[",
		        label ? label : "model", high, (unsigned long long)d.n_weights, bound);
		for (int i = 0; i < n_rows; i++)
			fprintf(out, "%s{\"name\":\"%s\",\"bits\":%.4f,\"encode_gbs\":%.3f,\"decode_gbs\":%.3f}",
			        i ? "," : "", rows[i].name, rows[i].bits, rows[i].encode, rows[i].decode);
		fprintf(out, "]}\n");
		fclose(out);
	}
	return 0;
}
