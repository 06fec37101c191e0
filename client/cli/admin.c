/* SPDX-License-Identifier: Apache-2.0 */
/* How the server is, what became of transactions, and who holds what. */
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"

enum { check_poll_ms = 100 };

/* ---- Status ---- */

/* 16 bytes. */
static void hexadecimal_text(struct strait_bytes id, char text[33])
{
    const unsigned char *data = id.data;
    for (size_t i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", i < id.size ? data[i] : 0);
}

static enum cli_exit print_status_json(const struct strait_server_status *status,
                                       const char *cluster)
{
    char when[32];
    char chain[33];
    json_t *document = json_object();
    json_t *alarms = json_array();
    json_t *metrics = json_object();
    cli_format_time(status->log_time_ns, when);
    hexadecimal_text(status->chain_digest, chain);
    json_object_set_new(document, "server_version", json_string(status->server_version));
    json_object_set_new(document, "role", json_string(status->role));
    json_object_set_new(document, "cluster_id", json_string(cluster));
    json_object_set_new(document, "writable", json_boolean(status->writable));
    json_object_set_new(document, "encrypted", json_boolean(status->encrypted));
    json_object_set_new(document, "version", json_integer((json_int_t)status->version));
    json_object_set_new(document, "epoch_number", json_integer((json_int_t)status->epoch_number));
    json_object_set_new(document, "epoch_region", json_integer((json_int_t)status->epoch_region));
    json_object_set_new(document, "chain_digest", json_string(chain));
    json_object_set_new(document, "log_time", json_string(when));
    json_object_set_new(document, "log_index", json_integer((json_int_t)status->log_index));
    json_object_set_new(document, "log_term", json_integer((json_int_t)status->log_term));
    json_object_set_new(document, "commit_index", json_integer((json_int_t)status->commit_index));
    cli_json_bytes(document, "member", strait_text(status->member));
    cli_json_bytes(document, "leader", strait_text(status->leader));
    json_object_set_new(document, "lease", json_boolean(status->lease));
    json_object_set_new(document, "cluster_version",
                        json_integer((json_int_t)status->cluster_version));
    json_object_set_new(document, "cluster_version_max",
                        json_integer((json_int_t)status->cluster_version_max));
    json_object_set_new(document, "members",
                        cli_json_members(status->members, status->members_count));
    json_object_set_new(document, "uptime_ms", json_integer((json_int_t)status->uptime_ms));
    for (size_t i = 0; i < status->alarms_count; i++)
        json_array_append_new(alarms, json_string(status->alarms[i]));
    for (size_t i = 0; i < status->metrics_count; i++)
        json_object_set_new(metrics, status->metrics[i].name,
                            json_integer((json_int_t)status->metrics[i].value));
    json_object_set_new(document, "alarms", alarms);
    json_object_set_new(document, "metrics", metrics);
    return cli_print_json(document);
}

static void print_metric(const struct strait_metric *metric)
{
    size_t size = strlen(metric->name);
    printf("  %-28s %" PRIu64, metric->name, metric->value);
    if (size > 6 && strcmp(metric->name + size - 6, "_bytes") == 0 && metric->value >= 1 << 20)
        printf(" (%.1f MiB)", (double)metric->value / (1 << 20));
    putchar('\n');
}

static void print_status(const struct strait_server_status *status, const char *cluster)
{
    char when[32];
    char chain[33];
    cli_format_time(status->log_time_ns, when);
    hexadecimal_text(status->chain_digest, chain);
    printf("server     %s, %s, up %" PRIu64 " s\n", status->server_version, status->role,
           status->uptime_ms / 1000);
    printf("cluster    %s, version %" PRIu32, cluster, status->cluster_version);
    if (status->cluster_version_max > status->cluster_version)
        printf("; this program can do %" PRIu32 ", once all can", status->cluster_version_max);
    printf("\n");
    printf("writes     %s\n", status->writable                      ? "taken"
                              : strcmp(status->role, "leader") == 0 ? "REFUSED"
                                                                    : "by the leader");
    printf("at rest    %s\n", status->encrypted ? "encrypted" : "plain, by choice");
    printf("version    %" PRIu64 " in epoch %" PRIu64 " of region %" PRIu32 ", %s\n",
           status->version, status->epoch_number, status->epoch_region, when);
    printf("digest     %s, of all that was written up to there\n", chain);
    printf("log        index %" PRIu64 " applied, %" PRIu64 " committed, term %" PRIu64 "\n",
           status->log_index, status->commit_index, status->log_term);
    if (status->members_count > 1) {
        printf("member     ");
        cli_print_bytes(stdout, strait_text(status->member));
        printf("; the leader is ");
        cli_print_bytes(stdout, strait_text(status->leader[0] != 0 ? status->leader : "not known"));
        printf("%s\n", status->lease ? ", by its lease" : "");
        cli_print_members(status->members, status->members_count);
    }
    if (status->alarms_count == 0)
        printf("alarms     none\n");
    for (size_t i = 0; i < status->alarms_count; i++)
        printf("ALARM      %s\n", status->alarms[i]);
    printf("metrics\n");
    for (size_t i = 0; i < status->metrics_count; i++)
        print_metric(&status->metrics[i]);
}

enum cli_exit cli_status(struct cli *cli, int count, char **arguments)
{
    struct strait_server_status *status = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    char cluster[33];

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0, "nothing is expected after `status`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_server_status(handle, cli->timeout_ms, &status, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    hexadecimal_text(status->cluster_id, cluster);
    if (cli->json)
        exit = print_status_json(status, cluster);
    else
        print_status(status, cluster);
    strait_free(status);
    return exit;
}

enum cli_exit cli_ping(struct cli *cli, int count, char **arguments)
{
    struct strait_session *session = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0, "nothing is expected after `ping`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_ping(handle, cli->timeout_ms, &session, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, "endpoint", json_string(session->endpoint));
        json_object_set_new(document, "server_version", json_string(session->server_version));
        json_object_set_new(document, "identity", json_string(session->identity));
        json_object_set_new(document, "role", json_string(session->role));
        json_object_set_new(document, "version", json_integer((json_int_t)session->version));
        exit = cli_print_json(document);
    } else {
        printf("%s answers (straitd %s); you are %s, with the role %s\n", session->endpoint,
               session->server_version, session->identity, session->role);
    }
    strait_free(session);
    return exit;
}

