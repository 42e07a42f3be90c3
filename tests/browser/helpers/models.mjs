// Models for the tests in browsers, packed by the native tool.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createDecoder } from "../../../js/index.js";
import { buildArchive } from "../../js/helpers/archive.mjs";
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
export async function packFiles(archive, files) {
	const [high, ...lows] = Object.values(files).reverse();
	try {
		native("qstore-pack", high, ...lows.flatMap((low) => ["--low", low]), "-o", archive, "-q");
	} catch {
		// Until the packer takes such pairs: an archive of the same files in chunks that are not coded.
		const variants = Object.keys(files).map((name) => ({ name, dtype: "BF16" }));
		const objects = Object.values(files).map((path, variant) => ({ kind: 0, dtype: "bytes", variant, data: readFileSync(path) }));
		writeFileSync(archive, buildArchive(await createDecoder(), {
			variants, objects, files: Object.values(files).map((path, i) => ({
				name: basename(path), variants: 1 << i, content: objects[i].data, extents: [[i, 0, objects[i].data.length]],
			})),
		}));
	}
}

/** A safetensors model of noise in BF16 and its INT8 twin, as model.qstore. options: of qstore-generate. */
export function packPair(...options) {
	const work = workFolder(), high = join(work.folder, "bf16"), low = join(work.folder, "int8");
	mkdirSync(high);
	native("qstore-generate", ...options, "--low", low, "-o", high);
	return { ...work, hashes: pack(join(work.folder, "model.qstore"), { bf16: high, int8: low }) };
}
