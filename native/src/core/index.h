/* The index: the archive's first member, all that is needed to plan reads (FORMAT.md, "Index").
 *
 * The decompressed body is a fixed sequence of arrays of fixed-size little-endian records. qs_index_open()
 * checks every field once, so that later reads need no checks; JavaScript reads the same validated bytes. */
#ifndef QS_INDEX_H
#define QS_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define QS_FORMAT_MAJOR 1
#define QS_FORMAT_MINOR 0
#define QS_FORMAT_DRAFT 1   /* the layout that this version 1.0 has until it is released */
#define QS_NONE 0xffffffffu /* "no object", "no coarser variant" */
#define QS_INDEX_HEADER_SIZE 64
#define QS_INDEX_OFFSET 512 /* of the header in the archive file: after one tar header block */
#define QS_INDEX_BODY_MAX (1u << 30)

/* Sizes in the file stay well below 2^63, so that sums of two never wrap. */
#define QS_SIZE_LIMIT ((uint64_t)1 << 62)
#define QS_CHUNK_SIZE_MAX (1u << 20) /* decoded bytes of one chunk */
#define QS_CHUNK_CODED_MAX (QS_CHUNK_SIZE_MAX + 256)
#define QS_FILE_ZSTD_MAX (1u << 26) /* bytes of a file that is kept as one zstd frame, and of the frame */
#define QS_VARIANTS_MAX 32
/* Elements of a matrix that a reader has to hold as a whole to restore a transposed layout. */
#define QS_TRANSPOSED_MAX (1u << 30)
#define QS_NAME_MAX 1023 /* bytes of a file's name */
#define QS_TENSOR_NAME_MAX 4095

/* Element types. Sizes in bits; names as safetensors spells them. */
#define QS_DTYPE_LIST(X)                                                                                     \
	X(BYTES, 0, 8, "bytes")                                                                                  \
	X(BOOL, 1, 8, "BOOL")                                                                                    \
	X(U8, 2, 8, "U8")                                                                                        \
	X(I8, 3, 8, "I8")                                                                                        \
	X(F8_E4M3, 4, 8, "F8_E4M3")                                                                              \
	X(F8_E5M2, 5, 8, "F8_E5M2")                                                                              \
	X(U16, 6, 16, "U16")                                                                                     \
	X(I16, 7, 16, "I16")                                                                                     \
	X(F16, 8, 16, "F16")                                                                                     \
	X(BF16, 9, 16, "BF16")                                                                                   \
	X(U32, 10, 32, "U32")                                                                                    \
	X(I32, 11, 32, "I32")                                                                                    \
	X(F32, 12, 32, "F32")                                                                                    \
	X(U64, 13, 64, "U64")                                                                                    \
	X(I64, 14, 64, "I64")                                                                                    \
	X(F64, 15, 64, "F64")                                                                                    \
	X(C64, 16, 64, "C64")                                                                                    \
	X(F8_E8M0, 17, 8, "F8_E8M0")

/* Types whose elements stand in blocks (ggml's quantized ones): the elements and the bytes of a block. Names
 * as ggml spells them (ggml-common.h, gguf-py constants.py). Tensors and layout objects have them, others
 * not. */
