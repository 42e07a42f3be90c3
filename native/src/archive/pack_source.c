/* Reading what is packed. */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../core/bytes.h"
#include "../core/mode.h"
#include "../core/rules.h"
#include "../quantize/llm_int8.h"
#include "pack.h"

qstore_status pack_no_memory(qs_error *error)
{
	return qs_fail(error, QSTORE_MEMORY, "out of memory");
}

int pack_is_cancelled(const packer *p)
{
	return p->options->work.cancel != NULL && *p->options->work.cancel;
}

void pack_phase(packer *p, const char *phase, uint64_t total)
{
	p->progress = (qstore_progress){phase, 0, total};
	pack_advance(p, 0);
}

void pack_advance(packer *p, uint64_t bytes)
{
	const qstore_work *work = &p->options->work;
	p->progress.done += bytes;
	if (work->on_progress != NULL)
		work->on_progress(work->user, &p->progress);
}

static qstore_status append_source(packer *p, pack_source source, uint32_t *number, qs_error *error)
{
	pack_source *larger = realloc(p->sources, (p->n_sources + 1) * sizeof(*larger));
	if (larger == NULL)
		return pack_no_memory(error);
	p->sources = larger;
	*number = (uint32_t)p->n_sources;
	p->sources[p->n_sources++] = source;
	return QSTORE_OK;
}

static struct timespec modified(const struct stat *info)
{
#ifdef __APPLE__
	return info->st_mtimespec;
#else
	return info->st_mtim;
#endif
}

qstore_status pack_add_source(packer *p, const char *path, uint64_t size, uint32_t *number, qs_error *error)
{
	pack_source source = {.path = path, .fd = -1, .is_input = 1, .size = size};
	struct stat info;
	qstore_status status = append_source(p, source, number, error);
	if (status != QSTORE_OK)
		return status;
	pack_source *added = &p->sources[*number];
	status = qs_open_read(&added->fd, path, error);
	if (status != QSTORE_OK)
		return status;
	if (fstat(added->fd, &info) != 0 || (uint64_t)info.st_size != size)
		return qs_fail(error, QSTORE_INPUT, "%s: changed while it was read", path);
	added->mtime = modified(&info);
#ifdef POSIX_FADV_SEQUENTIAL
	/* Each pass reads a file front to back. */
	(void)posix_fadvise(added->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
	return QSTORE_OK;
}

qstore_status pack_read(const packer *p, uint32_t source, void *dst, size_t size, uint64_t offset,
                        qs_error *error)
{
	const pack_source *s = &p->sources[source];
	qstore_status status = qs_pread_all(s->fd, dst, size, offset, s->path, error);
	if (status == QSTORE_TRUNCATED)
		return qs_fail(error, QSTORE_INPUT, "%s: changed while it was read", s->path);
	return status;
}

qstore_status pack_check_sources(const packer *p, qs_error *error)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		const pack_source *s = &p->sources[i];
		struct stat info = {0};
		if (!s->is_input)
			continue;
		int failed = fstat(s->fd, &info) != 0;
		struct timespec mtime = modified(&info);
		if (failed || (uint64_t)info.st_size != s->size || mtime.tv_sec != s->mtime.tv_sec ||
		    mtime.tv_nsec != s->mtime.tv_nsec)
			return qs_fail(error, QSTORE_INPUT, "%s: changed while it was read", s->path);
	}
	return QSTORE_OK;
}

qstore_status pack_generate(packer *p, const void *src, size_t size, uint64_t *offset, qs_error *error)
{
	if (p->generated == QS_NONE) {
		pack_source source = {.path = p->options->output, .fd = -1};
		qstore_status status = append_source(p, source, &p->generated, error);
		if (status == QSTORE_OK)
			status = qs_spool_create(&p->sources[p->generated].fd, p->options->output, error);
		if (status != QSTORE_OK)
			return status;
	}
	*offset = p->generated_size;
	p->generated_size += size;
	return qs_pwrite_all(p->sources[p->generated].fd, src, size, *offset, p->options->output, error);
}

const char *pack_keep(packer *p, char *text)
{
	char **larger = realloc(p->texts, (p->n_texts + 1) * sizeof(*larger));
	if (larger != NULL)
		p->texts = larger;
	if (larger == NULL || text == NULL) {
		free(text);
		return NULL;
	}
	p->texts[p->n_texts++] = text;
	return text;
}

qstore_status pack_add_file(packer *p, pack_file **added, qs_error *error)
{
	pack_file *larger = realloc(p->files, (p->n_files + 1) * sizeof(*larger));
	if (larger == NULL)
		return pack_no_memory(error);
	p->files = larger;
	*added = &p->files[p->n_files++];
	memset(*added, 0, sizeof(**added));
	(*added)->literal = QS_NONE;
	return QSTORE_OK;
}

