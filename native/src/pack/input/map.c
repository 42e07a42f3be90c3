/* Tensors found by name. */
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "os/search.h"

static int compare_by_full_name(const void *a, const void *b)
{
	return strcmp((*(pack_tensor *const *)a)->full, (*(pack_tensor *const *)b)->full);
}

static int compare_by_key(const void *a, const void *b)
{
	return strcmp((*(pack_tensor *const *)a)->key, (*(pack_tensor *const *)b)->key);
}

void pack_map_sort(pack_map *map)
{
	if (map->n_tensors > 0)
		qsort(map->tensors, map->n_tensors, sizeof(*map->tensors),
		      map->by_key ? compare_by_key : compare_by_full_name);
}

static qstore_status map_files(const pack_file *files, size_t n_files, uint32_t variants, int by_key,
                               pack_map *map, qstore_error *error)
{
	size_t n = 0;
	for (size_t i = 0; i < n_files; i++)
		n += files[i].variants & variants ? files[i].n_tensors : 0;
	*map = (pack_map){malloc((n + 1) * sizeof(*map->tensors)), 0, by_key};
	if (!map->tensors)
		return qs_no_memory(error);
	for (size_t i = 0; i < n_files; i++) {
		if ((files[i].variants & variants) == 0)
			continue;
		for (size_t j = 0; j < files[i].n_tensors; j++)
			map->tensors[map->n_tensors++] = &files[i].tensors[j];
	}
	pack_map_sort(map);
	return QSTORE_OK;
}

qstore_status pack_map_variant(const pack_input *input, uint32_t variant, int by_key, pack_map *map,
                               qstore_error *error)
{
	return map_files(input->files, input->n_files, 1u << variant, by_key, map, error);
}

qstore_status pack_map_file(const pack_file *file, pack_map *map, qstore_error *error)
{
	return map_files(file, 1, file->variants, 0, map, error);
}

static int compare_with_key(const void *tensor, const void *key)
{
	return strcmp((*(pack_tensor *const *)tensor)->key, key);
}

static int compare_with_full(const void *tensor, const void *full)
{
	return strcmp((*(pack_tensor *const *)tensor)->full, full);
}

size_t pack_map_first(const pack_map *map, const char *name)
{
	return qs_lower_bound(map->tensors, map->n_tensors, sizeof(*map->tensors), name,
	                      map->by_key ? compare_with_key : compare_with_full);
}

pack_tensor *pack_map_find(const pack_map *map, const char *name)
{
	size_t i = pack_map_first(map, name);
	if (i == map->n_tensors || strcmp(map->by_key ? map->tensors[i]->key : map->tensors[i]->full, name) != 0)
		return NULL;
	return map->tensors[i];
}
