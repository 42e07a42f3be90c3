/** Whole commands against the codec's own time on as many cores, both from one run's results: node tests/bench/compare.mjs RESULTS.jsonl */

import { readResults } from "./results.mjs";

const results = readResults(process.argv[2]);
const codec = results.find(({ data, platform }) => data === "generated, bf16" && platform === "native");
const rows = { "qstore-pack": ["base and refinement", "encode_gbs", 3], "qstore-unpack int8": ["base layer", "decode_gbs", 1],
	"qstore-unpack bf16": ["base and refinement", "decode_gbs", 2] };
for (const { command, seconds, bytes } of results.filter(({ platform }) => platform === "command")) {
	if (!rows[command])
		continue;
	const [name, speed, width] = rows[command], row = codec.rows.find((one) => one.name.includes(name));
	const own = bytes / 2 * width / row[speed][1] / 1e9;
	console.log(`  ${command.padEnd(24)} ${seconds.toFixed(2)} s are ${(seconds / own).toFixed(2)} times the codec's own ${own.toFixed(2)} s on ` +
		`${codec.threads} threads`);
}
