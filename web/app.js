/** The page: which archive is open, which of its precisions are here, and which one runs. */

import { announce, byId, showError } from "./dom.js";
import { explain } from "./errors.js";
import { openQstore } from "./qstore/js/index.js";
import { filesOf, isGguf, restore } from "./restore.js";
import { Runtime, fetchRuntime } from "./runtime.js";
import { plural, precisionName, size } from "./text.js";
import { Inside } from "./views/inside.js";
import { showSavings } from "./views/savings.js";
import { Steps } from "./views/steps.js";
import { Turn } from "./views/turns.js";

/** @typedef {import("./qstore/js/archive/archive.js").Archive} Archive */
/** @typedef {import("./views/steps.js").StepState} StepState */

/** The page's own archive. */
const OWN = "model/stories.qstore";
/** The most bytes of a coarsest precision that starts without a click. */
const START_MAX = 8e6;
const STORY_TOKENS = 320, CHAT_TOKENS = 400;
const BEGINNINGS = [
	"One morning, a little lamb named Milo", "Once there was a shy fox named Tilda", "One day, an old bear named Bruno lost",
	"In a small house by the sea, a girl named Ida", "It was raining when a hedgehog named Pim",
];

/**
 * The open archive, and what the page does with it.
 * @typedef {object} Open
 * @property {Archive} archive
 * @property {boolean} remote is it read from a server?
 * @property {boolean} own
 * @property {string} described
 * @property {boolean} runs has it what the runtime runs?
 * @property {StepState[]} steps
 * @property {(AbortController | undefined)[]} loading
 * @property {AbortController} closing
 * @property {number} fetched
 * @property {{ runtime: Runtime, layer: number } | undefined} running
 * @property {Turn[]} turns
 */

/** @type {Open | undefined} */
let current;
/** @type {AbortController | undefined} */
let opening;
/** @type {AbortController | undefined} of the answer that is being said */
let talking;
/** Answers and changes of the runtime, one after the other. @type {Promise<unknown>} */
let queue = Promise.resolve();

const steps = new Steps(byId("steps"), { start: (i) => void start(i), cancel: (i) => current?.loading[i]?.abort() });
const inside = new Inside();
const prompt = /** @type {HTMLTextAreaElement} */ (byId("prompt"));

// ---- Opening -------------------------------------------------------------------------------------------------------

/**
 * @param {string | File} input
 */
async function open(input) {
	opening?.abort();
	const controller = opening = new AbortController(), remote = typeof input === "string";
	const url = remote ? new URL(input, document.baseURI) : undefined;
	byId("open-link").hidden = true;
	byId("archive-name").textContent = `Opening ${remote ? input : input.name} …`;
	showError(byId("open-error"));
	try {
		let fetched = 0, isOpen = false;
		const archive = await openQstore(url ?? input, {
			signal: controller.signal, async fetch(place, init) {
				const response = await fetch(place, init);
				// Bytes that are fetched later are counted by restore().
				if (!isOpen && response.status === 206)
					fetched += Number(response.headers.get("content-length"));
				return response;
			},
		});
		isOpen = true;
		await close();
		if (controller.signal.aborted) {
			await archive.close();
			return;
		}
		const own = url?.href === new URL(OWN, document.baseURI).href;
		const name = remote ? nameOf(/** @type {URL} */ (url)) : input.name;
		current = {
			archive, remote, own, described: describe(archive, name),
			runs: filesOf(archive, archive.variants[0].name).some((file) => isGguf(file.name)),
			steps: archive.variants.map(({ name }) => ({ stage: "ready", toFetch: archive.bytesToFetch({ precision: name }) })),
			loading: [], closing: new AbortController(), fetched, running: undefined, turns: [],
		};
		const place = new URL(location.href);
		place.search = url && !own ? new URLSearchParams({ archive: url.href }).toString() : "";
		history.replaceState(null, "", place);
		showOpen(current);
		if (current.runs && current.steps[0].toFetch <= START_MAX)
			void start(0);
	} catch (error) {
		if (controller.signal.aborted)
			return;
		byId("archive-name").textContent = current?.described ?? "No archive is open.";
		showError(byId("open-error"), `${remote ? input : input.name}: ${explain(error, { remote })}`);
		/** @type {HTMLDetailsElement} */ (byId("open-other")).open = true;
	}
}

