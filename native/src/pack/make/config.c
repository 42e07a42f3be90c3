/* The config.json of an INT8 variant that the packer makes. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "make.h"
#include "os/file.h"
#include "text.h"

#define CONFIG_SIZE_MAX ((uint64_t)1 << 24)

/* The names of the modules that keep their 16 bits: transformers expects codes in all others. */
static json_t *skipped_modules(const pack_input *input)
{
	json_t *names = json_array();
	int head = 0;
	for (size_t i = 0; i < input->n_files; i++) {
		const pack_file *file = &input->files[i];
		if ((file->variants & 1) != 0)
			continue;
		for (size_t j = 0; j < file->n_tensors; j++) {
			const pack_tensor *t = &file->tensors[j];
			size_t size = strlen(t->name);
			if (t->coding.role == PACK_REFINE || t->n_dims != 2 || size <= 7 ||
			    strcmp(t->name + size - 7, ".weight") != 0)
				continue;
			json_array_append_new(names, json_stringn(t->name, size - 7));
			head |= strcmp(t->name, "lm_head.weight") == 0;
		}
	}
	if (json_array_size(names) == 0) {
		json_decref(names);
		return json_null();
	}
	/* This list replaces transformers' own, which has the head even where it is tied to the embedding. */
	if (!head)
		json_array_append_new(names, json_string("lm_head"));
	return names;
}

/* The fields that transformers' BitsAndBytesConfig writes (transformers/utils/quantization_config.py), with
 * its defaults. */
static json_t *quantization_config(const pack_input *input)
{
	return json_pack("{s:b, s:b, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:f, s:b, s:b, s:s}", "_load_in_4bit", 0,
	                 "_load_in_8bit", 1, "bnb_4bit_compute_dtype", "float32", "bnb_4bit_quant_storage",
	                 "uint8", "bnb_4bit_quant_type", "fp4", "bnb_4bit_use_double_quant", 0,
	                 "llm_int8_enable_fp32_cpu_offload", 0, "llm_int8_has_fp16_weight", 0,
	                 "llm_int8_skip_modules", skipped_modules(input), "llm_int8_threshold", 6.0,
	                 "load_in_4bit", 0, "load_in_8bit", 1, "quant_method", "bitsandbytes");
}

/* JSON as text, numbers with the fewest digits that give the same values back. Malloc'd; NULL when out of
 * memory. */
static char *dump_json(const json_t *value)
{
	for (size_t digits = 6; digits <= 17; digits++) {
		char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(digits));
		json_t *back = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
		int same = back && json_equal(value, back);
		json_decref(back);
		if (same || digits == 17)
			return text;
		free(text);
	}
	return NULL;
}

qstore_status pack_make_config(pack_input *input, pack_spool *spool, const qs_model_file *original, int *made,
                               qstore_error *error)
{
	*made = 0;
	if (original->size > CONFIG_SIZE_MAX)
		return QSTORE_OK;
	int fd;
	char *text = malloc((size_t)original->size + 1);
	if (!text)
		return qs_no_memory(error);
	qstore_status status = qs_open_read(&fd, original->path, error);
	if (!status) {
		status = qs_pread_all(fd, text, (size_t)original->size, 0, original->path, error);
		close(fd);
	}
	json_t *config = status ? NULL : json_loadb(text, (size_t)original->size, 0, NULL);
	free(text);
	if (!json_is_object(config)) {
		json_decref(config);
		return status;
	}
	if (json_object_set_new(config, "quantization_config", quantization_config(input)) != 0)
		status = qs_no_memory(error);
	text = status ? NULL : dump_json(config);
	json_decref(config);
	if (!text)
		return qs_no_memory(error);
	size_t size = strlen(text);
	text[size] = '\n'; /* in place of the zero byte */
	uint64_t offset;
	status = pack_spool_append(spool, text, size + 1, &offset, error);
	free(text);
	if (status)
		return status;
	pack_small *small = pack_add_small(input);
	if (!small)
		return qs_no_memory(error);
	*small = (pack_small){.name = original->name,
	                      .path = original->name,
	                      .variants = 1,
	                      .bytes = {&spool->source, offset, size + 1}};
	*made = 1;
	return QSTORE_OK;
}
