/** Headers of NumPy's files of one array. */

import { QstoreError } from "../error.js";

/** NumPy's names of dtypes. @type {Record<string, string>} */
const TYPES = {
	BOOL: "|b1", U8: "|u1", I8: "|i1", U16: "<u2", I16: "<i2", F16: "<f2", U32: "<u4", I32: "<i4", F32: "<f4", U64: "<u8", I64: "<i8",
	F64: "<f8", C64: "<c8",
};

/** The dimensions of an array of NumPy 2. */
const DIMS_MAX = 64;
const START = "\x93NUMPY\x01\0", ALIGNMENT = 64;

/**
 * The bytes before the elements. The native tools make the same ones.
 * @param {{ name: string, dtype: string, shape: number[] }} tensor
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function npyHeader({ name, dtype, shape }) {
	const type = TYPES[dtype];
	if (type === undefined)
		throw new QstoreError("USAGE", `tensor ${name} is ${dtype}, which NumPy does not have: add --as f32, or name a .bin file`);
	if (shape.length > DIMS_MAX)
		throw new QstoreError("LIMIT", `tensor ${name} has ${shape.length} dimensions: NumPy's arrays have ${DIMS_MAX} at most`);
	const dict = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
	const size = Math.ceil((START.length + 2 + dict.length + 1) / ALIGNMENT) * ALIGNMENT, length = size - START.length - 2;
	const text = `${START}${String.fromCharCode(length & 255, length >> 8)}${dict.padEnd(length - 1)}\n`;
	return Uint8Array.from(text, (c) => c.charCodeAt(0));
}
