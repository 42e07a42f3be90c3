/* qstore: one archive of a model at several precisions, losslessly.
 *
 * A .qstore archive holds the files of one or more variants of a model: for example its INT8 version, its
 * BF16 version and the FP32 master. The coarsest variant comes first. Each finer one is stored as the bits
 * that are missing to rebuild it from the coarser one. Every file is restored byte for byte; the archive has
 * checksums of all bytes, which are compared, and the SHA-256 of each file.
 *
 * Errors. Functions that can fail return a qstore_status; QSTORE_OK is 0, so `if (status)` means failure.
 * They take a pointer to a qstore_error, which may be NULL. After a failure it has the status and one line
 * for a person: what is wrong with which file and tensor, and what to do. After success its text is empty.
 *
 * Texts are UTF-8 and end with a zero byte; paths are those of the operating system. Option structs that are
 * all zero mean the defaults. Their first field, struct_size, tells the library which fields the program
 * knows: set it to the struct's sizeof, so that a program built with this header goes on to work with later
 * libraries, whose structs have more fields. 0 stands for the fields of version 0.1. Structs that the library
 * fills do not grow. Sizes are in bytes unless a comment says otherwise. Pointers that are passed are not
 * NULL unless a comment allows it.
 *
 * Ownership. Options and paths belong to the caller and are needed only during the call. Pointers in info
 * structs belong to the archive and are valid until qstore_close(); "static" names are valid for ever.
 *
 * Threads. There is no global state: distinct archives are independent, and several threads may read one open
 * archive at once, but not while another calls qstore_pin(), qstore_set_base() or qstore_close() on it. Work
 * is done on threads of its own (qstore_work), which have ended when the function returns. Callbacks are
 * called by one thread at a time, but not always by the same one. No signal handlers are installed; a handler
 * of yours may set the `cancel` flag.
 *
 * Memory is about 8 MiB for each thread of work, and the index (below 0.1 % of a large model).
 *
 * Example. native/examples has programs that are tested.
 *
 *     qstore_archive *archive;
 *     qstore_error error;
 *     if (qstore_open("model.qstore", &archive, &error)) {
 *         fprintf(stderr, "%s\n", error.text);
 *         return 1;
 *     }
 *     qstore_unpack_options options = {.struct_size = sizeof(options)};
 *     options.precision = "int8";
 *     options.output = "restored";
 *     if (qstore_unpack(archive, &options, NULL, &error))
 *         fprintf(stderr, "%s\n", error.text);
 *     qstore_close(archive);
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

/* The version of the library that is linked, written like QSTORE_VERSION_TEXT. Static. */
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
	QSTORE_TRUNCATED = 4,  /* the archive ends too early; a coarser variant may still be complete in it */
	QSTORE_CORRUPT = 5,    /* a checksum fails, or fields contradict each other */
	QSTORE_LIMIT = 6,      /* larger than this implementation handles */
	QSTORE_MEMORY = 7,     /* out of memory */
	QSTORE_IO = 8,         /* the operating system refused: not found, no space, no permission … */
	QSTORE_INPUT = 9,      /* a model file is not valid, or changed while it was read */
	QSTORE_MISMATCH = 10,  /* the models do not belong together, or are not given from fine to coarse */
	QSTORE_NOT_FOUND = 11, /* no such variant, file or tensor in the archive */
	QSTORE_EXISTS = 12,    /* the output exists, and `force` is not set */
	QSTORE_CANCELLED = 13, /* the cancel flag was set; nothing is left behind */
	QSTORE_OLDER = 14,     /* made by an older version, whose layout is no longer read */
	QSTORE_INTEGRITY = 15  /* bytes that are not those of the digest (qstore_pin) */
} qstore_status;
#endif

/* A few words for a status. Static; never NULL, also for numbers that are no status. */
const char *qstore_status_message(qstore_status status);

typedef struct qstore_error {
	qstore_status status;
	char text[1024]; /* one line for a person, without control characters; "" when nothing is wrong */
} qstore_error;

