/* SPDX-License-Identifier: Apache-2.0 */
/* The `strait` command: what its subcommands share.
 *
 * A command is a row of a table (commands.c): noun, verb, usage, a function. Each file of commands
 * holds one noun or one job. A command reads its own options with cli_options(), talks to the
 * server through cli_handle(), and prints text, or with --json exactly one JSON document, on
 * standard output. What went wrong goes to standard error, and the exit status says of which kind.
 */
#ifndef CLIENT_CLI_CLI_H
#define CLIENT_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/strait.h"

enum cli_exit {
    CLI_DONE = 0,
    CLI_REFUSED = 1,     /* by the server, for a limit, or what was looked for is not there */
    CLI_USAGE = 2,       /* also what cannot be a name: no server was asked */
    CLI_UNREACHABLE = 3, /* no server, or no profile to find one by */
    CLI_UNKNOWN = 4,     /* outcome unknown; the transaction's token is told */
};

struct cli {
    /* Global options. */
    const char *endpoint;
    const char *profile;
    uint32_t timeout_ms; /* 0: the library's default */
    bool json;
    bool quiet; /* no progress */

    const struct command *command; /* the one that runs */
    strait *handle;                /* opened at first use */
    bool loop;                     /* the command drives its handle from a loop of its own */
    bool in_shell;
};

/* One option of a command: "--name VALUE", or a flag where `value` is NULL. */
struct cli_option {
    const char *name;   /* without the dashes */
    const char **value; /* where its text goes */
    bool *flag;         /* or: set to true */
};

struct command {
    const char *noun;
    const char *verb;      /* NULL: the noun is the command */
    const char *arguments; /* "TABLE KEY [--hex]" */
    const char *summary;   /* one line */
    const char *details;   /* NULL, or lines for its --help */
    enum cli_exit (*run)(struct cli *cli, int count, char **arguments);
};

/* The table, ended by a row whose noun is NULL. */
extern const struct command cli_commands[];

/* Runs one command line, without the program's name. */
enum cli_exit cli_run(struct cli *cli, int count, char **arguments);

/* Separates options from positional arguments, which are moved to the front. Returns how many there
 * are, or -1 after having said what is wrong. "--" ends the options. */
int cli_options(struct cli *cli, const struct cli_option *options, int count, char **arguments);

/* The same, for a command that takes from `least` to `most` positional arguments: false where it
 * was said what is wrong, `wanted` where their number is. */
bool cli_arguments(struct cli *cli, const struct cli_option *options, int *count, char **arguments,
                   int least, int most, const char *wanted);

/* Whether it can be the name of `what`, "a table" or "an index"; false: it was said that it cannot.
 */
bool cli_is_name(struct cli *cli, const char *what, const char *name);

/* Commits and frees the transaction. What failed was said. Once it was done, `token` is where the
 * commit stands in history, and `confirmed_by` the standby that has it too, or ""; either may be
 * NULL. */
enum cli_exit cli_commit(struct cli *cli, strait_txn *txn, struct strait_commit_result *result,
                         struct strait_token *token,
                         char confirmed_by[STRAIT_REGION_NAME_SIZE_MAX]);

/* "--durability region|remote[:REGION]" and "--confirm-within TIME". */
struct cli_durability {
    const char *durability; /* as given; NULL: not */
    const char *within;
    bool is_remote;
    const char *region;  /* NULL: any one */
    uint32_t within_ms;  /* 0: not given */
    uint32_t timeout_ms; /* of the call, with room for the wait; 0: the library's default */
};

/* False: it was said what is wrong. */
bool cli_durability_parse(struct cli *cli, struct cli_durability *durability);

