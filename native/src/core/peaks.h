/* Codes in groups that each have an extreme code, a peak, such as ±127 in every block of 32. Values and
 * places of the peaks are coded on their own, the other codes without them (FORMAT.md, "Codes without
 * peaks"). */
#ifndef QS_PEAKS_H
#define QS_PEAKS_H

#include "workspace.h"

enum {
	QS_PEAKS_LOG_MIN = 5, /* of a group's codes */
	QS_PEAKS_LOG_MAX = 7,
	QS_PEAKS_MAX = 2,     /* of a group */
	QS_PEAK_PLACES = 256, /* a byte says which of the values it is, and where: number << group_log | place */
	QS_PEAK_VALUES_MAX = QS_PEAK_PLACES >> QS_PEAKS_LOG_MIN
};

typedef struct qs_peaks {
	unsigned group_log, per_group;                    /* codes; peaks, 1 or 2 */
	uint8_t values[QS_PEAKS_MAX][QS_PEAK_VALUES_MAX]; /* of a group's first and second peak */
	uint8_t centre;                                   /* what the other codes are distances to */
	const uint8_t *places[QS_PEAKS_MAX];              /* a byte for each group; the two differ in place */
} qs_peaks;

/* Describes the chunk without its peaks, as a chunk of codes. */
qs_chunk_desc qs_peaks_rest(const qs_peaks *peaks, const qs_chunk_desc *desc);

/* Reads the head of a chunk of peaks. The groups' bytes are written to w->values. */
qstore_status qs_peaks_read(qs_reader *r, const qs_chunk_desc *desc, qs_peaks *peaks, const qs_workspace *w);

/* Inserts the peaks. dst has room for n_groups groups, and at its end the distances of the other codes to the
 * centre. scratch: QS_PEAKS_SCRATCH bytes. */
void qs_peaks_place(const qs_peaks *peaks, size_t n_groups, uint8_t *dst, uint8_t *scratch);
enum { QS_PEAKS_SCRATCH = (3 << QS_PEAKS_LOG_MAX) + (1 << 2 * QS_PEAKS_LOG_MAX) };

#endif
