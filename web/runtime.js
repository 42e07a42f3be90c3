/** The language model that runs: wllama, which is llama.cpp in WebAssembly, in a worker of its own. */

import { Wllama } from "./wllama/index.js";

const WASM = new URL("./wllama/wllama.wasm", import.meta.url).href;
/** Tokens that a model sees at most; more take memory. */
const CONTEXT = 2048;

/** @type {Promise<string> | undefined} */
let module;

/**
 * Fetches the runtime's module, once for all precisions.
 * @param {(fetched: number, done: boolean) => void} onProgress
 * @returns {Promise<string>} a URL of the module
 */
export function fetchRuntime(onProgress) {
	module ??= (async () => {
		const response = await fetch(WASM);
		if (!response.ok || !response.body)
			throw new Error(`${WASM}: HTTP status ${response.status}`);
		let fetched = 0;
		const counted = response.body.pipeThrough(new TransformStream({
			/** @param {Uint8Array} bytes */
			transform(bytes, controller) {
				fetched += bytes.length;
				onProgress(fetched, false);
				controller.enqueue(bytes);
			},
		}));
		const blob = new Blob([await new Response(counted).arrayBuffer()], { type: "application/wasm" });
		onProgress(fetched, true);
		return URL.createObjectURL(blob);
	})().catch((error) => {
		module = undefined;
		throw error;
	});
	return module;
}

/**
 * @typedef {object} Asked
 * @property {string} text the beginning of a story, or a message
 * @property {{ asked: string, answer: string }[]} before earlier messages and answers of a chat
 * @property {number} temperature
 * @property {number} tokens at most
 */

export class Runtime {
	#wllama;
	/** The warnings and errors that it logs, for when it fails. @type {string[]} */
	#log = [];

	/** @param {string} wasm */
	constructor(wasm) {
		const note = (/** @type {unknown[]} */ ...words) => void this.#log.push(words.join(" "));
		this.#wllama = new Wllama({ default: wasm }, { logger: { debug() {}, log() {}, warn: note, error: note } });
		// By default it would get another build from somewhere else for browsers that lack something.
		this.#wllama.setCompat(null);
	}

	/**
	 * @param {string} wasm of fetchRuntime
	 * @param {File[]} files of a GGUF model
	 * @param {AbortSignal} signal
	 */
	static async load(wasm, files, signal) {
		const runtime = new Runtime(wasm);
		try {
			await runtime.#wllama.loadModel(files, { n_ctx: CONTEXT, n_gpu_layers: 0, n_parallel: 1, warmup: false });
			signal.throwIfAborted();
			return runtime;
		} catch (error) {
			await runtime.close();
			signal.throwIfAborted();
			const { message } = /** @type {Error} */ (error);
			const last = runtime.#log.slice(-1).map((line) => ` (${line})`).join("");
			throw new Error(`The runtime cannot load this model: ${message}${last}`, { cause: error });
		}
	}

	/** Was the model made for conversation? */
	get chats() {
		return Boolean(this.#wllama.getChatTemplate());
	}

	/**
	 * @param {Asked} asked
	 * @param {{ signal: AbortSignal, onText: (text: string) => void }} options onText: gets each piece as it is said
	 */
	async answer({ text, before, temperature, tokens }, { signal, onText }) {
		const common = { max_tokens: tokens, temperature, seed: 7, stream: /** @type {const} */ (true), abortSignal: signal };
		if (this.chats) {
			const messages = [...before.flatMap(({ asked, answer }) => [
				{ role: /** @type {const} */ ("user"), content: asked }, { role: /** @type {const} */ ("assistant"), content: answer },
			]), { role: /** @type {const} */ ("user"), content: text }];
			await this.#wllama.createChatCompletion({
				...common, messages, onData: ({ choices: [choice] }) => onText(choice?.delta?.content ?? ""),
			});
		} else {
			await this.#wllama.createCompletion({ ...common, prompt: text, onData: ({ choices: [choice] }) => onText(choice?.text ?? "") });
		}
	}

	async close() {
		await this.#wllama.exit().catch(() => {});
	}
}
