/* The packer's own view of its inputs: files that are read or generated, and the objects they are made of. */
#ifndef QS_PACK_H
#define QS_PACK_H

#include <qstore.h>
#include <pthread.h>
#include <time.h>

#include "core/chunk.h"
#include "encode/encode.h"
#include "formats/model.h"
#include "error.h"
#include "read/archive.h"
#include "read/decode.h"
#include "container/index_build.h"
#include "os/file.h"
#include "os/pool.h"
#include "os/sha256.h"
#include "read/restore.h"

/* Something to read at an offset: an input file, or a spool. */
typedef struct pack_source {
	const char *path; /* for messages */
	int fd;           /* owned; −1: file `file` of the base, an archive */
	uint32_t file;
	int is_input; /* must not change while it is packed */
	uint64_t size;
	struct timespec mtime;
} pack_source;

typedef struct pack_segment {
	uint32_t source;
	uint64_t offset, size;
} pack_segment;

typedef enum pack_role {
	PACK_LITERAL, /* too small for an object of its own */
	PACK_PLAIN,
	PACK_CODES,
	PACK_REFINE,
	PACK_DELTA,  /* floats, given those of `coarse` */
	PACK_BASE,   /* in a file of the base */
	PACK_LAYOUT, /* made of the codes in `coarse` and of their scales */
	PACK_SHARED  /* equal to `coarse`, whose object it uses */
} pack_role;

/* How the bytes of a tensor come from those of another one (pack_parts.c). */
typedef enum pack_view {
	PACK_AS_IS,
	PACK_LLM_INT8,     /* codes that LLM.int8 makes of `of`; row maxima are in grid.scales */
	PACK_BLOCK_CODES,  /* codes of ggml's blocks */
	PACK_BLOCK_SCALES, /* the rest of these blocks */
	PACK_BLOCK_ABSMAX, /* the largest magnitude of each 32 16-bit floats, of the same type */
	PACK_WORD_CODES,   /* codes packed in I32, or in U8, along their rows */
	PACK_WORD_CODES_T, /* … along their columns */
	PACK_TURNED,       /* floats, their columns as rows */
	PACK_NIBBLES,      /* codes of 4 bits in AWQ's order, packed along their rows */
	PACK_NIBBLES_T,    /* … along their columns */
	PACK_CAST_BF16,    /* F32 rounded to BF16 */
	PACK_Q8_0,         /* floats quantized to Q8_0's blocks … */
	PACK_Q8_0_CODES,   /* … their codes … */
	PACK_Q8_0_SCALES   /* … and their scales */
} pack_view;

/* Which scale each of a matrix's codes has (core/grid.h). */
typedef struct pack_grid {
	uint32_t rule; /* QS_RULE_NONE: there is no grid */
	struct pack_tensor *scales, *zeros, *order;
	uint32_t group;
	uint64_t row_stride, group_stride;
	int32_t zero_offset;
} pack_grid;

typedef struct pack_tensor {
	const char *name;
	uint32_t dtype, n_dims;
	const uint64_t *dims;
	uint64_t offset, size; /* in its file */
	pack_role role;
	uint32_t source; /* where its bytes are … */
	uint64_t source_offset;
	pack_view view; /* … or how they come from those of `of` */
	const struct pack_tensor *of;
	uint32_t bits;             /* of a packed code; LAYOUT of packed codes or turned floats too */
	struct pack_tensor *codes; /* of the matrix that this is the file's form of: itself, a part, or NULL */
	int is_needed;             /* as it is, by another's grid */
	int has_grid;              /* codes: their grid is known, but perhaps for the rule */
	int is_turned;             /* codes: their rows are the columns of the floats that they were made of */
	const char *full;          /* the name, after that of its model where a folder has several */
	const char *key;           /* name of the matrix or tensor in all variants */
	uint64_t base_rank;        /* BASE: of its file */
	uint32_t base_file;        /* BASE: of the packer's bases */
	const struct pack_tensor *owner; /* of a part: the tensor that stands in a file */
	uint32_t layer;                  /* variant whose layer has its object */
	struct pack_tensor *coarse;      /* REFINE, SHARED, DELTA and LAYOUT; CODES given coarser ones, or NULL */
	pack_grid grid;                  /* CODES with a rule */
	struct pack_tensor *factors;     /* REFINE: of the columns, or NULL */
	struct pack_tensor *cast;        /* of F32: it in BF16, once that has been asked for */
	struct pack_tensor *turned;      /* of floats: with columns as rows, the same */
	uint32_t object;                 /* or QS_NONE */
} pack_tensor;

