/* Column factors: codes of weights that were first multiplied by a factor for each column and rounded to 16
 * bits, as SmoothQuant and AWQ do (FORMAT.md, "Column factors"). The cell of an element is what the weights'
 * type has of the products that its code stands for. */
#ifndef QS_FACTORS_H
#define QS_FACTORS_H

#include "cells.h"
#include "chunk.h"

/* The cells of n elements of one row, from element `at` of the chunk on. cells: of the products (a table
 * for desc->factors_dtype); those of index 0 stay as they are. */
void qs_factor_cells(const qs_chunk_desc *desc, uint32_t at, qs_cells cells, const uint8_t *indexes,
                     uint32_t n, qs_cell *dst);

/* The product of a value of `dtype` and a factor, rounded to `factors_dtype`; what is not finite stays as it
 * is. */
uint16_t qs_factor_product(uint32_t dtype, uint32_t factors_dtype, uint16_t value, float factor);

/* The factor at p; 1 for what cannot be one. */
float qs_factor_value(uint32_t factors_dtype, const uint8_t *p);

/* The factors from that of element `at` of the chunk on. */
const uint8_t *qs_factors_at(const qs_chunk_desc *desc, uint32_t at);

#endif
