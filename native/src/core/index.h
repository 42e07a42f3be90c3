/* The index: the archive's first member. It has everything that a reader must know to plan its reads
 * (FORMAT.md, "Index").
 *
 * The decompressed body is a fixed sequence of arrays of fixed-size little-endian records. qs_index_open()
 * checks every field once, so that later reads need no checks. JavaScript reads the same checked bytes. */
#ifndef QS_INDEX_H
#define QS_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "facts.h"
#include "status.h"

#define QS_FORMAT_MAJOR 1
#define QS_FORMAT_MINOR 0
#define QS_FORMAT_DRAFT 3   /* the layout that this version 1.0 has until it is released */
#define QS_NONE 0xffffffffu /* "no object", "no coarser variant" */
#define QS_INDEX_HEADER_SIZE 64
#define QS_INDEX_OFFSET 512 /* of the header in the archive file: after one tar header block */
#define QS_INDEX_BODY_MAX (1u << 30)

/* Sizes in the file stay well below 2^63, so that sums of two never wrap. */
#define QS_SIZE_LIMIT ((uint64_t)1 << 62)
#define QS_CHUNK_SIZE_MAX (1u << 20) /* decoded bytes of one chunk */
#define QS_CHUNK_CODED_MAX (QS_CHUNK_SIZE_MAX + 256)
/* A seal is the first QS_SEAL_BYTES bytes of the SHA-256 of the coded bytes of a stretch of chunks. A stretch
 * ends with the chunk that brings it to QS_STRETCH_SIZE bytes, and with its layer. */
#define QS_SEAL_BYTES 16
#define QS_STRETCH_SIZE 163840
#define QS_STRETCH_SIZE_MAX (QS_STRETCH_SIZE - 1 + QS_CHUNK_CODED_MAX)

/* The stretch of the last chunk, for those who go through all chunks in their order. Zeroed before the first.
 */
typedef struct qs_stretch {
	uint32_t layer, size; /* its coded bytes so far */
} qs_stretch;

/* Goes on to the next chunk. Returns 1 if a stretch begins with it, 0 if it belongs to the last chunk's. */
static inline int qs_stretch_add(qs_stretch *stretch, uint32_t layer, uint32_t chunk_size)
{
	int begins = stretch->size == 0 || stretch->size >= QS_STRETCH_SIZE || stretch->layer != layer;
	stretch->layer = layer;
	stretch->size = chunk_size + (begins ? 0 : stretch->size);
	return begins;
}

#define QS_FILE_ZSTD_MAX (1u << 26) /* bytes of a file that is kept as one zstd frame, and of the frame */
#define QS_VARIANTS_MAX 32
/* Elements of a matrix that a reader has to hold as a whole to restore a transposed layout. */
#define QS_TRANSPOSED_MAX (1u << 30)

/* Limits on what few bytes may make of a reader's memory and time. FORMAT.md, 4.1, has their reasons. */
/* A reader may have to hold FRAME_FREE decoded bytes of one frame or matrix, and beside them FRAME_RATIO
 * times the coded bytes. */
#define QS_FRAME_FREE (1u << 24)
#define QS_FRAME_RATIO 4
/* Records may share names. Each use of a name but the first counts its bytes, up to this sum. */
#define QS_NAMES_FREE (1u << 24)
/* A file's zstd frame has a window of at most 2 to this power bytes. */
#define QS_FILE_WINDOW_LOG 23
/* One part may need SIDE_FREE bytes of a grid, and beside them FRAME_RATIO times the coded bytes. SIDE_CHUNKS
 * chunks may hold them, and one more for each SIDE_CHUNK_SIZE bytes. */
#define QS_SIDE_FREE (1u << 22)
#define QS_SIDE_CHUNKS 64
#define QS_SIDE_CHUNK_SIZE (1u << 16)
/* A reader may load WORK_FREE bytes of grids for all parts of an object, and beside them WORK_RATIO times the
 * object's bytes; the same holds for whole matrices and the bytes of all files. */
#define QS_WORK_FREE (1u << 28)
#define QS_WORK_RATIO 256
/* Files use ranges of parts. There may be USES_FREE uses, beside USES_RATIO for each part and two for each
 * extent; and SMALL_USES_FREE, beside one for each USE_SIZE bytes of the files and two for each extent. */
#define QS_USES_FREE (1u << 20)
#define QS_USES_RATIO 16
#define QS_SMALL_USES_FREE (1u << 16)
#define QS_USE_SIZE (1u << 14)
#define QS_NAME_MAX 1023 /* bytes of a file's name */
#define QS_TENSOR_NAME_MAX 4095

typedef struct qs_index_header {
	uint32_t zstd_body; /* the coded body is one zstd frame of the body's columns (index_columns.h) */
	uint64_t body_coded_size, body_size, body_checksum, payload_size;
	uint32_t
	    is_newer; /* its minor number is above this version's, so the body may have unknown kinds of things */
} qs_index_header;

/* Reads the 64 bytes that an archive has at QS_INDEX_OFFSET. Returns NOT_QSTORE, NEWER, OLDER, TRUNCATED,
 * CORRUPT or LIMIT if they are not a header that this version reads. */
qstore_status qs_index_read_header(const uint8_t *src, size_t src_size, qs_index_header *out);
void qs_index_write_header(const qs_index_header *header, uint8_t dst[QS_INDEX_HEADER_SIZE]);

/* Returns the offset of the payload in the archive file. The offsets in records are relative to the
 * payload. */
uint64_t qs_index_payload_offset(const qs_index_header *header);

/* Checks the coded body against its checksum and decodes it into dst (header->body_size bytes).
 * columns: scratch memory of dst_size bytes, which is not used for a body that is no zstd frame;
 * work: qs_chunk_workspace_size() bytes. */
