#include "gguf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_parse.h"
#include "text.h"

#define ALIGNMENT_DEFAULT 32 /* gguf.md, general.alignment */

static qstore_status fail_entry(const gguf_source *source, const gguf_entry *entry, const char *what)
{
	return qs_fail(source->error, QSTORE_INPUT,
	               "%s: metadata \"" QS_NAME_SHOWN "\": %s; convert the model again",
	               qs_shown_path(source->path), entry->key, what);
}

/* Sets a number that is needed. A key that is there twice, or whose value is no number, is refused: readers
 * would take it to mean different things. */
static qstore_status set_number(const gguf_source *source, const gguf_entry *entry, uint64_t *number)
{
	if (!gguf_is_integer(entry->type) || entry->number > UINT32_MAX)
		return fail_entry(source, entry, "not a count");
	if (*number != QS_GGUF_NONE)
		return fail_entry(source, entry, "the key is there twice");
	*number = entry->number;
	return QSTORE_OK;
}

static qstore_status read_metadata(gguf_source *source, qs_gguf_info *info)
{
	uint64_t alignment = QS_GGUF_NONE;
	const struct {
		const char *key;
		uint64_t *number;
	} numbers[] = {
	    {"general.alignment", &alignment},
	    {"general.file_type", &info->file_type},
	    {"split.no", &info->split_no},
	    {"split.count", &info->split_count},
	    {"split.tensors.count", &info->split_tensors},
	};
	qstore_status status = QSTORE_OK;
	gguf_entry entry;

	*info = (qs_gguf_info){.version = source->version,
	                       .n_entries = source->n_entries,
	                       .file_type = QS_GGUF_NONE,
	                       .split_no = QS_GGUF_NONE,
	                       .split_count = QS_GGUF_NONE,
	                       .split_tensors = QS_GGUF_NONE};
	for (uint64_t i = 0; i < source->n_entries; i++) {
		if ((status = gguf_next_entry(source, &entry)))
			return status;
		for (size_t k = 0; k < sizeof numbers / sizeof *numbers && !status; k++)
			if (!strcmp(entry.key, numbers[k].key))
				status = set_number(source, &entry, numbers[k].number);
		if (status)
			return status;
		if (!strcmp(entry.key, "general.architecture") && entry.type == GGUF_STRING)
			memcpy(info->architecture, entry.text, sizeof info->architecture);
	}
	if (alignment == QS_GGUF_NONE)
		alignment = ALIGNMENT_DEFAULT;
	/* A multiple of 8 says gguf.md, a power of two says llama.cpp (gguf.cpp). */
	if (!alignment || (alignment % 8 && (alignment & (alignment - 1))))
		return qs_fail(source->error, QSTORE_INPUT,
		               "%s: general.alignment is %" PRIu64
		               ", neither a multiple of 8 nor a power of two; convert the model again",
		               qs_shown_path(source->path), alignment);
	info->alignment = (uint32_t)alignment;
	info->infos_offset = source->at;
	return QSTORE_OK;
}

/* Sets type, dimensions, outermost first (ggml has them the other way round), and size. The size of an
 * unknown type is known only from the next tensor's offset. */
static qstore_status describe_tensor(qs_weights *file, const gguf_tensor *info, qs_weight *tensor,
                                     qstore_error *error)
{
	tensor->dtype = gguf_dtype(info->type);
	tensor->n_dims = tensor->dtype == QS_BYTES ? 1 : info->n_dims;
	tensor->dims = qs_arena_array(&file->arena, tensor->n_dims, sizeof *tensor->dims);
	if (!tensor->dims)
		return qs_no_memory(error);
	if (tensor->dtype == QS_BYTES)
		return QSTORE_OK;
	for (uint32_t i = 0; i < info->n_dims; i++)
		tensor->dims[i] = info->dims[info->n_dims - 1 - i];
	uint32_t block = qs_block_elems(tensor->dtype);
	uint64_t cols = info->n_dims ? info->dims[0] : 1;
	if (cols % block)
		return qs_weights_fail(error, file->path, tensor->name,
		                       "rows of %" PRIu64 " elements are not a multiple of %s's blocks of %" PRIu32
		                       "; convert the model again",
		                       cols, qs_dtype_name(tensor->dtype), block);
	if (!qs_weights_size(tensor->dtype, tensor->dims, tensor->n_dims, &tensor->size))
		return qs_weights_fail(error, file->path, tensor->name, "its shape has 2^64 bytes or more");
	return QSTORE_OK;
}

