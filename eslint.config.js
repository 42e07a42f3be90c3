// The linter's rules for JavaScript: mistakes that types (tsconfig.json) do not find, and lines as long as .editorconfig allows.
import js from "@eslint/js";
import globals from "globals";

const { node, browser, serviceworker, worker } = globals;
const everywhere = { ...globals["shared-node-browser"], ...globals.es2025 };

/** Which globals the files of a folder may use. */
const folder = (files, ...names) => ({ files, languageOptions: { globals: Object.assign({}, everywhere, ...names) } });

export default [
	{ ignores: ["build/", "dist/", "**/node_modules/"] },
	{ files: ["**/*.js", "**/*.mjs", "scripts/check-docs", "scripts/generate-js", "scripts/set-version"], ...js.configs.recommended },
	{
		linterOptions: { reportUnusedDisableDirectives: "error" },
		rules: {
			"eqeqeq": "error",
			"max-len": ["error", { code: 140, tabWidth: 4 }],
			"no-constant-condition": ["error", { checkLoops: false }],
			"no-control-regex": "off", // Names are searched for control characters on purpose.
			"no-empty": ["error", { allowEmptyCatch: true }],
			"no-self-compare": "error",
			"no-throw-literal": "error",
			"no-unused-vars": ["error", { args: "after-used", argsIgnorePattern: "^_", varsIgnorePattern: "^_", ignoreRestSiblings: true }],
			"no-useless-rename": "error",
			"no-var": "error",
			"object-shorthand": "error",
			"prefer-const": ["error", { destructuring: "all" }],
		},
	},
	// scripts/check-source looks at lines that are too long here. A grammar's rule is one line.
	{ files: ["tests/**", "web/model/**"], rules: { "max-len": "off" } },
	folder(["eslint.config.js", "js/node/**", "js/cli.js", "scripts/*", "web/*.mjs", "web/model/**"], node),
	// It hands functions to a page.
	folder(["web/picture.mjs"], node, browser),
	// The library runs in browsers, workers and Node: it looks whether a global is there before it uses one that some of them lack.
	folder(["js/*.js", "js/{archive,decode,format,plan,serve,source,util,wasm}/**"], { location: "readonly", Response: "readonly" }),
	folder(["js/browser/**", "js/adapters/**", "web/*.js", "web/views/**"], browser, worker),
	folder(["web/sw.js"], serviceworker, { importScripts: "readonly" }),
	// Tests run in Node, and hand functions to pages in browsers.
	folder(["tests/**"], node, browser, worker),
];
