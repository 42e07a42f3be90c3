/* Codes in peak groups: each group has one extreme code or two, its peaks, such as ±127 in every block of 32.
 * Values and places of the peaks are coded apart from the other codes (FORMAT.md, "Codes without peaks").
 * "Group" alone means a peak group here. */
#ifndef QS_PEAKS_H
#define QS_PEAKS_H

#include "workspace.h"

enum {
	QS_PEAKS_LOG_MIN = 5, /* log2 of the number of codes of a group */
	QS_PEAKS_LOG_MAX = 7,
	QS_PEAKS_MAX = 2,     /* peaks of a group */
	QS_PEAK_PLACES = 256, /* a byte says which value a peak has, and where: number << group_log | place */
	QS_PEAK_VALUES_MAX = QS_PEAK_PLACES >> QS_PEAKS_LOG_MIN
};

typedef struct qs_peaks {
	unsigned group_log, per_group;                    /* log2 of a group's codes; its peaks, 1 or 2 */
	uint8_t values[QS_PEAKS_MAX][QS_PEAK_VALUES_MAX]; /* that a group's first, and its second peak can have */
	uint8_t centre;                                   /* the other codes are stored as distances to it */
	const uint8_t *places[QS_PEAKS_MAX];              /* a byte for each group; the two differ in place */
} qs_peaks;

/* Describes the chunk without its peaks, as a chunk of codes. */
qs_chunk_desc qs_peaks_rest(const qs_peaks *peaks, const qs_chunk_desc *desc);

/* Reads the head of a chunk of peaks, decoding the bytes of places into w->values. */
qstore_status qs_peaks_read(qs_reader *r, const qs_chunk_desc *desc, qs_peaks *peaks, const qs_workspace *w);

/* Makes the codes of n_groups groups in dst, whose end has the distances of the other codes to the centre.
 * scratch: QS_PEAKS_SCRATCH bytes. */
void qs_peaks_place(const qs_peaks *peaks, size_t n_groups, uint8_t *dst, uint8_t *scratch);
enum { QS_PEAKS_SCRATCH = (3 << QS_PEAKS_LOG_MAX) + (1 << 2 * QS_PEAKS_LOG_MAX) };

#endif
