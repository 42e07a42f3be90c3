/* Floats of one precision take no more than under ZipNN's method (Hershcovitch et al., arXiv 2411.05239):
 * byte planes with the exponent in one, each by Huffman where that makes it smaller. Huffman is Huff0, of the
 * zstd library. */
#define ZSTD_STATIC_LINKING_ONLY
#include "codec_help.h"

#include <math.h>
#include <zstd.h>

#include "../generate/values.h"
#include "core/planes.h"
#include "encode/encode.h"

enum { ELEMS = 1 << 18, SMALL = 83000 /* a matrix of a small model */ };

#define STORIES "../shared/data/stories15M-llama/model.safetensors"

typedef struct fixture {
	qs_encoder *encoder;
	ZSTD_CCtx *zstd;
	float weights[ELEMS];
	uint8_t values[4 * ELEMS], planes[4 * ELEMS], coded[8 * ELEMS];
} fixture;

static int set_up(void **state)
{
	fixture *f = malloc(sizeof *f);
	f->encoder = qs_encoder_create();
	f->zstd = ZSTD_createCCtx();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	fixture *f = *state;
	qs_encoder_destroy(f->encoder);
	ZSTD_freeCCtx(f->zstd);
	free(f);
	return 0;
}

/* The fastest level finds almost no matches: what is left is Huff0 on literals. */
static size_t huff0(fixture *f, const uint8_t *src, size_t n)
{
	ZSTD_CCtx_reset(f->zstd, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(f->zstd, ZSTD_c_compressionLevel, ZSTD_minCLevel());
	ZSTD_CCtx_setParameter(f->zstd, ZSTD_c_literalCompressionMode, ZSTD_ps_enable);
	size_t size = ZSTD_compress2(f->zstd, f->coded, sizeof f->coded, src, n);
	assert_false(ZSTD_isError(size));
	return size < n ? size : n;
}

static const uint32_t dtypes[] = {QS_F32, QS_F16, QS_BF16, QS_F8_E4M3, QS_F8_E5M2};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* Bytes of all pieces of a model. */
typedef struct sizes {
	size_t n, own[DTYPES], peer[DTYPES];
} sizes;

/* f->weights in each precision. */
static void add_piece(fixture *f, sizes *all, size_t n)
{
	all->n += n;
	for (size_t d = 0; d < DTYPES; d++) {
		uint32_t dtype = dtypes[d], size = qs_dtype_size(dtype);
		size_t own, peer = 0;
		for (size_t i = 0; i < n; i++)
			value_store(f->values, dtype, i, f->weights[i]);
		qs_chunk_desc desc = {.kind = QS_KIND_PLAIN, .dtype = dtype, .n_elems = (uint32_t)n, .cols = 1};
		assert_int_equal(
		    qs_chunk_encode(f->encoder, &desc, f->values, n * size, f->coded, sizeof f->coded, &own, NULL),
		    QSTORE_OK);
		qs_planes_split(f->values, n, size, qs_planes_rotated(dtype), f->planes);
		for (uint32_t b = 0; b < size; b++)
			peer += huff0(f, f->planes + b * n, n);
		all->own[d] += own;
		all->peer[d] += peer;
	}
}

static void compare(const sizes *all, const char *what)
{
	for (size_t d = 0; d < DTYPES; d++) {
		double own = 8.0 * (double)all->own[d] / (double)all->n,
		       peer = 8.0 * (double)all->peer[d] / (double)all->n;
		print_message("%s, %s: %.3f bits, by Huff0 %.3f, %+.2f %%\n", what, qs_dtype_name(dtypes[d]), own,
		              peer, 100 * (own / peer - 1));
		assert_true(own < peer);
	}
}

static void test_generated(void **state)
{
	fixture *f = *state;
	rng r = {1};
	for (int round = 0; round < 4; round++) {
		sizes all = {0};
		double spread = 0;
		for (size_t i = 0; i < ELEMS; i++) {
			if (i % 512 == 0)
				spread = 0.02 * exp(0.3 * round * rng_normal(&r));
			f->weights[i] = (float)(rng_normal(&r) * spread);
		}
		add_piece(f, &all, round % 2 ? SMALL : ELEMS);
		compare(&all, "generated");
	}
}

static void test_stories(void **state)
{
	fixture *f = *state;
	FILE *file = fopen(STORIES, "rb");
	uint64_t header;
	sizes all = {0};
	if (!file)
		skip();
	assert_int_equal(fread(&header, 8, 1, file), 1);
	for (long part = 0; part < 6; part++) {
		/* Its weights are singles; 4 MB further each time. */
		assert_int_equal(fseek(file, (long)(8 + header) + (part << 22), SEEK_SET), 0);
		assert_int_equal(fread(f->weights, sizeof f->weights, 1, file), 1);
		add_piece(f, &all, part % 2 ? SMALL : ELEMS);
	}
	compare(&all, "stories15M");
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_generated),
	    cmocka_unit_test(test_stories),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
