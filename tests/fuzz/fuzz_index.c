/* The index. Any bytes are refused, or what qs_index_open accepts holds when it is checked again, by other
 * means: readers rely on it without a further look. tests/fuzz/make-seeds.mjs writes the same layout: u8: 0,
 * a header; 1, a coded body that a fitting header is made for (u8: bit 0, zstd; u8 size of the body / 16; the
 * coded body); 2, the columns of a body; else a body (u64 payload size, then the body). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "container/index_build.h"
#include "core/bytes.h"
#include "core/chunk.h"
#include "core/delta.h"
#include "core/index.h"
#include "core/index_columns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int good)
{
	if (!good)
		abort();
}

static void check_name(const qs_index *index, const char *name, size_t max)
{
	const char *strings = (const char *)index->body + index->strings;
	require(name >= strings && name < strings + index->strings_size);
	const char *end = memchr(name, 0, (size_t)(strings + index->strings_size - name));
	require(end && (size_t)(end - name) <= max);
}

/* Decodes UTF-8 and encodes it again, which is another way than the table of qs_text_is_utf8. */
static void check_utf8(const char *text)
{
	for (const uint8_t *p = (const uint8_t *)text; *p;) {
		uint32_t more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
		uint32_t c = more ? *p & (0x3fu >> more) : *p;
		require(*p < 0x80 || (*p >= 0xc0 && *p < 0xf8));
		for (uint32_t i = 1; i <= more; i++) {
			require((p[i] & 0xc0) == 0x80);
			c = c << 6 | (p[i] & 0x3f);
		}
		require(more == (c >= 0x80) + (c >= 0x800) + (uint32_t)(c >= 0x10000));
		require(c < 0x110000 && (c < 0xd800 || c > 0xdfff));
		p += more + 1;
	}
}

static void check_path(const char *name)
{
	size_t n = strlen(name);
	require(n && name[0] != '/' && name[n - 1] != '/' && !strstr(name, "//"));
	for (const char *part = name; part;) {
		const char *slash = strchr(part, '/');
		size_t length = slash ? (size_t)(slash - part) : strlen(part);
		require(!(length == 1 && part[0] == '.') && !(length == 2 && part[0] == '.' && part[1] == '.'));
		part = slash ? slash + 1 : NULL;
	}
	check_utf8(name);
	require(qs_path_is_safe(name));
}

/* A variant's name is one part of a path, without characters that a system forbids. */
static void check_variant_name(const char *name)
{
	check_path(name);
	require(strlen(name) < 64 && !strpbrk(name, "/\\:"));
	for (const char *c = name; *c; c++)
		require((unsigned char)*c >= 32 && *c != 127);
}

/* Every element has a scale, a zero point and an order that there are. */
static void check_grid(const qs_index *index, uint32_t number, const qs_object *o)
{
	qs_object scales, other;
	qs_grid grid = {.rule = o->rule,
	                .group = o->group,
	                .row_stride = o->row_stride,
	                .group_stride = o->group_stride,
	                .order = o->order == QS_NONE ? NULL : index->body};
	uint32_t record = qs_rule_record_size(o->rule);
	uint64_t low, high;
	require(o->rule < QS_RULE_COUNT && o->scales < number && o->group);
	qs_index_object(index, o->scales, &scales);
	require(scales.kind == QS_KIND_PLAIN && scales.variant <= o->variant);
	if (record)
		require(scales.dtype == QS_BYTES && scales.cols == record);
	else
		require(scales.dtype == QS_F64 || scales.dtype == QS_F32 || scales.dtype == QS_F16 ||
		        scales.dtype == QS_BF16);
	if (!o->n_elems)
		return;
	qs_grid_window(&grid, o->cols, 0, o->n_elems, &low, &high);
	require(high < (record ? scales.n_elems / record * qs_rule_record_scales(o->rule) : scales.n_elems));
	if (o->zero_points != QS_NONE) {
		require(o->zero_points < number);
		qs_index_object(index, o->zero_points, &other);
		require(other.kind == QS_KIND_PLAIN && other.n_elems == scales.n_elems);
	}
	if (o->order != QS_NONE) {
		require(o->order < number);
		qs_index_object(index, o->order, &other);
		require(other.kind == QS_KIND_PLAIN && other.dtype == QS_I32 && other.n_elems == o->cols);
	}
}

/* Every column has a factor, and the rule takes them. */
static void check_factors(const qs_index *index, uint32_t number, const qs_object *o, const qs_object *codes)
{
	qs_object factors;
	require(o->scales < number && qs_rule_takes_factors(codes->rule));
	qs_index_object(index, o->scales, &factors);
	require(factors.kind == QS_KIND_PLAIN && factors.variant <= o->variant && factors.n_elems == o->cols);
	require(factors.dtype == QS_F16 || factors.dtype == QS_BF16);
}

