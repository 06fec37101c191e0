/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/client/fake_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

void store_init(struct store *store)
{
    memset(store, 0, sizeof *store);
    store->conflict_with = STATUS_CONFLICT;
    arena_init(&store->arena, 4096, 1 << 26);
}

void store_free(struct store *store)
{
    arena_free(&store->arena);
}

static void fill_record(Strait__Record *to, const struct store_record *from,
                        Strait__IndexEntry *entry, Strait__IndexEntry **entries, bool keys_only)
{
    to->found = true;
    to->key = field_of_bytes(bytes_of_text(from->key));
    to->version = 5;
    if (keys_only)
        return;
    to->value = field_of_bytes(bytes_of_text(from->value));
    if (from->index_key[0] != 0) {
        strait__index_entry__init(entry);
        entry->index = (char *)(uintptr_t) "i";
        entry->key = field_of_bytes(bytes_of_text(from->index_key));
        *entries = entry;
        to->indexes = entries;
        to->n_indexes = 1;
    }
}

static void answer_get(struct fake_connection *connection, const struct fake_request *request,
                       const struct store *store, const Strait__Get *get)
{
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    Strait__Record records[16];
    Strait__Record *pointers[16];
    Strait__IndexEntry entries[16];
    Strait__IndexEntry *entry_pointers[16];

    ck_assert_uint_le(get->n_keys, 16);
    for (size_t i = 0; i < get->n_keys; i++) {
        strait__record__init(&records[i]);
        records[i].key = get->keys[i]->key;
        for (size_t j = 0; j < store->count; j++) {
            if (bytes_equal(bytes_of_field(get->keys[i]->key),
                            bytes_of_text(store->records[j].key)))
                fill_record(&records[i], &store->records[j], &entries[i], &entry_pointers[i],
                            false);
        }
        pointers[i] = &records[i];
    }
    position.version = store_version;
    reply.position = &position;
    reply.records = pointers;
    reply.n_records = get->n_keys;
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static struct bytes place_of(const struct store_record *record, bool by_index)
{
    return bytes_of_text(by_index ? record->index_key : record->key);
}

static int compare_keys(const void *left, const void *right)
{
    const struct store_record *const *a = left;
    const struct store_record *const *b = right;
    return strcmp((*a)->key, (*b)->key);
}

static int compare_index_keys(const void *left, const void *right)
{
    const struct store_record *const *a = left;
    const struct store_record *const *b = right;
    int order = strcmp((*a)->index_key, (*b)->index_key);
    return order != 0 ? order : compare_keys(left, right);
}

/* All records of the range in the scan's order. */
static size_t select_records(const struct store *store, const Strait__Scan *scan,
                             const struct store_record *selected[store_records_max])
{
    bool by_index = scan->range->index[0] != 0;
    struct bytes start = bytes_of_field(scan->range->start);
    struct bytes end = bytes_of_field(scan->range->end);
    size_t count = 0;

    for (size_t i = 0; i < store->count; i++) {
        struct bytes place = place_of(&store->records[i], by_index);
        if ((by_index && place.size == 0) || bytes_compare(place, start) < 0 ||
            (end.size != 0 && bytes_compare(place, end) >= 0))
            continue;
        selected[count++] = &store->records[i];
    }
    if (count != 0)
        qsort(selected, count, sizeof selected[0], by_index ? compare_index_keys : compare_keys);
    for (size_t i = 0; scan->reverse && i < count / 2; i++) {
        const struct store_record *swapped = selected[i];
        selected[i] = selected[count - 1 - i];
        selected[count - 1 - i] = swapped;
    }
    return count;
}

static void answer_scan(struct fake_connection *connection, const struct fake_request *request,
                        const struct store *store, const Strait__Scan *scan)
{
    Strait__ScanReply reply = STRAIT__SCAN_REPLY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    const struct store_record *selected[store_records_max];
    Strait__Record records[store_page_records];
    Strait__Record *pointers[store_page_records];
    Strait__IndexEntry entries[store_page_records];
    Strait__IndexEntry *entry_pointers[store_page_records];
    size_t count = select_records(store, scan, selected);
    uint8_t at = scan->resume.len == 1 ? scan->resume.data[0] : 0;
    size_t page = scan->records_max != 0 && scan->records_max < store_page_records
                      ? scan->records_max
                      : store_page_records;

    for (; at < count && reply.n_records < page; at++) {
        size_t i = reply.n_records++;
        strait__record__init(&records[i]);
        fill_record(&records[i], selected[at], &entries[i], &entry_pointers[i], scan->keys_only);
        if (scan->range->index[0] != 0)
            records[i].index_key = field_of_bytes(bytes_of_text(selected[at]->index_key));
        pointers[i] = &records[i];
    }
    position.version = store_version;
    reply.position = &position;
    reply.records = pointers;
    reply.more = at < count;
    if (reply.more)
        reply.resume = field_of_bytes(bytes_of(&at, 1));
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static void answer_commit(struct fake_connection *connection, const struct fake_request *request,
                          struct store *store)
{
    ProtobufCMessage *message;
    arena_reset(&store->arena);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, request->body, true, &store->arena, &message),
        STATUS_OK);
    store->commit = (const Strait__Commit *)message;
    store->commits_count++;
    if (store->conflicts != 0) {
        store->conflicts--;
        fake_refuse(connection, request, store->conflict_with, 0);
    } else {
        fake_accept(connection, request, 11);
    }
}

void store_handle(struct fake_connection *connection, const struct fake_request *request,
                  void *context)
{
    struct store *store = context;
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    switch (request->header.type) {
    case FRAME_GET:
        ck_assert_int_eq(
            message_decode(&strait__get__descriptor, request->body, true, &arena, &message),
            STATUS_OK);
        answer_get(connection, request, store, (const Strait__Get *)message);
        break;
    case FRAME_SCAN:
        store->scans_count++;
        ck_assert_int_eq(
            message_decode(&strait__scan__descriptor, request->body, true, &arena, &message),
            STATUS_OK);
        answer_scan(connection, request, store, (const Strait__Scan *)message);
        break;
    case FRAME_COMMIT:
        answer_commit(connection, request, store);
        break;
    default:
        store->snapshots_count += request->header.type == FRAME_SNAPSHOT_OPEN;
        store->closed_count += request->header.type == FRAME_SNAPSHOT_CLOSE;
        fake_accept(connection, request, store_version);
        break;
    }
    arena_free(&arena);
}
