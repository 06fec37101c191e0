/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that read: begun at a snapshot, run again on conflict. Their scans are in scan.c. */
#include <errno.h>
#include <openssl/rand.h>
#include <time.h>

#include "client/error.h"
#include "client/read.h"
#include "client/result.h"
#include "client/txn.h"
#include "proto/base/assert.h"

enum { run_pause_min_ms = 1, run_pause_max_ms = 200 };

static enum strait_status begin(strait *handle, uint64_t deadline_ns, strait_txn **txn,
                                struct strait_error *error)
{
    strait_txn *made = strait_txn_new();
    if (made == NULL)
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    enum strait_status status = snapshot_begin(handle, deadline_ns, &made->snapshot, error);
    if (status != STRAIT_OK) {
        strait_txn_free(made);
        return status;
    }
    made->handle = handle;
    made->read_version = made->snapshot->version;
    made->read_epoch_number = made->snapshot->epoch_number;
    made->read_epoch_region = made->snapshot->epoch_region;
    *txn = made;
    return STRAIT_OK;
}

enum strait_status strait_begin(strait *handle, uint32_t timeout_ms, strait_txn **txn,
                                struct strait_error *error)
{
    *txn = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    return begin(handle, handle_deadline_ns(handle, timeout_ms), txn, error);
}

/* The snapshot's record, noted as read. NULL result where it is not looked at. */
static enum strait_status read_base(strait_txn *txn, const struct write *write, const char *table,
                                    struct strait_bytes key, uint64_t deadline_ns,
                                    struct strait_records **records, struct strait_error *error)
{
    struct strait_key asked = {.table = table, .key = key};

    *records = NULL;
    if (write != NULL && write->replaces)
        return STRAIT_OK;
    enum strait_status status = snapshot_keep(txn->snapshot, deadline_ns, error);
    if (status == STRAIT_OK)
        status =
            read_keys(txn->handle, txn->snapshot->id, NULL, &asked, 1, deadline_ns, records, error);
    if (status != STRAIT_OK)
        return status;
    status = txn_note_read(txn, table, bytes_of(key.data, key.size));
    if (status == STRAIT_OK)
        return STRAIT_OK;
    strait_free(*records);
    *records = NULL;
    return client_error_set(error, (enum status)status, "The transaction reads more than it can.");
}

static struct result *result_of_records(struct strait_records *records)
{
    return (struct result *)(void *)((uint8_t *)records - offsetof(struct result, public_part));
}

/* Shows the transaction's own write over what the snapshot has; takes `base`, which may be NULL. */
static enum strait_status show_write(strait_txn *txn, const struct write *write,
                                     struct strait_records *base, struct strait_records **records,
                                     struct strait_error *error)
{
    struct result *result =
        base != NULL ? result_of_records(base) : result_new(sizeof(struct strait_records), 0);
    if (result == NULL)
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    struct strait_records *shown = (struct strait_records *)(void *)result->public_part;
    const struct strait_record *old = base != NULL && base->items[0].found ? base->items : NULL;
    struct strait_record *item = arena_alloc_zeroed(&result->arena, 1, sizeof *item);
    enum status status =
        item != NULL ? writes_apply(write, old, &result->arena, item) : STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        result_free(result);
        return client_error_set(error, status,
                                "This transaction's own add to the record would be refused: %s.",
                                status_text(status));
    }
    shown->version = txn->snapshot->version;
    shown->count = 1;
    shown->items = item;
    *records = shown;
    return STRAIT_OK;
}

enum strait_status strait_txn_get(strait_txn *txn, const char *table, struct strait_bytes key,
                                  uint32_t timeout_ms, struct strait_records **records,
                                  struct strait_error *error)
{
    *records = NULL;
    if (txn->handle == NULL || txn->snapshot == NULL)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "This transaction cannot read: it was not begun with "
                                "strait_begin(), or it is over.");
    enum strait_status status = handle_check(txn->handle, error);
    if (status == STRAIT_OK)
        status = read_check_key(table, key, error);
    if (status != STRAIT_OK)
        return status;
    const struct write *write = writes_find(&txn->writes, table, bytes_of(key.data, key.size));
    struct strait_records *base;
    status = read_base(txn, write, table, key, handle_deadline_ns(txn->handle, timeout_ms), &base,
                       error);
    if (status != STRAIT_OK)
        return status;
    if (write == NULL)
        *records = base;
    else
        status = show_write(txn, write, base, records, error);
    if (status == STRAIT_OK && !(*records)->items[0].found) {
        strait_free(*records);
        *records = NULL;
        status =
            client_error_set(error, STATUS_NOT_FOUND, "There is no such record in '%s'.", table);
    }
    return status;
}

/* ---- Running a body until it commits ---- */

static bool is_worth_another_try(enum strait_status status)
{
    return status == STRAIT_CONFLICT || status == STRAIT_SNAPSHOT_TOO_OLD ||
           status == STRAIT_HISTORY_LOST || status == STRAIT_NO_SNAPSHOT;
}

/* Milliseconds that are left, rounded up; 0: none. */
static uint32_t left_ms(uint64_t deadline_ns)
{
    uint64_t now_ns = client_now_ns();
    return now_ns >= deadline_ns ? 0 : (uint32_t)((deadline_ns - now_ns + 999999) / 1000000);
}

/* Half certain, half chance. False where the deadline comes first: there is no time for a try. */
static bool pause_before(unsigned tries_count, uint64_t deadline_ns)
{
    uint32_t pause_ms = (uint32_t)run_pause_min_ms << (tries_count < 8 ? tries_count : 8);
    uint32_t chance = 0;

    if (pause_ms > run_pause_max_ms)
        pause_ms = run_pause_max_ms;
    if (RAND_bytes((unsigned char *)&chance, sizeof chance) != 1)
        chance = 0;
    uint64_t pause_ns = (uint64_t)pause_ms * 500000 + chance % (pause_ms * 500000 + 1);
    uint64_t until_ns = client_now_ns() + pause_ns;
    if (until_ns >= deadline_ns)
        return false;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    return true;
}

static enum strait_status try_once(strait *handle, strait_body body, void *context,
                                   uint64_t deadline_ns, struct strait_commit_result *result,
                                   struct strait_error *error)
{
    strait_txn *txn;
    enum strait_status status = begin(handle, deadline_ns, &txn, error);
    if (status != STRAIT_OK)
        return status;
    client_error_clear(error);
    status = body(txn, context, error);
    uint32_t timeout_ms = left_ms(deadline_ns);
    if (status != STRAIT_OK) {
        /* A body may give a status of its own without words. */
        if (error != NULL && error->status != status)
            client_error_set(error, (enum status)status, "%s", strait_status_text(status));
    } else if (timeout_ms == 0) {
        status = client_error_set(error, STATUS_DEADLINE_EXCEEDED,
                                  "The deadline passed before the transaction was committed.");
    } else {
        status = strait_commit(handle, txn, timeout_ms, result, error);
    }
    strait_txn_free(txn);
    return status;
}

enum strait_status strait_run(strait *handle, strait_body body, void *context, uint32_t timeout_ms,
                              struct strait_commit_result *result, struct strait_error *error)
{
    if (result != NULL)
        *result = (struct strait_commit_result){0};
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    uint64_t deadline_ns = handle_deadline_ns(handle, timeout_ms);
    for (unsigned tries_count = 0;; tries_count++) {
        status = try_once(handle, body, context, deadline_ns, result, error);
        if (!is_worth_another_try(status) || !pause_before(tries_count, deadline_ns))
            return status;
    }
}
