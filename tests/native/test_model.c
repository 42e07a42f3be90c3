/* Model folders: which files belong, which are refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/model.h"
#include "model_help.h"
#include "scratch.h"

#define TENSOR(name) "{\"" name "\":{\"dtype\":\"BF16\",\"shape\":[2,5],\"data_offsets\":[0,20]}}"

static void expect(const char *path, qstore_status expected, const char *file, const char *what)
{
	qs_model model;
	qstore_error error = {0};
	qstore_status status = qs_model_open(&model, path, &error);
	qs_model_close(&model);
	if (status != expected || !strstr(error.text, file) || !strstr(error.text, what))
		fail_msg("status %d, \"%s\", expected %d, \"%s\" and \"%s\"", status, error.text, expected, file,
		         what);
}

static void open_model(qs_model *model, const char *path)
{
	qstore_error error;
	if (qs_model_open(model, path, &error))
		fail_msg("%s", error.text);
}

static void expect_files(const qs_model *model, const char *const *names, size_t n)
{
	assert_int_equal(model->n_files, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(model->files[i].name, names[i]);
}

static void finds_files_of_a_folder(void **state)
{
	static const char *const names[] = {"LICENSE",     "a-dir/b.txt",       "a.txt",
	                                    "config.json", "model.safetensors", "z/model.safetensors"};
	qs_model model;
	const qs_model_file *file = NULL;
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	scratch_safetensors(state, "m/z/model.safetensors", TENSOR("two.weight"), 20);
	scratch_write(state, "m/config.json", "{}", 2);
	scratch_write(state, "m/LICENSE", "", 0);
	scratch_write(state, "m/a.txt", "a", 1);
	scratch_write(state, "m/a-dir/b.txt", "bb", 2);
	scratch_write(state, "m/.gitattributes", "x", 1);
	scratch_write(state, "m/.git/model.safetensors", "x", 1);
	scratch_write(state, "m/.cache/huggingface/download/model.bin", "x", 1);
	scratch_path(state, "m/empty/none");
	open_model(&model, scratch_path(state, "m"));
	expect_files(&model, names, 6);
	assert_int_equal(model.files[1].size, 2);
	assert_false(model.files[3].is_weights);
	assert_true(model.files[4].is_weights);
	assert_int_equal(model.files[4].size, model.files[4].weights.file_size);
	const qs_weight *tensor = qs_model_find(&model, "two.weight", &file);
	assert_non_null(tensor);
	assert_ptr_equal(file, &model.files[5]);
	assert_non_null(qs_model_find(&model, "one.weight", NULL));
	assert_null(qs_model_find(&model, "three.weight", NULL));
	qs_model_close(&model);

	open_model(&model, scratch_path(state, "m/")); /* a slash at the end changes nothing */
	expect_files(&model, names, 6);
	qs_model_close(&model);
}

static void opens_a_single_file(void **state)
{
	qs_model model;
	scratch_write(state, "config.json", "{}", 2);
	open_model(&model, scratch_safetensors(state, "only.safetensors", TENSOR("one.weight"), 20));
	assert_int_equal(model.n_files, 1);
	assert_string_equal(model.files[0].name, "only.safetensors");
	assert_int_equal(model.n_precisions, 1);
	assert_string_equal(model.precisions[0].name, "bf16");
	assert_int_equal(model.precisions[0].dtype, QS_BF16);
	qs_model_close(&model);
	open_model(&model, scratch_safetensors(state, "another name", TENSOR("one.weight"), 20));
	assert_true(model.files[0].is_weights);
	qs_model_close(&model);
	expect(scratch_path(state, "missing.safetensors"), QSTORE_IO, "missing.safetensors", "cannot open");
	expect(scratch_path(state, "config.json"), QSTORE_INPUT, "config.json", "truncated");
	expect(scratch_write(state, "x.bin", "PK\3\4.................", 20), QSTORE_INPUT, "x.bin", "pickle");
	expect(scratch_write(state, "x.gguf", "GGUF.................", 20), QSTORE_INPUT, "x.gguf", "GGUF");
}

