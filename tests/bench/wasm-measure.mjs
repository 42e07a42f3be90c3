/** Speeds of workers that decode an archive's chunks (wasm-jobs.mjs), in Node and in browsers. */

/** What is measured, with the names of qstore-bench's rows. */
const names = (high) => ({ codes: "INT8, qstore base layer", both: `${high}, qstore base and refinement`,
	refine: `${high}, qstore refinement alone`, plain: `${high}, qstore plain`, copy: "copying 256 KiB (TypedArray.set)" });

/**
 * GB/s of the fastest passes, in one worker and in all; passes go round what is measured. ask(worker, share): a promise of its end.
 */
export async function measureWorkers(workers, ask, { sizes, high }, passes) {
	const pass = async ({ group, simd, parts }) => {
		const start = performance.now();
		await Promise.all(workers.slice(0, parts).map((worker, part) => ask(worker, { group, simd, part, parts })));
		return (performance.now() - start) / 1000;
	};
	const groups = Object.keys(sizes).filter((group) => sizes[group] > 1e6); // a few norms would measure calls, not decoding
	const kinds = groups.flatMap((group) => [true, false].flatMap((simd) =>
		[1, workers.length].map((parts) => ({ group, simd, parts, best: Infinity }))));
	for (let i = 0; i < passes; i++)
		for (const kind of kinds)
			kind.best = Math.min(kind.best, await pass(kind));
	const speeds = (group, simd) => kinds.filter((kind) => kind.group === group && kind.simd === simd)
		.map(({ best }) => +(sizes[group] / best / 1e9).toFixed(3));
	return groups.map((group) => ({ name: names(high)[group], simd_gbs: speeds(group, true), scalar_gbs: speeds(group, false) }));
}

export function printRows(title, rows) {
	console.log(`${title}, GB/s of decoding in one worker and in all`);
	console.log(`  ${"".padEnd(34)} ${"SIMD".padStart(13)} ${"scalar".padStart(15)}`);
	for (const { name, simd_gbs, scalar_gbs } of rows) {
		const [a, b, c, d] = [...simd_gbs, ...scalar_gbs].map((x) => x.toFixed(2));
		console.log(`  ${name.padEnd(34)} ${a.padStart(6)} ${b.padStart(6)} ${c.padStart(8)} ${d.padStart(6)}`);
	}
	console.log();
}
