/* Every fuzz target over its seeds in tests/fuzz/corpus (and over cuts and flips of them), as normal tests:
 * what fuzzing found once stays found. */
#include "codec_help.h"

#include <dirent.h>

#include "effort.h"

/* Each target's file defines one function by libFuzzer's name. */
#define LLVMFuzzerTestOneInput fuzz_archive
#include "../fuzz/fuzz_archive.c"
#undef LLVMFuzzerTestOneInput
#define require require_chunk
#define LLVMFuzzerTestOneInput fuzz_chunk
#include "../fuzz/fuzz_chunk.c"
#undef require
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_gguf
#include "../fuzz/fuzz_gguf.c"
#undef LLVMFuzzerTestOneInput
#define require require_index
#define check_file check_index_file
#define LLVMFuzzerTestOneInput fuzz_index
#include "../fuzz/fuzz_index.c"
#undef require
#undef check_file
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_onnx
#include "../fuzz/fuzz_onnx.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_safetensors
#include "../fuzz/fuzz_safetensors.c"
#undef LLVMFuzzerTestOneInput

typedef int target(const uint8_t *data, size_t size);

enum { SEED_MAX = 1 << 16, CHANGES = 12 };

static void run_exact(target *run, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	memcpy(copy, data, size);
	run(copy, size);
	free(copy);
}

static void replay(target *run, const char *name)
{
	char path[4096];
	const char *corpus = getenv("QSTORE_CORPUS") ? getenv("QSTORE_CORPUS") : "tests/fuzz/corpus";
	snprintf(path, sizeof path, "%s/%s", corpus, name);
	DIR *folder = opendir(path);
	unsigned n = 0;
	rng r = {1};
	if (!folder)
		fail_msg("%s: no such folder; run from the checkout's root", path);
	for (struct dirent *entry; (entry = readdir(folder));) {
		uint8_t *data = malloc(SEED_MAX), *changed = malloc(SEED_MAX);
		if (entry->d_name[0] == '.') {
			free(data);
			free(changed);
			continue;
		}
		snprintf(path, sizeof path, "%s/%s/%s", corpus, name, entry->d_name);
		FILE *file = fopen(path, "rb");
		assert_non_null(file);
		size_t size = fread(data, 1, SEED_MAX, file);
		fclose(file);
		run_exact(run, data, size);
		for (unsigned i = 0; i < effort_of(CHANGES) && size; i++) {
			memcpy(changed, data, size);
			for (uint32_t times = 1 + rng_below(&r, 3); times; times--)
				changed[rng_below(&r, (uint32_t)size)] = (uint8_t)rng_next(&r);
			run_exact(run, changed, i % 3 ? size : rng_below(&r, (uint32_t)size));
		}
		n++;
		free(data);
		free(changed);
	}
	closedir(folder);
	assert_true(n > 0);
}

static void test_archive(void **state)
{
	(void)state;
	replay(fuzz_archive, "fuzz_archive");
}

static void test_chunk(void **state)
{
	(void)state;
	replay(fuzz_chunk, "fuzz_chunk");
}

static void test_gguf(void **state)
{
	(void)state;
	replay(fuzz_gguf, "fuzz_gguf");
}

static void test_index(void **state)
{
	(void)state;
	replay(fuzz_index, "fuzz_index");
}

static void test_onnx(void **state)
{
	(void)state;
	replay(fuzz_onnx, "fuzz_onnx");
}

static void test_safetensors(void **state)
{
	(void)state;
	replay(fuzz_safetensors, "fuzz_safetensors");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_archive), cmocka_unit_test(test_chunk), cmocka_unit_test(test_gguf),
	    cmocka_unit_test(test_index),   cmocka_unit_test(test_onnx),  cmocka_unit_test(test_safetensors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
