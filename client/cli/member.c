/* SPDX-License-Identifier: Apache-2.0 */
/* The region's members and its leader, and what version they are all at. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"

enum { wait_default_ms = 10 * 60 * 1000 };

/* ---- Lists ---- */

json_t *cli_json_members(const struct strait_member *members, size_t count)
{
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct strait_member *member = &members[i];
        json_t *item = json_object();
        char id[20];
        snprintf(id, sizeof id, "%016" PRIx64, member->id);
        json_object_set_new(item, "id", json_string(id));
        cli_json_bytes(item, "name", strait_text(member->name));
        cli_json_bytes(item, "peers", strait_text(member->peers));
        cli_json_bytes(item, "clients", strait_text(member->clients));
        json_object_set_new(item, "kind", json_string(member->kind));
        json_object_set_new(item, "leader", json_boolean(member->leader));
        json_object_set_new(item, "self", json_boolean(member->self));
        json_object_set_new(item, "connected", json_boolean(member->connected));
        json_object_set_new(item, "match_index", json_integer((json_int_t)member->match_index));
        json_object_set_new(item, "lag_entries", json_integer((json_int_t)member->lag_entries));
        json_object_set_new(item, "answered_ago_ms",
                            member->answered ? json_integer((json_int_t)member->answered_ago_ms)
                                             : json_null());
        json_object_set_new(item, "snapshot", json_boolean(member->snapshot));
        json_object_set_new(item, "cluster_version_max",
                            member->cluster_version_max != 0
                                ? json_integer((json_int_t)member->cluster_version_max)
                                : json_null());
        json_array_append_new(items, item);
    }
    return items;
}

static const char *state_text(const struct strait_member *member, char text[64])
{
    if (member->self)
        return "answers";
    if (!member->connected)
        return "not connected";
    if (member->snapshot)
        return "is given a snapshot";
    if (!member->answered)
        return "connected";
    snprintf(text, 64, "answered %" PRIu64 " ms ago", member->answered_ago_ms);
    return text;
}

static void print_name(const char *name, int width)
{
    cli_print_bytes(stdout, strait_text(name));
    printf("%*s ", (int)strlen(name) < width ? width - (int)strlen(name) : 0, "");
}

void cli_print_members(const struct strait_member *members, size_t count)
{
    char text[64];
    printf("%-16s %-8s %-6s %12s %10s %-4s %-22s %-22s %s\n", "NAME", "KIND", "LEADS", "LOG",
           "BEHIND", "CAN", "CLIENTS", "PEERS", "STATE");
    for (size_t i = 0; i < count; i++) {
        const struct strait_member *member = &members[i];
        print_name(member->name, 16);
        printf("%-8s %-6s %12" PRIu64 " %10" PRIu64 " ", member->kind, member->leader ? "yes" : "",
               member->match_index, member->lag_entries);
        if (member->cluster_version_max != 0)
            printf("%-4" PRIu32 " ", member->cluster_version_max);
        else
            printf("%-4s ", "-");
        print_name(member->clients, 22);
        print_name(member->peers, 22);
        printf("%s\n", state_text(member, text));
    }
}

/* Gives `members` up. */
static enum cli_exit print_members(struct cli *cli, struct strait_members *members, bool by_leader,
                                   const char *done)
{
    enum cli_exit exit = CLI_DONE;
    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, "by_leader", json_boolean(by_leader));
        json_object_set_new(document, "members", cli_json_members(members->items, members->count));
        exit = cli_print_json(document);
    } else {
        if (done != NULL)
            printf("%s\n", done);
        cli_print_members(members->items, members->count);
        if (!by_leader)
            printf("no leader answers: this is what one member knows\n");
    }
    strait_free(members);
    return exit;
}

