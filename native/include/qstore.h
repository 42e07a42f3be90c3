/* qstore: one archive of a model at several precisions, losslessly.
 *
 * A .qstore archive holds the files of one or more variants of a model: its INT8 version, say, its BF16
 * version and the FP32 master. The coarsest variant stands first, and each finer one is stored as what is
 * missing to rebuild it bit for bit. Every file comes back byte for byte; checksums of all its
 * bytes are checked, and its SHA-256 is in the archive.
 *
 * Functions return a qstore_status; QSTORE_OK is 0. When an `error` is given (it may be NULL) and the status
 * is not QSTORE_OK, it is filled with one line for a person that names the file, the tensor and what is
 * wrong.
 *
 * Texts are UTF-8 and zero-terminated; paths are the operating system's. Zero-initialised option structs mean
 * the defaults. Pointers inside info structs belong to the archive and live until qstore_close().
 *
 * There is no global state: distinct archives are independent, and an open archive may be read by several
 * threads at once. Callbacks are called by one thread at a time, not always the same one. No signal handlers
 * are installed; a handler of yours may set the `cancel` flag.
 *
 * Memory is about 8 MiB for each thread of work, and the index (below 0.1 % of a large model).
 *
 *     qstore_error error;
 *     qstore_pack_options pack = {.high = "model", .low = "model-int8", .output = "model.qstore"};
 *     if (qstore_pack(&pack, NULL, &error) != QSTORE_OK)
 *         fprintf(stderr, "%s\n", error.text);
 *
 *     qstore_archive *archive;
 *     qstore_unpack_options unpack = {.precision = "int8", .output = "restored"};
 *     if (qstore_open("model.qstore", &archive, &error) == QSTORE_OK) {
 *         qstore_unpack(archive, &unpack, NULL, &error);
 *         qstore_close(archive);
 *     }
 */
#ifndef QSTORE_H
#define QSTORE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is compiled with hidden visibility; what this header declares is visible. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define QSTORE_VERSION_MAJOR 0
#define QSTORE_VERSION_MINOR 1
#define QSTORE_VERSION_PATCH 0
#define QSTORE_VERSION_TEXT "0.1.0"

/* Version of the library that is linked, as QSTORE_VERSION_TEXT. */
const char *qstore_version(void);

/* The inner loops exist once in plain C and again for instruction sets: "scalar", "sse4.1", "avx2", "avx512"
 * and "neon". Each function gives such words with a space between each two, as a static string: those for
 * which this build has kernels, and those of them that this machine runs. Results are the same with all of
 * them, only the speed differs. */
const char *qstore_kernels_built(void);
const char *qstore_kernels_used(void);

/* ---- Status ---- */

#ifndef QSTORE_STATUS_DEFINED /* src/core/status.h has the same list; src/core/status.c proves it */
#define QSTORE_STATUS_DEFINED
typedef enum qstore_status {
	QSTORE_OK = 0,
	QSTORE_USAGE = 1,      /* the caller's arguments make no sense */
	QSTORE_NOT_QSTORE = 2, /* not a qstore archive */
	QSTORE_NEWER = 3,      /* made by a newer version */
	QSTORE_TRUNCATED = 4,  /* the archive ends too early; a prefix may still hold all of the coarse variant */
	QSTORE_CORRUPT = 5,    /* a checksum fails, or fields contradict each other */
	QSTORE_LIMIT = 6,      /* larger than this implementation handles */
	QSTORE_MEMORY = 7,
	QSTORE_IO = 8,         /* the operating system refused: not found, no space, no permission … */
	QSTORE_INPUT = 9,      /* a model file is not valid, or changed while it was read */
	QSTORE_MISMATCH = 10,  /* the models do not belong together, or are not given from fine to coarse */
	QSTORE_NOT_FOUND = 11, /* no such variant, file or tensor in the archive */
	QSTORE_EXISTS = 12,    /* the output exists, and `force` is not set */
	QSTORE_CANCELLED = 13, /* the cancel flag was set; nothing is left behind */
	QSTORE_OLDER = 14      /* made by an older version, whose layout is no longer read */
} qstore_status;
#endif

/* A sentence for a status; static storage, never NULL. */
const char *qstore_status_message(qstore_status status);

