#include "base.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compare.h"
#include "core/delta.h"
#include "equal.h"
#include "names.h"
#include "os/array.h"
#include "os/file.h"
#include "os/sha256.h"
#include "pair.h"
#include "parts.h"
#include "read/archive.h"

/* ---- Opening ---- */

static qstore_status read_archived(void *state, void *dst, size_t size, uint64_t offset, qstore_error *error)
{
	const pack_base_file *file = state;
	pack_base *base = file->base;
	pthread_mutex_lock(&base->lock);
	qstore_status status = QSTORE_OK;
	if (!base->decoder && !(base->decoder = qs_decoder_create(base->archive, NULL, 0)))
		status = qs_no_memory(error);
	if (!status)
		status = qs_decoder_read_file(base->decoder, file->number, offset, dst, size, error);
	pthread_mutex_unlock(&base->lock);
	return status;
}

/* Appends a copy of *file with room for n_tensors; NULL when out of memory. */
static pack_base_file *add_base_file(pack_base *base, qs_arena *arena, const pack_base_file *file,
                                     size_t n_tensors)
{
	pack_base_file *added = qs_arena_alloc(arena, sizeof(*added));
	pack_tensor *tensors = qs_arena_array(arena, n_tensors, sizeof(*tensors));
	pack_base_file **slot =
	    added && tensors ? qs_array_add(&base->files, &base->n_files, sizeof(*slot)) : NULL;
	if (!slot)
		return NULL;
	*added = *file;
	added->base = base;
	added->tensors = tensors;
	*slot = added;
	return added;
}

static void add_base_tensor(pack_base_file *file, pack_tensor tensor)
{
	tensor.key = tensor.full = tensor.name;
	tensor.source = file->source;
	tensor.source_offset = tensor.offset;
	tensor.base_file = file;
	tensor.coding.role = PACK_BASE;
	tensor.object = QS_NONE;
	file->tensors[file->n_tensors++] = tensor;
}

static qstore_status take_model(pack_base *base, pack_sources *sources, qs_arena *arena, qstore_error *error)
{
	for (size_t i = 0; i < base->model.n_files; i++) {
		const qs_model_file *given = &base->model.files[i];
		if (!given->is_weights)
			continue;
		pack_base_file *file = add_base_file(
		    base, arena, &(pack_base_file){.name = given->name, .size = given->size, .rank = given->size},
		    given->weights.n_tensors);
		if (!file)
			return qs_no_memory(error);
		qstore_status status =
		    pack_open_source(sources, arena, given->path, given->size, &file->source, error);
		if (status)
			return status;
		for (size_t j = 0; j < given->weights.n_tensors; j++) {
			const qs_weight *t = &given->weights.tensors[j];
			add_base_tensor(file, (pack_tensor){.name = t->name,
			                                    .dtype = t->dtype,
			                                    .n_dims = t->n_dims,
			                                    .dims = t->dims,
			                                    .offset = t->offset,
			                                    .size = t->size});
		}
	}
	return QSTORE_OK;
}

/* Tensors [first, end) of the archive are those of its file `number`. */
static qstore_status take_archived_file(pack_base *base, uint32_t number, uint32_t first, uint32_t end,
                                        qs_arena *arena, qstore_error *error)
{
	const qs_index *index = &base->archive->index;
	qs_file given;
	qs_index_file(index, number, &given);
	/* The highest bit of `variants` is the finest variant. */
	pack_base_file *file = add_base_file(
	    base, arena,
	    &(pack_base_file){.name = given.name, .size = given.size, .rank = given.variants, .number = number},
	    end - first);
	if (!file)
		return qs_no_memory(error);
	memcpy(file->sha256, given.sha256, sizeof(file->sha256));
	file->archived = (pack_source){read_archived, file};
	file->source = &file->archived;
	for (uint32_t i = first; i < end; i++) {
		qs_tensor t;
		qs_index_tensor(index, i, &t);
		uint64_t *dims = qs_arena_array(arena, t.n_dims, sizeof(*dims));
		if (!dims)
			return qs_no_memory(error);
		for (uint32_t d = 0; d < t.n_dims; d++)
			dims[d] = qs_index_dim(index, t.first_dim + d);
		add_base_tensor(file, (pack_tensor){.name = t.name,
		                                    .dtype = t.dtype,
		                                    .n_dims = t.n_dims,
		                                    .dims = dims,
		                                    .offset = t.offset,
		                                    .size = t.size});
	}
	return QSTORE_OK;
}

