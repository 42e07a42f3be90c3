// Models for the tests in browsers, packed by the native tool.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashes, native } from "../../js/helpers/tools.mjs";

/** A folder for a test's files; remove() takes it away. */
export function workFolder() {
	const folder = mkdtempSync(join(tmpdir(), "qstore-browser-"));
	return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/**
 * Packs model folders, from fine to coarse, and says what their files' SHA-256 are, by "precision/name".
 * variants: { precision: folder }, the precision as the archive will call it.
 */
export function pack(archive, variants) {
	const [high, ...lows] = Object.values(variants);
	native("qstore-pack", high, ...lows.flatMap((low) => ["--low", low]), "-o", archive, "-q");
	return Object.fromEntries(Object.entries(variants).flatMap(([precision, folder]) =>
		Object.entries(hashes(folder)).map(([name, hash]) => [`${precision}/${name}`, hash])));
}

/** Packs one folder that has a model in several precisions, as repositories for transformers.js do. */
export function packFolder(archive, folder) {
	native("qstore-pack", folder, "-o", archive, "-q");
}

/** Packs files of one model, from coarse to fine: { precision: path }. */
export function packFiles(archive, files) {
	const [high, ...lows] = Object.values(files).reverse();
	native("qstore-pack", high, ...lows.flatMap((low) => ["--low", low]), "-o", archive, "-q");
}

/** A safetensors model of noise in BF16 and its INT8 twin, as model.qstore. options: of qstore-generate. */
export function packPair(...options) {
	const work = workFolder(), high = join(work.folder, "bf16"), low = join(work.folder, "int8");
	mkdirSync(high);
	native("qstore-generate", ...options, "--low", low, "-o", high);
	return { ...work, hashes: pack(join(work.folder, "model.qstore"), { bf16: high, int8: low }) };
}
