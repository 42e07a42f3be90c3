/**
 * Draws what `make bench` measured: node tests/bench/plot.mjs RESULTS.jsonl FOLDER. Writes load.svg (load time over bandwidth) and
 * speed.svg (GB/s of decoders), and beside each of them the numbers that it shows, as JSON. The pictures are readable on light and dark pages.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readResults } from "./results.mjs";

const [path, folder] = process.argv.slice(2);
if (!folder) {
	console.error("usage: node tests/bench/plot.mjs RESULTS.jsonl FOLDER");
	process.exit(2);
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
/** Colours that are readable on white and on near-black, after Okabe and Ito's set for the colour-blind. */
const OWN = ["#0a84c8", "#00936b", "#7a5cd0"], PEERS = ["#d55e00", "#b07c00", "#c0568f", "#808080"];
const STYLE = `<style>text{font:13px system-ui,sans-serif;fill:#333}.small{font-size:11px}.title{font-size:15px;font-weight:600}
.grid{stroke:#888;stroke-opacity:.25}.axis{stroke:#888}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>`;

const text = (x, y, content, extra = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${extra}>${escape(content)}</text>`;
/** description: the picture in words, for readers who do not see it. */
const svg = (width, height, title, description, body) => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
	`width="${width}" height="${height}" role="img" aria-labelledby="title description">\n<title id="title">${escape(title)}</title>\n` +
	`<desc id="description">${escape(description)}</desc>\n${STYLE}\n${text(16, 24, title, 'class="title"')}\n${body.join("\n")}\n</svg>\n`;

/** Moves the labels at the right ends of lines apart, so that none covers another. */
function spread(labels, gap, top, bottom) {
	const sorted = labels.toSorted((a, b) => a.y - b.y);
	sorted.forEach((label, i) => (label.y = Math.max(label.y, i ? sorted[i - 1].y + gap : top)));
	for (let i = sorted.length - 1, limit = bottom; i >= 0; limit = sorted[i].y - gap, i--)
		sorted[i].y = Math.min(sorted[i].y, limit);
	return sorted;
}

/** Draws the load time, both axes logarithmic. */
function drawLoad({ data, high, weights, bandwidths_mbs: xs, rows }) {
	const left = 64, right = 560, top = 48, bottom = 400, width = 860, height = 450;
	const lines = rows.map((row) => ({ ...row, name: row.way.replace("16-bit", high) +
		(row.way.includes("then") ? `: ${row.loaded === "int8" ? "INT8" : high}` : "") }));
	const all = lines.flatMap(({ seconds }) => seconds), low = Math.log10(Math.min(...all)), span = Math.log10(Math.max(...all)) - low;
	const x = (v) => left + (right - left) * Math.log(v / xs[0]) / Math.log(xs.at(-1) / xs[0]);
	const y = (v) => bottom - (bottom - top) * (Math.log10(v) - low) / span;
	const body = xs.map((v) => `<path class="grid" d="M${x(v).toFixed(1)} ${top}V${bottom}"/>` +
		text(x(v), bottom + 18, v, 'text-anchor="middle" class="small"'));
	for (let power = Math.floor(low); power <= low + span; power++)
		for (const step of [1, 2, 5]) {
			const v = step * 10 ** power;
			if (v >= 10 ** low * 0.999 && v <= 10 ** (low + span) * 1.001)
				body.push(`<path class="grid" d="M${left} ${y(v).toFixed(1)}H${right}"/>` +
					text(left - 8, y(v) + 4, `${+v.toPrecision(1)} s`, 'text-anchor="end" class="small"'));
		}
	body.push(text((left + right) / 2, bottom + 38, "read bandwidth, MB/s", 'text-anchor="middle"'));
	let own = 0, peer = 0;
	const labels = [];
	for (const { way, name, seconds, loaded } of lines) {
		const ours = way.startsWith("qstore"), colour = ours ? OWN[own++ % OWN.length] : PEERS[peer++ % PEERS.length];
		const dash = way.includes("then") ? ' stroke-dasharray="6 4"' : loaded === "int8" ? ' stroke-dasharray="2 3"' : "";
		body.push(`<polyline fill="none" stroke="${colour}" stroke-width="${ours ? 2.5 : 1.5}"${dash} points="` +
			seconds.map((s, i) => `${x(xs[i]).toFixed(1)},${y(s).toFixed(1)}`).join(" ") + '"/>');
		labels.push({ y: y(seconds.at(-1)) + 4, from: y(seconds.at(-1)), name, colour });
	}
	for (const label of spread(labels, 16, top + 4, bottom))
		body.push(`<path stroke="${label.colour}" fill="none" d="M${right + 3} ${label.from.toFixed(1)}L${right + 22} ${(label.y - 4)
			.toFixed(1)}"/>` +
			text(right + 27, label.y, label.name, 'class="small"'));
	const ends = lines.map(({ name, seconds }) => `${name}: ${seconds[0].toFixed(2)} s to ${seconds.at(-1).toFixed(3)} s`);
	return svg(width, height, `Time to load ${(weights / 1e6).toFixed(0)} M weights (${data}), decoding while reading`,
		`Read at ${xs[0]} to ${xs.at(-1)} MB/s. ${ends.join("; ")}.`, body);
}

