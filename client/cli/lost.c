/* SPDX-License-Identifier: Apache-2.0 */
/* What a region gave up when it came back as a standby: shown, saved to a file, done again.
 *
 * Two handles: one asks the region that has the report, the other the primary, which alone knows
 * which of the transactions came to be done all the same. Values may be what nobody is to see: they
 * are printed only where that was asked for, and saved to a file that only its owner reads. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/progress.h"
#include "client/strait_region.h"

enum { page_entries_max = 200, show_limit_default = 100, tokens_max = 1000 };

/* What became of a transaction of the report. */
enum fate {
    FATE_NONE,    /* no transaction: the region's own housekeeping */
    FATE_REFUSED, /* it was refused at its time: nothing is lost */
    FATE_REDONE,  /* the primary has it */
    FATE_LOST,    /* the primary does not have it */
    FATE_UNKNOWN, /* that cannot be told: too old for the primary, or nobody could be asked */
    FATES_COUNT
};

static const char *const fate_names[FATES_COUNT] = {"none", "refused", "redone", "lost", "unknown"};
static const char *const kind_names[] = {"none", "transaction", "tick", "regions", "epoch"};

/* An entry, and what is known of it. */
struct seen {
    const struct strait_lost_entry *entry;
    struct strait_lost_commit *commit; /* NULL: no transaction */
    enum fate fate;
};

/* A walk over a report. */
struct walk {
    struct cli *cli;
    strait *region;
    strait *primary;      /* NULL: it is not asked */
    bool primary_is_lost; /* it did not answer once: it is not asked again */
    struct strait_lost_report report;
    uint64_t done;  /* entries */
    uint64_t limit; /* of entries; 0: all */
    uint64_t counts[FATES_COUNT];
    struct progress progress;

    /* What is done with each. False ends the walk, with `exit`. */
    bool (*each)(struct walk *walk, const struct seen *seen);
    void *context;
    enum cli_exit exit;
};

/* ---- Finding a report ---- */

static enum cli_exit find_report(struct cli *cli, strait *handle, const char *text,
                                 struct strait_lost_report *report)
{
    struct strait_lost_reports *reports = NULL;
    struct strait_error error;
    uint64_t id;

