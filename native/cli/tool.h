/* A tool as one table, from which its options are parsed and --help, the man page and the completions are
 * printed. */
#ifndef QSTORE_CLI_TOOL_H
#define QSTORE_CLI_TOOL_H

#include <stddef.h>
#include <stdio.h>

/* `offers` for values that are names of files. */
#define CLI_ANY_FILE "@file"
#define CLI_FOLDER "@folder"
#define CLI_ARCHIVE "@archive"

typedef struct cli_option {
	int id;            /* its letter; of an option without one, a number from CLI_OPTION_FIRST up */
	const char *name;  /* without the dashes */
	const char *value; /* the name that texts give its value; NULL when it takes none */
	const char
	    *offers; /* words for shells to complete: one of the above, or words separated by spaces; or NULL */
	const char *text;                       /* begins with a short clause, which completions show alone */
	enum { CLI_ONCE, CLI_REPEATS } repeats; /* may it be given several times? */
} cli_option;

/* A term and its meaning. Lists end with a term that is NULL. */
typedef struct cli_term {
	const char *term, *text;
} cli_term;

typedef struct cli_tool {
	const char *name;
	const char *summary;  /* for the man page's NAME */
	const char *synopsis; /* the arguments */
	const char *offers;   /* for the argument that is no option, as in cli_option */
	const char *second;   /* the same for a second argument; NULL when there is none */
	/* Paragraphs, with an empty line between them. Each is a line of its own here; they are broken when
	 * printed. */
	const char *description;
	const cli_option *options; /* ends with a name that is NULL */
	const char *terms_title;   /* a list behind the options, or NULL */
	const cli_term *terms;
	const cli_term *exit_codes;
	const char *exit_text; /* NULL, or a sentence that holds for all exit codes */
	const cli_term *examples;
	const char *see_also; /* the other tools' names, separated by spaces */
} cli_tool;

/* Calls print(user, text, size) for each line of a text that is broken at spaces, `width` columns wide at
 * most. */
void cli_wrap(const char *text, int width, void (*print)(void *user, const char *line, int size), void *user);

/* Calls print for the text of an option, with a word about repeating it. */
void cli_wrap_option(const cli_option *option, int width,
                     void (*print)(void *user, const char *line, int size), void *user);

void cli_print_help(const cli_tool *tool);

/* format: "man", "bash", "zsh" or "fish". Returns 0 for any other. */
int cli_print_docs(const cli_tool *tool, const char *format);
void cli_print_man(const cli_tool *tool);
void cli_print_bash(const cli_tool *tool);
void cli_print_zsh(const cli_tool *tool);
void cli_print_fish(const cli_tool *tool);

#endif
