/**
 * Codes of quantized tensors, and where finer values lie in the codes' cells. Block layouts: ggml's Q4_0 (16 bytes of two codes after an
 * F16 step, low halves first) and Q8_0 (32 codes after an F16 step); in both, a value is about step × code.
 */

/**
 * Codes between low and high; steps: the step of each element's scale, where the same bytes have it.
 * @typedef {{ codes: Int8Array, steps: Float32Array | undefined, low: number, high: number }} Codes
 */

const BLOCK = 32;

/** @param {number} bits of an F16 */
function half(bits) {
	const exponent = bits >> 10 & 31, fraction = bits & 1023, sign = bits & 0x8000 ? -1 : 1;
	if (exponent === 31)
		return fraction ? NaN : sign * Infinity;
	return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

/** Elements and bytes of a block of a dtype that is known here. */
const BLOCKS = /** @type {Record<string, [number, number]>} */ ({
	Q4_0: [BLOCK, 18], Q8_0: [BLOCK, 34], I8: [1, 1], U8: [1, 1], BF16: [1, 2], F16: [1, 2], F32: [1, 4],
});

/**
 * Bytes of a number of elements, whole blocks; undefined where the dtype is not known here.
 * @param {string} dtype
 * @param {number} elems
 */
export function bytesOf(dtype, elems) {
	const block = BLOCKS[dtype];
	return block && Math.floor(elems / block[0]) * block[1];
}

/**
 * @param {string} dtype
 * @param {Uint8Array} bytes
 * @returns {Codes | undefined} undefined when its elements are no codes
 */
export function codesOf(dtype, bytes) {
	if (dtype === "I8")
		return { codes: new Int8Array(bytes), steps: undefined, low: -128, high: 127 };
	if (dtype !== "Q4_0" && dtype !== "Q8_0")
		return undefined;
	const [elems, size] = BLOCKS[dtype], blocks = bytes.length / size;
	const codes = new Int8Array(blocks * elems), steps = new Float32Array(blocks * elems);
	for (let block = 0; block < blocks; block++) {
		const at = block * size, to = block * elems;
		steps.fill(half(bytes[at] | bytes[at + 1] << 8), to, to + elems);
		for (let i = 0; i < size - 2; i++) {
			const byte = bytes[at + 2 + i];
			if (dtype === "Q8_0") {
				codes[to + i] = byte;
			} else {
				codes[to + i] = (byte & 15) - 8;
				codes[to + BLOCK / 2 + i] = (byte >> 4) - 8;
			}
		}
	}
	return dtype === "Q4_0" ? { codes, steps, low: -8, high: 7 } : { codes, steps, low: -127, high: 127 };
}

/**
 * The values of elements.
 * @param {string} dtype
 * @param {Uint8Array} bytes
 * @returns {Float32Array | undefined}
 */
export function valuesOf(dtype, bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), codes = codesOf(dtype, bytes);
	if (codes?.steps) {
		const { steps } = codes;
		return Float32Array.from(codes.codes, (code, i) => code * steps[i]);
	}
	if (dtype === "F32")
		return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(i * 4, true));
	if (dtype === "F16")
		return Float32Array.from({ length: bytes.length / 2 }, (_, i) => half(view.getUint16(i * 2, true)));
	if (dtype === "BF16") {
		const wide = new Uint32Array(bytes.length / 2);
		for (let i = 0; i < wide.length; i++)
			wide[i] = view.getUint16(i * 2, true) << 16;
		return new Float32Array(wide.buffer);
	}
	return undefined;
}

/**
 * How often each value of a range of whole numbers occurs.
 * @param {ArrayLike<number>} numbers
 * @param {number} low
 * @param {number} high
 */
export function count(numbers, low, high) {
	const counts = new Array(high - low + 1).fill(0);
	for (let i = 0; i < numbers.length; i++) {
		if (numbers[i] >= low && numbers[i] <= high)
			counts[numbers[i] - low]++;
	}
	return counts;
}

/**
 * How many finer values lie in each part of their cells, from −½ to +½ of a step around the code; values beyond are left out.
 * @param {Codes & { steps: Float32Array }} coarse
 * @param {Float32Array} fine
 * @param {number} parts
 */
export function placesInCells({ codes, steps }, fine, parts) {
	const places = [];
	for (let i = 0; i < fine.length; i++) {
		if (steps[i] !== 0)
			places.push(Math.floor((fine[i] / steps[i] - codes[i] + 0.5) * parts));
	}
	return count(places, 0, parts - 1);
}

/**
 * The low bits of 16-bit elements: a BF16's or F16's last mantissa bits.
 * @param {Uint8Array} bytes
 * @param {number} bits at most 8
 */
export function lowBits(bytes, bits) {
	return count(bytes.filter((_, i) => i % 2 === 0).map((byte) => byte & (1 << bits) - 1), 0, (1 << bits) - 1);
}

/**
 * Bits that an ideal coder takes for each, knowing how often each occurs.
 * @param {number[]} counts
 */
export function entropy(counts) {
	const sum = counts.reduce((a, b) => a + b, 0);
	return counts.reduce((bits, n) => n > 0 ? bits - n / sum * Math.log2(n / sum) : bits, 0);
}
