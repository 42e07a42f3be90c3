#!/usr/bin/env node
// Takes the README's picture of the page: all precisions loaded, down to their answers. Use: web/picture.mjs [FILE], after `make site`.
// Needs Debian's pngquant, which makes it small.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { launch } from "../tests/browser/helpers/browsers.mjs";
import { servePage } from "./serve.mjs";

const WIDTH = 1120;
const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const file = process.argv[2] ?? at("../docs/page.png");
const site = await servePage(at("../build/web")), browser = await launch("chromium");
try {
	const page = await browser.newPage();
	await page.setViewport({ width: WIDTH, height: 1000 });
	await page.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
	await page.goto(site.origin);
	for (let i = 1; i <= 3; i++) {
		await page.waitForFunction((i) => document.querySelectorAll(".answer-foot button").length === i, { polling: 100 }, i);
		if (i < 3)
			await page.click(`.step:nth-child(${i + 1}) > button`);
	}
	await page.mouse.move(0, 0);
	await page.evaluate(() => document.activeElement?.blur());
	const height = await page.$eval("#talk", (element) => element.getBoundingClientRect().bottom + scrollY + 8);
	await page.screenshot({ path: file, clip: { x: 0, y: 0, width: WIDTH, height: Math.ceil(height) }, captureBeyondViewport: true });
	execFileSync("pngquant", ["64", "--nofs", "--force", "--output", file, "--", file]);
} finally {
	await browser.close();
	await site.close();
}
