// Runs in pages: see library.test.mjs.
import { openQstore } from "/js/index.js";

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Every file of every precision: "precision/name" and the SHA-256 of what is read. */
export async function hashFiles(url) {
	const archive = await openQstore(url), hashes = {};
	for (const { name: precision } of archive.variants) {
		for (const file of archive.filesOf({ precision }))
			hashes[`${precision}/${file.name}`] = hex(await crypto.subtle.digest("SHA-256", await file.read()));
	}
	return hashes;
}

/** A small file as text, or what is wrong with it; and what the page is. */
export async function readSmall(url, name) {
	const archive = await openQstore(url), page = { isSecureContext, subtle: crypto.subtle !== undefined };
	return archive.metadata(name).then((bytes) => ({ ...page, text: new TextDecoder().decode(bytes) }),
		({ code, message }) => ({ ...page, code, message }));
}

/** Puts all tensors of a precision into buffers of the GPU, and reads them back: names and whether they came back the same. */
export async function throughGpu(url, precision) {
	const adapter = await navigator.gpu?.requestAdapter();
	if (!adapter)
		return undefined;
	const device = await adapter.requestDevice(), archive = await openQstore(new URL(url, location.href)), results = [];
	for await (const { name, data, bytes } of archive.tensors({ precision })) {
		const size = Math.ceil(bytes.length / 4) * 4;
		const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, mappedAtCreation: true });
		new Uint8Array(buffer.getMappedRange()).set(bytes);
		buffer.unmap();
		const copy = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
		const encoder = device.createCommandEncoder();
		encoder.copyBufferToBuffer(buffer, 0, copy, 0, size);
		device.queue.submit([encoder.finish()]);
		await copy.mapAsync(GPUMapMode.READ);
		const back = new Uint8Array(copy.getMappedRange()).subarray(0, bytes.length);
		const expected = await archive.tensor(name, { precision }).read();
		results.push([name, data.constructor.name, back.length > 0 && back.every((byte, i) => byte === expected[i])]);
		copy.destroy();
		buffer.destroy();
	}
	return results;
}
