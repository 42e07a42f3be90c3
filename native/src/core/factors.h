/* Column factors: codes of weights that were first multiplied by a factor for each column and rounded to 16
 * bits, as SmoothQuant and AWQ do (FORMAT.md, "Column factors"). The cell of an element has those
 * values of the weights' type whose products its code stands for. */
#ifndef QS_FACTORS_H
#define QS_FACTORS_H

#include "cells.h"
#include "chunk.h"

/* Finds the cells of n elements of one row, from element `at` of the chunk on. cells: a table of the
 * products' cells, in desc->factors_dtype. Elements with index 0 keep the cell of index 0. */
void qs_factor_cells(const qs_chunk_desc *desc, uint32_t at, qs_cells cells, const uint8_t *indexes,
                     uint32_t n, qs_cell *dst);

/* The product of a value of `dtype` and a factor, rounded to `factors_dtype`. Values that are not finite are
 * returned unchanged. */
uint16_t qs_factor_product(uint32_t dtype, uint32_t factors_dtype, uint16_t value, float factor);

/* The factor at p; 1 if it is not above 0 and finite. */
float qs_factor_value(uint32_t factors_dtype, const uint8_t *p);

/* The factors of the columns from that of element `at` of the chunk on. */
const uint8_t *qs_factors_at(const qs_chunk_desc *desc, uint32_t at);

#endif
