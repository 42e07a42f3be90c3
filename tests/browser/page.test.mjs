// The demo page, assembled as it is published, in real browsers: its own model runs and climbs, offline too; errors say what to do.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { openQstore } from "../../js/node/index.js";
import { servePage } from "../../web/serve.mjs";
import { browserTest, report, peakMemory } from "./helpers/browsers.mjs";
import { writeLlama } from "./helpers/llama.mjs";
import { packFiles, packPair, workFolder } from "./helpers/models.mjs";
import { serve } from "../js/helpers/server.mjs";

const BROWSERS = ["chromium", "firefox"], BOTH = { timeout: 240_000 };
const build = fileURLToPath(new URL("../../web/build.mjs", import.meta.url));
let work, folder, variants, size;

before(async () => {
	work = workFolder();
	folder = join(work.folder, "site");
	execFileSync(process.execPath, [build, folder]);
	const archive = await openQstore(join(folder, "model/stories.qstore"));
	({ variants, size } = archive);
	await archive.close();
});

after(() => work?.remove());

/** The site, and its page as a person sees it. options: of servePage; before(): runs in the page before its scripts. */
async function visit(t, browser, { path = "/", prepare, ...options } = {}) {
	const site = await servePage(folder, options);
	t.after(() => site.close());
	const page = await browser.newPage(), errors = [], hosts = new Set();
	page.on("pageerror", (error) => errors.push(String(error)));
	page.on("console", (message) => {
		// A policy's violations are said there too, those of workers as well.
		if (message.type() === "error" && !/Failed to load resource/.test(message.text()))
			errors.push(message.text());
	});
	page.on("request", (request) => {
		const url = new URL(request.url());
		if (url.protocol.startsWith("http"))
			hosts.add(url.host);
	});
	await page.evaluateOnNewDocument(() => {
		window.violations = [];
		addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
			window.violations.push(`${violatedDirective}: ${blockedURI}`));
	});
	if (prepare)
		await page.evaluateOnNewDocument(prepare);
	await page.goto(site.origin + path);
	return { site, page, errors, hosts, archiveSent: () => site.sent(/\.qstore$/), ...watch(page) };
}

/** Waits for what a person would wait for. */
function watch(page) {
	const options = { timeout: 90_000, polling: 100 };
	return {
		stage: (i, stage) => page.waitForFunction((i, stage) => document.querySelectorAll(".step")[i]?.dataset.stage === stage, options, i,
			stage),
		/** The texts of n complete answers. */
		async answers(n) {
			await page.waitForFunction((n) => document.querySelectorAll(".answer-foot button").length === n, options, n);
			return page.$$eval(".said", (places) => places.map((place) => place.textContent));
		},
		press: (i) => page.click(`.step:nth-child(${i + 1}) > button`),
		text: (selector) => page.$eval(selector, (element) => element.innerText),
		async error(selector) {
			await page.waitForSelector(`${selector}:not([hidden])`, { timeout: 60_000 });
			return page.$eval(selector, (element) => element.textContent);
		},
	};
}

browserTest(BROWSERS, "the page's model runs, climbs, fetches nothing twice, and opens again with no server", BOTH, async (browser, t) => {
	// In a folder of a host, as many static hosts have it.
	const { site, page, errors, hosts, archiveSent, stage, answers, press, text } = await visit(t, browser,
		{ at: "/a/page/", path: "/a/page/" });
	await stage(0, "running");
	const [coarse] = await answers(1);
	assert.match(coarse, /\w+ \w+ .*\./);
	assert.equal(archiveSent(), variants[0].downloadSize, "no byte of the refinement");
	for (const i of [1, 2]) {
		await press(i);
		await stage(i, "running");
		assert.equal((await answers(i + 1)).length, i + 1);
		// (Of a layer's padding nothing is fetched.)
		assert.ok(archiveSent() <= variants[i].downloadSize, "only the refinement");
		assert.ok(archiveSent() > variants[i].downloadSize - 4096);
		assert.match(await text(`.step:nth-child(${i + 1}) .step-what`), /the original by its SHA-256/);
	}
	assert.ok(archiveSent() <= size);
	const sent = archiveSent(), [first, , finest] = await answers(3);
	assert.equal(first, coarse);
	assert.notEqual(finest, coarse);
	report(t, site.sent(/./), await peakMemory(browser));

	// Back to a coarser one, which is here.
	await press(0);
	await stage(0, "running");
	assert.equal(archiveSent(), sent);

	// A tensor from near: all four histograms, by the keyboard's way.
	await page.click("#tensors-details > summary");
	await page.focus("#tensors tbody tr:nth-child(3) button");
	await page.keyboard.press("Enter");
	await page.waitForFunction(() => document.querySelectorAll("#tensor figure svg").length === 4, { timeout: 20_000 });
	assert.match(await text("#tensor h3"), /^blk\.0\./);

	assert.deepEqual(await page.evaluate(() => window.violations), []);
	assert.deepEqual(errors, []);
	assert.deepEqual([...hosts], [new URL(site.origin).host]);

	// The page's own files are kept by now; then there is no server any more.
	await page.evaluate(async () => (await navigator.serviceWorker.ready).active.state);
	const asked = site.log.length;
	await site.close();
	await page.reload();
	await stage(0, "running");
	assert.deepEqual(await answers(1), [coarse]);
	await press(2);
	await stage(2, "running");
	assert.equal((await answers(2))[1], finest);
	assert.equal(site.log.length, asked);
	assert.match(await text(".step:nth-child(3) .bars"), /it is here already/);
});

