/* Finding peak groups: a size of groups of which nearly each has one of the extreme codes (core/peaks.h). */
#ifndef QS_FIND_PEAKS_H
#define QS_FIND_PEAKS_H

#include "core/chunk.h"
#include "core/peaks.h"

enum { QS_PEAK_GROUPS_MAX = QS_CHUNK_SIZE_MAX >> QS_PEAKS_LOG_MIN };

/* The peaks that were found, and the memory that holds them. */
typedef struct qs_found_peaks {
	qs_peaks peaks;
	uint32_t n_groups, n_odd; /* n_odd: peaks with another value than nearly all groups have */
	unsigned n_values[QS_PEAKS_MAX];
	uint8_t places[QS_PEAKS_MAX][QS_PEAK_GROUPS_MAX]; /* peaks.places points here */
} qs_found_peaks;

/* Returns 0 if coding peaks apart gains nothing. */
int qs_find_peaks(qs_found_peaks *found, const qs_chunk_desc *desc, const uint8_t *codes);

/* Writes the distances of all codes but the peaks to the centre. dst needs room for QS_CHUNK_SIZE_MAX bytes.
 */
void qs_leave_out_peaks(const qs_found_peaks *found, const uint8_t *codes, uint8_t *dst);

#endif