qstore_status qs_index_decode_body(const qs_index_header *header, const uint8_t *src, size_t src_size,
                                   uint8_t *dst, size_t dst_size, uint8_t *columns, void *work,
                                   size_t work_size);

/* A view of a checked body. Its pointers, and those of records, are into the body, which the caller keeps. */
typedef struct qs_index {
	const uint8_t *body;
	size_t body_size;
	uint64_t payload_size;
	uint32_t n_variants, n_files, n_extents, n_tensors, n_objects, n_chunks, n_dims, strings_size, n_parts,
	    n_seals;
	size_t variants, files, extents, tensors, objects, parts, seals, checksums, sizes, dims,
	    strings; /* byte offsets */
} qs_index;

/* May size bytes be made of a zstd frame, or of an object's chunks, with so many coded bytes? */
static inline int qs_frame_is_allowed(uint64_t size, uint64_t coded_size)
{
	return size <= QS_FRAME_FREE || (size - QS_FRAME_FREE) / QS_FRAME_RATIO <= coded_size;
}

/* Checks the whole body; returns CORRUPT if any field is out of bounds or contradicts another one, and LIMIT
 * if a reader would need more memory or time for the archive than is allowed. */
qstore_status qs_index_open(qs_index *index, const uint8_t *body, size_t body_size, uint64_t payload_size);

/* Checks the body of an archive with this header. Returns NEWER instead of CORRUPT if the header is newer. */
qstore_status qs_index_open_body(qs_index *index, const qs_index_header *header, const uint8_t *body);

/* Sizes of records in bytes. FORMAT.md, 2.2, says what their fields mean; index.c reads them. */
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
	uint32_t dtype;                    /* of its weights, as users know it */
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
	uint32_t coarse, scales; /* objects, or QS_NONE; REFINE: `scales` has the column factors */
	float error;             /* REFINE: |coarse − fine|² / |fine|², else 0 */
	uint64_t n_elems, cols;
	uint32_t chunk_elems, first_chunk, n_chunks;
	uint64_t offset, coded_size; /* of its chunks, which follow one another; relative to the payload */
	/* CODES with a rule: their grid (grid.h) */
	union {
		uint32_t zero_points; /* CODES with a rule: object, or QS_NONE */
		uint32_t beside;      /* LAYOUT of joined matrices: the object with the columns on the right */
	};
	uint32_t order; /* object, or QS_NONE */
	int32_t zero_offset;
	uint64_t group_stride;
	/* The meaning of these fields of the record depends on the kind of object; each has a name of its own. */
	union {
		uint32_t group;     /* CODES with a rule: of their grid, without an order */
		uint32_t n_groups;  /* CODES with a rule: of their grid, with an order */
		uint32_t bits;      /* LAYOUT other than blocks: bits of a code, or of a float */
		uint32_t base_file; /* BASE: the number of the file that has the elements */
	};
	union {
		uint64_t row_stride;  /* CODES with a rule: of their grid */
		uint64_t base_offset; /* BASE: of the elements in that file, in bytes */
	};
	uint32_t first_part; /* the number of its first part, counted through all objects */
} qs_object;

/* Is the file one member of the archive? */
static inline int qs_file_is_member(const qs_file *file)
{
	return qs_file_kind_is_member(file->kind);
}

/* Returns the bytes of the decoded object. */
uint64_t qs_object_bytes(const qs_object *object);

/* Returns the decoded bytes of each part but the last one. */
uint64_t qs_part_bytes(const qs_object *object);

/* Returns the number of parts, which have chunk_elems elements each but for the last one. */
static inline uint64_t qs_object_n_parts(const qs_object *object)
{
	return object->n_elems / object->chunk_elems + (object->n_elems % object->chunk_elems != 0);
}

/* Is the object a layout by columns? Each of its parts is made of the whole matrix. */
static inline int qs_object_is_by_columns(const qs_object *object)
{
	return object->kind == QS_KIND_LAYOUT && qs_layout_is_by_columns(object->rule);
}

/* Returns the address of record i of an array in the body. */
static inline const uint8_t *qs_index_record(const qs_index *index, size_t array, uint32_t i, size_t size)
{
	QS_ASSERT(array <= index->body_size && (uint64_t)i * size + size <= index->body_size - array);
	return index->body + array + (size_t)i * size;
}

/* Read record i of an array. i must be below the index's count of such records. */
void qs_index_variant(const qs_index *index, uint32_t i, qs_variant *out);
void qs_index_file(const qs_index *index, uint32_t i, qs_file *out);
void qs_index_extent(const qs_index *index, uint32_t i, qs_extent *out);
void qs_index_tensor(const qs_index *index, uint32_t i, qs_tensor *out);
void qs_index_object(const qs_index *index, uint32_t i, qs_object *out);
uint64_t qs_index_dim(const qs_index *index, uint32_t i);
uint32_t qs_index_chunk_size(const qs_index *index, uint32_t i);
uint32_t qs_index_chunk_checksum(const qs_index *index, uint32_t i);   /* of its coded bytes */
const uint8_t *qs_index_seal(const qs_index *index, uint32_t stretch); /* QS_SEAL_BYTES bytes */
uint64_t qs_index_part_checksum(const qs_index *index, uint32_t i);    /* of its bytes */

/* Is the text well-formed UTF-8 of at most max bytes? Reads no further than that. */
int qs_text_is_utf8(const char *text, size_t max);

/* Is this the name of a file below a folder? Safe names are relative paths of at most QS_NAME_MAX bytes of
 * well-formed UTF-8, without empty, "." and ".." parts. Not every system can create all such files
 * (read/escape.h). */
int qs_path_is_safe(const char *name);

#endif