static qstore_status take_archive(pack_base *base, qs_arena *arena, qstore_error *error)
{
	const qs_index *index = &base->archive->index;
	qstore_status status = QSTORE_OK;
	for (uint32_t i = 0, first = 0, end = 0; i < index->n_files && !status; i++, first = end) {
		for (; end < index->n_tensors; end++) {
			qs_tensor t;
			qs_index_tensor(index, end, &t);
			if (t.file != i)
				break;
		}
		if (end > first)
			status = take_archived_file(base, i, first, end, arena, error);
	}
	return status;
}

qstore_status pack_open_base(pack_base *base, const char *path, pack_sources *sources, qs_arena *arena,
                             qstore_error *error)
{
	base->path = path;
	if (pthread_mutex_init(&base->lock, NULL) != 0)
		return qs_no_memory(error);
	base->has_lock = 1;
	qstore_status status = qstore_open(path, &base->archive, error);
	if (status == QSTORE_NOT_QSTORE || status == QSTORE_IO) {
		status = qs_model_open_with(&base->model, path, &(qs_model_options){.takes_pickles = 1}, error);
		return status ? status : take_model(base, sources, arena, error);
	}
	if (!status)
		status = qs_archive_check_base(base->archive, error);
	return status ? status : take_archive(base, arena, error);
}

int pack_is_in_base(const pack_base *base, const struct stat *info)
{
	if (base->archive && qs_archive_reads(base->archive, info))
		return 1;
	for (size_t i = 0; i < base->model.n_files; i++) {
		struct stat own;
		if (stat(base->model.files[i].path, &own) == 0 && own.st_dev == info->st_dev &&
		    own.st_ino == info->st_ino)
			return 1;
	}
	return 0;
}

void pack_close_base(pack_base *base)
{
	free(base->files);
	qs_decoder_destroy(base->decoder);
	qstore_close(base->archive);
	qs_model_close(&base->model);
	if (base->has_lock)
		pthread_mutex_destroy(&base->lock);
	*base = (pack_base){0};
}

/* ---- Pairing ---- */

typedef struct base_pairing {
	const pack_progress *progress;
	uint8_t *buffer; /* 2 * QS_IO_BLOCK bytes */
	qs_encoder *encoder;
	pack_derived *derived;
} base_pairing;

static void use_base_tensor(pack_tensor *tensor)
{
	tensor->base_file->is_used = 1;
}

/* Codes a tensor as a duplicate of the base's, or as the difference to it if it is not coded from another
 * tensor of its own model. Both have the same rows and columns. */
static qstore_status pair_rows(const base_pairing *q, pack_tensor *t, pack_tensor *base, qstore_error *error)
{
	int equal = 0, pays = 0;
	qstore_status status = QSTORE_OK;
	if (t->dtype == base->dtype)
		status = pack_are_equal(t, base, q->progress, q->buffer, &equal, error);
	if (status)
		return status;
	if (equal && !t->matrix && !t->coding.is_needed &&
	    (t->coding.role == PACK_PLAIN || t->coding.role == PACK_DELTA || t->coding.role == PACK_REFINE)) {
		pack_set_duplicate(t, base);
		use_base_tensor(base);
		return QSTORE_OK;
	}
	if (t->coding.role != PACK_PLAIN || t->coding.is_needed || !qs_delta_applies(base->dtype, t->dtype))
		return QSTORE_OK;
	status = pack_delta_pays(q->encoder, t, base, &pays, error);
	if (!status && pays && pack_share_chunks(t, base)) {
		pack_set_delta(t, base);
		use_base_tensor(base);
	}
	return status;
}

/* *part: the first rows of a tensor of the base. */
static qstore_status take_base_rows(const base_pairing *q, const pack_tensor *base, uint64_t rows,
                                    pack_tensor **part, qstore_error *error)
{
	*part = qs_arena_alloc(q->derived->arena, sizeof(**part));
	if (!*part)
		return qs_no_memory(error);
	**part = *base;
	(*part)->cols = pack_cols(base);
	(*part)->size = rows * pack_cols(base) * qs_dtype_size(base->dtype);
	(*part)->coding = (pack_coding){.role = PACK_BASE};
	return QSTORE_OK;
}

/* Pairs the rows that both have, when one of them has more (tokens that were added to a vocabulary). */
static qstore_status pair_some_rows(const base_pairing *q, pack_tensor *t, pack_tensor *base,
                                    qstore_error *error)
{
	uint64_t rows = pack_rows(t) < pack_rows(base) ? pack_rows(t) : pack_rows(base);
	pack_tensor *part = t;
	if (t->n_dims < 2 || rows * pack_cols(t) < PACK_COMMON_MIN || t->coding.role != PACK_PLAIN ||
	    (rows < pack_rows(t) && !pack_can_be_split(t)))
		return QSTORE_OK;
	qstore_status status = rows < pack_rows(base) ? take_base_rows(q, base, rows, &base, error) : QSTORE_OK;
	if (!status)
		status = pack_make_part(q->derived, t, rows, pack_cols(t), &part, error);
	if (!status)
		status = pair_rows(q, part, base, error);
	if (!status && part->coding.role != PACK_PLAIN)
		pack_use_part(t, part);
	return status;
}