/* ---- Work in progress ---- */

typedef struct qstore_progress {
	/* "quantizing", "reading", "encoding", "writing", "verifying" or "restoring". Static, and the same
	 * pointer throughout a phase. */
	const char *phase;
	uint64_t done, total; /* bytes of this phase */
} qstore_progress;

/* How work is done that takes long. */
typedef struct qstore_work {
	unsigned threads; /* 0: one for each core. Results do not depend on the number. */
	/* Called after each piece of work, by one thread at a time; progress is valid during the call. Or NULL.
	 */
	void (*on_progress)(void *user, const qstore_progress *progress);
	/* Called with one line about something that is not as it should be, with which the work goes on: what it
	 * is, in which file, and what is done about it. Or NULL. */
	void (*on_warning)(void *user, const char *text);
	void *user; /* passed to both */
	/* It is read often; once it is not zero, the work ends with QSTORE_CANCELLED and leaves nothing behind.
	 * Signal handlers may set it plainly; callbacks and other threads set it atomically (__atomic_store_n).
	 * Or NULL. */
	const volatile sig_atomic_t *cancel;
	/* Room for later fields, since other structs contain this one, which therefore has no struct_size; 0. */
	void *reserved[4];
} qstore_work;

/* ---- Packing ---- */

typedef enum qstore_quantize {
	/* Without `low`, an 8-bit variant is made: of safetensors by LLM.int8's rule, of GGUF by Q8_0's. ONNX is
	 * stored as it is. */
	QSTORE_QUANTIZE_DEFAULT = 0,
	QSTORE_QUANTIZE_LLM_INT8 = 1, /* as bitsandbytes does it; safetensors only */
	QSTORE_QUANTIZE_Q8_0 = 2,     /* as llama.cpp does it; GGUF only */
	QSTORE_QUANTIZE_NONE = 3      /* `high` is stored alone */
} qstore_quantize;

typedef struct qstore_pack_options {
	size_t struct_size; /* sizeof(qstore_pack_options) */
	/* Path of the model: a folder as model hubs have it, or one file of safetensors, ONNX or GGUF (the first
	 * file of several). Each precision that a folder has becomes a variant. */
	const char *high;
	/* Path of its next coarser version, a folder or a file too; NULL: `quantize` says what is made of a model
	 * in one precision. */
	const char *low;
	/* Paths of still coarser versions, from fine to coarse: a NULL-terminated list, or NULL. */
	const char *const *lower;
	/* Shell patterns of files and folders to leave out of all models: a NULL-terminated list, or NULL. '*'
	 * stands for '/' too, and a pattern without '/' may match the last part of a name. */
	const char *const *skip;
	/* The small files beside a model that is given as a file are packed too (README, LICENSE, config …). */
	int beside;
	const char *output; /* path of the archive. It appears, complete and verified, or not at all. */
	int force;          /* an existing output is replaced */
	qstore_quantize quantize;
	/* The tensors to quantize where there is no `low`: NULL-terminated lists of shell patterns for whole
	 * tensor names, or NULL. The default is linear weights of two dimensions and 16 bits, but no embeddings,
	 * norms or heads. `include` adds any tensor of two dimensions and 16 bits; `exclude` takes tensors away,
	 * also those that are included. A pattern that matches no name is NOT_FOUND. */
	const char *const *include, *const *exclude;
	/* Path of the base: an earlier version of the model, or the model that it was made from, as a folder, a
	 * file or an archive. Tensors that are equal or close to the base's are stored as differences to it.
	 * Without `low`, `high` is then stored alone, unless `quantize` says otherwise. NULL: none. */
	const char *base;
	/* Name of the variant that `high` is coded from, where that is not the next coarser one; else NULL. */
	const char *from;
	/* Matrices that do not fit those of their name in the coarser model (another shape, other values, codes
	 * packed in a way that is not known), or have none there, are stored apart, with a warning; with `strict`
	 * they are MISMATCH. Models that have nothing in common, differ in most of their weights, or are given
	 * from coarse to fine, are MISMATCH unless `allow_mismatch`. */
	int strict, allow_mismatch;
	int compare; /* also measures each variant under plain zstd: fills zstd_size below, and takes longer */
	qstore_work work;
} qstore_pack_options;

