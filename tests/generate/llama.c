#include "llama.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "values.h"
#include "writer.h"

/* How a tensor's numbers are made. */
enum { LINEAR, EMBEDDING, NORM };

typedef struct llama {
	llama_options o;
	uint64_t heads, kv_heads, head_size;
	normal_table normal;
	const gen_tensor *columns_of; /* the tensor whose column factors are in `columns` */
	float *columns;               /* room for the columns of the widest tensor */
	float *row;
} llama;

/* Returns a log-normal number around 1: 2^(spread · z). */
static double log_normal(const llama *m, rng *r, double spread)
{
	return exp2_portable(spread * normal_next(&m->normal, r));
}

/* Makes factors for a matrix's columns. They are nearly equal, but one in 400 is an outlier. */
static void make_columns(llama *m, const gen_tensor *tensor)
{
	rng r;
	uint64_t cols = gen_tensor_cols(tensor);
	rng_seed(&r, m->o.seed ^ 0xc01, tensor->name, 0);
	for (uint64_t c = 0; c < cols; c++) {
		double factor = log_normal(m, &r, tensor->nature == LINEAR ? 0.2 : 0.1);
		if (rng_below(&r, 400) == 0)
			factor *= 2 + 0.0625 * (double)rng_below(&r, 64);
		m->columns[c] = (float)factor;
	}
	m->columns_of = tensor;
}

/* Makes a row. No expression has both a product and a sum of floats, so that compilers cannot fuse them. */
static void make_row(llama *m, const gen_tensor *tensor, uint64_t row)
{
	uint64_t cols = gen_tensor_cols(tensor);
	rng r;
	rng_seed(&r, m->o.seed, tensor->name, row);
	if (tensor->nature == NORM) {
		for (uint64_t c = 0; c < cols; c++) {
			int32_t z = normal_from_bits(&m->normal, (uint32_t)(rng_next(&r) >> 32), &r);
			int32_t near_one = NORMAL_ONE + z / 8;
			m->row[c] = (float)near_one * (1.0f / NORMAL_ONE) * (rng_below(&r, 256) ? 1.0f : 2.5f);
		}
		return;
	}
	double base = tensor->nature == EMBEDDING ? 0.02 : 0.7 / sqrt((double)cols);
	double spread = base * log_normal(m, &r, tensor->nature == EMBEDDING ? 0.3 : 0.45);
	if (rng_below(&r, 100) == 0)
		spread *= 2 + 0.125 * (double)rng_below(&r, 32);
	float scale = (float)(spread / NORMAL_ONE);
	for (uint64_t c = 0; c < cols; c += 2) {
		uint64_t bits = rng_next(&r);
		m->row[c] = (float)normal_from_bits(&m->normal, (uint32_t)bits, &r) * m->columns[c] * scale;
		m->row[c + 1] =
		    (float)normal_from_bits(&m->normal, (uint32_t)(bits >> 32), &r) * m->columns[c + 1] * scale;
	}
	for (uint64_t outliers = (cols + rng_below(&r, 16384)) / 16384; outliers; outliers--)
		m->row[rng_below(&r, cols)] *= 3.0f + (float)rng_below(&r, 8);
}

static void llama_row(void *context, const gen_tensor *tensor, uint64_t row, uint8_t *dst)
{
	llama *m = context;
	uint64_t cols = gen_tensor_cols(tensor);
	if (m->columns_of != tensor)
		make_columns(m, tensor);
	make_row(m, tensor, row);
	for (uint64_t c = 0; c < cols; c++)
		value_store(dst, tensor->dtype, c, m->row[c]);
}

static void choose_heads(llama *m)
{
	m->heads = m->o.hidden % 64 ? 1 : m->o.hidden / 64;
	m->kv_heads = m->heads % 4 == 0 && m->heads >= 16 ? m->heads / 4
	              : m->heads % 2 == 0                 ? m->heads / 2
	                                                  : m->heads;
	m->head_size = m->o.hidden / m->heads;
}

static uint64_t layer_elems(const llama *m)
{
	uint64_t hidden = m->o.hidden, kv = m->kv_heads * m->head_size;
	return 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * m->o.intermediate + 2 * hidden;
}

/* Chooses the sizes that the options leave open: the smallest of some usual widths with which the model needs
 * at most 24 layers to be as large as asked for. */
