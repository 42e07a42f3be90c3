// Writes what a text encoder in ONNX, with its external data beside it, says to some tokens: node onnx.mjs MODEL.onnx
import ort from "onnxruntime-node";

const TOKENS = [2, 4, 5, 6, 7, 8, 1, 13, 14, 3];
const session = await ort.InferenceSession.create(process.argv[2], { intraOpNumThreads: 2 });
const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
const { last_hidden_state: { data, dims } } = await session.run({
	input_ids: tensor(TOKENS), attention_mask: tensor(TOKENS.map(() => 1)), token_type_ids: tensor(TOKENS.map(() => 0)),
});
await session.release();
console.log(JSON.stringify({ dims: dims.map(Number), data: Array.from(data) }));
