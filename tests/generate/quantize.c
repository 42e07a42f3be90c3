#include "quantize.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/model.h"
#include "quantize/llm_int8.h"
#include "gptq.h"
#include "layouts.h"
#include "random.h"
#include "values.h"

static void read_at(FILE *stream, const char *path, uint64_t offset, void *dst, size_t size)
{
	if (fseeko(stream, (off_t)offset, SEEK_SET) || fread(dst, 1, size, stream) != size)
		gen_die("%s: cannot read: %s", path, strerror(errno));
}

static FILE *open_file(const char *path)
{
	FILE *stream = fopen(path, "rb");
	if (!stream)
		gen_die("%s: cannot read: %s", path, strerror(errno));
	return stream;
}

/* Is this a matrix that quantizers quantize? LLM.int8's list of names decides. */
static int is_linear(const qs_weight *t)
{
	return value_is_float(t->dtype) && qs_llm_int8_selects(t->name, t->dtype == QS_F32 ? QS_F16 : t->dtype,
	                                                       t->n_dims, t->dims, NULL, NULL);
}

/* Loads a tensor's values as floats; returns 0 if one is not finite. */
static int load_matrix(gen_matrix *m, const qs_weight *t, const uint8_t *data)
{
	*m = (gen_matrix){
	    .name = t->name, .dtype = t->dtype, .rows = (size_t)t->dims[0], .cols = (size_t)t->dims[1]};
	m->values = gen_allocate(m->rows * m->cols * sizeof *m->values);
	for (size_t i = 0; i < m->rows * m->cols; i++) {
		m->values[i] = value_load(data, m->dtype, i);
		if (!isfinite(m->values[i]))
			return 0;
	}
	return 1;
}

/* Multiplies each column by sqrt(largest activation / largest weight), in the weights' type: SmoothQuant with
 * α = 0.5. (Xiao et al. 2022, "SmoothQuant", equation 4) */
static void smooth(const quantize_options *o, gen_matrix *m)
{
	enum { N_SAMPLES = 64 };
	gen_inputs inputs = {o->seed, o->correlation};
	float *samples = gen_activations(&inputs, m->name, m->cols, N_SAMPLES);
	for (size_t c = 0; c < m->cols; c++) {
		float input = 0, weight = 1e-5f;
		for (size_t i = 0; i < N_SAMPLES; i++)
			input = fmaxf(input, fabsf(samples[i * m->cols + c]));
		for (size_t r = 0; r < m->rows; r++)
			weight = fmaxf(weight, fabsf(m->values[r * m->cols + c]));
		float factor = value_round(m->dtype, sqrtf(input / weight));
		for (size_t r = 0; r < m->rows; r++)
			m->values[r * m->cols + c] = value_round(m->dtype, m->values[r * m->cols + c] * factor);
	}
	free(samples);
}

/* Imitates a GPU's approximate division: the factor of each row is off by some ulps. */
static void disturb_factors(const quantize_options *o, gen_codes *codes, const char *name)
{
	for (size_t r = 0; r < codes->rows; r++) {
		rng random;
		rng_seed(&random, o->seed ^ 0x0b9, name, r);
		float *factor = &codes->params[r].factor;
		int ulps = (int)rng_below(&random, 2 * o->ulps + 1) - (int)o->ulps;
		for (; ulps && *factor > 0; ulps += ulps > 0 ? -1 : 1)
			*factor = nextafterf(*factor, ulps > 0 ? INFINITY : 0);
	}
}

static unsigned bits_of(const quantize_options *o)
{
	return o->bits ? o->bits : o->rule == QUANTIZE_AWQ ? 4 : 8;
}

static gen_rounding rounding_of(const quantize_options *o, uint32_t dtype)
{
	static const int rules[] = {[QUANTIZE_GPTQ] = GEN_GPTQ,
	                            [QUANTIZE_AWQ] = GEN_AWQ,
	                            [QUANTIZE_COMPRESSED_TENSORS] = GEN_COMPRESSED_TENSORS,
	                            [QUANTIZE_TORCHAO] = GEN_TORCHAO,
	                            [QUANTIZE_LLM_INT8] = GEN_LLM_INT8,
	                            [QUANTIZE_ROUND] = GEN_DIVIDE};
	return (gen_rounding){.rule = o->rule == QUANTIZE_ROUND && o->multiply ? GEN_MULTIPLY : rules[o->rule],
	                      .bits = bits_of(o),
	                      .asymmetric = o->asymmetric,
	                      .dtype = dtype,
	                      .search = o->search,
	                      .wide = o->feedback || o->single};
}