static void choose_sizes(llama *m)
{
	static const uint64_t widths[] = {64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096};
	const llama_options asked = m->o;
	uint64_t elems = asked.weights_size / (asked.dtype == QS_F32 ? 4 : 2);
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		llama_options *o = &m->o;
		if (!asked.hidden)
			o->hidden = asked.weights_size ? widths[i] : 384;
		if (!asked.intermediate)
			o->intermediate = (o->hidden * 8 / 3 + 63) / 64 * 64;
		if (!asked.vocab)
			o->vocab = o->hidden < 256 ? 1024 : o->hidden < 768 ? 4096 : o->hidden < 1536 ? 16384 : 32000;
		choose_heads(m);
		uint64_t embeddings = 2 * o->vocab * o->hidden, layer = layer_elems(m);
		if (!asked.layers)
			o->layers = !asked.weights_size           ? 8
			            : elems <= embeddings + layer ? 1
			                                          : (elems - embeddings + layer / 2) / layer;
		if (asked.layers || asked.hidden || o->layers <= 24)
			return;
	}
}

static gen_tensor *add(gen_tensor **tensors, const llama *m, int nature, uint64_t rows, uint64_t cols,
                       const char *format, ...) __attribute__((format(printf, 6, 7)));

static gen_tensor *add(gen_tensor **tensors, const llama *m, int nature, uint64_t rows, uint64_t cols,
                       const char *format, ...)
{
	gen_tensor *tensor = (*tensors)++;
	va_list args;
	va_start(args, format);
	vsnprintf(tensor->name, sizeof tensor->name, format, args);
	va_end(args);
	tensor->dtype = m->o.dtype;
	tensor->nature = nature;
	tensor->n_dims = nature == NORM ? 1 : 2;
	tensor->dims[0] = nature == NORM ? cols : rows;
	tensor->dims[1] = nature == NORM ? 0 : cols;
	return tensor;
}

static size_t add_tensors(const llama *m, gen_tensor *tensors)
{
	gen_tensor *at = tensors;
	uint64_t hidden = m->o.hidden, inner = m->o.intermediate, kv = m->kv_heads * m->head_size;
	add(&at, m, EMBEDDING, m->o.vocab, hidden, "model.embed_tokens.weight");
	for (uint64_t i = 0; i < m->o.layers; i++) {
		char layer[60];
		snprintf(layer, sizeof layer, "model.layers.%" PRIu64, i);
		add(&at, m, LINEAR, hidden, hidden, "%s.self_attn.q_proj.weight", layer);
		add(&at, m, LINEAR, kv, hidden, "%s.self_attn.k_proj.weight", layer);
		add(&at, m, LINEAR, kv, hidden, "%s.self_attn.v_proj.weight", layer);
		add(&at, m, LINEAR, hidden, hidden, "%s.self_attn.o_proj.weight", layer);
		add(&at, m, LINEAR, inner, hidden, "%s.mlp.gate_proj.weight", layer);
		add(&at, m, LINEAR, inner, hidden, "%s.mlp.up_proj.weight", layer);
		add(&at, m, LINEAR, hidden, inner, "%s.mlp.down_proj.weight", layer);
		add(&at, m, NORM, 1, hidden, "%s.input_layernorm.weight", layer);
		add(&at, m, NORM, 1, hidden, "%s.post_attention_layernorm.weight", layer);
	}
	add(&at, m, NORM, 1, hidden, "model.norm.weight");
	add(&at, m, EMBEDDING, m->o.vocab, hidden, "lm_head.weight");
	return (size_t)(at - tensors);
}

/* Assigns tensors to shards, in the order of the model. Each shard takes an equal part of the bytes that are
 * left. */
static uint32_t assign_shards(gen_tensor *tensors, size_t n_tensors, uint64_t n_shards)
{
	uint64_t left = 0, filled = 0;
	uint32_t shard = 0;
	if (n_shards > n_tensors)
		n_shards = n_tensors;
	for (size_t i = 0; i < n_tensors; i++)
		left += gen_tensor_size(&tensors[i]);
	for (size_t i = 0; i < n_tensors; i++) {
		uint64_t size = gen_tensor_size(&tensors[i]), shards_left = n_shards - shard;
		if (filled && shards_left > 1 &&
		    (filled + size / 2 > left / shards_left || n_tensors - i < shards_left)) {
			left -= filled;
			filled = 0;
			shard++;
		}
		tensors[i].shard = shard;
		filled += size;
	}
	return shard + 1;
}

/* A text that is appended to. */
typedef struct text {
	char *data;
	size_t size, capacity;
} text;

__attribute__((format(printf, 2, 3))) static void put(text *to, const char *format, ...)
{
	char piece[2000];
	va_list args;
	va_start(args, format);
	int size = vsnprintf(piece, sizeof piece, format, args);
	va_end(args);
	if (size < 0 || (size_t)size >= sizeof piece)
		gen_die("a piece of text is too long");
	if (to->capacity - to->size < (size_t)size) {
		to->capacity = 2 * to->capacity + sizeof piece;
		to->data = realloc(to->data, to->capacity);
		if (!to->data)
			gen_die("out of memory");
	}
	memcpy(to->data + to->size, piece, (size_t)size);
	to->size += (size_t)size;
}

