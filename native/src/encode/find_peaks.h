/* Groups of codes that each have an extreme one (core/peaks.h). */
#ifndef QS_FIND_PEAKS_H
#define QS_FIND_PEAKS_H

#include "core/chunk.h"
#include "core/peaks.h"

enum { QS_PEAK_GROUPS_MAX = QS_CHUNK_SIZE_MAX >> QS_PEAKS_LOG_MIN };

/* What was found, and its memory. */
typedef struct qs_found_peaks {
	qs_peaks peaks;
	uint32_t n_groups, n_odd; /* n_odd: peaks that are none of those that most groups have */
	unsigned n_values[QS_PEAKS_MAX];
	uint8_t places[QS_PEAKS_MAX][QS_PEAK_GROUPS_MAX]; /* what peaks.places points to */
} qs_found_peaks;

/* 0 when nothing is gained by them. */
int qs_find_peaks(qs_found_peaks *found, const qs_chunk_desc *desc, const uint8_t *codes);

/* The other codes' distances to the centre. dst: room for QS_CHUNK_SIZE_MAX. */
void qs_leave_out_peaks(const qs_found_peaks *found, const uint8_t *codes, uint8_t *dst);

#endif
