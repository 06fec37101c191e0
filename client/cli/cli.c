/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "proto/name.h"

static const char intro_text[] = "strait: the command for Strait, a transactional datastore\n"
                                 "\n"
                                 "  strait [OPTIONS] COMMAND [ARGUMENTS]\n"
                                 "\n";

static const char options_text[] =
    "\nOptions, before or after the command:\n"
    "  --endpoint HOST:PORT[,...]  where the servers are (or STRAIT_ENDPOINT, or the profile)\n"
    "  --profile FILE              endpoint and certificates (or STRAIT_PROFILE; else\n"
    "                              ~/.config/strait/profile, which `straitd --dev` writes)\n"
    "  --timeout TIME              the deadline of each call: 500ms, 10s (10s)\n"
    "  --json                      one JSON document instead of text\n"
    "  --quiet                     no progress\n"
    "  --version                   the version, and nothing else\n"
    "  --help                      of a command: `strait put --help`; text in any case\n"
    "\n"
    "Exit status: 0 done, 1 refused (the reason on standard error), 2 usage, and what cannot be a\n"
    "table's or an index's name (no server was asked), 3 unreachable, 4 outcome unknown (the\n"
    "transaction's token on standard error).\n";

/* ---- Help ---- */

static void print_line(const struct command *command)
{
    char name[40];
    snprintf(name, sizeof name, "%s%s%s", command->noun, command->verb != NULL ? " " : "",
             command->verb != NULL ? command->verb : "");
    printf("  %-17s %s\n", name, command->summary);
}

static void print_help(void)
{
    fputs(intro_text, stdout);
    for (const struct command *command = cli_commands; command->noun != NULL; command++)
        print_line(command);
    fputs(options_text, stdout);
}

static void print_usage(FILE *to, const struct command *command)
{
    fprintf(to, "usage: strait %s%s%s %s\n", command->noun, command->verb != NULL ? " " : "",
            command->verb != NULL ? command->verb : "", command->arguments);
}

static void print_command_help(const struct command *command)
{
    print_usage(stdout, command);
    printf("\n%s\n", command->summary);
    if (command->details != NULL)
        printf("\n%s", command->details);
}

/* ---- Errors ---- */

/* As cli_print_bytes() writes it; the caller's. NULL: no memory. */
static char *escape(const char *text)
{
    char *escaped = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&escaped, &size);
    if (memory == NULL)
        return NULL;
    cli_print_bytes(memory, strait_text(text));
    if (fclose(memory) == 0)
        return escaped;
    free(escaped);
    return NULL;
}

/* An argument or a server may have put anything into the text. */
static void print_problem(const char *text)
{
    char *escaped = escape(text);
    fprintf(stderr, "strait: %s\n", escaped != NULL ? escaped : "out of memory");
    free(escaped);
}

/* As it is; but as for people where it is no valid UTF-8, or has control characters: of these JSON
 * leaves some. */
static json_t *json_text(const char *text)
{
    if (cli_is_text(strait_text(text)))
        return json_string(text);
    char *escaped = escape(text);
    json_t *value = json_string(escaped != NULL ? escaped : "out of memory");
    free(escaped);
    return value;
}

static void print_error_json(const char *status, const char *text, const char *token)
{
    json_t *document = json_object();
    json_object_set_new(document, "error", json_string(status));
    json_object_set_new(document, "text", json_text(text));
    if (token != NULL && token[0] != 0)
        json_object_set_new(document, "txn", json_string(token));
    cli_print_json(document);
}

enum cli_exit cli_usage(struct cli *cli, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_problem(text);
    if (cli->command != NULL) {
        print_usage(stderr, cli->command);
        fprintf(stderr, "`strait %s%s%s --help` tells more.\n", cli->command->noun,
                cli->command->verb != NULL ? " " : "",
                cli->command->verb != NULL ? cli->command->verb : "");
    } else {
        fputs("`strait --help` lists the commands.\n", stderr);
    }
    if (cli->json)
        print_error_json("USAGE", text, NULL);
    return CLI_USAGE;
}

