/** A progress bar on a terminal, and sizes as people read them. */

/** Characters of the bar, and milliseconds between two drawings of it. */
const CELLS = 24, INTERVAL = 100;

export class ProgressBar {
	#stream;
	#phase = "";
	#start = 0;
	#drawn = 0;

	/**
	 * @param {import("node:tty").WriteStream} stream if it is not a terminal, nothing is drawn
	 * @param {boolean} enabled
	 */
	constructor(stream, enabled) {
		this.#stream = enabled && stream.isTTY ? stream : undefined;
	}

	/** @param {{ phase: string, done: number, total: number }} progress in bytes */
	update({ phase, done, total }) {
		const now = performance.now();
		if (phase !== this.#phase) {
			this.#phase = phase;
			this.#start = now;
		} else if (now - this.#drawn < INTERVAL) {
			return;
		}
		this.#drawn = now;
		const fraction = total === 0 ? 0 : done / total, seconds = (now - this.#start) / 1000;
		const cells = Math.ceil(fraction * CELLS), percent = String(Math.round(fraction * 100)).padStart(3);
		let text = `${phase.padEnd(10)} [${"#".repeat(cells)}${".".repeat(CELLS - cells)}] ${percent} %`;
		if (seconds >= 0.5 && fraction > 0) {
			const left = Math.round(seconds / fraction * (1 - fraction));
			const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
			text += `  ${formatSize(done / seconds)}/s  ${time} left`;
		}
		this.#stream?.write(`\r${text}\x1b[K`);
	}

	/** Removes the bar from the terminal. */
	end() {
		if (this.#phase !== "")
			this.#stream?.write("\r\x1b[K");
		this.#phase = "";
	}
}

/**
 * A size with three digits: "12.3 MB".
 * @param {number} size
 */
export function formatSize(size) {
	const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
	let unit = 0, value = size;
	for (; value >= 999.5 && unit + 1 < units.length; unit++)
		value /= 1000;
	return `${value.toFixed(unit === 0 ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${units[unit]}`;
}
