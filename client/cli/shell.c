/* SPDX-License-Identifier: Apache-2.0 */
/* `strait shell`: the commands without the program's name, over one connection. With history and
 * completion on a terminal; else lines are read from standard input, and the first that fails ends
 * the shell with its exit status. */
#include <editline/readline.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "client/cli/cli.h"

enum { words_max = 128, history_max = 1000, names_max = 512, path_size = 1024 };

/* Completion has no context argument: the shell that runs. */
static struct cli *shell_cli;
static struct strait_tables *shell_tables;

/* ---- Words ---- */

/* Splits in place at blanks; '...' and "..." hold together, a backslash takes the next letter as it
 * is (but within '...'). -1: a quote is not closed, -2: too many words. */
static int split(char *line, char *words[words_max])
{
    int count = 0;
    char *to = line;
    char quote = 0;
    bool in_word = false;

    for (char *from = line; *from != 0; from++) {
        if (quote == 0 && (*from == ' ' || *from == '\t' || *from == '\n' || *from == '\r')) {
            if (in_word)
                *to++ = 0;
            in_word = false;
            continue;
        }
        if (!in_word) {
            if (count == words_max)
                return -2;
            words[count++] = to;
            in_word = true;
        }
        if (quote == 0 && (*from == '\'' || *from == '"'))
            quote = *from;
        else if (quote != 0 && *from == quote)
            quote = 0;
        else if (*from == '\\' && quote != '\'' && from[1] != 0)
            *to++ = *++from;
        else
            *to++ = *from;
    }
    if (in_word)
        *to = 0;
    return quote != 0 ? -1 : count;
}

/* ---- Completion ---- */

/* Candidates for the word at `start` of `line`: nouns, then verbs, then names of tables. */
static size_t candidates(const char *line, size_t start, const char *names[names_max])
{
    char head[256];
    char *words[words_max];
    size_t count = 0;

    if (start >= sizeof head)
        return 0;
    memcpy(head, line, start);
    head[start] = 0;
    int before = split(head, words);
    if (before < 0)
        return 0;
    for (const struct command *command = cli_commands; command->noun != NULL; command++) {
        if (before == 0 && (count == 0 || strcmp(names[count - 1], command->noun) != 0))
            names[count++] = command->noun;
        if (before == 1 && command->verb != NULL && strcmp(words[0], command->noun) == 0)
            names[count++] = command->verb;
    }
    for (size_t i = 0; before != 0 && count == 0 && shell_tables != NULL && i < shell_tables->count;
         i++) {
        if (count < names_max)
            names[count++] = shell_tables->items[i].name;
        for (size_t k = 0; before > 1 && k < shell_tables->items[i].indexes_count; k++) {
            if (count < names_max)
                names[count++] = shell_tables->items[i].indexes[k].name;
        }
    }
    return count;
}

static void read_tables(void)
{
    struct strait_error error;
    if (shell_tables == NULL && shell_cli->handle != NULL &&
        strait_table_list(shell_cli->handle, 500, &shell_tables, &error) != STRAIT_OK)
        shell_tables = NULL;
}

static char *next_candidate(const char *text, int state)
{
    static const char *names[names_max];
    static size_t count;
    static size_t next;

    if (state == 0) {
        read_tables();
        count = candidates(rl_line_buffer, (size_t)(rl_point - (int)strlen(text)), names);
        next = 0;
    }
    while (next < count) {
        const char *name = names[next++];
        if (strncmp(name, text, strlen(text)) == 0)
            return strdup(name);
    }
    return NULL;
}

static char **complete(const char *text, int start, int end)
{
    (void)start;
    (void)end;
    rl_attempted_completion_over = 1;
    return rl_completion_matches(text, next_candidate);
}

/* ---- Lines ---- */

/* Options that choose the server hold for a whole shell: on a line they would be lost. */
static const char *find_server_option(int count, char *const words[])
{
    static const char *const names[] = {"--endpoint", "--profile"};
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++) {
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            size_t size = strlen(names[k]);
            if (strncmp(words[i], names[k], size) == 0 &&
                (words[i][size] == 0 || words[i][size] == '='))
                return names[k];
        }
    }
    return NULL;
}

/* One line; true in `*over` where the shell is to end. */
static enum cli_exit run_line(struct cli *cli, char *line, bool *over)
{
    char *words[words_max];
    int count = split(line, words);

    *over = false;
    if (count == -1)
        return cli_fail(cli, CLI_USAGE, "a quote is not closed");
    if (count == -2)
        return cli_fail(cli, CLI_USAGE, "more than %d words", words_max);
    if (count == 0 || words[0][0] == '#')
        return CLI_DONE;
    if (strcmp(words[0], "exit") == 0 || strcmp(words[0], "quit") == 0) {
        *over = true;
        return CLI_DONE;
    }
    const char *option = find_server_option(count, words);
    if (option != NULL)
        return cli_fail(cli, CLI_USAGE, "%s belongs to `strait shell` itself, not to a line",
                        option);
    struct cli before = *cli;
    enum cli_exit exit = cli_run(cli, count, words);
    /* A line's own options are gone with it; the handle stays. */
    before.handle = cli->handle;
    *cli = before;
    /* A program at the other end of a pipe waits for this before it writes the next line. */
    if (fflush(stdout) != 0 && exit == CLI_DONE)
        exit = cli_fail(cli, CLI_REFUSED, "standard output cannot be written");
    if (strcmp(words[0], "table") == 0 || strcmp(words[0], "index") == 0) {
        strait_free(shell_tables);
        shell_tables = NULL;
    }
    return exit;
}

