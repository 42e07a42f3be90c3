#include "apart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/array.h"
#include "text.h"

/* At most so many tensors are named in a message. */
#define NAMED_MAX 5

void pack_apart_free(pack_apart *apart)
{
	free(apart->tensors);
	*apart = (pack_apart){0};
}

qstore_status pack_note_apart(pack_apart *apart, const pack_apart_tensor *tensor, qstore_error *error)
{
	pack_apart_tensor *added = qs_array_add(&apart->tensors, &apart->n, sizeof(*added));
	if (!added)
		return qs_no_memory(error);
	*added = *tensor;
	return QSTORE_OK;
}

void pack_drop_shared(pack_apart *apart)
{
	size_t n = 0;
	for (size_t i = 0; i < apart->n; i++) {
		pack_role role = apart->tensors[i].fine->coding.role;
		if (role != PACK_DUPLICATE && role != PACK_DELTA && role != PACK_LAYOUT)
			apart->tensors[n++] = apart->tensors[i];
	}
	apart->n = n;
}

/* Tensors [first, end) of one variant. */
typedef struct apart_range {
	size_t first, end;
	uint64_t size;   /* coded bytes */
	char named[700]; /* the first ones, each with a reason */
} apart_range;

static apart_range range_from(const pack_apart *apart, size_t first)
{
	static const char *const reasons[] = {
	    [PACK_OTHER_WEIGHTS] = " (codes of other weights)",
	    [PACK_FAR_VALUES] = " (values too far off)",
	    [PACK_OTHER_VALUES] = " (other values)",
	    [PACK_OTHER_SHAPE] = " (another shape)",
	    [PACK_NO_SCALES] = " (no scales fit its codes)",
	    [PACK_OTHER_NAME] = " (codes under an unknown name)",
	    [PACK_OTHER_PACKING] = " (packed in another way)",
	    [PACK_OTHER_ORDER] = " (as many codes in another shape)",
	    [PACK_OTHER_TYPE] = " (of a type that is not coded from codes)",
	    [PACK_UNMODELLED] = " (codes of a type that is not modelled)",
	    [PACK_NO_PARTNER] = " (nothing of its name there)",
	};
	apart_range range = {.first = first, .end = first};
	uint32_t variant = apart->tensors[first].fine_variant;
	for (; range.end < apart->n && apart->tensors[range.end].fine_variant == variant; range.end++) {
		const pack_apart_tensor *t = &apart->tensors[range.end];
		range.size += t->coded_size;
		if (range.end - first < NAMED_MAX)
			qs_text_add(range.named, sizeof(range.named), ", ", "%s%s", t->fine->full, reasons[t->why]);
	}
	if (range.end - first > NAMED_MAX)
		qs_text_add(range.named, sizeof(range.named), ", ", "…");
	return range;
}

/* The path of a variant's model, with the variant's name where several are of one folder. */
typedef struct model_label {
	char text[300];
} model_label;

static model_label label_of(const pack_input *input, uint32_t variant)
{
	model_label label;
	const char *path = input->variants[variant].path;
	int is_alone = 1;
	for (uint32_t v = 0; v < input->n_variants; v++) {
		const char *other = input->variants[v].path;
		is_alone &= v == variant || !other || strcmp(other, path) != 0;
	}
	if (is_alone)
		snprintf(label.text, sizeof(label.text), "%s", path);
	else
		snprintf(label.text, sizeof(label.text), "%s of %s", input->variants[variant].name, path);
	return label;
}

qstore_status pack_refuse_apart(const pack_apart *apart, const pack_input *input, qstore_error *error)
{
	if (apart->n == 0)
		return QSTORE_OK;
	apart_range range = range_from(apart, 0);
	return qs_fail(error, QSTORE_MISMATCH,
	               "%zu tensor%s of %s %s not fit %s: %s; without --strict they are stored apart", range.end,
	               range.end == 1 ? "" : "s", label_of(input, apart->tensors[0].fine_variant).text,
	               range.end == 1 ? "does" : "do", label_of(input, apart->tensors[0].coarse_variant).text,
	               range.named);
}

void pack_warn_apart(const pack_apart *apart, const pack_input *input, const qstore_work *work)
{
	for (size_t first = 0; first < apart->n;) {
		const pack_apart_tensor *t = &apart->tensors[first];
		apart_range range = range_from(apart, first);
		size_t n = range.end - first;
		qs_warn(work, "%zu tensor%s of %s %s not fit %s and %s stored apart, which takes %llu bytes: %s", n,
		        n == 1 ? "" : "s", label_of(input, t->fine_variant).text, n == 1 ? "does" : "do",
		        label_of(input, t->coarse_variant).text, n == 1 ? "is" : "are",
		        (unsigned long long)range.size, range.named);
		first = range.end;
	}
}

void pack_count_match(pack_tally *tally, const pack_tensor *fine, pack_match match, uint32_t coarse_variant)
{
	uint64_t weights = pack_n_elems(fine);
	switch (match) {
	case PACK_MATCHED:
	case PACK_FAR_VALUES:
	case PACK_UNMODELLED:
		tally->matched_weights += weights;
		tally->n_compared++;
		break;
	case PACK_OTHER_WEIGHTS:
	case PACK_OTHER_VALUES:
	case PACK_OTHER_SHAPE:
		tally->wrong_weights += weights;
		tally->n_compared++;
		if (tally->n_wrong++ == 0)
			tally->coarse = coarse_variant;
		if (tally->n_wrong <= NAMED_MAX)
			qs_text_add(tally->wrong, sizeof(tally->wrong), ", ", "%s", fine->full);
		break;
	default:
		break;
	}
}

qstore_status pack_check_tally(const pack_tally *tally, const pack_input *input, uint32_t fine,
                               qstore_error *error)
{
	if (tally->wrong_weights <= tally->matched_weights)
		return QSTORE_OK;
	return qs_fail(error, QSTORE_MISMATCH,
	               "%s does not belong to %s: %zu of %zu tensors that both have differ%s in shape or value: "
	               "%s%s; give a version of the same model, or pack both all the same with --allow-mismatch",
	               label_of(input, tally->coarse).text, label_of(input, fine).text, tally->n_wrong,
	               tally->n_compared, tally->n_wrong == 1 ? "s" : "", tally->wrong,
	               tally->n_wrong > NAMED_MAX ? ", …" : "");
}