typedef struct qstore_error {
	qstore_status status;
	char text[1024];
} qstore_error;

/* ---- Work in progress ---- */

typedef struct qstore_progress {
	/* "quantizing", "reading", "encoding", "writing", "verifying" or "restoring": static storage */
	const char *phase;
	uint64_t done, total; /* bytes, in this phase */
} qstore_progress;

/* How long work is done. */
typedef struct qstore_work {
	unsigned threads; /* 0: one for each core. Results do not depend on it. */
	void (*on_progress)(void *user, const qstore_progress *progress); /* or NULL */
	void *user;
	/* Polled; when it is not zero the work ends with CANCELLED. Or NULL. */
	const volatile sig_atomic_t *cancel;
} qstore_work;

/* ---- Packing ---- */

typedef enum qstore_quantize {
	/* Without `low`, make an 8-bit variant: by LLM.int8()'s rule of safetensors, Q8_0 of GGUF; ONNX is stored
	 * as it is. */
	QSTORE_QUANTIZE_DEFAULT = 0,
	QSTORE_QUANTIZE_LLM_INT8 = 1, /* that of bitsandbytes: safetensors only */
	QSTORE_QUANTIZE_Q8_0 = 2,     /* that of llama.cpp: GGUF only */
	QSTORE_QUANTIZE_NONE = 3      /* store `high` alone */
} qstore_quantize;

typedef struct qstore_pack_options {
	/* The model: a folder as model hubs have it, or one file of safetensors, GGUF (the first of several) or
	 * ONNX. */
	const char *high;
	const char *low; /* its next coarser version, the same way; NULL: see `quantize` */
	/* Still coarser ones, from fine to coarse: a NULL-terminated list, or NULL. */
	const char *const *lower;
	const char *output; /* the archive. It appears, complete and verified, or not at all. */
	int force;          /* replace an existing output */
	qstore_quantize quantize;
	/* Which tensors to quantize (without `low`): NULL-terminated lists of shell patterns on whole tensor
	 * names, or NULL. By default 2-D 16-bit linear weights, not embeddings, norms or heads. `include` adds
	 * any 2-D 16-bit tensor; `exclude` wins. A pattern that no name is like is NOT_FOUND. */
	const char *const *include, *const *exclude;
	/* An earlier version of the model, or the one that it was made from, as a folder, a file or an archive:
	 * what is equal there, or close, is stored as a difference; NULL. Without `low` HIGH is stored alone
	 * then, unless `quantize` says otherwise. */
	const char *base;
	/* The variant that `high` is coded from, by name, where that is not the next coarser one; NULL. */
	const char *from;
	int compare; /* also find what each variant weighs under plain zstd: fills zstd_size below, costs time */
	qstore_work work;
} qstore_pack_options;

#define QSTORE_VARIANTS_MAX 32
#define QSTORE_RULES_MAX 8

/* Tensors whose codes were found to be made by one rule. */
typedef struct qstore_pack_rule {
	const char *name; /* as in qstore_tensor_info; static storage */
	uint64_t n_tensors, n_weights;
	uint64_t n_exceptions; /* weights that the rule gives another code */
} qstore_pack_rule;

typedef struct qstore_pack_variant {
	char name[64];          /* "int8", "bf16", …; a second one of the same precision is "int8-2" */
	uint64_t raw_size;      /* its files, as published */
	uint64_t zstd_size;     /* the same under zstd -3, chunk by chunk; 0 without `compare` */
	uint64_t download_size; /* the prefix of the archive that holds all of it */
} qstore_pack_variant;

