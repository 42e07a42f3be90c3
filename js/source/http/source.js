/**
 * Archives over HTTP. There are only GET requests, each for a range: a HEAD request would cost a round trip, and servers that sign URLs
 * refuse it.
 */

import { link, wait } from "../../util/abort.js";
import { QstoreError } from "../../error.js";
import { Gate } from "./gate.js";
import { hasSecrets, makeSafeFetch } from "./redirect.js";
import { Retry, bodyOf, causeOf, discard, fullLength, retryAfter } from "./response.js";
import { SequentialReader } from "./sequential.js";

/** @typedef {import("../source.js").ReadOptions} ReadOptions */
/** @typedef {import("../source.js").Source} Source */

/** The server answered with a status after which reading cannot go on: 404, for example. */
export class HttpError extends QstoreError {
	/**
	 * @param {string} message
	 * @param {number} status
	 */
	constructor(message, status) {
		super("IO", message);
		this.name = "HttpError";
		this.status = status;
	}
}

/** The file on the server has been replaced since it was opened: its ETag or its size differs. Open it again. */
export class SourceChangedError extends QstoreError {
	/** @param {string} message */
	constructor(message) {
		super("IO", message);
		this.name = "SourceChangedError";
	}
}

/**
 * @typedef {object} HttpOptions
 * @property {(url: string, init: RequestInit) => Promise<Response>} [fetch]
 * @property {Record<string, string>} [headers] are sent with every request, for example authorization. By a redirect to another origin
 *   go only those that are no secrets, such as accept
 * @property {number} [retries] how often a read is tried again without any progress; default 5
 * @property {number} [retryDelay] milliseconds before the first retry; they double each time; default 300
 * @property {number} [bufferLimit] bytes that are kept in memory when the server does not support Range requests; default 256 MiB
 * @property {number} [requests] how many requests are made at a time; default 6, as many as browsers make to one server
 */

/** Milliseconds before a retry, at most. */
const DELAY_MAX = 15_000;

/** @implements {Source} */
export class HttpSource {
	/** @type {(init: RequestInit & { headers: Record<string, string> }) => Promise<Response>} */
	#fetch;
	#retries;
	#retryDelay;
	#bufferLimit;
	/** @type {number | undefined} */
	#size;
	/** @type {string | null} */
	#etag = null;
	/** @type {SequentialReader | undefined} is there when the server does not support Range requests */
	#sequential;
	#closed = new AbortController();
	#gate;
	/** Does a CachedSource keep the bytes? Then the browser's HTTP cache is told not to keep them: nobody would read its copies. */
	kept = false;
	/** May the answers be meant for this caller alone? */
	hasCredentials;

