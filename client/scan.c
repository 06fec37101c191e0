/* SPDX-License-Identifier: Apache-2.0 */
/* Scans: pages fetched as they are asked for and, within a transaction, its own writes merged in.
 *
 * All pages are of one version. A scan that one reply holds needs no snapshot for that; so the
 * first page is read at the newest state, and only where there is more is a snapshot begun and that
 * page read again at it. */
#include <stdlib.h>

#include "client/error.h"
#include "client/overlay.h"
#include "client/read.h"
#include "client/result.h"
#include "client/txn.h"
#include "proto/limits.h"

enum { item_arena_size = 16 * 1024 * 1024 };

struct strait_scan {
    strait *handle;
    struct arena arena; /* the range's copies */
    struct arena items; /* what the merge makes for one record */
    struct strait_range range;
    struct strait_scan_options options;
    uint32_t timeout_ms;
    strait_snapshot *snapshot; /* to read at; NULL: the newest state */
    bool owns_snapshot;
    struct strait_records *page; /* the last one; NULL before the first */
    size_t page_at;              /* the next record of it */
    uint64_t given_count;

    /* Within a transaction. */
    strait_txn *txn;
    struct overlay overlay;
    Strait__Range *read_range; /* what has been given out, as read */
    uint8_t *bound;            /* the moving end of that */
    bool is_read;              /* the range was added to the transaction */
    struct strait_record item;
};

/* ---- Pages ---- */

static uint32_t page_records(const strait_scan *scan)
{
    uint64_t asked = scan->options.page_records;
    uint64_t left = scan->options.records_max - scan->given_count;

    if (scan->options.records_max != 0 && (asked == 0 || left < asked))
        asked = left;
    return asked < limit_scan_records_count ? (uint32_t)asked : limit_scan_records_count;
}

static bool one_page_is_enough(const strait_scan *scan, const struct strait_records *page)
{
    return !page->more ||
           (scan->options.records_max != 0 && page->count >= scan->options.records_max);
}

static enum strait_status read_at(strait_scan *scan, uint64_t deadline_ns,
                                  struct strait_records **page, struct strait_error *error)
{
    struct strait_bytes resume = scan->page != NULL ? scan->page->resume : strait_bytes(NULL, 0);

    *page = NULL;
    if (scan->snapshot != NULL) {
        enum strait_status status = snapshot_keep(scan->snapshot, deadline_ns, error);
        if (status != STRAIT_OK)
            return status;
    }
    return read_page(scan->handle, scan->snapshot != NULL ? scan->snapshot->id : 0, NULL,
                     &scan->range, &scan->options, page_records(scan), resume, deadline_ns, page,
                     error);
}

static enum strait_status fetch(strait_scan *scan, struct strait_error *error)
{
    uint64_t deadline_ns = handle_deadline_ns(scan->handle, scan->timeout_ms);
    struct strait_records *page;

    enum strait_status status = read_at(scan, deadline_ns, &page, error);
    if (status == STRAIT_OK && scan->snapshot == NULL && !scan->options.newest &&
        !one_page_is_enough(scan, page)) {
        strait_free(page);
        status = snapshot_begin(scan->handle, deadline_ns, &scan->snapshot, error);
        scan->owns_snapshot = status == STRAIT_OK;
        if (status == STRAIT_OK)
            status = read_at(scan, deadline_ns, &page, error);
    }
    if (status != STRAIT_OK)
        return status;
    strait_free(scan->page);
    scan->page = page;
    scan->page_at = 0;
    return STRAIT_OK;
}

/* The next record of the server's, not taken yet; NULL at the end. */
static enum strait_status peek(strait_scan *scan, const struct strait_record **record,
                               struct strait_error *error)
{
    *record = NULL;
    while (scan->page == NULL || scan->page_at == scan->page->count) {
        if (scan->page != NULL && !scan->page->more)
            return STRAIT_OK;
        enum strait_status status = fetch(scan, error);
        if (status != STRAIT_OK)
            return status;
    }
    *record = &scan->page->items[scan->page_at];
    return STRAIT_OK;
}

/* ---- Merging ---- */

