#include "verify.h"

#include <string.h>

#include "container/member_names.h"
#include "container/tar.h"
#include "error.h"
#include "os/arena.h"
#include "os/array.h"

/* The members that the index lists, which come in its order: the index, small files, layers. */
typedef struct member_check {
	const qstore_archive *archive;
	qs_arena arena;
	qs_member_names names;
	int has_index;
	uint32_t file;  /* those below it have come, or are no members */
	uint32_t layer; /* number of the next one */
} member_check;

static void skip_assembled_files(member_check *check)
{
	qs_file file;
	for (; check->file < check->archive->index.n_files; check->file++) {
		qs_index_file(&check->archive->index, check->file, &file);
		if (qs_file_is_member(&file))
			return;
	}
}

/* Sets *expected to the next member of the index; its name is NULL if there is none. */
static qstore_status next_member(member_check *check, qs_tar_member *expected,
                                 char layer_name[QS_MEMBER_LAYER_SIZE], qstore_error *error)
{
	const qstore_archive *archive = check->archive;
	const qs_index *index = &archive->index;
	*expected = (qs_tar_member){0};
	if (!check->has_index) {
		check->has_index = 1;
		*expected = (qs_tar_member){.name = QS_MEMBER_INDEX,
		                            .size = QS_INDEX_HEADER_SIZE + archive->header.body_coded_size,
		                            .data_offset = QS_INDEX_OFFSET};
		return QSTORE_OK;
	}
	skip_assembled_files(check);
	if (check->file < index->n_files) {
		qs_file file;
		qs_variant variant;
		qs_index_file(index, check->file++, &file);
		uint32_t finest = 31 - (uint32_t)__builtin_clz(file.variants);
		qs_index_variant(index, finest, &variant);
		*expected = (qs_tar_member){
		    .name = qs_member_name_next(&check->names, finest == index->n_variants - 1 ? NULL : variant.name,
		                                file.name, file.kind == QS_FILE_ZSTD),
		    .size = file.coded_size,
		    .data_offset = archive->payload_offset + file.offset};
		return expected->name ? QSTORE_OK : qs_no_memory(error);
	}
	if (check->layer < index->n_variants) {
		qs_variant variant;
		qs_index_variant(index, check->layer++, &variant);
		qs_member_name_layer(layer_name, variant.name);
		*expected = (qs_tar_member){.name = layer_name,
		                            .size = variant.layer_size,
		                            .data_offset = archive->payload_offset + variant.layer_offset};
	}
	return QSTORE_OK;
}

static qstore_status check_member(void *user, const qs_tar_member *member, qstore_error *error)
{
	member_check *check = user;
	const char *path = check->archive->path;
	char layer_name[QS_MEMBER_LAYER_SIZE];
	qs_tar_member expected;
	qstore_status status = next_member(check, &expected, layer_name, error);
	if (status)
		return status;
	if (!expected.name)
		return qs_fail(error, QSTORE_CORRUPT, "%s: member %.400s is not in the index", path, member->name);
	if (strcmp(member->name, expected.name) != 0 || member->size != expected.size ||
	    member->data_offset != expected.data_offset)
		return qs_fail(
		    error, QSTORE_CORRUPT,
		    "%s: where its index has %.400s, of %llu bytes at byte %llu, is member %.400s, of %llu "
		    "bytes at byte %llu",
		    path, expected.name, (unsigned long long)expected.size, (unsigned long long)expected.data_offset,
		    member->name, (unsigned long long)member->size, (unsigned long long)member->data_offset);
	return member->is_ours
	           ? QSTORE_OK
	           : qs_fail(error, QSTORE_CORRUPT,
	                     "%s: member %.400s is no regular file of mode 0644 without owner and time", path,
	                     member->name);
}

static qstore_status read_archive(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error)
{
	const member_check *check = user;
	return qs_source_read(&check->archive->source, offset, size, dst, error);
}

static qstore_status check_members(const qstore_archive *archive, qstore_error *error)
{
	member_check check = {.archive = archive};
	check.names.arena = &check.arena;
	qstore_status status =
	    qs_tar_list(archive->path, archive->source.size, read_archive, &check, check_member, &check, error);
	if (!status) {
		char layer_name[QS_MEMBER_LAYER_SIZE];
		qs_tar_member missing;
		status = next_member(&check, &missing, layer_name, error);
		if (!status && missing.name)
			status = qs_fail(error, QSTORE_CORRUPT, "%s: has no member %.400s", archive->path, missing.name);
	}
	qs_member_names_end(&check.names);
	qs_arena_free(&check.arena);
	return status;
}

/* Checks that the file has exactly the archive's bytes. */
static qstore_status check_file_size(const qstore_archive *archive, qstore_error *error)
{
	uint64_t size = archive->payload_offset + archive->header.payload_size;
	if (archive->source.size < size)
		return qs_fail(error, QSTORE_TRUNCATED, "%s: has %llu of %llu bytes", archive->path,
		               (unsigned long long)archive->source.size, (unsigned long long)size);
	if (archive->source.size > size)
		return qs_fail(error, QSTORE_CORRUPT, "%s: %llu bytes follow its end", archive->path,
		               (unsigned long long)(archive->source.size - size));
	return QSTORE_OK;
}

/* Lists one output for each file that is not a file of the base. */
static qstore_status list_outputs(const qstore_archive *archive, qs_output **outputs, size_t *n_outputs,
                                  qstore_error *error)
{
	for (uint32_t i = 0; i < archive->index.n_files; i++) {
		qs_file file;
		qs_index_file(&archive->index, i, &file);
		if (file.kind == QS_FILE_BASE)
			continue;
		qs_output *output = qs_array_add(outputs, n_outputs, sizeof(*output));
		if (!output || !(output->name = strdup(file.name)))
			return qs_no_memory(error);
		output->file = i;
		output->size = file.size;
	}
	return QSTORE_OK;
}

qstore_status qs_archive_verify(const qstore_archive *archive, const qstore_work *work, qs_piece_check *check,
                                void *user, qstore_error *error)
{
	qs_restore_options options = {
	    .sha256 = !check, .check = check, .check_user = user, .phase = "verifying", .work = work};
	qs_output *outputs = NULL;
	size_t n_outputs = 0;
	qstore_status status = check_file_size(archive, error);
	if (!status)
		status = check_members(archive, error);
	if (!status)
		status = qs_archive_check_base(archive, error);
	if (!status)
		status = list_outputs(archive, &outputs, &n_outputs, error);
	if (!status)
		status = qs_restore(archive, outputs, n_outputs, &options, error);
	if (!status)
		status = qs_pin_check(archive, work, error);
	qs_outputs_free(outputs, n_outputs);
	return status;
}

qstore_status qstore_verify(qstore_archive *archive, const qstore_work *work, qstore_error *error)
{
	qs_error_clear(error);
	return qs_archive_verify(archive, work, NULL, NULL, error);
}