/** Ends all that belongs to the open archive. */
async function close() {
	const ending = current;
	current = undefined;
	if (!ending)
		return;
	ending.closing.abort();
	ending.loading.forEach((controller) => controller?.abort());
	talking?.abort();
	await queue.catch(() => {});
	await ending.running?.runtime.close();
	await ending.archive.close();
}

/** @param {URL} url */
function nameOf({ pathname }) {
	const name = pathname.split("/").at(-1) ?? "";
	try {
		return decodeURIComponent(name);
	} catch {
		return name;
	}
}

/**
 * @param {Archive} archive
 * @param {string} name
 */
function describe(archive, name) {
	return [name, size(archive.size), plural(archive.variants.length, "precision"), plural(archive.files.length, "file")].join(" · ");
}

/** @param {Open} opened */
function showOpen({ archive, runs, own, described }) {
	byId("archive-name").textContent = described;
	steps.reset(archive.variants, runs);
	byId("talk").hidden = !runs;
	byId("turns").replaceChildren();
	showError(byId("talk-error"));
	const note = byId("runtime-note");
	note.hidden = runs;
	note.textContent = runs ? "" :
		"This archive has no GGUF file, so this page cannot run its model. You can still restore its files and save them.";
	prompt.value = own ? BEGINNINGS[0] : "";
	showTalk(false);
	inside.open(archive);
	update();
}

/** Shows what has changed of the open archive. */
function update() {
	if (!current)
		return;
	const { archive, fetched } = current;
	const loaded = current.steps.findLastIndex(({ stage }) => stage === "loaded" || stage === "running") + 1;
	current.steps.forEach((step, i) => {
		step.toFetch = archive.bytesToFetch({ precision: archive.variants[i].name });
		showStep(i);
	});
	showSavings(byId("savings"), archive.variants, { loaded, fetched });
	inside.update(loaded);
	const kept = archive.cache?.size ?? 0;
	byId("kept").textContent = kept > 0 ? `This browser keeps ${size(kept)} of the open archive for your next visit.` : "";
	byId("forget").hidden = kept === 0;
	if (archive.cache?.error) {
		byId("runtime-note").hidden = false;
		byId("runtime-note").textContent = `The archive is not kept for your next visit. ${explain(archive.cache.error)}`;
	}
}

// ---- Steps ---------------------------------------------------------------------------------------------------------

/**
 * Fetches and restores a precision, and puts it in the place of the one that runs.
 * @param {number} i
 */
async function start(i) {
	const opened = current;
	if (!opened || opened.loading[i])
		return;
	const { archive, remote, runs } = opened, step = opened.steps[i];
	const controller = opened.loading[i] = new AbortController(), { signal } = controller;
	const before = opened.fetched;
	step.error = undefined;
	// The runtime is fetched at the same time.
	const wasm = runs ? fetchRuntime(showRuntime) : undefined;
	wasm?.catch(() => {});
	try {
		let { files } = step;
		if (!files) {
			step.stage = "busy";
			const restored = await restore(archive, archive.variants[i].name, {
				signal, onProgress(now) {
					step.now = now;
					opened.fetched = before + now.fetched;
					schedule(opened, i);
				},
			});
			files = step.files = restored.files;
			step.same = restored.same;
			step.now = restored.now;
		}
		if (wasm) {
			step.stage = "starting";
			update();
			await swap(opened, i, await Runtime.load(await untilAborted(wasm, signal), files, signal));
		} else {
			step.stage = "loaded";
		}
	} catch (error) {
		step.stage = step.files ? "loaded" : "ready";
		step.error = signal.aborted ? undefined : explain(error, { remote });
		if (signal.aborted) {
			step.now = undefined;
			if (current === opened)
				announce(`${precisionName(archive.variants[i])}: cancelled. What was fetched is kept.`);
		}
	} finally {
		opened.loading[i] = undefined;
		if (current === opened)
			update();
	}
}

