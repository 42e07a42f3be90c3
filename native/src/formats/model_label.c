#include "model_label.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text.h"

#define DELIMITERS "/-_. "
enum { WORDS_MAX = 96 };

/* The words for precisions, fine to coarse, and how qstore calls them. "quantized", "q4f16", "bnb4" and "q1"
 * … are those of transformers.js (src/utils/dtypes.js, DEFAULT_DTYPE_SUFFIX_MAPPING), "o1" … "o4" the levels
 * of optimum's optimizer, which sentence-transformers has in its files' names. */
static const struct {
	const char *word, *precision;
	unsigned bits;
} precisions[] = {
    {"fp64", "fp64", 64},
    {"f64", "fp64", 64},
    {"float64", "fp64", 64},
    {"fp32", "fp32", 32},
    {"f32", "fp32", 32},
    {"float32", "fp32", 32},
    {"o1", "", 0},
    {"o2", "", 0},
    {"o3", "", 0},
    {"bf16", "bf16", 16},
    {"bfloat16", "bf16", 16},
    {"fp16", "fp16", 16},
    {"f16", "fp16", 16},
    {"float16", "fp16", 16},
    {"o4", "", 0},
    {"fp8", "fp8", 8},
    {"float8", "fp8", 8},
    {"quantized", "q8", 8},
    {"quant", "q8", 8},
    {"q8", "q8", 8},
    {"int8", "int8", 8},
    {"i8", "int8", 8},
    {"qint8", "int8", 8},
    {"w8a8", "int8", 8},
    {"8bit", "int8", 8},
    {"uint8", "uint8", 8},
    {"u8", "uint8", 8},
    {"quint8", "uint8", 8},
    {"q6", "q6", 6},
    {"6bit", "6bit", 6},
    {"q5", "q5", 5},
    {"5bit", "5bit", 5},
    {"int4", "int4", 4},
    {"qint4", "int4", 4},
    {"w4a16", "int4", 4},
    {"4bit", "int4", 4},
    {"uint4", "uint4", 4},
    {"quint4", "uint4", 4},
    {"q4", "q4", 4},
    {"q4f16", "q4f16", 4},
    {"bnb4", "bnb4", 4},
    {"nf4", "nf4", 4},
    {"fp4", "fp4", 4},
    {"nvfp4", "nvfp4", 4},
    {"mxfp4", "mxfp4", 4},
    {"gptq", "gptq", 4},
    {"awq", "awq", 4},
    {"q3", "q3", 3},
    {"3bit", "3bit", 3},
    {"int3", "int3", 3},
    {"q2", "q2", 2},
    {"q2f16", "q2f16", 2},
    {"2bit", "2bit", 2},
    {"int2", "int2", 2},
    {"q1", "q1", 1},
    {"q1f16", "q1f16", 1},
};
enum { N_PRECISIONS = sizeof precisions / sizeof *precisions };

/* Words that say more of a precision, beside it. */
static const char *const qualifiers[] = {
    "dynamic",   "static",   "qdq",    "qoperator", "avx2",    "avx512", "vnni",  "arm64",
    "amd64",     "x64",      "x86",    "cpu",       "gpu",     "cuda",   "dml",   "mobile",
    "npu",       "directml", "qnn",    "webgpu",    "and",     "rtn",    "block", "acc",
    "level",     "e4m3",     "e5m2",   "e4m3fn",    "scaled",  "mixed",  "fast",  "sym",
    "asym",      "ud",       "i1",     "imat",      "imatrix", "mlx",    "hqq",   "opt",
    "optimized", "channel",  "tensor", "group",     "per",     "gs",
};

/* Words that only say where a model shall run; a folder of nothing but these is no component. */
static const char *const devices[] = {"cpu",      "gpu", "cuda",   "dml", "mobile", "npu",
                                      "directml", "qnn", "webgpu", "and", "mlx"};

/* The kinds of words in a name: of the component, of the label, a shard's number, "of" and their number. */
typedef enum word_kind { NAME, LABEL, SHARD, N_SHARDS } word_kind;