/* ---- Check ---- */

static void print_progress(const struct strait_check *check)
{
    double share = check->total_size_bytes == 0 ? 0
                                                : 100.0 * (double)check->checked_size_bytes /
                                                      (double)check->total_size_bytes;
    fprintf(stderr, "\rchecking: %5.1f %% of %.1f MiB ", share > 100 ? 100 : share,
            (double)check->total_size_bytes / (1 << 20));
}

static enum cli_exit print_check(struct cli *cli, const struct strait_check *check)
{
    if (cli->json) {
        json_t *document = json_object();
        json_t *findings = json_array();
        for (size_t i = 0; i < check->findings_count; i++) {
            json_t *finding = json_object();
            json_object_set_new(finding, "file", json_string(check->findings[i].file));
            json_object_set_new(finding, "offset",
                                json_integer((json_int_t)check->findings[i].offset));
            json_object_set_new(finding, "text", json_string(check->findings[i].text));
            json_array_append_new(findings, finding);
        }
        json_object_set_new(document, "checked_bytes",
                            json_integer((json_int_t)check->checked_size_bytes));
        json_object_set_new(document, "files", json_integer((json_int_t)check->files_count));
        json_object_set_new(document, "findings_count",
                            json_integer((json_int_t)check->findings_total_count));
        json_object_set_new(document, "findings", findings);
        cli_print_json(document);
    } else {
        for (size_t i = 0; i < check->findings_count; i++)
            printf("DAMAGED  %s at byte %" PRIu64 ": %s\n", check->findings[i].file,
                   check->findings[i].offset, check->findings[i].text);
        printf("%" PRIu64 " bytes in %" PRIu64 " tables and the log checked: ",
               check->checked_size_bytes, check->files_count);
        if (check->findings_total_count == 0)
            printf("all whole\n");
        else
            printf("%" PRIu64 " places are damaged\n", check->findings_total_count);
    }
    if (check->findings_total_count != 0) {
        fprintf(stderr, "strait: damage was found; it is never given to a client as data\n");
        return CLI_REFUSED;
    }
    return CLI_DONE;
}

