/** A worker of browser-page.mjs. It decodes its share of an archive's chunks when it is told to. */

import { prepareJobs } from "./wasm-jobs.mjs";

addEventListener("message", async ({ data: url }) => {
	const { about, run } = await prepareJobs(new Uint8Array(await (await fetch(url)).arrayBuffer()));
	addEventListener("message", ({ data: share }) => postMessage(run(share)));
	postMessage(about);
}, { once: true });