typedef struct word {
	const char *text;
	size_t size;
	char delimiter; /* before it; 0 before the first one */
	word_kind kind;
} word;

typedef struct words {
	word items[WORDS_MAX];
	size_t n;
} words;

static int is_word(const word *w, const char *text)
{
	return w->size == strlen(text) && !strncasecmp(w->text, text, w->size);
}

static int is_one_of(const word *w, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_word(w, list[i]))
			return 1;
	return 0;
}

static int is_device(const word *w)
{
	return is_one_of(w, devices, sizeof devices / sizeof *devices);
}

static int is_number(const word *w)
{
	for (size_t i = 0; i < w->size; i++)
		if (!isdigit((unsigned char)w->text[i]))
			return 0;
	return w->size > 0;
}

/* "g128" too. */
static int is_qualifier(const word *w)
{
	word digits = {w->text + 1, w->size - 1, 0, NAME};
	return is_one_of(w, qualifiers, sizeof qualifiers / sizeof *qualifiers) ||
	       (w->size > 1 && tolower((unsigned char)w->text[0]) == 'g' && is_number(&digits));
}

/* The place of a precision among all, whichever word says it. */
static unsigned order_of(size_t known)
{
	size_t first = known;
	for (size_t i = known; i-- > 0 && precisions[known].precision[0];)
		if (!strcmp(precisions[i].precision, precisions[known].precision))
			first = i;
	return (unsigned)first;
}

/* N_PRECISIONS: none. */
static size_t find_precision(const word *w)
{
	size_t i = 0;
	while (i < N_PRECISIONS && !is_word(w, precisions[i].word))
		i++;
	return i;
}

static void split(const char *name, size_t size, words *out)
{
	const char *end = name + size;
	char delimiter = 0;
	out->n = 0;
	while (name < end && out->n < WORDS_MAX) {
		const char *start = name;
		while (name < end && !strchr(DELIMITERS, *name))
			name++;
		out->items[out->n++] = (word){start, (size_t)(name - start), delimiter, NAME};
		if (name < end)
			delimiter = *name++;
	}
	if (name < end && out->n == WORDS_MAX) /* a name of too many words ends in one of many */
		out->items[WORDS_MAX - 1].size = (size_t)(end - out->items[WORDS_MAX - 1].text);
}

/* NAME-00001-of-00003 */
static void mark_shard(words *name)
{
	for (size_t i = 0; i + 2 < name->n; i++) {
		word *w = &name->items[i];
		if (w[0].size >= 4 && is_number(&w[0]) && is_word(&w[1], "of") && w[2].size >= 4 &&
		    is_number(&w[2])) {
			w[0].kind = SHARD;
			w[1].kind = w[2].kind = N_SHARDS;
		}
	}
}

/* Words of ggml's type that begins at *first, as in "Q4_K_M", "IQ2_XXS" or "Q8_0"; 0: none does. */
static size_t ggml_words(const word *first, size_t n)
{
	static const char *const parts[] = {"k",   "s",  "m", "l", "xs", "xxs", "xl",
	                                    "xxl", "nl", "0", "1", "4",  "8"};
	const word *w = &first[0];
	size_t at = 0;
	if (at < w->size && strchr("iItT", w->text[at]))
		at++;
	if (w->size != at + 2 || tolower((unsigned char)w->text[at]) != 'q' ||
	    !isdigit((unsigned char)w->text[at + 1]))
		return 0;
	size_t used = 1;
	while (used < n && first[used].delimiter == '_' && first[used].kind == NAME &&
	       is_one_of(&first[used], parts, sizeof parts / sizeof *parts))
		used++;
	return used > 1 ? used : 0;
}

static void append(char *text, const word *w)
{
	size_t used = strlen(text);
	if (used + w->size + 2 > QS_LABEL_TEXT_SIZE)
		return;
	if (used)
		text[used++] = '_';
	for (size_t i = 0; i < w->size; i++)
		text[used + i] = (char)tolower((unsigned char)w->text[i]);
	text[used + w->size] = 0;
}

