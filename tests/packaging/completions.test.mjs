// The texts that the tools print about themselves for installing: man pages and completions, as their readers see them.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { native, temporary } from "../js/helpers/tools.mjs";

const sources = readdirSync(new URL("../../native/cli", import.meta.url));
const TOOLS = sources.filter((name) => /^qstore-.*\.c$/.test(name)).map((name) => name.replace(/\.c$/, ""));
const bin = fileURLToPath(new URL("../../build/bin", import.meta.url));

/** Why a test of this program cannot run here; undefined where it can. */
const missing = (program) => spawnSync(program, ["--version"]).error ? `${program} is not installed: scripts/setup --browsers` : undefined;

/** A folder with an archive, a folder and another file, as one finds them beside a tool. */
function desk(t) {
	const folder = temporary(t);
	mkdirSync(join(folder, "my models"));
	for (const name of ["llama.qstore", "notes.txt"])
		writeFileSync(join(folder, name), "");
	return folder;
}

/** The long options in a tool's --help. */
const optionsOf = (tool) => [...native(tool, "--help").matchAll(/^ {2}(?:-\w, | {4})(--[\w-]+)/gm)].map(([, option]) => option);

test("--help fits 80 columns and names every section", () => {
	for (const tool of TOOLS) {
		const help = native(tool, "--help");
		assert.ok(optionsOf(tool).length >= 7, tool);
		for (const title of ["Options:", "Exit status:", "Examples:"])
			assert.ok(help.includes(`\n${title}\n`), `${tool}: ${title}`);
		// Commands and the usage are not broken.
		for (const line of help.split("\n").filter((each) => !each.startsWith("Usage: ") && !each.startsWith(`  ${tool} `)))
			assert.ok([...line].length <= 80, line);
	}
});

for (const [program, args] of [["mandoc", ["-Tlint", "-W", "style"]], ["man", ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]]]) {
	test(`${program} has nothing to say against the man pages`, { skip: program === "man" ? missing(program) : mandocMissing() }, (t) => {
		const folder = temporary(t);
		for (const tool of TOOLS) {
			const path = join(folder, `${tool}.1`);
			writeFileSync(path, native(tool, "--docs", "man"));
			const env = { ...process.env, LC_ALL: "C.UTF-8", MANROFFSEQ: "" };
			const { status, stdout, stderr } = spawnSync(program, [...args, path], { encoding: "utf8", env });
			assert.deepEqual([status, program === "man" ? "" : stdout, stderr], [0, "", ""], tool);
		}
	});
}

/** mandoc has no --version. */
function mandocMissing() {
	return spawnSync("mandoc", ["-h"]).error && "mandoc is not installed: scripts/setup --browsers";
}