#define QS_BLOCK_LIST(X)                                                                                     \
	X(Q4_0, 18, 32, 18, "Q4_0")                                                                              \
	X(Q4_1, 19, 32, 20, "Q4_1")                                                                              \
	X(Q5_0, 20, 32, 22, "Q5_0")                                                                              \
	X(Q5_1, 21, 32, 24, "Q5_1")                                                                              \
	X(Q8_0, 22, 32, 34, "Q8_0")                                                                              \
	X(Q8_1, 23, 32, 36, "Q8_1")                                                                              \
	X(Q2_K, 24, 256, 84, "Q2_K")                                                                             \
	X(Q3_K, 25, 256, 110, "Q3_K")                                                                            \
	X(Q4_K, 26, 256, 144, "Q4_K")                                                                            \
	X(Q5_K, 27, 256, 176, "Q5_K")                                                                            \
	X(Q6_K, 28, 256, 210, "Q6_K")                                                                            \
	X(Q8_K, 29, 256, 292, "Q8_K")                                                                            \
	X(IQ2_XXS, 30, 256, 66, "IQ2_XXS")                                                                       \
	X(IQ2_XS, 31, 256, 74, "IQ2_XS")                                                                         \
	X(IQ3_XXS, 32, 256, 98, "IQ3_XXS")                                                                       \
	X(IQ1_S, 33, 256, 50, "IQ1_S")                                                                           \
	X(IQ4_NL, 34, 32, 18, "IQ4_NL")                                                                          \
	X(IQ3_S, 35, 256, 110, "IQ3_S")                                                                          \
	X(IQ2_S, 36, 256, 82, "IQ2_S")                                                                           \
	X(IQ4_XS, 37, 256, 136, "IQ4_XS")                                                                        \
	X(IQ1_M, 38, 256, 56, "IQ1_M")                                                                           \
	X(TQ1_0, 39, 256, 54, "TQ1_0")                                                                           \
	X(TQ2_0, 40, 256, 66, "TQ2_0")                                                                           \
	X(MXFP4, 41, 32, 17, "MXFP4")                                                                            \
	X(U4, 42, 2, 1, "U4")                                                                                    \
	X(I4, 43, 2, 1, "I4")

typedef enum qs_dtype {
#define QS_DTYPE_ENUM(name, value, ...) QS_##name = value,
	QS_DTYPE_LIST(QS_DTYPE_ENUM) QS_BLOCK_LIST(QS_DTYPE_ENUM)
#undef QS_DTYPE_ENUM
	    QS_DTYPE_COUNT
} qs_dtype;

const char *qs_dtype_name(uint32_t dtype);     /* NULL when unknown */
uint32_t qs_dtype_size(uint32_t dtype);        /* bytes of one element, 0 when unknown or in blocks */
uint32_t qs_dtype_from_name(const char *name); /* QS_DTYPE_COUNT when unknown */

/* The floats that quantizers take, and that their scales are in. */
static inline int qs_dtype_is_float(uint32_t dtype)
{
	return dtype == QS_F32 || dtype == QS_F16 || dtype == QS_BF16;
}

/* The elements and bytes of a block of this type, 1 and its size when it has none; 0 when unknown. */
uint32_t qs_block_elems(uint32_t dtype);
uint32_t qs_block_size(uint32_t dtype);

/* How an object's chunks are coded (FORMAT.md, "Chunks"). */
enum {
	QS_KIND_PLAIN = 0,  /* elements on their own */
	QS_KIND_CODES = 1,  /* I8 or U8 codes of a matrix of `cols` columns, alone or given coarser codes */
	QS_KIND_REFINE = 2, /* F16 or BF16 elements, given the codes in `coarse` */
	QS_KIND_DELTA = 3,  /* floats, given coarser values of the same elements in `coarse` */
	QS_KIND_LAYOUT =
	    4, /* no chunks of its own: a format's bytes, from the codes in `coarse` and their scales */
	QS_KIND_BASE = 5, /* no chunks of its own: elements of a file of another model, the base */
	QS_KIND_COUNT
};

/* The arithmetic that made codes from values (FORMAT.md, "Rules"). */
enum {
	QS_RULE_NONE = 0,
	QS_RULE_LLM_INT8 = 1, /* cast to FP16, times 127 / scale: the scale is the row's absmax */
	QS_RULE_MULTIPLY = 2, /* times 1 / scale */
	QS_RULE_DIVIDE = 3,   /* divided by the scale */
	QS_RULE_DIVIDE_HALF =
	    4, /* divided, the quotient rounded to the values' type before it is rounded to a code */
	/* ggml's blocks (ggml-quants.c, quantize_row_*_ref); scales are what their blocks hold. */
	QS_RULE_Q8_0 = 5,   /* scales: the blocks' absmax, which their d is made from */
	QS_RULE_Q8_0_D = 6, /* scales: d */
	QS_RULE_Q4_0 = 7,
	QS_RULE_Q5_0 = 8,
	QS_RULE_Q4_1 = 9,
	QS_RULE_Q5_1 = 10,
	QS_RULE_Q4_K = 11,
	QS_RULE_Q5_K = 12,
	QS_RULE_Q6_K = 13,
	/* Divided, then the zero point added, then rounded to a code; in half precision quotient and sum are
	 * rounded to the values' type. Codes of 8 and of 4 bits. */
	QS_RULE_ADD_HALF = 14,
	QS_RULE_ADD_HALF_4 = 15,
	QS_RULE_ADD = 16,
	QS_RULE_ADD_4 = 17,
	QS_RULE_COUNT
};

