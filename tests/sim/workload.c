/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/workload.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "jepsen/check/bank.h"
#include "jepsen/check/list_append.h"
#include "jepsen/check/set_full.h"
#include "proto/base/assert.h"
#include "proto/message.h"
#include "proto/txn_id.h"
#include "tests/sim/workload_internal.h"
#include "tests/sim/world.h"

static const char *const tables[] = {"lists", "accounts", "members", "leases"};
enum { tables_count = 4 };

void workload_init(struct workload *workload)
{
    *workload = (struct workload){0};
    history_init(&workload->lists);
    history_init(&workload->accounts);
    history_init(&workload->members);
    for (unsigned i = 0; i < workload_lists_count; i++)
        workload->window[i] = workload->lists_count++;
}

void workload_free(struct workload *workload)
{
    history_free(&workload->lists);
    history_free(&workload->accounts);
    history_free(&workload->members);
    free(workload->lists_positions.of);
    free(workload->accounts_positions.of);
    free(workload->members_positions.of);
}

struct workload_client *workload_client_create(struct workload *workload, struct client *client)
{
    struct workload_client *own = calloc(1, sizeof *own);
    ASSERT(own != NULL);
    own->workload = workload;
    own->client = client;
    own->process = workload->processes_count++;
    client->workload = own;
    return own;
}

void workload_client_free(struct workload_client *own)
{
    free(own);
}

struct workload_client *workload_of(const struct client *client)
{
    return client->workload;
}

bool workload_is_idle(const struct workload_client *own)
{
    return !own->busy;
}

void workload_fail(struct workload *workload, const char *format, ...)
{
    va_list arguments;
    if (workload->failure[0] != 0)
        return;
    va_start(arguments, format);
    vsnprintf(workload->failure, sizeof workload->failure, format, arguments);
    va_end(arguments);
}

/* ---- What results were true of ---- */

static struct workload_positions *positions_of(struct workload *workload,
                                               const struct history *history)
{
    if (history == &workload->lists)
        return &workload->lists_positions;
    return history == &workload->accounts ? &workload->accounts_positions
                                          : &workload->members_positions;
}

void workload_happened(struct workload_client *own, const struct history *history, bool is_read)
{
    struct workload_positions *positions = positions_of(own->workload, history);
    uint32_t capacity = positions->capacity;
    if (own->client->world->pair == NULL)
        return;
    if (history->count > capacity) {
        positions->capacity = history->capacity;
        positions->of = realloc(positions->of, positions->capacity * sizeof *positions->of);
        ASSERT(positions->of != NULL && positions->capacity >= history->count);
        memset(positions->of + capacity, 0,
               (positions->capacity - capacity) * sizeof *positions->of);
    }
    positions->of[history->count - 1] =
        (struct workload_position){.position = own->client->position,
                                   .at_ns = own->client->world->now_ns,
                                   .is_read = is_read,
                                   .doubtful = own->client->call.doubtful};
}

/* ---- One transaction after the other ---- */

static void begin_next(struct client *client)
{
    struct workload_client *own = workload_of(client);
    struct generator *generator = &client->generator;

    if (own->workload->is_stopping)
        return;
    own->busy = true;
    uint64_t kind = generator_below(generator, 100);
    if (kind < 55)
        workload_lists_begin(own);
    else if (kind < 70)
        workload_transfer_begin(own);
    else if (kind < 77)
        workload_accounts_read(own);
    else if (kind < 86)
        workload_add_begin(own);
    else if (kind < 90)
        workload_members_read(own);
    else
        workload_lease_begin(own);
}

void workload_begin(struct workload_client *own)
{
    client_later(own->client, generator_below(&own->client->generator, own->workload->think_ns) + 1,
                 begin_next);
}

void workload_retire(struct workload_client *own, enum history_type outcome)
{
    if (outcome == HISTORY_INFO)
        own->process = own->workload->processes_count++;
}

void workload_ended(struct workload_client *own, enum history_type outcome)
{
    struct workload *workload = own->workload;
    ASSERT(own->busy);
    own->busy = false;
    workload->succeeded_count += outcome == HISTORY_OK;
    workload->refused_count += outcome == HISTORY_FAIL;
    workload->unknown_count += outcome == HISTORY_INFO;
    workload_retire(own, outcome);
    workload_begin(own);
}

enum history_type workload_outcome(const struct workload_client *own, enum status status)
{
    switch (status) {
    case STATUS_OK:
        return HISTORY_OK;
    case STATUS_CONFLICT:
    case STATUS_CONDITION_FAILED:
    case STATUS_OUT_OF_BOUNDS:
    case STATUS_NOT_FOUND:
        return HISTORY_FAIL;
    case STATUS_SNAPSHOT_TOO_OLD:
    case STATUS_NO_SNAPSHOT:
    case STATUS_HISTORY_LOST: /* what it had read was given up */
        return HISTORY_FAIL;
    case STATUS_TXN_EXPIRED: /* this attempt was without effect; an earlier one perhaps not */
        return own->client->call.doubtful ? HISTORY_INFO : HISTORY_FAIL;
    case STATUS_OUTCOME_UNKNOWN:
    case STATUS_DISCONNECTED:
        return HISTORY_INFO;
    default:
        workload_fail(own->workload, "client %u was answered %s", own->client->index,
                      status_name(status));
        return HISTORY_INFO;
    }
}

