/* What the three tools share. */
#ifndef QSTORE_CLI_H
#define QSTORE_CLI_H

#include <getopt.h>
#include <jansson.h>
#include <qstore.h>
#include <stdio.h>
#include <time.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Options without a letter. */
enum {
	CLI_OPTION_JSON = 256,
	CLI_OPTION_FIRST /* of a tool's own */
};

/* The options that all tools have: letters and the end of the table for getopt_long. */
#define CLI_LETTERS "j:qhV"
/* clang-format off */
#define CLI_OPTIONS \
	{"threads", required_argument, NULL, 'j'}, \
	{"quiet", no_argument, NULL, 'q'}, \
	{"json", no_argument, NULL, CLI_OPTION_JSON}, \
	{"help", no_argument, NULL, 'h'}, \
	{"version", no_argument, NULL, 'V'}, \
	{NULL, 0, NULL, 0}
/* clang-format on */

typedef struct cli_common {
	unsigned threads; /* 0: not given */
	int quiet, json;
} cli_common;

typedef struct cli_bar {
	int enabled;
	const char *phase;
	struct timespec start, drawn;
} cli_bar;

/* A list of strings, NULL-terminated; NULL while it is empty. */
typedef struct cli_list {
	const char **items;
	size_t n_items;
} cli_list;

/* Messages start with this. */
void cli_set_name(const char *name);

/* "NAME: text", and a hint at --help; returns CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One of the options above, or ':' or '?' from getopt_long (letters start with ':'). Returns -1 to go on, or
 * the code to end with: after --help and --version, and when something is wrong, which it has said. */
int cli_option(int option, char *const *argv, const struct option *options, const char *help,
               cli_common *common);

/* The one argument behind the options: a path of `what`. NULL when there is none, or more than one, which it
 * has said. */
const char *cli_argument(int argc, char *const *argv, const char *what);

/* "NAME: text" of the error; returns CLI_FAILED. Ends the process by the signal that cancelled the work, if
 * one did. */
int cli_fail(const qstore_error *error);

void cli_list_add(cli_list *list, const char *item);
void cli_list_free(cli_list *list);

/* Sets up progress (when enabled and standard error is a terminal) and cancelling by SIGINT, SIGTERM and
 * SIGHUP. */
void cli_work(qstore_work *work, cli_bar *bar, int enabled);
/* Removes the bar from the terminal. */
void cli_bar_end(cli_bar *bar);

/* "12.3 MB", in 24 bytes. */
typedef struct cli_size {
	char text[24];
} cli_size;
cli_size cli_format_size(uint64_t size);

/* A name with its control characters replaced. */
void cli_print_name(FILE *to, const char *name);

/* Prints root, which may be NULL and is freed; CLI_FAILED when it cannot. */
int cli_print_json(json_t *root);

/* Flushes standard output; CLI_FAILED when what was printed could not be written. */
int cli_finish(void);

#endif
