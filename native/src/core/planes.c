#include "planes.h"

#include "index.h"

int qs_planes_rotated(uint32_t dtype)
{
	return dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
}

void qs_planes_join(const uint8_t *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
	const uint8_t *p0 = planes, *p1 = planes + n, *p2 = p1 + n, *p3 = p2 + n;
	if (size == 1) {
		memcpy(dst, planes, n);
	} else if (size == 2 && rotated) {
		for (size_t i = 0; i < n; i++) {
			uint16_t v = (uint16_t)(p0[i] << 8 | p1[i]);
			qs_store16(dst + 2 * i, (uint16_t)(v >> 1 | v << 15));
		}
	} else if (size == 4 && rotated) {
		for (size_t i = 0; i < n; i++) {
			uint32_t v = (uint32_t)p0[i] << 24 | (uint32_t)p1[i] << 16 | (uint32_t)p2[i] << 8 | p3[i];
			qs_store32(dst + 4 * i, v >> 1 | v << 31);
		}
	} else {
		for (size_t i = 0; i < n; i++) {
			uint64_t v = 0;
			for (unsigned b = 0; b < size; b++)
				v = v << 8 | planes[b * n + i];
			if (rotated)
				v = v >> 1 | v << (8 * size - 1);
			memcpy(dst + i * size, &v, size);
		}
	}
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
