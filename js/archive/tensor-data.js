/** Tensors in memory. */

/**
 * @typedef {Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array | BigInt64Array |
 *   BigUint64Array} TypedArray
 */

/** @typedef {{ new (buffer: ArrayBuffer, offset: number, length: number): TypedArray, BYTES_PER_ELEMENT: number }} ArrayType */

/**
 * The type of array for each dtype; Uint8Array for the others. BF16 and F16 are bit patterns, since not every engine has a Float16Array;
 * an element of C64 is two floats, the real and the imaginary one.
 * @type {Record<string, ArrayType>}
 */
const ARRAYS = {
	I8: Int8Array, I16: Int16Array, U16: Uint16Array, F16: Uint16Array, BF16: Uint16Array, I32: Int32Array, U32: Uint32Array,
	F32: Float32Array, C64: Float32Array, F64: Float64Array, I64: BigInt64Array, U64: BigUint64Array,
};

/** A tensor in memory. */
export class TensorData {
	/**
	 * @param {{ name: string, dtype: string, shape: number[], file: string, precision: string }} tensor
	 * @param {Uint8Array<ArrayBuffer>} bytes all of it
	 */
	constructor({ name, dtype, shape, file, precision }, bytes) {
		this.name = name;
		/** The dtype, as safetensors spells it. */
		this.dtype = dtype;
		this.shape = shape;
		/** The name of the file that has it. */
		this.file = file;
		/** The variant's name. */
		this.precision = precision;
		/** The elements, row by row. */
		this.bytes = bytes;
	}

	/** The order of the bytes of an element; it is the same on every machine. */
	get byteOrder() {
		return /** @type {const} */ ("little");
	}

	/**
	 * The elements as an array over the memory of `bytes`: Int8Array for I8, Float32Array for F32 and so on; Uint16Array with the bit
	 * patterns for BF16 and F16; Uint8Array for BOOL, the 8-bit floats and all other dtypes.
	 * @returns {TypedArray}
	 */
	get data() {
		const { buffer, byteOffset, length } = this.bytes, type = ARRAYS[this.dtype] ?? Uint8Array;
		return new type(buffer, byteOffset, length / type.BYTES_PER_ELEMENT);
	}
}
