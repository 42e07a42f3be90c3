/* A Llama whose weights are noise with the statistics of trained ones. */
#ifndef GENERATE_LLAMA_H
#define GENERATE_LLAMA_H

#include <stdint.h>

typedef struct llama_options {
	uint32_t dtype; /* QS_BF16, QS_F16 or QS_F32 */
	uint64_t seed;
	uint64_t layers, hidden, intermediate, vocab; /* 0: chosen */
	uint64_t weights_size; /* bytes to come close to, if sizes above are left open; 0: small */
	uint64_t shards;
	const char *high, *low;   /* folders; low may be NULL */
	int low_rule, per_tensor; /* of writer.h */
	const char *cast;         /* folder of a 16-bit copy of an F32 model, or NULL */
	uint32_t cast_dtype;
} llama_options;

void generate_llama(const llama_options *options);

#endif