/* Hub caches: snapshots/REVISION/NAME is a link to ../../blobs/HASH. */
static void follows_links_to_files_only(void **state)
{
	static const char *const names[] = {"config.json", "model.safetensors"};
	qs_model model;
	scratch_safetensors(state, "blobs/0123", TENSOR("one.weight"), 20);
	scratch_write(state, "blobs/4567", "{}", 2);
	scratch_write(state, "outside/secret.txt", "x", 1);
	assert_int_equal(symlink("../../blobs/0123", scratch_path(state, "snapshots/r/model.safetensors")), 0);
	assert_int_equal(symlink("../../blobs/4567", scratch_path(state, "snapshots/r/config.json")), 0);
	assert_int_equal(symlink("../../outside", scratch_path(state, "snapshots/r/folder")), 0);
	assert_int_equal(symlink(".", scratch_path(state, "snapshots/r/loop")), 0);
	open_model(&model, scratch_path(state, "snapshots/r"));
	expect_files(&model, names, 2);
	assert_int_equal(model.files[0].size, 2);
	qs_model_close(&model);
	assert_int_equal(symlink("../../blobs/89ab", scratch_path(state, "snapshots/r/tokenizer.json")), 0);
	expect(scratch_path(state, "snapshots/r"), QSTORE_INPUT, "tokenizer.json", "missing file");
}

static void refuses_folders_without_weights(void **state)
{
	scratch_write(state, "m/config.json", "{}", 2);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "m", "no .safetensors, .gguf or .onnx file");
	scratch_write(state, "m/pytorch_model.bin", "PK\3\4............", 16);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "pytorch_model.bin", "safe_serialization");
	scratch_path(state, "none/x");
	expect(scratch_path(state, "none"), QSTORE_INPUT, "none", "no .safetensors, .gguf or .onnx file");
}

static void refuses_large_pickles_and_keeps_small_ones(void **state)
{
	static const char *const names[] = {"model.safetensors", "other.bin", "training_args.bin"};
	size_t size = 65536;
	char *pickle = calloc(size, 1);
	qs_model model;
	assert_non_null(pickle);
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	scratch_write(state, "m/other.bin", pickle, size); /* no pickle, whatever its name */
	memcpy(pickle, "\200\2}q", 4);
	scratch_write(state, "m/training_args.bin", pickle, size - 1);
	open_model(&model, scratch_path(state, "m"));
	expect_files(&model, names, 3);
	assert_false(model.files[2].is_weights);
	qs_model_close(&model);
	scratch_write(state, "m/optimizer.pt", pickle, size);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "optimizer.pt", "pickle");
	free(pickle);
}

/* The model opens, with one warning, which holds both. */
static void expect_warning(const char *path, const char *file, const char *what)
{
	qs_model model;
	open_model(&model, path);
	if (model.n_warnings != 1 || !strstr(model.warnings[0], file) || !strstr(model.warnings[0], what))
		fail_msg("%zu warnings, \"%s\", expected \"%s\" and \"%s\"", model.n_warnings,
		         model.n_warnings ? model.warnings[0] : "", file, what);
	qs_model_close(&model);
}

static void warns_of_a_wrong_index(void **state)
{
	qs_model model;
	static const char *const good[] = {
	    "{\"metadata\":{\"total_size\":40},\"weight_map\":{\"a.w\":\"s1.safetensors\",\"b.w\":\"s2."
	    "safetensors\"}}",
	    "{\"weight_map\":{\"a.w\":\"s2.safetensors\",\"a.w\":\"s1.safetensors\"}}", /* the last one counts */
	};
	static const char *const bad[][3] = {
	    {"{\"weight_map\":{\"a.w\":\"s3.safetensors\"}}", "1 of 1 tensors that it names",
	     "\"a.w\" should be in \"s3.safetensors\", which is missing"},
	    {"{\"weight_map\":{\"b.w\":\"s2.safetensors\",\"a.w\":\"s2.safetensors\",\"c.w\":\"s2.safetensors\"}"
	     "}",
	     "2 of 3 tensors that it names", "\"a.w\" should be in \"s2.safetensors\", which has no such tensor"},
	    {"{\"weight_map\":{\"a.w\":\"model.safetensors.index.json\"}}", "\"a.w\"", "which is missing"},
	    {"{\"weight_map\":{\"a.w\":\"../m/s1.safetensors\"}}", "\"a.w\"", "which is missing"},
	    {"{\"weight_map\":{\"a.w\":1}}", "\"a.w\" should be in \"\"", "which is missing"},
	    {"{\"weight_map\":[]}", "", "no weight_map"},
	    {"[]", "", "no weight_map"},
	    {"", "", "not valid JSON"},
	    {"{\"weight_map\":{}", "", "not valid JSON"},
	    {"\xef\xbb\xbf{\"weight_map\":{\"a.w\":\"s1.safetensors\"}}", "", "byte order mark"},
	};
	scratch_safetensors(state, "m/s1.safetensors", TENSOR("a.w"), 20);
	scratch_safetensors(state, "m/s2.safetensors", TENSOR("b.w"), 20);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		scratch_write(state, "m/model.safetensors.index.json", good[i], strlen(good[i]));
		open_model(&model, scratch_path(state, "m"));
		assert_int_equal(model.n_warnings, 0);
		qs_model_close(&model);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		scratch_write(state, "m/model.safetensors.index.json", bad[i][0], strlen(bad[i][0]));
		expect_warning(scratch_path(state, "m"), "model.safetensors.index.json", bad[i][2]);
		expect_warning(scratch_path(state, "m"), bad[i][1], bad[i][2]);
	}
}

