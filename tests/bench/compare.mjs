/**
 * Compares, in the results of one run, the time of whole commands with the time of the codec alone on as many cores; and with that time
 * plus the time that the kernel takes to write as many bytes (that of cp, divided by these cores).
 *
 *   node tests/bench/compare.mjs RESULTS.jsonl
 */

import { readResults } from "./results.mjs";

const results = readResults(process.argv[2]);
const codec = results.find(({ data, platform }) => data === "generated, bf16" && platform === "native");
const rows = { "qstore-pack": ["base and refinement", "encode_gbs", 3], "qstore-unpack int8": ["base layer", "decode_gbs", 1],
	"qstore-unpack bf16": ["base and refinement", "decode_gbs", 2] };
const commands = results.filter(({ platform }) => platform === "command");
for (const { command, seconds, bytes } of commands) {
	if (!rows[command])
		continue;
	const [name, speed, width] = rows[command], row = codec.rows.find((one) => one.name.includes(name));
	const own = bytes / 2 * width / row[speed][1] / 1e9;
	const copy = commands.find((other) => other.command === command.replace("qstore-unpack", "cp of") && other.command !== command);
	const floor = copy ? own + copy.cpu_seconds / codec.threads : undefined;
	console.log(`  ${command.padEnd(24)} ${seconds.toFixed(2)} s are ${(seconds / own)
		.toFixed(2)} times the codec's own ${own.toFixed(2)} s on ` +
		`${codec.threads} threads` + (floor ? `, ${(seconds / floor).toFixed(2)} times it and writing (${floor.toFixed(2)} s)` : ""));
}
