// Runs in pages: see transformers.test.mjs.
import { attachTransformers } from "/js/adapters/transformers.js";
import { openQstore } from "/js/index.js";
import { AutoTokenizer, env, pipeline } from "/tests/browser/node_modules/@huggingface/transformers/dist/transformers.min.js";

const TEXT = "One archive holds a model, coarse first";
const RUNTIME = "/tests/browser/node_modules/@huggingface/transformers/node_modules/onnxruntime-web/dist/";
env.backends.onnx.wasm.wasmPaths = new URL(RUNTIME, location.href).href;
env.backends.onnx.wasm.numThreads = 1;

/** The model's output for a text, by precision: all of its numbers. */
async function outputs(repo, dtypes, options = {}) {
	const result = {};
	for (const dtype of dtypes) {
		const extract = await pipeline("feature-extraction", repo, { dtype, device: "wasm", ...options });
		const { data, dims } = await extract(TEXT, { pooling: "none" });
		result[dtype] = { dims, data: Array.from(data) };
		await extract.dispose();
	}
	return result;
}

/** From the original files, as a site has them. */
export function fromFiles(host, repo, dtypes) {
	Object.assign(env, { remoteHost: host, remotePathTemplate: "{model}/", useBrowserCache: false });
	return outputs(repo, dtypes);
}

let archive, detach, address;
const unhooked = env.fetch;

/** From the archive: the numbers, and the sizes that transformers.js told of. */
export async function fromArchive(url, repo, dtypes, { way, foreign }) {
	archive = await openQstore(url);
	Object.assign(env, { remoteHost: foreign, remotePathTemplate: "{model}/resolve/{revision}/" });
	address = (name, of = repo) => `${foreign}${of}/resolve/main/${name}`;
	detach = attachTransformers(env, archive, repo, { way });
	const progress = [], results = await outputs(repo, dtypes, { progress_callback: (event) => progress.push(event) });
	return {
		results,
		totals: Object.fromEntries(progress.flatMap(({ status, file, total }) => status === "progress" ? [[file, total]] : [])),
	};
}

/** Then: what the Cache API holds, and what comes of asking for a size, for a file that is not there, and for another repository. */
export async function ask() {
	const answer = async (name, init, of) => {
		const response = await env.fetch(address(name, of), init);
		return [response.status, response.headers.get("content-range"), Number(response.headers.get("content-length")),
			(await response.arrayBuffer()).byteLength];
	};
	const answers = {
		probe: await answer("onnx/model_fp16.onnx", { headers: { Range: "bytes=0-0" }, cache: "no-store" }),
		missing: await answer("onnx/model_q4.onnx"),
		whole: await answer("onnx/model_quantized.onnx"),
		foreign: await answer("config.json", {}, "other/model"),
	};
	// Files of another repository are fetched, and kept by the cache that was there before.
	const tokens = (await (await AutoTokenizer.from_pretrained("other/model"))("archive")).input_ids.dims;
	const kept = (await (await caches.open(env.cacheKey)).keys()).map((request) => new URL(request.url).pathname)
		.filter((path) => !path.includes("/ort-wasm"));
	detach();
	return { answers, tokens, kept: kept.sort(), detached: env.fetch === unhooked && !env.useCustomCache };
}
