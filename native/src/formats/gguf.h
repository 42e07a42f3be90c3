/* GGUF files: their headers are read and checked.
 * Layout: "GGUF", version, counts, metadata (keys and typed values), tensor infos, padding, data; all
 * little-endian. (github.com/ggml-org/ggml, docs/gguf.md; llama.cpp, ggml/src/gguf.cpp) */
#ifndef QS_GGUF_H
#define QS_GGUF_H

#include "weights.h"

#define QS_GGUF_NONE UINT64_MAX /* a number that the metadata does not have */

typedef struct qs_gguf_info {
	uint32_t version;
	uint32_t alignment;     /* of tensors, in bytes */
	uint64_t n_entries;     /* of the metadata */
	uint64_t infos_offset;  /* bytes to the end of the metadata, where the tensors' infos begin */
	char architecture[64];  /* general.architecture ("llama"), cut; "" when there is none */
	uint64_t file_type;     /* general.file_type: llama.h's LLAMA_FTYPE_…, 7 is Q8_0; or QS_GGUF_NONE */
	uint64_t split_no;      /* split.no, from 0; or QS_GGUF_NONE */
	uint64_t split_count;   /* split.count; or QS_GGUF_NONE */
	uint64_t split_tensors; /* split.tensors.count, of all shards; or QS_GGUF_NONE */
} qs_gguf_info;

/* Reads and checks the header of the GGUF file (version 2 or 3) at path. Dimensions are in the order
 * outermost first, which is not that of the file. Tensors of types that core/facts.h does not name get dtype
 * QS_BYTES, one dimension, and all bytes up to the next tensor or the end of the file. Padding between
 * tensors belongs to none of them. INPUT, with a line that names the file and what is wrong; IO; MEMORY. It
 * needs no more memory than a few times the header. Close with qs_weights_close, also after errors. */
qstore_status qs_gguf_open(qs_weights *file, const char *path, qstore_error *error);

/* Reads only the metadata. Errors as above. */
qstore_status qs_gguf_read_info(qs_gguf_info *info, const char *path, qstore_error *error);

/* The path of shard `other` (from 0) of the model that the file at path is a shard of, by the names that
 * gguf-split gives (NAME-00001-of-00003.gguf). malloc'd; NULL when the path is not so named, or for lack of
 * memory (errno is ENOMEM then, else 0). */
char *qs_gguf_shard_path(const char *path, const qs_gguf_info *info, uint64_t other);

/* True when the file at path begins like a GGUF file of any version, also of those that qs_gguf_open refuses.
 */
int qs_gguf_detect(const char *path);

#endif
