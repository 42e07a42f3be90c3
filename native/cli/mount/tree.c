#include "tree.h"

#include <stdlib.h>
#include <string.h>

/* A file to be added, with its path below the root. */
typedef struct tree_file {
	char *path; /* owned */
	uint32_t file;
	uint64_t size;
} tree_file;

/* The place of a path's byte in the order of paths: the end comes first, then '/', then all other bytes. */
static int path_order(char c)
{
	return c == 0 ? 0 : c == '/' ? 1 : (unsigned char)c + 1;
}

/* Orders paths so that the files of a folder follow one another, and the names in it are in strcmp's order.
 */
static int compare_paths(const void *a, const void *b)
{
	const char *x = ((const tree_file *)a)->path, *y = ((const tree_file *)b)->path;
	for (; *x && *x == *y; x++, y++)
		;
	return path_order(*x) - path_order(*y);
}

/* A new node in a folder, as its last child; TREE_NONE: out of memory. */
static size_t add_node(tree *t, size_t parent, const char *name, size_t name_size, int is_folder)
{
	size_t number = t->n_nodes;
	/* Arrays grow when their number of entries is a power of two. */
	if ((number & (number - 1)) == 0) {
		tree_node *nodes = realloc(t->nodes, (number > 0 ? 2 * number : 1) * sizeof(*nodes));
		if (!nodes)
			return TREE_NONE;
		t->nodes = nodes;
	}
	char *copy = malloc(name_size + 1);
	if (!copy)
		return TREE_NONE;
	memcpy(copy, name, name_size);
	copy[name_size] = 0;
	t->nodes[number] = (tree_node){.name = copy, .parent = parent, .is_folder = is_folder};
	t->n_nodes++;
	if (number == 0)
		return number;
	tree_node *folder = &t->nodes[parent];
	if ((folder->n_children & (folder->n_children - 1)) == 0) {
		size_t room = folder->n_children > 0 ? 2 * folder->n_children : 1;
		size_t *children = realloc(folder->children, room * sizeof(*children));
		if (!children)
			return TREE_NONE;
		folder->children = children;
	}
	folder->children[folder->n_children++] = number;
	folder->n_folders += is_folder;
	return number;
}

/* Adds a file and the folders above it. Files come sorted, so a folder that exists is its parent's last
 * child. 0: out of memory. */
static int add_file(tree *t, const tree_file *file)
{
	size_t at = 0;
	const char *name = file->path;
	for (const char *slash; (slash = strchr(name, '/')); name = slash + 1) {
		const tree_node *folder = &t->nodes[at];
		size_t size = (size_t)(slash - name);
		size_t last = folder->n_children > 0 ? folder->children[folder->n_children - 1] : TREE_NONE;
		if (last != TREE_NONE && t->nodes[last].is_folder && strlen(t->nodes[last].name) == size &&
		    memcmp(t->nodes[last].name, name, size) == 0)
			at = last;
		else
			at = add_node(t, at, name, size, 1);
		if (at == TREE_NONE)
			return 0;
	}
	at = add_node(t, at, name, strlen(name), 0);
	if (at == TREE_NONE)
		return 0;
	t->nodes[at].file = file->file;
	t->nodes[at].size = file->size;
	return 1;
}

/* "FOLDER/NAME", or the name where there is no folder. NULL: out of memory. */
static char *join_path(const char *folder, const char *name)
{
	size_t size = folder ? strlen(folder) + 1 : 0, name_size = strlen(name);
	char *path = malloc(size + name_size + 1);
	if (!path)
		return NULL;
	if (folder) {
		memcpy(path, folder, size - 1);
		path[size - 1] = '/';
	}
	memcpy(path + size, name, name_size + 1);
	return path;
}

/* All files of the variants. NULL: out of memory. */
static tree_file *list_files(const qstore_archive *archive, uint32_t variant, size_t *n)
{
	qstore_archive_info info;
	qstore_get_info(archive, &info);
	uint32_t first = variant == UINT32_MAX ? 0 : variant,
	         n_variants = variant == UINT32_MAX ? info.n_variants : 1;
	tree_file *files = calloc((size_t)info.n_files * n_variants + 1, sizeof(*files));
	*n = 0;
	for (uint32_t v = first; v < first + n_variants && files; v++) {
		qstore_variant_info folder;
		qstore_get_variant(archive, v, &folder);
		for (uint32_t i = 0; i < info.n_files; i++) {
			qstore_file_info file;
			qstore_get_file(archive, i, &file);
			if (!(file.variants >> v & 1))
				continue;
			tree_file *added = &files[*n];
			*added =
			    (tree_file){join_path(variant == UINT32_MAX ? folder.name : NULL, file.name), i, file.size};
			++*n;
			if (!added->path)
				return files;
		}
	}
	return files;
}

int tree_make(tree *t, const qstore_archive *archive, uint32_t variant)
{
	size_t n;
	*t = (tree){0};
	tree_file *files = list_files(archive, variant, &n);
	int is_done = files && add_node(t, 0, "", 0, 1) == 0;
	for (size_t i = 0; i < n && is_done; i++)
		is_done = !!files[i].path;
	if (is_done)
		qsort(files, n, sizeof(*files), compare_paths);
	for (size_t i = 0; i < n && is_done; i++)
		is_done = add_file(t, &files[i]);
	for (size_t i = 0; i < n && files; i++)
		free(files[i].path);
	free(files);
	return is_done;
}

void tree_free(tree *t)
{
	for (size_t i = 0; i < t->n_nodes; i++) {
		free(t->nodes[i].name);
		free(t->nodes[i].children);
	}
	free(t->nodes);
}

size_t tree_find(const tree *t, const tree_node *folder, const char *name)
{
	size_t low = 0, high = folder->n_children;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(t->nodes[folder->children[middle]].name, name);
		if (order == 0)
			return folder->children[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return TREE_NONE;
}
