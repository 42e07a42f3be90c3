/* Small models with unusual properties, for tests. */
#ifndef GENERATE_FIXTURES_H
#define GENERATE_FIXTURES_H

#include <stdint.h>

/* Writes fixture `name` into the folders (low may be NULL). Returns 0 if there is no such fixture. */
int generate_fixture(const char *name, uint64_t seed, const char *high, const char *low);

/* Returns the name of fixture i, NULL after the last one. */
const char *fixture_name(unsigned i, const char **description);

#endif
