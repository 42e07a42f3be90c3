// Made from native/src/core/index.h by scripts/generate-js; do not edit.

/** Element types by their numbers in the index: the name that safetensors gives them, and bytes of an element. */
export const DTYPES = Object.freeze([
	{ name: "bytes", size: 1 },
	{ name: "BOOL", size: 1 },
	{ name: "U8", size: 1 },
	{ name: "I8", size: 1 },
	{ name: "F8_E4M3", size: 1 },
	{ name: "F8_E5M2", size: 1 },
	{ name: "U16", size: 2 },
	{ name: "I16", size: 2 },
	{ name: "F16", size: 2 },
	{ name: "BF16", size: 2 },
	{ name: "U32", size: 4 },
	{ name: "I32", size: 4 },
	{ name: "F32", size: 4 },
	{ name: "U64", size: 8 },
	{ name: "I64", size: 8 },
	{ name: "F64", size: 8 },
	{ name: "C64", size: 8 },
	{ name: "F8_E8M0", size: 1 },
]);