/* Two matrices side by side: each part has the same whole rows of both. */
static void check_joined(const qs_index *index, uint32_t number, const qs_object *o, const qs_object *left)
{
	qs_object right;
	require(o->beside < number);
	qs_index_object(index, o->beside, &right);
	require(left->dtype == o->dtype && right.dtype == o->dtype && right.variant <= o->variant);
	require(left->kind != QS_KIND_LAYOUT && right.kind != QS_KIND_LAYOUT);
	require(o->cols == left->cols + right.cols && o->n_elems == left->n_elems + right.n_elems);
	require(left->n_elems % left->cols == 0 && o->n_elems / o->cols == left->n_elems / left->cols);
	require(o->chunk_elems % o->cols == 0 && o->chunk_elems == left->chunk_elems + right.chunk_elems);
	require(left->chunk_elems % left->cols == 0);
}

static void check_object(const qs_index *index, uint32_t number)
{
	qs_object o, coarse;
	qs_variant v;
	qs_index_object(index, number, &o);
	uint32_t block = qs_block_elems(o.dtype), size = qs_block_size(o.dtype);
	int layout = o.kind == QS_KIND_LAYOUT, base = o.kind == QS_KIND_BASE;
	require(o.kind < QS_KIND_COUNT && size && o.variant < index->n_variants && o.cols >= 1);
	require((block == 1 || layout) && o.n_elems % block == 0 && o.n_elems <= UINT64_MAX / size);
	uint64_t chunks = 0, coded = 0;
	if (o.n_elems) {
		require(o.chunk_elems && (uint64_t)o.chunk_elems / block * size <= QS_CHUNK_SIZE_MAX);
		chunks = layout || base ? 0 : (o.n_elems - 1) / o.chunk_elems + 1;
	}
	require(chunks == o.n_chunks && o.first_chunk <= index->n_chunks &&
	        o.n_chunks <= index->n_chunks - o.first_chunk);
	for (uint32_t c = 0; c < o.n_chunks; c++) {
		uint32_t chunk = qs_index_chunk_size(index, o.first_chunk + c);
		require(chunk && chunk <= QS_CHUNK_CODED_MAX);
		coded += chunk;
		(void)qs_index_chunk_checksum(index, o.first_chunk + c);
	}
	qs_index_variant(index, o.variant, &v);
	require(coded == o.coded_size && o.offset >= v.layer_offset && o.offset - v.layer_offset <= v.layer_size);
	require(o.coded_size <= v.layer_size - (o.offset - v.layer_offset));
	int codes = o.kind == QS_KIND_CODES;
	require(!codes || o.dtype == QS_I8 || o.dtype == QS_U8);
	int factors = o.kind == QS_KIND_REFINE && o.scales != QS_NONE;
	require(codes || layout || (o.rule == QS_RULE_NONE && (factors || o.scales == QS_NONE)));
	if (codes && o.rule != QS_RULE_NONE)
		check_grid(index, number, &o);
	if (base) {
		qs_file f;
		require(o.base_file < index->n_files);
		qs_index_file(index, o.base_file, &f);
		require(f.kind == QS_FILE_BASE && o.base_offset <= f.size &&
		        qs_object_bytes(&o) <= f.size - o.base_offset);
	}
	if (o.coarse == QS_NONE) {
		require(o.kind == QS_KIND_PLAIN || codes || base);
		return;
	}
	require(o.kind != QS_KIND_PLAIN && o.coarse < number);
	qs_index_object(index, o.coarse, &coarse);
	require(coarse.variant <= o.variant);
	if (layout && o.rule == QS_LAYOUT_JOINED) {
		check_joined(index, number, &o, &coarse);
		return;
	}
	if (layout && o.rule != QS_LAYOUT_BLOCKS) {
		uint32_t per_elem = 8 * size / o.bits, per_word = o.bits > 8 ? 1 : 32 / o.bits;
		int floats = o.bits > 8, packed = o.rule == QS_LAYOUT_PACKED;
		int by_columns = o.rule == QS_LAYOUT_INTERLEAVED_COLUMNS;
		int interleaved = by_columns || o.rule == QS_LAYOUT_INTERLEAVED;
		uint64_t rows = coarse.n_elems / coarse.cols;
		require(packed || interleaved || o.rule == QS_LAYOUT_TRANSPOSED);
		require(floats ? o.dtype == coarse.dtype && per_elem == 1 && !packed
		               : coarse.dtype == QS_U8 && (o.dtype == QS_I32 || (o.dtype == QS_U8 && packed)));
		require(coarse.n_elems == o.n_elems * per_elem && coarse.n_elems % coarse.cols == 0);
		require(!interleaved || (o.bits == 4 && o.dtype == QS_I32));
		if (by_columns) {
			require(rows % 8 == 0 && o.cols == rows / 8);
			return;
		}
		int along_rows = packed || interleaved;
		require(coarse.cols % per_word == 0 && (!along_rows || coarse.chunk_elems % per_word == 0));
		require(o.cols == (along_rows ? coarse.cols / per_elem : rows));
		return;
	}
	require(coarse.n_elems == o.n_elems && coarse.cols == o.cols && coarse.chunk_elems == o.chunk_elems);
	if (o.kind == QS_KIND_DELTA) {
		require(qs_delta_applies(coarse.dtype, o.dtype));
		return;
	}
	require(coarse.kind == QS_KIND_CODES && coarse.rule != QS_RULE_NONE);
	require(o.kind != QS_KIND_REFINE || o.dtype == QS_F16 || o.dtype == QS_BF16);
	if (factors)
		check_factors(index, number, &o, &coarse);
	require(!layout || (o.scales == coarse.scales && qs_rule_block(coarse.rule) == o.dtype));
}

