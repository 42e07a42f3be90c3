#include "json.h"

#include <string.h>

#include "core/index.h"

#define DEPTH_MAX 100 /* of values in values that are skipped */

static int fail(qs_json *json, const char *wrong)
{
	if (!json->wrong)
		json->wrong = wrong;
	return 0;
}

/* The next byte that is not white space; 0 at the end or after an error. */
static uint8_t peek(qs_json *json)
{
	if (json->wrong)
		return 0;
	while (json->at < json->end &&
	       (*json->at == ' ' || *json->at == '\n' || *json->at == '\t' || *json->at == '\r'))
		json->at++;
	return json->at < json->end ? *json->at : 0;
}

int qs_json_open(qs_json *json, char bracket)
{
	if (peek(json) != (uint8_t)bracket)
		return 0;
	json->at++;
	return 1;
}

int qs_json_next(qs_json *json, char closing, size_t *n)
{
	uint8_t next = peek(json);
	if (next == (uint8_t)closing) {
		json->at++;
		return 0;
	}
	if ((*n)++) {
		if (next != ',')
			return fail(json, closing == '}' ? "a comma or '}' is missing" : "a comma or ']' is missing");
		json->at++;
		next = peek(json);
	}
	return next && next != (uint8_t)closing && next != ',' ? 1 : fail(json, "a value is missing");
}

static int hex_digits(const uint8_t *src, uint32_t *value)
{
	*value = 0;
	for (size_t i = 0; i < 4; i++) {
		uint8_t c = src[i];
		uint32_t digit = c >= '0' && c <= '9'   ? c - '0'
		                 : c >= 'a' && c <= 'f' ? c - 'a' + 10
		                 : c >= 'A' && c <= 'F' ? c - 'A' + 10
		                                        : 16;
		if (digit == 16)
			return 0;
		*value = *value << 4 | digit;
	}
	return 1;
}

/* Takes the character of an escape \uXXXX, or of two that are a surrogate pair; `at` is behind the 'u'. */
static int take_unicode(qs_json *json, uint32_t *character)
{
	uint32_t low;
	size_t left = (size_t)(json->end - json->at);
	if (left < 4 || !hex_digits(json->at, character))
		return fail(json, "an escape \\u has no four digits");
	json->at += 4;
	if (!*character)
		return fail(json, "a text has a zero byte (\\u0000) in it");
	if (*character < 0xd800 || *character > 0xdfff)
		return 1;
	if (*character > 0xdbff || left < 10 || json->at[0] != '\\' || json->at[1] != 'u' ||
	    !hex_digits(json->at + 2, &low) || low < 0xdc00 || low > 0xdfff)
		return fail(json, "half of a surrogate pair is alone");
	json->at += 6;
	*character = 0x10000 + ((*character - 0xd800) << 10) + (low - 0xdc00);
	return 1;
}

static char *put_utf8(char *dst, uint32_t c)
{
	if (c < 0x80) {
		*dst++ = (char)c;
		return dst;
	}
	uint32_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	*dst++ = (char)(uint8_t)((0xffu << (7 - more)) | c >> 6 * more);
	while (more--)
		*dst++ = (char)(uint8_t)(0x80 | (c >> 6 * more & 0x3f));
	return dst;
}

static int take_escape(qs_json *json, char **dst)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	if (json->at == json->end)
		return fail(json, "a text is not ended");
	uint8_t c = *json->at;
	const char *found = c ? strchr(names, c) : NULL;
	if (found) {
		json->at++;
		*(*dst)++ = values[found - names];
		return 1;
	}
	if (c != 'u')
		return fail(json, "an escape is unknown");
	json->at++;
	uint32_t character = 0;
	if (!take_unicode(json, &character))
		return 0;
	*dst = put_utf8(*dst, character);
	return 1;
}

