/* All arithmetic is in single precision by IEEE basic operations, so that results are the same on every
 * machine. */
#include "rounding.h"

#include <math.h>

#include "random.h"
#include "values.h"

static float larger(float a, float b)
{
	return a > b ? a : b;
}

static int clamp(float value, int low, int high)
{
	return value < (float)low ? low : value > (float)high ? high : (int)value;
}

/* backends/default/ops.py of bitsandbytes (int8_vectorwise_quant), nn/modules.py (cast to FP16). */
static gen_params find_llm_int8(float absmax)
{
	absmax = value_round(QS_F16, absmax);
	return (gen_params){absmax, absmax > 0 ? 127.0f / absmax : 0, 0};
}

/* Symmetric codes: the scale spans the codes of both signs. Asymmetric codes go from 0 to 2^bits − 1, and the
 * range of values includes 0, as in onnxruntime's quant_utils.py (compute_scale_zp). */
static gen_params find_divide(const gen_rounding *r, float min, float max)
{
	float most = (float)((1 << (r->asymmetric ? r->bits : r->bits - 1)) - 1);
	if (!r->asymmetric) {
		float scale = larger(-min, max) / most;
		return (gen_params){scale, scale > 0 ? 1.0f / scale : 0, 0};
	}
	min = min > 0 ? 0 : min;
	max = max < 0 ? 0 : max;
	float scale = max > min ? (max - min) / most : 1.0f;
	return (gen_params){scale, 1.0f / scale, clamp(rintf(0 - min / scale), 0, (int)most)};
}

/* quantization/utils/helpers.py of compressed-tensors (calculate_qparams): each operation's result is rounded
 * to the weights' type; a scale of 0 becomes that type's epsilon. */
static gen_params find_compressed_tensors(const gen_rounding *r, float min, float max)
{
	static const float e16 = 0x1p-10f, eb16 = 0x1p-7f, e32 = 0x1p-23f;
	int low = -(1 << (r->bits - 1)), high = -low - 1;
	float scale, range = (float)(high - low), zero = 0;
	min = min > 0 ? 0 : min;
	max = max < 0 ? 0 : max;
	if (r->asymmetric)
		scale = value_round(r->dtype, value_round(r->dtype, max - min) / range);
	else
		scale = value_round(r->dtype, larger(-min, max) / (range / 2));
	if (r->asymmetric && scale > 0)
		zero = value_round(r->dtype, (float)low - value_round(r->dtype, min / scale));
	if (!(scale > 0))
		scale = r->dtype == QS_F16 ? e16 : r->dtype == QS_BF16 ? eb16 : e32;
	return (gen_params){scale, 1.0f / scale, clamp(rintf(zero), low, high)};
}

/* quantization/quantizer.py of AutoGPTQ (Quantizer.find_params). */
static gen_params find_gptq(const gen_rounding *r, float min, float max)
{
	float most = (float)((1 << r->bits) - 1);
	min = min > 0 ? 0 : min;
	max = max < 0 ? 0 : max;
	if (!r->asymmetric) {
		max = larger(-min, max);
		min = min < 0 ? -max : min;
	}
	if (min == 0 && max == 0) {
		min = -1;
		max = 1;
	}
	float scale = (max - min) / most;
	return (gen_params){scale, 1.0f / scale, r->asymmetric ? (int)rintf(-min / scale) : 1 << (r->bits - 1)};
}

/* awq/quantize/quantizer.py of AutoAWQ (pseudo_quantize_tensor, zero_point), of weights that were made FP16.
 */
static gen_params find_awq(const gen_rounding *r, float min, float max)
{
	float most = (float)((1 << r->bits) - 1);
	min = value_round(QS_F16, min);
	max = value_round(QS_F16, max);
	float range = larger(value_round(QS_F16, max - min), value_round(QS_F16, 1e-5f));
	float scale = value_round(QS_F16, range / most);
	int zero = clamp(0 - rintf(value_round(QS_F16, min / scale)), 0, (int)most);
	return (gen_params){scale, 1.0f / scale, zero};
}

gen_params gen_find_params(const gen_rounding *r, float min, float max)
{
	switch (r->rule) {
	case GEN_LLM_INT8:
		return find_llm_int8(larger(-min, max));
	case GEN_COMPRESSED_TENSORS:
		return find_compressed_tensors(r, min, max);
	case GEN_TORCHAO: {
		/* quantization/quant_primitives.py (choose_qparams_affine, eps of F32). */
		float scale = larger(value_round(r->dtype, larger(-min, max) / 127.5f), 0x1p-23f);
		return (gen_params){scale, 1.0f / scale, 0};
	}
	case GEN_AWQ:
		return find_awq(r, min, max);
	case GEN_GPTQ:
		return find_gptq(r, min, max);
	default:
		return find_divide(r, min, max);
	}
}

/* Returns the loss of the values. In AutoGPTQ it is Σ |error|^2.4; here the power is 2.375, because square
 * roots can compute it, which are the same on every machine. */
static double loss_of(const gen_rounding *r, const gen_params *params, const float *values, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++) {
		double off = (double)gen_restore(params, gen_round(r, params, values[i])) - (double)values[i];
		off = off < 0 ? -off : off;
		sum += off * off * sqrt(sqrt(off * sqrt(off)));
	}
	return sum;
}

gen_params gen_find_params_of(const gen_rounding *r, const float *values, size_t n)
{
	enum {
		STEPS = 100,
		SMALLEST = 20
	}; /* AutoGPTQ's grid and maxshrink: hundredths of the range, and the smallest range that is tried */
	float min = values[0], max = values[0];
	for (size_t i = 1; i < n; i++) {
		min = values[i] < min ? values[i] : min;
		max = values[i] > max ? values[i] : max;
	}
	gen_params best = gen_find_params(r, min, max);
	double least = r->search ? loss_of(r, &best, values, n) : 0;
	for (int step = STEPS - 1; r->search && step > SMALLEST; step--) {
		float part = (float)step / STEPS;
		gen_params params = gen_find_params(r, part * min, part * max);
		double loss = loss_of(r, &params, values, n);
		if (loss < least) {
			least = loss;
			best = params;
		}
	}
	return best;
}

int gen_round(const gen_rounding *r, const gen_params *p, float value)
{
	int unsigned_codes =
	    r->rule == GEN_GPTQ || r->rule == GEN_AWQ || (r->rule == GEN_DIVIDE && r->asymmetric);
	int low = unsigned_codes ? 0 : -(1 << (r->bits - 1));
	int high = low + (1 << r->bits) - 1;
	float scaled;
	if (!(p->scale > 0))
		return p->zero;
	switch (r->rule) {
	case GEN_LLM_INT8:
		scaled = value_round(QS_F16, value) * p->factor;
		break;
	case GEN_AWQ:
		scaled = value_round(QS_F16, value_round(QS_F16, value) / p->scale);
		break;
	case GEN_MULTIPLY:
	case GEN_TORCHAO:
		scaled = value * p->factor;
		break;
	case GEN_COMPRESSED_TENSORS: {
		/* quantization/lifecycle/forward_helpers.py (_quantize): the zero point is added before rounding. */
		uint32_t dtype = r->wide ? QS_F32 : r->dtype;
		scaled = value_round(dtype, value / p->scale);
		return clamp(rintf(r->asymmetric ? value_round(dtype, scaled + (float)p->zero) : scaled), low, high);
	}
	default:
		scaled = value / p->scale;
	}
	return clamp(rintf(scaled) + (float)p->zero, low, high);
}

float gen_restore(const gen_params *p, int code)
{
	return p->scale * (float)(code - p->zero);
}