static void print_error(struct cli *cli, const char *status, const char *text, const char *token)
{
    print_problem(text);
    if (token != NULL && token[0] != 0)
        fprintf(stderr,
                "strait: the transaction's token is %s; `strait txn status %s` tells what "
                "became of it\n",
                token, token);
    if (cli->json)
        print_error_json(status, text, token);
}

enum cli_exit cli_error(struct cli *cli, const struct strait_error *error)
{
    bool unknown = error->status == STRAIT_OUTCOME_UNKNOWN;
    print_error(cli, strait_status_name(error->status), strait_error_text(error),
                unknown ? error->txn : NULL);
    switch (error->status) {
    case STRAIT_OUTCOME_UNKNOWN:
        return CLI_UNKNOWN;
    case STRAIT_UNREACHABLE:
    case STRAIT_DEADLINE_EXCEEDED:
    case STRAIT_DISCONNECTED:
    case STRAIT_UNAUTHENTICATED:
        return CLI_UNREACHABLE;
    default:
        return CLI_REFUSED;
    }
}

enum cli_exit cli_fail(struct cli *cli, enum cli_exit exit, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_error(cli, exit == CLI_UNREACHABLE ? "UNREACHABLE" : "FAILED", text, NULL);
    return exit;
}

/* ---- The handle ---- */

static enum strait_status set_options(struct cli *cli, strait_options *options,
                                      struct strait_error *error)
{
    enum strait_status status = cli->profile != NULL
                                    ? strait_options_load_profile(options, cli->profile, error)
                                    : strait_options_load_default(options, error);
    if (status == STRAIT_OK && cli->endpoint != NULL) {
        status = strait_options_set_endpoints(options, cli->endpoint);
        if (status != STRAIT_OK)
            snprintf(error->text, sizeof error->text,
                     "--endpoint %.100s: HOST:PORT is needed, or several with commas between",
                     cli->endpoint);
    }
    if (status == STRAIT_OK && cli->timeout_ms != 0)
        status = strait_options_set_timeout_ms(options, cli->timeout_ms);
    if (status == STRAIT_OK)
        status = strait_options_set_client_name(options, "strait/" STRAIT_VERSION_TEXT);
    return status;
}

strait *cli_handle_open(struct cli *cli, enum cli_exit *exit)
{
    struct strait_error error = {0};
    strait *handle = NULL;
    strait_options *options = strait_options_new();
    if (options == NULL) {
        *exit = cli_fail(cli, CLI_REFUSED, "out of memory");
        return NULL;
    }
    enum strait_status status = set_options(cli, options, &error);
    strait_options_set_loop(options, cli->loop);
    if (status == STRAIT_OK)
        status = strait_open(options, &handle, &error);
    strait_options_free(options);
    if (status != STRAIT_OK) {
        error.status = status;
        print_error(cli, strait_status_name(status), strait_error_text(&error), NULL);
        *exit = status == STRAIT_INVALID_ARGUMENT ? CLI_USAGE : CLI_UNREACHABLE;
        return NULL;
    }
    return handle;
}

strait *cli_handle(struct cli *cli, enum cli_exit *exit)
{
    if (cli->handle == NULL)
        cli->handle = cli_handle_open(cli, exit);
    return cli->handle;
}

enum cli_exit cli_commit(struct cli *cli, strait_txn *txn, struct strait_commit_result *result,
                         struct strait_token *token, char confirmed_by[STRAIT_REGION_NAME_SIZE_MAX])
{
    struct strait_error error = {0};
    enum cli_exit exit = CLI_DONE;
    strait *handle = cli_handle(cli, &exit);