static enum cli_exit print_scrub(struct cli *cli, const struct strait_scrub *scrub)
{
    if (cli->json) {
        json_t *document = json_object();
        json_t *differing = json_array();
        for (size_t i = 0; i < scrub->differing_count; i++)
            json_array_append_new(differing, json_string(scrub->differing[i]));
        json_object_set_new(document, "version", json_integer((json_int_t)scrub->version));
        json_object_set_new(document, "members", json_integer(scrub->members_count));
        json_object_set_new(document, "agreed", json_integer(scrub->agreed_count));
        json_object_set_new(document, "failed", json_boolean(scrub->failed));
        json_object_set_new(document, "differing", differing);
        cli_print_json(document);
    } else {
        for (size_t i = 0; i < scrub->differing_count; i++)
            printf("DIFFERS  %s has something else on disk: it is rebuilt from another member\n",
                   scrub->differing[i]);
        printf("version %" PRIu64 ": %u of %u members have the same on disk\n", scrub->version,
               (unsigned)scrub->agreed_count, (unsigned)scrub->members_count);
    }
    if (scrub->failed || scrub->differing_count != 0 ||
        scrub->agreed_count != scrub->members_count) {
        fprintf(stderr, scrub->failed ? "strait: the leader could not read its own tables\n"
                                      : "strait: not all members agreed\n");
        return CLI_REFUSED;
    }
    return CLI_DONE;
}

static enum cli_exit check_scrub(struct cli *cli, strait *handle)
{
    struct strait_scrub *scrub = NULL;
    struct strait_error error;

    enum strait_status status = strait_scrub(handle, true, cli->timeout_ms, &scrub, &error);
    while (status == STRAIT_OK && scrub->running) {
        strait_free(scrub);
        scrub = NULL;
        poll(NULL, 0, check_poll_ms);
        status = strait_scrub(handle, false, cli->timeout_ms, &scrub, &error);
    }
    if (status != STRAIT_OK)
        return cli_error(cli, &error);
    enum cli_exit exit = print_scrub(cli, scrub);
    strait_free(scrub);
    return exit;
}

enum cli_exit cli_check(struct cli *cli, int count, char **arguments)
{
    struct strait_check *check = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    bool shows = !cli->quiet && !cli->json && isatty(STDERR_FILENO);
    bool scrubs = false;
    const struct cli_option options[] = {{"scrub", NULL, &scrubs}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 0, 0, "nothing is expected after `check`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (scrubs)
        return check_scrub(cli, handle);
    enum strait_status status = strait_check(handle, true, cli->timeout_ms, &check, &error);
    while (status == STRAIT_OK && check->running) {
        if (shows)
            print_progress(check);
        strait_free(check);
        check = NULL;
        /* The server tells how far it is when asked: ask again in a moment. */
        poll(NULL, 0, check_poll_ms);
        status = strait_check(handle, false, cli->timeout_ms, &check, &error);
    }
    if (shows)
        fputc('\n', stderr);
    if (status != STRAIT_OK)
        return cli_error(cli, &error);
    exit = print_check(cli, check);
    strait_free(check);
    return exit;
}

/* ---- Transactions ---- */

static enum cli_exit print_outcome(struct cli *cli, const struct strait_confirmation *found,
                                   bool is_remote)
{
    static const char *const states[] = {"unknown", "committed", "refused", "expired"};
    static const char *const texts[] = {"no outcome is known: it never came, or has not come yet",
                                        "committed", "refused: nothing of it was done",
                                        "older than what is kept: its outcome cannot be told"};
    const struct strait_outcome *outcome = &found->outcome;
    bool is_committed = outcome->state == STRAIT_OUTCOME_COMMITTED;
    bool is_refused = outcome->state == STRAIT_OUTCOME_REFUSED;

    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, "state", json_string(states[outcome->state]));
        if (is_refused)
            json_object_set_new(document, "status",
                                json_string(strait_status_name(outcome->status)));
        if (is_committed || is_refused)
            json_object_set_new(document, "version", json_integer((json_int_t)outcome->version));
        if (is_committed && is_remote) {
            json_object_set_new(document, "confirmed", json_boolean(found->confirmed));
            cli_json_bytes(document, "confirmed_by", strait_text(found->region));
        }
        return cli_print_json(document);
    }
    printf("%s", texts[outcome->state]);
    if (is_committed || is_refused)
        printf(", at version %" PRIu64, outcome->version);
    if (is_refused)
        printf(" (%s: %s)", strait_status_name(outcome->status),
               strait_status_text(outcome->status));
    if (is_committed && is_remote) {
        printf("%s", found->confirmed ? "; confirmed by " : "; not confirmed by a standby yet");
        cli_print_bytes(stdout, strait_text(found->region));
    }
    putchar('\n');
    return CLI_DONE;
}

