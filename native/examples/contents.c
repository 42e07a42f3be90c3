/* Lists an archive: its variants, and the files of the coarsest one.
 *
 *     cc contents.c $(pkg-config --cflags --libs qstore) -o contents
 *     ./contents model.qstore
 */
#include <inttypes.h>
#include <qstore.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: contents FILE.qstore\n");
		return 2;
	}
	qstore_archive *archive;
	qstore_error error;
	if (qstore_open(argv[1], &archive, &error) != QSTORE_OK) {
		fprintf(stderr, "contents: %s\n", error.text);
		return 1;
	}
	qstore_archive_info info;
	qstore_get_info(archive, &info);
	for (uint32_t i = 0; i < info.n_variants; i++) {
		qstore_variant_info variant;
		qstore_get_variant(archive, i, &variant);
		printf("variant %s: %" PRIu32 " tensors, %" PRIu64 " bytes, out of the archive's first %" PRIu64 "\n",
		       variant.name, variant.n_tensors, variant.raw_size, variant.prefix_size);
	}
	for (uint32_t i = 0; i < info.n_files; i++) {
		qstore_file_info file;
		qstore_get_file(archive, i, &file);
		if (file.variants & 1)
			printf("file %s: %" PRIu64 " bytes\n", file.name, file.size);
	}
	qstore_close(archive);
	return 0;
}