/* How a layout object's bytes are made (FORMAT.md, "Layouts"). */
enum {
	QS_LAYOUT_BLOCKS = 1,      /* ggml's blocks of the object's dtype, of codes and scales */
	QS_LAYOUT_PACKED = 2,      /* codes of 4 or 8 bits in I32, or of 4 in U8, along the rows */
	QS_LAYOUT_TRANSPOSED = 3,  /* the same in I32 along the columns: of a matrix of rows × cols, [cols / per
	                              word, rows]; or floats: rows become columns */
	QS_LAYOUT_INTERLEAVED = 4, /* as PACKED in I32, 4 bits in AWQ's order of nibbles */
	QS_LAYOUT_INTERLEAVED_COLUMNS = 5, /* the same of 8 codes below one another, column by column */
	QS_LAYOUT_COUNT
};

/* How a file is kept. */
enum {
	QS_FILE_STORED = 0,    /* one tar member, verbatim */
	QS_FILE_ZSTD = 1,      /* one tar member, one zstd frame */
	QS_FILE_ASSEMBLED = 2, /* a sequence of extents of objects */
	QS_FILE_BASE = 3,      /* not here: a file of another model, which objects of kind BASE are part of */
	QS_FILE_KIND_COUNT
};

typedef struct qs_index_header {
	uint32_t zstd_body;
	uint64_t body_coded_size, body_size, body_checksum, payload_size;
} qs_index_header;

/* Reads the 64 bytes at QS_INDEX_OFFSET. NOT_QSTORE, NEWER, OLDER, TRUNCATED, CORRUPT, LIMIT. */
qstore_status qs_index_read_header(const uint8_t *src, size_t src_size, qs_index_header *out);
void qs_index_write_header(const qs_index_header *header, uint8_t dst[QS_INDEX_HEADER_SIZE]);

/* Offset in the archive file of the payload, which all offsets below are relative to. */
uint64_t qs_index_payload_offset(const qs_index_header *header);

/* Checks the coded body against its checksum and decompresses it into dst (header->body_size bytes).
 * work: qs_chunk_workspace_size() bytes. */
qstore_status qs_index_decode_body(const qs_index_header *header, const uint8_t *src, size_t src_size,
                                   uint8_t *dst, size_t dst_size, void *work, size_t work_size);

/* A validated view of a body. Pointers are into the body, which the caller keeps. */
typedef struct qs_index {
	const uint8_t *body;
	size_t body_size;
	uint64_t payload_size;
	uint32_t n_variants, n_files, n_extents, n_tensors, n_objects, n_chunks, n_dims, strings_size, n_parts;
	size_t variants, files, extents, tensors, objects, checksums, parts, sizes, dims,
	    strings; /* byte offsets */
} qs_index;

/* CORRUPT when anything at all is out of bounds or inconsistent. */
qstore_status qs_index_open(qs_index *index, const uint8_t *body, size_t body_size, uint64_t payload_size);

/* Record sizes in bytes; layouts in FORMAT.md and index.c, which are kept in step. */
enum {
	QS_COUNTS_SIZE = 64,
	QS_VARIANT_SIZE = 64,
	QS_FILE_SIZE = 80,
	QS_EXTENT_SIZE = 24,
	QS_TENSOR_SIZE = 40,
	QS_OBJECT_SIZE = 96
};