static void an_index_speaks_of_its_own_folder(void **state)
{
	qs_model model;
	static const char *const index = "{\"weight_map\":{\"a.w\":\"s1.safetensors\"}}";
	scratch_safetensors(state, "m/unet/s1.safetensors", TENSOR("a.w"), 20);
	scratch_safetensors(state, "m/vae/s1.safetensors", TENSOR("b.w"), 20);
	scratch_write(state, "m/unet/diffusion.safetensors.index.json", index, strlen(index));
	open_model(&model, scratch_path(state, "m"));
	qs_model_close(&model);
}

/* Every name that a folder can have, but for those that are not UTF-8. */
static void takes_any_utf8_name(void **state)
{
	static const char *const names[] = {"a\\b.txt", "c:d.txt", "e\nf.txt", "nul", "end.", "*?\"<>|", "\x7f"};
	char name[40];
	qs_model model;
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(name, sizeof name, "m/%s", names[i]);
		const char *path = scratch_path(state, name);
		FILE *stream = fopen(path, "wb");
		if (!stream) /* some file systems cannot hold them */
			continue;
		fclose(stream);
		open_model(&model, scratch_path(state, "m"));
		assert_int_equal(model.n_files, 2);
		assert_string_equal(model.files[strcmp(names[i], "model") > 0].name, names[i]);
		qs_model_close(&model);
		assert_int_equal(remove(path), 0);
	}
	FILE *stream = fopen(scratch_path(state, "m/g\xff.txt"), "wb");
	if (stream) {
		fclose(stream);
		expect(scratch_path(state, "m"), QSTORE_INPUT, "g\xff.txt", "not UTF-8");
	}
}

static void refuses_names_that_are_too_long(void **state)
{
	char name[1100] = "m";
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	for (int i = 0; i < 5; i++) {
		size_t at = strlen(name);
		name[at] = '/';
		memset(name + at + 1, 'a', 210);
		name[at + 211] = 0;
	}
	scratch_write(state, name, "x", 1);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "aaaa", "more than 1023 bytes");
}

static void a_broken_shard_is_named(void **state)
{
	scratch_safetensors(state, "m/s1.safetensors", TENSOR("a.w"), 20);
	scratch_safetensors(state, "m/s2.safetensors", TENSOR("b.w"), 19);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "s2.safetensors: tensor \"b.w\"", "truncated");
	assert_int_equal(mkfifo(scratch_path(state, "m/pipe"), 0600), 0);
	expect(scratch_path(state, "m"), QSTORE_INPUT,
	       "2 files cannot be packed: pipe: neither a file nor a folder", "s2.safetensors: tensor \"b.w\"");
}