enum cli_exit cli_member_list(struct cli *cli, int count, char **arguments)
{
    struct strait_members *members = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    bool any = false;
    const struct cli_option options[] = {{"any", NULL, &any}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 0, 0,
                       "nothing is expected after `member list`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    enum strait_status status = strait_member_list(handle, any, cli->timeout_ms, &members, &error);
    if (!any && status == STRAIT_UNREACHABLE) {
        any = true;
        status = strait_member_list(handle, true, cli->timeout_ms, &members, NULL);
    }
    if (status != STRAIT_OK)
        return cli_error(cli, &error);
    return print_members(cli, members, !any, NULL);
}

/* ---- Changes ---- */

enum cli_exit cli_member_add(struct cli *cli, int count, char **arguments)
{
    struct strait_members *members = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 2, 2,
                       "a name and the peers' address of the new member are needed"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_member_add(handle, arguments[0], arguments[1], cli->timeout_ms, &members, &error) !=
        STRAIT_OK)
        return cli_error(cli, &error);
    return print_members(cli, members, true, "added as a learner; `member promote` gives a vote");
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Until the learner has caught up: each call of the library's repeats within its own deadline. */
static enum strait_status promote(struct cli *cli, strait *handle, const char *name,
                                  uint64_t wait_ms, struct strait_members **members,
                                  struct strait_error *error)
{
    uint64_t until_ms = now_ms() + wait_ms;
    enum strait_status status;
    do {
        status = strait_member_promote(handle, name, cli->timeout_ms, members, error);
        if (status == STRAIT_BUSY && !cli->quiet) {
            cli_print_bytes(stderr, strait_text(strait_error_text(error)));
            fputc('\n', stderr);
        }
    } while (status == STRAIT_BUSY && now_ms() < until_ms);
    return status;
}

static bool parse_wait(struct cli *cli, const char *text, uint64_t *wait_ms)
{
    if (text == NULL || cli_parse_duration(text, wait_ms))
        return true;
    cli_usage(cli, "--wait %s: a time is needed, as 30s or 10m", text);
    return false;
}

enum cli_exit cli_member_promote(struct cli *cli, int count, char **arguments)
{
    struct strait_members *members = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    const char *wait_text = NULL;
    uint64_t wait_ms = 0;
    const struct cli_option options[] = {{"wait", &wait_text, NULL}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a member's name is needed") ||
        !parse_wait(cli, wait_text, &wait_ms))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (promote(cli, handle, arguments[0], wait_ms, &members, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    return print_members(cli, members, true, "has a vote now");
}

enum cli_exit cli_member_remove(struct cli *cli, int count, char **arguments)
{
    struct strait_members *members = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    bool force = false;
    const struct cli_option options[] = {{"force", NULL, &force}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a member's name is needed"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_member_remove(handle, arguments[0], force, cli->timeout_ms, &members, &error) !=
        STRAIT_OK)
        return cli_error(cli, &error);
    return print_members(cli, members, true, "removed");
}

/* The member's id, 0 where it is not there, and whether it leads. */
static enum strait_status find_member(strait *handle, const char *name, uint32_t timeout_ms,
                                      uint64_t *id, bool *leads, struct strait_error *error)
{
    struct strait_members *members = NULL;
    enum strait_status status = strait_member_list(handle, false, timeout_ms, &members, error);

    *id = 0;
    *leads = false;
    for (size_t i = 0; status == STRAIT_OK && i < members->count; i++) {
        if (strcmp(members->items[i].name, name) != 0)
            continue;
        *id = members->items[i].id;
        *leads = members->items[i].leader;
    }
    strait_free(members);
    return status;
}

/* Each step may have been done by an earlier run that was cut short. */
static enum strait_status replace(struct cli *cli, strait *handle, char *const names[3],
                                  uint64_t wait_ms, struct strait_members **members,
                                  struct strait_error *error)
{
    const char *old = names[0];
    const char *new = names[1];
    uint64_t old_id;
    bool leads;

    /* As it is now, before anything takes its time. */
    enum strait_status status = find_member(handle, old, cli->timeout_ms, &old_id, &leads, error);
    if (status != STRAIT_OK)
        return status;
    status = strait_member_add(handle, new, names[2], cli->timeout_ms, NULL, error);
    if (status != STRAIT_OK && status != STRAIT_ALREADY_EXISTS)
        return status;
    status = promote(cli, handle, new, wait_ms, NULL, error);
    if (status != STRAIT_OK && status != STRAIT_ALREADY_EXISTS)
        return status;
    uint64_t id;
    status = find_member(handle, old, cli->timeout_ms, &id, &leads, error);
    if (status == STRAIT_OK && leads)
        status = strait_leader_transfer(handle, new, cli->timeout_ms, NULL, error);
    if (status == STRAIT_OK && id != 0 && id == old_id)
        return strait_member_remove_id(handle, old, id, false, cli->timeout_ms, members, error);
    if (status == STRAIT_OK)
        status = strait_member_list(handle, false, cli->timeout_ms, members, error);
    return status;
}

enum cli_exit cli_member_replace(struct cli *cli, int count, char **arguments)
{
    struct strait_members *members = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    const char *wait_text = NULL;
    uint64_t wait_ms = wait_default_ms;
    const struct cli_option options[] = {{"wait", &wait_text, NULL}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 3, 3,
                       "the old member, the new one and its peers' address are needed") ||
        !parse_wait(cli, wait_text, &wait_ms))
        return CLI_USAGE;
    if (strcmp(arguments[0], arguments[1]) == 0)
        return cli_usage(cli, "a member cannot be replaced by itself");
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (replace(cli, handle, arguments, wait_ms, &members, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    return print_members(cli, members, true, "replaced");
}

/* ---- The leader ---- */

enum cli_exit cli_leader_transfer(struct cli *cli, int count, char **arguments)
{
    struct strait_leader *leader = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 1, "at most one member's name is expected"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_leader_transfer(handle, count == 1 ? arguments[0] : NULL, cli->timeout_ms, &leader,
                               &error) != STRAIT_OK)
        return cli_error(cli, &error);
    if (cli->json) {
        json_t *document = json_object();
        cli_json_bytes(document, "leader", strait_text(leader->name));
        cli_json_bytes(document, "clients", strait_text(leader->clients));
        exit = cli_print_json(document);
    } else {
        cli_print_bytes(stdout, strait_text(leader->name));
        printf(" leads now\n");
    }
    strait_free(leader);
    return exit;
}

enum cli_exit cli_cluster_upgrade(struct cli *cli, int count, char **arguments)
{
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    uint32_t version;

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0,
                       "nothing is expected after `cluster upgrade`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_cluster_upgrade(handle, cli->timeout_ms, &version, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    if (!cli->json) {
        printf("the cluster version is %" PRIu32 "\n", version);
        return exit;
    }
    json_t *document = json_object();
    json_object_set_new(document, "cluster_version", json_integer((json_int_t)version));
    return cli_print_json(document);
}