#define QSTORE_VARIANTS_MAX 32
#define QSTORE_RULES_MAX 8

/* A rule, and the tensors whose codes were found to be made by it. */
typedef struct qstore_pack_rule {
	const char *name; /* the names of qstore_tensor_info. Static */
	uint64_t n_tensors, n_weights;
	uint64_t n_exceptions; /* weights to which the rule gives another code than they have */
} qstore_pack_rule;

typedef struct qstore_pack_variant {
	char name[64];          /* "int8", "bf16", …; a second one of the same precision is "int8-2" */
	uint64_t raw_size;      /* bytes of its files, as published */
	uint64_t zstd_size;     /* bytes of these under zstd -3, chunk by chunk; 0 without `compare` */
	uint64_t prefix_size;   /* bytes of the archive's prefix that holds all of it */
	uint64_t download_size; /* bytes that reading all of it over HTTP fetches, the index included: fewer than
	                           the prefix where that has other variants too */
	/* For a path that has several precisions: the name of the largest file of weights that is this one, and
	 * how many more files of weights it has. "" for others. */
	char file[256];
	uint32_t n_more_files;
} qstore_pack_variant;

/* A digest in the form that browsers' integrity attributes have, with a zero byte: "sha256-" and 44 digits.
 */
#define QSTORE_DIGEST_SIZE 52

typedef struct qstore_pack_result {
	uint64_t archive_size;
	uint64_t index_size; /* of the index as it is stored, with the headers of its member */
	uint32_t n_variants; /* from coarse to fine */
	qstore_pack_variant variants[QSTORE_VARIANTS_MAX];
	uint64_t n_paired;       /* weight tensors that have both a coarse and a fine version */
	uint64_t paired_weights; /* their elements */
	uint64_t paired_size;    /* coded bytes of all their versions, scales included */
	uint64_t n_exceptions;   /* weights outside the cell of their code (docs/glossary.md) */
	uint32_t n_rules;        /* rules found among the paired tensors */
	qstore_pack_rule rules[QSTORE_RULES_MAX];
	uint64_t n_delta;       /* tensors stored as differences to a coarser variant's floats */
	uint64_t delta_weights; /* their elements */
	uint64_t delta_size;    /* coded bytes of the differences */
	uint64_t n_equal;       /* tensors that are equal to others, whose bytes they share */
	uint64_t n_base_equal;  /* tensors that are equal in the base, and not stored */
	uint64_t n_base_delta;  /* tensors stored as differences to the base's */
	uint64_t n_apart;       /* tensors that do not fit the coarser tensor of their name */
	uint64_t apart_weights; /* their elements */
	uint64_t apart_size;    /* their coded bytes */
	/* 1: an 8-bit variant was to be made, but no tensor was fit for it; `high` is stored alone. */
	int nothing_quantized;
	char digest[QSTORE_DIGEST_SIZE]; /* as qstore_get_digest writes it */
} qstore_pack_result;

/* Packs a model into an archive, and checks the archive by restoring every file from it. Equal inputs give
 * equal archives, whatever the number of threads. Temporary files are made beside the output, and take about
 * as much room as it; they are gone when the function returns. *result is filled after success; result may be
 * NULL. Errors: USAGE, INPUT, MISMATCH, NOT_FOUND, EXISTS, IO, MEMORY, LIMIT, CANCELLED. */
qstore_status qstore_pack(const qstore_pack_options *options, qstore_pack_result *result,
                          qstore_error *error);

/* ---- Reading ---- */

typedef struct qstore_archive qstore_archive;

/* Opens an archive, or a prefix of one, and checks its index. The file stays open until qstore_close().
 * *archive is NULL after a failure. Errors: NOT_QSTORE, NEWER, OLDER, TRUNCATED, CORRUPT, LIMIT, IO, MEMORY.
 */
