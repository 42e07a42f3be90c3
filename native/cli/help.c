/* --help: a tool's table, laid out for 80 columns. */
#include <string.h>

#include "tool.h"

enum { WIDTH = 80, INDENT = 2, GAP = 2, WIDEST_TERM = 24 };

/* The columns of a UTF-8 text: bytes that do not continue a character. */
static int columns(const char *text, int size)
{
	int n = 0;
	for (int i = 0; i < size; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

void cli_wrap(const char *text, int width, void (*print)(void *user, const char *line, int size), void *user)
{
	while (*text != 0) {
		int size = 0, end = (int)strcspn(text, "\n");
		for (;;) {
			int word = size + (size != 0);
			word += (int)strcspn(text + word, " \n");
			if (size != 0 && columns(text, word) > width)
				break;
			size = word;
			if (size >= end)
				break;
		}
		print(user, text, size);
		text += size;
		if (*text == ' ' || *text == '\n')
			text++;
	}
}

void cli_wrap_option(const cli_option *option, int width,
                     void (*print)(void *user, const char *line, int size), void *user)
{
	char text[1024];
	snprintf(text, sizeof(text), "%s%s", option->text, option->repeats ? " (repeatable)" : "");
	cli_wrap(text, width, print, user);
}

/* Lines that begin in one column. */
typedef struct column {
	int indent;
	int started; /* the first line has its indent already */
} column;

static void print_line(void *user, const char *line, int size)
{
	column *at = user;
	printf("%*s%.*s\n", at->started ? 0 : at->indent, "", size, line);
	at->started = 0;
}

/* A term, beside which its text follows in a column, or below it where the term is too wide. */
static column print_term(const char *term, int indent)
{
	column at = {indent, 1};
	int width = columns(term, (int)strlen(term));
	printf("%*s%s", INDENT, "", term);
	if (INDENT + width + GAP > indent) {
		putchar('\n');
		at.started = 0;
	} else {
		printf("%*s", indent - INDENT - width, "");
	}
	return at;
}

/* "  -o, --output FILE" without the indent. */
static void option_term(const cli_option *option, char *text, size_t size)
{
	char letter[8] = "    ";
	if (option->id < 128)
		snprintf(letter, sizeof(letter), "-%c, ", option->id);
	snprintf(text, size, "%s--%s%s%s", letter, option->name, option->value ? " " : "",
	         option->value ? option->value : "");
}

static void print_options(const cli_tool *tool)
{
	char term[64];
	int indent = 0;
	for (const cli_option *option = tool->options; option->name; option++) {
		option_term(option, term, sizeof(term));
		int width = columns(term, (int)strlen(term));
		if (width <= WIDEST_TERM && INDENT + width + GAP > indent)
			indent = INDENT + width + GAP;
	}
	for (const cli_option *option = tool->options; option->name; option++) {
		option_term(option, term, sizeof(term));
		column at = print_term(term, indent);
		cli_wrap_option(option, WIDTH - indent, print_line, &at);
	}
}

static void print_terms(const cli_term *terms)
{
	int indent = 0;
	for (const cli_term *term = terms; term->term; term++) {
		int width = columns(term->term, (int)strlen(term->term));
		if (INDENT + width + GAP > indent)
			indent = INDENT + width + GAP;
	}
	for (const cli_term *term = terms; term->term; term++) {
		column at = print_term(term->term, indent);
		cli_wrap(term->text, WIDTH - indent, print_line, &at);
	}
}

void cli_print_help(const cli_tool *tool)
{
	column left = {0, 0}, below = {2 * INDENT + GAP, 0};
	printf("Usage: %s %s\n\n", tool->name, tool->synopsis);
	cli_wrap(tool->description, WIDTH, print_line, &left);
	puts("\nOptions:");
	print_options(tool);
	if (tool->terms) {
		printf("\n%s:\n", tool->terms_title);
		print_terms(tool->terms);
	}
	puts("\nExit status:");
	print_terms(tool->exit_codes);
	if (tool->exit_text)
		cli_wrap(tool->exit_text, WIDTH, print_line, &left);
	puts("\nExamples:");
	for (const cli_term *example = tool->examples; example->term; example++) {
		printf("%*s%s\n", INDENT, "", example->term);
		cli_wrap(example->text, WIDTH - below.indent, print_line, &below);
	}
}