static void check_file(const qs_index *index, uint32_t number)
{
	qs_file f, other;
	qs_index_file(index, number, &f);
	check_name(index, f.name, QS_NAME_MAX);
	check_path(f.name);
	require(f.kind < QS_FILE_KIND_COUNT && !f.variants == (f.kind == QS_FILE_BASE) &&
	        (index->n_variants == 32 || !(f.variants >> index->n_variants)));
	for (uint32_t i = 0; i < number && index->n_files < 200; i++) {
		qs_index_file(index, i, &other);
		require(!(other.variants & f.variants) || strcmp(other.name, f.name) != 0);
	}
	if (f.kind == QS_FILE_BASE)
		return;
	if (f.kind != QS_FILE_ASSEMBLED) {
		require(f.offset <= index->payload_size && f.coded_size <= index->payload_size - f.offset);
		require(f.kind != QS_FILE_STORED || f.size == f.coded_size);
		require(f.kind != QS_FILE_ZSTD || (f.size <= QS_FILE_ZSTD_MAX && f.coded_size <= QS_FILE_ZSTD_MAX));
		return;
	}
	require(f.first_extent <= index->n_extents && f.n_extents <= index->n_extents - f.first_extent);
	uint64_t sum = 0;
	for (uint32_t e = 0; e < f.n_extents; e++) {
		qs_extent x;
		qs_object o;
		qs_index_extent(index, f.first_extent + e, &x);
		require(x.object < index->n_objects && x.size);
		qs_index_object(index, x.object, &o);
		uint64_t bytes = qs_object_bytes(&o);
		require(x.offset <= bytes && x.size <= bytes - x.offset);
		/* Whoever reads the coarsest variant of the file has read the object's layer. */
		require(o.variant <= (uint32_t)__builtin_ctz(f.variants));
		sum += x.size;
		require(sum >= x.size);
	}
	require(sum == f.size);
}

static void check_tensor(const qs_index *index, uint32_t number)
{
	qs_tensor t;
	qs_file f;
	qs_object o;
	qs_index_tensor(index, number, &t);
	check_name(index, t.name, QS_TENSOR_NAME_MAX);
	require(t.file < index->n_files && t.first_dim <= index->n_dims &&
	        t.n_dims <= index->n_dims - t.first_dim);
	qs_index_file(index, t.file, &f);
	require(f.kind == QS_FILE_ASSEMBLED && t.offset <= f.size && t.size <= f.size - t.offset);
	uint64_t n = qs_block_size(t.dtype), block = qs_block_elems(t.dtype);
	int has_zero = 0;
	require(n != 0);
	for (uint32_t d = 0; d < t.n_dims; d++)
		has_zero |= !qs_index_dim(index, t.first_dim + d);
	for (uint32_t d = 0; d < t.n_dims && !has_zero; d++) {
		require(qs_index_dim(index, t.first_dim + d) <= UINT64_MAX / n);
		n *= qs_index_dim(index, t.first_dim + d);
	}
	require((has_zero ? 0 : n / block) == t.size && (has_zero || n % block == 0));
	if (t.object == QS_NONE)
		return;
	require(t.object < index->n_objects);
	qs_index_object(index, t.object, &o);
	require(qs_object_bytes(&o) == t.size);
}

/* Each stretch of chunks has a seal. Readers find stretches by themselves (read/pin.c), and rely on their
 * number. */
