/* qstore-bench, the benchmark of the codec. Prints bits per weight beside the bound, and speeds beside those
 * of memcpy, zstd, lz4, Huffman alone and ZipNN's method, on the same data in the same run, on one core and
 * on several. All data are in memory, in chunks as archives have them. With --load it measures the time that
 * loading takes instead. `qstore-bench --help` lists the options. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "measure.h"
#include "pairs.h"

static const unsigned bandwidths[] = {20, 50, 100, 200, 400, 800, 1500};

static void usage(FILE *to)
{
	fputs("usage: qstore-bench MODEL [--fp16] [--weights N] [--passes N] [--threads N] [--label TEXT] "
	      "[--json FILE]\n"
	      "       qstore-bench FILE.qstore [--passes N] [--threads N] [--label TEXT] [--json FILE]\n"
	      "       qstore-bench MODEL --load SCRATCH_FILE [--fp16] [--weights N] [--label TEXT] [--json "
	      "FILE]\n\n"
	      "MODEL      a folder or a safetensors file with 16-bit weights; INT8 codes are made by the "
	      "LLM.int8 rule\n"
	      "FILE.qstore  an archive: decoding of its refined tensors, whatever their codes are\n"
	      "--fp16     cast BF16 weights to FP16 first\n"
	      "--weights  take this many weights at most (default: all; with --load 64000000)\n"
	      "--passes   of each decoder; the fastest counts (default 5)\n"
	      "--threads  of the second measurement (default 2; 1: none)\n"
	      "--load     the time that loading takes at bandwidths from 20 to 1500 MB/s\n"
	      "--json     add the results to FILE, one JSON object a line\n",
	      to);
}

typedef struct options {
	const char *model, *label, *json, *load;
	int to_fp16;
	unsigned passes, threads;
	uint64_t weights;
} options;

static void write_json(const char *path, json_t *object)
{
	FILE *out = path ? fopen(path, "a") : NULL;
	if (path && (!out || json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(5)) ||
	             fputc('\n', out) == EOF || fclose(out)))
		fail("cannot write %s", path);
	json_decref(object);
}

static const char *high_name(uint32_t dtype)
{
	return dtype == QS_F16 ? "FP16" : "BF16";
}

static const char *full_name(const method *m, uint32_t dtype)
{
	static char name[64];
	const char *type = strstr(m->name, "%s");
	snprintf(name, sizeof name, "%s%s", type ? high_name(dtype) : "", type ? type + 2 : m->name);
	return name;
}

/* Finds the method that others are compared with: the one whose name has `what` in it and that decodes these
 * bytes a weight. */
static size_t compared(const char *what, unsigned bytes)
{
	for (size_t m = 0; m < n_methods; m++)
		if (methods[m].decodes == bytes && strstr(methods[m].name, what))
			return m;
	fail("no method \"%s\"", what);
}

static void print_speeds(const double gbs[CREW_WAYS])
{
	printf(" %7.2f", gbs[CREW_ALONE]);
	for (crew_way way = CREW_TOGETHER; way < CREW_WAYS; way++)
		if (gbs[way] > 0)
			printf(" %5.2f", gbs[way]);
		else
			printf(" %5s", "");
}

static void report(const options *o, const times *all, const chunk_source *source, double n, double scales,
                   uint32_t dtype)
{
	json_t *rows = json_array();
	printf("%s: %.1f M paired weights, %s + INT8; GB/s on one thread, on %u, and on %u that share no work "
	       "(each does all)\n",
	       o->label, n / 1e6, high_name(dtype), o->threads, o->threads);
	printf("  %-32s %7s %19s %26s %26s\n", "", "bits/wt", "encode", "in pieces  × Huff0",
	       "all of it  × Huff0");
	for (size_t m = 0; m < n_methods; m++) {
		const method *row = &methods[m];
		double bits = 8.0 * (double)all[m].coded_bytes / n + (row->encodes == 3 ? scales / n : 0),
		       encode[CREW_WAYS], decode[OUTPUTS][CREW_WAYS];
		size_t huff0 = compared("Huff0", row->decodes);
		if (m && row->decodes != methods[m - 1].decodes)
			printf("\n");
		crew_speeds(encode, row->encodes * n, all[m].encode, o->threads);
		printf("  %-32s %7.3f", full_name(row, dtype), bits);
		print_speeds(encode);
		for (int outputs = OUTPUTS - 1; outputs >= 0; outputs--) {
			const double *seconds = all[m].decode.seconds[outputs], *gbs = decode[outputs];
			crew_speeds(decode[outputs], row->decodes * n, seconds, o->threads);
			print_speeds(gbs);
			printf(" %6.2f", all[huff0].decode.seconds[outputs][CREW_ALONE] / seconds[CREW_ALONE]);
		}
		printf("\n");
		const double *streamed = decode[OUTPUTS_STREAMED], *whole = decode[OUTPUTS_WHOLE];
		json_array_append_new(
		    rows,
		    json_pack("{s:s, s:f, s:i, s:i, s:[f,f], s:[f,f], s:[f,f], s:f, s:f, s:f}", "name",
		              full_name(row, dtype), "bits", bits, "encodes", row->encodes, "decodes", row->decodes,
		              "encode_gbs", encode[CREW_ALONE], encode[CREW_TOGETHER], "decode_gbs",
		              streamed[CREW_ALONE], streamed[CREW_TOGETHER], "decode_whole_gbs", whole[CREW_ALONE],
		              whole[CREW_TOGETHER], "encode_apart_gbs", encode[CREW_APART], "decode_apart_gbs",
		              streamed[CREW_APART], "decode_whole_apart_gbs", whole[CREW_APART]));
	}
	double codes = source->bound_codes / n, values = source->bound_values / n,
	       bound = codes + values + scales / n,
	       coded = (8.0 * (double)(all[compared("base layer", 1)].coded_bytes +
	                               all[compared("refinement alone", 2)].coded_bytes) +
	                scales) /
	               n;
	printf("\n  bound: codes %.3f + values %.3f + scales %.3f = %.3f bits a weight; coded %.3f, %+.2f %%; "
	       "raw 24 → "
	       "ratio %.2f\n\n",
	       codes, values, scales / n, bound, coded, 100 * (coded / bound - 1), 24 / coded);
	write_json(o->json, json_pack("{s:s, s:s, s:s, s:I, s:i, s:f, s:f, s:o}", "data", o->label, "platform",
	                              "native", "high", high_name(dtype), "weights", (json_int_t)n, "threads",
	                              o->threads, "bound_bits", bound, "coded_bits", coded, "rows", rows));
}