/* Codes are told by the tensors beside them, not by what weighs most. */
static void names_the_precision(void **state)
{
	static const struct {
		const char *tensors, *name;
		uint32_t dtype;
		unsigned bits;
	} cases[] = {
	    {"a F16 10|b F32 4", "fp16", QS_F16, 16},
	    {"a F16 7|b F32 4", "fp32", QS_F32, 32},
	    {"a F8_E4M3 7", "fp8", QS_F8_E4M3, 8},
	    {"a C64 7", "other", QS_C64, 0},
	    {"embed.weight BF16 100|q.weight I8 2,2|q.SCB F32 2", "int8", QS_I8, 8},
	    {"embed.weight BF16 100|q.weight I8 2,2|q.weight_scales F16 2", "int8", QS_I8, 8},
	    {"embed.weight BF16 100|q.weight I8 2,2|q.weight_scale_inv F32 1,1", "int8", QS_I8, 8},
	    {"embed.weight BF16 100|q.weight._data I8 2,2|q.weight._scale BF16 2,1", "int8", QS_I8, 8},
	    {"embed.weight BF16 100|q.weight U8 2,2|q.scale F32 2", "uint8", QS_U8, 8},
	    {"embed.weight BF16 999|q.weight F8_E4M3 4,4|q.weight_scale BF16 4,1", "fp8", QS_F8_E4M3, 8},
	    {"embed.weight BF16 999|q.weight U32 8,16|q.scales BF16 8,2|q.biases BF16 8,2", "mlx-4bit", QS_U4, 4},
	    {"q.weight U32 8,32|q.scales BF16 8,2|q.biases BF16 8,2", "mlx-8bit", QS_U8, 8},
	    {"q.weight U32 8,12|q.scales BF16 8,2|q.biases BF16 8,2", "mlx-3bit", QS_U32, 3},
	    {"embed.weight BF16 999|q.weight U8 64,1|q.weight.absmax F32 2|"
	     "q.weight.quant_state.bitsandbytes__nf4 U8 80",
	     "nf4", QS_U4, 4},
	    {"q.weight U8 64,1|q.weight.quant_state.bitsandbytes__fp4 U8 80", "fp4", QS_U4, 4},
	    {"embed.weight F16 999|q.qweight I32 4,8|q.qzeros I32 1,1|q.scales F16 1,8|q.g_idx I32 32", "int4",
	     QS_U4, 4},
	    {"q.qweight I32 3,32|q.qzeros I32 1,3|q.scales F16 1,32|q.g_idx I32 32", "gptq-3bit", QS_I32, 3},
	    {"embed.weight F16 999|q.qweight I32 2,32|q.qzeros I32 1,2|q.scales F16 1,32", "gptq-2bit", QS_I32,
	     2},
	    {"q.qweight I32 32,4|q.qzeros I32 1,4|q.scales F16 1,32", "int4", QS_U4, 4},
	    {"embed.weight BF16 999|q.weight_packed U8 8,16|q.weight_scale F8_E4M3 8,2|q.weight_global_scale F32 "
	     "1",
	     "nvfp4", QS_U4, 4},
	    {"q.weight U8 8,16|q.weight_scale F8_E4M3 8,2|q.weight_scale_2 F32", "nvfp4", QS_U4, 4},
	    {"embed.weight BF16 999|e.gate_up_proj_blocks U8 2,4,1,16|e.gate_up_proj_scales U8 2,4,1", "mxfp4",
	     QS_U4, 4},
	    {"embed.weight BF16 999|q.q_weight I32 5,32|q.q_scale I32 1,4|q.q_invperm I32 32", "exl2", QS_I32, 0},
	    {"embed.weight BF16 999|q.codes I16 8,4,1|q.codebooks F16 1,256,1,8", "aqlm", QS_I16, 0},
	    {"embed.weight BF16 999|q.W_q U8 8,32|q.scale F16 8,1|q.zero F16 8,1", "hqq", QS_U8, 0},
	    /* words that nothing tells of: of unknown bits */
	    {"q.weight U32 8,16", "uint32", QS_U32, 0},
	    {"", "other", QS_BYTES, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		qs_model model;
		open_model(&model, write_tensors(state, "model.safetensors", cases[i].tensors));
		const qs_precision *p = &model.precisions[0];
		if (strcmp(p->name, cases[i].name) != 0 || p->dtype != cases[i].dtype || p->bits != cases[i].bits)
			fail_msg("%s: %s, %s, %u bits", cases[i].tensors, p->name, qs_dtype_name(p->dtype), p->bits);
		qs_model_close(&model);
	}
}

/* Where tensors do not tell all, config.json does. */
static void config_says_more_of_the_precision(void **state)
{
	static const char *const cases[][3] = {
	    {"q.weight U32 8,16|q.scales BF16 8,4|q.biases BF16 8,4",
	     "{\"quantization\":{\"group_size\":32,\"bits\":4}}", "mlx-4bit"},
	    {"q.W_q U8 8,32|q.scale F16 8,1", "{\"quantization_config\":{\"quant_method\":\"hqq\"}}", "hqq"},
	    {"embed.weight BF16 9|q.packed I32 8,32",
	     "{\"quantization_config\":{\"quant_method\":\"higgs\",\"bits\":4}}", "higgs-4bit"},
	    /* a config that was copied beside weights in 16 bits */
	    {"q.weight BF16 8,32", "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}", "bf16"},
	    {"q.weight BF16 8,32|q.W I8 2,2", "{\"quantization_config\":{\"quant_method\":\"../x\"}}", "bf16"},
	    {"q.weight BF16 8,32", "[", "bf16"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		qs_model model;
		write_tensors(state, "m/model.safetensors", cases[i][0]);
		scratch_write(state, "m/config.json", cases[i][1], strlen(cases[i][1]));
		open_model(&model, scratch_path(state, "m"));
		assert_string_equal(model.precisions[0].name, cases[i][2]);
		qs_model_close(&model);
	}
}

/* ---- Files that are left out, refused or warned of ---- */

static void open_with(qs_model *model, const char *path, qs_model_options options)
{
	qstore_error error;
	if (qs_model_open_with(model, path, &options, &error))
		fail_msg("%s", error.text);
}

static void skips_what_patterns_match(void **state)
{
	static const char *const all[] = {"a[1].txt", "config.json", "model.safetensors", "original/deep/c.pth",
	                                  "original/p.json"};
	static const struct {
		const char *patterns[3];
		unsigned kept; /* bit i: all[i] is */
	} cases[] = {
	    {{"*.pth"}, 0x17},          {{"original"}, 0x07}, {{"original/"}, 0x07},       {{"original/*"}, 0x07},
	    {{"deep"}, 0x17},           {{"*.json"}, 0x0d},   {{"*.json", "*.txt"}, 0x0c}, {{"a[1].txt"}, 0x1e},
	    {{"none", "*.none"}, 0x1f}, {{"p.json"}, 0x0f},   {{"original/deep"}, 0x17},
	};
	write_tensors(state, "m/model.safetensors", "w BF16 4,4");
	scratch_write(state, "m/a[1].txt", "x", 1);
	scratch_write(state, "m/config.json", "{}", 2);
	scratch_write(state, "m/original/deep/c.pth", "x", 1);
	scratch_write(state, "m/original/p.json", "x", 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		qs_model model;
		unsigned kept = 0;
		open_with(&model, scratch_path(state, "m"), (qs_model_options){.skip = cases[i].patterns});
		for (size_t f = 0; f < model.n_files; f++)
			for (size_t a = 0; a < sizeof all / sizeof *all; a++)
				kept |= (unsigned)!strcmp(all[a], model.files[f].name) << a;
		assert_int_equal(kept, cases[i].kept);
		qs_model_close(&model);
	}
}

static void names_all_refused_files(void **state)
{
	enum { SIZE = 65536 };
	char *pickle = calloc(SIZE, 1);
	assert_non_null(pickle);
	memcpy(pickle, "PK\3\4", 4);
	write_tensors(state, "m/model.safetensors", "w BF16 4,4");
	scratch_write(state, "m/pytorch_model.bin", pickle, SIZE);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "pytorch_model.bin: pickled weights",
	       "; or leave it out: --skip 'pytorch_model.bin'");
	scratch_write(state, "m/original/consolidated.00.pth", pickle, SIZE);
	scratch_write(state, "m/part.safetensors", "version https://git-lfs", 23);
	expect(scratch_path(state, "m"), QSTORE_INPUT,
	       "3 files cannot be packed: original/consolidated.00.pth, pytorch_model.bin: pickled weights",
	       "part.safetensors: a Git LFS pointer");
	expect(scratch_path(state, "m"), QSTORE_INPUT, "m:",
	       "or leave them out: --skip 'original/consolidated.00.pth' --skip 'part.safetensors' --skip "
	       "'pytorch_model.bin'");
	/* One pattern for many, unless it would take others too. */
	for (int i = 0; i < 20; i++) {
		char name[200];
		snprintf(name, sizeof name, "m/%0100d.bin", i);
		scratch_write(state, name, pickle, SIZE);
	}
	expect(scratch_path(state, "m"), QSTORE_INPUT, "23 files cannot be packed", "--skip '*.bin'");
	scratch_write(state, "m/good.bin", "x", 1);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "23 files cannot be packed", ".bin' …");
	qs_model model;
	open_with(
	    &model, scratch_path(state, "m"),
	    (qs_model_options){.skip = (const char *const[]){"*.bin", "original", "part.safetensors", NULL}});
	assert_int_equal(model.n_files, 1);
	qs_model_close(&model);
	open_with(&model, scratch_path(state, "m"),
	          (qs_model_options){.skip = (const char *const[]){"part*", NULL}, .takes_pickles = 1});
	assert_int_equal(model.n_files, 24);
	qs_model_close(&model);
	free(pickle);
}