static void make_codes(const quantize_options *o, gen_codes *codes, const gen_matrix *m)
{
	int feedback = o->rule == QUANTIZE_GPTQ || o->feedback;
	gen_codes_find_params(codes, m);
	if (o->rule == QUANTIZE_LLM_INT8)
		disturb_factors(o, codes, m->name);
	if (feedback)
		gen_codes_gptq(codes, m,
		               &(gen_gptq_options){.inputs = {o->seed, o->correlation},
		                                   .group_size = o->per == GEN_PER_GROUP ? (size_t)o->group : 0,
		                                   .act_order = o->act_order,
		                                   .keep_params = o->rule != QUANTIZE_GPTQ || o->static_groups});
	else
		gen_codes_round(codes, m);
}

/* Adds the quantized tensor; returns 0 if the quantizer would leave the tensor as it is. */
static int add_quantized(const quantize_options *o, gen_list *list, const qs_weight *t, const uint8_t *data)
{
	gen_matrix m;
	gen_codes codes;
	char stem[sizeof list->tensors->name];
	int taken = load_matrix(&m, t, data);
	gen_rounding rounding = rounding_of(o, m.dtype);
	snprintf(stem, sizeof stem, "%.*s", (int)(strlen(t->name) - strlen(".weight")), t->name);
	gen_codes_init(&codes, &m, &rounding, o->per, (size_t)o->group);
	if (taken && gen_layout_fits(&codes)) {
		if (o->smooth || o->rule == QUANTIZE_AWQ)
			smooth(o, &m);
		make_codes(o, &codes, &m);
		(o->rule == QUANTIZE_GPTQ       ? (o->v2 ? gen_layout_gptq_v2 : gen_layout_gptq)
		 : o->rule == QUANTIZE_AWQ      ? gen_layout_awq
		 : o->rule == QUANTIZE_TORCHAO  ? gen_layout_torchao
		 : o->rule == QUANTIZE_LLM_INT8 ? gen_layout_llm_int8
		 : o->rule == QUANTIZE_ROUND    ? gen_layout_plain
		 : o->packed                    ? gen_layout_pack_quantized
		                                : gen_layout_compressed_tensors)(list, stem, &codes);
	} else {
		taken = 0;
	}
	gen_codes_free(&codes);
	free(m.values);
	return taken;
}

/* Adds a cast tensor: floats cast to 16 bits, or linear weights to 8. */
static void add_cast(gen_list *list, const qs_weight *t, const uint8_t *data, uint32_t dtype)
{
	uint8_t *dst = gen_list_add(list, "%s", t->name, dtype, t->n_dims, t->dims);
	for (uint64_t i = 0; i < t->size / qs_dtype_size(t->dtype); i++)
		value_store(dst, dtype, i, value_load(data, t->dtype, i));
}

/* Adds a tensor whose numbers are moved by noise: `step` times the root of the tensor's mean square. */
static void add_moved(const quantize_options *o, gen_list *list, const qs_weight *t, const uint8_t *data)
{
	uint64_t n = t->size / qs_dtype_size(t->dtype);
	uint8_t *dst = gen_list_add(list, "%s", t->name, t->dtype, t->n_dims, t->dims);
	normal_table *normal = gen_allocate(sizeof *normal);
	double squares = 0;
	rng r;
	normal_table_init(normal);
	rng_seed(&r, o->seed ^ 0xf17e, t->name, 1);
	for (uint64_t i = 0; i < n; i++) {
		double value = (double)value_load(data, t->dtype, i);
		squares += isfinite(value) ? value * value : 0;
	}
	double spread = n ? o->step * sqrt(squares / (double)n) : 0;
	for (uint64_t i = 0; i < n; i++) {
		double change = spread * normal_next(normal, &r);
		value_store(dst, t->dtype, i, (float)((double)value_load(data, t->dtype, i) + change));
	}
	free(normal);
}

