/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that read lists and append to them. A list is a record whose value is its numbers in
 * decimal, with a space between two; an append is a put of what was read and one number more, which
 * is safe by what the commit says it has read. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "tests/sim/workload_internal.h"
#include "tests/sim/world.h"

enum { key_size = 24, number_size_max = 20 };

static void key_of(int64_t list, char key[key_size])
{
    snprintf(key, key_size, "l%05" PRId64, list);
}

/* ---- The plan ---- */

static unsigned view_of(struct workload_lists *lists, int64_t list)
{
    for (unsigned i = 0; i < lists->views_count; i++)
        if (lists->views[i].list == list)
            return i;
    ASSERT(lists->views_count < workload_keys_max);
    struct workload_view *view = &lists->views[lists->views_count];
    view->list = list;
    view->version = 0;
    view->read_count = view->count = 0;
    return lists->views_count++;
}

static void forget(struct workload_lists *lists)
{
    memset(lists, 0, offsetof(struct workload_lists, views));
}

static void plan(struct workload_client *own)
{
    struct workload_lists *lists = &own->lists;
    struct generator *generator = &own->client->generator;
    bool reads_only = generator_chance(generator, 1, 4);

    forget(lists);
    lists->mops_count = (unsigned)generator_between(generator, 1, workload_mops_max);
    lists->by_snapshot = generator_chance(generator, 1, 4);
    lists->by_conditions = generator_chance(generator, 1, 4);
    for (unsigned i = 0; i < lists->mops_count; i++) {
        int64_t list = own->workload->window[generator_below(generator, workload_lists_count)];
        lists->mops[i].view = view_of(lists, list);
        lists->mops[i].is_append = !reads_only && generator_chance(generator, 1, 2);
        if (lists->mops[i].is_append) {
            lists->mops[i].number = ++own->workload->numbers_count;
            lists->writes = true;
        }
    }
}

/* ---- The history ---- */

/* The steps as far as they are known: reads are nil where nothing was read yet. */
static void note(struct workload_client *own, enum history_type type, bool with_reads)
{
    struct history *history = &own->workload->lists;
    struct workload_lists *lists = &own->lists;
    uint32_t appended[workload_keys_max] = {0};
    struct history_mop *mops = history_mops(history, lists->mops_count);

    for (unsigned i = 0; i < lists->mops_count; i++) {
        const struct workload_view *view = &lists->views[lists->mops[i].view];
        struct history_mop *mop = &mops[i];
        mop->key = history_key_of_number(history, view->list);
        if (lists->mops[i].is_append) {
            int64_t *number = history_numbers(history, 1);
            *number = lists->mops[i].number;
            mop->kind = HISTORY_MOP_APPEND;
            mop->count = 1;
            mop->numbers = number;
            appended[lists->mops[i].view]++;
            continue;
        }
        uint32_t count = view->read_count + appended[lists->mops[i].view];
        mop->is_nil = !with_reads || count == 0;
        if (mop->is_nil)
            continue;
        int64_t *numbers = history_numbers(history, count);
        memcpy(numbers, view->numbers, count * sizeof *numbers);
        mop->count = count;
        mop->numbers = numbers;
    }
    struct history_entry *entry = history_add(history, type, HISTORY_TXN, own->process);
    entry->shape = HISTORY_MOPS;
    entry->count = lists->mops_count;
    entry->mops = mops;
    if (type != HISTORY_INVOKE)
        workload_happened(own, history, !lists->writes);
}

/* A list that has become long is put aside for a new one. */
static void renew_window(struct workload_client *own)
{
    struct workload *workload = own->workload;
    for (unsigned i = 0; i < own->lists.views_count; i++) {
        const struct workload_view *view = &own->lists.views[i];
        for (unsigned k = 0; k < workload_lists_count; k++)
            if (workload->window[k] == view->list && view->count >= workload_list_length)
                workload->window[k] = workload->lists_count++;
    }
}

static void ended(struct workload_client *own, enum history_type outcome)
{
    note(own, outcome, outcome == HISTORY_OK);
    if (outcome == HISTORY_OK)
        renew_window(own);
    if (!own->is_final) {
        workload_ended(own, outcome);
        return;
    }
    workload_retire(own, outcome);
    if (outcome == HISTORY_OK)
        own->lists.next_list += own->lists.views_count;
    workload_lists_read_next(own);
}

