/* A tensor of the packer: where its bytes come from, and how it is coded. */
#ifndef QS_PACK_TENSOR_H
#define QS_PACK_TENSOR_H

#include "source.h"

/* How a tensor is coded; the index has kinds of objects for most roles (core/index.h). */
typedef enum pack_role {
	PACK_LITERAL,  /* too small for an object of its own: among its file's literal bytes */
	PACK_PLAIN,    /* elements on their own */
	PACK_CODES,    /* codes of a matrix, alone or given `coarser_codes` */
	PACK_REFINE,   /* 16-bit floats, given `refined_codes` */
	PACK_DELTA,    /* floats, given the floats `reference` */
	PACK_BASE,     /* elements of a file of the base */
	PACK_LAYOUT,   /* bytes that are made of the elements of `content` and of their scales, or of `beside` */
	PACK_PARTS,    /* its parts, which are tensors of their own, one behind the other */
	PACK_DUPLICATE /* equal to `original`, whose object it uses */
} pack_role;

/* How the bytes of a tensor come from those of another one (view.c). */
typedef enum pack_view {
	PACK_AS_IS,
	PACK_LLM_INT8,              /* codes that LLM.int8 makes of floats; the maxima of rows are grid.scales */
	PACK_BLOCK_CODES,           /* codes of ggml's blocks */
	PACK_BLOCK_SCALES,          /* scales or records of ggml's blocks */
	PACK_BLOCK_ABSMAX,          /* the largest magnitude of each 32 16-bit floats, in the floats' type */
	PACK_WORD_CODES,            /* codes that are packed in I32, or in U8, along their rows */
	PACK_WORD_CODES_TRANSPOSED, /* codes that are packed in I32 along their columns */
	PACK_TRANSPOSED,            /* floats, with columns as rows */
	PACK_NIBBLE_CODES,          /* codes of 4 bits in AWQ's order, packed along their rows */
	PACK_NIBBLE_CODES_TRANSPOSED, /* codes of 4 bits in AWQ's order, packed along their columns */
	PACK_CAST_BF16,               /* F32 rounded to BF16 */
	PACK_CAST_F16,                /* F32 rounded to FP16 */
	PACK_Q8_0,                    /* Q8_0 blocks that are made of floats */
	PACK_Q8_0_CODES,              /* the codes of such blocks */
	PACK_Q8_0_SCALES,             /* the scales of such blocks */
	PACK_COLUMNS                  /* some neighbouring columns */
} pack_view;

/* The grid of a matrix's codes: which scale and zero point each of them has (core/grid.h). */
typedef struct pack_grid {
	uint32_t rule; /* QS_RULE_NONE: there is no grid */
	struct pack_tensor *scales, *zero_points, *order;
	uint32_t group;
	uint64_t row_stride, group_stride;
	int32_t zero_offset;
} pack_grid;

/* Matrices of fewer codes are not paired: the records of a pair in the index take more than it saves, and the
 * small tensors of a file share an object. */
#define PACK_CODES_MIN 128

/* How a tensor is coded: what match/ and make/ decide. */
typedef struct pack_coding {
	pack_role role;
	int is_needed;                     /* it stays as it is, because it is in another tensor's grid */
	int is_referenced;                 /* other tensors are coded from it, or equal to it */
	pack_grid grid;                    /* CODES with a rule */
	struct pack_tensor *coarser_codes; /* CODES, or NULL */
	struct pack_tensor *refined_codes; /* REFINE */
	struct pack_tensor *factors;       /* REFINE: of the columns, or NULL */
	struct pack_tensor *reference;     /* DELTA */
	struct pack_tensor *content;       /* LAYOUT */
	struct pack_tensor *beside;        /* LAYOUT of two matrices side by side: the right one */
	uint32_t layout_bits;              /* LAYOUT of words or transposed: bits of a code or a float */
	struct pack_tensor *original;      /* DUPLICATE */
} pack_coding;

