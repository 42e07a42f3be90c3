/** Speeds of workers that decode an archive's chunks (wasm-jobs.mjs), in Node and in browsers. */

/** The names of the groups of jobs, as qstore-bench's rows have them. */
const names = (high) => ({ codes: "INT8, qstore base layer", both: `${high}, qstore base and refinement`,
	refine: `${high}, qstore refinement alone`, plain: `${high}, qstore plain`, copy: "copying 256 KiB (TypedArray.set)" });

/**
 * A pass decodes at least BYTES, if need be a small model several times. The passes of each kind are repeated until they have taken
 * SECONDS, even if they are as many as asked for.
 */
const BYTES = 3e7, SECONDS = 0.25;

/**
 * Measures GB/s of the fastest passes, in one worker and in all. Three ways are measured in turn: with SIMD "in pieces", where every chunk
 * is decoded into the same memory; then with SIMD and without, where each chunk is decoded into memory of its own.
 *
 * passes: how many there are of each way at least. ask(worker, share): resolves to the seconds that the worker took. The time of one worker
 * is the one that it tells, without messages to it and back; several workers take until the answer of the last one is here.
 */
export async function measureWorkers(workers, ask, { sizes, high }, passes) {
	const pass = async ({ group, simd, pieces, parts, times }) => {
		const start = performance.now();
		const own = await Promise.all(workers.slice(0, parts)
			.map((worker, part) => ask(worker, { group, simd, pieces, part, parts, times })));
		return parts === 1 ? own[0] : (performance.now() - start) / 1000;
	};
	const ways = { pieces_gbs: { simd: true, pieces: true }, simd_gbs: { simd: true, pieces: false },
		scalar_gbs: { simd: false, pieces: false } };
	const groups = Object.keys(sizes).filter((group) => sizes[group] > 1e6); // a few norms would measure calls, not decoding
	const kinds = groups.flatMap((group) => Object.entries(ways).flatMap(([way, how]) => [1, workers.length].map((parts) =>
		({ group, way, ...how, parts, times: Math.ceil(BYTES / sizes[group]), best: Infinity, passes: 0, seconds: 0 }))));
	for (let left = kinds; left.length > 0; left = left.filter((kind) => kind.passes < passes || kind.seconds < SECONDS))
		for (const kind of left) {
			const seconds = await pass(kind);
			kind.best = Math.min(kind.best, seconds);
			kind.seconds += seconds;
			kind.passes++;
		}
	const speeds = (group, way) => kinds.filter((kind) => kind.group === group && kind.way === way)
		.map(({ times, best }) => +(times * sizes[group] / best / 1e9).toFixed(3));
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