    if (!cli_parse_u64(text, 1, INT64_MAX, &id))
        return cli_usage(cli,
                         "%s: a report's number is needed, which `strait region lost list` "
                         "shows",
                         text);
    if (strait_region_lost_list(handle, cli->timeout_ms, &reports, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    enum cli_exit exit = CLI_REFUSED;
    for (size_t i = 0; i < reports->count; i++) {
        if (reports->items[i].id != id)
            continue;
        *report = reports->items[i];
        exit = CLI_DONE;
    }
    strait_free(reports);
    if (exit != CLI_DONE)
        return cli_fail(cli, exit,
                        "there is no report %" PRIu64 " in the region that answers: `strait region "
                        "lost list` shows those there are",
                        id);
    return CLI_DONE;
}

/* ---- The walk ---- */

static enum fate ask_primary(struct walk *walk, const char *token)
{
    struct strait_outcome outcome;
    struct strait_error error;

    if (walk->primary == NULL || walk->primary_is_lost)
        return FATE_UNKNOWN;
    if (strait_txn_status(walk->primary, token, walk->cli->timeout_ms, &outcome, &error) !=
        STRAIT_OK) {
        fprintf(stderr, "strait: the primary cannot be asked what it has: %s\n",
                strait_error_text(&error));
        walk->primary_is_lost = true;
        return FATE_UNKNOWN;
    }
    switch (outcome.state) {
    case STRAIT_OUTCOME_COMMITTED:
        return FATE_REDONE;
    case STRAIT_OUTCOME_EXPIRED:
        return FATE_UNKNOWN;
    default:
        return FATE_LOST;
    }
}

static bool see(struct walk *walk, const struct strait_lost_entry *entry)
{
    struct seen seen = {.entry = entry, .fate = FATE_NONE};
    struct strait_error error;

    if (entry->kind == STRAIT_LOST_COMMIT) {
        enum strait_status status = strait_lost_commit_of(entry, &seen.commit, &error);
        /* Bytes that are no commit were refused as such. */
        if (status != STRAIT_OK && status != STRAIT_MALFORMED) {
            walk->exit = cli_error(walk->cli, &error);
            return false;
        }
        if (status != STRAIT_OK || (entry->has_outcome && entry->outcome != STRAIT_OK))
            seen.fate = FATE_REFUSED;
        else
            seen.fate = ask_primary(walk, seen.commit->txn);
    }
    walk->counts[seen.fate]++;
    bool goes_on = walk->each(walk, &seen);
    strait_free(seen.commit);
    return goes_on;
}

/* Sees all entries of the report, or as many as the limit permits. */
static void walk_run(struct walk *walk, const char *what)
{
    struct strait_token after;
    struct strait_error error;
    bool more = true;

    progress_begin(&walk->progress, walk->cli, what, "entries");
    while (more && walk->exit == CLI_DONE) {
        struct strait_lost_entries *page = NULL;
        if (strait_region_lost_read(walk->region, walk->report.id, walk->done == 0 ? NULL : &after,
                                    page_entries_max, walk->cli->timeout_ms, &page,
                                    &error) != STRAIT_OK) {
            progress_end(&walk->progress);
            walk->exit = cli_error(walk->cli, &error);
            return;
        }
        more = page->more && page->count != 0;
        for (size_t i = 0; i < page->count; i++) {
            if ((walk->limit != 0 && walk->done == walk->limit) || !see(walk, &page->items[i])) {
                more = false;
                break;
            }
            walk->done++;
            after = page->items[i].position;
            progress_show(&walk->progress, walk->done, walk->report.count);
        }
        strait_free(page);
    }
    progress_end(&walk->progress);
}

/* Opens what a walk over the report needs. */
static enum cli_exit walk_open(struct walk *walk, struct cli *cli, const char *report)
{
    enum cli_exit exit = CLI_DONE;

    walk->cli = cli;
    walk->region = cli_handle(cli, &exit);
    if (walk->region == NULL)
        return exit;
    exit = find_report(cli, walk->region, report, &walk->report);
    if (exit != CLI_DONE)
        return exit;
    if (walk->report.closed)
        return cli_fail(cli, CLI_REFUSED, "report %" PRIu64 " is closed: what it held is gone",
                        walk->report.id);
    /* A standby that is asked says where the primary is, and the handle goes there. */
    walk->primary = cli_handle_open(cli, &exit);
    return exit;
}

static void walk_close(struct walk *walk)
{
    strait_close(walk->primary);
}

/* ---- As JSON ---- */

static json_t *json_number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *json_epoch(uint64_t number, uint32_t region)
{
    json_t *epoch = json_object();
    json_object_set_new(epoch, "number", json_number(number));
    json_object_set_new(epoch, "region", json_number(region));
    return epoch;
}

static json_t *json_time(uint64_t time_ns)
{
    char text[32];
    cli_format_time(time_ns, text);
    return json_string(text);
}

static json_t *json_report(const struct strait_lost_report *report)
{
    json_t *item = json_object();
    json_object_set_new(item, "report", json_number(report->id));
    json_object_set_new(item, "epoch",
                        json_epoch(report->position.epoch_number, report->position.epoch_region));
    json_object_set_new(item, "gave_way_to",
                        json_epoch(report->next_epoch_number, report->next_epoch_region));
    json_object_set_new(item, "first_version", json_number(report->first_version));
    json_object_set_new(item, "last_version", json_number(report->last_version));
    json_object_set_new(item, "entries", json_number(report->count));
    json_object_set_new(item, "size_bytes", json_number(report->size));
    json_object_set_new(item, "last_time", json_time(report->log_time_ns));
    json_object_set_new(item, "closed", json_boolean(report->closed));
    json_t *unlisted = json_null();
    if (report->unlisted_first_version != 0) {
        unlisted = json_object();
        json_object_set_new(unlisted, "first_version", json_number(report->unlisted_first_version));
        json_object_set_new(unlisted, "last_version", json_number(report->unlisted_last_version));
    }
    json_object_set_new(item, "unlisted", unlisted);
    return item;
}

static void print_unlisted(const struct strait_lost_report *report)
{
    if (report->unlisted_first_version != 0)
        printf("report %" PRIu64 ": of the versions %" PRIu64 " to %" PRIu64
               ", which were given up too, some are not among the entries: the region's log did "
               "not hold them any more\n",
               report->id, report->unlisted_first_version, report->unlisted_last_version);
}

static const char *operation_name(enum strait_lost_operation_kind kind)
{
    static const char *const names[] = {"none",         "put",        "delete",       "add",
                                        "table_create", "table_drop", "index_create", "index_drop"};
    return kind <= STRAIT_LOST_INDEX_DROP ? names[kind] : names[0];
}

static void json_add_bounds(json_t *item, const struct strait_lost_operation *operation)
{
    json_object_set_new(item, "amount", json_integer(operation->amount));
    json_object_set_new(item, "initial", json_integer(operation->add.initial));
    json_object_set_new(item, "must_exist", json_boolean(operation->add.must_exist));
    if (operation->add.has_minimum)
        json_object_set_new(item, "minimum", json_integer(operation->add.minimum));
    if (operation->add.has_maximum)
        json_object_set_new(item, "maximum", json_integer(operation->add.maximum));
}

/* What an add adds counts as a value: it may be an amount of money. */
static json_t *json_operation(const struct strait_lost_operation *operation, bool values)
{
    json_t *item = json_object();

    json_object_set_new(item, "operation", json_string(operation_name(operation->kind)));
    cli_json_bytes(item, "table", strait_text(operation->table));
    if (operation->kind <= STRAIT_LOST_ADD)
        cli_json_bytes(item, "key", operation->key);
    if (operation->index[0] != 0)
        cli_json_bytes(item, "index", strait_text(operation->index));
    if (operation->kind == STRAIT_LOST_INDEX_CREATE)
        json_object_set_new(item, "unique", json_boolean(operation->unique));
    if (!values)
        return item;
    if (operation->kind == STRAIT_LOST_ADD)
        json_add_bounds(item, operation);
    if (operation->kind != STRAIT_LOST_PUT)
        return item;
    cli_json_bytes(item, "value", operation->value);
    json_object_set_new(item, "ttl_ms", json_number(operation->ttl_ms));
    json_t *indexes = json_array();
    for (size_t i = 0; i < operation->indexes_count; i++) {
        json_t *entry = json_object();
        cli_json_bytes(entry, "index", strait_text(operation->indexes[i].index));
        cli_json_bytes(entry, "key", operation->indexes[i].key);
        json_array_append_new(indexes, entry);
    }
    json_object_set_new(item, "indexes", indexes);
    return item;
}

static json_t *json_seen(const struct seen *seen, bool values)
{
    const struct strait_lost_entry *entry = seen->entry;
    json_t *item = json_object();

    json_object_set_new(
        item, "kind", json_string(kind_names[entry->kind <= STRAIT_LOST_EPOCH ? entry->kind : 0]));
    json_object_set_new(item, "version", json_number(entry->position.version));
    json_object_set_new(item, "epoch",
                        json_epoch(entry->position.epoch_number, entry->position.epoch_region));
    json_object_set_new(item, "time", json_time(entry->log_time_ns));
    cli_json_bytes(item, "identity", strait_text(entry->identity));
    if (entry->kind != STRAIT_LOST_COMMIT)
        return item;
    json_object_set_new(item, "state", json_string(fate_names[seen->fate]));
    json_object_set_new(item, "outcome",
                        entry->has_outcome ? json_string(strait_status_name(entry->outcome))
                                           : json_null());
    if (seen->commit == NULL)
        return item;
    json_t *operations = json_array();
    for (size_t i = 0; i < seen->commit->count; i++)
        json_array_append_new(operations, json_operation(&seen->commit->operations[i], values));
    json_object_set_new(item, "txn", json_string(seen->commit->txn));
    json_object_set_new(item, "reads", json_number(seen->commit->reads_count));
    json_object_set_new(item, "conditions", json_number(seen->commit->conditions_count));
    json_object_set_new(item, "operations", operations);
    return item;
}

static json_t *json_counts(const struct walk *walk)
{
    json_t *counts = json_object();
    for (unsigned fate = FATE_REFUSED; fate < FATES_COUNT; fate++)
        json_object_set_new(counts, fate_names[fate], json_number(walk->counts[fate]));
    return counts;
}

/* ---- list ---- */

static enum cli_exit lost_list(struct cli *cli, int count, char **arguments)
{
    struct strait_lost_reports *reports = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0, "nothing is expected after `list`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_region_lost_list(handle, cli->timeout_ms, &reports, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    json_t *items = json_array();
    if (!cli->json && reports->count == 0)
        printf("this region has given nothing up\n");
    else if (!cli->json)
        printf("%-12s %12s %12s %10s %12s %-24s %s\n", "REPORT", "FIRST", "LAST", "ENTRIES",
               "BYTES", "LAST TIME", "STATE");
    for (size_t i = 0; i < reports->count; i++) {
        const struct strait_lost_report *report = &reports->items[i];
        char time[32];
        json_array_append_new(items, json_report(report));
        if (cli->json)
            continue;
        cli_format_time(report->log_time_ns, time);
        printf("%-12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %-24s %s\n",
               report->id, report->first_version, report->last_version, report->count, report->size,
               time, report->closed ? "closed" : "open");
    }
    for (size_t i = 0; !cli->json && i < reports->count; i++)
        print_unlisted(&reports->items[i]);
    strait_free(reports);
    if (!cli->json) {
        json_decref(items);
        return CLI_DONE;
    }
    json_t *document = json_object();
    json_object_set_new(document, "reports", items);
    return cli_print_json(document);
}

/* ---- show ---- */

struct showing {
    bool values;
    json_t *items; /* NULL: as text */
};

static void print_operation(const struct strait_lost_operation *operation, bool values)
{
    printf("    %-12s ", operation_name(operation->kind));
    cli_print_bytes(stdout, strait_text(operation->table));
    if (operation->index[0] != 0) {
        putchar(' ');
        cli_print_bytes(stdout, strait_text(operation->index));
    }
    if (operation->kind <= STRAIT_LOST_ADD) {
        putchar(' ');
        cli_print_bytes(stdout, operation->key);
    }
    if (values && operation->kind == STRAIT_LOST_PUT) {
        fputs(" = ", stdout);
        cli_print_bytes(stdout, operation->value);
    } else if (values && operation->kind == STRAIT_LOST_ADD) {
        printf(" %+" PRId64, operation->amount);
    }
    putchar('\n');
}

static bool show_each(struct walk *walk, const struct seen *seen)
{
    const struct showing *showing = walk->context;
    char time[32];

    if (showing->items != NULL) {
        json_array_append_new(showing->items, json_seen(seen, showing->values));
        return true;
    }
    cli_format_time(seen->entry->log_time_ns, time);
    printf("%-12" PRIu64 " %s %-8s ", seen->entry->position.version, time,
           seen->commit != NULL || seen->fate != FATE_NONE ? fate_names[seen->fate]
                                                           : kind_names[seen->entry->kind]);
    printf("%s ", seen->commit != NULL ? seen->commit->txn : "-");
    cli_print_bytes(stdout, strait_text(seen->entry->identity));
    putchar('\n');
    for (size_t i = 0; seen->commit != NULL && i < seen->commit->count; i++)
        print_operation(&seen->commit->operations[i], showing->values);
    return true;
}

static void print_counts(const struct walk *walk)
{
    printf("%" PRIu64 " of %" PRIu64 " entries: %" PRIu64 " transactions lost, %" PRIu64
           " redone, %" PRIu64 " refused at their time, %" PRIu64 " of which it cannot be told\n",
           walk->done, walk->report.count, walk->counts[FATE_LOST], walk->counts[FATE_REDONE],
           walk->counts[FATE_REFUSED], walk->counts[FATE_UNKNOWN]);
    print_unlisted(&walk->report);
}

static enum cli_exit lost_show(struct cli *cli, int count, char **arguments)
{
    struct showing showing = {0};
    struct walk walk = {.each = show_each, .context = &showing, .limit = show_limit_default};
    const char *limit = NULL;
    const struct cli_option options[] = {
        {"values", NULL, &showing.values}, {"limit", &limit, NULL}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a report's number is needed"))
        return CLI_USAGE;
    if (limit != NULL && !cli_parse_u64(limit, 0, INT64_MAX, &walk.limit))
        return cli_usage(cli, "--limit %s: a number is needed; 0: all", limit);
    enum cli_exit exit = walk_open(&walk, cli, arguments[0]);
    if (exit != CLI_DONE)
        return exit;
    showing.items = cli->json ? json_array() : NULL;
    walk_run(&walk, "reading");
    walk_close(&walk);
    if (walk.exit != CLI_DONE) {
        json_decref(showing.items);
        return walk.exit;
    }
    if (!cli->json) {
        print_counts(&walk);
        return CLI_DONE;
    }
    json_t *document = json_report(&walk.report);
    json_object_set_new(document, "shown", json_number(walk.done));
    json_object_set_new(document, "states", json_counts(&walk));
    json_object_set_new(document, "items", showing.items);
    return cli_print_json(document);
}

/* ---- export ---- */

static bool export_each(struct walk *walk, const struct seen *seen)
{
    FILE *file = walk->context;
    json_t *item = json_seen(seen, true);
    bool written = json_dumpf(item, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;

    json_decref(item);
    if (!written)
        walk->exit =
            cli_fail(walk->cli, CLI_REFUSED, "the file cannot be written: %s", strerror(errno));
    return written;
}

/* So that the file's name outlives a loss of power, too. */
static bool flush_directory(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return false;
    int directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (directory < 0)
        return false;
    bool flushed = fsync(directory) == 0;
    return close(directory) == 0 && flushed;
}

/* Closes the file. False where any of it may not be on stable storage. */
static bool finish_file(FILE *file, const char *path)
{
    bool kept = fflush(file) == 0 && fsync(fileno(file)) == 0;
    kept = fclose(file) == 0 && kept;
    return kept && flush_directory(path);
}

static enum cli_exit lost_export(struct cli *cli, int count, char **arguments)
{
    struct walk walk = {.each = export_each};

    if (!cli_arguments(cli, NULL, &count, arguments, 2, 2,
                       "a report's number and the name of a file are needed"))
        return CLI_USAGE;
    enum cli_exit exit = walk_open(&walk, cli, arguments[0]);
    if (exit != CLI_DONE)
        return exit;
    const char *path = arguments[1];
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (file == NULL) {
        walk_close(&walk);
        return cli_fail(cli, CLI_REFUSED, "%s cannot be made: %s", path, strerror(errno));
    }
    walk.context = file;
    walk_run(&walk, "saving");
    walk_close(&walk);
    if (!finish_file(file, path) && walk.exit == CLI_DONE)
        walk.exit = cli_fail(cli, CLI_REFUSED, "%s cannot be written: %s", path, strerror(errno));
    if (walk.exit != CLI_DONE) {
        (void)unlink(path); /* what it holds is not whole; the report has it all */
        return walk.exit;
    }
    if (!cli->json) {
        print_counts(&walk);
        printf("saved in %s, one JSON document a line, with all values\n", path);
        return CLI_DONE;
    }
    json_t *document = json_report(&walk.report);
    cli_json_bytes(document, "file", strait_text(path));
    json_object_set_new(document, "saved", json_number(walk.done));
    json_object_set_new(document, "states", json_counts(&walk));
    return cli_print_json(document);
}

/* ---- replay ---- */

/* What came of offering a transaction to the primary. */
enum came { CAME_APPLIED, CAME_THERE, CAME_REFUSED_THEN, CAME_REFUSED, CAME_EXPIRED, CAME_COUNT };

static const char *const came_names[CAME_COUNT] = {"applied", "already_there", "refused_then",
                                                   "refused", "too_old"};

struct replaying {
    json_t *items;
    char *chosen; /* "TOKEN,TOKEN"; NULL: all */
    uint64_t chosen_count;
    uint64_t counts[CAME_COUNT];
};

/* Whether the token is one of those that were chosen. */
static bool is_chosen(const struct replaying *replaying, const char *token)
{
    size_t size = strlen(token);
    if (replaying->chosen == NULL)
        return true;
    for (const char *at = replaying->chosen; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncasecmp(at, token, size) == 0 && (at[size] == 0 || at[size] == ','))
            return true;
    }
    return false;
}

static void note(struct walk *walk, const struct seen *seen, enum came came,
                 const struct strait_error *error)
{
    struct replaying *replaying = walk->context;
    const char *text = error != NULL ? strait_error_text(error) : "";

    replaying->counts[came]++;
    if (replaying->items != NULL) {
        json_t *item = json_object();
        json_object_set_new(item, "txn", json_string(seen->commit->txn));
        json_object_set_new(item, "version", json_number(seen->entry->position.version));
        json_object_set_new(item, "result", json_string(came_names[came]));
        json_object_set_new(item, "status",
                            error != NULL ? json_string(strait_status_name(error->status))
                                          : json_null());
        cli_json_bytes(item, "text", strait_text(text));
        json_array_append_new(replaying->items, item);
    } else if (came == CAME_REFUSED || came == CAME_EXPIRED) {
        progress_end(&walk->progress);
        printf("%s: %s: ", seen->commit->txn, came == CAME_EXPIRED ? "too old" : "refused");
        cli_print_bytes(stdout, strait_text(text));
        putchar('\n');
    }
}

/* Whether the failure says nothing of this transaction, and would be the same for the next. */
static bool is_of_the_way(enum strait_status status)
{
    switch (status) {
    case STRAIT_OUTCOME_UNKNOWN:
    case STRAIT_UNREACHABLE:
    case STRAIT_DEADLINE_EXCEEDED:
    case STRAIT_DISCONNECTED:
    case STRAIT_UNAUTHENTICATED:
    case STRAIT_BUSY:
        return true;
    default:
        return false;
    }
}

static bool replay_each(struct walk *walk, const struct seen *seen)
{
    struct replaying *replaying = walk->context;
    struct strait_commit_result result;
    struct strait_error error = {0};

    if (seen->commit == NULL || !is_chosen(replaying, seen->commit->txn))
        return true;
    replaying->chosen_count++;
    if (walk->primary_is_lost) {
        walk->exit = cli_fail(walk->cli, CLI_UNREACHABLE,
                              "the primary does not answer: the rest was not offered to it");
        return false;
    }
    if (seen->fate == FATE_REFUSED) {
        note(walk, seen, CAME_REFUSED_THEN, NULL);
        return true;
    }
    if (seen->fate == FATE_REDONE) {
        note(walk, seen, CAME_THERE, NULL);
        return true;
    }
    enum strait_status status = strait_region_lost_replay(walk->primary, &walk->report, seen->entry,
                                                          walk->cli->timeout_ms, &result, &error);
    if (status == STRAIT_OK) {
        note(walk, seen, result.repeated ? CAME_THERE : CAME_APPLIED, NULL);
        return true;
    }
    if (is_of_the_way(status)) {
        snprintf(error.txn, sizeof error.txn, "%s", seen->commit->txn);
        walk->exit = cli_error(walk->cli, &error);
        return false;
    }
    note(walk, seen, status == STRAIT_TXN_EXPIRED ? CAME_EXPIRED : CAME_REFUSED, &error);
    return true;
}

static enum cli_exit replay_end(struct cli *cli, struct walk *walk, struct replaying *replaying)
{
    const uint64_t *counts = replaying->counts;
    bool is_whole = counts[CAME_REFUSED] + counts[CAME_EXPIRED] == 0;
    enum cli_exit exit = is_whole ? CLI_DONE : CLI_REFUSED;

    if (cli->json) {
        json_t *document = json_report(&walk->report);
        json_t *results = json_object();
        for (unsigned came = 0; came < CAME_COUNT; came++)
            json_object_set_new(results, came_names[came], json_number(counts[came]));
        json_object_set_new(document, "offered", json_number(replaying->chosen_count));
        json_object_set_new(document, "results", results);
        json_object_set_new(document, "items", replaying->items);
        (void)cli_print_json(document);
        return exit;
    }
    printf("%" PRIu64 " transactions: %" PRIu64 " applied, %" PRIu64 " already there, %" PRIu64
           " refused at their time and left so, %" PRIu64 " refused now, %" PRIu64
           " too old for it to be told whether they were done\n",
           replaying->chosen_count, counts[CAME_APPLIED], counts[CAME_THERE],
           counts[CAME_REFUSED_THEN], counts[CAME_REFUSED], counts[CAME_EXPIRED]);
    print_unlisted(&walk->report);
    return exit;
}

static enum cli_exit lost_replay(struct cli *cli, int count, char **arguments)
{
    struct replaying replaying = {0};
    struct walk walk = {.each = replay_each, .context = &replaying};
    const char *chosen = NULL;
    const struct cli_option options[] = {{"txn", &chosen, NULL}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a report's number is needed"))
        return CLI_USAGE;
    enum cli_exit exit = walk_open(&walk, cli, arguments[0]);
    if (exit != CLI_DONE)
        return exit;
    replaying.chosen = (char *)(uintptr_t)chosen;
    replaying.items = cli->json ? json_array() : NULL;
    walk_run(&walk, "offering");
    walk_close(&walk);
    if (walk.exit == CLI_DONE && chosen != NULL && replaying.chosen_count == 0)
        walk.exit = cli_fail(cli, CLI_REFUSED, "the report has no transaction %s", chosen);
    if (walk.exit == CLI_DONE)
        return replay_end(cli, &walk, &replaying);
    json_decref(replaying.items);
    return walk.exit;
}

/* ---- close ---- */

static enum cli_exit lost_close(struct cli *cli, int count, char **arguments)
{
    struct strait_lost_report report;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 1, 1, "a report's number is needed"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    exit = find_report(cli, handle, arguments[0], &report);
    if (exit != CLI_DONE)
        return exit;
    if (strait_region_lost_close(handle, report.id, cli->timeout_ms, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    report.closed = true;
    if (cli->json)
        return cli_print_json(json_report(&report));
    printf("closed: the %" PRIu64 " entries of report %" PRIu64 " are gone for good\n",
           report.count, report.id);
    return CLI_DONE;
}

/* ---- Which of them ---- */

enum cli_exit cli_region_lost(struct cli *cli, int count, char **arguments)
{
    static const struct {
        const char *name;
        enum cli_exit (*run)(struct cli *cli, int count, char **arguments);
    } verbs[] = {{"list", lost_list},
                 {"show", lost_show},
                 {"export", lost_export},
                 {"replay", lost_replay},
                 {"close", lost_close}};

    for (size_t i = 0; count > 0 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(arguments[0], verbs[i].name) == 0)
            return verbs[i].run(cli, count - 1, arguments + 1);
    }
    return cli_usage(cli, "list, show, export, replay or close is needed after `region lost`");
}