const millions = (weights) => `${(weights / 1e6).toFixed(0)} M weights`;

/** The bars of the drawing of decoders' speeds, in two groups: one thread, and all threads. */
function speedGroups(results) {
	const native = results.findLast(({ platform }) => platform === "native");
	const wasm = results.findLast(({ platform, rows }) => platform === "wasm" && rows.some(({ name }) => name.includes("refinement")));
	return [
		native && { title: `Natively: ${native.data}, ${millions(native.weights)}`,
			rows: native.rows.filter(({ name }) => !/memcpy|lz4/.test(name)).map(({ name, decode_gbs }) => ({ name, gbs: decode_gbs })) },
		wasm && { title: `WebAssembly with SIMD: ${wasm.data}, ${millions(wasm.weights)}`,
			rows: wasm.rows.filter(({ name }) => name.includes("qstore")).map(({ name, pieces_gbs }) => ({ name, gbs: pieces_gbs })) },
		...results.filter(({ platform }) => platform === "native-archive")
			.map(({ data, weights, rows }) => ({ title: `Natively: ${data}, ${millions(weights)}`,
			rows: rows.map(({ name, decode_gbs }) => ({ name, gbs: decode_gbs })) })),
	].filter(Boolean);
}

function drawSpeed(groups) {
	const left = 262, right = 790, top = 60, step = 30, gap = 34, all = groups.flatMap(({ rows }) => rows);
	const most = Math.max(...all.flatMap(({ gbs }) => gbs)), height = top + step * all.length + gap * groups.length + 34;
	const x = (v) => left + (right - left) * v / most, body = [];
	for (let v = 0; v <= most; v += most > 8 ? 2 : 1)
		body.push(`<path class="grid" d="M${x(v).toFixed(1)} ${top - 8}V${height - 34}"/>` + text(x(v), height - 18, v,
			'text-anchor="middle" class="small"'));
	let y = top;
	for (const { title, rows } of groups) {
		body.push(text(16, y + 18, title, 'style="font-weight:600"'));
		y += gap;
		for (const { name, gbs } of rows) {
			const colour = name.includes("qstore") ? OWN[0] : PEERS[3];
			body.push(text(left - 8, y + 14, name, 'text-anchor="end"'));
			gbs.forEach((v, k) => body.push(`<rect x="${left}" y="${y + 11 * k}" width="${(x(v) - left)
				.toFixed(1)}" height="10" fill="${colour}" ` +
				`fill-opacity="${k ? 0.5 : 1}"/>` + text(x(v) + 4, y + 9 + 11 * k, v.toFixed(2), 'class="small"')));
			y += step;
		}
	}
	body.push(text(16, 44, "GB/s of what comes out, in pieces, on one thread (upper bar) and on two", 'class="small"'));
	return svg(860, height, "Decoding speed", groups.map(({ title, rows }) =>
		`${title}: ${rows.map(({ name, gbs }) => `${name} ${gbs.map((v) => v.toFixed(2)).join(" and ")} GB/s`).join("; ")}.`).join(" "),
			body);
}

const results = readResults(path);
mkdirSync(folder, { recursive: true });
for (const [name, draw, found] of [
	["load", drawLoad, results.findLast(({ platform }) => platform === "load")],
	["speed", drawSpeed, speedGroups(results)],
]) {
	if (!found || found.length === 0) {
		console.error(`${path} has no "${name}" results`);
		continue;
	}
	writeFileSync(join(folder, `${name}.svg`), draw(found));
	writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(found, null, "\t")}\n`);
	console.log(join(folder, `${name}.svg`));
}
