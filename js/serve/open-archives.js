/** Archives that are opened when they are needed, and closed when they have not been needed for a while. */

import { Archive } from "../archive/archive.js";
import { unlessAborted } from "../util/abort.js";

/**
 * An archive, and how to open it.
 * @typedef {object} Opener
 * @property {unknown} archive anything that `open` takes, or an open Archive, which the caller closes
 * @property {() => Promise<Archive>} open
 */

/**
 * An archive that is open, or is being opened.
 * @typedef {object} Entry
 * @property {Promise<Archive>} opened
 * @property {number} users how many use it now
 * @property {boolean} lasting is it kept until all are closed? A source of the caller's that can be closed may not open again
 * @property {ReturnType<typeof setTimeout>} [timer] closes it
 */

/** @typedef {{ archive: Archive, release: () => void }} Loan an archive that stays open until it is released */

/** Keeps a bounded number of archives open beside those in use. */
export class OpenArchives {
	#max;
	#idle;
	/** @type {Map<Opener, Entry>} the least recently used first */
	#entries = new Map();

	/**
	 * @param {number} max archives that are kept open
	 * @param {number} idle milliseconds after its last use at which an archive is closed
	 */
	constructor(max, idle) {
		this.#max = max;
		this.#idle = idle;
	}

	/** How many are open, or are being opened. */
	get size() {
		return this.#entries.size;
	}

	/**
	 * Opens an archive, unless it is open.
	 * @param {Opener} opener
	 * @param {AbortSignal} [signal] ends the waiting; others may wait for the same archive, whose opening goes on
	 * @returns {Promise<Loan>}
	 */
	async borrow(opener, signal) {
		if (opener.archive instanceof Archive)
			return { archive: opener.archive, release: () => {} };
		const { archive } = opener;
		const entry = this.#entries.get(opener) ?? {
			opened: opener.open(), users: 0, lasting: typeof archive === "object" && archive !== null && "close" in archive,
		};
		clearTimeout(entry.timer);
		this.#entries.delete(opener);
		this.#entries.set(opener, entry);
		entry.users++;
		let released = false;
		const release = () => {
			if (!released) {
				released = true;
				this.#release(opener, entry);
			}
		};
		// One that failed is opened anew by the next request.
		entry.opened.catch(() => this.#forget(opener, entry));
		try {
			return { archive: await unlessAborted(entry.opened, signal), release };
		} catch (error) {
			release();
			throw error;
		}
	}

	/**
	 * Makes the next user open an archive anew, since it was replaced where it is.
	 * @param {Opener} opener
	 */
	drop(opener) {
		const entry = this.#entries.get(opener);
		if (!entry)
			return;
		this.#forget(opener, entry);
		if (entry.users === 0)
			void closeEntry(entry);
	}

	/** Closes all archives; those in use are closed by the last of their users. */
	async close() {
		const idle = [...this.#entries.values()].filter(({ users }) => users === 0);
		for (const entry of this.#entries.values())
			clearTimeout(entry.timer);
		this.#entries.clear();
		await Promise.all(idle.map(closeEntry));
	}

	/**
	 * @param {Opener} opener
	 * @param {Entry} entry
	 */
	#release(opener, entry) {
		entry.users--;
		if (entry.users > 0)
			return;
		if (this.#entries.get(opener) !== entry) {
			void closeEntry(entry);
			return;
		}
		if (!entry.lasting) {
			entry.timer = setTimeout(() => this.drop(opener), this.#idle);
			// A process of Node's need not wait for this.
			/** @type {{ unref?: () => void }} */ (entry.timer).unref?.();
		}
		for (const [other, { users, lasting }] of this.#entries) {
			if (this.#entries.size <= this.#max)
				break;
			if (users === 0 && !lasting)
				this.drop(other);
		}
	}

	/**
	 * @param {Opener} opener
	 * @param {Entry} entry
	 */
	#forget(opener, entry) {
		clearTimeout(entry.timer);
		if (this.#entries.get(opener) === entry)
			this.#entries.delete(opener);
	}
}

/**
 * @param {Entry} entry
 * @returns {Promise<void>}
 */
function closeEntry({ opened }) {
	// One that could not be opened, or not be closed, is of no use to anybody any more.
	return opened.then((archive) => archive.close()).catch(() => {});
}