typedef struct qstore_pack_result {
	uint64_t archive_size;
	uint64_t index_size; /* the index as stored, with its headers */
	uint32_t n_variants; /* coarse to fine */
	qstore_pack_variant variants[QSTORE_VARIANTS_MAX];
	uint64_t n_paired;       /* weight tensors that have both a coarse and a fine version */
	uint64_t paired_weights; /* their elements */
	uint64_t paired_size;    /* coded bytes of all their versions, scales included */
	uint64_t n_exceptions;   /* weights outside the cell of their code */
	uint32_t n_rules;        /* found among the paired tensors */
	qstore_pack_rule rules[QSTORE_RULES_MAX];
	uint64_t n_delta;                    /* tensors kept as differences to a coarser variant's floats */
	uint64_t delta_weights;              /* their elements */
	uint64_t delta_size;                 /* coded bytes of the differences */
	uint64_t n_equal;                    /* tensors that are the same in a coarser variant, stored once */
	uint64_t n_base_equal, n_base_delta; /* … in the base, or kept as differences to it */
	/* An INT8 variant was asked for, and no tensor was fit for it: `high` is stored alone. */
	int nothing_quantized;
} qstore_pack_result;

/* Packs a model into an archive and checks it by restoring every file from it. The same inputs give the same
 * bytes, whatever the number of threads. Temporary files stand beside the output and take about as much room
 * as it. result may be NULL. USAGE, INPUT, MISMATCH, NOT_FOUND, EXISTS, IO, MEMORY, LIMIT, CANCELLED. */
qstore_status qstore_pack(const qstore_pack_options *options, qstore_pack_result *result,
                          qstore_error *error);

/* ---- Reading ---- */

typedef struct qstore_archive qstore_archive;

/* Opens an archive, or a prefix of one, and checks its index. *archive is NULL after a failure.
 * NOT_QSTORE, NEWER, OLDER, TRUNCATED, CORRUPT, LIMIT, IO, MEMORY. */
qstore_status qstore_open(const char *path, qstore_archive **archive, qstore_error *error);
void qstore_close(qstore_archive *archive); /* NULL is allowed */

/* Archives that were packed with a base hold only what differs from it. The base is the same model again, as
 * a folder, a file or an archive: its files are found by their SHA-256. NOT_FOUND when path is not it; INPUT,
 * IO, MEMORY and what qstore_open returns. */
qstore_status qstore_set_base(qstore_archive *archive, const char *path, qstore_error *error);

typedef struct qstore_archive_info {
	uint64_t file_size;    /* of the file at hand */
	uint64_t archive_size; /* of the complete archive; larger than file_size for a prefix */
	uint64_t index_size;
	uint32_t n_variants, n_files, n_tensors;
} qstore_archive_info;

void qstore_get_info(const qstore_archive *archive, qstore_archive_info *info);

typedef struct qstore_variant_info {
	const char *name;       /* "int8", "bf16", … */
	const char *dtype;      /* that most of its weights have */
	const char *coarser;    /* the variant it refines, or NULL */
	uint64_t raw_size;      /* bytes of its files */
	uint64_t layer_size;    /* coded bytes that it adds */
	uint64_t download_size; /* the prefix of the archive that holds all of it */
	uint32_t n_files, n_tensors;
} qstore_variant_info;

/* Variants are in order, coarse to fine. number must be below n_variants; so below. */
void qstore_get_variant(const qstore_archive *archive, uint32_t number, qstore_variant_info *info);

/* The number of a variant by name; "low" is the coarsest and "high" the finest one. NOT_FOUND. */
qstore_status qstore_find_variant(const qstore_archive *archive, const char *name, uint32_t *number,
                                  qstore_error *error);

typedef struct qstore_file_info {
	const char *name;  /* relative, '/'-separated, safe to create below a folder */
	uint32_t variants; /* bit v: variant v has this file */
	uint64_t size;
	const uint8_t *sha256; /* 32 bytes */
	const char *kind; /* "stored", "zstd" (as one member of the archive), "assembled" (from coded chunks) or
	                     "base": not in the archive, of no variant */
	uint64_t coded_size; /* of the member; 0 for assembled files */
} qstore_file_info;

void qstore_get_file(const qstore_archive *archive, uint32_t number, qstore_file_info *info);

