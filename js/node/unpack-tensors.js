/** The outputs that unpack() makes of selected tensors: as native/src/read/unpack_tensors.c does it. */

import { basename } from "node:path";
import { QstoreError } from "../error.js";

/** @typedef {import("../archive/archive.js").Archive} Archive */
/** @typedef {import("../archive/contents.js").ArchiveTensor} ArchiveTensor */
/** @typedef {import("./unpack.js").Output} Output */
/** @typedef {import("./unpack.js").UnpackOptions} UnpackOptions */

const TENSORS_NAME = "tensors.safetensors";

/**
 * Is the output a file of selected tensors, and of which format? undefined: it is a folder, or a stream.
 * @param {UnpackOptions} options
 */
export function fileForm({ output, tensors, write }) {
	const ending = /(?<=.\.)(safetensors|npy|bin)$/s.exec(output)?.[0];
	return tensors && !write ? /** @type {"safetensors" | "npy" | "bin" | undefined} */ (ending) : undefined;
}

/**
 * Throws if the options for selected tensors contradict each other.
 * @param {UnpackOptions} options
 */
export function checkForm(options) {
	const { output, as, tensors, files, precision } = options;
	if (as !== undefined && as !== "f32")
		throw new QstoreError("USAGE", `tensors can be made f32, not ${as}`);
	if (as && !tensors)
		throw new QstoreError("USAGE", "only selected tensors can be made f32, not whole files");
	if (!fileForm(options))
		return;
	if (files)
		throw new QstoreError("USAGE", `${output}: is the name of a file: files beside the tensors need a folder`);
	if (precision === "all")
		throw new QstoreError("USAGE", `${output}: is the name of a file: all precisions need a folder`);
}

/**
 * Plans the outputs that have these tensors.
 * @param {Archive} archive
 * @param {ArchiveTensor[]} tensors in the archive's order
 * @param {UnpackOptions} options
 * @returns {Output[]}
 */
export function planTensorOutputs(archive, tensors, options) {
	const { output, as } = options, form = fileForm(options);
	const made = tensors.map((tensor) => ({ tensor, bytes: archive.tensorBytes(tensor, { as }) }));
	checkNames(archive, tensors);
	/** @param {string} name @param {typeof made[0]} each @returns {Output} */
	const raw = (name, { tensor, bytes }) => ({ name, bytes, tensor });
	if (form === "safetensors")
		return [{ name: basename(output), bytes: archive.safetensors(tensors, { as }) }];
	if (form) {
		if (tensors.length > 1)
			throw new QstoreError("USAGE", `${output}: holds one tensor, and ${tensors.length} are selected`);
		return made.map((each) => form === "bin" ? raw(basename(output), each) :
			{ name: basename(output), bytes: archive.npy(each.tensor, { as }) });
	}
	const others = made.filter(({ bytes }) => !bytes.hasElements);
	const elements = made.flatMap(({ tensor, bytes }) => bytes.hasElements ? [tensor] : []);
	return [
		...(elements.length > 0 || tensors.length === 0 ? [{ name: TENSORS_NAME, bytes: archive.safetensors(elements, { as }) }] : []),
		...others.map((each) => raw(`${each.tensor.name.replace(/[/%]/g, encodeURIComponent)}.bin`, each)),
	];
}

/**
 * Tensors in one file must not have the same name.
 * @param {Archive} archive
 * @param {ArchiveTensor[]} tensors
 */
function checkNames(archive, tensors) {
	/** @type {Map<string, string>} */
	const seen = new Map();
	for (const { name, file } of tensors) {
		const other = seen.get(name);
		if (other !== undefined)
			throw new QstoreError("INPUT", `${archive.name ? `${archive.name}: ` : ""}tensor ${name} is in both ${other} and ${file}: ` +
				"they cannot be in one file");
		seen.set(name, file);
	}
}
