#include "model_index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "model_files.h"
#include "text.h"

#define INDEX_SIZE_MAX 100000000u
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* Sets *text to all bytes of the file; NULL when it cannot be read (errno says why). */
static qstore_status load(const qs_model_file *index, char **text, size_t *size, qstore_error *error)
{
	FILE *stream = fopen(index->path, "rb");
	*text = NULL;
	if (!stream)
		return QSTORE_OK;
	*text = malloc((size_t)index->size + 1);
	if (!*text) {
		fclose(stream);
		return qs_no_memory(error);
	}
	*size = fread(*text, 1, (size_t)index->size, stream);
	if (ferror(stream)) {
		int reason = errno;
		free(*text);
		*text = NULL;
		errno = reason;
	}
	fclose(stream);
	return QSTORE_OK;
}

/* Entries of the weight_map that do not hold: how many, and what is wrong with the first. */
typedef struct wrong_entries {
	size_t n;
	const char *tensor, *shard, *what;
} wrong_entries;

static const char *what_is_wrong(const qs_model *model, const qs_model_file *index, const char *tensor,
                                 const char *shard)
{
	const qs_model_file *file = qs_model_find_beside(model, index->name, shard);
	if (!file || !file->is_weights)
		return "which is missing";
	return qs_weights_find(&file->weights, tensor) ? NULL : "which has no such tensor";
}

static wrong_entries find_wrong(const qs_model *model, const qs_model_file *index, json_t *map)
{
	wrong_entries wrong = {0};
	const char *tensor;
	json_t *entry;
	json_object_foreach(map, tensor, entry)
	{
		const char *shard = json_is_string(entry) ? json_string_value(entry) : "";
		const char *what = what_is_wrong(model, index, tensor, shard);
		if (what && wrong.n++ == 0)
			wrong = (wrong_entries){1, tensor, shard, what};
	}
	return wrong;
}

static qstore_status check_map(qs_model *model, const qs_model_file *index, json_t *map, qstore_error *error)
{
	const char *path = qs_shown_path(index->path);
	if (!json_is_object(map))
		return qs_model_warn(model, error,
		                     "%s: no weight_map, so that it is not an index; it is packed as it is", path);
	wrong_entries wrong = find_wrong(model, index, map);
	if (!wrong.n)
		return QSTORE_OK;
	return qs_model_warn(
	    model, error,
	    "%s: %zu of %zu tensors that it names %s elsewhere: \"" QS_NAME_SHOWN
	    "\" should be in \"" QS_NAME_SHOWN
	    "\", %s; it is packed as it is (is it another model's index, or is a shard missing?)",
	    path, wrong.n, json_object_size(map), wrong.n == 1 ? "is" : "are", wrong.tensor, wrong.shard,
	    wrong.what);
}

qstore_status qs_model_check_index(qs_model *model, const qs_model_file *index, qstore_error *error)
{
	const char *path = qs_shown_path(index->path);
	char *text;
	size_t size = 0, start = 0;
	json_error_t reason;
	if (index->size > INDEX_SIZE_MAX)
		return qs_model_warn(model, error,
		                     "%s: not compared with the shards: %" PRIu64 " bytes, more than %u", path,
		                     index->size, INDEX_SIZE_MAX);
	qstore_status status = load(index, &text, &size, error);
	if (status)
		return status;
	if (!text)
		return qs_model_warn(model, error, "%s: not compared with the shards: %s", path, strerror(errno));
	if (size >= 3 && !memcmp(text, BYTE_ORDER_MARK, 3)) {
		start = 3;
		status =
		    qs_model_warn(model, error,
		                  "%s: begins with a byte order mark, which other readers refuse; it is packed as "
		                  "it is",
		                  path);
	}
	json_t *root = status ? NULL : json_loadb(text + start, size - start, 0, &reason);
	if (!status && root)
		status = check_map(model, index, json_object_get(root, "weight_map"), error);
	else if (!status && json_error_code(&reason) == json_error_out_of_memory)
		status = qs_no_memory(error);
	else if (!status)
		status = qs_model_warn(model, error, "%s: not valid JSON: %s (line %d); it is packed as it is", path,
		                       reason.text, reason.line);
	json_decref(root);
	free(text);
	return status;
}