static void takes_small_files_beside(void **state)
{
	static const char *const names[] = {"LICENSE", "README.md", "x-q4_0.gguf"};
	qs_model model;
	scratch_write(state, "README.md", "x", 1);
	scratch_write(state, "LICENSE", "x", 1);
	scratch_write(state, "other.qstore", "x", 1);
	scratch_write(state, "imatrix.bin", "x", 1);
	scratch_write(state, "sub/README.md", "x", 1);
	write_gguf(state, "x-q8_0.gguf", "w", 8, 0, 0, 0);
	const char *path = write_gguf(state, "x-q4_0.gguf", "w", 2, 0, 0, 0);
	open_model(&model, path);
	expect_files(&model, &names[2], 1);
	qs_model_close(&model);
	open_with(&model, path, (qs_model_options){.takes_beside = 1});
	expect_files(&model, names, 3);
	assert_int_equal(model.files[0].precisions, 1);
	qs_model_close(&model);
	open_with(&model, path,
	          (qs_model_options){.takes_beside = 1, .skip = (const char *const[]){"LICENSE", NULL}});
	expect_files(&model, &names[1], 2);
	qs_model_close(&model);
}

static void warns_of_files_that_are_no_part_of_a_model(void **state)
{
	static const struct {
		const char *name, *start, *what;
		size_t size;
	} cases[] = {
	    {"tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS", 130},
	    {"model.safetensors.incomplete", "x", "a download that did not end", 10},
	    {"data.zip", "PK\3\4", "an archive", 100},
	    {"old.qstore", "qstore/index", "an archive", 600},
	    {"backup.tar", "x", "an archive", 600},
	    {"ggml-model.bin", "ggml", "goes into every variant", 20000},
	    {"training_args.bin", "PK\3\4", "a pickle, which is a program", 20000},
	    {"scaler.pkl", "\200\4", "a pickle, which is a program", 100},
	    {"pipeline.joblib", "\200\4", "a pickle, which is a program", 100},
	    {"tf_model.h5", "\211HDF", "goes into every variant", 20000},
	};
	qs_model model;
	write_tensors(state, "m/model.safetensors", "w BF16 4,4");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[100], *data = calloc(cases[i].size, 1);
		assert_non_null(data);
		memcpy(data, cases[i].start, strlen(cases[i].start));
		snprintf(name, sizeof name, "m/%s", cases[i].name);
		const char *path = scratch_write(state, name, data, cases[i].size);
		expect_warning(scratch_path(state, "m"), cases[i].name, cases[i].what);
		remove(path);
		free(data);
	}
	scratch_write(state, "m/a.zip", "x", 1);
	scratch_write(state, "m/b.zip", "x", 1);
	expect_warning(scratch_path(state, "m"), "each of these 2 files is an archive,",
	               "; leave it out by --skip: a.zip, b.zip");
	open_with(&model, scratch_path(state, "m"),
	          (qs_model_options){.skip = (const char *const[]){"*.zip", NULL}});
	assert_int_equal(model.n_warnings, 0);
	qs_model_close(&model);
}

