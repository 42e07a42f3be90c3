#!/usr/bin/env node
/** qstore-decode: the files of one precision out of an archive, from a file or a URL. */

import { createHash } from "node:crypto";
import { readFileSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { QstoreError } from "./error.js";
import { openQstore } from "./node/open.js";
import { PipeSource } from "./node/pipe.js";
import { ProgressBar, formatSize } from "./node/progress.js";
import { repair } from "./node/repair.js";
import { startServer } from "./node/server.js";
import { unpack } from "./node/unpack.js";
import { onAbort } from "./util/abort.js";

const NAME = "qstore-decode";

const HELP = `Usage: ${NAME} FILE.qstore|URL|- [--precision int8|bf16|fp16|low|high|all] [-o DIR|-]
       ${NAME} FILE.qstore|URL --repair COPY
       ${NAME} serve FOLDER|FILE.qstore|URL...      (see ${NAME} serve --help)

Restores a model's files from an archive, byte for byte; checksums of all bytes are checked.
The first part of an archive is enough for the coarse precision; of a URL, and of standard input ("-"), no more is read.

  -p, --precision NAME  which variant: its name, low, high (default), or all: each in DIR/NAME
  -o, --output DIR      folder (default: the archive's name without .qstore, "-" and the precision); "-" writes one file to standard
                        output, and with --tensor a name in .safetensors, .npy or .bin is that of a file
      --file NAME       only this file (repeatable; '*' stands for anything)
      --tensor NAME     only this tensor, into DIR/tensors.safetensors (blocks of GGUF: the bytes, into DIR/NAME.bin; repeatable; '*'
                        likewise)
      --as f32          make these tensors F32: floats of 8 and 16 bits, and most blocks of GGUF; others stay as they are
  -j, --threads N       threads (default: all cores)
      --header "N: V"   send this header with each request (repeatable; for URLs)
      --base OLD        of an archive that was packed with one: the model that it is a difference to (an archive, file, folder or URL)
      --digest SHA256   the archive's digest, from whom you trust (qstore-info prints it): all bytes are proved by it
      --cache DIR       keep what is fetched of a URL there: a finer precision later costs only the refinement
      --cache-key NAME  the archive's name in the cache (default: the URL and the headers), for URLs that change, such as signed ones
      --no-cache        keep nothing, not even until all is there (then nothing goes on where it was interrupted)
      --sha256          compute each file's SHA-256 too, and compare it with the archive's (slower)
      --hidden          restore files with hidden names too (.NAME, .DIR/NAME), which are left out unless --file has the name
  -f, --force           replace existing files
  -k, --keep-going      restore what is whole of a damaged or cut archive: a file that lacks bytes becomes NAME.damaged, with zeros for
                        them, and a line about each range of them
      --repair COPY     mend a damaged or cut copy of the archive, in place: only the bytes that are bad in it are fetched
  -q, --quiet           print nothing but errors
      --json            print the result as JSON
  -h, --help            this text
  -V, --version         the version

What is fetched of a URL is kept until all of it is restored, so that the same command goes on after an interruption.
Exit status: 0 done, 1 failed, 2 wrong usage, 3 with --keep-going: not all could be restored. No file appears before all are complete and
verified; with --keep-going, files that are not whole have names that end in .damaged. On standard output, each part of a file is verified
before it is written.
`;

const SERVE_HELP = `Usage: ${NAME} serve FOLDER|FILE.qstore|URL... [--port N] [--host ADDRESS]

Serves the original files of archives over HTTP, to programs that know nothing of archives. Those of llama.qstore are at
  /llama/PRECISION/FILE           a precision's name, low, or high
  /llama/FILE                     the finest precision
  /llama/resolve/REVISION/FILE    as a hub has them; a revision that is a precision's name chooses it
In a FOLDER, all files named *.qstore are served: FOLDER/me/llama.qstore as /me/llama/. A folder's path, and /, is answered by a list.

      --port N              default 8080; 0: any free one
      --host ADDRESS        default 127.0.0.1, which only this machine reaches; 0.0.0.0 lets all others in
      --allow-origin ORIGIN pages of this origin may read the files ("*": all)
  -j, --threads N           threads (default: all cores)
      --header "N: V"       send this header with each request (repeatable; for URLs)
      --base OLD            of archives that were packed with one: the model that they are a difference to
  -q, --quiet               print nothing but errors
  -h, --help                this text

It prints its address, and serves until it is interrupted (Ctrl-C).
`;

/** Options that mean nothing with --repair. */
const FOR_FILES = /** @type {const} */ ([
	"output", "precision", "file", "tensor", "as", "force", "keep-going", "sha256", "hidden", "cache", "cache-key", "base",
]);

/** Exit codes beside 0. */
const FAILED = 1, USAGE = 2, DAMAGED = 3;

/** Characters that a terminal obeys and does not show: C0, DEL, C1, and those that end lines or change the direction of text. */
const CONTROL = /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const SIGNALS = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);