/**
 * @param {number} fetched
 * @param {boolean} done
 */
function showRuntime(fetched, done) {
	byId("runtime").textContent = done ?
		`The model runs in wllama (llama.cpp in WebAssembly): ${size(fetched)}, fetched once and not part of the archive.` :
		`Fetching wllama, the program that runs the model. This happens once; it is not part of the archive: ${size(fetched)}`;
}

/**
 * Waits for a promise that others wait for too, and rejects as soon as the signal aborts.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
function untilAborted(promise, signal) {
	return new Promise((resolve, reject) => {
		signal.addEventListener("abort", () => reject(signal.reason));
		promise.then(resolve, reject);
	});
}

/** @param {number} i */
function showStep(i) {
	const all = /** @type {Open} */ (current).steps;
	steps.show(i, all[i], i === all.findIndex(({ stage }) => stage === "ready"));
}

/** @type {Set<number>} */
const changed = new Set();

/**
 * Shows a step's progress, at most once for each frame.
 * @param {Open} opened
 * @param {number} i
 */
function schedule(opened, i) {
	if (changed.size === 0) {
		requestAnimationFrame(() => {
			if (current === opened)
				changed.forEach(showStep);
			changed.clear();
		});
	}
	changed.add(i);
}

/**
 * @param {Open} opened
 * @param {number} layer
 * @param {Runtime} runtime
 */
function swap(opened, layer, runtime) {
	const done = queue.then(async () => {
		const old = opened.running;
		if (opened.closing.signal.aborted) {
			await runtime.close();
			return;
		}
		opened.running = { runtime, layer };
		if (old)
			opened.steps[old.layer].stage = "loaded";
		opened.steps[layer].stage = "running";
		await old?.runtime.close();
		showTalk(runtime.chats);
		keepPage();
	});
	queue = done.catch(() => {});
	return done.then(() => {
		const last = opened.turns.at(-1);
		if (last)
			void answer(opened, last);
		else if (opened.own && prompt.value)
			ask();
	});
}

// ---- Talking -------------------------------------------------------------------------------------------------------

/** @param {boolean} chats */
function showTalk(chats) {
	byId("talk-title").textContent = chats ? "Chat" : "Story";
	byId("prompt-label").textContent = chats ? "Your message" : "How it begins";
	byId("generate").textContent = chats ? "Send" : "Continue the story";
	byId("shuffle").hidden = chats || !current?.own;
	/** @type {HTMLButtonElement} */ (byId("generate")).disabled = !current?.running;
}

function ask() {
	const opened = current, text = prompt.value.trimEnd();
	if (!opened?.running || text === "")
		return;
	const { chats } = opened.running.runtime;
	const turn = new Turn(text, chats ? undefined : (next) => {
		prompt.value = next;
		ask();
	});
	if (chats) {
		opened.turns.push(turn);
		prompt.value = "";
	} else {
		opened.turns = [turn];
	}
	byId("turns").replaceChildren(...opened.turns.map(({ element }) => element));
	void answer(opened, turn);
}

/**
 * Has the precision that runs answer a turn.
 * @param {Open} opened
 * @param {Turn} turn
 */