    if (handle != NULL && strait_commit(handle, txn, cli->timeout_ms, result, &error) != STRAIT_OK)
        exit = cli_error(cli, &error);
    if (token != NULL)
        strait_txn_position(txn, token);
    if (confirmed_by != NULL)
        snprintf(confirmed_by, STRAIT_REGION_NAME_SIZE_MAX, "%s", strait_txn_confirmed_by(txn));
    strait_txn_free(txn);
    return exit;
}

/* ---- Names ---- */

bool cli_is_name(struct cli *cli, const char *what, const char *name)
{
    if (name_text_is_valid(name))
        return true;
    cli_usage(cli, "`%.80s` cannot be the name of %s: [a-z][a-z0-9_-]*, at most %d bytes", name,
              what, limit_name_size);
    return false;
}

/* ---- Options ---- */

static const struct cli_option *find_option(const struct cli_option *options, const char *name,
                                            size_t name_size)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (strlen(options->name) == name_size && memcmp(options->name, name, name_size) == 0)
            return options;
    }
    return NULL;
}

int cli_options(struct cli *cli, const struct cli_option *options, int count, char **arguments)
{
    int positional = 0;
    for (int i = 0; i < count; i++) {
        char *argument = arguments[i];
        if (strcmp(argument, "--") == 0) {
            while (++i < count)
                arguments[positional++] = arguments[i];
            break;
        }
        if (strncmp(argument, "--", 2) != 0) {
            arguments[positional++] = argument;
            continue;
        }
        const char *equals = strchr(argument, '=');
        size_t size = equals != NULL ? (size_t)(equals - argument - 2) : strlen(argument + 2);
        const struct cli_option *option = find_option(options, argument + 2, size);
        if (option == NULL) {
            cli_usage(cli, "unknown option %s", argument);
            return -1;
        }
        if (option->flag != NULL && equals == NULL) {
            *option->flag = true;
        } else if (option->value != NULL && equals != NULL) {
            *option->value = equals + 1;
        } else if (option->value != NULL && i + 1 < count) {
            *option->value = arguments[++i];
        } else {
            cli_usage(cli, option->flag != NULL ? "%s takes no value" : "%s needs a value",
                      argument);
            return -1;
        }
    }
    return positional;
}

bool cli_arguments(struct cli *cli, const struct cli_option *options, int *count, char **arguments,
                   int least, int most, const char *wanted)
{
    *count = cli_options(cli, options, *count, arguments);
    if (*count < 0)
        return false;
    if (*count >= least && *count <= most)
        return true;
    cli_usage(cli, "%s", wanted);
    return false;
}

/* Takes the global options out, wherever they stand before "--". The rest keeps its order. */
static int take_globals(struct cli *cli, int count, char **arguments, bool *help, bool *version)
{
    const char *timeout = NULL;
    uint64_t timeout_ms;
    const struct cli_option options[] = {
        {"endpoint", &cli->endpoint, NULL}, {"profile", &cli->profile, NULL},
        {"timeout", &timeout, NULL},        {"json", NULL, &cli->json},
        {"quiet", NULL, &cli->quiet},       {"help", NULL, help},
        {"version", NULL, version},         {0},
    };
    int kept = 0;
    for (int i = 0; i < count; i++) {
        char *argument = arguments[i];
        if (strcmp(argument, "--") == 0) {
            while (i < count)
                arguments[kept++] = arguments[i++];
            break;
        }
        size_t size = strncmp(argument, "--", 2) == 0 ? strcspn(argument + 2, "=") : 0;
        const struct cli_option *option =
            size != 0 ? find_option(options, argument + 2, size) : NULL;
        if (option == NULL) {
            arguments[kept++] = argument;
            continue;
        }
        int taken = option->value != NULL && argument[2 + size] != '=' && i + 1 < count ? 2 : 1;
        if (cli_options(cli, options, taken, arguments + i) < 0)
            return -1;
        i += taken - 1;
    }
    if (timeout != NULL) {
        if (!cli_parse_duration(timeout, &timeout_ms) || timeout_ms == 0 || timeout_ms > 3600000) {
            cli_usage(cli, "--timeout %s: a time from 1ms to 60m is needed", timeout);
            return -1;
        }
        cli->timeout_ms = (uint32_t)timeout_ms;
    }
    return kept;
}

