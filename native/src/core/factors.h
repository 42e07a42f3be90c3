/* Column factors (FORMAT.md, "Column factors"): SmoothQuant and AWQ multiply weights by a factor for each
 * column and round the products to 16 bits before they are quantized. The cell of an element then has the
 * values of the weights' type whose products get the element's code. */
#ifndef QS_FACTORS_H
#define QS_FACTORS_H

#include "cells.h"
#include "chunk.h"

/* Writes the cells of n elements of one row, from element `at` of the chunk on. cells: the cells of the
 * products, which are of dtype desc->factors_dtype. Elements with index 0 keep the cell of index 0. */
void qs_factor_cells(const qs_chunk_desc *desc, uint32_t at, qs_cells cells, const uint8_t *indexes,
                     uint32_t n, qs_cell *dst);

/* Returns the product of a value of `dtype` and a factor, rounded to `factors_dtype`. Values that are not
 * finite are returned unchanged. */
uint16_t qs_factor_product(uint32_t dtype, uint32_t factors_dtype, uint16_t value, float factor);

/* Reads the factor at p; returns 1 if it is not above 0 and finite. */
float qs_factor_value(uint32_t factors_dtype, const uint8_t *p);

/* Returns the address of the column factor of element `at` of the chunk; those of the next columns follow. */
const uint8_t *qs_factors_at(const qs_chunk_desc *desc, uint32_t at);

#endif
