#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "os/array.h"

/* Components of a name that may belong to its prefix, and components that are left at least. */
#define PREFIX_MAX 4
#define REST_MIN 2
/* Tensors that a change of prefixes must explain. */
#define VOTES_MIN 2
#define CHANGES_MAX 64

/* The name of a tensor behind a prefix of some components. */
typedef struct suffix {
	const char *text;
	const pack_tensor *tensor;
	size_t prefix_size;
} suffix;

typedef struct suffixes {
	suffix *items;
	size_t n;
} suffixes;

/* A change of a prefix, and the tensors that it explains. */
typedef struct prefix_change {
	const char *fine, *coarse; /* names that begin with the prefixes */
	size_t fine_size, coarse_size, votes;
} prefix_change;

static int compare_suffixes(const void *a, const void *b)
{
	return strcmp(((const suffix *)a)->text, ((const suffix *)b)->text);
}

/* Lists the suffixes of those tensors of a variant whose keys the other variant does not have. */
static qstore_status list_suffixes(const pack_map *own, const pack_map *other, suffixes *list,
                                   qstore_error *error)
{
	for (size_t i = 0; i < own->n_tensors; i++) {
		const pack_tensor *t = own->tensors[i];
		const char *text = t->key;
		if (pack_map_find(other, t->key))
			continue;
		for (int k = 0; k <= PREFIX_MAX && text; k++) {
			const char *rest = text;
			for (int j = 1; j < REST_MIN && rest; j++)
				rest = strchr(rest, '.') ? strchr(rest, '.') + 1 : NULL;
			if (!rest)
				break;
			suffix *added = qs_array_add(&list->items, &list->n, sizeof(*added));
			if (!added)
				return qs_no_memory(error);
			*added = (suffix){text, t, (size_t)(text - t->key)};
			text = strchr(text, '.') ? strchr(text, '.') + 1 : NULL;
		}
	}
	if (list->n > 0)
		qsort(list->items, list->n, sizeof(*list->items), compare_suffixes);
	return QSTORE_OK;
}

static void vote(prefix_change *changes, size_t *n, const suffix *fine, const suffix *coarse)
{
	size_t i = 0;
	while (i < *n &&
	       (changes[i].fine_size != fine->prefix_size || changes[i].coarse_size != coarse->prefix_size ||
	        memcmp(changes[i].fine, fine->tensor->key, fine->prefix_size) != 0 ||
	        memcmp(changes[i].coarse, coarse->tensor->key, coarse->prefix_size) != 0))
		i++;
	if (i == CHANGES_MAX)
		return;
	if (i == *n)
		changes[(*n)++] = (prefix_change){fine->tensor->key, coarse->tensor->key, fine->prefix_size,
		                                  coarse->prefix_size, 0};
	changes[i].votes++;
}

/* Does the second prefix have all components of the first one, in any order? */
static int has_components(const char *some, size_t some_size, const char *all, size_t all_size)
{
	uint32_t used = 0;
	for (const char *part = some, *dot; part < some + some_size; part = dot + 1) {
		uint32_t found = 0, number = 1;
		dot = strchr(part, '.');
		for (const char *other = all, *end; other < all + all_size && !found; other = end + 1, number <<= 1) {
			end = strchr(other, '.');
			if (!(used & number) && end - other == dot - part &&
			    memcmp(other, part, (size_t)(dot - part)) == 0)
				found = number;
		}
		if (!found)
			return 0;
		used |= found;
	}
	return 1;
}

/* Libraries wrap modules in others, and move them: one prefix then has all components of the other one.
 * Prefixes that differ otherwise are of different models. */
static int is_rewrapped(const prefix_change *c)
{
	return has_components(c->fine, c->fine_size, c->coarse, c->coarse_size) ||
	       has_components(c->coarse, c->coarse_size, c->fine, c->fine_size);
}

/* The change of a prefix that explains the most tensors; of several the one with the shortest prefixes.
 * votes: 0 when there is none. */
static prefix_change find_change(const suffixes *fine, const suffixes *coarse)
{
	prefix_change changes[CHANGES_MAX], best = {.votes = 0};
	size_t n = 0, from = 0;
	for (size_t i = 0; i < fine->n; i++) {
		while (from < coarse->n && strcmp(coarse->items[from].text, fine->items[i].text) < 0)
			from++;
		for (size_t j = from; j < coarse->n && strcmp(coarse->items[j].text, fine->items[i].text) == 0; j++)
			vote(changes, &n, &fine->items[i], &coarse->items[j]);
	}
	for (size_t i = 0; i < n; i++) {
		size_t size = changes[i].fine_size + changes[i].coarse_size;
		if (!is_rewrapped(&changes[i]))
			continue;
		if (changes[i].votes > best.votes ||
		    (changes[i].votes == best.votes && size < best.fine_size + best.coarse_size))
			best = changes[i];
	}
	return best.votes >= VOTES_MIN ? best : (prefix_change){.votes = 0};
}

/* Renames the tensors of *own with this prefix. *n: their number. */
static qstore_status apply_change(pack_map *own, const prefix_change *change, const pack_map *other,
                                  qs_arena *arena, size_t *n, qstore_error *error)
{
	/* The map is in the order of keys, so that none changes before all have been looked up. */
	const char **keys = calloc(own->n_tensors + 1, sizeof(*keys));
	if (!keys)
		return qs_no_memory(error);
	*n = 0;
	for (size_t i = 0; i < own->n_tensors; i++) {
		const pack_tensor *t = own->tensors[i];
		if (strncmp(t->key, change->fine, change->fine_size) != 0 || pack_map_find(other, t->key))
			continue;
		const char *key = qs_arena_text(arena, "%.*s%s", (int)change->coarse_size, change->coarse,
		                                t->key + change->fine_size);
		if (!key) {
			free(keys);
			return qs_no_memory(error);
		}
		if (pack_map_find(other, key) && !pack_map_find(own, key)) {
			keys[i] = key;
			++*n;
		}
	}
	for (size_t i = 0; i < own->n_tensors; i++)
		own->tensors[i]->key = keys[i] ? keys[i] : own->tensors[i]->key;
	free(keys);
	pack_map_sort(own);
	return QSTORE_OK;
}

qstore_status pack_rename_prefixes(pack_map *own, const pack_map *other, qs_arena *arena, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t n = 1; n > 0 && !status;) {
		suffixes own_list = {0}, other_list = {0};
		n = 0;
		status = list_suffixes(own, other, &own_list, error);
		if (!status)
			status = list_suffixes(other, own, &other_list, error);
		prefix_change change = find_change(&own_list, &other_list);
		if (!status && change.votes > 0)
			status = apply_change(own, &change, other, arena, &n, error);
		free(own_list.items);
		free(other_list.items);
	}
	return status;
}