/* The place of a record in the scan's order; NULL record: behind all others. */
static int compare_places(const strait_scan *scan, const struct strait_record *record,
                          const struct overlay_entry *entry)
{
    if (record == NULL || entry == NULL)
        return (record == NULL) - (entry == NULL);
    int order = 0;
    if (scan->range.index != NULL)
        order = bytes_compare(bytes_of(record->index_key.data, record->index_key.size),
                              entry->index_key);
    if (order == 0)
        order = bytes_compare(bytes_of(record->key.data, record->key.size), entry->write->key);
    return scan->options.reverse ? -order : order;
}

static enum strait_status show(strait_scan *scan, const struct write *write,
                               const struct strait_record *base, struct strait_error *error)
{
    struct strait_record shown;
    enum status status = writes_apply(write, base, &scan->items, &shown);
    if (status != STATUS_OK)
        return client_error_set(error, status,
                                "This transaction's own add to a record would be refused: %s.",
                                status_text(status));
    if (scan->options.keys_only) {
        shown.value = strait_bytes("", 0);
        shown.indexes = NULL;
        shown.indexes_count = 0;
    }
    scan->item = shown;
    return STRAIT_OK;
}

/* An add changes what the base's value is; but a page of keys has no values. */
static bool needs_value(const strait_scan *scan, const struct write *write)
{
    return !scan->options.keys_only || write->replaces;
}

/* Takes the next record of the merge; `*done` where `item` holds it, or where the end has come
 * (END). Otherwise it was one that is not shown. */
static enum strait_status merge(strait_scan *scan, bool *done, struct strait_error *error)
{
    const struct strait_record *base;
    const struct overlay_entry *entry = overlay_peek(&scan->overlay);

    *done = true;
    enum strait_status status = peek(scan, &base, error);
    if (status != STRAIT_OK)
        return status;
    if (base == NULL && entry == NULL)
        return STRAIT_END;
    int order = compare_places(scan, base, entry);
    if (order <= 0) {
        const struct write *write = writes_find(&scan->txn->writes, scan->range.table,
                                                bytes_of(base->key.data, base->key.size));
        scan->item = *base;
        *done = write == NULL || !write->replaces;
        if (write != NULL && !write->replaces && needs_value(scan, write))
            status = show(scan, write, base, error);
        if (status != STRAIT_OK)
            return status;
        scan->page_at++;
        /* The same record: a replacing entry stays, to be shown in its own right. */
        if (order == 0 && *done)
            overlay_take(&scan->overlay);
        return STRAIT_OK;
    }
    if (!needs_value(scan, entry->write)) {
        scan->item = (struct strait_record){
            .found = true, .key = strait_bytes(entry->write->key.data, entry->write->key.size)};
    } else {
        status = show(scan, entry->write, NULL, error);
        if (status != STRAIT_OK)
            return status;
    }
    scan->item.index_key = strait_bytes(entry->index_key.data, entry->index_key.size);
    *done = scan->item.found;
    overlay_take(&scan->overlay);
    return STRAIT_OK;
}

/* Everything from the range's beginning up to `record` has been seen; NULL: the whole range. */
static enum strait_status note_read(strait_scan *scan, const struct strait_record *record,
                                    struct strait_error *error)
{
    Strait__Range *read = scan->read_range;
    enum strait_status status = STRAIT_OK;

    if (record == NULL) {
        ProtobufCBinaryData whole =
            bytes_field(scan->options.reverse ? scan->range.start : scan->range.end);
        if (whole.len != 0)
            memcpy(scan->bound, whole.data, whole.len);
        whole.data = scan->bound;
        *(scan->options.reverse ? &read->start : &read->end) = whole;
    } else {
        struct strait_bytes key = scan->range.index != NULL ? record->index_key : record->key;
        size_t size = key.size < limit_key_size ? key.size : limit_key_size;
        if (size != 0)
            memcpy(scan->bound, key.data, size);
        scan->bound[size] = 0;
        if (scan->options.reverse)
            read->start = (ProtobufCBinaryData){.len = size, .data = scan->bound};
        else
            read->end = (ProtobufCBinaryData){.len = size + 1, .data = scan->bound};
    }
    if (!scan->is_read) {
        status = txn_add_range(scan->txn, read);
        if (status != STRAIT_OK)
            return client_error_set(error, (enum status)status,
                                    "The transaction reads more ranges than it can.");
        scan->is_read = true;
    }
    return status;
}

static enum strait_status next_merged(strait_scan *scan, struct strait_error *error)
{
    bool done;
    enum strait_status status;

