/* Reads a tensor of an archive that is in memory, as an object store or an HTTP client would give it, and
 * prints its first numbers.
 *
 *     cc tensor.c $(pkg-config --cflags --libs qstore) -o tensor
 *     ./tensor model.qstore bf16 model.norm.weight
 */
#include <inttypes.h>
#include <qstore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The archive's bytes. Any source can take their place: the library asks only for the ranges that it needs.
 */
typedef struct memory {
	unsigned char *data;
	size_t size;
} memory;

static qstore_status read_memory(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error)
{
	const memory *m = user;
	(void)error; /* may be filled by sources that can fail */
	memcpy(dst, m->data + offset, size);
	return QSTORE_OK;
}

static int load(const char *path, memory *m)
{
	FILE *file = fopen(path, "rb");
	long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
	m->data = size > 0 ? malloc((size_t)size) : NULL;
	m->size = size > 0 ? (size_t)size : 0;
	int done = m->data && fseek(file, 0, SEEK_SET) == 0 && fread(m->data, 1, m->size, file) == m->size;
	if (file)
		fclose(file);
	return done;
}

/* Prints the tensor's type and shape, and the first of its bytes. */
static qstore_status show(const qstore_archive *archive, uint32_t number, qstore_error *error)
{
	qstore_tensor_info info;
	unsigned char first[16];
	qstore_get_tensor(archive, number, &info);
	size_t size = info.size < sizeof(first) ? (size_t)info.size : sizeof(first);
	qstore_status status = qstore_read_tensor(archive, number, 0, size, first, NULL, error);
	if (status)
		return status;
	printf("%s %s [", info.name, info.dtype);
	for (uint32_t i = 0; i < info.n_dims; i++)
		printf("%s%" PRIu64, i > 0 ? ", " : "", qstore_get_tensor_dim(archive, number, i));
	printf("]:");
	for (size_t i = 0; i < size; i++)
		printf(" %02x", first[i]);
	printf("\n");
	return QSTORE_OK;
}

int main(int argc, char **argv)
{
	memory m;
	qstore_archive *archive;
	qstore_error error;
	uint32_t variant, number;
	if (argc != 4) {
		fprintf(stderr, "usage: tensor FILE.qstore PRECISION NAME\n");
		return 2;
	}
	if (!load(argv[1], &m)) {
		fprintf(stderr, "tensor: %s: cannot read\n", argv[1]);
		return 1;
	}
	const qstore_source source = {
	    .struct_size = sizeof(source), .name = argv[1], .size = m.size, .read = read_memory, .user = &m};
	qstore_status status = qstore_open_source(&source, &archive, &error);
	if (!status)
		status = qstore_find_variant(archive, argv[2], &variant, &error);
	if (!status)
		status = qstore_find_tensor(archive, variant, NULL, argv[3], &number, &error);
	if (!status)
		status = show(archive, number, &error);
	qstore_close(archive);
	free(m.data);
	if (status)
		fprintf(stderr, "tensor: %s\n", error.text);
	return status ? 1 : 0;
}