/* Bytes of a file as it was read. */
typedef struct pack_piece {
	uint64_t offset, checksum;
	uint32_t size;
} pack_piece;

/* A file that is made of objects. */
typedef struct pack_file {
	const char *name, *path;    /* path: for messages */
	const qs_model_file *input; /* NULL: made by the packer */
	uint32_t variants;
	uint64_t size;
	pack_segment gaps; /* what is not in a tensor is at gaps.offset + its place */
	int is_padded;     /* … but behind gaps.size it is zeros, which are at `padding` in the same source */
	uint64_t padding;
	size_t n_tensors;
	pack_tensor *tensors; /* in order of offset; owned */
	uint32_t literal;     /* object, or QS_NONE */
	uint32_t number;      /* of its record */
	pack_piece *pieces;   /* that it is restored in, in order; owned */
	size_t n_pieces;
} pack_file;

/* A file of the base. */
typedef struct pack_base_file {
	const char *name;
	uint64_t size;
	uint64_t rank; /* of equal tensors, that of the highest is referred to */
	uint8_t sha256[32];
	uint32_t source;
	int used;        /* objects are part of it */
	uint32_t number; /* of its record */
	size_t n_tensors;
	pack_tensor *tensors; /* owned */
} pack_base_file;

/* A file that is one member of the archive. */
typedef struct pack_small {
	const char *name, *path;
	char *member; /* its name in the archive; owned */
	uint32_t variants, source;
	uint64_t source_offset, size;
	uint32_t kind;
	uint64_t spool_offset, coded_size;
	uint64_t zstd_size;
	uint8_t sha256[32];
} pack_small;

/* Over the elements of a refined chunk: Σ(coarse − fine)², Σ fine² and Σ coarse². */
typedef struct pack_sums {
	double errors, squares, coarse_squares;
	uint64_t n;
} pack_sums;
typedef struct pack_object {
	size_t first_segment, n_segments;
	pack_tensor *tensor; /* NULL for literals */
	uint32_t variants;   /* that use it */
	pack_sums sums;
	uint64_t n_exceptions;
} pack_object;

typedef struct packer {
	const qstore_pack_options *options;
	qstore_pack_result result;
	qstore_progress progress;
	pthread_mutex_t progress_lock;

	/* Variants, coarse to fine; the one that the packer makes itself has no model. */
	qs_model models[QS_VARIANTS_MAX];
	const char *names[QS_VARIANTS_MAX];
	uint32_t dtypes[QS_VARIANTS_MAX];
	uint32_t high_number;     /* the finest */
	uint32_t from;            /* that the finest builds on, when asked */
	int made_low;             /* variant 0 is made by the packer … */
	qstore_quantize quantize; /* … by this rule */

	pack_source *sources;
	size_t n_sources;
	uint32_t generated; /* source: spool of what the packer makes itself */
	uint64_t generated_size;
	int small_fd, layer_fd; /* spools: members of small files, then layers */

	pack_file *files;
	size_t n_files;
	pack_small *smalls;
	size_t n_smalls;
	pack_segment *segments;
	size_t n_segments;
	pack_object *objects; /* one for each of the builder's */
	qs_model base;        /* or … */
	qstore_archive *base_archive;
	qs_decoder *base_decoder; /* one for all threads: */
	pthread_mutex_t base_lock;
	pack_base_file *bases;
	size_t n_bases;
	qs_weights *planned; /* files that were made */
	size_t n_planned;
	char **texts; /* names that were made */
	size_t n_texts;
	struct pack_part **parts; /* tensors that stand in no file */
	size_t n_parts;

	qs_index_builder builder;
} packer;