static enum cli_exit run_script(struct cli *cli)
{
    enum cli_exit exit = CLI_DONE;
    char *line = NULL;
    size_t size = 0;
    bool over = false;

    while (exit == CLI_DONE && !over && getline(&line, &size, stdin) >= 0)
        exit = run_line(cli, line, &over);
    free(line);
    return exit;
}

/* The history's file, in a folder that only its owner reads: values may be in it. */
static bool history_path(char *path, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int written;

    if (state != NULL && state[0] == '/')
        written = snprintf(path, size, "%s/strait", state);
    else if (home != NULL && home[0] == '/')
        written = snprintf(path, size, "%s/.strait", home);
    else
        return false;
    if (written < 0 || (size_t)written + sizeof "/history" > size ||
        (mkdir(path, 0700) != 0 && errno != EEXIST))
        return false;
    memcpy(path + strlen(path), "/history", sizeof "/history");
    return true;
}

/* ---- On a terminal ---- */

enum { interrupt_key = 3 }; /* Ctrl-C */

static bool line_is_dropped;

/* Ctrl-C is a key like others while a line is edited, and a signal while a command runs. The line
 * editor takes this over from the terminal as it finds it. */
static void set_interrupts(bool are_signals)
{
    static cc_t key;
    static bool has_key;
    struct termios terminal;

    if (tcgetattr(STDIN_FILENO, &terminal) != 0)
        return;
    if (!has_key)
        key = terminal.c_cc[VINTR];
    has_key = true;
    terminal.c_cc[VINTR] = are_signals ? key : _POSIX_VDISABLE;
    /* One that cannot be set leaves Ctrl-C to the terminal, as it was. */
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal);
}

/* Ends the line that is edited; what readline() returns for it is no end of input. */
static int drop_line(int count, int key)
{
    (void)count;
    (void)key;
    line_is_dropped = true;
    rl_done = 1;
    return 0;
}

/* Reads a line into `*line`, which is NULL after Ctrl-C: then nothing is to be done. False: the
 * input is over. */
static bool read_line(char **line)
{
    line_is_dropped = false;
    set_interrupts(false);
    *line = readline("strait> ");
    set_interrupts(true);
    if (!line_is_dropped)
        return *line != NULL;
    free(*line);
    *line = NULL;
    puts("^C");
    return true;
}

/* The history is there also where a signal ends the shell: it is saved, aside and renamed, before
 * each line is run. */
static void keep_line(const char *line, const char *path)
{
    static bool has_failed;
    char aside[path_size + 8];

    add_history(line);
    if (path == NULL || has_failed)
        return;
    snprintf(aside, sizeof aside, "%s.new", path);
    mode_t before = umask(077);
    if (write_history(aside) != 0 || rename(aside, path) != 0) {
        has_failed = true;
        fprintf(stderr, "strait: the history in %s cannot be written\n", path);
    }
    umask(before);
}

static void begin_editing(const char *path)
{
    rl_readline_name = "strait";
    set_interrupts(false);
    rl_initialize();
    using_history();
    stifle_history(history_max);
    if (path != NULL && access(path, R_OK) == 0 && read_history(path) != 0)
        fprintf(stderr, "strait: the history in %s cannot be read\n", path);
    rl_attempted_completion_function = complete;
    rl_add_defun("strait-drop-line", drop_line, interrupt_key);
}

static void run_interactive(struct cli *cli)
{
    char path[path_size];
    bool has_path = history_path(path, sizeof path);
    bool over = false;
    char *line;

    begin_editing(has_path ? path : NULL);
    printf("strait %s; `help` lists the commands, tab completes, `exit` ends.\n",
           STRAIT_VERSION_TEXT);
    while (!over && read_line(&line)) {
        if (line != NULL && line[0] != 0) {
            keep_line(line, has_path ? path : NULL);
            run_line(cli, line, &over);
        }
        free(line);
        fflush(stdout);
    }
    if (!over)
        putchar('\n');
}

enum cli_exit cli_shell(struct cli *cli, int count, char **arguments)
{
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0, "nothing is expected after `shell`"))
        return CLI_USAGE;
    if (cli->in_shell)
        return cli_fail(cli, CLI_USAGE, "this is a shell already");
    if (cli_handle(cli, &exit) == NULL)
        return exit;
    cli->in_shell = true;
    shell_cli = cli;
    if (isatty(STDIN_FILENO))
        run_interactive(cli);
    else
        exit = run_script(cli);
    strait_free(shell_tables);
    shell_tables = NULL;
    cli->in_shell = false;
    return exit;
}