qstore_status pack_add_small(packer *p, pack_small **added, qs_error *error)
{
	pack_small *larger = realloc(p->smalls, (p->n_smalls + 1) * sizeof(*larger));
	if (larger == NULL)
		return pack_no_memory(error);
	p->smalls = larger;
	*added = &p->smalls[p->n_smalls++];
	memset(*added, 0, sizeof(**added));
	return QSTORE_OK;
}

void pack_geometry(uint32_t dtype, uint32_t n_dims, const uint64_t *dims, uint64_t *cols,
                   uint32_t *chunk_elems)
{
	uint32_t most = QS_CHUNK_SIZE_MAX / qs_dtype_size(dtype);
	if (most > 1u << 18)
		most = 1u << 18;
	/* Rows are what the first dimension counts, of convolutions too. */
	*cols = n_dims > 1 ? 1 : 0;
	for (uint32_t i = 1; i < n_dims; i++)
		*cols *= dims[i];
	*cols = *cols > 0 ? *cols : 1;
	*chunk_elems = *cols <= most ? most - most % (uint32_t)*cols : most;
}

uint64_t pack_n_elems(const pack_tensor *tensor)
{
	return tensor->size / qs_dtype_size(tensor->dtype);
}

qstore_status pack_tensor_read(const packer *p, const pack_tensor *tensor, uint8_t *dst, size_t size,
                               uint64_t offset, uint8_t *scratch, qs_error *error)
{
	if (!tensor->quantized)
		return pack_read(p, tensor->source, dst, size, tensor->source_offset + offset, error);
	/* One byte a code; a piece of a row at a time. */
	uint64_t cols = tensor->dims[1];
	uint8_t *fine = scratch;                           /* 2^19 elements of 16 bits */
	uint8_t *scales = scratch + PACK_SCRATCH_SIZE / 2; /* 2^18 of 32 bits */
	while (size > 0) {
		size_t n = size < PACK_SCRATCH_SIZE / 8 ? size : PACK_SCRATCH_SIZE / 8;
		uint64_t first_row = offset / cols, n_rows = (offset + n - 1) / cols - first_row + 1;
		qstore_status status =
		    pack_read(p, tensor->source, fine, 2 * n, tensor->source_offset + 2 * offset, error);
		if (status == QSTORE_OK)
			status = pack_read(p, tensor->scales->source, scales, (size_t)n_rows * sizeof(float),
			                   tensor->scales->source_offset + first_row * sizeof(float), error);
		if (status != QSTORE_OK)
			return status;
		for (size_t done = 0; done < n;) {
			uint64_t row = (offset + done) / cols, left = (row + 1) * cols - (offset + done);
			size_t piece = left < n - done ? (size_t)left : n - done;
			qs_llm_int8_quantize(fine + 2 * done, piece, tensor->source_dtype,
			                     qs_load_f32(scales + (row - first_row) * sizeof(float)),
			                     (int8_t *)dst + done);
			done += piece;
		}
		dst += n;
		offset += n;
		size -= n;
	}
	return QSTORE_OK;
}

static float value_of(uint16_t bits, uint32_t dtype)
{
	uint32_t magnitude = bits & 0x7fff;
	float value = magnitude >= (dtype == QS_F16 ? 0x7c00u : 0x7f80u) ? (float)INFINITY
	                                                                 : qs_magnitude_value(magnitude, dtype);
	return bits & 0x8000 ? -value : value;
}

void pack_error_sums(const qs_chunk_desc *desc, const uint8_t *fine, double *error_sum, double *square_sum)
{
	double errors = 0.0, squares = 0.0;
	for (qs_row_part part = qs_first_row(desc); part.count; part = qs_next_row(desc, part)) {
		float step = qs_rule_step(desc->rule, qs_chunk_scale(desc, part.row));
		for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
			float value = value_of(qs_load16(fine + 2 * (size_t)i), desc->dtype);
			double difference = (double)(step * (float)(int8_t)desc->coarse[i]) - (double)value;
			double square = (double)value * (double)value;
			/* Infinities and NaN say nothing about the rest. */
			if (!(square <= 1e300) || !(difference * difference <= 1e300))
				continue;
			errors += difference * difference;
			squares += square;
		}
	}
	*error_sum = errors;
	*square_sum = squares;
}

int pack_alike(double error_sum, double square_sum, uint64_t n)
{
	/* Values below FP16's range are rounded to multiples of 2^-24, or to zero, before they are quantized. */
	return error_sum <= 0.5 * square_sum + (double)n * 3.5527136788005009e-15 /* 2^-48 */;
}