static int is_moved(const quantize_options *o, const qs_weight *t)
{
	rng r;
	rng_seed(&r, o->seed ^ 0xf17e, t->name, 0);
	return value_is_float(t->dtype) && (double)rng_below(&r, 1 << 20) < o->part * (1 << 20);
}

static void add_tensor(const quantize_options *o, gen_list *list, const qs_weight *t, const uint8_t *data)
{
	int linear = is_linear(t), wide = qs_dtype_size(o->dtype) > 1;
	if (t->n_dims > sizeof list->tensors->dims / sizeof *list->tensors->dims)
		gen_die("%s: too many dimensions", t->name);
	if (o->rule == QUANTIZE_CAST && (wide ? value_is_float(t->dtype) : linear))
		add_cast(list, t, data, o->dtype);
	else if (o->rule == QUANTIZE_FINETUNE && is_moved(o, t))
		add_moved(o, list, t, data);
	else if (o->rule == QUANTIZE_CAST || o->rule == QUANTIZE_FINETUNE || !linear ||
	         !add_quantized(o, list, t, data))
		memcpy(gen_list_add(list, "%s", t->name, t->dtype, t->n_dims, t->dims), data, (size_t)t->size);
}

/* Makes the "quantization_config" of config.json as the quantizer's own library writes it; NULL if none is
 * read. */
static json_t *make_config(const quantize_options *o)
{
	int bits = (int)bits_of(o), grouped = o->per == GEN_PER_GROUP;
	switch (o->rule) {
	case QUANTIZE_GPTQ:
		return json_pack("{s:i, s:s, s:f, s:b, s:I, s:b, s:s, s:b, s:b, s:b}", "bits", bits,
		                 "checkpoint_format", o->v2 ? "gptq_v2" : "gptq", "damp_percent", 0.01, "desc_act",
		                 o->act_order, "group_size", grouped ? (json_int_t)o->group : (json_int_t)-1,
		                 "is_marlin_format", 0, "quant_method", "gptq", "static_groups", o->static_groups,
		                 "sym", !o->asymmetric, "true_sequential", 1);
	case QUANTIZE_AWQ:
		return json_pack("{s:i, s:I, s:n, s:s, s:s, s:b}", "bits", bits, "group_size",
		                 grouped ? (json_int_t)o->group : (json_int_t)-1, "modules_to_not_convert",
		                 "quant_method", "awq", "version", "gemm", "zero_point", 1);
	case QUANTIZE_COMPRESSED_TENSORS:
		return json_pack(
		    "{s:{s:{s:n, s:n, s:[s], s:{s:n, s:b, s:o, s:i, s:s, s:s, s:b, s:s}}}, s:s, s:[s], s:s, "
		    "s:s}",
		    "config_groups", "group_0", "input_activations", "output_activations", "targets", "Linear",
		    "weights", "actorder", "dynamic", 0, "group_size",
		    grouped ? json_integer((json_int_t)o->group) : json_null(), "num_bits", bits, "observer",
		    "minmax", "strategy", grouped ? "group" : "channel", "symmetric", !o->asymmetric, "type", "int",
		    "format", o->packed ? "pack-quantized" : "int-quantized", "ignore", "lm_head", "quant_method",
		    "compressed-tensors", "quantization_status", "compressed");
	case QUANTIZE_TORCHAO:
		return json_pack("{s:s, s:{s:{s:{}, s:s, s:i}}}", "quant_method", "torchao", "quant_type", "default",
		                 "_data", "_type", "Int8WeightOnlyConfig", "_version", 2);
	case QUANTIZE_LLM_INT8:
		return json_pack("{s:f, s:b, s:b, s:s}", "llm_int8_threshold", 6.0, "load_in_4bit", 0, "load_in_8bit",
		                 1, "quant_method", "bitsandbytes");
	default:
		return NULL;
	}
}