static void finish(text *done, const char *folder, const char *name)
{
	if (folder)
		gen_write_text(folder, name, done->data, done->size);
}

static const char *dtype_name(const llama *m)
{
	return m->o.dtype == QS_BF16 ? "bfloat16" : m->o.dtype == QS_F16 ? "float16" : "float32";
}

static void write_config(const llama *m, const char *folder, int low)
{
	text json = {0};
	put(&json,
	    "{\n  \"architectures\": [\n    \"LlamaForCausalLM\"\n  ],\n  \"attention_bias\": false,\n"
	    "  \"attention_dropout\": 0.0,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n  \"head_dim\": "
	    "%" PRIu64 ",\n"
	    "  \"hidden_act\": \"silu\",\n  \"hidden_size\": %" PRIu64 ",\n  \"initializer_range\": 0.02,\n",
	    m->head_size, m->o.hidden);
	put(&json,
	    "  \"intermediate_size\": %" PRIu64
	    ",\n  \"max_position_embeddings\": 2048,\n  \"mlp_bias\": false,\n"
	    "  \"model_type\": \"llama\",\n  \"num_attention_heads\": %" PRIu64
	    ",\n  \"num_hidden_layers\": %" PRIu64 ",\n"
	    "  \"num_key_value_heads\": %" PRIu64 ",\n  \"pretraining_tp\": 1,\n",
	    m->o.intermediate, m->heads, m->o.layers, m->kv_heads);
	if (low)
		put(&json, "  \"quantization_config\": {\n    \"bnb_4bit_compute_dtype\": \"float32\",\n    "
		           "\"llm_int8_threshold\": 6.0,\n"
		           "    \"load_in_4bit\": false,\n    \"load_in_8bit\": true,\n    \"quant_method\": "
		           "\"bitsandbytes\"\n  },\n");
	put(&json,
	    "  \"rms_norm_eps\": 1e-05,\n  \"rope_scaling\": null,\n  \"rope_theta\": 10000.0,\n"
	    "  \"tie_word_embeddings\": false,\n  \"torch_dtype\": \"%s\",\n  \"use_cache\": true,\n  "
	    "\"vocab_size\": %" PRIu64 "\n}\n",
	    dtype_name(m), m->o.vocab);
	finish(&json, folder, "config.json");
	free(json.data);
}

/* The tokenizer's tokens: letters, then syllables of two letters, then words of two and of three syllables in
 * a shuffled order. All are different by construction. */
#define CONSONANTS "bcdfghjklmnprstvwxyz"
#define VOWELS "aeiou"
#define N_SYLLABLES 100u
#define N_PAIRS 10000u

static void syllable(uint64_t i, char *dst)
{
	dst[0] = CONSONANTS[i / 5 % 20];
	dst[1] = VOWELS[i % 5];
	dst[2] = 0;
}

/* Finds the two tokens that token i is made of. Returns 0 if it is made of none. */
static int token_halves(uint64_t i, char left[8], char right[8])
{
	if (i < N_SYLLABLES) {
		syllable(i, left);
		right[0] = left[1];
		right[1] = left[1] = 0;
		return 1;
	}
	i -= N_SYLLABLES;
	if (i < N_PAIRS) {
		i = i * 7919 % N_PAIRS;
		syllable(i / N_SYLLABLES, left);
		syllable(i % N_SYLLABLES, right);
		return 1;
	}
	i -= N_PAIRS;
	if (i < N_PAIRS * N_SYLLABLES) {
		i = i * 104729 % (N_PAIRS * N_SYLLABLES);
		syllable(i / N_PAIRS, left);
		syllable(i / N_SYLLABLES % N_SYLLABLES, left + 2);
		syllable(i % N_SYLLABLES, right);
		return 1;
	}
	return 0;
}

