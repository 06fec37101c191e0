/* SPDX-License-Identifier: Apache-2.0 */
/* Records: get, put, del, add, scan. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/range.h"
#include "client/cli/reads.h"

enum { value_size_max = 1024 * 1024, indexes_max = 16 };

/* A key argument: its text, or with --hex the bytes that it spells. False: it was said why. */
static bool key_of(struct cli *cli, char *text, bool hex, struct strait_bytes *key)
{
    *key = strait_text(text);
    if (hex && !cli_decode_hex(text, key)) {
        cli_usage(cli, "`%s` is not hexadecimal", text);
        return false;
    }
    return true;
}

/* Gives `records` up. */
static enum cli_exit print_value(struct cli *cli, struct strait_records *records, bool raw)
{
    enum cli_exit exit = CLI_DONE;
    if (cli->json) {
        exit = cli_print_json(cli_json_record(&records->items[0]));
    } else if (raw) {
        fwrite(records->items[0].value.data, 1, records->items[0].value.size, stdout);
    } else {
        cli_print_bytes(stdout, records->items[0].value);
        putchar('\n');
    }
    strait_free(records);
    return exit;
}

/* From any member whose state is new enough. */
static enum cli_exit get_with(struct cli *cli, strait *handle, const struct cli_reads *reads,
                              const char *table, struct strait_bytes key, bool raw)
{
    const struct strait_key asked = {.table = table, .key = key};
    struct strait_records *records = NULL;
    struct strait_error error;

    if (strait_get_with(handle, &reads->options, &asked, 1, cli->timeout_ms, &records, &error) !=
        STRAIT_OK)
        return cli_error(cli, &error);
    if (!records->items[0].found) {
        strait_free(records);
        error = (struct strait_error){.status = STRAIT_NOT_FOUND};
        snprintf(error.text, sizeof error.text, "There is no such record in '%.64s'.", table);
        return cli_error(cli, &error);
    }
    return print_value(cli, records, raw);
}

