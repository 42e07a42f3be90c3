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

/* The name of a shell function. */
static void function_name(const char *tool_name)
{
	putchar('_');
	for (; *tool_name != 0; tool_name++)
		putchar(isalnum((unsigned char)*tool_name) ? *tool_name : '_');
}

/* The options that take a value, as they are written, with a text between them. */
static void options_with_value(const cli_tool *tool, const char *between)
{
	const char *before = "";
	for (const cli_option *option = tool->options; option->name; option++) {
		if (!option->value)
			continue;
		if (option->id < 128)
			printf("%s-%c%s--%s", before, option->id, between, option->name);
		else
			printf("%s--%s", before, option->name);
		before = between;
	}
}

/* ---- bash ---- */

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

/* Counts the arguments before the word in $before: neither options nor their values. */
static void bash_count(const cli_tool *tool)
{
	puts("\tlocal i before=0");
	puts("\tfor ((i = 1; i < COMP_CWORD; i++)); do");
	puts("\t\tcase ${COMP_WORDS[i]} in");
	fputs("\t\t", stdout);
	options_with_value(tool, " | ");
	puts(")\n\t\t\t[[ ${COMP_WORDS[i + 1]} != = ]] || ((++i))");
	puts("\t\t\t((++i)) ;;");
	puts("\t\t-*) ;;");
	puts("\t\t*) ((++before)) ;;");
	puts("\t\tesac");
	puts("\tdone");
}

void cli_print_bash(const cli_tool *tool)
{
	printf("# Completion of %s in bash; made by %s --docs bash.\n", tool->name, tool->name);
	function_name(tool->name);
	puts("()\n{");
	puts("\tlocal IFS=$' \\t\\n' word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}");
	puts("\t# Bash takes --option=value for three words.");
	puts("\tif [[ $word == = ]]; then");
	puts("\t\tword=");
	puts("\telif [[ $option == = ]]; then");
	puts("\t\toption=${COMP_WORDS[COMP_CWORD - 2]}");
	puts("\tfi");
	if (tool->second)
		bash_count(tool);
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
	puts(tool->second ? "\t\telif ((before == 0)); then" : "\t\telse");
	fputs("\t\t\t", stdout);
	bash_offer(tool->offers);
	if (tool->second) {
		fputs("\n\t\telif ((before == 1)); then\n\t\t\t", stdout);
		bash_offer(tool->second);
	}
	puts("\n\t\tfi ;;");
	puts("\tesac");
	puts("}");
	fputs("complete -o filenames -F ", stdout);
	function_name(tool->name);
	printf(" %s\n", tool->name);
}

/* ---- zsh ---- */

static const char *zsh_message(const char *offers)
{
	if (offers && strcmp(offers, CLI_ARCHIVE) == 0)
		return "archive";
	return offers && strcmp(offers, CLI_FOLDER) == 0 ? "folder" : "model";
}

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
	zsh_offer(zsh_message(tool->offers), tool->offers);
	if (tool->second) {
		fputs("' \\\n\t'2", stdout);
		zsh_offer(zsh_message(tool->second), tool->second);
	}
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

/* A function that prints how many arguments come before the word: neither options nor their values. */
static void fish_count(const cli_tool *tool)
{
	fputs("function ", stdout);
	function_name(tool->name);
	puts("_before\n\tset -l before 0\n\tset -l value 0\n\tfor word in (commandline -opc)[2..-1]");
	puts("\t\tif test $value = 1\n\t\t\tset value 0\n\t\t\tcontinue\n\t\tend");
	fputs("\t\tswitch $word\n\t\t\tcase ", stdout);
	options_with_value(tool, " ");
	puts("\n\t\t\t\tset value 1\n\t\t\tcase '-*'\n\t\t\tcase '*'");
	puts("\t\t\t\tset before (math $before + 1)\n\t\tend\n\tend\n\techo $before\nend");
}

/* Words for the argument that has `before` others before it. */
static void fish_argument(const cli_tool *tool, const char *offers, int before)
{
	printf("complete -c %s", tool->name);
	if (tool->second) {
		fputs(" -n 'test (", stdout);
		function_name(tool->name);
		printf("_before) = %d'", before);
	}
	fish_offer(offers);
	putchar('\n');
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
	if (tool->second)
		fish_count(tool);
	if (is_file(tool->offers) && strcmp(tool->offers, CLI_ANY_FILE) != 0)
		fish_argument(tool, tool->offers, 0);
	if (tool->second) {
		fish_argument(tool, tool->second, 1);
		fish_argument(tool, NULL, 2);
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