static void make_tokenizer(const llama *m, text *json)
{
	static const char letters[] = CONSONANTS VOWELS;
	static const char *const special[] = {"<unk>", "<s>", "</s>"};
	char left[8], right[8];
	uint64_t id = 0;
	put(json,
	    "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [");
	for (int i = 0; i < 3; i++)
		put(json,
		    "%s\n    {\n      \"id\": %d,\n      \"content\": \"%s\",\n      \"single_word\": false,\n      "
		    "\"lstrip\": false,\n"
		    "      \"rstrip\": false,\n      \"normalized\": false,\n      \"special\": true\n    }",
		    i ? "," : "", i, special[i]);
	put(json, "\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": {\n    \"type\": \"Whitespace\"\n  },\n"
	          "  \"post_processor\": null,\n  \"decoder\": null,\n  \"model\": {\n    \"type\": \"BPE\",\n   "
	          " \"dropout\": null,\n"
	          "    \"unk_token\": \"<unk>\",\n    \"continuing_subword_prefix\": null,\n    "
	          "\"end_of_word_suffix\": null,\n"
	          "    \"fuse_unk\": true,\n    \"byte_fallback\": true,\n    \"vocab\": {");
	for (; id < 3; id++)
		put(json, "%s\n      \"%s\": %" PRIu64, id ? "," : "", special[id], id);
	for (int i = 0; i < 256; i++)
		put(json, ",\n      \"<0x%02X>\": %" PRIu64, (unsigned)i, id++);
	for (size_t i = 0; i < sizeof letters - 1; i++)
		put(json, ",\n      \"%c\": %" PRIu64, letters[i], id++);
	uint64_t first_word = id;
	for (; id < m->o.vocab && token_halves(id - first_word, left, right); id++)
		put(json, ",\n      \"%s%s\": %" PRIu64, left, right, id);
	put(json, "\n    },\n    \"merges\": [");
	for (uint64_t i = first_word; i < id && token_halves(i - first_word, left, right); i++)
		put(json, "%s\n      \"%s %s\"", i > first_word ? "," : "", left, right);
	put(json, "\n    ]\n  }\n}\n");
}

static void write_small_files(const llama *m)
{
	const char *folders[] = {m->o.high, m->o.low, m->o.cast};
	text tokenizer = {0}, readme = {0}, licence = {0}, generation = {0};
	make_tokenizer(m, &tokenizer);
	put(&generation,
	    "{\n  \"_from_model_config\": true,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2\n}\n");
	put(&readme,
	    "---\nlicense: cc0-1.0\ntags:\n- generated\n- test\n---\n\n# Generated test model\n\n"
	    "Noise in the shape of a Llama: %" PRIu64 " layers of width %" PRIu64 ", %" PRIu64
	    " tokens, seed %" PRIu64 ".\n\n",
	    m->o.layers, m->o.hidden, m->o.vocab, m->o.seed);
	put(&readme, "The weights are pseudo-random numbers whose statistics follow those of trained models: "
	             "rows have different\n"
	             "spreads, a few rows, columns and single weights are outliers, norms are near one. It says "
	             "nothing sensible; it is\n"
	             "for testing programs that store, send and load models. Made by `qstore-generate`; the same "
	             "options make the same\n"
	             "bytes on every machine.\n");
	put(&licence, "The contents of this model are the output of a pseudo-random number generator. To the "
	              "extent that there is\n"
	              "any copyright in them, it is waived: CC0 1.0 Universal, "
	              "https://creativecommons.org/publicdomain/zero/1.0/\n");
	for (int i = 0; i < 3; i++) {
		if (!folders[i])
			continue;
		write_config(m, folders[i], i == 1 && m->o.low_rule == GEN_LLM_INT8);
		finish(&tokenizer, folders[i], "tokenizer.json");
		finish(&generation, folders[i], "generation_config.json");
		finish(&readme, folders[i], "README.md");
		finish(&licence, folders[i], "LICENSE");
	}
	free(tokenizer.data);
	free(generation.data);
	free(readme.data);
	free(licence.data);
}

void generate_llama(const llama_options *options)
{
	llama *m = gen_allocate(sizeof *m);
	m->o = *options;
	normal_table_init(&m->normal);
	choose_sizes(m);
	uint64_t widest = m->o.hidden > m->o.intermediate ? m->o.hidden : m->o.intermediate;
	m->columns = gen_allocate((size_t)(widest + 1) *
	                          sizeof *m->columns); /* one more, because rows are made in pairs of elements */
	m->row = gen_allocate((size_t)(widest + 1) * sizeof *m->row);
	gen_tensor *tensors = gen_allocate((size_t)(9 * m->o.layers + 3) * sizeof *tensors);
	size_t n_tensors = add_tensors(m, tensors);
	gen_files files = {.high = m->o.high,
	                   .low = m->o.low,
	                   .cast = m->o.cast,
	                   .cast_dtype = m->o.cast_dtype,
	                   .low_rule = m->o.low_rule,
	                   .per_tensor = m->o.per_tensor,
	                   .n_shards = assign_shards(tensors, n_tensors, m->o.shards),
	                   .row = llama_row,
	                   .context = m};
	gen_make_folder(m->o.high);
	if (m->o.low)
		gen_make_folder(m->o.low);
	if (m->o.cast)
		gen_make_folder(m->o.cast);
	gen_write_weights(&files, tensors, n_tensors);
	write_small_files(m);
	free(tensors);
	free(m->row);
	free(m->columns);
	free(m);
}