/** An error of the command line. */
class UsageError extends Error {}

/**
 * Parses options. A fault that Node finds in them is an error of the command line.
 * @template T
 * @param {() => T} parseOptions
 */
function checked(parseOptions) {
	try {
		return parseOptions();
	} catch (error) {
		// Node's message goes on with advice about "--".
		const [message] = /** @type {Error} */ (error).message.split(/[.\n]/);
		throw new UsageError(message.replace(/^./, (c) => c.toLowerCase()));
	}
}

/** @param {string[]} args */
function parse(args) {
	const { values, positionals } = checked(() => parseAll(args));
	if (values.help || values.version)
		return { ...values, archive: "", threads: 1, headers: {} };
	if (positionals.length === 0)
		throw new UsageError("no archive given");
	if (positionals.length > 1)
		throw new UsageError(`one archive at a time, not also ${positionals[1]}`);
	if (values.repair !== undefined) {
		const other = FOR_FILES.find((name) => values[name] !== undefined);
		if (positionals[0] === "-" || other)
			throw new UsageError(`--repair mends a copy, and restores no files: leave ${other ? `--${other}` : "-"} out`);
	}
	if (values.output === "-" && values.json)
		throw new UsageError("--json and -o - are both for standard output");
	if (values.output === "-" && values["keep-going"])
		throw new UsageError("--keep-going is for a folder: what is on standard output has no other name");
	if (values.as !== undefined && !values.tensor)
		throw new UsageError("--as is for tensors: select some with --tensor");
	const threads = threadsOf(values.threads);
	if (values.cache !== undefined && values["no-cache"])
		throw new UsageError("--cache and --no-cache contradict each other");
	if (values["cache-key"] !== undefined && values["no-cache"])
		throw new UsageError("--cache-key and --no-cache contradict each other");
	if (values.cache === "")
		throw new UsageError("--cache needs a folder");
	return { ...values, archive: positionals[0], threads, headers: headersOf(values.header) };
}

/** @param {string | undefined} text */
function threadsOf(text) {
	const threads = text === undefined ? availableParallelism() : Number(text);
	if (!/^\d+$/.test(text ?? "1") || threads < 1 || threads > 1024)
		throw new UsageError(`-j needs a number of threads, not ${text}`);
	return threads;
}

/** @param {string[]} [lines] */
function headersOf(lines = []) {
	/** @type {Record<string, string>} */
	const headers = {};
	for (const header of lines) {
		const match = /^([^\s:]+):\s*(.*)$/.exec(header);
		if (!match)
			throw new UsageError(`--header needs "Name: value", not ${header}`);
		headers[match[1].toLowerCase()] = match[2];
	}
	return headers;
}

/** @param {string[]} args */
function parseAll(args) {
	return parseArgs({
		args,
		allowPositionals: true,
		options: {
			precision: { type: "string", short: "p" },
			output: { type: "string", short: "o" },
			file: { type: "string", multiple: true },
			tensor: { type: "string", multiple: true },
			as: { type: "string" },
			threads: { type: "string", short: "j" },
			header: { type: "string", multiple: true },
			base: { type: "string" },
			digest: { type: "string" },
			cache: { type: "string" },
			"cache-key": { type: "string" },
			"no-cache": { type: "boolean" },
			sha256: { type: "boolean" },
			hidden: { type: "boolean" },
			repair: { type: "string" },
			force: { type: "boolean", short: "f" },
			"keep-going": { type: "boolean", short: "k" },
			quiet: { type: "boolean", short: "q" },
			json: { type: "boolean" },
			help: { type: "boolean", short: "h" },
			version: { type: "boolean", short: "V" },
		},
	});
}

/** @param {string} archive */
function isUrl(archive) {
	return /^https?:\/\//i.test(archive);
}

/**
 * "dir/model.qstore" and "high" give "model-high", in the current folder.
 * @param {string} archive
 * @param {string} precision
 */