/* Takes the words of the label of one part of a path: words [first, end). *label is overwritten if there is
 * one. */
static void take_label(words *name, size_t first, size_t end, qs_label *label)
{
	word *w = name->items;
	for (size_t i = first; i < end; i++) {
		size_t known = find_precision(&w[i]), used = ggml_words(&w[i], end - i);
		if ((known == N_PRECISIONS && !used) || w[i].kind != NAME)
			continue;
		*label = (qs_label){.order = N_PRECISIONS};
		if (used) {
			for (size_t j = 0; j < used; j++)
				append(label->precision, &w[i + j]);
			label->bits = (unsigned)(w[i].text[w[i].size - 1] - '0');
		} else {
			snprintf(label->precision, sizeof label->precision, "%s", precisions[known].precision);
			label->bits = precisions[known].bits;
			label->order = order_of(known);
			used = 1;
		}
		if (label->precision[0])
			snprintf(label->text, sizeof label->text, "%s", label->precision);
		else
			append(label->text, &w[i]);
		for (size_t j = 0; j < used; j++)
			w[i + j].kind = LABEL;
		size_t after = i + used;
		for (; after < end && w[after].kind == NAME; after++) {
			if (!is_qualifier(&w[after]) && find_precision(&w[after]) == N_PRECISIONS &&
			    !(is_number(&w[after]) && is_qualifier(&w[after - 1])))
				break;
			append(label->text, &w[after]);
			w[after].kind = LABEL;
		}
		for (size_t before = i; before-- > first && is_qualifier(&w[before]) && w[before].kind == NAME;) {
			append(label->text, &w[before]);
			w[before].kind = LABEL;
		}
		return;
	}
}

/* A folder of devices, as "cpu_and_mobile". */
static void drop_devices(words *name, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		if (!is_device(&name->items[i]))
			return;
	for (size_t i = first; i < end; i++)
		name->items[i].kind = LABEL;
}

/* The words of a component's name, or of a set's, and a file's ending. */
static char *join(const words *name, int is_set, const char *ending, size_t size)
{
	char *text = malloc(size + 1), *at = text;
	char delimiter = 0;
	if (!text)
		return NULL;
	for (size_t i = 0; i < name->n; i++) {
		const word *w = &name->items[i];
		/* The delimiter of a folder wins over those around words that are left out. */
		if (w->delimiter && (delimiter != '/' || w->delimiter == '/'))
			delimiter = w->delimiter;
		if (w->kind == SHARD || (w->kind != NAME && !is_set))
			continue;
		if (at > text && delimiter)
			*at++ = delimiter;
		delimiter = 0;
		memcpy(at, w->text, w->size);
		at += w->size;
	}
	memcpy(at, ending, strlen(ending) + 1);
	return text;
}

int qs_label_name(const char *name, qs_labelled_name *out)
{
	const char *slash = strrchr(name, '/'), *ending = strrchr(slash ? slash : name, '.');
	words list;
	size_t size = strlen(name);
	if (!ending)
		ending = name + size;
	*out = (qs_labelled_name){.label = {.order = N_PRECISIONS}};
	split(name, (size_t)(ending - name), &list);
	mark_shard(&list);
	/* A file's own word wins over that of its folder. */
	for (size_t first = 0, end; first < list.n; first = end) {
		for (end = first + 1; end < list.n && list.items[end].delimiter != '/';)
			end++;
		take_label(&list, first, end, &out->label);
	}
	if (out->label.text[0])
		for (size_t first = 0, end; first < list.n; first = end) {
			for (end = first + 1; end < list.n && list.items[end].delimiter != '/';)
				end++;
			if (end < list.n)
				drop_devices(&list, first, end);
		}
	out->component = join(&list, 0, ending, size);
	out->set = join(&list, 1, ending, size);
	return out->component && out->set;
}
