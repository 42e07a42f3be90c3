/**
 * The WebAssembly module: in this package as text, so that nothing has to be fetched, and it works in bundlers, in workers and under a
 * content security policy that allows no more than 'wasm-unsafe-eval'.
 */

// Made from dist/qstore.wasm by the Makefile.
import simdModule from "../../dist/qstore.wasm.js";
import { Decoder } from "./decoder.js";
import { QstoreError } from "../error.js";

/**
 * @typedef {object} WasmOptions
 * @property {BufferSource | Promise<BufferSource> | URL | string} [wasm] the module's bytes, or where to fetch them ("qstore-decode/qstore.wasm");
 *   this package's own by default
 * @property {boolean} [simd] which of its own to take; found out by default
 */

/**
 * @typedef {object} DecoderOptions
 * @property {WebAssembly.Module} [module] compiled already (by another worker, say)
 */

/** Does this engine run 128-bit SIMD? (A module with one function that makes a vector, drops it and returns.) */
export function hasSimd() {
	return WebAssembly.validate(new Uint8Array([
		0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // \0asm, version 1
		0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b, // one type: () → v128
		0x03, 0x02, 0x01, 0x00, // one function of it
		0x0a, 0x0a, 0x01, 0x08, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0xfd, 0x62, 0x0b, // i8x16.popcnt(i8x16.splat(0))
	]));
}

/**
 * Compiles the module once; the result can be sent to workers and given to createDecoder in each.
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