static void bench_model(const options *o)
{
	chunk_source source;
	batch b;
	double n = 0, scales = 0;
	uint32_t dtype = 0;
	times *all = need(calloc(n_methods, sizeof *all));
	thread_crew *all_threads = crew_create(o->threads);
	chunks_open(&source, o->model, o->to_fp16, o->weights ? o->weights : UINT64_MAX);
	while (chunks_next(&source, &b, BATCH_WEIGHTS)) {
		measure_batch(all_threads, &b, o->passes, all);
		scales += scales_bits(crew_first(all_threads), &b);
		n += (double)b.n_weights;
		dtype = b.dtype;
		chunks_free(&b);
	}
	if (n == 0)
		fail("%s: no 16-bit weights that LLM.int8 would quantize", o->model);
	report(o, all, &source, n, scales, dtype);
	chunks_close(&source);
	crew_destroy(all_threads);
	free(all);
}

static void bench_archive(const options *o)
{
	thread_crew *crew = crew_create(o->threads);
	json_t *result = measure_pairs(crew, o->model, o->label, o->passes);
	json_object_update_new(result, json_pack("{s:s, s:s, s:i}", "data", o->label, "platform",
	                                         "native-archive", "threads", o->threads));
	write_json(o->json, result);
	crew_destroy(crew);
}

static void load(const options *o)
{
	chunk_source source;
	batch b;
	size_t n_bandwidths = sizeof bandwidths / sizeof *bandwidths;
	uint64_t weights = o->weights ? o->weights : 64000000;
	json_t *x = json_array();
	for (size_t i = 0; i < n_bandwidths; i++)
		json_array_append_new(x, json_integer(bandwidths[i]));
	chunks_open(&source, o->model, o->to_fp16, weights);
	if (!chunks_next(&source, &b, weights))
		fail("%s: no 16-bit weights that LLM.int8 would quantize", o->model);
	printf("%s, %s. ", o->label, high_name(b.dtype));
	json_t *rows = load_experiment(&b, o->load, bandwidths, n_bandwidths);
	write_json(o->json, json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "data", o->label, "platform", "load",
	                              "high", high_name(b.dtype), "weights", (json_int_t)b.n_weights,
	                              "bandwidths_mbs", x, "rows", rows));
	chunks_free(&b);
	chunks_close(&source);
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"fp16", no_argument, NULL, 'f'},
	                                             {"weights", required_argument, NULL, 'w'},
	                                             {"passes", required_argument, NULL, 'p'},
	                                             {"threads", required_argument, NULL, 't'},
	                                             {"label", required_argument, NULL, 'l'},
	                                             {"json", required_argument, NULL, 'j'},
	                                             {"load", required_argument, NULL, 'o'},
	                                             {"help", no_argument, NULL, 'h'},
	                                             {0}};
	options o = {.passes = 5, .threads = 2};
	int option;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
		switch (option) {
		case 'f':
			o.to_fp16 = 1;
			break;
		case 'w':
			o.weights = strtoull(optarg, NULL, 10);
			break;
		case 'p':
			o.passes = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			o.threads = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'l':
			o.label = optarg;
			break;
		case 'j':
			o.json = optarg;
			break;
		case 'o':
			o.load = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	if (optind + 1 != argc || !o.passes || !o.threads || o.threads > THREADS_MAX) {
		usage(stderr);
		return 2;
	}
	o.model = argv[optind];
	o.label = o.label ? o.label : o.model;
	const char *ending = strrchr(o.model, '.');
	if (o.load)
		load(&o);
	else if (ending && !strcmp(ending, ".qstore"))
		bench_archive(&o);
	else
		bench_model(&o);
	return 0;
}
