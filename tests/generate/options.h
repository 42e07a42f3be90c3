/* Options of the generators' programs. */
#ifndef GENERATE_OPTIONS_H
#define GENERATE_OPTIONS_H

#include <stdint.h>

/* Reads the value of --option, low to high: a decimal number, perhaps followed by k, M or G (10^3, 10^6,
 * 10^9). Anything else ends the program. */
uint64_t gen_number(const char *option, const char *text, uint64_t low, uint64_t high);

#endif