/* Helpers (pack_source.c) */
qstore_status pack_no_memory(qs_error *error);
int pack_is_cancelled(const packer *p);
void pack_phase(packer *p, const char *phase, uint64_t total);
void pack_advance(packer *p, uint64_t bytes);
qstore_status pack_add_source(packer *p, const char *path, uint64_t size, uint32_t *number, qs_error *error);
qstore_status pack_add_base_source(packer *p, uint32_t file, uint64_t size, uint32_t *number,
                                   qs_error *error);
qstore_status pack_read(const packer *p, uint32_t source, void *dst, size_t size, uint64_t offset,
                        qs_error *error);
qstore_status pack_check_sources(const packer *p, qs_error *error);
/* Where the byte at `at` of a file, which no tensor has, and those behind it are read. */
uint64_t pack_gap_offset(const pack_file *file, uint64_t at);
/* Appends to the spool of generated bytes. */
qstore_status pack_generate(packer *p, const void *src, size_t size, uint64_t *offset, qs_error *error);
/* Keeps a malloc'd text (NULL: out of memory) until the packer is freed. */
const char *pack_keep(packer *p, char *text);
qstore_status pack_add_file(packer *p, pack_file **added, qs_error *error);
qstore_status pack_add_small(packer *p, pack_small **added, qs_error *error);
/* Reading that is not from a file; see pack_base.c. */
qstore_status pack_base_read(const packer *p, uint32_t file, void *dst, size_t size, uint64_t offset,
                             qs_error *error);
/* Does coding a piece of the middle chunk of `fine` as the difference to `coarse` save 2 %? */
qstore_status pack_delta_pays(const packer *p, qs_encoder *encoder, const pack_tensor *fine,
                              const pack_tensor *coarse, int *pays, qs_error *error);
qstore_status pack_same_bytes(const packer *p, const pack_tensor *a, const pack_tensor *b, uint8_t *buffer,
                              int *same, qs_error *error);
/* A tensor that stands in no file: rows × cols elements seen in `of`, plain until its role is set; NULL when
 * out of memory. */
pack_tensor *pack_add_part(packer *p, const pack_tensor *of, pack_view view, uint32_t dtype, uint64_t rows,
                           uint64_t cols);
/* The same of n elements that are nowhere else: a copy of them is kept. */
qstore_status pack_make_part(packer *p, const pack_tensor *of, uint32_t dtype, const uint8_t *elems,
                             uint64_t n, pack_tensor **made, qs_error *error);
pack_tensor *pack_part_tensor(const packer *p, size_t number);
/* Parts are in the layers of their owners. */
void pack_set_layers(packer *p);
/* Columns as the group of a grid with one scale a row. */
uint32_t pack_group(uint64_t cols);
/* Makes a tensor codes with this grid. */
void pack_use_grid(pack_tensor *codes, const pack_grid *grid);
/* The tensor whose object this one uses: itself, or what it is equal to. */
pack_tensor *pack_stored(pack_tensor *tensor);
/* Rows and columns of a tensor as chunks are laid out by. */
uint64_t pack_rows(const pack_tensor *tensor);
uint64_t pack_cols(const pack_tensor *tensor);
/* Bytes [offset, offset + size) of a tensor, a whole number of elements. scratch: PACK_SCRATCH_SIZE bytes. */
qstore_status pack_tensor_read(const packer *p, const pack_tensor *tensor, uint8_t *dst, size_t size,
                               uint64_t offset, uint8_t *scratch, qs_error *error);