typedef struct pack_tensor {
	const char *name; /* in its file */
	const char *full; /* the name behind that of its model, where a folder has several models */
	const char *key;  /* name of the tensor or matrix in all variants; variants are matched by it */
	uint32_t dtype, n_dims;
	const uint64_t *dims;
	uint64_t offset, size; /* bytes, in its file */

	/* Where its bytes come from */
	pack_view view;
	const pack_source *source; /* AS_IS: bytes from source_offset on */
	uint64_t source_offset;
	const struct pack_tensor *viewed; /* other views: the tensor whose bytes they are made of */
	uint32_t code_bits;               /* views of packed codes: bits of a code */
	uint64_t first_col;               /* COLUMNS: the first of them */
	struct pack_base_file *base_file; /* of a tensor of the base: the file that it is in (match/base.h) */

	/* Its relatives */
	const struct pack_tensor *owner; /* of a derived tensor: the tensor of a file that it belongs to */
	struct pack_tensor *cast;        /* of F32: the derived tensor that is its cast to 16 bits, or NULL */
	struct pack_tensor *equal;       /* the first of the tensors with the same bytes; NULL: none is known */
	struct pack_tensor *next_equal;  /* the next one of these, or NULL */
	struct pack_tensor *bytes; /* of zero points in integers of 32 or 64 bits: a copy, a byte each, or NULL */
	struct pack_tensor *transposed; /* of floats: the derived tensor with columns as rows, or NULL */
	struct pack_tensor
	    *matrix;         /* the codes that it is the file's form of: itself or a derived tensor; or NULL */
	uint32_t chunk_rows; /* rows of a chunk; 0: as many as fit */
	uint64_t cols;       /* columns; 0: those of dims */
	/* A tensor may be split into parts, neighbouring rows each (match/parts.h). Its role is PARTS when they
	 * are used. has_slices: they are of the same size, and each has a partner. */
	struct pack_tensor **parts;
	size_t n_parts;
	int has_slices;
	/* For a part, or for some of its columns: the tensor that is split, the rows and columns by which that
	 * is, and the part's first row. */
	struct pack_tensor *whole;
	uint64_t whole_rows, whole_cols, first_row;
	int has_grid;      /* codes: their grid is known, but perhaps for the rule */
	int is_transposed; /* codes: their rows are the columns of the floats that they were made of */

	pack_coding coding;

	/* Set by the plan (write/plan.c) */
	uint32_t layer;  /* variant whose layer has its object */
	uint32_t object; /* or QS_NONE */
	int is_named;    /* objects that are coded from others name its object, so it has that for itself */
	int is_joint;    /* its object has other small tensors too, */
	uint64_t object_offset; /* and its bytes are from this one on */
} pack_tensor;

/* The tensor whose elements its object is coded from or made of; NULL when it is coded on its own. */
pack_tensor *pack_builds_on(const pack_tensor *tensor);
/* The tensor whose object this one uses: itself, or the one that it is a duplicate of. */
pack_tensor *pack_coded(pack_tensor *tensor);

/* These say how a tensor is coded: they set its role and the fields that belong to it. */
void pack_set_duplicate(pack_tensor *tensor, pack_tensor *original);
void pack_set_refine(pack_tensor *fine, pack_tensor *codes);
void pack_set_delta(pack_tensor *fine, pack_tensor *reference);
void pack_set_layout(pack_tensor *tensor, pack_tensor *content, uint32_t bits);
void pack_set_codes(pack_tensor *codes, const pack_grid *grid);
/* left: some first columns of a tensor; right: the others. */
void pack_set_joined(pack_tensor *tensor, pack_tensor *left, pack_tensor *right);
void pack_set_parts(pack_tensor *tensor);

uint64_t pack_n_elems(const pack_tensor *tensor);
/* Rows and columns as chunks are laid out by: rows are what the first dimension counts, of convolutions too.
 */
uint64_t pack_rows(const pack_tensor *tensor);
uint64_t pack_cols(const pack_tensor *tensor);
/* Elements of a chunk, and the row length that chunks are laid out by. */
void pack_geometry(const pack_tensor *tensor, uint64_t *cols, uint32_t *chunk_elems);
/* Columns as the group of a grid that has one scale for each row. */
uint32_t pack_row_group(uint64_t cols);

/* Bytes [offset, offset + size) of a tensor, a whole number of elements. scratch: PACK_SCRATCH_SIZE bytes.
 * (view.c) */
qstore_status pack_tensor_read(const pack_tensor *tensor, uint8_t *dst, size_t size, uint64_t offset,
                               uint8_t *scratch, qstore_error *error);
#define PACK_SCRATCH_SIZE ((size_t)1 << 21)

#endif