qstore_status qstore_open(const char *path, qstore_archive **archive, qstore_error *error);

/* Where the bytes of an archive come from, when it is not a file: memory, an object store, an HTTP client …
 */
typedef struct qstore_source {
	size_t struct_size; /* sizeof(qstore_source) */
	const char *name;   /* for messages; it is copied. NULL: "the archive" */
	uint64_t size;      /* of the archive, or of its prefix */
	/* Fills dst with bytes [offset, offset + size), which are within the source's size. A status that is not
	 * QSTORE_OK, usually QSTORE_IO, ends the call that needed the bytes; error->text may say why, and is
	 * never NULL. It must not call the library with this archive. */
	qstore_status (*read)(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error);
	void (*close)(
	    void *user); /* called once, by qstore_close() or a qstore_open_source() that fails; or NULL */
	void *user;      /* passed to the callbacks */
	int is_serial;   /* 1: `read` is called by one thread at a time; 0: by several at once */
} qstore_source;

/* Opens an archive, or a prefix of one, whose bytes come from callbacks, as qstore_open() does. The struct is
 * copied. Errors: those of qstore_open(), those of the callbacks, and USAGE when there is no `read`. */
qstore_status qstore_open_source(const qstore_source *source, qstore_archive **archive, qstore_error *error);

/* Closes an archive and its base, and frees everything that belongs to it. NULL is allowed. */
void qstore_close(qstore_archive *archive);

/* Gives an archive that was packed with a base this base, without which it can be listed, but not restored.
 * path is a folder, a file or an archive of the model that it was packed with, in which files are found by
 * their SHA-256: files of the right size are read. A base that was set before is replaced. No other thread
 * may use the archive meanwhile. Errors: NOT_FOUND when the model at path is another one; INPUT, IO, MEMORY,
 * and those of qstore_open(). */
qstore_status qstore_set_base(qstore_archive *archive, const char *path, qstore_error *error);

/* Writes the archive's digest: the SHA-256 of its index, which has digests of all other bytes in turn. Two
 * archives with the same digest restore the same files. */
void qstore_get_digest(const qstore_archive *archive, char text[QSTORE_DIGEST_SIZE]);

/* Compares the archive's digest with one that the caller trusts, as qstore_get_digest writes it or in 64
 * hexadecimal digits. From then on, all bytes that are read are proved by it before they are handed out,
 * whoever stores or serves the archive. A chunk is read and hashed with its neighbours then, 160 kB at least
 * if there are as many. Call it before qstore_set_base(): a base that is an archive itself is proved as a
 * whole when it is set. No other thread may use the archive meanwhile. Errors: INTEGRITY when the digest is
 * another one, and later for each read of bytes that are not the digest's; USAGE, MEMORY. */
qstore_status qstore_pin(qstore_archive *archive, const char *digest, qstore_error *error);

typedef struct qstore_archive_info {
	uint64_t file_size;    /* bytes of the file that was opened */
	uint64_t archive_size; /* bytes of the complete archive: more than file_size where that is a prefix */
	uint64_t index_size;   /* bytes up to the end of the index */
	uint32_t n_variants, n_files, n_tensors;
} qstore_archive_info;

/* These functions fill *info and cannot fail. Numbers count from 0, and must be below the count that
 * qstore_get_info() gives. */

void qstore_get_info(const qstore_archive *archive, qstore_archive_info *info);

typedef struct qstore_variant_info {
	const char *name;       /* "int8", "bf16", … */
	const char *dtype;      /* the type that most of its weights have. Static */
	const char *coarser;    /* name of the variant that it builds on; NULL: none */
	uint64_t raw_size;      /* bytes of its files, restored */
	uint64_t layer_size;    /* coded bytes that it adds to those of coarser variants */
	uint64_t prefix_size;   /* bytes of the archive's prefix that holds all of it */
	uint64_t download_size; /* bytes that reading all of it over HTTP fetches, the index included: fewer than
	                           the prefix where that has other variants too */
	uint32_t n_files, n_tensors;
} qstore_variant_info;