typedef struct qs_variant {
	const char *name;                  /* "int8", "bf16", … */
	uint32_t dtype;                    /* of its modelled weights */
	uint32_t coarser;                  /* the variant its refinement builds on, or QS_NONE */
	uint64_t layer_offset, layer_size; /* payload-relative */
	uint64_t raw_size;                 /* bytes of its files, restored */
} qs_variant;

typedef struct qs_file {
	const char *name;  /* relative, '/'-separated, safe to create below a folder */
	uint32_t variants; /* bit v: variant v has this file */
	uint32_t kind;
	uint64_t size;
	const uint8_t *sha256;            /* 32 bytes */
	uint32_t first_extent, n_extents; /* ASSEMBLED */
	uint64_t offset, coded_size;      /* STORED, ZSTD: payload-relative place of the member's data */
} qs_file;

typedef struct qs_extent {
	uint32_t object;
	uint64_t offset, size; /* bytes of the object's decoded data */
} qs_extent;

typedef struct qs_tensor {
	const char *name;
	uint32_t file, dtype, first_dim, n_dims;
	uint32_t object;       /* that holds exactly this tensor, or QS_NONE */
	uint64_t offset, size; /* bytes, in the restored file */
} qs_tensor;

typedef struct qs_object {
	uint32_t kind, dtype, variant, rule;
	uint32_t coarse, scales; /* objects, or QS_NONE; REFINE: scales are factors of the columns */
	float error;             /* REFINE: |coarse − fine|² / |fine|², else 0 */
	uint64_t n_elems, cols;
	uint32_t chunk_elems, first_chunk, n_chunks;
	uint64_t offset, coded_size; /* payload-relative; its chunks stand one after the other */
	/* CODES with a rule: their grid (grid.h) */
	uint32_t zeros, order; /* objects, or QS_NONE */
	uint32_t group;        /* LAYOUT, not of blocks: bits of a code, or of a float; BASE: the file */
	int32_t zero_offset;
	uint64_t row_stride, group_stride; /* BASE: row_stride is the offset in the file, in bytes */
	uint32_t first_part; /* its parts are what a chunk decodes to, also where there are no chunks */
} qs_object;

/* Is the file one member of the archive? */
static inline int qs_file_is_member(const qs_file *file)
{
	return file->kind == QS_FILE_STORED || file->kind == QS_FILE_ZSTD;
}

/* Bytes of the object, decoded. */
uint64_t qs_object_bytes(const qs_object *object);

/* Bytes of each of its parts but the last one. */
uint64_t qs_part_bytes(const qs_object *object);

/* Its parts: chunk_elems elements each, but for the last one. */
static inline uint64_t qs_object_n_parts(const qs_object *object)
{
	return object->n_elems / object->chunk_elems + (object->n_elems % object->chunk_elems != 0);
}

/* The layouts' type of block that a rule's codes stand in, QS_BYTES when in none. */
uint32_t qs_rule_block(uint32_t rule);

/* Record i of an array, as it stands in the body. */
static inline const uint8_t *qs_index_record(const qs_index *index, size_t array, uint32_t i, size_t size)
{
	return index->body + array + (size_t)i * size;
}

/* i must be below the index's count. */
void qs_index_variant(const qs_index *index, uint32_t i, qs_variant *out);
void qs_index_file(const qs_index *index, uint32_t i, qs_file *out);
void qs_index_extent(const qs_index *index, uint32_t i, qs_extent *out);
void qs_index_tensor(const qs_index *index, uint32_t i, qs_tensor *out);
void qs_index_object(const qs_index *index, uint32_t i, qs_object *out);
uint64_t qs_index_dim(const qs_index *index, uint32_t i);
uint32_t qs_index_chunk_size(const qs_index *index, uint32_t i);
uint64_t qs_index_chunk_checksum(const qs_index *index, uint32_t i); /* of its coded bytes */
uint64_t qs_index_part_checksum(const qs_index *index, uint32_t i);  /* of its bytes */

/* True when name may be created below an output folder: relative, no "." or ".." part, no empty part, no
 * backslash, no control character, no colon, well-formed UTF-8, at most QS_NAME_MAX bytes. */
int qs_path_is_safe(const char *name);

#endif
