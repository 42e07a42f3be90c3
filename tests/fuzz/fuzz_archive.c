/* Any bytes as an archive, through the public functions only. Checksums are made to fit first, or nothing
 * would get past them. */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <qstore.h>
#include "core/chunk.h"
#include "core/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RESTORED_MAX = 1 << 22, TENSORS_MAX = 64 };

static void require(int good)
{
	if (!good)
		abort();
}

static uint64_t get(const uint8_t *p, size_t n)
{
	uint64_t v = 0;
	memcpy(&v, p, n);
	return v;
}

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, 8);
}

/* Offsets by FORMAT.md, section 2. A body that is not compressed gets its chunks' checksums too. */
static void mend(uint8_t *file, size_t size)
{
	if (size < 576)
		return;
	uint8_t *header = file + 512;
	uint64_t coded = get(header + 16, 8);
	if (coded > size - 576)
		coded = size - 576;
	uint8_t *body = header + 64;
	if (!(header[12] & 1) && coded >= 64) {
		uint64_t payload = (576 + coded + 511) / 512 * 512, n[9], objects, checksums, sizes;
		for (int i = 0; i < 9; i++)
			n[i] = get(body + 4 * i, 4);
		objects = 64 + 64 * n[0] + 80 * n[1] + 24 * n[2] + 40 * n[3];
		checksums = objects + 96 * n[4] + 8 * n[8];
		sizes = checksums + 4 * n[5];
		if (sizes + 4 * n[5] <= coded)
			for (uint64_t i = 0; i < n[4]; i++) {
				const uint8_t *o = body + objects + 96 * i;
				uint64_t at = get(o + 48, 8), first = get(o + 36, 4), count = get(o + 40, 4);
				for (uint64_t c = first; c < first + count && c < n[5]; c++) {
					uint64_t chunk = get(body + sizes + 4 * c, 4);
					if (payload > size || at > size - payload || chunk > size - payload - at)
						break;
					uint32_t checksum = (uint32_t)qs_checksum(file + payload + at, chunk);
					memcpy(body + checksums + 4 * c, &checksum, 4);
					at += chunk;
				}
			}
	}
	put64(header + 32, qs_checksum(body, coded));
	put64(header + 56, qs_checksum(header, 56));
}

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *where)
{
	(void)s;
	(void)type;
	(void)where;
	return remove(path);
}

static void read_all(qstore_archive *archive)
{
	qstore_archive_info info;
	uint64_t total = 0;
	qstore_get_info(archive, &info);
	for (uint32_t i = 0; i < info.n_files; i++) {
		qstore_file_info f;
		qstore_get_file(archive, i, &f);
		total = f.size > RESTORED_MAX ? RESTORED_MAX + 1 : total + f.size;
		if (total > RESTORED_MAX)
			return;
	}
	for (uint32_t i = 0; i < info.n_tensors; i++) {
		qstore_tensor_info t;
		qstore_get_tensor(archive, i, &t);
		for (uint32_t d = 0; d < t.n_dims; d++)
			(void)qstore_get_tensor_dim(archive, i, d);
		total = t.size > RESTORED_MAX ? RESTORED_MAX + 1 : total;
	}
	if (total > RESTORED_MAX)
		return;
	char folder[] = "/tmp/qstore-fuzz-XXXXXX";
	qstore_error error = {0};
	qstore_work work = {.threads = 1};
	qstore_status status = qstore_verify(archive, &work, &error);
	require(!status == !error.text[0]);
	if (!mkdtemp(folder))
		return;
	/* A wrong checksum ends the rest: what does not come by files may come by tensors. */
	qstore_unpack_options options = {
	    .precision = "all", .output = folder, .force = 1, .tensors = NULL, .work = work};
	status = qstore_unpack(archive, &options, NULL, &error);
	require(status != QSTORE_USAGE);
	for (uint32_t v = 0; v < info.n_variants; v++) {
		qstore_variant_info variant;
		qstore_get_variant(archive, v, &variant);
		options.precision = variant.name;
		for (uint32_t i = 0; i < info.n_tensors && i < TENSORS_MAX; i++) {
			qstore_tensor_info t;
			qstore_get_tensor(archive, i, &t);
			const char *const one[] = {t.name, NULL};
			options.tensors = one;
			(void)qstore_unpack(archive, &options, NULL, &error);
		}
	}
	nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 1 << 17)
		return 0;
	uint8_t *file = malloc(size);
	memcpy(file, data, size);
	if (size > 576)
		mend(file, size);
	int fd = memfd_create("archive", 0);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd >= 0 && write(fd, file, size) == (ssize_t)size) {
		qstore_archive *archive = NULL;
		qstore_error error = {0};
		qstore_status status = qstore_open(path, &archive, &error);
		require(!status == !!archive && !status == !error.text[0] && error.status == status);
		if (!status)
			read_all(archive);
		qstore_close(archive);
	}
	if (fd >= 0)
		close(fd);
	free(file);
	return 0;
}