test("man pages have all sections, and every option of --help", () => {
	for (const tool of TOOLS) {
		const page = native(tool, "--docs", "man");
		const sections = [...page.matchAll(/^\.SH (.*)$/gm)].map(([, name]) => name);
		for (const name of ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"])
			assert.ok(sections.includes(name), `${tool}: ${name}`);
		const options = [...page.matchAll(/\\fB\\-\\-\\fR\\fB([\w\\-]+)\\fR(?: \\fI\w+\\fR)?$/gm)].map(([, name]) =>
			`--${name.replaceAll("\\", "")}`);
		assert.deepEqual(options, optionsOf(tool));
		for (const other of TOOLS.filter((name) => name !== tool))
			assert.ok(page.includes(`\\fB${other.replace("-", "\\-")}\\fR(1)`), `${tool} sees ${other}`);
	}
});

/** The words that bash offers for a command line whose last word is being written. */
function bash(folder, ...words) {
	const [tool] = words;
	return execFileSync("bash", ["--norc", "-c", `
		source <("$0" --docs bash)
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_${tool.replace("-", "_")}
		printf '%s\\n' "\${COMPREPLY[@]}"
	`, join(bin, tool), ...words], { cwd: folder, encoding: "utf8" }).split("\n").filter(Boolean);
}

test("bash completes options, values, archives and folders", { skip: missing("bash") }, (t) => {
	const folder = desk(t);
	assert.deepEqual(bash(folder, "qstore-pack", "--quan"), ["--quantize"]);
	assert.deepEqual(bash(folder, "qstore-pack", "--quantize", ""), ["llm.int8", "q8_0", "none"]);
	assert.deepEqual(bash(folder, "qstore-pack", "--quantize", "=", "q"), ["q8_0"]);
	assert.deepEqual(bash(folder, "qstore-pack", "m", "-o", "").sort(), ["llama.qstore", "my models"]);
	assert.deepEqual(bash(folder, "qstore-unpack", "").sort(), ["llama.qstore", "my models"]);
	assert.deepEqual(bash(folder, "qstore-unpack", "llama.qstore", "-o", ""), ["my models"]);
	assert.deepEqual(bash(folder, "qstore-unpack", "--file", ""), []);
	assert.deepEqual(bash(folder, "qstore-pack", "n"), ["notes.txt"]);
	assert.deepEqual(bash(folder, "qstore-mount", "").sort(), ["llama.qstore", "my models"]);
	for (const words of [["llama.qstore", ""], ["-p", "int8", "-f", "llama.qstore", ""], ["--precision", "=", "int8", "llama.qstore", "-f", ""]])
		assert.deepEqual(bash(folder, "qstore-mount", ...words), ["my models"], words.join(" "));
	assert.deepEqual(bash(folder, "qstore-mount", "--precision", "int8", "ll"), ["llama.qstore"]);
	assert.deepEqual(bash(folder, "qstore-mount", "llama.qstore", "my models", ""), []);
	for (const tool of TOOLS)
		assert.deepEqual(bash(folder, tool, "--"), optionsOf(tool));
});

/** The words that fish offers, without the descriptions. */
function fish(folder, tool, line) {
	const script = `${join(bin, tool)} --docs fish | source; complete -C '${tool} ${line}'`;
	return execFileSync("fish", ["--no-config", "-c", script], { cwd: folder, encoding: "utf8", env: { ...process.env, HOME: folder } })
		.split("\n").filter(Boolean).map((entry) => entry.split("\t")[0]);
}

test("fish completes options, values, archives and folders", { skip: missing("fish") }, (t) => {
	const folder = desk(t);
	assert.deepEqual(fish(folder, "qstore-pack", "--quan"), ["--quantize"]);
	assert.deepEqual(fish(folder, "qstore-pack", "--quantize "), ["llm.int8", "none", "q8_0"]);
	assert.ok(fish(folder, "qstore-unpack", "").includes("llama.qstore"));
	assert.deepEqual(fish(folder, "qstore-unpack", "llama.qstore -o my"), ["my models/"]);
	assert.ok(fish(folder, "qstore-mount", "-p int8 ").includes("llama.qstore"));
	for (const line of ["llama.qstore ", "-p int8 llama.qstore ", "--precision=int8 llama.qstore -f "])
		assert.deepEqual(fish(folder, "qstore-mount", line), ["my models/"], line);
	assert.deepEqual(fish(folder, "qstore-mount", "llama.qstore here "), []);
	for (const tool of TOOLS)
		assert.deepEqual(fish(folder, tool, "--").sort(), optionsOf(tool).sort());
});

/** The words that zsh lists for lines, on a terminal of its own. */
function zsh(folder, lines) {
	for (const tool of TOOLS)
		writeFileSync(join(folder, `_${tool}`), native(tool, "--docs", "zsh"));
	const script = `
		zmodload zsh/zpty
		zpty shell 'zsh -f -i'
		zpty -w shell "PROMPT=; unsetopt beep; fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u"
		zpty -w shell "LISTMAX=0; bindkey '^L' list-choices; stty columns 200; echo rea''dy"
		zpty -r -m shell heard '*ready*'
		for line in "$@"; do
			zpty -n -w shell "$line"$'\\C-l'
			sleep 0.5
			zpty -n -w shell $'\\C-u'
			zpty -w shell "echo do''ne"
			zpty -r -m shell heard '*done*'
			print -rn -- "$heard"$'\\0'
		done
		zpty -d shell
	`;
	const env = { ...process.env, TERM: "dumb", HOME: folder };
	return execFileSync("zsh", ["-f", "-c", script, "zsh", ...lines], { cwd: folder, encoding: "utf8", timeout: 60_000, env })
		.split("\0");
}

test("zsh completes options, values, archives and folders", { skip: missing("zsh") }, (t) => {
	const [folders, after, values, archives, ...options] = zsh(desk(t), ["qstore-mount llama.qstore ", "qstore-mount -p int8 llama.qstore ",
		"qstore-pack --quantize ", "qstore-unpack ", ...TOOLS.map((tool) => `${tool} --`)]);
	for (const listed of [folders, after])
		assert.ok(/^my\\ models\/\s*$/m.test(listed) && !listed.includes("notes.txt"), listed);
	for (const word of ["llm.int8", "q8_0", "none"])
		assert.ok(values.includes(word), values);
	assert.ok(archives.includes("llama.qstore") && !archives.includes("notes.txt"), archives);
	TOOLS.forEach((tool, i) => optionsOf(tool).forEach((option) =>
		assert.ok(options[i].includes(option), `${tool} ${option}: ${options[i]}`)));
});