/* Variants are in order from coarse to fine. */
void qstore_get_variant(const qstore_archive *archive, uint32_t number, qstore_variant_info *info);

/* Sets *number to that of the variant of this name; "low" is the coarsest and "high" the finest one.
 * NOT_FOUND: the error lists the names that there are. */
qstore_status qstore_find_variant(const qstore_archive *archive, const char *name, uint32_t *number,
                                  qstore_error *error);

typedef struct qstore_file_info {
	const char *name;      /* relative, '/'-separated, safe to create below a folder */
	uint32_t variants;     /* bit v is set when variant v has this file */
	uint64_t size;         /* bytes, restored */
	const uint8_t *sha256; /* 32 bytes */
	/* "stored" or "zstd": one member of the archive; "assembled": made from chunks; "base": a file of the
	 * base, which no variant has. Static */
	const char *kind;
	uint64_t coded_size; /* bytes of the member; 0 for other kinds */
} qstore_file_info;

void qstore_get_file(const qstore_archive *archive, uint32_t number, qstore_file_info *info);

typedef struct qstore_tensor_info {
	const char *name;
	uint32_t file;     /* number of the file that it is in */
	uint32_t variants; /* bit v is set when variant v has that file */
	const char *dtype; /* as safetensors spells it, "BF16", "I8", …, or ggml's name. Static */
	uint32_t n_dims;
	uint64_t n_elems, size; /* size in bytes, restored */
	/* How it is coded (of a tensor in parts: how the largest of these is): "plain" (on its own), "codes"
	 * (quantized), "refine" (given codes), "delta" (given coarser floats), "base" (equal to the base's
	 * tensor), or "literal" (stored with the file's header). Static */
	const char *kind;
	/* Bytes of its chunks; for "refine" and "delta" those that it adds. 0 for "literal" and "base". */
	uint64_t coded_size;
	/* For codes and what is coded given codes: the arithmetic that made the codes. "llm.int8", "multiply",
	 * "divide", "divide-half", a ggml type's name ("q8_0 (stored d)" where the scale is taken from the
	 * block), or "add-half", "add", "add-half-4", "add-4" (a zero point was added before rounding). Else
	 * NULL. Static */
	const char *rule;
	/* For "refine": Σ(coarse − fine)² / Σ fine², which says how much the coarser variant loses. Else 0. */
	double error;
	int shared; /* 1: it is equal to a coarser variant's tensor, whose layer holds it */
} qstore_tensor_info;

void qstore_get_tensor(const qstore_archive *archive, uint32_t number, qstore_tensor_info *info);

/* Elements along one dimension of a tensor, counted from the outermost; dim must be below n_dims. */
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

/* ---- Reading into memory ---- */

/* These functions may be called by several threads at once for one archive. Every byte that they give has
 * been compared with a checksum: parts of tensors with the index's XXH3-64, small files with their SHA-256 (a
 * file that is stored as it is, once, when it is first read). Chunks that are wanted as a whole are decoded
 * straight into dst; those of which a call wants less are kept decoded, for the calls that follow.
 *
 * work: NULL, or one with `threads` 1: the calling thread does it all. Otherwise chunks are decoded on as
 * many threads, progress is reported as "reading", and `cancel` is heeded.
 *
 * Errors: USAGE (no such number, or bytes beyond the end), TRUNCATED, CORRUPT (the tensor is named; dst has
 * undefined bytes), NOT_FOUND (the archive needs a base and has none), IO, MEMORY, CANCELLED. */

/* Sets *number to that of the file of this name in a variant. NOT_FOUND; USAGE: no such variant; MEMORY. It
 * takes O(log n) of the names; the first call sorts them. */
qstore_status qstore_find_file(const qstore_archive *archive, uint32_t variant, const char *name,
                               uint32_t *number, qstore_error *error);

/* Sets *number to that of the tensor of this name in a variant, in the file of that name, or with NULL in
 * any. Errors as above; USAGE too when several files have such a tensor. */