/* ---- Running ---- */

static bool is_noun_of_verbs(const char *noun)
{
    for (const struct command *command = cli_commands; command->noun != NULL; command++) {
        if (strcmp(command->noun, noun) == 0)
            return command->verb != NULL;
    }
    return false;
}

/* How each verb of a noun is used. */
static void print_verbs(FILE *to, const char *noun)
{
    fprintf(to, "`strait %s` is followed by one of:\n", noun);
    for (const struct command *command = cli_commands; command->noun != NULL; command++) {
        if (strcmp(command->noun, noun) == 0)
            fprintf(to, "  strait %s %s %s\n", command->noun, command->verb, command->arguments);
    }
}

/* "list, create": the verbs of a noun, cut where they do not fit. */
static void join_verbs(const char *noun, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (const struct command *command = cli_commands; command->noun != NULL; command++) {
        if (strcmp(command->noun, noun) == 0 && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ",
                                     command->verb);
    }
}

/* A noun without a verb of its own after it. */
static void refuse_verb(struct cli *cli, int count, char **arguments)
{
    char verbs[256];
    char text[512];

    join_verbs(arguments[0], verbs, sizeof verbs);
    if (count > 1)
        snprintf(text, sizeof text, "`%s` has no verb `%.64s`; its verbs are %s", arguments[0],
                 arguments[1], verbs);
    else
        snprintf(text, sizeof text, "a verb is missing after `%s`; its verbs are %s", arguments[0],
                 verbs);
    print_problem(text);
    print_verbs(stderr, arguments[0]);
    if (cli->json)
        print_error_json("USAGE", text, NULL);
}

static enum cli_exit print_version(const struct cli *cli)
{
    if (!cli->json) {
        puts("strait " STRAIT_VERSION_TEXT);
        return CLI_DONE;
    }
    json_t *document = json_object();
    json_object_set_new(document, "version", json_string(STRAIT_VERSION_TEXT));
    return cli_print_json(document);
}

static const struct command *find_command(struct cli *cli, int count, char **arguments, int *used)
{
    const struct command *noun = NULL;
    for (const struct command *command = cli_commands; command->noun != NULL; command++) {
        if (strcmp(command->noun, arguments[0]) != 0)
            continue;
        noun = command;
        if (command->verb == NULL) {
            *used = 1;
            return command;
        }
        if (count > 1 && strcmp(command->verb, arguments[1]) == 0) {
            *used = 2;
            return command;
        }
    }
    if (noun == NULL) {
        cli_usage(cli, "there is no command `%s`", arguments[0]);
        return NULL;
    }
    refuse_verb(cli, count, arguments);
    return NULL;
}

enum cli_exit cli_run(struct cli *cli, int count, char **arguments)
{
    bool help = false;
    bool version = false;
    int used = 0;

    cli->command = NULL;
    count = take_globals(cli, count, arguments, &help, &version);
    if (count < 0)
        return CLI_USAGE;
    if (version)
        return print_version(cli);
    if (count == 0 && !help && cli->json)
        return cli_usage(cli, "a command is needed");
    if (count == 0 || strcmp(arguments[0], "help") == 0) {
        print_help();
        return count == 0 && !help ? CLI_USAGE : CLI_DONE;
    }
    /* `strait table --help`: a noun that has verbs, without one. */
    if (help && count == 1 && is_noun_of_verbs(arguments[0])) {
        print_verbs(stdout, arguments[0]);
        return CLI_DONE;
    }
    const struct command *command = find_command(cli, count, arguments, &used);
    if (command == NULL)
        return CLI_USAGE;
    cli->command = command;
    if (help) {
        print_command_help(command);
        return CLI_DONE;
    }
    return command->run(cli, count - used, arguments + used);
}
