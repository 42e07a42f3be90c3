#include "pair_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "archive_help.h"
#include "scratch.h"

static void note_warning(void *user, const char *text)
{
	pair_outcome *outcome = user;
	outcome->n_warnings++;
	snprintf(outcome->warning, sizeof(outcome->warning), "%s", text);
}

void write_pair(void **state, gen_tensors *high, gen_tensors *low, qstore_pack_options *options)
{
	options->high = scratch_path(state, "high/model.safetensors");
	options->low = scratch_path(state, "low/model.safetensors");
	options->output = scratch_path(state, "a.qstore");
	options->force = 1;
	options->work.threads = 2;
	gen_write_tensors(high, options->high);
	gen_write_tensors(low, options->low);
}

/* Restores a variant and compares its file. */
static void expect_restores(void **state, const char *precision, const char *model)
{
	qstore_archive *archive;
	qstore_error error;
	const qstore_unpack_options unpack = {.precision = precision,
	                                      .output = scratch_path(state, "out"),
	                                      .force = 1,
	                                      .sha256 = 1,
	                                      .work = {.threads = 2}};
	if (qstore_open(scratch_path(state, "a.qstore"), &archive, &error))
		fail_msg("open: %s", error.text);
	if (qstore_unpack(archive, &unpack, NULL, &error))
		fail_msg("unpack: %s", error.text);
	qstore_close(archive);
	expect_same_file(scratch_path(state, "out/model.safetensors"), model);
}

pair_outcome pack_pair(void **state, gen_tensors *high, gen_tensors *low, qstore_pack_options options)
{
	pair_outcome outcome = {.n_warnings = 0};
	qstore_error error;
	write_pair(state, high, low, &options);
	options.work.on_warning = note_warning;
	options.work.user = &outcome;
	if (qstore_pack(&options, &outcome.result, &error))
		fail_msg("pack: %s", error.text);
	archive_verify(options.output);
	expect_restores(state, "low", options.low);
	expect_restores(state, "high", options.high);
	return outcome;
}

void expect_pair_fails(void **state, gen_tensors *high, gen_tensors *low, qstore_pack_options options,
                       const char *text)
{
	write_pair(state, high, low, &options);
	expect_pack_fails(options, QSTORE_MISMATCH, text);
}