qstore_status qstore_find_tensor(const qstore_archive *archive, uint32_t variant, const char *file,
                                 const char *name, uint32_t *number, qstore_error *error);

/* Bytes [offset, offset + size) of a file, into dst. With dst NULL nothing is copied: the chunks are decoded
 * and kept for later reads, as far as the cache has room. */
qstore_status qstore_read_file(const qstore_archive *archive, uint32_t file, uint64_t offset, size_t size,
                               void *dst, const qstore_work *work, qstore_error *error);

/* Bytes [offset, offset + size) of a tensor as its file has them, into dst: elements in row-major order,
 * little-endian, or ggml's blocks. qstore_get_tensor() gives type and size, qstore_get_tensor_dim() the
 * shape.
 */
qstore_status qstore_read_tensor(const qstore_archive *archive, uint32_t tensor, uint64_t offset, size_t size,
                                 void *dst, const qstore_work *work, qstore_error *error);

/* A tensor of a finer variant that a reader of a coarser one does not have yet. */
typedef struct qstore_upgrade {
	uint32_t tensor;     /* its number */
	uint64_t coded_size; /* bytes of the archive that reading it takes beside those of the coarser variant */
	/* The part of the squared error of the model's weights that the upgrade removes, estimated from the
	 * codes that the caller has; 0 where it is not known (where the caller has floats, or nothing), or the
	 * list is not by importance. */
	double gain;
} qstore_upgrade;

/* Lists the tensors of a variant that differ from those of the coarser variant `from`: by number, or with
 * by_importance by their gain for a byte, the greatest first. That reads one chunk of each tensor's codes.
 * *list has *n_list entries; the caller frees it by qstore_free(). Errors: USAGE when `from` is not coarser,
 * and those of reading. */
qstore_status qstore_list_upgrades(const qstore_archive *archive, uint32_t variant, uint32_t from,
                                   int by_importance, qstore_upgrade **list, size_t *n_list,
                                   qstore_error *error);

/* Frees memory that the library gave to the caller. NULL is allowed. */
void qstore_free(void *memory);

/* Decoded bytes that are kept for later reads at most; 32 MiB unless it is called. Beside them, each thread
 * that reads has about 4 MiB, and matrices that a file has transposed are held as a whole. */
void qstore_set_cache(qstore_archive *archive, size_t bytes);

/* ---- Restoring ---- */

/* Bytes of a file that could not be restored. */
typedef struct qstore_damage {
	/* Path of the file that has the rest, with zeros for these bytes: NAME.damaged. NULL: nothing of it could
	 * be restored, and no file was made. */
	const char *path;
	const char *name;   /* the path that the file would have had */
	const char *tensor; /* name of the tensor that the bytes belong to; NULL: they are outside the tensors */
	uint64_t offset, size; /* in the file */
	const char *reason;    /* one line that names the damaged chunk or file */
} qstore_damage;