browserTest(BROWSERS, "a cancelled download goes on where it was", BOTH, async (browser, t) => {
	const from = variants[0].downloadSize >> 1, held = [];
	let hold = true;
	const { site, page, archiveSent, stage, answers, press } = await visit(t, browser, {
		behave(request, response, range) {
			if (!hold || !/\.qstore$/.test(request.url) || range?.[0] < from)
				return false;
			held.push(response);
			return true;
		},
	});
	await page.waitForFunction(() => document.querySelector(".step progress")?.value > 50_000, { timeout: 30_000, polling: 100 });
	while (held.length === 0)
		await new Promise((resolve) => setTimeout(resolve, 50));
	// The page is now storing the bytes that came.
	await new Promise((resolve) => setTimeout(resolve, 500));
	await press(0);
	await stage(0, "ready");
	assert.equal(await page.$eval(".step > .error", (element) => element.hidden), true);
	const before = archiveSent();
	assert.ok(before > 65536 && before < variants[0].downloadSize, `${before} bytes came`);
	hold = false;
	await press(0);
	await stage(0, "running");
	await answers(1);
	assert.equal(archiveSent(), variants[0].downloadSize, "what had come was not fetched again");
	assert.ok(site.log.length > 0);
});

browserTest(BROWSERS, "a dropped file opens without a network", BOTH, async (browser, t) => {
	const { page, archiveSent, stage, answers, text } = await visit(t, browser, { path: "/?archive=none.qstore" });
	await page.waitForSelector("#open-error:not([hidden])");
	const bytes = readFileSync(join(folder, "model/stories.qstore")).toString("base64");
	await page.evaluate((base64) => {
		const transfer = new DataTransfer();
		transfer.items.add(new File([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], "mine.qstore"));
		for (const type of ["dragenter", "dragover", "drop"])
			document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
	}, bytes);
	await stage(0, "running");
	assert.match(await text("#archive-name"), /^mine\.qstore/);
	assert.equal(await page.$eval("#open-error", (element) => element.hidden), true);
	await page.type("#prompt", "One day, a small bear");
	await page.keyboard.press("Enter");
	assert.match((await answers(1))[0], /\w+ \w+/);
	assert.equal(archiveSent(), 0);
});

browserTest("chromium", "a model that chats is given messages, and its answers so far", BOTH, async (browser, t) => {
	const names = writeLlama(work.folder, { chat: "{% for message in messages %}{{ message['content'] }} {% endfor %}" });
	await packFiles(join(folder, "model/chat.qstore"), { q8_0: join(work.folder, names[0]), bf16: join(work.folder, names[1]) });
	const { page, errors, stage, press, text } = await visit(t, browser, { path: "/?archive=model/chat.qstore" });
	await stage(0, "running");
	assert.equal(await text("#generate"), "Send");
	const said = (turn, n) => page.waitForFunction((turn, n) => {
		const feet = document.querySelectorAll(`.turn:nth-child(${turn}) .answer-foot`);
		return feet.length === n && [...feet].every((foot) => foot.textContent);
	}, { timeout: 90_000, polling: 100 }, turn, n);
	// Noise has no reason to end, but may.
	const stop = () => page.evaluate(() => /** @type {HTMLElement | null} */ (document.querySelector("#stop:not([hidden])"))?.click());
	for (const turn of [1, 2]) {
		await page.waitForSelector("#generate:not([hidden]):not([disabled])");
		await page.type("#prompt", "once upon");
		await page.click("#generate");
		await page.waitForFunction((turn) => {
			const answer = document.querySelector(`.turn:nth-child(${turn})`);
			return answer?.querySelector(".said")?.textContent.length > 10 || answer?.querySelector(".answer-foot")?.textContent;
		}, { timeout: 90_000, polling: 50 }, turn);
		await stop();
		await said(turn, 1);
	}
	assert.equal((await page.$$(".turn")).length, 2);
	await press(1);
	await stage(1, "running");
	// The last message is answered once more, by the finer one.
	await page.waitForFunction(() => document.querySelector("#stop:not([hidden])") ||
		document.querySelectorAll(".turn:nth-child(2) .answer-foot").length === 2);
	await stop();
	await said(2, 2);
	assert.deepEqual(errors, []);
});