function defaultOutput(archive, precision) {
	let path = archive === "-" ? "" : archive;
	if (isUrl(archive)) {
		path = new URL(archive).pathname;
		try {
			path = decodeURIComponent(path);
		} catch {
			// The name as it is written, then.
		}
	}
	const name = (path.split(/[/\\]/).at(-1) ?? "").replace(/[\0-\x1f\x7f:]/g, "_").replace(/(?<=.)\.qstore$/, "");
	return `${/^\.{0,2}$/.test(name) ? "archive" : name}-${precision}`;
}

/**
 * The name of an archive in the cache: another user's headers make another one. They are not written down.
 * @param {string} place
 * @param {Record<string, string>} headers
 * @returns {string | undefined} undefined: the URL
 */
function cacheKey(place, headers) {
	const text = JSON.stringify(Object.entries(headers).sort());
	return text === "[]" ? undefined : `${place} ${createHash("sha256").update(text).digest("hex")}`;
}

/**
 * @param {ReturnType<typeof parse>} options
 * @param {AbortSignal} signal
 * @returns {Promise<number>} the exit code
 */
async function run(options, signal) {
	if (options.repair !== undefined)
		return runRepair(options, options.repair, signal);
	const pipe = options.archive === "-" ? await PipeSource.open(process.stdin) : undefined;
	try {
		return await runOn(options, pipe, signal);
	} finally {
		await pipe?.close();
	}
}

/**
 * @param {ReturnType<typeof parse>} options
 * @param {PipeSource | undefined} pipe the archive, if it is on standard input
 * @param {AbortSignal} signal
 * @returns {Promise<number>} the exit code
 */
async function runOn(options, pipe, signal) {
	const { archive: place, precision = "high", threads, headers, force, quiet, json } = options;
	const bar = new ProgressBar(process.stderr, !quiet && !json);
	const cache = !options["no-cache"] && { folder: options.cache, revalidate: 0, key: options["cache-key"] ?? cacheKey(place, headers) };
	const archive = await openQstore(pipe ?? place, {
		headers, cache, base: options.base, integrity: options.digest, workers: threads > 1 ? threads : false, signal,
	});
	try {
		// A precision that the archive does not have names no folder.
		if (precision !== "all")
			archive.variant(precision);
		await pipe?.fill(precision === "all" ? Infinity : archive.variant(precision).prefixSize);
		const output = options.output ?? defaultOutput(place, precision), toStdout = output === "-";
		const result = await unpack(archive, {
			output, precision, force, files: options.file, tensors: options.tensor, sha256: options.sha256, signal, hidden: options.hidden,
			as: /** @type {"f32" | undefined} */ (options.as), write: toStdout ? printBytes : undefined, keepGoing: options["keep-going"],
			onProgress: (progress) => bar.update(progress),
			onWarning: (text) => {
				bar.end();
				if (!quiet)
					process.stderr.write(`${NAME}: warning: ${line(text)}\n`);
			},
		});
		bar.end();
		if (options.cache === undefined)
			await archive.cache?.clear();
		const { damage = [], damagedFiles = 0 } = result;
		for (const { file, name, offset, size, reason } of json ? [] : damage)
			process.stderr.write(`${NAME}: ${line(file ?? name)}: ` +
				`${line(file ? `${size} bytes from byte ${offset} on are zero` : "nothing of it could be restored")}: ${line(reason)}\n`);
		if (json)
			print(toJson({ output, precision, ...result }));
		else if (!quiet)
			for (const { file, dtype, shape } of result.tensors ?? [])
				(toStdout ? (/** @type {string} */ text) => process.stderr.write(text) : print)(
					`${line(file)}: ${dtype} [${shape.join(", ")}]\n`);
		if (!json && !quiet && !toStdout)
			print(`${line(output)}: ${result.files} file${result.files === 1 ? "" : "s"}, ${formatSize(result.size)}` +
				`${result.fetched > 0 ? `, ${formatSize(result.fetched)} fetched` : ""}` +
				`${damagedFiles > 0 ? `, of which ${damagedFiles} could not be restored as a whole` : ""}\n`);
		return damagedFiles > 0 ? DAMAGED : 0;
	} finally {
		bar.end();
		await archive.close();
	}
}

/**
 * @param {ReturnType<typeof parse>} options
 * @param {string} copy
 * @param {AbortSignal} signal
 * @returns {Promise<number>} the exit code
 */