typedef struct qstore_unpack_options {
	size_t struct_size; /* sizeof(qstore_unpack_options) */
	/* A variant's name, "low", "high" or NULL (the finest), or "all": every variant, each in a folder of its
	 * own.
	 */
	const char *precision;
	/* Path of a folder, which is made when it does not exist. With `tensors`, a path that ends in
	 * .safetensors, .npy or .bin is that of a file: of all these tensors, of one, or of the bytes of one. */
	const char *output;
	int force; /* existing files are replaced */
	/* NULL-terminated lists of names in which '*' matches any text, or NULL. With `files`, only these files
	 * are restored. With `tensors`, only the file tensors.safetensors is made, of these tensors in the
	 * archive's order (and the files of `files`). Tensors in ggml's blocks, or of another type that
	 * safetensors does not have, become files of their own, which have only the tensor's bytes: NAME.bin,
	 * with %2F for '/' and %25 for '%'. A name that matches nothing is NOT_FOUND. */
	const char *const *files, *const *tensors;
	int sha256; /* whole files are compared with their SHA-256 too */
	qstore_work work;
	/* "f32": those of `tensors` whose type is a float of 8 or 16 bits or one of ggml's blocks become F32,
	 * with the values that ggml computes; the others stay as they are. USAGE for types of blocks whose values
	 * this library does not know (IQ1, IQ2, IQ3, TQ, Q8_1, Q8_K). NULL: all stay as they are. */
	const char *as;
	/* Takes the bytes of the one file that is selected, in order; `output` and `force` mean nothing then. A
	 * status that is not QSTORE_OK ends the call; error->text may say why, and is never NULL. NULL: files are
	 * written. */
	qstore_status (*write)(void *user, const void *data, size_t size, qstore_error *error);
	/* Called at the end for each file that has only the bytes of a tensor, with its path (with `write`,
	 * its name) and the tensor's number. Or NULL. */
	void (*on_raw)(void *user, const char *path, uint32_t tensor);
	void *user; /* passed to these callbacks */
	/* Restores the whole parts of an archive that is damaged, or that ends too early: files that are whole
	 * get their names, one that lacks bytes becomes NAME.damaged. The call succeeds then: the result has the
	 * number of damaged files. It does not go together with `write`. */
	int keep_going;
	/* Called at the end, with `keep_going`, for each range of bytes that could not be restored, in the order
	 * of the files and their bytes; *damage is valid during the call. Or NULL. */
	void (*on_damage)(void *user, const qstore_damage *damage);
	/* Restores hidden files too: those with a name, or of a folder, that begins with a dot. Without it they
	 * are left out, and there is a warning, unless `files` has their whole names. */
	int hidden;
} qstore_unpack_options;

typedef struct qstore_unpack_result {
	uint64_t n_files, size; /* files that were restored, and their bytes; damaged ones too */
	uint64_t n_damaged;     /* files of which bytes could not be restored; those that were not made too */
} qstore_unpack_result;

/* Restores files. All bytes are compared before any file gets its name: decoded parts of files with their
 * XXH3-64 in the index, small files with their SHA-256, and with `sha256` all files with that. A file whose
 * name this system does not allow gets an escaped one ("a%3Ab" for "a:b"), and there is a warning. Names that
 * the file system takes for one, such as "A" and "a" on macOS, are EXISTS. After a failure nothing is left
 * behind. *result is filled after success; result may be NULL. Errors: USAGE, NOT_FOUND, EXISTS, TRUNCATED,
 * CORRUPT (the tensor is named), INPUT (two tensors of one name for tensors.safetensors), LIMIT, IO, MEMORY,
 * CANCELLED, and those of `write`. */
qstore_status qstore_unpack(qstore_archive *archive, const qstore_unpack_options *options,
                            qstore_unpack_result *result, qstore_error *error);

/* Compares the archive's members with its index, then decodes every file of every variant without storing it,
 * and compares all checksums and each file's SHA-256. work may be NULL. Errors: CORRUPT and TRUNCATED (the
 * tensor or file is named), NOT_FOUND (it needs a base and has none), LIMIT, IO, MEMORY, CANCELLED. */
qstore_status qstore_verify(qstore_archive *archive, const qstore_work *work, qstore_error *error);

/* Lists the bytes of an archive that are not as its index says: tar headers and padding, small files, chunks
 * (by their checksums and seals), and what is missing at its end. Its index is right: qstore_open() has
 * checked it. Nothing is decoded, and no base is needed. Calls on_range for each range, in order, once all
 * are found: `size` bytes from byte `offset` of the archive on; reason: one line that names the tensor or
 * file. *n_ranges, which may be NULL, is their number. A good copy of these ranges mends the archive
 * (qstore-decode --repair). work may be NULL. Errors: IO that no range explains, MEMORY, CANCELLED. */
qstore_status qstore_find_damage(const qstore_archive *archive, const qstore_work *work,
                                 void (*on_range)(void *user, uint64_t offset, uint64_t size,
                                                  const char *reason),
                                 void *user, uint64_t *n_ranges, qstore_error *error);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
