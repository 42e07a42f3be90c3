#include "expand.h"
#include "tree.h"

#define BIT(m, j) ((m) >> (j)&1)
#define BELOW(m, j)                                                                                          \
	(BIT(m, 0) * ((j) > 0) + BIT(m, 1) * ((j) > 1) + BIT(m, 2) * ((j) > 2) + BIT(m, 3) * ((j) > 3) +         \
	 BIT(m, 4) * ((j) > 4) + BIT(m, 5) * ((j) > 5) + BIT(m, 6) * ((j) > 6))
#define LANE(m, j) (BIT(m, j) ? 2 * BELOW(m, j) : 0x80), (BIT(m, j) ? 2 * BELOW(m, j) + 1 : 0x80)
#define ROW(m)                                                                                               \
	{                                                                                                        \
		LANE(m, 0), LANE(m, 1), LANE(m, 2), LANE(m, 3), LANE(m, 4), LANE(m, 5), LANE(m, 6), LANE(m, 7)       \
	}
#define ROWS4(m) ROW(m), ROW((m) + 1), ROW((m) + 2), ROW((m) + 3)
#define ROWS16(m) ROWS4(m), ROWS4((m) + 4), ROWS4((m) + 8), ROWS4((m) + 12)
#define ROWS64(m) ROWS16(m), ROWS16((m) + 16), ROWS16((m) + 32), ROWS16((m) + 48)
#if QS_HAVE_SIMD128
const uint8_t qs_expand[256][16]
    __attribute__((aligned(16))) = {ROWS64(0), ROWS64(64), ROWS64(128), ROWS64(192)};
#endif

#undef LANE
#define LANE(m, j) (BIT(m, j) ? 8 + BELOW(m, j) : (j)-BELOW(m, j))
const uint8_t qs_merge[256][8]
    __attribute__((aligned(8))) = {ROWS64(0), ROWS64(64), ROWS64(128), ROWS64(192)};
