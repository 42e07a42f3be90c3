#include "cli.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS_MAX = 40 };

static const cli_tool *cli_running;
static const char *cli_name = "qstore";
static volatile sig_atomic_t cli_signal; /* the signal that cancels the work */

void cli_start(const cli_tool *tool)
{
	cli_running = tool;
	cli_name = tool->name;
}

int cli_usage(const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s: ", cli_name);
	va_start(arguments, format);
	char text[2048];
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	cli_print_name(stderr, text);
	fprintf(stderr, " (see %s --help)\n", cli_name);
	return CLI_USAGE;
}

/* 1 to 1024; 0 when text is something else. */
static unsigned parse_threads(const char *text)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	return errno != 0 || *end != 0 || text[0] < '0' || text[0] > '9' || n > 1024 ? 0 : (unsigned)n;
}

/* Says what is wrong with an option. */
static int bad_option(int result, char *const *argv, const struct option *options)
{
	if (result == ':')
		return cli_usage("%s needs a value", argv[optind - 1]);
	if (optopt == 0)
		return cli_usage("unknown option %s", argv[optind - 1]);
	for (; options->name; options++) {
		if (options->val == optopt)
			return cli_usage("--%s takes no value", options->name);
	}
	/* It may be one of several letters after one dash. */
	return cli_usage("unknown option -%c", optopt);
}

/* The tables that getopt_long wants, made from the tool's. */
static void getopt_tables(struct option *names, char *letters)
{
	struct option *next = names;
	*letters++ = ':'; /* a missing value is told from an unknown option */
	for (const cli_option *option = cli_running->options; option->name; option++) {
		assert(next < names + OPTIONS_MAX - 2);
		*next++ =
		    (struct option){option->name, option->value ? required_argument : no_argument, NULL, option->id};
		if (option->id < 128) {
			*letters++ = (char)option->id;
			if (option->value)
				*letters++ = ':';
		}
	}
	*letters = 0;
	*next++ = (struct option){"docs", required_argument, NULL, CLI_OPTION_DOCS};
	*next = (struct option){0};
}

/* Ends the options with a code. */
static int end_with(cli_common *common, int code)
{
	common->code = code;
	return CLI_EXIT;
}

int cli_next_option(int argc, char **argv, cli_common *common)
{
	struct option names[OPTIONS_MAX];
	char letters[2 * OPTIONS_MAX + 2];
	getopt_tables(names, letters);
	for (;;) {
		int option = getopt_long(argc, argv, letters, names, NULL);
		if (option == -1)
			return CLI_NO_MORE;
		if (option >= CLI_OPTION_FIRST)
			return option;
		switch (option) {
		case 'j':
			common->threads = parse_threads(optarg);
			if (common->threads == 0)
				return end_with(common, cli_usage("-j needs a number of threads, not %s", optarg));
			break;
		case 'q':
			common->quiet = 1;
			break;
		case CLI_OPTION_JSON:
			common->json = 1;
			break;
		case 'h':
			cli_print_help(cli_running);
			return end_with(common, cli_finish());
		case 'V':
			printf("%s %s\nkernels of this build: %s\nkernels that this machine uses: %s\n", cli_name,
			       qstore_version(), qstore_kernels_built(), qstore_kernels_used());
			return end_with(common, cli_finish());
		case CLI_OPTION_DOCS:
			if (!cli_print_docs(cli_running, optarg))
				return end_with(common, cli_usage("--docs is man, bash, zsh or fish, not %s", optarg));
			return end_with(common, cli_finish());
		case ':':
		case '?':
			return end_with(common, bad_option(option, argv, names));
		default:
			return option;
		}
	}
}

const char *cli_argument(int argc, char *const *argv, const char *what)
{
	if (optind == argc)
		cli_usage("no %s given", what);
	else if (optind + 1 < argc)
		cli_usage("one %s at a time, not also %s", what, argv[optind + 1]);
	else
		return argv[optind];
	return NULL;
}

void cli_fail_start(void)
{
	fprintf(stderr, "%s: ", cli_name);
}

int cli_fail(const qstore_error *error)
{
	if (error->status == QSTORE_CANCELLED && cli_signal != 0) {
		fprintf(stderr, "%s: interrupted; nothing was written\n", cli_name);
		/* So that a shell sees why it ended. */
		signal(cli_signal, SIG_DFL);
		raise(cli_signal);
	}
	fprintf(stderr, "%s: %s\n", cli_name,
	        error->text[0] != 0 ? error->text : qstore_status_message(error->status));
	return error->status == QSTORE_USAGE ? CLI_USAGE : CLI_FAILED;
}

void cli_list_add(cli_list *list, const char *item)
{
	const char **larger = realloc(list->items, (list->n_items + 2) * sizeof(*larger));
	if (!larger) {
		fprintf(stderr, "%s: out of memory\n", cli_name);
		exit(CLI_FAILED);
	}
	list->items = larger;
	list->items[list->n_items++] = item;
	list->items[list->n_items] = NULL;
}