function answer(opened, turn) {
	talking?.abort();
	const controller = new AbortController(), { signal } = controller;
	queue = queue.then(async () => {
		const { running } = opened;
		if (!running || signal.aborted || opened.closing.signal.aborted)
			return;
		talking = controller;
		const { runtime, layer } = running, name = precisionName(opened.archive.variants[layer]);
		const before = opened.turns.slice(0, opened.turns.indexOf(turn))
			.map((each) => ({ asked: each.asked, answer: each.answerOf(layer) ?? "" }));
		let said = "", pieces = 0;
		const began = performance.now();
		byId("stop").hidden = false;
		showError(byId("talk-error"));
		turn.begin(name, layer);
		try {
			await runtime.answer({
				text: turn.asked, before, temperature: Number(/** @type {HTMLSelectElement} */ (byId("sampling")).value),
				tokens: runtime.chats ? CHAT_TOKENS : STORY_TOKENS,
			}, {
				signal, onText(text) {
					said += text;
					pieces += text ? 1 : 0;
					turn.say(layer, said);
				},
			});
		} catch (error) {
			if (!signal.aborted)
				showError(byId("talk-error"), `${name}: ${explain(error)}`);
		}
		const seconds = (performance.now() - began) / 1000;
		turn.end(layer, `${plural(pieces, "token")}, ${Math.round(pieces / seconds)} a second${signal.aborted ? ", stopped" : ""}`);
		byId("stop").hidden = true;
		if (!signal.aborted)
			announce(`${name}: ${said}`);
	});
	return queue;
}

// ---- The rest of the page ------------------------------------------------------------------------------------------

/** Keeps the page's own files for times without network. This is done late, when they are in the browser's cache already. */
function keepPage() {
	void navigator.serviceWorker?.register("sw.js").catch(() => {});
}

byId("open-form").addEventListener("submit", (event) => {
	event.preventDefault();
	const url = /** @type {HTMLInputElement} */ (byId("open-url")).value.trim();
	if (URL.canParse(url, document.baseURI) && url !== "")
		void open(new URL(url, document.baseURI).href);
	else
		showError(byId("open-error"), "Please give the whole address of an archive, beginning with https://");
});
byId("open-file").addEventListener("change", (event) => {
	const [file] = /** @type {HTMLInputElement} */ (event.target).files ?? [];
	if (file)
		void open(file);
});
byId("open-own").addEventListener("click", () => void open(OWN));
byId("prompt-form").addEventListener("submit", (event) => {
	event.preventDefault();
	ask();
});
prompt.addEventListener("keydown", (event) => {
	if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
		event.preventDefault();
		ask();
	}
});
byId("stop").addEventListener("click", () => talking?.abort());
byId("shuffle").addEventListener("click", () => {
	prompt.value = BEGINNINGS[(BEGINNINGS.indexOf(prompt.value) + 1) % BEGINNINGS.length];
	ask();
});
byId("forget").addEventListener("click", async () => {
	await current?.archive.cache?.clear();
	announce("This browser no longer keeps any of the archive.");
	update();
});

let dragged = 0;
/** @param {DragEvent} event */
const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
addEventListener("dragenter", (event) => {
	if (hasFiles(event))
		byId("drop").hidden = ++dragged === 0;
});
addEventListener("dragleave", (event) => {
	if (hasFiles(event))
		byId("drop").hidden = --dragged === 0;
});
addEventListener("dragover", (event) => {
	if (hasFiles(event))
		event.preventDefault();
});
addEventListener("drop", (event) => {
	if (!hasFiles(event))
		return;
	event.preventDefault();
	dragged = 0;
	byId("drop").hidden = true;
	const [file] = event.dataTransfer?.files ?? [];
	if (file)
		void open(file);
});

// ---- The archive of a link ----------------------------------------------------------------------------------------

/**
 * Asks before an archive on another site is opened: a link alone must not make this browser contact that site, nor fetch a model. Nothing
 * is requested for the question, so the size is told once the archive is open.
 * @param {URL} url
 */
function askToOpen(url) {
	byId("archive-name").textContent = "No archive is open.";
	byId("open-link-text").textContent = `This link opens an archive on another site, ${url.host}: ${url.href}. ` +
		"Nothing has been fetched from there. Its size will be shown once it is open.";
	byId("open-link").hidden = false;
	byId("open-link-yes").addEventListener("click", () => void open(url.href));
	byId("open-link-no").addEventListener("click", () => void open(OWN));
}

const linked = new URLSearchParams(location.search).get("archive") ?? OWN;
const place = URL.canParse(linked, document.baseURI) ? new URL(linked, document.baseURI) : undefined;
if (place && place.origin !== location.origin)
	askToOpen(place);
else
	void open(linked);
