// Debian's browsers, driven by puppeteer-core: found, started with a fresh profile, and measured.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

/** Where they are looked for; the environment's variable comes first. */
const PLACES = {
	chromium: [process.env.QSTORE_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
	firefox: [process.env.QSTORE_FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"],
};
// No network but localhost's: what a browser asks its maker for would only fail, slowly.
const CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
	"--disable-component-update", "--disable-sync"];
const FIREFOX_PREFERENCES = {
	"app.normandy.enabled": false, "app.update.enabled": false, "browser.safebrowsing.malware.enabled": false,
	"browser.safebrowsing.phishing.enabled": false, "datareporting.policy.dataSubmissionEnabled": false,
	"network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
	"services.settings.server": "data:,", "toolkit.telemetry.enabled": false,
};
const LAUNCH_TIMEOUT = 120_000;

const puppeteer = await import("puppeteer-core").then((module) => module.default, () => undefined);

/** Why tests in a browser cannot run here; undefined when they can. */
export function missing(name) {
	if (!puppeteer)
		return "puppeteer-core is not installed: scripts/setup --browsers";
	return placeOf(name) ? undefined : `${name} is not installed: scripts/setup --browsers`;
}

const placeOf = (name) => PLACES[name].find((place) => place && existsSync(place));

/** Starts a browser, with a new profile that goes when it is closed. watched: puppeteer sees requests; that costs each of them
 * milliseconds. */
export async function launch(name, { flags = [], watched = true } = {}) {
	return puppeteer.launch({
		browser: name === "firefox" ? "firefox" : "chrome", executablePath: placeOf(name), headless: true, timeout: LAUNCH_TIMEOUT,
		protocolTimeout: LAUNCH_TIMEOUT, networkEnabled: watched,
		args: name === "firefox" ? flags : [...CHROMIUM_FLAGS, ...flags],
		...name === "firefox" ? { extraPrefsFirefox: FIREFOX_PREFERENCES } : {},
	});
}

/**
 * A test in each of the browsers, each in one of its own; skipped, saying why, where one is not here. run gets the browser and
 * node:test's context.
 */
export function browserTest(names, title, options, run = options) {
	for (const name of [names].flat()) {
		const reason = missing(name);
		test(`${name}: ${title}`, { timeout: 300_000, ...typeof options === "object" ? options : {}, skip: reason }, async (t) => {
			const browser = await launch(name, options);
			try {
				await run(browser, t);
			} finally {
				await browser.close();
			}
		});
	}
}

/**
 * An empty page of a site, which throws what its scripts throw. site: of serveFolders, with BLANK_PAGE among its pages.
 * call(module, name, …args) calls a function that a module of the site exports, in the page, and gives its result.
 */
export async function openPage(browser, site, { path = "/blank.html" } = {}) {
	const page = await browser.newPage(), errors = [];
	page.on("pageerror", (error) => errors.push(error));
	page.on("console", (message) => {
		if (process.env.QSTORE_BROWSER_LOG)
			console.log(`[${message.type()}] ${message.text()}`);
	});
	await page.goto(`${site.origin}${path}`);
	return Object.assign(page, {
		errors,
		async call(module, name, ...args) {
			const result = await page.evaluate(async (module, name, args) => {
				try {
					return { value: await (await import(module))[name](...args) };
				} catch (error) {
					// An error's own fields do not come through.
					return { error: `${error?.stack?.includes(error.message) ? error.stack : `${error}\n${error?.stack ?? ""}`}` };
				}
			}, module, name, args);
			if (result.error)
				throw new Error(`in the page: ${result.error}`);
			return result.value;
		},
	});
}

/** Bytes that the largest of a browser's page processes held at most; undefined where /proc does not tell. */
export async function peakMemory(browser) {
	const root = browser.process()?.pid, children = new Map(), peaks = [];
	const processes = await readdir("/proc").then((names) => names.filter((name) => /^\d+$/.test(name)), () => []);
	for (const pid of processes) {
		const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
		const parent = Number(/\) \S (\d+)/.exec(stat)?.[1]);
		children.set(parent, [...children.get(parent) ?? [], Number(pid)]);
	}
	const below = (pid) => [pid, ...(children.get(pid) ?? []).flatMap(below)];
	for (const pid of root ? below(root) : []) {
		const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
		if (!/--type=renderer|-contentproc.*\btab\b/s.test(command))
			continue;
		const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
		peaks.push(Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024);
	}
	return peaks.length > 0 ? Math.max(...peaks) : undefined;
}

/** Has scripts/test print what a test measured. atMost: what may have been fetched: an archive's size, as nothing of it is fetched
 * twice. */
export function report(t, fetched, peak, atMost = Infinity) {
	const memory = peak === undefined ? "memory not known" : `${Math.round(peak / 2 ** 20)} MiB of memory at most`;
	t.diagnostic(`figures: ${t.name}: ${(fetched / 1e6).toFixed(2)} MB fetched, ${memory}`);
	assert.ok(fetched > 0 && fetched <= atMost, `${fetched} bytes fetched of ${atMost}`);
}
