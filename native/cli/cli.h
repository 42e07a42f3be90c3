/* The parts that the three tools share. */
#ifndef QSTORE_CLI_H
#define QSTORE_CLI_H

#include <getopt.h>
#include <jansson.h>
#include <qstore.h>
#include <stdio.h>
#include <time.h>

#include "tool.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_DAMAGED = 3 };

/* Options without a letter. */
enum {
	CLI_OPTION_JSON = 256,
	CLI_OPTION_DOCS, /* prints the man page or completions; in no table */
	CLI_OPTION_FIRST /* of a tool's own */
};

/* Results of cli_next_option() that are no option of the tool's own. */
enum { CLI_NO_MORE = -1, CLI_EXIT = -2 };

/* Rows of the options that all tools have. */
/* clang-format off */
#define CLI_THREADS(text) {'j', "threads", "N", NULL, text, CLI_ONCE}
#define CLI_JSON {CLI_OPTION_JSON, "json", NULL, NULL, "print the result as JSON", CLI_ONCE}
#define CLI_COMMON \
	{'q', "quiet", NULL, NULL, "print nothing but errors", CLI_ONCE}, \
	{'h', "help", NULL, NULL, "print this text", CLI_ONCE}, \
	{'V', "version", NULL, NULL, "print the version and the kernels that it has", CLI_ONCE}, \
	{0, NULL, NULL, NULL, NULL, CLI_ONCE}
/* clang-format on */

typedef struct cli_common {
	unsigned threads; /* 0: not given */
	int quiet, json;
	int code; /* the exit status after CLI_EXIT */
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

/* The tool that runs: messages start with its name. The table must stay. */
void cli_start(const cli_tool *tool);

/* "NAME: text", and a hint at --help; returns CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The id of the next option of the tool's own (its value is in optarg), or CLI_NO_MORE. CLI_EXIT: end with
 * common->code, after --help and --version, and when something is wrong, which it has said. The options that
 * all tools have go into *common. */
int cli_next_option(int argc, char **argv, cli_common *common);

/* The one argument behind the options: a path of `what`. NULL when there is none, or more than one, which it
 * has said. */
const char *cli_argument(int argc, char *const *argv, const char *what);

/* "NAME: text" of the error; returns CLI_FAILED. Ends the process by the signal that cancelled the work, if
 * one did. */
int cli_fail(const qstore_error *error);

/* "NAME: ": begins a line on standard error. */
void cli_fail_start(void);

void cli_list_add(cli_list *list, const char *item);
void cli_list_free(cli_list *list);

/* Sets up threads, progress (when standard error is a terminal), warnings on standard error, and cancelling
 * by SIGINT, SIGTERM and SIGHUP. */
void cli_work(qstore_work *work, cli_bar *bar, const cli_common *common);
/* Removes the bar from the terminal. */
void cli_bar_end(cli_bar *bar);

/* "12.3 MB", in 24 bytes. */
typedef struct cli_size {
	char text[24];
} cli_size;
cli_size cli_format_size(uint64_t size);

/* A name with its control characters replaced. */
void cli_print_name(FILE *to, const char *name);

/* The option of tools that read archives: --digest. */
#define CLI_DIGEST(option)                                                                                   \
	{                                                                                                        \
		option, "digest", "SHA256", NULL,                                                                    \
		    "the archive's digest, from whom you trust (qstore-info prints it): all bytes are proved by it", \
		    CLI_ONCE                                                                                         \
	}

/* Gives an archive the digest and the base of the command line; each may be NULL. */
qstore_status cli_trust(qstore_archive *archive, const char *digest, const char *base, qstore_error *error);

/* Prints root, which may be NULL and is freed; CLI_FAILED when it cannot. */
int cli_print_json(json_t *root);

/* Flushes standard output; CLI_FAILED when what was printed could not be written. */
int cli_finish(void);

#endif
