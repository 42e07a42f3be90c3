/**
 * The WebAssembly module. The package has it as text, so that nothing has to be fetched: that works in bundlers, in workers, and under a
 * content security policy that allows only 'wasm-unsafe-eval'.
 */

// wasm/build.mk makes this text from dist/qstore.wasm.
import simdModule from "../../dist/qstore.wasm.js";
import { Decoder } from "./decoder.js";
import { QstoreError } from "../error.js";

/**
 * @typedef {object} WasmOptions
 * @property {BufferSource | Promise<BufferSource> | URL | string} [wasm] the module's bytes, or the URL to fetch them from
 *   (of "qstore-decode/qstore.wasm"); by default the package's own text
 * @property {boolean} [simd] which of the package's two modules to take; by default whatever this engine can run
 */

/**
 * @typedef {object} DecoderOptions
 * @property {WebAssembly.Module} [module] a compiled module, for example one that another thread has sent
 */

/** Can this engine run 128-bit SIMD? It is asked to validate a module with one function that uses vectors. */
export function hasSimd() {
	return WebAssembly.validate(new Uint8Array([
		0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // \0asm, version 1
		0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b, // one type: () → v128
		0x03, 0x02, 0x01, 0x00, // one function of that type
		0x0a, 0x0a, 0x01, 0x08, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0xfd, 0x62, 0x0b, // i8x16.popcnt(i8x16.splat(0))
	]));
}

/**
 * Compiles the module. The result can be sent to workers, each of which gives it to createDecoder.
 * @param {WasmOptions} [options]
 * @returns {Promise<WebAssembly.Module>}
 */
export async function compileWasm({ wasm, simd = hasSimd() } = {}) {
	const given = await wasm;
	if (given === undefined)
		return WebAssembly.compile(unpack(simd ? simdModule : (await import("../../dist/qstore-scalar.wasm.js")).default));
	if (!(given instanceof URL) && typeof given !== "string")
		return WebAssembly.compile(given);
	const response = await fetch(given);
	if (!response.ok)
		throw new QstoreError("IO", `${given}: HTTP status ${response.status}`);
	return WebAssembly.compile(await response.arrayBuffer());
}

/**
 * Makes a decoder for the calling thread.
 * @param {WasmOptions & DecoderOptions} [options]
 * @returns {Promise<Decoder>}
 */
export async function createDecoder({ module, ...options } = {}) {
	return Decoder.instantiate(module ?? await compileWasm(options));
}

/** @param {string} text base64 */
function unpack(text) {
	return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
