/** A tensor in memory. */

/** @typedef {Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array | BigInt64Array |
 *   BigUint64Array} TypedArray */

/** The arrays of dtypes. BF16 and F16 are bit patterns: not every engine has a Float16Array. C64: real and imaginary parts in turn. */
const ARRAYS = /** @type {Record<string, { new (buffer: ArrayBuffer, offset: number, length: number): TypedArray, BYTES_PER_ELEMENT: number }>} */
	({
		I8: Int8Array, I16: Int16Array, U16: Uint16Array, F16: Uint16Array, BF16: Uint16Array, I32: Int32Array, U32: Uint32Array,
		F32: Float32Array, C64: Float32Array, F64: Float64Array, I64: BigInt64Array, U64: BigUint64Array,
	});

export class TensorData {
	/**
	 * @param {{ name: string, dtype: string, shape: number[], file: string, precision: string }} tensor
	 * @param {Uint8Array<ArrayBuffer>} bytes all of it
	 */
	constructor({ name, dtype, shape, file, precision }, bytes) {
		this.name = name;
		/** As safetensors spells it. */
		this.dtype = dtype;
		this.shape = shape;
		/** The name of the file that it stands in. */
		this.file = file;
		/** The variant's name. */
		this.precision = precision;
		/** Its elements, row by row. */
		this.bytes = bytes;
	}

	/** The order of bytes in an element, on every machine. */
	get byteOrder() {
		return /** @type {const} */ ("little");
	}

	/**
	 * The elements, over the same memory: Int8Array for I8, Float32Array for F32 …; Uint16Array with the bit patterns for BF16 and F16,
	 * Uint8Array for BOOL and the 8-bit floats.
	 * @returns {TypedArray}
	 */
	get data() {
		const { buffer, byteOffset, length } = this.bytes, type = ARRAYS[this.dtype] ?? Uint8Array;
		return new type(buffer, byteOffset, length / type.BYTES_PER_ELEMENT);
	}
}
