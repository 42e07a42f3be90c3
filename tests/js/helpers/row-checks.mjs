// Checks that hold for each row of helpers/rows.mjs, whatever the model it is made of.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { openFile } from "../../../js/node/file-source.js";
import { openQstore } from "../../../js/node/open.js";
import { sha256 } from "./archive.mjs";
import { hashes, native } from "./tools.mjs";
import { make, packArguments } from "./rows.mjs";
import { BITS } from "./row-sizes.mjs";

const json = (...args) => JSON.parse(native(...args, "--json"));

const WEIGHTS = 525_056; // elements of the model below

/** The model that the variants of the tests' rows come from. */
export function generateModel(folder, sizes = "--hidden 256 --intermediate 256") {
	native("qstore-generate", ...`--layers 1 ${sizes} --vocab 256 --dtype f32 --shards 1 -o`.split(" "), join(folder, "fp32"));
}

/** A test for each row, with the generated model. */
export function testRows(folder, rows) {
	for (const row of rows)
		test(row.name, async () => {
			const bits = 8 * (await checkRow(folder, row)).archiveSize / WEIGHTS;
			assert.ok(bits < 1.002 * BITS[row.name], `${bits.toFixed(3)} bits a weight, not ${BITS[row.name]}`);
			assert.ok(bits > 0.98 * BITS[row.name],
				`${bits.toFixed(3)} bits a weight: less than ${BITS[row.name]}, which should be made smaller`);
		});
}

/** Names and SHA-256 of what was packed: a folder's files, or one file. */
function packed(path) {
	if (statSync(path).isDirectory())
		return hashes(path);
	const folder = join(path, ".."), name = basename(path), all = hashes(folder);
	return Object.fromEntries(Object.entries(all).filter(([other]) => other === name || other === `${name}_data`));
}

/** Names and SHA-256 of a variant's files, as the JavaScript library reads them. */
async function readAll(path, precision) {
	const source = await openFile(path), found = {};
	try {
		const archive = await openQstore(source);
		for (const file of archive.filesOf({ precision }))
			found[file.name] = sha256(await file.read());
		await archive.close();
	} finally {
		await source.close();
	}
	return found;
}

/** Bytes of a variant's archive of its own. */
function sizeAlone(path, scratch) {
	const archive = join(scratch, "alone.qstore");
	native("qstore-pack", path, "--quantize", "none", "-o", archive, "-f", "-q");
	return statSync(archive).size;
}

/**
 * Packs a row's variants, and checks that all of them come back, by which rules, and that they take less together.
 * @param {string} folder where variants are made
 * @param {import("./rows.mjs").Row} row
 * @param {string} [room] where archives are written
 * @returns {Promise<object>} what qstore-pack says of it
 */
export async function checkRow(folder, row, room = folder) {
	const scratch = mkdtempSync(join(room, "scratch-")), archive = join(scratch, "row.qstore");
	try {
		const args = packArguments(folder, row), paths = row.variants.map((variant) => make(folder, variant));
		const result = json("qstore-pack", ...args, "-o", archive);
		const { tensors, variants } = json("qstore-info", archive);

		// Every file, byte for byte. A folder of ONNX models holds all of its variants.
		const restored = {};
		for (const { name } of variants) {
			native("qstore-unpack", archive, "-p", name, "-o", join(scratch, name), "-q",
				...row.base ? ["--base", make(folder, row.base)] : []);
			restored[name] = hashes(join(scratch, name));
			// Bases are for the native tools only.
			if (!row.base)
				assert.deepEqual(await readAll(archive, name), restored[name], `${name}, by the library`);
		}
		if (paths.length === variants.length)
			paths.forEach((path, i) => assert.deepEqual(restored[variants.at(-1 - i).name], packed(path), path));
		else
			assert.deepEqual(Object.assign({}, ...Object.values(restored)), packed(paths[0]));

		const given = result.rules.reduce((sum, rule) => sum + rule.weights, 0),
			exceptions = result.rules.reduce((sum, rule) => sum + rule.exceptions, 0);
		assert.deepEqual(result.rules.map(({ rule }) => rule).filter((rule) => !row.rules?.includes(rule)), [],
			"rules that should not be found");
		assert.ok(exceptions <= given * (row.exceptions ?? 0), `${exceptions} of ${given} weights are not explained`);
		assert.equal(result.pairedTensors, row.pairs ?? 0, "pairs");

		// An archive is never larger than its variants apart. Tensors that variants share, and that are coded once, are not counted.
		if (paths.length > 1) {
			const shared = tensors.filter((tensor) => tensor.shared).reduce((sum, { codedSize }) => sum + codedSize, 0);
			const apart = paths.reduce((sum, path) => sum + sizeAlone(path, scratch), 0) - shared;
			const share = result.archiveSize / apart;
			assert.ok(share < (row.share ?? 0.93), `${share.toFixed(4)} of both apart: nothing is gained`);
		}
		// Floats on their own: as byte planes under Huffman codes of their own, but for the bits that fast decoding costs (docs/codec.md).
		if (row.alone) {
			const { variants: [alone] } = JSON.parse(native("qstore-bound", archive));
			assert.ok(alone.bits <= 1.002 * alone.zipnn, `${alone.bits.toFixed(3)} bits a weight, and ${alone.zipnn.toFixed(3)} as ZipNN`);
		}
		return result;
	} finally {
		rmSync(scratch, { recursive: true, force: true });
	}
}