enum cli_exit cli_txn_status(struct cli *cli, int count, char **arguments)
{
    struct cli_durability durability = {0};
    const struct cli_option options[] = {{"durability", &durability.durability, NULL},
                                         {"confirm-within", &durability.within, NULL},
                                         {0}};
    struct strait_confirmation found = {0};
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    enum strait_status status;

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a transaction's token is needed") ||
        !cli_durability_parse(cli, &durability))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (durability.is_remote)
        status = strait_txn_confirm(handle, arguments[0], durability.region, durability.within_ms,
                                    durability.timeout_ms, &found, &error);
    else
        status = strait_txn_status(handle, arguments[0], cli->timeout_ms, &found.outcome, &error);
    if (status != STRAIT_OK)
        return cli_error(cli, &error);
    return print_outcome(cli, &found, durability.is_remote);
}

enum cli_exit cli_txn_list(struct cli *cli, int count, char **arguments)
{
    struct strait_open_txns *txns = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0, "nothing is expected after `txn list`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_txn_list(handle, cli->timeout_ms, &txns, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    json_t *items = json_array();
    if (!cli->json)
        printf("%-20s %-20s %-20s %12s %10s %14s\n", "SNAPSHOT", "IDENTITY", "CLIENT", "VERSION",
               "AGE MS", "EXPIRES IN MS");
    for (size_t i = 0; i < txns->count; i++) {
        const struct strait_open_txn *txn = &txns->items[i];
        json_t *item = json_object();
        json_object_set_new(item, "snapshot", json_integer((json_int_t)txn->snapshot_id));
        cli_json_bytes(item, "identity", strait_text(txn->identity));
        cli_json_bytes(item, "client", strait_text(txn->client));
        json_object_set_new(item, "version", json_integer((json_int_t)txn->version));
        json_object_set_new(item, "age_ms", json_integer((json_int_t)txn->age_ms));
        json_object_set_new(item, "expires_in_ms", json_integer((json_int_t)txn->expires_in_ms));
        json_array_append_new(items, item);
        if (cli->json)
            continue;
        printf("%-20" PRIu64 " %-20s ", txn->snapshot_id, txn->identity);
        cli_print_bytes(stdout, strait_text(txn->client));
        printf("%*s %12" PRIu64 " %10" PRIu64 " %14" PRIu64 "\n",
               strlen(txn->client) < 20 ? 20 - (int)strlen(txn->client) : 0, "", txn->version,
               txn->age_ms, txn->expires_in_ms);
    }
    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, "horizon", json_integer((json_int_t)txns->horizon));
        json_object_set_new(document, "snapshots", items);
        exit = cli_print_json(document);
    } else {
        json_decref(items);
        printf("%zu open; versions from %" PRIu64 " on can be read\n", txns->count, txns->horizon);
    }
    strait_free(txns);
    return exit;
}

enum cli_exit cli_txn_cancel(struct cli *cli, int count, char **arguments)
{
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    uint64_t id;

    count = cli_options(cli, NULL, count, arguments);
    if (count < 0)
        return CLI_USAGE;
    if (count != 1 || !cli_parse_u64(arguments[0], 1, UINT64_MAX, &id))
        return cli_usage(cli, "a snapshot's number is needed: `strait txn list` shows them");
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_txn_cancel(handle, id, cli->timeout_ms, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, "cancelled", json_integer((json_int_t)id));
        return cli_print_json(document);
    }
    printf("snapshot %" PRIu64 " ended\n", id);
    return CLI_DONE;
}
