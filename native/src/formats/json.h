/* JSON (RFC 8259), read from its start to its end without building a tree: for headers that may have 100 MB
 * and a million tensors. Trees of small texts are jansson's.
 *
 * A reader asks for what it expects. A function that finds a value of another type takes nothing and returns
 * 0; one that finds no JSON sets `wrong`, after which all functions return 0. */
#ifndef QS_JSON_H
#define QS_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "os/arena.h"

typedef struct qs_json {
	const uint8_t *start, *at, *end;
	const char *wrong; /* NULL as long as all is well; else what is wrong at byte `at`. Static */
	int is_out_of_memory;
} qs_json;

/* Takes a bracket, '{' or '['. The number of elements, which qs_json_next needs, is 0 then. */
int qs_json_open(qs_json *json, char bracket);

/* True when another element of the innermost object or array follows, the *n-th; else its closing bracket is
 * taken. */
int qs_json_next(qs_json *json, char closing, size_t *n);

/* Takes a string, or a key with its colon, into the arena. */
int qs_json_string(qs_json *json, qs_arena *arena, char **text);
int qs_json_key(qs_json *json, qs_arena *arena, char **text);

/* Takes an integer from 0 to 2^63 - 1. */
int qs_json_count(qs_json *json, uint64_t *number);

int qs_json_null(qs_json *json);

/* Takes a value of any type. */
int qs_json_skip(qs_json *json);

/* True when nothing but white space is left. */
int qs_json_end(qs_json *json);

#endif