void cli_list_free(cli_list *list)
{
	free(list->items);
}

static void on_signal(int number)
{
	cli_signal = number;
}

static double seconds(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_nsec - from->tv_nsec) * 1e-9;
}

static void on_progress(void *user, const qstore_progress *progress)
{
	cli_bar *bar = user;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (bar->phase != progress->phase) {
		bar->phase = progress->phase;
		bar->start = now;
	} else if (seconds(&bar->drawn, &now) < 0.1) {
		return;
	}
	bar->drawn = now;
	char cells[25];
	double elapsed = seconds(&bar->start, &now);
	double part = progress->total == 0 ? 0.0 : (double)progress->done / (double)progress->total;
	int n_cells = (int)sizeof(cells) - 1;
	for (int i = 0; i < n_cells; i++)
		cells[i] = (double)i < part * n_cells ? '#' : '.';
	cells[n_cells] = 0;
	fprintf(stderr, "\r%-10s [%s] %3.0f %%", progress->phase, cells, part * 100.0);
	if (elapsed >= 0.5 && part > 0.0) {
		uint64_t left = (uint64_t)(elapsed / part * (1.0 - part) + 0.5);
		fprintf(stderr, "  %s/s  %llu:%02llu left",
		        cli_format_size((uint64_t)((double)progress->done / elapsed)).text,
		        (unsigned long long)(left / 60), (unsigned long long)(left % 60));
	}
	fputs("\033[K", stderr);
	fflush(stderr);
}

static void on_warning(void *user, const char *text)
{
	cli_bar_end(user);
	fprintf(stderr, "%s: warning: %s\n", cli_name, text);
}

void cli_work(qstore_work *work, cli_bar *bar, const cli_common *common)
{
	struct sigaction action;
	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	/* A second signal ends the process at once. */
	action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	/* A limit on the size of files is an error like a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	work->threads = common->threads;
	work->cancel = &cli_signal;
	work->user = bar;
	memset(bar, 0, sizeof(*bar));
	bar->enabled = !common->quiet && !common->json && isatty(STDERR_FILENO);
	if (bar->enabled)
		work->on_progress = on_progress;
	if (!common->quiet)
		work->on_warning = on_warning;
}

void cli_bar_end(cli_bar *bar)
{
	if (bar->enabled && bar->phase)
		fputs("\r\033[K", stderr);
}

cli_size cli_format_size(uint64_t size)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	cli_size out;
	double value = (double)size;
	size_t unit = 0;
	while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1000.0;
		unit++;
	}
	int digits = unit == 0 ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	snprintf(out.text, sizeof(out.text), "%.*f %s", digits, value, units[unit]);
	return out;
}

/* Returns the bytes of the character that the text begins with, if a terminal would obey it and not show it,
 * and sets its number; else 0: C0, DEL and C1, and those that end lines or change the direction of text. */
static size_t control_size(const char *text, unsigned *number)
{
	const unsigned char *c = (const unsigned char *)text;
	*number = c[0];
	if ((c[0] > 0 && c[0] < 0x20) || c[0] == 0x7f)
		return 1;
	*number = (c[0] & 31u) << 6 | (c[1] & 63u);
	if ((c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) || (c[0] == 0xd8 && c[1] == 0x9c))
		return 2;
	if (c[0] != 0xe2 || (c[1] != 0x80 && c[1] != 0x81))
		return 0;
	*number = 0x2000u | (c[1] & 63u) << 6 | (c[2] & 63u);
	return *number == 0x200e || *number == 0x200f || (*number >= 0x2028 && *number <= 0x202e) ||
	               (*number >= 0x2066 && *number <= 0x2069)
	           ? 3
	           : 0;
}

void cli_print_name(FILE *to, const char *name)
{
	while (*name) {
		unsigned number;
		size_t size = control_size(name, &number);
		fputc(size > 0 ? '?' : *name, to);
		name += size > 0 ? size : 1;
	}
}

qstore_status cli_trust(qstore_archive *archive, const char *digest, const char *base, qstore_error *error)
{
	qstore_status status = digest ? qstore_pin(archive, digest, error) : QSTORE_OK;
	if (!status && base)
		status = qstore_set_base(archive, base, error);
	return status;
}

int cli_print_json(json_t *root)
{
	char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	int failed = !text;
	/* Control characters are within strings, which have escapes for them; line feeds are JSON's own. */
	for (const char *c = text; c && *c;) {
		unsigned number;
		size_t size = *c == '\n' ? 0 : control_size(c, &number);
		if (size > 0)
			printf("\\u%04x", number);
		else
			putchar(*c);
		c += size > 0 ? size : 1;
	}
	putchar('\n');
	free(text);
	json_decref(root);
	return failed ? CLI_FAILED : CLI_OK;
}

int cli_finish(void)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "%s: cannot write to standard output\n", cli_name);
		return CLI_FAILED;
	}
	return CLI_OK;
}
