#include "peaks.h"

#include "lanes.h"

#if QS_LANES_ARE_WORDS
static inline qs_lanes add_bytes(qs_lanes v, uint8_t byte)
{
	const qs_lanes every = 0x0101010101010101, high = every * 128, b = every * byte;
	return ((v & ~high) + (b & ~high)) ^ ((v ^ b) & high);
}
#else
static inline qs_lanes add_bytes(qs_lanes v, uint8_t byte)
{
	return v + byte;
}
#endif

QS_ALWAYS_INLINE void add_to(uint8_t *dst, const uint8_t *src, unsigned size, uint8_t centre)
{
	for (unsigned at = 0; at < size; at += (unsigned)sizeof(qs_lanes))
		qs_store_lanes(dst + at, add_bytes(qs_load_lanes(src + at), centre));
}

/* Writes each peak group as if it had no peaks; then the codes behind its first peak again, one place further
 * on; then those behind the second peak likewise. Each of these stores writes a whole group's size: the bytes
 * beyond are overwritten by the next group, or by the peaks. */
QS_ALWAYS_INLINE void place_groups(const qs_peaks *from, size_t group, size_t end, const unsigned size,
                                   const unsigned per_group, const uint8_t *src, uint8_t *dst)
{
	const qs_peaks peaks = *from; /* a copy, because the compiler knows that stores to dst do not change it */
	for (; group < end; group++, src += size - per_group, dst += size) {
		unsigned peak = peaks.places[0][group], first = peak & (size - 1);
		add_to(dst, src, size, peaks.centre);
		if (per_group > 1) {
			unsigned other = peaks.places[1][group], second = other & (size - 1);
			unsigned low = first < second ? first : second, high = first < second ? second : first;
			add_to(dst + low + 1, src + low, size, peaks.centre);
			add_to(dst + high + 1, src + high - 1, size, peaks.centre);
			dst[second] = peaks.values[1][other >> peaks.group_log];
		} else
			add_to(dst + first + 1, src + first, size, peaks.centre);
		dst[first] = peaks.values[0][peak >> peaks.group_log];
	}
}

/* Places peak groups [group, end). Reads and writes up to one peak group beyond the last one. */
static void place_all(const qs_peaks *peaks, size_t group, size_t end, const uint8_t *src, uint8_t *dst)
{
	unsigned size = 1u << peaks->group_log;
	if (size == 32 && peaks->per_group == 1)
		place_groups(peaks, group, end, 32, 1, src, dst);
	else if (size == 32)
		place_groups(peaks, group, end, 32, 2, src, dst);
	else
		place_groups(peaks, group, end, size, peaks->per_group, src, dst);
}

void qs_peaks_place(const qs_peaks *peaks, size_t n_groups, uint8_t *dst, uint8_t *scratch)
{
	size_t size = (size_t)1 << peaks->group_log, others = size - peaks->per_group;
	/* The other codes of the last peak groups are copied first, because bytes written beyond a group could
	 * overwrite them before they are read. */
	size_t n_last = size / peaks->per_group + 1 < n_groups ? size / peaks->per_group + 1 : n_groups;
	size_t n_first = n_groups - n_last;
	if (!n_groups)
		return;
	const uint8_t *src = dst + n_groups * peaks->per_group;
	memcpy(scratch, src + n_first * others, n_last * others);
	place_all(peaks, 0, n_first, src, dst);
	place_all(peaks, n_first, n_groups - 1, scratch, dst + n_first * size);
	uint8_t last[2 << QS_PEAKS_LOG_MAX];
	place_all(peaks, n_groups - 1, n_groups, scratch + (n_last - 1) * others, last);
	memcpy(dst + (n_groups - 1) * size, last, size);
}

/* Does each byte name one of the values, and a place in its peak group that `others` (or NULL) does not
 * name? */
static int places_are_good(const uint8_t *places, const uint8_t *others, uint32_t n, unsigned group_log,
                           unsigned n_values)
{
	uint8_t most = 0, same = 0, in_group = (uint8_t)((1u << group_log) - 1);
	for (uint32_t g = 0; g < n; g++)
		most = places[g] > most ? places[g] : most;
	for (uint32_t g = 0; others && g < n; g++)
		same |= !((places[g] ^ others[g]) & in_group);
	return !n || (!same && (unsigned)most >> group_log < n_values);
}

qstore_status qs_peaks_read(qs_reader *r, const qs_chunk_desc *desc, qs_peaks *peaks, const qs_workspace *w)
{
	unsigned params = qs_read8(r);
	*peaks = (qs_peaks){.group_log = params & 15, .per_group = (params >> 4) + 1};
	if (r->bad || peaks->group_log < QS_PEAKS_LOG_MIN || peaks->group_log > QS_PEAKS_LOG_MAX ||
	    peaks->per_group > QS_PEAKS_MAX)
		return QSTORE_CORRUPT;
	peaks->centre = qs_read8(r);
	uint32_t size = 1u << peaks->group_log, n_groups = desc->n_elems >> peaks->group_log;
	if ((desc->n_elems | desc->cols | desc->first_elem) & (size - 1))
		return QSTORE_CORRUPT;
	for (unsigned i = 0; i < peaks->per_group; i++) {
		unsigned n_values = qs_read8(r);
		const uint8_t *values = qs_read_bytes(r, n_values);
		if (!values || n_values > (unsigned)QS_PEAK_PLACES >> peaks->group_log)
			return QSTORE_CORRUPT;
		memcpy(peaks->values[i], values, n_values);
		uint8_t *places = w->values + i * n_groups;
		qstore_status status = qs_decode_blocks(r, 1, n_groups, places, w);
		if (status)
			return status;
		if (!places_are_good(places, i ? peaks->places[0] : NULL, n_groups, peaks->group_log, n_values))
			return QSTORE_CORRUPT;
		peaks->places[i] = places;
	}
	return QSTORE_OK;
}

qs_chunk_desc qs_peaks_rest(const qs_peaks *peaks, const qs_chunk_desc *desc)
{
	unsigned log = peaks->group_log, n = peaks->per_group;
	qs_chunk_desc rest = *desc;
	rest.n_elems -= (desc->n_elems >> log) * n;
	rest.cols -= (desc->cols >> log) * n;
	rest.first_elem -= (desc->first_elem >> log) * n;
	return rest;
}