typedef struct qstore_tensor_info {
	const char *name;
	uint32_t file;     /* that it stands in */
	uint32_t variants; /* that file's variants */
	const char *dtype; /* as safetensors spells it: "BF16", "I8", … */
	uint32_t n_dims;
	uint64_t n_elems, size; /* size in bytes */
	/* "plain", "codes", "refine" (given codes), "delta" (given coarser floats), "base" (the same in the
	 * base), or "literal": kept with the file's header */
	const char *kind;
	/* Bytes in the archive; for "refine" and "delta" those that it adds. 0 for "literal". */
	uint64_t coded_size;
	/* Of codes, and of what is coded given codes: the arithmetic that these were found to be made by,
	 * "llm.int8", "multiply", "divide", "divide-half", a ggml type's name ("q8_0 (stored d)" where the scale
	 * is the block's own), or "add-half", "add" and these with "-4" (the zero point was added before
	 * rounding); else NULL */
	const char *rule;
	/* "refine": Σ(coarse − fine)² / Σ fine²: how much the coarse version loses; else 0. */
	double error;
	int shared; /* the same as in a coarser variant, whose layer holds it */
} qstore_tensor_info;

void qstore_get_tensor(const qstore_archive *archive, uint32_t number, qstore_tensor_info *info);
uint64_t qstore_get_tensor_dim(const qstore_archive *archive, uint32_t number, uint32_t dim);

#define QSTORE_BLOCKS_MAX 64 /* no chunk has more symbol blocks */

/* How one chunk is coded. Names are static storage, or belong to the archive. Words are FORMAT.md's. */
typedef struct qstore_chunk_info {
	uint32_t object;     /* its number; tensors of equal contents share one */
	const char *variant; /* whose layer has the chunk */
	const char *kind;    /* of the object: "plain", "codes", "refine" or "delta" */
	const char *dtype;   /* of its elements */
	const char *tensor;  /* a tensor that the object is; or NULL */
	const char *file;    /* where tensor is NULL: a file that has bytes of the object; or NULL */
	uint32_t chunk;      /* number within the object, from 0 */
	uint32_t n_chunks;   /* of the object */
	uint64_t n_elems;    /* of the chunk */
	uint64_t coded_size; /* bytes */
	const char *mode;    /* "ranks", "codes", "planes" … */
	uint32_t n_blocks;   /* symbol blocks; 0 where the mode has none */
	const char *blocks[QSTORE_BLOCKS_MAX]; /* their types, in order: "huffman", "ans", "raw" … */
} qstore_chunk_info;

/* For those who debug: decodes every chunk of the archive, in order, and gives `take` an info of each, which
 * is valid during the call. It stops when `take` returns 0. NOT_FOUND when the archive needs a base and has
 * none; TRUNCATED, CORRUPT (the tensor is named), IO, MEMORY. */
qstore_status qstore_each_chunk(const qstore_archive *archive,
                                int (*take)(void *user, const qstore_chunk_info *chunk), void *user,
                                qstore_error *error);

/* ---- Restoring ---- */

typedef struct qstore_unpack_options {
	/* A variant's name, "low", "high" (also NULL), or "all": each in a folder of its own. */
	const char *precision;
	const char *output; /* folder; made when it does not exist */
	int force;          /* replace existing files */
	/* NULL-terminated lists of names in which '*' stands for anything, or NULL. With `files`, only these
	 * files. With `tensors`, only tensors.safetensors, made of these tensors in the archive's order (and the
	 * files of `files`). A name that matches nothing is NOT_FOUND. */
	const char *const *files, *const *tensors;
	int sha256; /* compare each whole file with its SHA-256 too */
	qstore_work work;
} qstore_unpack_options;

typedef struct qstore_unpack_result {
	uint64_t n_files, size; /* what was restored */
} qstore_unpack_result;

/* Restores files. All bytes are checked before any file appears under its name: what each chunk decodes to
 * against its XXH3-64 in the index, small files against their SHA-256; with `sha256` all files against that.
 * result may be NULL.
 * USAGE, NOT_FOUND, EXISTS, TRUNCATED, CORRUPT (the tensor is named), INPUT (two tensors of one name for
 * tensors.safetensors), LIMIT, IO, MEMORY, CANCELLED. */
qstore_status qstore_unpack(qstore_archive *archive, const qstore_unpack_options *options,
                            qstore_unpack_result *result, qstore_error *error);

/* Checks the archive's members against its index, and restores every file of every variant without keeping
 * it, with all checksums. CORRUPT, TRUNCATED, IO, MEMORY, CANCELLED. */
qstore_status qstore_verify(qstore_archive *archive, const qstore_work *work, qstore_error *error);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
