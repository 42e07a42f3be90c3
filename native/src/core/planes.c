#include "planes.h"

#include "index.h"
#include "simd.h"

int qs_planes_rotated(uint32_t dtype)
{
	return dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
}

QS_ALWAYS_INLINE void weave(const uint8_t *const *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
	if (size == 1) {
		memcpy(dst, planes[0], n);
	} else if (size == 2 && rotated) {
		const uint8_t *p0 = planes[0], *p1 = planes[1];
		for (size_t i = 0; i < n; i++) {
			uint16_t v = (uint16_t)(p0[i] << 8 | p1[i]);
			qs_store16(dst + 2 * i, (uint16_t)(v >> 1 | v << 15));
		}
	} else if (size == 4 && rotated) {
		const uint8_t *p0 = planes[0], *p1 = planes[1], *p2 = planes[2], *p3 = planes[3];
		for (size_t i = 0; i < n; i++) {
			uint32_t v = (uint32_t)p0[i] << 24 | (uint32_t)p1[i] << 16 | (uint32_t)p2[i] << 8 | p3[i];
			qs_store32(dst + 4 * i, v >> 1 | v << 31);
		}
	} else {
		for (size_t i = 0; i < n; i++) {
			uint64_t v = 0;
			for (unsigned b = 0; b < size; b++)
				v = v << 8 | planes[b][i];
			if (rotated)
				v = v >> 1 | v << (8 * size - 1);
			memcpy(dst + i * size, &v, size);
		}
	}
}

#if QS_HAVE_AVX512
static __attribute__((target("avx512f,avx512bw,avx512vl"))) void
weave_avx512(const uint8_t *const *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
	weave(planes, n, size, rotated, dst);
}
#endif

void qs_planes_weave(const uint8_t *const *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512()) {
		weave_avx512(planes, n, size, rotated, dst);
		return;
	}
#endif
	weave(planes, n, size, rotated, dst);
}

void qs_planes_join(const uint8_t *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
	const uint8_t *all[QS_PLANES_MAX];
	for (unsigned b = 0; b < size; b++)
		all[b] = planes + b * n;
	qs_planes_weave(all, n, size, rotated, dst);
}

void qs_planes_split(const uint8_t *src, size_t n, unsigned size, int rotated, uint8_t *planes)
{
	if (size == 1) {
		memcpy(planes, src, n);
	} else if (size == 2 && rotated) {
		uint8_t *p0 = planes, *p1 = planes + n;
		for (size_t i = 0; i < n; i++) {
			uint16_t v = qs_load16(src + 2 * i);
			p0[i] = (uint8_t)(v >> 7);
			p1[i] = (uint8_t)(v << 1 | v >> 15);
		}
	} else {
		for (size_t i = 0; i < n; i++) {
			uint64_t v = 0;
			memcpy(&v, src + i * size, size);
			if (rotated)
				v = v << 1 | v >> (8 * size - 1);
			for (unsigned b = 0; b < size; b++)
				planes[b * n + i] = (uint8_t)(v >> (8 * (size - 1 - b)));
		}
	}
}
