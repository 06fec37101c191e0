/* SPDX-License-Identifier: Apache-2.0 */
/* The witness between regions. */
#include <inttypes.h>

#include "client/cli/cli.h"
#include "client/strait_region.h"

static const char *answer_text(enum strait_lease_answer answer)
{
    switch (answer) {
    case STRAIT_LEASE_NONE:
        break;
    case STRAIT_LEASE_GRANTED:
        return "granted";
    case STRAIT_LEASE_NOTED:
        return "noted";
    case STRAIT_LEASE_WAITS:
        return "waits";
    case STRAIT_LEASE_HELD:
        return "held";
    case STRAIT_LEASE_OLD_EPOCH:
        return "old_epoch";
    case STRAIT_LEASE_TOO_LONG:
        return "too_long";
    case STRAIT_LEASE_NEVER_HELD:
        return "never_held";
    case STRAIT_LEASE_UNPROVEN:
        return "unproven";
    case STRAIT_LEASE_REMOVED:
        return "removed";
    }
    return "unknown";
}

static json_t *json_number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *json_witness(const struct strait_witness *witness)
{
    json_t *document = json_object();
    json_t *epoch = json_object();
    json_t *items = json_array();
    json_t *listed = json_array();

    for (size_t i = 0; i < witness->listed_count; i++)
        json_array_append_new(listed, json_number(witness->listed[i]));
    for (size_t i = 0; i < witness->count; i++) {
        const struct strait_witness_region *region = &witness->items[i];
        json_t *item = json_object();
        json_object_set_new(item, "id", json_number(region->id));
        cli_json_bytes(item, "server", strait_text(region->server));
        json_object_set_new(item, "asked_ago_ms", json_number(region->asked_ago_ms));
        json_object_set_new(item, "candidate", json_boolean(region->candidate));
        json_object_set_new(item, "answer", json_string(answer_text(region->answer)));
        json_array_append_new(items, item);
    }
    json_object_set_new(epoch, "number", json_number(witness->epoch_number));
    json_object_set_new(epoch, "region", json_number(witness->epoch_region));
    json_object_set_new(document, "epoch", epoch);
    json_object_set_new(document, "epoch_held", json_boolean(witness->epoch_held));
    json_object_set_new(document, "granted_to",
                        witness->granted_to != 0 ? json_number(witness->granted_to) : json_null());
    json_object_set_new(document, "candidate", json_boolean(witness->candidate));
    json_object_set_new(document, "granted_ms", json_number(witness->granted_ms));
    json_object_set_new(document, "list_version", json_number(witness->list_version));
    json_object_set_new(document, "listed", listed);
    json_object_set_new(document, "waits_ms", json_number(witness->waits_ms));
    json_object_set_new(document, "lease_ms", json_number(witness->lease_ms));
    json_object_set_new(document, "up_ms", json_number(witness->up_ms));
    json_object_set_new(document, "granted", json_number(witness->granted_count));
    json_object_set_new(document, "refused", json_number(witness->refused_count));
    json_object_set_new(document, "regions", items);
    return document;
}

static void print_witness(const struct strait_witness *witness)
{
    if (witness->epoch_number == 0)
        printf("epoch      none is known yet\n");
    else
        printf("epoch      %" PRIu64 " of region %" PRIu32 "%s\n", witness->epoch_number,
               witness->epoch_region,
               witness->epoch_held ? "" : ", which has not asked for a lease");
    if (witness->granted_to == 0)
        printf("granted    to nobody\n");
    else
        printf("granted    to region %" PRIu32 ", for %.3f s yet%s\n", witness->granted_to,
               (double)witness->granted_ms / 1000, witness->candidate ? ": to be promoted" : "");
    if (witness->list_version != 0) {
        printf("regions    ");
        for (size_t i = 0; i < witness->listed_count; i++)
            printf("%s%" PRIu32, i == 0 ? "" : ", ", witness->listed[i]);
        printf(": no other one is granted anything\n");
    }
    if (witness->waits_ms != 0)
        printf("restarted  it grants nothing for %.3f s yet\n", (double)witness->waits_ms / 1000);
    printf("lease      at most %.3f s\n", (double)witness->lease_ms / 1000);
    printf("up         %.3f s; %" PRIu64 " leases granted, %" PRIu64 " refused\n",
           (double)witness->up_ms / 1000, witness->granted_count, witness->refused_count);
    for (size_t i = 0; i < witness->count; i++) {
        const struct strait_witness_region *region = &witness->items[i];
        printf("region %-4" PRIu32 " asked %.3f s ago by ", region->id,
               (double)region->asked_ago_ms / 1000);
        cli_print_bytes(stdout, strait_text(region->server));
        printf("%s: %s\n", region->candidate ? ", to be promoted" : "",
               answer_text(region->answer));
    }
}

void cli_print_lease(const struct strait_lease *lease, bool is_primary_leader)
{
    if (is_primary_leader) {
        printf("lease      %s; the witness's for %.3f s yet, the standby's for %.3f s\n",
               lease->waived ? "waived by force"
               : lease->held ? "held"
                             : "OUT: no writes, no linearizable reads",
               (double)lease->witness_ms / 1000, (double)lease->standby_ms / 1000);
    } else {
        printf("lease      promised to the primary for %.3f s yet; promotion %s\n",
               (double)lease->promised_ms / 1000,
               lease->automatic ? "is automatic" : "is an operator's");
    }
    printf("witness    %s", lease->connected ? "connected" : "NOT connected");
    if (lease->text[0] != 0) {
        printf("; ");
        cli_print_bytes(stdout, strait_text(lease->text));
    }
    putchar('\n');
}

enum cli_exit cli_witness_status(struct cli *cli, int count, char **arguments)
{
    struct strait_witness *witness = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 0, 0,
                       "nothing is expected after `witness status`"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_witness_status(handle, cli->timeout_ms, &witness, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    if (cli->json)
        exit = cli_print_json(json_witness(witness));
    else
        print_witness(witness);
    strait_free(witness);
    return exit;
}
