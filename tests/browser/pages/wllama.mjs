// Runs in pages: see wllama.test.mjs.
import { archiveStorage, ggufBlobs } from "/js/adapters/wllama.js";
import { openQstore } from "/js/index.js";
import { CacheManager, Wllama } from "/tests/browser/node_modules/@wllama/wllama/esm/index.js";

const PATHS = { default: "/tests/browser/node_modules/@wllama/wllama/esm/wasm/wllama.wasm" };
const SETTINGS = { n_ctx: 256, n_gpu_layers: 0, warmup: false };
const log = [];
const logger = { debug() {}, log() {}, warn: (...words) => log.push(words.join(" ")), error: (...words) => log.push(words.join(" ")) };

/** Loads, generates, and gives the tokens with their log-probabilities. */
async function generate(load, cacheManager) {
	const wllama = new Wllama(PATHS, { logger, ...cacheManager ? { cacheManager } : {} });
	try {
		await load(wllama);
		const { choices: [{ text, logprobs }] } = await wllama.createCompletion({
			prompt: "once upon bakilo", max_tokens: 16, temperature: 0, logprobs: 2,
		});
		return { text, logprobs };
	} catch (error) {
		throw new Error(`${error.message}\n${log.slice(-8).join("\n")}`, { cause: error });
	} finally {
		await wllama.exit().catch(() => {});
	}
}

const open = (url) => openQstore(url);

/** From the files themselves. */
export async function fromFiles(urls) {
	const results = [];
	for (const url of urls) {
		const blob = await (await fetch(url)).blob();
		results.push(await generate((wllama) => wllama.loadModel([blob], SETTINGS)));
	}
	return results;
}

/** From Blobs of the archive's files. */
export async function fromBlobs(url, names) {
	const archive = await open(url), results = [];
	for (const name of names) {
		const blobs = archive.variants.flatMap(({ name: precision }) => ggufBlobs(archive, { precision }))
			.filter((blob) => blob.name === name);
		results.push(await generate((wllama) => wllama.loadModel(blobs.slice(-1), SETTINGS)));
	}
	return results;
}

/** By URLs whose files are in the archive, and one that is not. */
export async function fromUrls(url, folder, names, foreign) {
	const archive = await open(url), results = [], progress = [];
	const next = new CacheManager(), cacheManager = new CacheManager([archiveStorage(archive, { url: folder, next })]);
	const load = (name) => generate((wllama) => wllama.loadModelFromUrl(name, {
		...SETTINGS, progressCallback: ({ loaded, total }) => progress.push([loaded, total]),
	}), cacheManager);
	for (const name of names)
		results.push(await load(`${folder}${name}`));
	const other = await load(foreign);
	const again = await load(foreign);
	const listed = (await cacheManager.list()).map(({ size, metadata }) => [metadata.originalURL, size]);
	await cacheManager.clear();
	const left = (await cacheManager.list()).map(({ metadata }) => metadata.originalURL);
	return { results, progress, other, again, listed, left, kept: (await next.list()).length };
}
