/* A tool's man page, in the macros of man(7). */
#include <ctype.h>
#include <qstore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

/* The length of a line of text. Markup is added to it, and mandoc wants the source's lines below 80 bytes. */
enum { WIDTH = 56 };

/* One character of a UTF-8 text as roff has it; returns its bytes. Dashes that a reader may copy are minus
 * signs in roff's words. */
static int put(const char *text, int literal)
{
	unsigned char first = (unsigned char)*text;
	if (first >= 0xc0) {
		int size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
		unsigned code = first & (0x7fu >> size);
		for (int i = 1; i < size; i++)
			code = code << 6 | ((unsigned char)text[i] & 0x3fu);
		printf("\\[u%04X]", code);
		return size;
	}
	if (first == '\\')
		fputs("\\e", stdout);
	else if (first == '-' && literal)
		fputs("\\-", stdout);
	else if (first == '\'' && literal)
		fputs("\\(aq", stdout);
	else
		putchar(first);
	return 1;
}

/* A word of a line: options are bold, and where names is set names of values (all capitals) are in italics.
 */
static void put_word(const char *word, int size, int names)
{
	int from = 0, end = size, capitals = 0;
	while (from < end && strchr("[(|", word[from]))
		from++;
	int option = from < end && word[from] == '-' && from + 1 < end;
	while (end > from && (unsigned char)word[end - 1] < 0x80 && strchr("])|,;:.", word[end - 1]))
		end--;
	if (option) {
		/* "-o" of "[-o]…" */
		for (int i = from; i < end; i++) {
			if (word[i] != '-' && !isalnum((unsigned char)word[i]))
				end = i;
		}
	}
	for (int i = from; i < end && isupper((unsigned char)word[i]); i++)
		capitals++;
	int italic = names && !option && capitals > 1;
	for (int i = 0; i < size;) {
		if (i == from && (option || italic))
			fputs(option ? "\\fB" : "\\fI", stdout);
		i += put(word + i, option || names);
		if (i == end && (option || italic))
			fputs("\\fR", stdout);
	}
}

static void put_words(const char *text, int size, int names)
{
	for (int i = 0; i < size;) {
		int word = (int)strcspn(text + i, " ");
		if (word > size - i)
			word = size - i;
		put_word(text + i, word, names);
		i += word;
		for (; i < size && text[i] == ' '; i++)
			putchar(' ');
	}
}

static void print_line(void *user, const char *line, int size)
{
	(void)user;
	if (size == 0) {
		puts(".PP");
		return;
	}
	/* A dot or a quote would begin a macro. */
	if (*line == '.' || *line == '\'')
		fputs("\\&", stdout);
	put_words(line, size, 0);
	putchar('\n');
}

static void paragraphs(const char *text)
{
	cli_wrap(text, WIDTH, print_line, NULL);
}

static void bold(const char *text)
{
	fputs("\\fB", stdout);
	while (*text != 0)
		text += put(text, 1);
	fputs("\\fR", stdout);
}

static void print_terms(const cli_term *terms)
{
	for (; terms->term; terms++) {
		puts(".TP");
		bold(terms->term);
		putchar('\n');
		paragraphs(terms->text);
	}
}

static void print_options(const cli_tool *tool)
{
	for (const cli_option *option = tool->options; option->name; option++) {
		puts(".TP");
		if (option->id < 128)
			printf("\\fB\\-%c\\fR, ", option->id);
		fputs("\\fB\\-\\-\\fR", stdout);
		bold(option->name);
		if (option->value)
			printf(" \\fI%s\\fR", option->value);
		putchar('\n');
		cli_wrap_option(option, WIDTH, print_line, NULL);
	}
}

static void upper(const char *text)
{
	for (; *text != 0; text++)
		putchar(toupper((unsigned char)*text));
}

/* The day of the build: SOURCE_DATE_EPOCH where a builder sets it, so that builds can be repeated. */
static void print_date(void)
{
	const char *given = getenv("SOURCE_DATE_EPOCH");
	time_t now = given ? (time_t)strtoll(given, NULL, 10) : time(NULL);
	struct tm day;
	char text[16] = "";
	if (gmtime_r(&now, &day))
		strftime(text, sizeof(text), "%Y-%m-%d", &day);
	fputs(text, stdout);
}

void cli_print_man(const cli_tool *tool)
{
	printf(".\\\" Made by %s --docs man.\n.TH ", tool->name);
	upper(tool->name);
	fputs(" 1 \"", stdout);
	print_date();
	printf("\" \"qstore %s\" \"User Commands\"\n.SH NAME\n", qstore_version());
	for (const char *at = tool->name; *at != 0;)
		at += put(at, 1);
	printf(" \\- ");
	put_words(tool->summary, (int)strlen(tool->summary), 0);
	printf("\n.SH SYNOPSIS\n");
	bold(tool->name);
	putchar(' ');
	put_words(tool->synopsis, (int)strlen(tool->synopsis), 1);
	puts("\n.SH DESCRIPTION");
	paragraphs(tool->description);
	puts(".SH OPTIONS");
	print_options(tool);
	if (tool->terms) {
		fputs(".SH ", stdout);
		upper(tool->terms_title);
		putchar('\n');
		print_terms(tool->terms);
	}
	puts(".SH EXIT STATUS");
	print_terms(tool->exit_codes);
	if (tool->exit_text) {
		puts(".PP");
		paragraphs(tool->exit_text);
	}
	puts(".SH EXAMPLES");
	print_terms(tool->examples);
	puts(".SH SEE ALSO");
	for (const char *at = tool->see_also; *at != 0;) {
		int size = (int)strcspn(at, " ");
		fputs("\\fB", stdout);
		for (int i = 0; i < size;)
			i += put(at + i, 1);
		at += size;
		printf("\\fR(1)%s\n", *at == ' ' ? "," : "");
		at += *at == ' ';
	}
}
