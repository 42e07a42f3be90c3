/* A tool's completions for bash, zsh and fish. */
#include <ctype.h>
#include <string.h>

#include "tool.h"

/* The first clause of an option's text: up to a bracket, a colon or a semicolon. */
static int clause(const char *text)
{
	int size = 0;
	for (; text[size] != 0; size++) {
		if (text[size] == ';' || text[size] == ':' || strncmp(text + size, " (", 2) == 0)
			break;
	}
	return size;
}

/* A text inside single quotes; characters of `escaped` get a backslash. */
static void quoted(const char *text, int size, const char *escaped)
{
	for (int i = 0; i < size; i++) {
		if (text[i] == '\'')
			fputs("'\\''", stdout);
		else if (strchr(escaped, text[i]))
			printf("\\%c", text[i]);
		else
			putchar(text[i]);
	}
}

static int is_file(const char *offers)
{
	return offers && offers[0] == '@';
}

/* ---- bash ---- */

static void bash_function(const char *name)
{
	putchar('_');
	for (; *name != 0; name++)
		putchar(isalnum((unsigned char)*name) ? *name : '_');
}

/* The assignment of all that fits. compgen prints names of files one a line, and they may have spaces; it
 * splits its list of words where IFS says. */
static void bash_offer(const char *offers)
{
	if (!offers)
		fputs("COMPREPLY=()", stdout);
	else if (strcmp(offers, CLI_ANY_FILE) == 0)
		fputs("IFS=$'\\n' COMPREPLY=($(compgen -f -- \"$word\"))", stdout);
	else if (strcmp(offers, CLI_FOLDER) == 0)
		fputs("IFS=$'\\n' COMPREPLY=($(compgen -d -- \"$word\"))", stdout);
	else if (strcmp(offers, CLI_ARCHIVE) == 0)
		fputs("IFS=$'\\n' COMPREPLY=($(compgen -f -X '!*.qstore' -- \"$word\"; compgen -d -- \"$word\"))",
		      stdout);
	else
		printf("COMPREPLY=($(compgen -W '%s' -- \"$word\"))", offers);
}

void cli_print_bash(const cli_tool *tool)
{
	printf("# Completion of %s in bash; made by %s --docs bash.\n", tool->name, tool->name);
	bash_function(tool->name);
	puts("()\n{");
	puts("\tlocal IFS=$' \\t\\n' word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}");
	puts("\t# Bash takes --option=value for three words.");
	puts("\tif [[ $word == = ]]; then");
	puts("\t\tword=");
	puts("\telif [[ $option == = ]]; then");
	puts("\t\toption=${COMP_WORDS[COMP_CWORD - 2]}");
	puts("\tfi");
	puts("\tcase $option in");
	for (const cli_option *option = tool->options; option->name; option++) {
		if (!option->value)
			continue;
		putchar('\t');
		if (option->id < 128)
			printf("-%c | ", option->id);
		printf("--%s) ", option->name);
		bash_offer(option->offers);
		puts(" ;;");
	}
	puts("\t*)");
	puts("\t\tif [[ $word == -* ]]; then");
	fputs("\t\t\tCOMPREPLY=($(compgen -W '", stdout);
	for (const cli_option *option = tool->options; option->name; option++) {
		if (option->id < 128)
			printf("-%c ", option->id);
		printf("--%s%s", option->name, option[1].name ? " " : "");
	}
	puts("' -- \"$word\"))");
	puts("\t\telse");
	fputs("\t\t\t", stdout);
	bash_offer(tool->offers);
	putchar('\n');
	puts("\t\tfi ;;");
	puts("\tesac");
	puts("}");
	fputs("complete -o filenames -F ", stdout);
	bash_function(tool->name);
	printf(" %s\n", tool->name);
}

/* ---- zsh ---- */

/* ":message:action" of _arguments. */
static void zsh_offer(const char *message, const char *offers)
{
	printf(":%s:", message);
	if (!offers)
		return;
	if (strcmp(offers, CLI_ANY_FILE) == 0)
		fputs("_files", stdout);
	else if (strcmp(offers, CLI_FOLDER) == 0)
		fputs("_files -/", stdout);
	else if (strcmp(offers, CLI_ARCHIVE) == 0)
		fputs("_files -g \"*.qstore\"", stdout);
	else
		printf("(%s)", offers);
}

void cli_print_zsh(const cli_tool *tool)
{
	printf("#compdef %s\n# Made by %s --docs zsh.\n_arguments -s -S", tool->name, tool->name);
	for (const cli_option *option = tool->options; option->name; option++) {
		fputs(" \\\n\t'", stdout);
		if (option->repeats)
			putchar('*');
		else if (option->id < 128)
			printf("(-%c --%s)", option->id, option->name);
		if (option->id < 128)
			printf("'{-%c,--%s}'", option->id, option->name);
		else
			printf("--%s", option->name);
		putchar('[');
		quoted(option->text, clause(option->text), "[]");
		putchar(']');
		if (option->value)
			zsh_offer(option->value, option->offers);
		putchar('\'');
	}
	fputs(" \\\n\t'1", stdout);
	zsh_offer(tool->offers && strcmp(tool->offers, CLI_ARCHIVE) == 0 ? "archive" : "model", tool->offers);
	puts("'");
}

/* ---- fish ---- */

/* fish's options that say which words fit. */
static void fish_offer(const char *offers)
{
	if (!offers)
		fputs(" -x", stdout);
	else if (strcmp(offers, CLI_ANY_FILE) == 0)
		fputs(" -r -F", stdout);
	else if (strcmp(offers, CLI_FOLDER) == 0)
		fputs(" -x -a '(__fish_complete_directories)'", stdout);
	else if (strcmp(offers, CLI_ARCHIVE) == 0)
		fputs(" -x -k -a '(__fish_complete_suffix .qstore)'", stdout);
	else
		printf(" -x -a '%s'", offers);
}

void cli_print_fish(const cli_tool *tool)
{
	printf("# Completion of %s in fish; made by %s --docs fish.\n", tool->name, tool->name);
	for (const cli_option *option = tool->options; option->name; option++) {
		printf("complete -c %s", tool->name);
		if (option->id < 128)
			printf(" -s %c", option->id);
		printf(" -l %s", option->name);
		if (option->value)
			fish_offer(option->offers);
		fputs(" -d '", stdout);
		/* In fish's single quotes only quotes and backslashes are escaped. */
		for (int i = 0, size = clause(option->text); i < size; i++)
			printf(strchr("'\\", option->text[i]) ? "\\%c" : "%c", option->text[i]);
		puts("'");
	}
	if (is_file(tool->offers) && strcmp(tool->offers, CLI_ANY_FILE) != 0) {
		printf("complete -c %s", tool->name);
		fish_offer(tool->offers);
		putchar('\n');
	}
}

/* ---- All of them ---- */

int cli_print_docs(const cli_tool *tool, const char *format)
{
	static const struct {
		const char *format;
		void (*print)(const cli_tool *tool);
	} printers[] = {
	    {"man", cli_print_man}, {"bash", cli_print_bash}, {"zsh", cli_print_zsh}, {"fish", cli_print_fish}};
	for (size_t i = 0; i < sizeof(printers) / sizeof(printers[0]); i++) {
		if (strcmp(printers[i].format, format) == 0) {
			printers[i].print(tool);
			return 1;
		}
	}
	return 0;
}