static void write_json(const char *folder, const char *name, json_t *json)
{
	char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	if (!text)
		gen_die("out of memory");
	gen_write_text(folder, name, text, strlen(text));
	free(text);
}

static void write_config(const quantize_options *o, const char *text, size_t size)
{
	json_error_t error;
	json_t *config = json_loadb(text, size, 0, &error), *quantization = make_config(o);
	if (!config)
		gen_die("config.json: %s", error.text);
	if (o->rule == QUANTIZE_GPTQ)
		write_json(o->output, "quantize_config.json", quantization);
	if (quantization)
		json_object_set_new(config, "quantization_config", quantization);
	write_json(o->output, "config.json", config);
	json_decref(config);
}

static void copy_small_file(const quantize_options *o, const qs_model_file *file)
{
	static const char index[] = ".safetensors.index.json";
	size_t size = (size_t)file->size, name_size = strlen(file->name);
	/* The index is made anew, and files in subfolders do not belong to the model. */
	if (strchr(file->name, '/') ||
	    (name_size >= strlen(index) && !strcmp(file->name + name_size - strlen(index), index)))
		return;
	FILE *stream = open_file(file->path);
	char *text = gen_allocate(size);
	read_at(stream, file->path, 0, text, size);
	fclose(stream);
	if (!strcmp(file->name, "config.json"))
		write_config(o, text, size);
	else
		gen_write_text(o->output, file->name, text, size);
	free(text);
}

void quantize_check(const quantize_options *o)
{
	int gptq = o->rule == QUANTIZE_GPTQ, awq = o->rule == QUANTIZE_AWQ,
	    compressed = o->rule == QUANTIZE_COMPRESSED_TENSORS, round = o->rule == QUANTIZE_ROUND;
	const struct {
		int given, fits;
		const char *name;
	} options[] = {
	    {o->bits != 0, gptq || compressed, "--bits"},
	    {o->per == GEN_PER_GROUP, gptq || awq || compressed || round, "--group"},
	    {o->per == GEN_PER_COLUMN || o->per == GEN_PER_TENSOR, round, "--per"},
	    {o->asymmetric, gptq || compressed || (round && !o->multiply), "--asymmetric"},
	    {o->act_order, gptq, "--act-order"},
	    {o->static_groups, gptq, "--static-groups"},
	    {o->search, gptq, "--search"},
	    {o->v2, gptq, "--v2"},
	    {o->feedback, compressed, "--feedback"},
	    {o->packed, compressed, "--packed"},
	    {o->single, compressed, "--single"},
	    {o->multiply, round, "--multiply"},
	    {o->ulps != 0, o->rule == QUANTIZE_LLM_INT8, "--ulps"},
	    {o->dtype != 0, o->rule == QUANTIZE_CAST, "--dtype"},
	    {o->smooth, o->rule < QUANTIZE_CAST, "--smooth"},
	};
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (options[i].given && !options[i].fits)
			gen_die("%s does not go with this rule", options[i].name);
	if (o->rule == QUANTIZE_CAST && !o->dtype)
		gen_die("to which type? give --dtype");
}

void generate_quantized(const quantize_options *o)
{
	qs_model model;
	qstore_error error;
	gen_list list = {0};
	if (qs_model_open(&model, o->model, &error))
		gen_die("%s", error.text);
	gen_make_folder(o->output);
	for (size_t f = 0; f < model.n_files; f++) {
		const qs_model_file *file = &model.files[f];
		if (!file->is_weights) {
			copy_small_file(o, file);
			continue;
		}
		FILE *stream = open_file(file->path);
		for (size_t i = 0; i < file->weights.n_tensors; i++) {
			const qs_weight *t = &file->weights.tensors[i];
			uint8_t *data = gen_allocate((size_t)t->size);
			read_at(stream, file->path, t->offset, data, (size_t)t->size);
			add_tensor(o, &list, t, data);
			free(data);
		}
		fclose(stream);
		list.shard++;
	}
	gen_write_weights(&(gen_files){.high = o->output, .n_shards = list.shard}, list.tensors, list.n_tensors);
	gen_list_free(&list);
	qs_model_close(&model);
}