browserTest("chromium", "an archive that the runtime does not know is restored, and saved", BOTH, async (browser, t) => {
	const pair = packPair("--layers", "1", "--hidden", "64", "--intermediate", "128", "--vocab", "512");
	t.after(() => pair.remove());
	copyFileSync(join(pair.folder, "model.qstore"), join(folder, "model/pair.qstore"));
	const { page, errors, stage, press, text } = await visit(t, browser, { path: "/?archive=model/pair.qstore" });
	for (const i of [0, 1]) {
		await page.waitForSelector(`.step:nth-child(${i + 1})[data-stage="ready"]`);
		await press(i);
		await stage(i, "loaded");
		assert.match(await text(`.step:nth-child(${i + 1}) .step-what`), /the original by its SHA-256/);
	}
	assert.match(await page.$eval(".step-saves a", (link) => link.download), /\.safetensors$/);
	assert.equal(await page.$eval("#talk", (element) => element.hidden), true);
	await page.waitForFunction(() => document.querySelectorAll("#tensor figure").length === 2, { timeout: 20_000, polling: 100 });
	assert.deepEqual(errors, []);
});

browserTest(BROWSERS, "errors say what is wrong, where it is", BOTH, async (browser, t) => {
	const bytes = readFileSync(join(folder, "model/stories.qstore"));
	// A byte in the middle of the second layer.
	bytes[(variants[0].downloadSize + variants[1].downloadSize) >> 1] ^= 1;
	writeFileSync(join(folder, "model/damaged.qstore"), bytes);
	copyFileSync(join(folder, "icon.svg"), join(folder, "model/picture.qstore"));
	const closed = await serve(bytes);
	t.after(() => closed.close());

	const { site, page, hosts, stage, press, error, text } = await visit(t, browser, { path: "/?archive=model/damaged.qstore" });
	await stage(0, "running");
	await press(1);
	assert.match(await error(".step:nth-child(2) > .error"), /damaged.*tensor \S+.*chunk \d+ of \d+/s);
	assert.equal(await page.$eval(".step", (element) => element.dataset.stage), "running", "the coarser one goes on");
	for (const [url, message] of [
		["/?archive=model/picture.qstore", /not a qstore archive/], ["/?archive=model/none.qstore", /no such file/],
	]) {
		await page.goto(site.origin + url);
		assert.match(await error("#open-error"), message);
	}

	// A link to another site is opened only after a click, and nothing is asked for before.
	hosts.clear();
	await page.goto(`${site.origin}/?archive=${encodeURIComponent(closed.url)}`);
	await page.waitForSelector("#open-link:not([hidden])");
	assert.ok((await text("#open-link-text")).includes(new URL(closed.url).host));
	await new Promise((resolve) => setTimeout(resolve, 500));
	assert.deepEqual([...hosts], [new URL(site.origin).host]);
	await page.click("#open-link-yes");
	assert.match(await error("#open-error"), /CORS/);
	assert.ok(hosts.has(new URL(closed.url).host));
	assert.equal(await page.$eval("#open-link", (element) => element.hidden), true);

	// The form refuses it too; then the page opens its own archive.
	await page.type("#open-url", "model/picture.qstore");
	await page.keyboard.press("Enter");
	assert.match(await error("#open-error"), /not a qstore archive/);
	await page.click("#open-own");
	await stage(0, "running");
	assert.match(await text("#archive-name"), /^stories\.qstore/);
});

browserTest("chromium", "without Range, and with no room to keep anything, it still runs", BOTH, async (browser, t) => {
	const { stage, answers, error } = await visit(t, browser, {
		ranges: false, prepare: () => {
			FileSystemFileHandle.prototype.createWritable = async () => {
				throw new DOMException("no room", "QuotaExceededError");
			};
		},
	});
	await stage(0, "running");
	await answers(1);
	assert.match(await error("#runtime-note"), /not kept.*quota/);
});
