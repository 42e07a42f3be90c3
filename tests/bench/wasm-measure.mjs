/** Speeds of workers that decode an archive's chunks (wasm-jobs.mjs), in Node and in browsers. */

/** What is measured, with the names of qstore-bench's rows. */
const names = (high) => ({ codes: "INT8, qstore base layer", both: `${high}, qstore base and refinement`,
	refine: `${high}, qstore refinement alone`, plain: `${high}, qstore plain`, copy: "copying 256 KiB (TypedArray.set)" });

/**
 * GB/s of the fastest passes, in one worker and in all; passes go round what is measured: with SIMD "in pieces", every chunk into the same
 * memory, then all of it into memory of its own, with SIMD and without. ask(worker, share): a promise of its end.
 */
export async function measureWorkers(workers, ask, { sizes, high }, passes) {
	const pass = async ({ group, simd, pieces, parts }) => {
		const start = performance.now();
		await Promise.all(workers.slice(0, parts).map((worker, part) => ask(worker, { group, simd, pieces, part, parts })));
		return (performance.now() - start) / 1000;
	};
	const ways = { pieces_gbs: { simd: true, pieces: true }, simd_gbs: { simd: true, pieces: false }, scalar_gbs: { simd: false, pieces: false } };
	const groups = Object.keys(sizes).filter((group) => sizes[group] > 1e6); // a few norms would measure calls, not decoding
	const kinds = groups.flatMap((group) => Object.entries(ways).flatMap(([way, how]) =>
		[1, workers.length].map((parts) => ({ group, way, ...how, parts, best: Infinity }))));
	for (let i = 0; i < passes; i++)
		for (const kind of kinds)
			kind.best = Math.min(kind.best, await pass(kind));
	const speeds = (group, way) => kinds.filter((kind) => kind.group === group && kind.way === way)
		.map(({ best }) => +(sizes[group] / best / 1e9).toFixed(3));
	return groups.map((group) => ({ name: names(high)[group],
		...Object.fromEntries(Object.keys(ways).map((way) => [way, speeds(group, way)])) }));
}

export function printRows(title, rows) {
	console.log(`${title}, GB/s of decoding in one worker and in all`);
	console.log(`  ${"".padEnd(34)} ${"SIMD, in pieces".padStart(15)} ${"all of it".padStart(15)} ${"scalar".padStart(15)}`);
	for (const { name, pieces_gbs, simd_gbs, scalar_gbs } of rows) {
		const pairs = [pieces_gbs, simd_gbs, scalar_gbs].map((pair) => pair.map((x) => x.toFixed(2).padStart(6)).join(" ").padStart(15));
		console.log(`  ${name.padEnd(34)} ${pairs.join(" ")}`);
	}
	console.log();
}
