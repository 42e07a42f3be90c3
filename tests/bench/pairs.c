#include "pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "objects.h"

/* A chunk of values and the chunk of their codes. */
typedef struct pair {
	qs_chunk_desc codes_desc, values_desc; /* values_desc.coarse: the codes */
	uint8_t *codes_src, *values_src;
	size_t codes_size, values_size, at; /* at: elements of the pairs before this one */
	/* The bytes of a tensor that the values are; QS_NONE: of none. */
	uint32_t tensor;
	uint64_t offset;
} pair;

/* PART_READ: values by qstore_read_tensor, which reads the archive's file and compares checksums. */
typedef enum decoded { PART_CODES, PART_BOTH, PART_VALUES, PART_READ, PARTS } decoded;

typedef struct task {
	const pair *pairs;
	decoded part;
	uint8_t *codes, *values; /* NULL: into the thread's own memory */
	const qstore_archive *archive;
} task;

typedef struct pair_list {
	pair *pairs;
	size_t n, n_weights;
	uint8_t **memory; /* to free */
	size_t n_memory;
	uint32_t dtype;
} pair_list;

static void *keep(pair_list *list, void *p)
{
	list->memory = need(realloc(list->memory, (list->n_memory + 1) * sizeof *list->memory));
	return list->memory[list->n_memory++] = need(p);
}

static uint8_t *load_coded(const objects *o, pair_list *list, const qs_object *object, uint32_t number,
                           size_t *size)
{
	uint32_t i = object->first_chunk + number;
	qstore_error error;
	*size = qs_index_chunk_size(&o->archive->index, i);
	uint8_t *bytes = keep(list, malloc(*size));
	if (qs_source_read(&o->archive->source, o->archive->chunk_offsets[i], *size, bytes, &error))
		fail("%s", error.text);
	return bytes;
}

/* Returns the number of a tensor that is this object; QS_NONE if there is none. */
static uint32_t tensor_of(const qs_index *index, uint32_t object)
{
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		if (tensor.object == object)
			return i;
	}
	return QS_NONE;
}

static void add_pairs(const objects *o, pair_list *list, uint32_t number)
{
	qs_object object = object_at(o, number), *values = &object;
	uint32_t tensor = tensor_of(&o->archive->index, number);
	qs_object codes = object_at(o, values->coarse);
	uint8_t *grid_memory[3], *all = keep(list, object_load(o, values->coarse));
	qs_grid grid = grid_load(o, &codes, grid_memory);
	for (int i = 0; i < 3; i++)
		if (grid_memory[i])
			keep(list, grid_memory[i]);
	/* The column factors, if there are any. */
	uint8_t *factors = values->scales == QS_NONE ? NULL : keep(list, object_load(o, values->scales));
	list->dtype = values->dtype;
	list->pairs = need(realloc(list->pairs, (list->n + values->n_chunks) * sizeof *list->pairs));
	for (uint32_t c = 0; c < values->n_chunks; c++) {
		pair *p = &list->pairs[list->n++];
		*p = (pair){.codes_desc = object_chunk(&codes, c),
		            .values_desc = object_chunk(values, c),
		            .at = list->n_weights,
		            .tensor = tensor,
		            .offset = (uint64_t)c * values->chunk_elems * 2};
		p->values_desc.coarse = all + p->values_desc.first_elem;
		p->values_desc.coarse_dtype = codes.dtype;
		p->values_desc.coarse_grid = grid;
		if (factors) {
			p->values_desc.factors = factors;
			p->values_desc.factors_dtype = object_at(o, values->scales).dtype;
		}
		p->codes_src = load_coded(o, list, &codes, c, &p->codes_size);
		p->values_src = load_coded(o, list, values, c, &p->values_size);
		list->n_weights += p->values_desc.n_elems;
	}
}