int qs_json_string(qs_json *json, qs_arena *arena, char **text)
{
	*text = NULL;
	if (peek(json) != '"')
		return 0;
	const uint8_t *begin = ++json->at, *end = begin;
	while (end < json->end && *end != '"')
		end += *end == '\\' ? 2 : 1;
	if (end >= json->end)
		return fail(json, "a text is not ended");
	/* An escape has at least as many bytes as its character. */
	char *dst = *text = arena ? qs_arena_alloc(arena, (size_t)(end - begin) + 1) : NULL;
	if (!*text) {
		json->is_out_of_memory = 1;
		return fail(json, "out of memory");
	}
	while (json->at < end) {
		if (*json->at < 0x20)
			return fail(json, "a text has a control character in it");
		if (*json->at != '\\') {
			*dst++ = (char)*json->at++;
			continue;
		}
		json->at++;
		if (!take_escape(json, &dst))
			return 0;
	}
	if (!qs_text_is_utf8(*text, (size_t)(dst - *text)))
		return fail(json, "a text is not UTF-8");
	json->at = end + 1;
	return 1;
}

int qs_json_key(qs_json *json, qs_arena *arena, char **text)
{
	if (!qs_json_string(json, arena, text))
		return fail(json, "a name in quotes is missing");
	if (peek(json) != ':')
		return fail(json, "a colon is missing");
	json->at++;
	return 1;
}

static const uint8_t *skip_digits(const qs_json *json, const uint8_t *p)
{
	while (p < json->end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* The end of the number at `at`, NULL when there is none; *is_integer: it has neither a point nor an
 * exponent. */
static const uint8_t *number_end(const qs_json *json, int *is_integer)
{
	const uint8_t *p = json->at, *digits;
	if (p < json->end && *p == '-')
		p++;
	digits = p;
	p = skip_digits(json, p);
	if (p == digits || (*digits == '0' && p > digits + 1))
		return NULL;
	*is_integer = 1;
	if (p < json->end && *p == '.') {
		digits = ++p;
		p = skip_digits(json, p);
		*is_integer = 0;
		if (p == digits)
			return NULL;
	}
	if (p < json->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < json->end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = skip_digits(json, p);
		*is_integer = 0;
		if (p == digits)
			return NULL;
	}
	return p;
}

int qs_json_count(qs_json *json, uint64_t *number)
{
	uint8_t first = peek(json);
	int is_integer = 0;
	*number = 0;
	if (first < '0' || first > '9')
		return 0;
	const uint8_t *end = number_end(json, &is_integer);
	if (!end)
		return fail(json, "a number is malformed");
	for (const uint8_t *p = json->at; is_integer && p < end; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (*number > ((uint64_t)INT64_MAX - digit) / 10)
			return 0;
		*number = *number * 10 + digit;
	}
	if (!is_integer)
		return 0;
	json->at = end;
	return 1;
}

static int take_word(qs_json *json, const char *word)
{
	size_t size = strlen(word);
	if ((size_t)(json->end - json->at) < size || memcmp(json->at, word, size) != 0)
		return 0;
	json->at += size;
	return 1;
}

int qs_json_null(qs_json *json)
{
	return peek(json) == 'n' && take_word(json, "null");
}

static int skip_string(qs_json *json)
{
	qs_arena arena = {0};
	char *text;
	int taken = qs_json_string(json, &arena, &text);
	qs_arena_free(&arena);
	return taken;
}

static int skip_value(qs_json *json, int depth)
{
	uint8_t first = peek(json);
	int is_integer;
	size_t n = 0;
	if (first == '"')
		return skip_string(json);
	if (first == '{' || first == '[') {
		char closing = first == '{' ? '}' : ']';
		if (depth == DEPTH_MAX)
			return fail(json, "values are nested too deep");
		json->at++;
		while (qs_json_next(json, closing, &n)) {
			if (first == '{' && (!skip_string(json) || peek(json) != ':' || !json->at++))
				return fail(json, "a name in quotes, or a colon, is missing");
			if (!skip_value(json, depth + 1))
				return 0;
		}
		return !json->wrong;
	}
	if (first == '-' || (first >= '0' && first <= '9')) {
		const uint8_t *end = number_end(json, &is_integer);
		if (!end)
			return fail(json, "a number is malformed");
		json->at = end;
		return 1;
	}
	if (first && (take_word(json, "null") || take_word(json, "true") || take_word(json, "false")))
		return 1;
	return fail(json, "a value is missing");
}

int qs_json_skip(qs_json *json)
{
	return skip_value(json, 0);
}

int qs_json_end(qs_json *json)
{
	return !peek(json) && !json->wrong && json->at == json->end;
}