static qstore_status read_tensors(gguf_source *source, qs_weights *file)
{
	qstore_status status = QSTORE_OK;
	for (uint64_t i = 0; i < source->n_tensors && !status; i++) {
		gguf_tensor info;
		qs_weight *tensor;
		if ((status = gguf_next_tensor(source, &file->arena, &info)) ||
		    (status = qs_weights_add(file, &tensor, source->error)))
			return status;
		tensor->name = info.name;
		tensor->offset = info.offset;
		status = describe_tensor(file, &info, tensor, source->error);
	}
	return status;
}

/* Makes offsets in the data offsets in the file, and checks that all tensors are within it. */
static qstore_status place_tensors(qs_weights *file, uint32_t alignment, qstore_error *error)
{
	uint64_t data_size = file->file_size - file->header_size;
	for (size_t i = 0; i < file->n_tensors; i++) {
		qs_weight *tensor = &file->tensors[i];
		if (tensor->offset % alignment)
			return qs_weights_fail(error, file->path, tensor->name,
			                       "offset %" PRIu64 " is not a multiple of the alignment, %" PRIu32
			                       "; convert the model again",
			                       tensor->offset, alignment);
		if (tensor->offset > data_size || tensor->size > data_size - tensor->offset)
			return qs_weights_fail(error, file->path, tensor->name,
			                       "%" PRIu64 " bytes at %" PRIu64 " of the data, which has %" PRIu64
			                       ": truncated file or wrong offset; download it again",
			                       tensor->size, tensor->offset, data_size);
		tensor->offset += file->header_size;
	}
	return QSTORE_OK;
}

/* Gives tensors of unknown types all bytes up to the next tensor. */
static void fill_unknown(qs_weights *file)
{
	for (size_t i = 0; i < file->n_tensors; i++) {
		qs_weight *tensor = &file->tensors[i];
		if (tensor->dtype != QS_BYTES)
			continue;
		uint64_t end = i + 1 < file->n_tensors ? tensor[1].offset : file->file_size;
		tensor->size = tensor->dims[0] = end - tensor->offset;
	}
}

static qstore_status check_unique(const qs_weights *file, qstore_error *error)
{
	for (size_t i = 1; i < file->n_tensors; i++)
		if (!strcmp(file->by_name[i]->name, file->by_name[i - 1]->name))
			return qs_weights_fail(error, file->path, file->by_name[i]->name,
			                       "the name is in the header twice");
	return QSTORE_OK;
}

qstore_status qs_gguf_open(qs_weights *file, const char *path, qstore_error *error)
{
	gguf_source source;
	qs_gguf_info info;

	qstore_status status = qs_weights_init(file, path, QS_FORMAT_GGUF, error);
	if (status)
		return status;
	status = gguf_source_open(&source, path, error);
	if (!status)
		status = read_metadata(&source, &info);
	if (!status)
		status = read_tensors(&source, file);
	file->file_size = source.size;
	uint64_t at = source.at;
	gguf_source_close(&source);
	if (status)
		return status;
	file->header_size = gguf_align(at, info.alignment);
	if (file->header_size > file->file_size) /* nothing follows: there need be no padding either */
		file->header_size = file->file_size;
	status = place_tensors(file, info.alignment, error);
	if (!status)
		status = qs_weights_sort(file, error);
	if (!status)
		fill_unknown(file);
	return status ? status : check_unique(file, error);
}

qstore_status qs_gguf_read_info(qs_gguf_info *info, const char *path, qstore_error *error)
{
	gguf_source source;
	qstore_status status = gguf_source_open(&source, path, error);
	if (!status)
		status = read_metadata(&source, info);
	gguf_source_close(&source);
	return status;
}

/* llama.cpp, llama_split_path(): "%s-%05d-of-%05d.gguf" */
static int shard_suffix(char *text, size_t text_size, uint64_t no, uint64_t count)
{
	return snprintf(text, text_size, "-%05" PRIu64 "-of-%05" PRIu64 ".gguf", no + 1, count);
}

char *qs_gguf_shard_path(const char *path, const qs_gguf_info *info, uint64_t other)
{
	char suffix[64];
	size_t size = strlen(path);
	size_t own = (size_t)shard_suffix(suffix, sizeof suffix, info->split_no, info->split_count);
	errno = 0;
	if (size <= own || strcmp(path + size - own, suffix) != 0)
		return NULL;
	char *name = malloc(size + sizeof suffix);
	if (name) {
		memcpy(name, path, size - own);
		shard_suffix(name + size - own, sizeof suffix, other, info->split_count);
	}
	return name;
}

int qs_gguf_detect(const char *path)
{
	char start[4];
	FILE *stream = fopen(path, "rb");
	if (!stream)
		return 0;
	int is_gguf = fread(start, 1, sizeof start, stream) == sizeof start && !memcmp(start, "GGUF", 4);
	fclose(stream);
	return is_gguf;
}
