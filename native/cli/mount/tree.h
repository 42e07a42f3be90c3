/* The folders and files that a mounted archive has. */
#ifndef QSTORE_MOUNT_TREE_H
#define QSTORE_MOUNT_TREE_H

#include <qstore.h>

#define TREE_NONE ((size_t)-1)

typedef struct tree_node {
	char *name;        /* within its folder; owned */
	size_t parent;     /* the node's folder; the root is its own */
	size_t *children;  /* of a folder: nodes, sorted by name; owned */
	size_t n_children; /* both files and folders */
	size_t n_folders;  /* of its children */
	uint64_t size;     /* of a file, in bytes */
	uint32_t file;     /* its number in the archive */
	int is_folder;
} tree_node;

/* Node 0 is the root. */
typedef struct tree {
	tree_node *nodes;
	size_t n_nodes;
} tree;

/* Makes the tree: each variant's files in a folder of its name; or the files of one variant in the root.
 * variant: that one's number, or UINT32_MAX: all. 0: out of memory; free the tree all the same. */
int tree_make(tree *t, const qstore_archive *archive, uint32_t variant);
void tree_free(tree *t);

/* The node of this name in a folder, or TREE_NONE. */
size_t tree_find(const tree *t, const tree_node *folder, const char *name);

#endif