static void decode_pair(const void *user, size_t i, worker *w, uint8_t *scratch)
{
	const task *t = user;
	const pair *p = &t->pairs[i];
	uint8_t *codes = t->codes ? t->codes + p->at : scratch,
	        *values = t->values ? t->values + 2 * p->at : scratch + CHUNK_ELEMS;
	qs_chunk_desc desc = p->values_desc;
	if (t->part == PART_READ) {
		size_t size = 2 * (size_t)desc.n_elems;
		if (p->tensor != QS_NONE &&
		    qstore_read_tensor(t->archive, p->tensor, p->offset, size, values, NULL, NULL))
			fail("a tensor cannot be read");
		return;
	}
	if (t->part != PART_VALUES)
		worker_decode(w, &p->codes_desc, p->codes_src, p->codes_size, codes);
	if (t->part == PART_BOTH)
		desc.coarse = codes;
	if (t->part != PART_CODES)
		worker_decode(w, &desc, p->values_src, p->values_size, values);
}

static json_t *report(const pair_list *list, const char *label, const decode_times *best)
{
	const char *high = list->dtype == QS_F16 ? "FP16" : "BF16";
	static const char *const what[PARTS] = {"qstore base layer", "qstore base and refinement",
	                                        "qstore refinement alone", "qstore_read_tensor"};
	json_t *rows = json_array();
	printf("%s: %.1f M weights; GB/s of decoding in pieces on one thread and on all, and all of it\n", label,
	       (double)list->n_weights / 1e6);
	for (decoded part = 0; part < PARTS; part++) {
		char name[64];
		double gbs[OUTPUTS][CREW_WAYS], bytes = (part == PART_CODES ? 1.0 : 2.0) * (double)list->n_weights;
		snprintf(name, sizeof name, "%s, %s", part == PART_CODES ? "codes" : high, what[part]);
		for (int outputs = 0; outputs < OUTPUTS; outputs++)
			crew_speeds(gbs[outputs], bytes, best[part].seconds[outputs], 0);
		const double *pieces = gbs[OUTPUTS_STREAMED], *whole = gbs[OUTPUTS_WHOLE];
		printf("  %-32s %7.2f %5.2f %7.2f %5.2f\n", name, pieces[CREW_ALONE], pieces[CREW_TOGETHER],
		       whole[CREW_ALONE], whole[CREW_TOGETHER]);
		json_array_append_new(rows, json_pack("{s:s, s:[f,f], s:[f,f]}", "name", name, "decode_gbs",
		                                      pieces[CREW_ALONE], pieces[CREW_TOGETHER], "decode_whole_gbs",
		                                      whole[CREW_ALONE], whole[CREW_TOGETHER]));
	}
	printf("\n");
	return json_pack("{s:s, s:I, s:o}", "high", high, "weights", (json_int_t)list->n_weights, "rows", rows);
}

json_t *measure_pairs(thread_crew *crew, const char *path, const char *label, unsigned passes)
{
	objects o;
	pair_list list = {0};
	decode_times best[PARTS] = {0};
	objects_open(&o, path);
	for (uint32_t i = 0; i < o.archive->index.n_objects; i++) {
		qs_object values = object_at(&o, i);
		/* Values whose codes build on coarser codes are left out. */
		if (values.kind == QS_KIND_REFINE && object_at(&o, values.coarse).coarse == QS_NONE)
			add_pairs(&o, &list, i);
	}
	if (!list.n_weights)
		fail("%s: no weights that are refined", path);
	uint8_t *codes = keep(&list, malloc(list.n_weights)), *values = keep(&list, malloc(2 * list.n_weights));
	memset(codes, 1, list.n_weights);
	memset(values, 1, 2 * list.n_weights);
	crew_way ways = crew_threads(crew) > 1 ? CREW_APART : CREW_ALONE + 1;
	for (unsigned pass = passes_for(list.n_weights, passes); pass > 0; pass--)
		for (decoded part = 0; part < PARTS; part++)
			for (int outputs = 0; outputs < OUTPUTS; outputs++)
				for (crew_way way = 0; way < ways; way++) {
					int whole = outputs == OUTPUTS_WHOLE;
					task t = {list.pairs, part, whole ? codes : NULL, whole ? values : NULL, o.archive};
					keep_least(&best[part].seconds[outputs][way],
					           crew_run(crew, decode_pair, (const void *[]){&t}, list.n, way));
				}
	json_t *result = report(&list, label, best);
	for (size_t i = 0; i < list.n_memory; i++)
		free(list.memory[i]);
	free(list.memory);
	free(list.pairs);
	objects_close(&o);
	return result;
}