#define PACK_SCRATCH_SIZE ((size_t)1 << 21)
/* Elements of a chunk, and the row length that chunks are laid out by. */
void pack_geometry(const pack_tensor *tensor, uint64_t *cols, uint32_t *chunk_elems);
uint64_t pack_n_elems(const pack_tensor *tensor);
/* Memory for the part of a grid that a chunk needs; zeroed at first. */
typedef struct pack_grid_memory {
	uint8_t *scales, *zeros, *order, *factors;
	size_t scales_cap, zeros_cap, order_cap, factors_cap;
} pack_grid_memory;
void pack_grid_free(pack_grid_memory *memory);
/* The grid of codes, as far as elements [first, first + n) of a matrix with `cols` columns need it. */
qstore_status pack_load_grid(const packer *p, const pack_grid *grid, uint32_t codes_dtype, uint64_t cols,
                             uint64_t first, uint64_t n, pack_grid_memory *memory, uint8_t *scratch,
                             qs_grid *loaded, qs_error *error);
/* The factors of a refined tensor's columns, where it has some, into desc. */
qstore_status pack_load_factors(const packer *p, const pack_tensor *fine, pack_grid_memory *memory,
                                uint8_t *scratch, qs_chunk_desc *desc, qs_error *error);
void pack_add_sums(const qs_chunk_desc *desc, const uint8_t *fine, pack_sums *sums);
/* Whether codes with these sums can belong to their values at all. */
int pack_alike(const pack_sums *sums);
/* The square of their correlation; 0 when it is negative. */
double pack_correlation(const pack_sums *sums);

/* The tensors of a variant or a file, sorted by name or by key. */
typedef struct pack_map {
	pack_tensor **tensors; /* the caller frees it */
	size_t n_tensors;
	int by_key;
} pack_map;
int pack_map_make(const packer *p, uint32_t variant, int by_key, pack_map *map); /* 0: out of memory */
int pack_map_of_file(const pack_file *file, pack_map *map);                      /* likewise, by name */
pack_tensor *pack_map_find(const pack_map *map, const char *name);
size_t pack_map_first(const pack_map *map, const char *name); /* that is not before name */

/* Steps, in order */
/* pack_pair.c: matches each variant's tensors with coarser ones */
qstore_status pack_pair(packer *p, qs_error *error);
/* pack_matrix.c: finds the matrices whose codes are packed or stand in blocks, gives every tensor its key */
qstore_status pack_matrices(packer *p, qs_error *error);
/* pack_quantize.c: or makes LOW; clears made_low when it cannot. pack_q8_0.c: the same of GGUF */
qstore_status pack_quantize(packer *p, qs_error *error);
qstore_status pack_quantize_q8_0(packer *p, qs_error *error);
/* pack_config.c: LOW's config.json; *made is 0 where HIGH's is no JSON object, and both keep it */
qstore_status pack_make_config(packer *p, const qs_model_file *original, int *made, qs_error *error);
/* pack_base.c: finds tensors that are the same in the base, or close to what it has */
qstore_status pack_base(packer *p, qs_error *error);
void pack_base_free(packer *p);
/* pack_hash.c: SHA-256 of small files, and these into their spool */
qstore_status pack_hash(packer *p, qs_error *error);
/* pack_plan.c: objects, chunks, the index */
qstore_status pack_plan(packer *p, qs_error *error);
/* pack_encode.c: chunks into the spool of layers, checksums of all parts, SHA-256 of all other files */
qstore_status pack_encode(packer *p, qs_error *error);
/* pack_write.c: the archive, from the spools; then all files are restored from it and compared */
qstore_status pack_write(packer *p, int fd, qs_error *error);
qstore_status pack_check(packer *p, int fd, const char *temp_path, qs_error *error);

/* pack_files.c. Bytes [offset, offset + size) of a file as it will be restored. */
qstore_status pack_file_read(const packer *p, const pack_file *file, uint8_t *dst, size_t size,
                             uint64_t offset, uint8_t *scratch, qs_error *error);
/* SHA-256 of file `number`, into the index, and the checksums of its pieces. buffer: QS_CHUNK_SIZE_MAX bytes.
 */
qstore_status pack_hash_file(packer *p, size_t number, uint8_t *buffer, uint8_t *scratch, qs_error *error);
/* Is a piece of a restored file as it was read? user: the packer, when all files are hashed. */
qs_piece_check pack_check_piece;

#endif