    arena_reset(&scan->items);
    do
        status = merge(scan, &done, error);
    while (status == STRAIT_OK && !done);
    if (status != STRAIT_OK && status != STRAIT_END)
        return status;
    enum strait_status noted = note_read(scan, status == STRAIT_END ? NULL : &scan->item, error);
    return noted != STRAIT_OK ? noted : status;
}

/* ---- The interface ---- */

static bool copy_bytes(strait_scan *scan, struct strait_bytes from, struct strait_bytes *to)
{
    struct bytes copy;
    bool done = arena_copy(&scan->arena, bytes_of(from.data, from.size), &copy);
    *to = strait_bytes(copy.data, copy.size);
    return done;
}

static bool copy_range(strait_scan *scan, const struct strait_range *range)
{
    struct strait_bytes table;
    struct strait_bytes index = {0};
    bool done = copy_bytes(scan, strait_text(range->table), &table) &&
                (range->index == NULL || copy_bytes(scan, strait_text(range->index), &index)) &&
                copy_bytes(scan, range->start, &scan->range.start) &&
                copy_bytes(scan, range->end, &scan->range.end);
    scan->range.table = table.data;
    scan->range.index = index.data;
    return done;
}

static enum strait_status begin(strait *handle, const struct strait_range *range,
                                const struct strait_scan_options *options, uint32_t timeout_ms,
                                strait_scan **scan, struct strait_error *error)
{
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK)
        status = read_check_range(range, error);
    if (status != STRAIT_OK)
        return status;
    strait_scan *made = calloc(1, sizeof *made);
    if (made == NULL)
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    arena_init(&made->arena, 1024, item_arena_size);
    arena_init(&made->items, 1024, item_arena_size);
    made->handle = handle;
    made->timeout_ms = timeout_ms;
    if (options != NULL)
        made->options = *options;
    made->snapshot = made->options.snapshot;
    if (!copy_range(made, range)) {
        strait_scan_end(made);
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    }
    *scan = made;
    return STRAIT_OK;
}

enum strait_status strait_scan_begin(strait *handle, const struct strait_range *range,
                                     const struct strait_scan_options *options, uint32_t timeout_ms,
                                     strait_scan **scan, struct strait_error *error)
{
    *scan = NULL;
    return begin(handle, range, options, timeout_ms, scan, error);
}

enum strait_status strait_txn_scan(strait_txn *txn, const struct strait_range *range,
                                   const struct strait_scan_options *options, uint32_t timeout_ms,
                                   strait_scan **scan, struct strait_error *error)
{
    *scan = NULL;
    if (txn->handle == NULL || txn->snapshot == NULL ||
        (options != NULL && (options->snapshot != NULL || options->newest)))
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "A scan of a transaction reads at that transaction's snapshot, "
                                "and only while it lasts.");
    strait_scan *made = NULL;
    enum strait_status status = begin(txn->handle, range, options, timeout_ms, &made, error);
    if (status != STRAIT_OK)
        return status;
    made->txn = txn;
    made->snapshot = txn->snapshot;
    made->read_range = txn_new_range(txn, range, &made->bound);
    if (made->read_range == NULL ||
        !overlay_init(&made->overlay, &txn->writes, &made->range, made->options.reverse)) {
        strait_scan_end(made);
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    }
    *scan = made;
    return STRAIT_OK;
}

enum strait_status strait_scan_next(strait_scan *scan, const struct strait_record **record,
                                    struct strait_error *error)
{
    *record = NULL;
    enum strait_status status = handle_check(scan->handle, error);
    if (status != STRAIT_OK)
        return status;
    if (scan->options.records_max != 0 && scan->given_count >= scan->options.records_max)
        return STRAIT_END;
    if (scan->txn != NULL) {
        status = next_merged(scan, error);
        if (status == STRAIT_OK)
            *record = &scan->item;
    } else {
        status = peek(scan, record, error);
        if (status == STRAIT_OK && *record == NULL)
            status = STRAIT_END;
        if (status == STRAIT_OK)
            scan->page_at++;
    }
    scan->given_count += status == STRAIT_OK;
    return status;
}

void strait_scan_end(strait_scan *scan)
{
    if (scan == NULL)
        return;
    if (scan->owns_snapshot)
        strait_snapshot_end(scan->snapshot);
    strait_free(scan->page);
    overlay_free(&scan->overlay);
    arena_free(&scan->arena);
    arena_free(&scan->items);
    free(scan);
}