	/**
	 * @param {string | URL | Request} input a Request's headers, credentials, mode and signal are used too
	 * @param {HttpOptions} [options]
	 */
	constructor(input, options = {}) {
		const { fetch = globalThis.fetch, headers: given = {}, retries = 5, retryDelay = 300, bufferLimit = 2 ** 28 } = options;
		const request = typeof input === "object" && "credentials" in input ? input : undefined;
		const place = new URL(request?.url ?? /** @type {string | URL} */ (input), globalThis.location?.href);
		if (place.username || place.password)
			throw new QstoreError("USAGE", `${place.origin}: give the user and password as a header, not in the URL`);
		const { href } = place;
		this.name = href;
		if (place.protocol !== "http:" && place.protocol !== "https:" && !options.fetch)
			throw new QstoreError("USAGE", `${href}: not an http URL`);
		if (request && request.method !== "GET")
			throw new QstoreError("USAGE", `${href}: an archive is read with GET, not ${request.method}`);
		const headers = { ...Object.fromEntries(request?.headers ?? []), ...given };
		// These properties of a Request are good for many requests; its others (a body, integrity) belong to one response.
		const common = request && { credentials: request.credentials, mode: request.mode, referrerPolicy: request.referrerPolicy };
		// Not this.#fetch = fetch: browsers' fetch must not be called as a method.
		const safeFetch = makeSafeFetch((url, init) => fetch(url, init));
		this.#fetch = ({ headers: own, ...init }) => safeFetch(href, { ...common, ...init, headers: { ...headers, ...own } });
		this.hasCredentials = hasSecrets(headers) || request?.credentials === "include";
		if (request)
			link(this.#closed, request.signal);
		this.#gate = new Gate(options.requests ?? 6);
		this.#retries = retries;
		this.#retryDelay = retryDelay;
		this.#bufferLimit = bufferLimit;
	}

	/** The file's size; it is known after the first read, from Content-Range. */
	get byteLength() {
		return this.#size;
	}

	/** The file's ETag, if the server sends one. */
	get etag() {
		return this.#etag ?? undefined;
	}

	get remote() {
		return true;
	}

	/** Is the file read from the start to the end, because the server does not support Range requests? */
	get sequential() {
		return this.#sequential !== undefined;
	}

	/**
	 * Says which file was read before. If the server has another one now, reads fail with a SourceChangedError.
	 * @param {{ byteLength: number | undefined, etag: string | undefined }} known
	 */
	expect({ byteLength, etag }) {
		this.#size = byteLength;
		this.#etag = etag ?? null;
	}

	/**
	 * @param {number} offset
	 * @param {number} length
	 * @param {ReadOptions} [options]
	 * @returns {Promise<Uint8Array>}
	 */
	async read(offset, length, options = {}) {
		const { signal } = options;
		signal?.throwIfAborted();
		const leave = await this.#gate.enter(signal);
		try {
			return await this.#read(offset, length, options);
		} finally {
			leave();
		}
	}

	/**
	 * @param {number} offset
	 * @param {number} length
	 * @param {ReadOptions} options
	 * @returns {Promise<Uint8Array>}
	 */
	async #read(offset, length, { signal, onFetch, reload, retries = this.#retries }) {
		const out = new Uint8Array(this.#clip(offset, length));
		let filled = 0;
		await this.#persist(signal, retries, async () => {
			const before = filled;
			try {
				while (filled < this.#clip(offset, length)) {
					if (this.#sequential) {
						const bytes = await this.#sequential.read(offset + filled, out.length - filled, { signal, onFetch });
						out.set(bytes, filled);
						filled += bytes.length;
						return;
					}
					const left = this.#clip(offset, length) - filled;
					const size = await this.#range(offset + filled, left, { signal, reload }, (bytes) => {
						out.set(bytes, filled);
						filled += bytes.length;
						onFetch?.(bytes.length);
					});
					if (size === 0 && !this.#sequential)
						return; // The file ends here.
				}
			} catch (error) {
				// Bytes have arrived: the next attempt asks only for the rest, and counts as the first one.
				if (error instanceof Retry && filled > before)
					return true;
				throw error;
			}
		});
		return filled === out.length ? out : out.subarray(0, filled);
	}

	/** Ends all requests. */
	close() {
		this.#closed.abort(new QstoreError("CANCELLED", `${this.name}: closed`));
		this.#sequential?.close();
	}

	/**
	 * The length of a range that ends with the file, if the file's size is known.
	 * @param {number} offset
	 * @param {number} length
	 */
	#clip(offset, length) {
		return this.#size === undefined ? length : Math.max(0, Math.min(length, this.#size - offset));
	}

	/**
	 * Makes attempts, with pauses between them, as long as they fail in ways that may pass.
	 * @param {AbortSignal | undefined} signal
	 * @param {number} retries
	 * @param {() => Promise<boolean | void>} attempt resolves to true if it made progress and failed then, so that it is called again
	 */
	async #persist(signal, retries, attempt) {
		for (let failures = 0;;) {
			try {
				if (!await attempt())
					return;
				failures = 1;
				await this.#pause(this.#retryDelay, signal);
			} catch (error) {
				signal?.throwIfAborted();
				this.#closed.signal.throwIfAborted();
				if (!(error instanceof Retry))
					throw error;
				if (failures >= retries) {
					error.error.message += ` (tried ${failures + 1} times)`;
					throw error.error;
				}
				// Half of the delay is random, so that many clients do not come back at the same moment.
				const delay = Math.min(this.#retryDelay * 2 ** failures, DELAY_MAX) * (0.5 + Math.random() / 2);
				await this.#pause(Math.max(delay, error.after), signal);
				failures++;
			}
		}
	}

	/**
	 * Waits, unless the read is aborted or the source closed.
	 * @param {number} milliseconds
	 * @param {AbortSignal | undefined} signal
	 */
	async #pause(milliseconds, signal) {
		const controller = new AbortController(), unlink = link(controller, signal, this.#closed.signal);
		try {
			await wait(milliseconds, controller.signal);
		} finally {
			unlink();
		}
	}

	/**
	 * Makes one request and checks the status and the ETag. The caller takes or drops the body. Throws a Retry for a failure that may pass.
	 * @param {Record<string, string>} headers
	 * @param {AbortSignal} signal
	 * @param {boolean} [reload] bypass the browser's HTTP cache
	 */
	async #request(headers, signal, reload) {
		let response;
		try {
			const cache = this.kept ? "no-store" : reload ? "reload" : undefined;
			response = await this.#fetch({ headers, signal, ...cache && { cache } });
		} catch (error) {
			signal.throwIfAborted();
			if (error instanceof QstoreError)
				throw error;
			throw new Retry(this.#error(`cannot be read: ${causeOf(error)}`, error));
		}
		const { status } = response;
		if (status === 200 || status === 206 || status === 416) {
			const etag = response.headers.get("etag")?.replace(/^W\//, "") ?? null;
			if (this.#etag !== null && etag !== null && etag !== this.#etag) {
				await discard(response);
				throw new SourceChangedError(`${this.name}: changed on the server while it was read ` +
					`(ETag ${this.#etag}, now ${etag}): open it again`);
			}
			this.#etag ??= status === 416 ? null : etag;
			return response;
		}
		await discard(response);
		const text = response.statusText && ` ${response.statusText}`;
		const error = new HttpError(`${this.name}: HTTP status ${status}${text}`, status);
		if (status === 408 || status === 425 || status === 429 || status >= 500)
			throw new Retry(error, retryAfter(response.headers.get("retry-after")));
		throw error;
	}

	/**
	 * Requests a range, and passes on its bytes as they arrive.
	 * @param {number} offset
	 * @param {number} length
	 * @param {ReadOptions} options
	 * @param {(bytes: Uint8Array) => void} take
	 * @returns {Promise<number>} how many bytes were taken; 0 at the file's end, or when there is a sequential reader now
	 */
	async #range(offset, length, { signal, reload }, take) {
		const controller = new AbortController();
		const unlink = link(controller, signal, this.#closed.signal);
		try {
			const range = `bytes=${offset}-${offset + length - 1}`;
			const response = await this.#request({ range }, controller.signal, reload);
			if (response.status === 416)
				return await this.#beyondEnd(response, offset);
			if (response.status === 200) {
				// Another read may have made the sequential reader meanwhile; one of the two bodies is enough.
				if (this.#sequential) {
					controller.abort();
				} else {
					this.#setSize(fullLength(response));
					// The body outlives this read, so that only the controller ends it, and not this read's signal.
					this.#sequential = new SequentialReader(this.name, this.#bufferLimit, { response, controller },
						(again) => this.#reopen(again));
				}
				return 0;
			}
			const expected = this.#checkContentRange(response, offset, length);
			let received = 0;
			try {
				for await (const bytes of bodyOf(response)) {
					if (received + bytes.length > expected)
						throw this.#error(`the server sent more than the ${expected} bytes at ${offset} that it announced`);
					take(bytes);
					received += bytes.length;
				}
			} catch (error) {
				if (error instanceof QstoreError || controller.signal.aborted)
					throw error;
				throw new Retry(this.#error(`the connection broke after ${received} of ${expected} bytes at ${offset}: ` +
					causeOf(error), error));
			}
			// Where Content-Range is hidden, the file may end before `expected` bytes.
			if (received < expected && (received === 0 || response.headers.has("content-range")))
				throw new Retry(this.#error(`the server sent ${received} of the ${expected} bytes at ${offset}: ` +
					"the response was cut off"));
			return received;
		} catch (error) {
			controller.abort();
			throw error;
		} finally {
			unlink();
		}
	}

	/**
	 * Checks that a response with status 206 has the range that was requested: some caches and proxies send other ranges.
	 * @param {Response} response
	 * @param {number} offset
	 * @param {number} length
	 * @returns {number} bytes of the body
	 */
	#checkContentRange(response, offset, length) {
		const text = response.headers.get("content-range");
		// Another origin's server has to expose this header to the page; most do.
		if (text === null && response.type === "cors")
			return length;
		const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text ?? "");
		const [start, end] = [Number(match?.[1]), Number(match?.[2])];
		const total = match && match[3] !== "*" ? Number(match[3]) : undefined;
		if (!match || start !== offset || end < start || end >= offset + length ||
			(total !== undefined && (end >= total || !Number.isSafeInteger(total))))
			throw this.#error(`the server was asked for bytes ${offset}-${offset + length - 1} and answered with ` +
				`${text ? `"${text}"` : "no Content-Range"}: it, or a proxy before it, does not answer Range requests correctly`);
		this.#setSize(total);
		return end - start + 1;
	}

	/**
	 * Takes a response with status 416, which says that the range is behind the file's end.
	 * @param {Response} response
	 * @param {number} offset
	 */
	async #beyondEnd(response, offset) {
		await discard(response);
		const total = Number(/^bytes \*\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1] ?? NaN);
		if (total > offset || (Number.isNaN(total) && this.#size !== undefined))
			throw new HttpError(`${this.name}: HTTP status 416: the server refuses bytes from ${offset} on`, 416);
		this.#setSize(Number.isNaN(total) ? undefined : total);
		return 0;
	}

	/** @param {number | undefined} size */
	#setSize(size) {
		if (size !== undefined && this.#size !== undefined && size !== this.#size)
			throw new SourceChangedError(`${this.name}: changed on the server while it was read ` +
				`(${this.#size} bytes, now ${size}): open it again`);
		this.#size ??= size;
	}

	/**
	 * Requests the whole file again, for the sequential reader whose connection broke.
	 * @param {AbortSignal | undefined} signal
	 */
	async #reopen(signal) {
		const controller = new AbortController();
		const unlink = link(controller, signal, this.#closed.signal);
		try {
			const response = await this.#request({}, controller.signal);
			if (response.status !== 200)
				throw new HttpError(`${this.name}: HTTP status ${response.status} to a request for the whole file`,
					response.status);
			this.#setSize(fullLength(response));
			return { response, controller };
		} catch (error) {
			controller.abort();
			throw error;
		} finally {
			unlink();
		}
	}

	/**
	 * @param {string} text
	 * @param {unknown} [cause]
	 */
	#error(text, cause) {
		return new QstoreError("IO", `${this.name}: ${text}`, { cause });
	}
}

/**
 * A source for a URL.
 * @param {string | URL | Request} input
 * @param {HttpOptions} [options]
 */
export function httpSource(input, options) {
	return new HttpSource(input, options);
}