static void snapshot_closed(struct client *client, enum status status,
                            const ProtobufCMessage *message)
{
    (void)status; /* what is not closed expires */
    (void)message;
    workload_ended(workload_of(client), HISTORY_OK);
}

/* As ended(), but a snapshot is given back. */
static void ended_in_snapshot(struct workload_client *own, enum history_type outcome)
{
    if (own->lists.snapshot_id == 0 || outcome != HISTORY_OK || own->is_final) {
        ended(own, outcome);
        return;
    }
    Strait__SnapshotClose close = STRAIT__SNAPSHOT_CLOSE__INIT;
    close.snapshot_id = own->lists.snapshot_id;
    note(own, outcome, true);
    renew_window(own);
    client_ask(own->client, FRAME_SNAPSHOT_CLOSE, &close.base, true, snapshot_closed);
}

/* ---- Commit ---- */

static void committed(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    (void)message;
    enum history_type outcome = workload_outcome(own, status);
    own->workload->committed_count += outcome == HISTORY_OK;
    ended_in_snapshot(own, outcome);
}

struct commit_parts {
    char keys[workload_keys_max][key_size];
    char values[workload_keys_max][workload_value_max];
    Strait__Key reads[workload_keys_max];
    Strait__Key *reads_list[workload_keys_max];
    Strait__Condition conditions[workload_keys_max];
    Strait__Condition *conditions_list[workload_keys_max];
    Strait__Put puts[workload_keys_max];
    Strait__Operation operations[workload_keys_max];
    Strait__Operation *operations_list[workload_keys_max];
};

static void guard(struct workload_client *own, Strait__Commit *commit, struct commit_parts *parts,
                  unsigned i)
{
    const struct workload_view *view = &own->lists.views[i];
    if (own->lists.by_conditions) {
        Strait__Condition *condition = &parts->conditions[i];
        strait__condition__init(condition);
        condition->kind = view->version == 0 ? STRAIT__CONDITION__KIND__ABSENT
                                             : STRAIT__CONDITION__KIND__VERSION_IS;
        condition->table = (char *)"lists";
        condition->key = field_of_bytes(bytes_of_text(parts->keys[i]));
        condition->version = view->version;
        parts->conditions_list[commit->n_conditions++] = condition;
    } else {
        strait__key__init(&parts->reads[i]);
        parts->reads[i].table = (char *)"lists";
        parts->reads[i].key = field_of_bytes(bytes_of_text(parts->keys[i]));
        parts->reads_list[commit->n_reads++] = &parts->reads[i];
    }
}

/* In decimal; there are many of them. */
static size_t number_write(int64_t number, char *to)
{
    char digits[number_size_max];
    size_t count = 0;
    ASSERT(number >= 0);
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (size_t i = 0; i < count; i++)
        to[i] = digits[count - 1 - i];
    return count;
}

static void put_list(struct workload_client *own, Strait__Commit *commit,
                     struct commit_parts *parts, unsigned i)
{
    const struct workload_view *view = &own->lists.views[i];
    size_t used = 0;
    for (uint32_t k = 0; k < view->count; k++) {
        ASSERT(used + number_size_max + 1 <= sizeof parts->values[i]);
        if (k != 0)
            parts->values[i][used++] = ' ';
        used += number_write(view->numbers[k], parts->values[i] + used);
    }
    strait__put__init(&parts->puts[i]);
    strait__operation__init(&parts->operations[i]);
    parts->puts[i].table = (char *)"lists";
    parts->puts[i].key = field_of_bytes(bytes_of_text(parts->keys[i]));
    parts->puts[i].value = field_of_bytes(bytes_of(parts->values[i], used));
    parts->operations[i].kind_case = STRAIT__OPERATION__KIND_PUT;
    parts->operations[i].put = &parts->puts[i];
    parts->operations_list[commit->n_operations++] = &parts->operations[i];
}

