/* The config.json of an INT8 variant that the packer makes. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pack/pack.h"

#define CONFIG_SIZE_MAX ((uint64_t)1 << 24)

/* Modules that keep their 16 bits, by name, or transformers would expect codes in them. */
static json_t *skipped_modules(const packer *p)
{
	json_t *names = json_array();
	int head = 0;
	for (size_t i = 0; i < p->n_files; i++) {
		if ((p->files[i].variants & 1) != 0)
			continue;
		for (size_t j = 0; j < p->files[i].n_tensors; j++) {
			const pack_tensor *t = &p->files[i].tensors[j];
			size_t size = strlen(t->name);
			if (t->role == PACK_REFINE || t->n_dims != 2 || size <= 7 ||
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
	/* A list replaces transformers' own, in which a head that is tied to the embedding would be. */
	if (!head)
		json_array_append_new(names, json_string("lm_head"));
	return names;
}

/* What transformers' BitsAndBytesConfig writes (transformers/utils/quantization_config.py), with its
 * defaults. */
static json_t *quantization_config(const packer *p)
{
	return json_pack("{s:b, s:b, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:f, s:b, s:b, s:s}", "_load_in_4bit", 0,
	                 "_load_in_8bit", 1, "bnb_4bit_compute_dtype", "float32", "bnb_4bit_quant_storage",
	                 "uint8", "bnb_4bit_quant_type", "fp4", "bnb_4bit_use_double_quant", 0,
	                 "llm_int8_enable_fp32_cpu_offload", 0, "llm_int8_has_fp16_weight", 0,
	                 "llm_int8_skip_modules", skipped_modules(p), "llm_int8_threshold", 6.0, "load_in_4bit",
	                 0, "load_in_8bit", 1, "quant_method", "bitsandbytes");
}

/* Numbers are written with the fewest digits that give the same values back. */
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

qstore_status pack_make_config(packer *p, const qs_model_file *original, int *made, qs_error *error)
{
	*made = 0;
	if (original->size > CONFIG_SIZE_MAX)
		return QSTORE_OK;
	int fd;
	char *text = malloc((size_t)original->size + 1);
	if (!text)
		return pack_no_memory(error);
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
	if (json_object_set_new(config, "quantization_config", quantization_config(p)) != 0)
		status = pack_no_memory(error);
	text = status ? NULL : dump_json(config);
	json_decref(config);
	if (!text)
		return pack_no_memory(error);
	pack_small *small;
	status = pack_add_small(p, &small, error);
	if (!status) {
		size_t size = strlen(text);
		text[size] = '\n'; /* instead of the zero byte */
		small->name = small->path = original->name;
		small->variants = 1;
		small->size = size + 1;
		status = pack_generate(p, text, size + 1, &small->source_offset, error);
		small->source = p->generated;
		*made = 1;
	}
	free(text);
	return status;
}