static void check_seals(const qs_index *index)
{
	uint32_t n = 0, layer = 0;
	uint64_t size = QS_STRETCH_SIZE;
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object o;
		qs_index_object(index, i, &o);
		size = o.variant == layer ? size : QS_STRETCH_SIZE;
		layer = o.variant;
		for (uint32_t c = o.first_chunk; c < o.first_chunk + o.n_chunks; c++) {
			if (size >= QS_STRETCH_SIZE) {
				n++;
				size = 0;
			}
			size += qs_index_chunk_size(index, c);
			require(size <= QS_STRETCH_SIZE_MAX);
		}
	}
	require(n == index->n_seals);
	for (uint32_t i = 0; i < n; i++)
		require(qs_index_seal(index, i) + QS_SEAL_BYTES <= index->body + index->body_size);
}

static void fuzz_body(const uint8_t *body, size_t size, uint64_t payload_size)
{
	qs_index index;
	qstore_status status = qs_index_open(&index, body, size, payload_size);
	require(!status || status == QSTORE_CORRUPT || status == QSTORE_LIMIT);
	if (status)
		return;
	for (uint32_t i = 0; i < index.n_variants; i++) {
		qs_variant v;
		qs_index_variant(&index, i, &v);
		check_name(&index, v.name, QS_NAME_MAX);
		check_variant_name(v.name);
		require(v.layer_offset <= payload_size && v.layer_size <= payload_size - v.layer_offset);
		require(v.coarser == QS_NONE || v.coarser < i);
	}
	for (uint32_t i = 0; i < index.n_objects; i++)
		check_object(&index, i);
	check_seals(&index);
	for (uint32_t i = 0; i < index.n_files; i++)
		check_file(&index, i);
	for (uint32_t i = 0; i < index.n_tensors; i++)
		check_tensor(&index, i);
}

static void fuzz_header(const uint8_t *src, size_t size)
{
	qs_index_header header;
	if (!qs_index_read_header(src, size, &header))
		require(header.body_size <= QS_INDEX_BODY_MAX && qs_index_payload_offset(&header) % 512 == 0);
}

/* The columns of the body that was made of columns are these columns again. */
static void check_columns(const uint8_t *columns, size_t size, const uint8_t *body)
{
	uint8_t *again = malloc(size);
	require(!!again);
	qs_index_to_columns(body, size, again);
	require(memcmp(again, columns, size) == 0);
	free(again);
}

static void fuzz_columns(const uint8_t *columns, size_t size)
{
	uint8_t *body = malloc(size + !size);
	require(!!body);
	qstore_status status = qs_index_from_columns(columns, size, body);
	require(!status || status == QSTORE_CORRUPT);
	if (!status) {
		check_columns(columns, size, body);
		fuzz_body(body, size, 1 << 20);
	}
	free(body);
}

static void fuzz_coded_body(const uint8_t *src, size_t size)
{
	if (size < 2)
		return;
	uint8_t bytes[QS_INDEX_HEADER_SIZE];
	qs_index_header header,
	    made = {.zstd_body = src[0] & 1, .body_coded_size = size - 2, .payload_size = 1 << 20};
	made.body_size = made.zstd_body ? (uint64_t)src[1] << 4 : size - 2;
	made.body_checksum = qs_checksum(src + 2, size - 2);
	qs_index_write_header(&made, bytes);
	if (qs_index_read_header(bytes, sizeof bytes, &header)) {
		require(made.body_size < QS_COUNTS_SIZE);
		return;
	}
	size_t work_size = qs_chunk_workspace_size();
	uint8_t *body = malloc(header.body_size + !header.body_size), *work = malloc(work_size),
	        *columns = malloc(header.body_size + !header.body_size);
	if (!qs_index_decode_body(&header, src + 2, size - 2, body, header.body_size, columns, work, work_size)) {
		if (header.zstd_body)
			check_columns(columns, header.body_size, body);
		fuzz_body(body, header.body_size, header.payload_size);
	}
	free(body);
	free(columns);
	free(work);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || (data[0] > 2 && size < 9))
		return 0;
	/* A copy of its own, so that the sanitizer sees any read beyond it. */
	size_t head = data[0] > 2 ? 9 : 1;
	uint8_t *copy = malloc(size - head + (size == head));
	require(!!copy);
	memcpy(copy, data + head, size - head);
	if (data[0] == 0)
		fuzz_header(copy, size - head);
	else if (data[0] == 1)
		fuzz_coded_body(copy, size - head);
	else if (data[0] == 2)
		fuzz_columns(copy, size - head);
	else
		fuzz_body(copy, size - head, qs_load64(data + 1));
	free(copy);
	return 0;
}