static qstore_status pair_with_base(const base_pairing *q, pack_tensor *t, pack_tensor *base,
                                    qstore_error *error)
{
	t = pack_coded(t);
	if (t->coding.role == PACK_LITERAL || t->coding.role == PACK_BASE || qs_dtype_size(t->dtype) == 0 ||
	    pack_cols(t) != pack_cols(base) ||
	    (t->dtype != base->dtype && !qs_delta_applies(base->dtype, t->dtype)))
		return QSTORE_OK;
	return pack_n_elems(t) == pack_n_elems(base) ? pair_rows(q, t, base, error)
	                                             : pair_some_rows(q, t, base, error);
}

/* By name; of equal names that in the finest variant's file first, so that no other file is needed. */
static int compare_base_tensors(const void *a, const void *b)
{
	const pack_tensor *x = *(pack_tensor *const *)a, *y = *(pack_tensor *const *)b;
	int order = strcmp(x->name, y->name);
	uint64_t x_rank = x->base_file->rank, y_rank = y->base_file->rank;
	return order != 0 ? order : (x_rank < y_rank) - (x_rank > y_rank);
}

static qstore_status map_base(const pack_base *base, pack_map *map, qstore_error *error)
{
	size_t n = 0;
	for (size_t i = 0; i < base->n_files; i++)
		n += base->files[i]->n_tensors;
	*map = (pack_map){.tensors = malloc((n + 1) * sizeof(*map->tensors))};
	if (!map->tensors)
		return qs_no_memory(error);
	for (size_t i = 0; i < base->n_files; i++)
		for (size_t j = 0; j < base->files[i]->n_tensors; j++)
			map->tensors[map->n_tensors++] = &base->files[i]->tensors[j];
	if (n > 0)
		qsort(map->tensors, n, sizeof(*map->tensors), compare_base_tensors);
	return QSTORE_OK;
}

/* At least one in this many bytes must come from the base. */
#define BASE_PART_MIN 100

/* A tensor of the input under the name that it has in the base. */
typedef struct base_alias {
	pack_tensor named; /* its key is that name */
	pack_tensor *tensor;
	pack_tensor *coded, before; /* the tensor that it was coded as, and how that was */
} base_alias;

/* The aliases of all tensors, and *names: these by key, with the base's prefixes. */
static qstore_status list_aliases(const pack_input *input, const pack_map *base, qs_arena *arena,
                                  base_alias **aliases, pack_map *names, qstore_error *error)
{
	size_t n = 0;
	for (size_t i = 0; i < input->n_files; i++)
		n += input->files[i].n_tensors;
	*aliases = calloc(n + 1, sizeof(**aliases));
	*names = (pack_map){.tensors = malloc((n + 1) * sizeof(*names->tensors)), .by_key = 1};
	if (!*aliases || !names->tensors)
		return qs_no_memory(error);
	for (size_t i = 0; i < input->n_files; i++)
		for (size_t j = 0; j < input->files[i].n_tensors; j++) {
			base_alias *alias = &(*aliases)[names->n_tensors];
			alias->tensor = &input->files[i].tensors[j];
			alias->named = *alias->tensor;
			alias->named.key = alias->tensor->name;
			names->tensors[names->n_tensors++] = &alias->named;
		}
	pack_map_sort(names);
	return pack_rename_prefixes(names, base, arena, error);
}

/* *n_common: the pairs of tensors that have the same name. */
static qstore_status pair_all(const base_pairing *q, base_alias *aliases, size_t n, const pack_map *map,
                              size_t *n_common, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < n && !status; i++) {
		const char *name = aliases[i].named.key;
		aliases[i].coded = pack_coded(aliases[i].tensor);
		aliases[i].before = *aliases[i].coded;
		for (size_t k = pack_map_first(map, name);
		     k < map->n_tensors && strcmp(map->tensors[k]->name, name) == 0 && !status; k++) {
			++*n_common;
			status = pair_with_base(q, aliases[i].tensor, map->tensors[k], error);
		}
		if (!status)
			status = pack_check_cancelled(q->progress, error);
	}
	return status;
}