async function runRepair({ archive: place, headers, digest, quiet, json }, copy, signal) {
	const bar = new ProgressBar(process.stderr, !quiet && !json);
	const archive = await openQstore(place, { headers, cache: false, integrity: digest, workers: false, signal });
	try {
		const { ranges, size } = await repair(archive, copy, { signal, onProgress: (progress) => bar.update(progress) });
		bar.end();
		if (json)
			print(toJson({ repaired: copy, size, ranges }));
		else if (!quiet)
			print(ranges.length === 0 ? `${line(copy)}: is good\n` :
				`${line(copy)}: is good again: ${formatSize(size)} in ${ranges.length} range${ranges.length === 1 ? "" : "s"} replaced\n`);
		return 0;
	} finally {
		bar.end();
		await archive.close();
	}
}

/**
 * Serves archives until the signal aborts.
 * @param {string[]} args
 * @param {AbortSignal} signal
 * @returns {Promise<number>} the exit code
 */
async function runServe(args, signal) {
	const { values, positionals: places } = checked(() => parseArgs({
		args,
		allowPositionals: true,
		options: {
			port: { type: "string" },
			host: { type: "string" },
			"allow-origin": { type: "string" },
			threads: { type: "string", short: "j" },
			header: { type: "string", multiple: true },
			base: { type: "string" },
			quiet: { type: "boolean", short: "q" },
			help: { type: "boolean", short: "h" },
		},
	}));
	if (values.help) {
		print(SERVE_HELP);
		return 0;
	}
	if (places.length === 0)
		throw new UsageError("no archive given");
	const { port = "8080", host = "127.0.0.1", base, quiet } = values;
	if (!/^\d{1,5}$/.test(port) || Number(port) > 65535)
		throw new UsageError(`--port needs a number up to 65535, not ${port}`);
	const server = await startServer({
		places, port: Number(port), host, base, threads: threadsOf(values.threads), requestHeaders: headersOf(values.header),
		allowOrigin: values["allow-origin"],
		onError: (error) => process.stderr.write(`${NAME}: ${line(/** @type {Error} */ (error).message)}\n`),
	});
	if (!quiet)
		print(`${server.url}: ${server.count} archive${server.count === 1 ? "" : "s"}\n`);
	await new Promise((resolve) => onAbort(signal, () => resolve(undefined)));
	await server.close();
	return 0;
}

/**
 * All of a text to standard output, now.
 * @param {string} text
 */
function print(text) {
	printBytes(Buffer.from(text));
}

/** @param {Uint8Array} bytes */
function printBytes(bytes) {
	for (let at = 0; at < bytes.length;) {
		try {
			at += writeSync(1, bytes, at);
		} catch (error) {
			if (/** @type {NodeJS.ErrnoException} */ (error).code === "EAGAIN")
				continue;
			throw new QstoreError("IO", "cannot write to standard output", { cause: error });
		}
	}
}

/** @returns {string} */
function version() {
	return JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
}

/**
 * A value as JSON. Control characters are within its strings, which have escapes for them.
 * @param {unknown} value
 */
function toJson(value) {
	return `${JSON.stringify(value, null, 2).replace(CONTROL, (c) => c === "\n" ? c :
		`\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}

/**
 * A text for one line of a terminal.
 * @param {string} text
 */
function line(text) {
	return text.replace(CONTROL, "?");
}

/**
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
async function main(args) {
	const controller = new AbortController();
	/** @type {NodeJS.Signals | undefined} */
	let caught;
	for (const name of SIGNALS) {
		// Once: a second signal ends the process at once.
		process.once(name, () => {
			caught = name;
			controller.abort(new QstoreError("CANCELLED", "interrupted; nothing was written"));
		});
	}
	try {
		if (args[0] === "serve")
			return await runServe(args.slice(1), controller.signal);
		const options = parse(args);
		if (options.help)
			print(HELP);
		else if (options.version)
			print(`${NAME} ${version()}\n`);
		else
			return await run(options, controller.signal);
		return 0;
	} catch (error) {
		if (error instanceof UsageError) {
			process.stderr.write(`${NAME}: ${line(error.message)} (see ${NAME} --help)\n`);
			return USAGE;
		}
		if (caught && controller.signal.aborted) {
			process.stderr.write(`${NAME}: interrupted; nothing was written\n`);
			// So that a shell sees why it ended.
			process.removeAllListeners(caught);
			process.kill(process.pid, caught);
			await new Promise((resolve) => setTimeout(resolve, 1000));
			return FAILED;
		}
		if (!(error instanceof QstoreError)) {
			process.stderr.write(`${NAME}: internal error: ${/** @type {Error} */ (error)?.stack ?? error}\n`);
			return FAILED;
		}
		process.stderr.write(`${NAME}: ${line(error.message)}\n`);
		return error.code === "USAGE" ? USAGE : FAILED;
	}
}

process.exitCode = await main(process.argv.slice(2));
