#include "matrix.h"

void pack_set_matrix(pack_tensor *t, pack_tensor *codes, const pack_grid *grid, uint32_t bits)
{
	codes->code_bits = bits;
	pack_set_codes(codes, grid);
	pack_set_layout(t, codes, bits);
	t->matrix = codes;
}

pack_tensor *pack_derive_zero_points(pack_derived *derived, pack_tensor *packed, pack_view view,
                                     uint32_t bits, uint64_t rows, uint64_t cols)
{
	pack_tensor *zero_points = pack_derive(derived, packed, view, QS_U8, rows, cols);
	if (!zero_points)
		return NULL;
	zero_points->code_bits = bits;
	pack_set_layout(packed, zero_points, bits);
	return zero_points;
}

const char *pack_with_prefix(pack_derived *derived, const char *prefix, const char *name)
{
	return prefix && prefix[0] != 0 ? qs_arena_text(derived->arena, "%s/%s", prefix, name) : name;
}
