// Runs in pages: see onnxruntime.test.mjs.
import { openQstore } from "/js/index.js";

const RUNTIME = "/tests/browser/node_modules/onnxruntime-web/dist/";
const TOKENS = [2, 4, 5, 6, 7, 8, 1, 13, 14, 3];

/** A model's output for some tokens. build: of onnxruntime-web; name, model: the .onnx file's name and bytes; data: its external data. */
async function output(build, name, model, data) {
	const ort = await import(`${RUNTIME}ort.${build}.min.mjs`);
	ort.env.wasm.wasmPaths = new URL(RUNTIME, location.href).href;
	ort.env.wasm.numThreads = 1;
	const session = await ort.InferenceSession.create(model, {
		executionProviders: ["wasm"], externalData: [{ path: `${name}_data`, data }],
	});
	const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
	const { last_hidden_state: { data: found, dims } } = await session.run({
		input_ids: tensor(TOKENS), attention_mask: tensor(TOKENS.map(() => 1)), token_type_ids: tensor(TOKENS.map(() => 0)),
	});
	await session.release();
	return { dims: dims.map(Number), data: Array.from(found) };
}

export async function fromFiles(build, folder, names) {
	const results = {};
	for (const name of names) {
		const get = async (path) => new Uint8Array(await (await fetch(`${folder}onnx/${path}`)).arrayBuffer());
		results[name] = await output(build, name, await get(name), await get(`${name}_data`));
	}
	return results;
}

/** With a lazy Blob for the external data; says which of its bytes the runtime read. */
export async function fromArchive(build, url, names) {
	const archive = await openQstore(url), results = {};
	const precisionOf = (name) => archive.files.find((file) => file.name === name).variants.at(-1);
	const file = (name) => archive.file(name, { precision: precisionOf(name) });
	for (const name of names) {
		results[name] = await output(build, name, await file(`onnx/${name}`).read(), file(`onnx/${name}_data`).blob());
	}
	return results;
}
