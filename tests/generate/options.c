#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "writer.h"

uint64_t gen_number(const char *option, const char *text, uint64_t low, uint64_t high)
{
	char *end;
	uint64_t unit = 1;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (*end) {
		unit = *end == 'k' || *end == 'K' ? 1000 : *end == 'M' ? 1000000 : *end == 'G' ? 1000000000 : 0;
		end++;
	}
	if (errno || *text < '0' || *text > '9' || *end || !unit || value > high / unit || value * unit < low)
		gen_die("--%s: \"%s\" is not a number from %" PRIu64 " to %" PRIu64, option, text, low, high);
	return value * unit;
}