static void commit(struct workload_client *own)
{
    struct workload_lists *lists = &own->lists;
    struct commit_parts *parts = malloc(sizeof *parts);
    Strait__Commit message = STRAIT__COMMIT__INIT;

    ASSERT(parts != NULL);
    for (unsigned i = 0; i < lists->mops_count; i++) {
        struct workload_view *view = &lists->views[lists->mops[i].view];
        if (lists->mops[i].is_append)
            view->numbers[view->count++] = lists->mops[i].number;
    }
    message.reads = parts->reads_list;
    message.conditions = parts->conditions_list;
    message.operations = parts->operations_list;
    for (unsigned i = 0; i < lists->views_count; i++) {
        key_of(lists->views[i].list, parts->keys[i]);
        guard(own, &message, parts, i);
        if (lists->views[i].count > lists->views[i].read_count)
            put_list(own, &message, parts, i);
    }
    if (!lists->by_conditions)
        message.snapshot = lists->version;
    if (own->client->world->pair != NULL) {
        message.snapshot_epoch_number = lists->epoch.number;
        message.snapshot_epoch_region = lists->epoch.region;
    }
    workload_commit(own, &message, committed);
    free(parts);
}

/* ---- Reads ---- */

static void parse(struct workload_client *own, struct workload_view *view, struct bytes value)
{
    size_t at = 0;
    while (at < value.size) {
        int64_t number = 0;
        while (at < value.size && value.data[at] != ' ')
            number = number * 10 + (value.data[at++] - '0');
        at++;
        if (view->count == sizeof view->numbers / sizeof view->numbers[0]) {
            workload_fail(own->workload, "list %" PRId64 " is longer than anyone made it",
                          view->list);
            return;
        }
        view->numbers[view->count++] = number;
    }
    view->read_count = view->count;
}

static void got(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    struct workload_lists *lists = &own->lists;
    const Strait__GetReply *reply = (const void *)message;

    if (status != STATUS_OK) {
        (void)workload_outcome(own, status);
        ended(own, HISTORY_FAIL); /* nothing was written: it surely did not happen */
        return;
    }
    if (reply->n_records != lists->views_count) {
        workload_fail(own->workload, "%zu records for %u keys", reply->n_records,
                      lists->views_count);
        ended(own, HISTORY_FAIL);
        return;
    }
    lists->version = reply->position->version;
    lists->epoch = client->position.epoch;
    for (unsigned i = 0; i < lists->views_count; i++) {
        const Strait__Record *record = reply->records[i];
        if (!record->found)
            continue;
        lists->views[i].version = record->version;
        parse(own, &lists->views[i], bytes_of_field(record->value));
    }
    if (lists->writes)
        commit(own);
    else
        ended_in_snapshot(own, HISTORY_OK);
}

static void get(struct workload_client *own)
{
    struct workload_lists *lists = &own->lists;
    Strait__Get message = STRAIT__GET__INIT;
    Strait__Key keys[workload_keys_max];
    Strait__Key *list[workload_keys_max];
    char texts[workload_keys_max][key_size];

    for (unsigned i = 0; i < lists->views_count; i++) {
        key_of(lists->views[i].list, texts[i]);
        strait__key__init(&keys[i]);
        keys[i].table = (char *)"lists";
        keys[i].key = field_of_bytes(bytes_of_text(texts[i]));
        list[i] = &keys[i];
    }
    message.snapshot_id = lists->snapshot_id;
    message.keys = list;
    message.n_keys = lists->views_count;
    client_ask(own->client, FRAME_GET, &message.base, lists->snapshot_id != 0, got);
}

static void snapshot_opened(struct client *client, enum status status,
                            const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    if (status != STATUS_OK) {
        ended(own, HISTORY_FAIL);
        return;
    }
    own->lists.snapshot_id =
        ((const Strait__SnapshotOpenReply *)(const void *)message)->snapshot_id;
    get(own);
}

void workload_lists_begin(struct workload_client *own)
{
    plan(own);
    note(own, HISTORY_INVOKE, false);
    if (own->lists.by_snapshot) {
        Strait__SnapshotOpen open = STRAIT__SNAPSHOT_OPEN__INIT;
        client_ask(own->client, FRAME_SNAPSHOT_OPEN, &open.base, false, snapshot_opened);
    } else {
        get(own);
    }
}

/* The final reads: some lists at a time, until all that ever were have been read. */
void workload_lists_read_next(struct workload_client *own)
{
    struct workload_lists *lists = &own->lists;
    int64_t next = lists->next_list;

    if (next == own->workload->lists_count) {
        workload_accounts_read(own);
        return;
    }
    forget(lists);
    lists->next_list = next;
    for (; lists->mops_count < workload_mops_max && next < own->workload->lists_count; next++) {
        lists->mops[lists->mops_count].view = view_of(lists, next);
        lists->mops_count++;
    }
    note(own, HISTORY_INVOKE, false);
    get(own);
}