enum cli_exit cli_get(struct cli *cli, int count, char **arguments)
{
    bool raw = false;
    bool hex = false;
    struct cli_reads reads = {0};
    const struct cli_option options[] = {{"raw", NULL, &raw},
                                         {"hex", NULL, &hex},
                                         {"at-least", &reads.at_least, NULL},
                                         {"max-staleness", &reads.max_staleness, NULL},
                                         {0}};
    struct strait_records *records = NULL;
    struct strait_error error;
    struct strait_bytes key;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, options, &count, arguments, 2, 2, "a table and a key are needed"))
        return CLI_USAGE;
    if (!cli_is_name(cli, "a table", arguments[0]) || !key_of(cli, arguments[1], hex, &key) ||
        !cli_reads_parse(cli, &reads))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (reads.given)
        return get_with(cli, handle, &reads, arguments[0], key, raw);
    if (strait_get(handle, NULL, arguments[0], key, cli->timeout_ms, &records, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    return print_value(cli, records, raw);
}

/* ---- Writes ---- */

enum { timeout_default_ms = 10000, confirm_max_ms = 60000 };

bool cli_durability_parse(struct cli *cli, struct cli_durability *durability)
{
    const char *given = durability->durability;
    uint64_t within_ms = 0;

    durability->timeout_ms = cli->timeout_ms;
    if (given != NULL && strncmp(given, "remote", 6) == 0 && (given[6] == 0 || given[6] == ':')) {
        durability->is_remote = true;
        durability->region = given[6] == ':' ? given + 7 : NULL;
    } else if (given != NULL && strcmp(given, "region") != 0) {
        cli_usage(cli, "--durability %s: region, remote or remote:REGION is needed", given);
        return false;
    }
    if (durability->within == NULL)
        return true;
    if (!durability->is_remote) {
        cli_usage(cli, "--confirm-within needs --durability remote");
        return false;
    }
    if (!cli_parse_duration(durability->within, &within_ms) || within_ms == 0 ||
        within_ms > confirm_max_ms) {
        cli_usage(cli, "--confirm-within %s: a time of at most 60s is needed", durability->within);
        return false;
    }
    durability->within_ms = (uint32_t)within_ms;
    if (cli->timeout_ms == 0)
        durability->timeout_ms = timeout_default_ms + durability->within_ms;
    if (durability->timeout_ms <= durability->within_ms) {
        cli_usage(cli, "--timeout has to be longer than --confirm-within");
        return false;
    }
    return true;
}

static void print_written(const char *done, const struct strait_commit_result *result,
                          const struct cli_durability *durability, const char *confirmed_by)
{
    printf("%s (version %" PRIu64, done, result->version);
    if (result->confirmed) {
        printf(", confirmed by ");
        cli_print_bytes(stdout, strait_text(confirmed_by));
    }
    printf(")\n");
    if (durability->is_remote && !result->confirmed)
        fprintf(stderr,
                "strait: committed in the primary region; no confirmation came from %s yet: "
                "`strait txn status %s --durability %s` asks again\n",
                durability->region != NULL ? "the standby" : "any standby", result->txn,
                durability->durability);
}

/* Commits, says so, and frees the transaction. */
static enum cli_exit commit(struct cli *cli, strait_txn *txn,
                            const struct cli_durability *durability, const char *done)
{
    struct strait_commit_result result;
    struct strait_token token;
    char confirmed_by[STRAIT_REGION_NAME_SIZE_MAX];

    uint32_t timeout_ms = cli->timeout_ms;

    if (durability->is_remote)
        (void)strait_txn_set_remote(txn, durability->region, durability->within_ms);
    cli->timeout_ms = durability->timeout_ms;
    enum cli_exit exit = cli_commit(cli, txn, &result, &token, confirmed_by);
    cli->timeout_ms = timeout_ms;
    if (exit != CLI_DONE)
        return exit;
    if (cli->json) {
        json_t *document = json_object();
        char when[32];
        char position[cli_position_size];
        cli_format_time(result.log_time_ns, when);
        cli_position_format(&token, position);
        json_object_set_new(document, "version", json_integer((json_int_t)result.version));
        json_object_set_new(document, "position", json_string(position));
        json_object_set_new(document, "time", json_string(when));
        json_object_set_new(document, "txn", json_string(result.txn));
        json_object_set_new(document, "repeated", json_boolean(result.repeated));
        if (durability->is_remote) {
            json_object_set_new(document, "confirmed", json_boolean(result.confirmed));
            cli_json_bytes(document, "confirmed_by", strait_text(confirmed_by));
        }
        return cli_print_json(document);
    }
    print_written(done, &result, durability, confirmed_by);
    return CLI_DONE;
}

/* "--index NAME=KEY" may come several times: takes them out of the arguments. -1: it was said why.
 */
static int take_indexes(struct cli *cli, int count, char **arguments,
                        struct strait_index_entry entries[indexes_max], size_t *entries_count)
{
    int kept = 0;
    *entries_count = 0;
    for (int i = 0; i < count; i++) {
        char *pair = NULL;
        if (strcmp(arguments[i], "--index") == 0 && i + 1 < count)
            pair = arguments[++i];
        else if (strncmp(arguments[i], "--index=", 8) == 0)
            pair = arguments[i] + 8;
        if (pair == NULL) {
            arguments[kept++] = arguments[i];
            continue;
        }
        char *equals = strchr(pair, '=');
        if (equals == NULL || *entries_count == indexes_max) {
            cli_usage(cli,
                      equals == NULL ? "--index %s: NAME=KEY is needed"
                                     : "--index %s: at most 16 are possible",
                      pair);
            return -1;
        }
        *equals = 0;
        if (!cli_is_name(cli, "an index", pair))
            return -1;
        entries[*entries_count].index = pair;
        entries[*entries_count].key = strait_text(equals + 1);
        (*entries_count)++;
    }
    return kept;
}

/* The value's bytes: the argument's, or all of standard input. `*memory` is to be freed. */
static bool read_value(struct cli *cli, const char *argument, struct strait_bytes *value,
                       char **memory)
{
    *memory = NULL;
    *value = strait_text(argument);
    if (strcmp(argument, "-") != 0)
        return true;
    *memory = malloc(value_size_max + 1);
    if (*memory == NULL)
        return false;
    size_t size = fread(*memory, 1, value_size_max + 1, stdin);
    if (size > value_size_max || ferror(stdin)) {
        cli_fail(cli, CLI_REFUSED,
                 size > value_size_max
                     ? "standard input holds more than 1 MiB, which is a value's limit"
                     : "standard input cannot be read");
        free(*memory);
        *memory = NULL;
        return false;
    }
    *value = strait_bytes(*memory, size);
    return true;
}

enum cli_exit cli_put(struct cli *cli, int count, char **arguments)
{
    const char *ttl = NULL;
    const char *version_text = NULL;
    struct cli_durability durability = {0};
    bool absent = false;
    bool hex = false;
    const struct cli_option options[] = {{"ttl", &ttl, NULL},
                                         {"if-version", &version_text, NULL},
                                         {"if-absent", NULL, &absent},
                                         {"hex", NULL, &hex},
                                         {"durability", &durability.durability, NULL},
                                         {"confirm-within", &durability.within, NULL},
                                         {0}};
    struct strait_index_entry entries[indexes_max];
    struct strait_put_options put = {0};
    struct strait_bytes key;
    struct strait_bytes value;
    uint64_t version = 0;
    char *memory;

    count = take_indexes(cli, count, arguments, entries, &put.indexes_count);
    count = count < 0 ? count : cli_options(cli, options, count, arguments);
    if (count < 0)
        return CLI_USAGE;
    if (count != 3)
        return cli_usage(cli, "a table, a key and a value are needed");
    if (ttl != NULL && (!cli_parse_duration(ttl, &put.ttl_ms) || put.ttl_ms == 0))
        return cli_usage(cli, "--ttl %s: a time such as 90s, 15m, 12h or 30d is needed", ttl);
    if (version_text != NULL && !cli_parse_u64(version_text, 1, UINT64_MAX, &version))
        return cli_usage(cli, "--if-version %s: a version is a positive whole number",
                         version_text);
    if (!cli_is_name(cli, "a table", arguments[0]) || !key_of(cli, arguments[1], hex, &key) ||
        !cli_durability_parse(cli, &durability))
        return CLI_USAGE;
    if (!read_value(cli, arguments[2], &value, &memory))
        return CLI_REFUSED;
    put.indexes = entries;
    strait_txn *txn = strait_txn_new();
    /* Errors of gathering are told by the commit. */
    if (absent)
        (void)strait_txn_require_absent(txn, arguments[0], key);
    if (version_text != NULL)
        (void)strait_txn_require_version(txn, arguments[0], key, version);
    (void)strait_txn_put(txn, arguments[0], key, value, &put);
    free(memory);
    return commit(cli, txn, &durability, "written");
}

enum cli_exit cli_del(struct cli *cli, int count, char **arguments)
{
    struct cli_durability durability = {0};
    bool exists = false;
    bool hex = false;
    const struct cli_option options[] = {{"if-exists", NULL, &exists},
                                         {"hex", NULL, &hex},
                                         {"durability", &durability.durability, NULL},
                                         {"confirm-within", &durability.within, NULL},
                                         {0}};
    struct strait_bytes key;

    if (!cli_arguments(cli, options, &count, arguments, 2, 2, "a table and a key are needed"))
        return CLI_USAGE;
    if (!cli_is_name(cli, "a table", arguments[0]) || !key_of(cli, arguments[1], hex, &key) ||
        !cli_durability_parse(cli, &durability))
        return CLI_USAGE;
    strait_txn *txn = strait_txn_new();
    if (exists)
        (void)strait_txn_require_exists(txn, arguments[0], key);
    (void)strait_txn_del(txn, arguments[0], key);
    return commit(cli, txn, &durability, "deleted");
}

enum cli_exit cli_add(struct cli *cli, int count, char **arguments)
{
    const char *minimum = NULL;
    const char *maximum = NULL;
    const char *initial = NULL;
    struct strait_add_options add = {0};
    struct cli_durability durability = {0};
    const struct cli_option options[] = {{"min", &minimum, NULL},
                                         {"max", &maximum, NULL},
                                         {"initial", &initial, NULL},
                                         {"must-exist", NULL, &add.must_exist},
                                         {"durability", &durability.durability, NULL},
                                         {"confirm-within", &durability.within, NULL},
                                         {0}};
    int64_t amount;

    if (!cli_arguments(cli, options, &count, arguments, 3, 3,
                       "a table, a key and an amount are needed"))
        return CLI_USAGE;
    add.has_minimum = minimum != NULL;
    add.has_maximum = maximum != NULL;
    if (!cli_parse_i64(arguments[2], &amount) ||
        (minimum != NULL && !cli_parse_i64(minimum, &add.minimum)) ||
        (maximum != NULL && !cli_parse_i64(maximum, &add.maximum)) ||
        (initial != NULL && !cli_parse_i64(initial, &add.initial)))
        return cli_usage(cli, "the amount and the bounds are whole numbers of 64 bits");
    if (!cli_is_name(cli, "a table", arguments[0]) || !cli_durability_parse(cli, &durability))
        return CLI_USAGE;
    strait_txn *txn = strait_txn_new();
    (void)strait_txn_add(txn, arguments[0], strait_text(arguments[1]), amount, &add);
    return commit(cli, txn, &durability, "added");
}

/* ---- Scans ---- */

enum cli_exit cli_scan(struct cli *cli, int count, char **arguments)
{
    struct cli_range range = {0};
    enum cli_exit exit;

    count = cli_range_options(cli, &range, count, arguments);
    if (count < 0)
        return CLI_USAGE;
    if (count != 1)
        return cli_usage(cli, "a table is needed");
    range.range.table = arguments[0];
    exit = cli_is_name(cli, "a table", arguments[0]) ? cli_range_scan(cli, &range) : CLI_USAGE;
    cli_range_free(&range);
    return exit;
}