/* The bytes of a tensor that the base's are used for. */
static uint64_t size_from_base(const pack_tensor *t)
{
	const pack_coding *coding = &t->coding;
	uint64_t size = 0;
	switch (coding->role) {
	case PACK_DUPLICATE:
		return coding->original->coding.role == PACK_BASE ? t->size : 0;
	case PACK_DELTA:
		return coding->reference->coding.role == PACK_BASE ? t->size : 0;
	case PACK_PARTS:
		for (size_t i = 0; i < t->n_parts; i++)
			size += size_from_base(t->parts[i]);
		return size;
	default:
		return 0;
	}
}

/* Models of one kind have some norms in common, even if all else differs. An archive that needs a base for
 * so little of it is not worth having: then all tensors become as they were before. *gives_up: it is so. */
static void give_up_useless(pack_base *base, base_alias *aliases, size_t n, int *gives_up)
{
	uint64_t used = 0, all = 0;
	for (size_t i = 0; i < n; i++) {
		used += size_from_base(aliases[i].tensor);
		all += aliases[i].tensor->size;
	}
	*gives_up = used < all / BASE_PART_MIN || used == 0;
	if (!*gives_up)
		return;
	/* Backwards, since a tensor may have been reached by two aliases. */
	for (size_t i = n; i-- > 0;)
		*aliases[i].coded = aliases[i].before;
	for (size_t i = 0; i < base->n_files; i++)
		base->files[i]->is_used = 0;
}

qstore_status pack_pair_base(pack_base *base, pack_input *input, pack_derived *derived,
                             const pack_progress *progress, qstore_error *error)
{
	size_t n_common = 0;
	int gives_up = 0;
	pack_map map, names = {0};
	base_alias *aliases = NULL;
	base_pairing pairing = {progress, malloc(2 * QS_IO_BLOCK), qs_encoder_create(), derived};
	qstore_status status = map_base(base, &map, error);
	if (!status && (!pairing.buffer || !pairing.encoder))
		status = qs_no_memory(error);
	pack_mark_needed(input, derived);
	if (!status)
		status = list_aliases(input, &map, derived->arena, &aliases, &names, error);
	if (!status)
		status = pair_all(&pairing, aliases, names.n_tensors, &map, &n_common, error);
	if (!status && n_common == 0)
		status = qs_fail(error, QSTORE_MISMATCH,
		                 "%s is no base of %s: they have no tensor name in common; pack without a base",
		                 base->path, pack_high_path(input));
	if (!status)
		give_up_useless(base, aliases, names.n_tensors, &gives_up);
	if (gives_up)
		qs_warn(progress->work,
		        "%s is no base of %s: less than a hundredth of the tensors' bytes are like those of the same "
		        "name there; it is not used, and not needed to restore",
		        base->path, pack_high_path(input));
	free(aliases);
	free(names.tensors);
	free(map.tensors);
	free(pairing.buffer);
	qs_encoder_destroy(pairing.encoder);
	return status;
}

int pack_is_base_used(const pack_base *base)
{
	for (size_t i = 0; i < base->n_files; i++)
		if (base->files[i]->is_used)
			return 1;
	return 0;
}

/* ---- SHA-256 ---- */

static qstore_status hash_base_file(pack_base_file *file, qs_sha256 *sha256, uint8_t *buffer,
                                    const pack_progress *progress, qstore_error *error)
{
	if (!qs_sha256_reset(sha256))
		return qs_no_memory(error);
	for (uint64_t at = 0; at < file->size; at += QS_IO_BLOCK) {
		size_t n = file->size - at < QS_IO_BLOCK ? (size_t)(file->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_read(file->source, buffer, n, at, error);
		if (!status)
			status = pack_check_cancelled(progress, error);
		if (status)
			return status;
		if (!qs_sha256_update(sha256, buffer, n))
			return qs_no_memory(error);
	}
	return qs_sha256_final(sha256, file->sha256) ? QSTORE_OK : qs_no_memory(error);
}

qstore_status pack_hash_base(pack_base *base, const pack_progress *progress, qstore_error *error)
{
	/* An archive has the SHA-256 of its files. */
	if (base->archive)
		return QSTORE_OK;
	uint8_t *buffer = malloc(QS_IO_BLOCK);
	qs_sha256 *sha256 = qs_sha256_create();
	qstore_status status = buffer && sha256 ? QSTORE_OK : qs_no_memory(error);
	for (size_t i = 0; i < base->n_files && !status; i++)
		if (base->files[i]->is_used)
			status = hash_base_file(base->files[i], sha256, buffer, progress, error);
	free(buffer);
	qs_sha256_destroy(sha256);
	return status;
}