/* Says what is wrong and how the command is used; returns CLI_USAGE. */
enum cli_exit cli_usage(struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The handle, opened from the profile and the global options. NULL: it was said why, and `*exit`
 * is set. */
strait *cli_handle(struct cli *cli, enum cli_exit *exit);

/* Another handle of the same kind, for whoever asks two regions; the caller closes it. */
strait *cli_handle_open(struct cli *cli, enum cli_exit *exit);

/* Says an error of the library's, as text or JSON, and gives its exit status. */
enum cli_exit cli_error(struct cli *cli, const struct strait_error *error);

/* The same for a failure of our own. */
enum cli_exit cli_fail(struct cli *cli, enum cli_exit exit, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prints a document on standard output and gives up its reference; returns CLI_DONE. */
enum cli_exit cli_print_json(json_t *document);

/* A whole number within bounds, or false (nothing is said). */
bool cli_parse_u64(const char *text, uint64_t low, uint64_t high, uint64_t *value);
bool cli_parse_i64(const char *text, int64_t *value);

/* "10s", "5m", "250ms", "2h", "1d"; false where it is none. */
bool cli_parse_duration(const char *text, uint64_t *duration_ms);

/* Bytes as text for people: what is valid, printable UTF-8 stays; all else as \xNN, and a backslash
 * twice. */
void cli_print_bytes(FILE *to, struct strait_bytes bytes);

/* For JSON: under `name` where the bytes are valid UTF-8, else in hex under `name`_hex. */
void cli_json_bytes(json_t *object, const char *name, struct strait_bytes bytes);

/* Whether the bytes are valid UTF-8 without control characters other than tab and newline. */
bool cli_is_text(struct strait_bytes bytes);

/* A record as a JSON object. */
json_t *cli_json_record(const struct strait_record *record);

/* Members of a region, as a JSON array or a table of text; member.c. */
json_t *cli_json_members(const struct strait_member *members, size_t count);
void cli_print_members(const struct strait_member *members, size_t count);

/* "2026-11-21T10:00:00.123Z" of nanoseconds since 1970; `text` of at least 32 bytes. */
void cli_format_time(uint64_t time_ns, char text[32]);

/* ---- The commands, by file ---- */

enum cli_exit cli_get(struct cli *cli, int count, char **arguments); /* data.c */
enum cli_exit cli_put(struct cli *cli, int count, char **arguments);
enum cli_exit cli_del(struct cli *cli, int count, char **arguments);
enum cli_exit cli_add(struct cli *cli, int count, char **arguments);
enum cli_exit cli_scan(struct cli *cli, int count, char **arguments);
enum cli_exit cli_table_create(struct cli *cli, int count, char **arguments); /* schema.c */
enum cli_exit cli_table_drop(struct cli *cli, int count, char **arguments);
enum cli_exit cli_table_list(struct cli *cli, int count, char **arguments);
enum cli_exit cli_index_create(struct cli *cli, int count, char **arguments);
enum cli_exit cli_index_drop(struct cli *cli, int count, char **arguments);
enum cli_exit cli_index_list(struct cli *cli, int count, char **arguments);
enum cli_exit cli_index_scan(struct cli *cli, int count, char **arguments);
enum cli_exit cli_txn_status(struct cli *cli, int count, char **arguments); /* admin.c */
enum cli_exit cli_txn_list(struct cli *cli, int count, char **arguments);
enum cli_exit cli_txn_cancel(struct cli *cli, int count, char **arguments);
enum cli_exit cli_status(struct cli *cli, int count, char **arguments);
enum cli_exit cli_check(struct cli *cli, int count, char **arguments);
enum cli_exit cli_ping(struct cli *cli, int count, char **arguments);
enum cli_exit cli_member_list(struct cli *cli, int count, char **arguments); /* member.c */
enum cli_exit cli_member_add(struct cli *cli, int count, char **arguments);
enum cli_exit cli_member_promote(struct cli *cli, int count, char **arguments);
enum cli_exit cli_member_remove(struct cli *cli, int count, char **arguments);
enum cli_exit cli_member_replace(struct cli *cli, int count, char **arguments);
enum cli_exit cli_leader_transfer(struct cli *cli, int count, char **arguments);
enum cli_exit cli_cluster_upgrade(struct cli *cli, int count, char **arguments);
enum cli_exit cli_region_list(struct cli *cli, int count, char **arguments); /* region.c */
enum cli_exit cli_region_status(struct cli *cli, int count, char **arguments);
enum cli_exit cli_region_add(struct cli *cli, int count, char **arguments);
enum cli_exit cli_region_set(struct cli *cli, int count, char **arguments);
enum cli_exit cli_region_remove(struct cli *cli, int count, char **arguments);
enum cli_exit cli_region_switchover(struct cli *cli, int count, char **arguments);
enum cli_exit cli_region_promote(struct cli *cli, int count, char **arguments);
enum cli_exit cli_region_lost(struct cli *cli, int count, char **arguments);    /* lost.c */
enum cli_exit cli_witness_status(struct cli *cli, int count, char **arguments); /* witness.c */

/* How a region's leases stand, as lines of its status; witness.c. */
struct strait_lease;
void cli_print_lease(const struct strait_lease *lease, bool is_primary_leader);
enum cli_exit cli_load_retail(struct cli *cli, int count, char **arguments); /* load.c */
enum cli_exit cli_bench(struct cli *cli, int count, char **arguments);       /* bench.c */
enum cli_exit cli_shell(struct cli *cli, int count, char **arguments);       /* shell.c */

#endif
