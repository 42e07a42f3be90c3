/** Numbers and names as people read them. */

/**
 * Three digits, decimal units: 492 kB, 1.33 MB.
 * @param {number} bytes
 */
export function size(bytes) {
	const units = ["B", "kB", "MB", "GB", "TB"];
	let value = bytes, unit = 0;
	while (value >= 999.5 && unit < units.length - 1) {
		value /= 1000;
		unit++;
	}
	return `${unit === 0 ? value : value.toPrecision(3)}\u00a0${units[unit]}`;
}

/**
 * @param {number} bytes
 * @param {number} milliseconds
 */
export function rate(bytes, milliseconds) {
	return milliseconds > 0 && bytes > 0 ? `${size(bytes / milliseconds * 1000)}/s` : "";
}

/** @param {number} part of 1 */
export function percent(part) {
	return `${Math.round(part * 100)}\u00a0%`;
}

/**
 * @param {number} count
 * @param {string} one
 */
export function plural(count, one, many = `${one}s`) {
	return `${count.toLocaleString("en")}\u00a0${count === 1 ? one : many}`;
}

/**
 * The name that people give a precision: "4 bit" of q4_0, q4f16, int4 and nf4; "16 bit" of bf16 and fp16.
 * @param {{ name: string }} variant
 */
export function precisionName({ name }) {
	// "mlx-4bit" says it by its end, the others by how they begin.
	const [, bits] = /(\d+)bit/.exec(name) ?? /^(?:[a-z]*fp|bf|nf|f|u?int|qint|[it]?q|bnb)(\d+)/.exec(name) ?? [];
	return bits ? `${bits} bit` : name;
}
