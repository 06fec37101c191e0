/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and indexes. */
#include <inttypes.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/range.h"

/* Commits a change of the schema, says so, and frees the transaction. */
static enum cli_exit change(struct cli *cli, strait_txn *txn, const char *noun, const char *name,
                            const char *done)
{
    struct strait_commit_result result;
    enum cli_exit exit = cli_commit(cli, txn, &result, NULL, NULL);

    if (exit != CLI_DONE)
        return exit;
    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, noun, json_string(name));
        json_object_set_new(document, "version", json_integer((json_int_t)result.version));
        return cli_print_json(document);
    }
    printf("%s `%s` %s\n", noun, name, done);
    return CLI_DONE;
}

enum cli_exit cli_table_create(struct cli *cli, int count, char **arguments)
{
    if (!cli_arguments(cli, NULL, &count, arguments, 1, 1, "the table's name is needed") ||
        !cli_is_name(cli, "a table", arguments[0]))
        return CLI_USAGE;
    strait_txn *txn = strait_txn_new();
    (void)strait_txn_create_table(txn, arguments[0]);
    return change(cli, txn, "table", arguments[0], "made");
}

enum cli_exit cli_table_drop(struct cli *cli, int count, char **arguments)
{
    if (!cli_arguments(cli, NULL, &count, arguments, 1, 1, "the table's name is needed") ||
        !cli_is_name(cli, "a table", arguments[0]))
        return CLI_USAGE;
    strait_txn *txn = strait_txn_new();
    (void)strait_txn_drop_table(txn, arguments[0]);
    return change(cli, txn, "table", arguments[0], "dropped");
}

enum cli_exit cli_index_create(struct cli *cli, int count, char **arguments)
{
    bool unique = false;
    const struct cli_option options[] = {{"unique", NULL, &unique}, {0}};
    if (!cli_arguments(cli, options, &count, arguments, 2, 2,
                       "a table and the index's name are needed") ||
        !cli_is_name(cli, "a table", arguments[0]) || !cli_is_name(cli, "an index", arguments[1]))
        return CLI_USAGE;
    strait_txn *txn = strait_txn_new();
    (void)strait_txn_create_index(txn, arguments[0], arguments[1], unique);
    return change(cli, txn, "index", arguments[1], "made");
}

enum cli_exit cli_index_drop(struct cli *cli, int count, char **arguments)
{
    if (!cli_arguments(cli, NULL, &count, arguments, 2, 2,
                       "a table and the index's name are needed") ||
        !cli_is_name(cli, "a table", arguments[0]) || !cli_is_name(cli, "an index", arguments[1]))
        return CLI_USAGE;
    strait_txn *txn = strait_txn_new();
    (void)strait_txn_drop_index(txn, arguments[0], arguments[1]);
    return change(cli, txn, "index", arguments[1], "dropped");
}

/* ---- Lists ---- */

static json_t *table_json(const struct strait_table *table)
{
    json_t *object = json_object();
    json_t *indexes = json_array();
    json_object_set_new(object, "table", json_string(table->name));
    for (size_t i = 0; i < table->indexes_count; i++) {
        json_t *index = json_object();
        json_object_set_new(index, "index", json_string(table->indexes[i].name));
        json_object_set_new(index, "unique", json_boolean(table->indexes[i].unique));
        json_array_append_new(indexes, index);
    }
    json_object_set_new(object, "indexes", indexes);
    return object;
}

/* Prints the tables, or the one that `only` names, with their indexes. */
static enum cli_exit list(struct cli *cli, const char *only, bool indexes_only)
{
    struct strait_tables *tables = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    bool found = only == NULL;

    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_table_list(handle, cli->timeout_ms, &tables, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    json_t *items = cli->json ? json_array() : NULL;
    for (size_t i = 0; i < tables->count; i++) {
        const struct strait_table *table = &tables->items[i];
        if (only != NULL && strcmp(only, table->name) != 0)
            continue;
        found = true;
        if (cli->json)
            json_array_append_new(items, table_json(table));
        else if (!indexes_only)
            printf("%s\n", table->name);
        for (size_t k = 0; !cli->json && k < table->indexes_count; k++)
            printf("%s%s%s%s\n", indexes_only ? table->name : " ", indexes_only ? "." : " ",
                   table->indexes[k].name, table->indexes[k].unique ? " (unique)" : "");
    }
    strait_free(tables);
    if (!found) {
        json_decref(items);
        return cli_fail(cli, CLI_REFUSED, "there is no table `%s`", only);
    }
    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, "tables", items);
        return cli_print_json(document);
    }
    return CLI_DONE;
}

enum cli_exit cli_table_list(struct cli *cli, int count, char **arguments)
{
    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0,
                       "nothing is expected after `table list`"))
        return CLI_USAGE;
    return list(cli, NULL, false);
}

enum cli_exit cli_index_list(struct cli *cli, int count, char **arguments)
{
    if (!cli_arguments(cli, NULL, &count, arguments, 0, 1, "one table at most is expected") ||
        (count == 1 && !cli_is_name(cli, "a table", arguments[0])))
        return CLI_USAGE;
    return list(cli, count == 1 ? arguments[0] : NULL, true);
}

enum cli_exit cli_index_scan(struct cli *cli, int count, char **arguments)
{
    struct cli_range range = {0};
    enum cli_exit exit;

    count = cli_range_options(cli, &range, count, arguments);
    if (count < 0)
        return CLI_USAGE;
    if (count != 2 && count != 3) {
        cli_range_free(&range);
        return cli_usage(cli, "a table and an index are needed, and a key of it or a range");
    }
    if (!cli_is_name(cli, "a table", arguments[0]) || !cli_is_name(cli, "an index", arguments[1])) {
        cli_range_free(&range);
        return CLI_USAGE;
    }
    range.range.table = arguments[0];
    range.range.index = arguments[1];
    if (count == 3) {
        if (range.range.start.size != 0 || range.range.end.size != 0) {
            cli_range_free(&range);
            return cli_usage(cli, "give a key, or a range, but not both");
        }
        if (!cli_range_set_key(&range, strait_text(arguments[2])))
            return cli_fail(cli, CLI_REFUSED, "out of memory");
    }
    exit = cli_range_scan(cli, &range);
    cli_range_free(&range);
    return exit;
}
