// Made from native/src/core/status.h by scripts/generate-js; do not edit.

/** @typedef {keyof typeof STATUS} StatusName */

/** The numbers that functions of the core return. */
export const STATUS = Object.freeze({
	OK: 0,
	USAGE: 1,
	NOT_QSTORE: 2,
	NEWER: 3,
	TRUNCATED: 4,
	CORRUPT: 5,
	LIMIT: 6,
	MEMORY: 7,
	IO: 8,
	INPUT: 9,
	MISMATCH: 10,
	NOT_FOUND: 11,
	EXISTS: 12,
	CANCELLED: 13,
	OLDER: 14,
	INTEGRITY: 15,
});

/** A sentence for each status. */
export const MESSAGES = Object.freeze({
	OK: "success",
	USAGE: "the caller's arguments make no sense",
	NOT_QSTORE: "not a qstore archive",
	NEWER: "made by a newer qstore than this one can read",
	TRUNCATED: "the data ends too early",
	CORRUPT: "the data is damaged",
	LIMIT: "over a limit of this implementation",
	MEMORY: "out of memory",
	IO: "reading or writing failed",
	INPUT: "a model file is not valid",
	MISMATCH: "the two models do not belong together",
	NOT_FOUND: "no such variant, file or tensor in the archive",
	EXISTS: "the output exists already",
	CANCELLED: "cancelled",
	OLDER: "made by an older qstore, whose layout is no longer read: pack the model again",
	INTEGRITY: "the bytes are not those of the pinned digest",
});
