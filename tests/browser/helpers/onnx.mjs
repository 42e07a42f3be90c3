// A writer of ONNX files, as much as the tests' models need. Field numbers: onnx/onnx.proto3 of the ONNX project.
const FLOAT = 1, INT8 = 3, INT64 = 7, FLOAT16 = 10;
export const TYPES = { FLOAT, INT8, INT64, FLOAT16 };

/** Bytes of a message: [field, value] pairs; a number or bigint is a varint, anything else bytes or text. */
function message(...fields) {
	const parts = [];
	for (const [field, value] of fields) {
		if (typeof value === "number" || typeof value === "bigint") {
			parts.push(varint(field << 3), varint(value));
		} else {
			const bytes = typeof value === "string" ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
			parts.push(varint(field << 3 | 2), varint(bytes.length), bytes);
		}
	}
	return Buffer.concat(parts);
}

function varint(value) {
	const bytes = [];
	let rest = BigInt.asUintN(64, BigInt(value));
	do {
		bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
		rest >>= 7n;
	} while (rest > 0n);
	return Buffer.from(bytes);
}

/**
 * A model's files: [bytes of the .onnx file, bytes of its external data].
 * nodes: [operator, inputs, outputs, { attribute: integer }]; initializers: { name, type, dims, data (a typed array), external };
 * inputs, outputs: [name, type, dims], a dimension is a number or a name. location: how the model calls its external data.
 */
export function onnxModel({ nodes, initializers, inputs, outputs, location }) {
	const outside = [];
	let offset = 0;
	const tensors = initializers.map(({ name, type, dims, data, external }) => {
		const head = [...dims.map((dim) => [1, dim]), [2, type], [8, name]];
		if (!external)
			return message(...head, [9, data]);
		const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength), place = offset;
		outside.push(bytes, Buffer.alloc((4096 - bytes.length % 4096) % 4096));
		offset += Math.ceil(bytes.length / 4096) * 4096;
		const entries = { location, offset: String(place), length: String(bytes.length) };
		return message(...head, ...Object.entries(entries).map(([key, value]) => [13, message([1, key], [2, value])]), [14, 1]);
	});
	const valueInfo = ([name, type, dims]) => message([1, name], [2, message([1, message([1, type], [2,
		message(...dims.map((dim) => [1, message(typeof dim === "number" ? [1, dim] : [2, dim])]))])])]);
	const graph = message(
		...nodes.map(([operator, from, to, attributes = {}], i) =>
			[1, message(...from.map((name) => [1, name]), ...to.map((name) => [2, name]),
			[3, `${operator}_${i}`], [4, operator],
			...Object.entries(attributes).map(([name, value]) => [5, message([1, name], [3, value], [20, 2])]))]),
		[2, "test"], ...tensors.map((tensor) => [5, tensor]),
		...inputs.map((value) => [11, valueInfo(value)]), ...outputs.map((value) => [12, valueInfo(value)]));
	const model = message([1, 8], [2, "qstore tests"], [7, graph], [8, message([1, ""], [2, 17])]);
	return [model, Buffer.concat(outside)];
}
