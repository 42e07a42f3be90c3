// Opens an archive, lists it, and restores everything, keeping nothing. Prints JSON: by how much the process grew at most, in bytes of
// resident memory; the code of the error that restoring ended with; for each step its milliseconds, how often the event loop came
// around meanwhile, and the longest time that it did not. Arguments: path, workers, "list" to restore nothing.
import { readFileSync } from "node:fs";
import { openQstore } from "../../../js/node/index.js";

const [path, workers, listOnly] = process.argv.slice(2);
/** Bytes of resident memory that were used at most. */
const peak = () => Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? process.resourceUsage().maxRSS) * 1024;

let rounds = 0, longest = 0, last = performance.now();
const look = () => {
	const now = performance.now();
	longest = Math.max(longest, now - last);
	last = now;
};
const tick = () => {
	look();
	rounds++;
	timer = setImmediate(tick);
};
let timer = setImmediate(tick);

const steps = {};
/** Milliseconds of all threads. */
const cpuSince = (start) => {
	const { user, system } = process.cpuUsage(start);
	return Math.round((user + system) / 1000);
};
/** Measures a step. */
async function step(name, act) {
	await new Promise(setImmediate);
	const start = performance.now(), cpu = process.cpuUsage();
	rounds = longest = 0;
	last = start;
	try {
		return await act();
	} finally {
		look();
		steps[name] = { ms: Math.round(performance.now() - start), cpu: cpuSince(cpu), rounds, longest: Math.round(longest) };
	}
}

const start = peak();
const archive = await step("open", () => openQstore(path, { workers: Number(workers) }));
const opened = peak();
await step("list", () => archive.tensorList.length + archive.files.length);
await step("download", () => archive.variants.map(({ downloadSize }) => downloadSize));
const listed = peak();
let bytes = 0, code;
await step("restore", async () => {
	for (const file of listOnly ? [] : archive.filesOf())
		for await (const piece of file.chunks())
			bytes += piece.length;
}).catch((error) => {
	code = error.code ?? error.message;
});
clearImmediate(timer);
await archive.close();
console.log(JSON.stringify({ start, opened: opened - start, listed: listed - start, grown: peak() - start, bytes, code, steps }));