void workload_commit(struct workload_client *own, Strait__Commit *commit, client_done_fn *done)
{
    uint8_t id[txn_id_size];
    generator_fill(&own->client->generator, id, sizeof id);
    store_u64(id, ++own->workload->txn_ids_count);
    commit->txn_id = field_of_bytes(bytes_of(id, sizeof id));
    commit->issued_ns = own->client->log_time_ns;
    client_ask(own->client, FRAME_COMMIT, &commit->base, false, done);
}

/* ---- Tables and accounts ---- */

static void prepare_next(struct client *client);

static void ping_done(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    (void)message;
    if (status != STATUS_OK || client->log_time_ns == 0)
        client_later(client, 100000000, prepare_next);
    else {
        own->number = 1;
        prepare_next(client);
    }
}

static void table_done(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    (void)message;
    if (status == STATUS_OK || status == STATUS_ALREADY_EXISTS)
        own->number++;
    else if (status != STATUS_OUTCOME_UNKNOWN)
        workload_fail(own->workload, "a table could not be made: %s", status_name(status));
    prepare_next(client);
}

static void accounts_done(struct client *client, enum status status,
                          const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    (void)message;
    /* CONDITION_FAILED: an attempt of unknown end had made them. */
    if (status == STATUS_OK || status == STATUS_CONDITION_FAILED)
        own->number++;
    else if (status != STATUS_OUTCOME_UNKNOWN)
        workload_fail(own->workload, "the accounts could not be made: %s", status_name(status));
    prepare_next(client);
}

static void make_accounts(struct workload_client *own)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Operation operations[workload_accounts_count];
    Strait__Operation *list[workload_accounts_count];
    Strait__Put puts[workload_accounts_count];
    char keys[workload_accounts_count][8];
    char value[16];
    Strait__Condition condition = STRAIT__CONDITION__INIT;
    Strait__Condition *conditions[] = {&condition};

    snprintf(value, sizeof value, "%d", workload_account_balance);
    for (unsigned i = 0; i < workload_accounts_count; i++) {
        snprintf(keys[i], sizeof keys[i], "a%u", i);
        strait__put__init(&puts[i]);
        strait__operation__init(&operations[i]);
        puts[i].table = (char *)"accounts";
        puts[i].key = field_of_bytes(bytes_of_text(keys[i]));
        puts[i].value = field_of_bytes(bytes_of_text(value));
        operations[i].kind_case = STRAIT__OPERATION__KIND_PUT;
        operations[i].put = &puts[i];
        list[i] = &operations[i];
    }
    condition.kind = STRAIT__CONDITION__KIND__ABSENT;
    condition.table = (char *)"accounts";
    condition.key = puts[0].key;
    commit.conditions = conditions;
    commit.n_conditions = 1;
    commit.operations = list;
    commit.n_operations = workload_accounts_count;
    workload_commit(own, &commit, accounts_done);
}

/* `number` says how far it has come. */
static void prepare_next(struct client *client)
{
    struct workload_client *own = workload_of(client);
    if (own->number == 0) {
        Strait__Ping ping = STRAIT__PING__INIT;
        client_ask(client, FRAME_PING, &ping.base, false, ping_done);
    } else if (own->number <= tables_count) {
        Strait__Commit commit = STRAIT__COMMIT__INIT;
        Strait__TableCreate create = STRAIT__TABLE_CREATE__INIT;
        Strait__Operation operation = STRAIT__OPERATION__INIT;
        Strait__Operation *list[] = {&operation};
        create.table = (char *)(uintptr_t)tables[own->number - 1];
        operation.kind_case = STRAIT__OPERATION__KIND_TABLE_CREATE;
        operation.table_create = &create;
        commit.operations = list;
        commit.n_operations = 1;
        workload_commit(own, &commit, table_done);
    } else if (own->number == tables_count + 1) {
        make_accounts(own);
    } else {
        own->done(client);
    }
}

void workload_prepare(struct workload_client *own, void (*done)(struct client *client))
{
    own->done = done;
    own->number = 0;
    prepare_next(own->client);
}

void workload_read_all(struct workload_client *own, void (*done)(struct client *client))
{
    ASSERT(!own->busy && own->workload->is_stopping);
    own->done = done;
    own->is_final = true;
    own->busy = true;
    own->lists.next_list = 0;
    workload_lists_read_next(own);
}

/* ---- Judgement ---- */

void workload_judge(struct workload *workload, struct verdict *verdict, const char **history)
{
    const struct bank_options bank = {.total = workload_accounts_count * workload_account_balance};
    *verdict = (struct verdict){0};
    *history = "what clients saw";
    if (workload->failure[0] != 0) {
        verdict_set(verdict, VERDICT_INVALID, "failure", "%s", workload->failure);
        return;
    }
    *history = "lists";
    list_append_check(&workload->lists, verdict);
    if (verdict->kind != VERDICT_VALID)
        return;
    *history = "accounts";
    bank_check(&workload->accounts, &bank, verdict);
    if (verdict->kind != VERDICT_VALID)
        return;
    *history = "members";
    set_full_check(&workload->members, verdict);
}