/* A hub's cache has blobs, and links to them in snapshots. */
static void warns_of_the_root_of_a_cache(void **state)
{
	write_tensors(state, "c/blobs/0123", "w BF16 4,4");
	scratch_path(state, "c/snapshots/r/none");
	assert_int_equal(symlink("../../blobs/0123", scratch_path(state, "c/snapshots/r/model.safetensors")), 0);
	expect_warning(scratch_path(state, "c"), "the cache of a hub", "such as \"snapshots/r\",");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(finds_files_of_a_folder),
	    TEST(opens_a_single_file),
	    TEST(follows_links_to_files_only),
	    TEST(refuses_folders_without_weights),
	    TEST(refuses_large_pickles_and_keeps_small_ones),
	    TEST(warns_of_a_wrong_index),
	    TEST(an_index_speaks_of_its_own_folder),
	    TEST(takes_any_utf8_name),
	    TEST(refuses_names_that_are_too_long),
	    TEST(a_broken_shard_is_named),
	    TEST(names_the_precision),
	    TEST(config_says_more_of_the_precision),
	    TEST(skips_what_patterns_match),
	    TEST(names_all_refused_files),
	    TEST(takes_small_files_beside),
	    TEST(warns_of_files_that_are_no_part_of_a_model),
	    TEST(warns_of_the_root_of_a_cache),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
