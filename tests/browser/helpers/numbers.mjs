// Numbers for the tests' models.

/** Numbers of a bell's shape, with `bits` significant bits, the same in every run. */
export function* weights(seed, bits) {
	let state = seed;
	const uniform = () => (state = Math.imul(state, 1664525) + 1013904223 >>> 0) / 2 ** 32;
	for (;;) {
		const value = (uniform() + uniform() + uniform() + uniform() - 2) * 0.06;
		const unit = 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - bits + 1);
		yield Math.round(value / unit) * unit;
	}
}

export const take = (source, count) => Float32Array.from({ length: count }, () => source.next().value);

/** To the nearest integer, halves to even. */
export function roundEven(value) {
	const floor = Math.floor(value), rest = value - floor;
	return floor + (rest > 0.5 || (rest === 0.5 && floor & 1) ? 1 : 0);
}

/** The nearest FP16 value of each, ties to even. */
export function toHalf(values) {
	const halves = new Uint16Array(values.length), bits = new Uint32Array(1), float = new Float32Array(bits.buffer);
	for (let i = 0; i < values.length; i++) {
		float[0] = values[i];
		const sign = bits[0] >>> 16 & 0x8000, magnitude = bits[0] & 0x7fffffff;
		if (magnitude < 0x38800000) // subnormal: steps of 2^-24
			halves[i] = sign | roundEven(Math.abs(values[i]) * 2 ** 24);
		else
			halves[i] = sign | Math.min(magnitude - 0x38000000 + 0xfff + (magnitude >>> 13 & 1) >>> 13, 0x7c00);
	}
	return halves;
}

/** The BF16 values of numbers that have one. */
export const toBf16 = (values) => Uint16Array.from(new Uint32Array(values.buffer, values.byteOffset, values.length), (bits) => bits >>> 16);
