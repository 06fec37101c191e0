/* SPDX-License-Identifier: Apache-2.0 */
/* Money moved between accounts, unique numbers added to a set, and both read whole. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "proto/number.h"
#include "tests/sim/workload_internal.h"

enum { amount_max = 40 };

static struct history *history_of(struct workload_client *own, bool is_set)
{
    return is_set ? &own->workload->members : &own->workload->accounts;
}

/* ---- Transfers ---- */

static void transferred(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    (void)message;
    enum history_type outcome = workload_outcome(own, status);
    own->workload->committed_count += outcome == HISTORY_OK;
    history_add(&own->workload->accounts, outcome, HISTORY_TRANSFER, own->process);
    workload_happened(own, &own->workload->accounts, false);
    workload_ended(own, outcome);
}

static void add_to(Strait__Operation *operation, Strait__Add *add, const char *key, int64_t amount)
{
    strait__add__init(add);
    strait__operation__init(operation);
    add->table = (char *)"accounts";
    add->key = field_of_bytes(bytes_of_text(key));
    add->amount = amount;
    add->has_minimum = true;
    add->minimum = 0;
    add->must_exist = true;
    operation->kind_case = STRAIT__OPERATION__KIND_ADD;
    operation->add = add;
}

void workload_transfer_begin(struct workload_client *own)
{
    struct generator *generator = &own->client->generator;
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Operation operations[2];
    Strait__Operation *list[] = {&operations[0], &operations[1]};
    Strait__Add adds[2];
    char keys[2][24];
    uint64_t from = generator_below(generator, workload_accounts_count);
    uint64_t to = (from + 1 + generator_below(generator, workload_accounts_count - 1)) %
                  workload_accounts_count;
    int64_t amount = (int64_t)generator_between(generator, 1, amount_max);

    snprintf(keys[0], sizeof keys[0], "a%" PRIu64, from);
    snprintf(keys[1], sizeof keys[1], "a%" PRIu64, to);
    add_to(&operations[0], &adds[0], keys[0], -amount);
    add_to(&operations[1], &adds[1], keys[1], amount);
    commit.operations = list;
    commit.n_operations = 2;
    history_add(&own->workload->accounts, HISTORY_INVOKE, HISTORY_TRANSFER, own->process);
    workload_commit(own, &commit, transferred);
}

/* ---- Additions ---- */

static void note_number(struct workload_client *own, enum history_type type)
{
    struct history *history = &own->workload->members;
    int64_t *number = history_numbers(history, 1);
    *number = own->number;
    struct history_entry *entry = history_add(history, type, HISTORY_ADD, own->process);
    entry->shape = HISTORY_NUMBERS;
    entry->count = 1;
    entry->numbers = number;
}

static void added(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    (void)message;
    enum history_type outcome = workload_outcome(own, status);
    own->workload->committed_count += outcome == HISTORY_OK;
    note_number(own, outcome);
    workload_happened(own, &own->workload->members, false);
    workload_ended(own, outcome);
}

void workload_add_begin(struct workload_client *own)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *operations[] = {&operation};
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Condition condition = STRAIT__CONDITION__INIT;
    Strait__Condition *conditions[] = {&condition};
    char key[24];

    own->number = ++own->workload->numbers_count;
    snprintf(key, sizeof key, "%08" PRId64, own->number);
    put.table = (char *)"members";
    put.key = field_of_bytes(bytes_of_text(key));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    condition.kind = STRAIT__CONDITION__KIND__ABSENT;
    condition.table = put.table;
    condition.key = put.key;
    commit.operations = operations;
    commit.n_operations = 1;
    commit.conditions = conditions;
    commit.n_conditions = 1;
    note_number(own, HISTORY_INVOKE);
    workload_commit(own, &commit, added);
}

/* ---- Reads of all ---- */

static void read_failed(struct workload_client *own, bool is_set, enum status status)
{
    (void)workload_outcome(own, status);
    history_add(history_of(own, is_set), HISTORY_FAIL, HISTORY_READ, own->process);
    if (!own->is_final)
        workload_ended(own, HISTORY_FAIL);
    else if (is_set)
        workload_members_read(own);
    else
        workload_accounts_read(own);
}

static void note_accounts(struct workload_client *own, const Strait__ScanReply *reply)
{
    struct history *history = &own->workload->accounts;
    int64_t *pairs = history_numbers(history, reply->n_records * 2);
    for (size_t i = 0; i < reply->n_records; i++) {
        const Strait__Record *record = reply->records[i];
        pairs[2 * i] = history_key(history, bytes_of_field(record->key));
        if (number_parse(bytes_of_field(record->value), &pairs[2 * i + 1]) != STATUS_OK)
            workload_fail(own->workload, "an account's value is no number");
    }
    struct history_entry *entry = history_add(history, HISTORY_OK, HISTORY_READ, own->process);
    entry->shape = HISTORY_PAIRS;
    entry->count = (uint32_t)reply->n_records * 2;
    entry->numbers = pairs;
    workload_happened(own, history, true);
}

static void note_members(struct workload_client *own, const Strait__ScanReply *reply)
{
    struct history *history = &own->workload->members;
    int64_t *numbers = history_numbers(history, reply->n_records);
    for (size_t i = 0; i < reply->n_records; i++) {
        struct bytes key = bytes_of_field(reply->records[i]->key);
        for (size_t k = 0; k < key.size; k++)
            numbers[i] = numbers[i] * 10 + (key.data[k] - '0');
    }
    struct history_entry *entry = history_add(history, HISTORY_OK, HISTORY_READ, own->process);
    entry->shape = HISTORY_NUMBERS;
    entry->count = (uint32_t)reply->n_records;
    entry->numbers = numbers;
    workload_happened(own, history, true);
}

static void accounts_scanned(struct client *client, enum status status,
                             const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    if (status != STATUS_OK) {
        read_failed(own, false, status);
        return;
    }
    note_accounts(own, (const void *)message);
    if (own->is_final)
        workload_members_read(own);
    else
        workload_ended(own, HISTORY_OK);
}

static void members_scanned(struct client *client, enum status status,
                            const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    if (status != STATUS_OK) {
        read_failed(own, true, status);
        return;
    }
    const Strait__ScanReply *reply = (const void *)message;
    if (reply->more)
        workload_fail(own->workload, "the set did not fit one reply");
    note_members(own, reply);
    if (!own->is_final) {
        workload_ended(own, HISTORY_OK);
        return;
    }
    own->is_final = own->busy = false;
    own->done(client);
}

static void scan(struct workload_client *own, const char *table, client_done_fn *done)
{
    Strait__Scan message = STRAIT__SCAN__INIT;
    Strait__Range range = STRAIT__RANGE__INIT;
    range.table = (char *)(uintptr_t)table;
    message.range = &range;
    message.reverse = generator_chance(&own->client->generator, 1, 4);
    client_ask(own->client, FRAME_SCAN, &message.base, false, done);
}

void workload_accounts_read(struct workload_client *own)
{
    history_add(&own->workload->accounts, HISTORY_INVOKE, HISTORY_READ, own->process);
    scan(own, "accounts", accounts_scanned);
}

void workload_members_read(struct workload_client *own)
{
    history_add(&own->workload->members, HISTORY_INVOKE, HISTORY_READ, own->process);
    scan(own, "members", members_scanned);
}
