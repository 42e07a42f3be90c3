"""The three precisions of a matrix as GGUF stores them: each function gives the bytes and the values they stand for.

Q8_0 and Q4_0 are made from the BF16 values by the arithmetic of llama.cpp's reference quantizers
(ggml/src/ggml-quants.c, quantize_row_q8_0_ref and quantize_row_q4_0_ref), step by step in float32."""

import numpy

BLOCK = 32


def bf16(weights):
    """Rounded to nearest, ties to even; weights are finite float32."""
    bits = weights.view("<u4")
    high = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return high.tobytes(), (high.astype("<u4") << 16).view("<f4")


def inverse(steps):
    """1 / step; of a block of zeros 0."""
    return numpy.divide(numpy.float32(1), steps, out=numpy.zeros_like(steps), where=steps != 0)


def q8_0(values):
    """Blocks of fp16 step and 32 signed bytes; codes are rounded half away from zero, with the step not yet fp16."""
    blocks = values.reshape(-1, BLOCK)
    step = numpy.abs(blocks).max(axis=1, keepdims=True) / numpy.float32(127)
    scaled = blocks * inverse(step)
    codes = numpy.copysign(numpy.floor(numpy.abs(scaled.astype("f8")) + 0.5), scaled).astype("i1")
    return stored(step, codes), restored(step, codes, values.shape)


def q4_0(values):
    """Blocks of fp16 step and 16 bytes: codes 0–15, those of elements 0–15 in the low halves, 16–31 in the high ones.
    The value of largest magnitude, the first of several, is −8 steps."""
    blocks = values.reshape(-1, BLOCK)
    largest = numpy.take_along_axis(blocks, numpy.abs(blocks).argmax(axis=1)[:, None], axis=1)
    step = largest / numpy.float32(-8)
    codes = numpy.minimum(15, numpy.trunc(blocks * inverse(step) + numpy.float32(8.5))).astype("u1")
    packed = codes[:, :BLOCK // 2] | (codes[:, BLOCK // 2:] << 4)
    return stored(step, packed), restored(step, codes.astype("i1") - 8, values.shape)


def stored(step, codes):
    return numpy.hstack([step.astype("<f2").view("u1"), codes.view("u1")]).tobytes()


def restored(step, codes, shape):
    return (step.astype("<f2").astype("<f4") * codes.astype("<f4")).reshape(shape)
