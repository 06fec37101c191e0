/* SPDX-License-Identifier: Apache-2.0 */
/* Scans of tables and of indexes, both ways.
 *
 * A walk over the tree copies what it passes; a scan of an index that wants records then reads
 * those, in waves. A scan stops at its count or at the reply's size, and its `resume` says where:
 *
 *     format (1): 1
 *     tree (1)
 *     the tree's key of the last record */
#include "proto/base/assert.h"
#include "proto/message.h"
#include "proto/name.h"
#include "server/state/commit_check.h"
#include "server/state/read.h"

enum {
    scan_resume_format = 1,
    scan_resume_header_size = 2,
    scan_wave_count = 256, /* records that an index scan reads at a time */
};

/* One step of the walk over an index. */
struct scan_entry {
    struct bytes tree_key;
    struct bytes index_key;
    struct bytes record_key;
    Strait__Record *record; /* NULL: not read yet */
};

struct state_scan {
    struct state_view *view;
    const Strait__Scan *request;
    struct arena *arena;
    const struct catalog_table *table;
    const struct catalog_index *index; /* NULL: the table's own order */
    uint16_t tree;
    bool empty;
    struct keys_buffer start;
    struct keys_buffer end;
    struct lsm_iterator *iterator;
    bool ended;  /* the walk has passed all there is */
    bool more;   /* it stopped before */
    size_t size; /* of the reply so far */
    size_t count_max;
    size_t count;
    size_t capacity;
    Strait__Record **records;

    /* Of an index: walked and not in the reply yet. */
    size_t wave_count;
    size_t wave_at;
    struct scan_entry *wave;
    struct bytes last; /* the tree's key of the last record in the reply */
};

static enum status range_set(struct state_scan *scan, struct state_refusal *refusal)
{
    const Strait__Range *range = scan->request->range;
    struct bytes start = commit_bytes(range->start);
    struct bytes end = commit_bytes(range->end);
    size_t size_max = scan->index != NULL ? limit_index_key_size : limit_key_size;
    uint32_t id = scan->index != NULL ? scan->index->id : scan->table->id;

    if (start.size > size_max || end.size > size_max)
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT,
                           "A range's bounds are as short as keys; table", range->table);
    if (scan->index != NULL) {
        scan->tree = STATE_TREE_INDEXES;
        keys_index_bound(&scan->start, id, start);
        keys_index_bound(&scan->end, id, end);
    } else {
        scan->tree = STATE_TREE_RECORDS;
        keys_with_id(&scan->start, id, start);
        keys_with_id(&scan->end, id, end);
    }
    if (end.size == 0)
        keys_id_end(&scan->end, id);
    scan->empty = bytes_compare(keys_bytes(&scan->start), keys_bytes(&scan->end)) >= 0;
    return STATUS_OK;
}

/* Narrows the range to what lies past the last record that the client has. */
static enum status resume_set(struct state_scan *scan, struct state_refusal *refusal)
{
    struct bytes resume = commit_bytes(scan->request->resume);
    if (resume.size == 0)
        return STATUS_OK;
    if (resume.size <= scan_resume_header_size ||
        resume.size > scan_resume_header_size + keys_index_size_max ||
        resume.data[0] != scan_resume_format || resume.data[1] != scan->tree)
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT,
                           "The scan's resume is not of this range; table",
                           scan->request->range->table);
    struct bytes last =
        bytes_of(resume.data + scan_resume_header_size, resume.size - scan_resume_header_size);
    if (bytes_compare(last, keys_bytes(&scan->start)) < 0 ||
        bytes_compare(last, keys_bytes(&scan->end)) >= 0)
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT,
                           "The scan's resume is not of this range; table",
                           scan->request->range->table);
    struct keys_buffer *bound = scan->request->reverse ? &scan->end : &scan->start;
    bytes_copy(bound->data, last);
    bound->size = last.size;
    if (!scan->request->reverse)
        keys_successor(bound);
    scan->empty = bytes_compare(keys_bytes(&scan->start), keys_bytes(&scan->end)) >= 0;
    return STATUS_OK;
}

static enum status index_set(struct state_scan *scan, struct state_refusal *refusal)
{
    const char *name = scan->request->range->index;
    if (name[0] == 0)
        return STATUS_OK;
    if (!name_text_is_valid(name))
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT, "The index's name", name);
    scan->index = catalog_index_find(scan->table, bytes_of_text(name));
    if (scan->index == NULL || scan->index->created_version > scan->view->position.version)
        return read_refuse(refusal, STATUS_NO_INDEX, "Index", name);
    return STATUS_OK;
}

enum status state_scan_open(struct state_view *view, const Strait__Scan *request,
                            struct arena *arena, struct state_scan **opened,
                            struct state_refusal *refusal)
{
    *opened = NULL;
    if (request->range == NULL)
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT, "A scan has a range", "");
    struct state_scan *scan = arena_alloc_zeroed(arena, 1, sizeof *scan);
    if (scan == NULL)
        return STATUS_NO_MEMORY;
    scan->view = view;
    scan->request = request;
    scan->arena = arena;
    scan->count_max = request->records_max;
    if (scan->count_max == 0 || scan->count_max > limit_scan_records_count)
        scan->count_max = limit_scan_records_count;
    enum status status = read_table_find(view, request->range->table, &scan->table, refusal);
    if (status == STATUS_OK)
        status = index_set(scan, refusal);
    if (status == STATUS_OK)
        status = range_set(scan, refusal);
    if (status == STATUS_OK)
        status = resume_set(scan, refusal);
    if (status == STATUS_OK && scan->index != NULL) {
        scan->wave = arena_alloc_zeroed(arena, scan_wave_count, sizeof *scan->wave);
        status = scan->wave == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    }
    if (status == STATUS_OK && !scan->empty)
        status = lsm_iterator_open(view->lsm, scan->tree, keys_bytes(&scan->start),
                                   keys_bytes(&scan->end), request->reverse, &scan->iterator);
    if (status == STATUS_OK)
        *opened = scan;
    return status;
}

void state_scan_close(struct state_scan *scan)
{
    if (scan != NULL && scan->iterator != NULL)
        lsm_iterator_close(scan->iterator);
    if (scan != NULL)
        scan->iterator = NULL;
}

/* ---- The reply ---- */

static bool is_full(const struct state_scan *scan)
{
    return scan->count >= scan->count_max || scan->size >= limit_reply_size;
}

static enum status reply_add(struct state_scan *scan, Strait__Record *record, struct bytes tree_key)
{
    if (scan->count == scan->capacity) {
        size_t capacity = scan->capacity == 0 ? 32 : 2 * scan->capacity;
        Strait__Record **records = arena_alloc_zeroed(scan->arena, capacity, sizeof *records);
        if (records == NULL)
            return STATUS_NO_MEMORY;
        if (scan->count != 0)
            memcpy(records, scan->records, scan->count * sizeof *records);
        scan->records = records;
        scan->capacity = capacity;
    }
    scan->records[scan->count++] = record;
    scan->size += read_record_size(record);
    scan->last = tree_key;
    return STATUS_OK;
}

/* The next entry of the tree that is visible, or END. */
static enum status walk(struct state_scan *scan, struct lsm_wait *wait, struct lsm_item *item)
{
    if (scan->empty || scan->ended)
        return STATUS_END;
    enum status status = lsm_iterator_next(scan->iterator, wait, item);
    scan->ended = status == STATUS_END;
    return status;
}

/* ---- In the table's own order ---- */

static enum status add_item(struct state_scan *scan, const struct lsm_item *item)
{
    struct bytes key;
    struct bytes value = {0};

    if (item->key.size <= keys_id_size)
        return STATUS_CORRUPT;
    Strait__Record *record = arena_alloc(scan->arena, sizeof *record);
    if (record == NULL || !arena_copy(scan->arena, item->key, &key))
        return STATUS_NO_MEMORY;
    if (!scan->request->keys_only && !arena_copy(scan->arena, item->value, &value))
        return STATUS_NO_MEMORY;
    strait__record__init(record);
    record->key = field_of_bytes(bytes_of(key.data + keys_id_size, key.size - keys_id_size));
    record->found = true;
    record->version = item->version;
    enum status status = STATUS_OK;
    if (!scan->request->keys_only)
        status = read_record(scan->table, value, item->version, scan->arena, record);
    return status == STATUS_OK ? reply_add(scan, record, key) : status;
}

static enum status step_table(struct state_scan *scan, struct lsm_wait *wait)
{
    struct lsm_item item;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && !is_full(scan)) {
        status = walk(scan, wait, &item);
        if (status == STATUS_OK)
            status = add_item(scan, &item);
    }
    scan->more = status == STATUS_OK;
    return status == STATUS_END ? STATUS_OK : status;
}

/* ---- By an index ---- */

static enum status add_entry(struct state_scan *scan, const struct lsm_item *item)
{
    struct scan_entry *entry = &scan->wave[scan->wave_count];
    struct bytes key;
    struct bytes owner;

    *entry = (struct scan_entry){0};
    uint8_t *text = arena_alloc(scan->arena, item->key.size);
    if (text == NULL || !arena_copy(scan->arena, item->key, &key))
        return STATUS_NO_MEMORY;
    entry->tree_key = key;
    enum status status = keys_index_decode(key, text, &entry->index_key, &entry->record_key);
    if (status != STATUS_OK)
        return status;
    if (scan->index->unique) {
        if (entry->record_key.size != 0)
            return STATUS_CORRUPT;
        if (!arena_copy(scan->arena, item->value, &owner))
            return STATUS_NO_MEMORY;
        entry->record_key = owner;
    }
    if (entry->record_key.size == 0 || entry->record_key.size > limit_key_size)
        return STATUS_CORRUPT;
    scan->wave_count++;
    return STATUS_OK;
}

/* Walks a wave's worth of entries. */
static enum status fill_wave(struct state_scan *scan, struct lsm_wait *wait)
{
    struct lsm_item item;
    enum status status = STATUS_OK;
    size_t wanted = scan->count_max - scan->count;

    if (wanted > scan_wave_count)
        wanted = scan_wave_count;
    while (status == STATUS_OK && scan->wave_count < wanted) {
        status = walk(scan, wait, &item);
        if (status == STATUS_OK)
            status = add_entry(scan, &item);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

static enum status read_entry(struct state_scan *scan, struct lsm_wait *wait,
                              struct scan_entry *entry)
{
    struct keys_buffer key;
    struct lsm_value value;
    enum status status = STATUS_OK;

    if (!scan->request->keys_only) {
        keys_with_id(&key, scan->table->id, entry->record_key);
        status = lsm_get(scan->view->lsm, wait, STATE_TREE_RECORDS, keys_bytes(&key), &value);
        /* An index never names a record that is not there in the same version. */
        if (status == STATUS_NOT_FOUND)
            return STATUS_CORRUPT;
        if (status != STATUS_OK)
            return status;
    }
    Strait__Record *record = arena_alloc(scan->arena, sizeof *record);
    if (record == NULL)
        return STATUS_NO_MEMORY;
    strait__record__init(record);
    record->found = true;
    record->key = field_of_bytes(entry->record_key);
    record->index_key = field_of_bytes(entry->index_key);
    if (!scan->request->keys_only)
        status = read_record(scan->table, value.value, value.version, scan->arena, record);
    if (status == STATUS_OK)
        entry->record = record;
    return status;
}

/* Reads the records of the wave that are left, asking for all before it answers AGAIN. */
static enum status read_wave(struct state_scan *scan, struct lsm_wait *wait)
{
    enum status result = STATUS_OK;
    size_t size = scan->size;
    for (size_t i = scan->wave_at; i < scan->wave_count && size < limit_reply_size; i++) {
        enum status status = STATUS_OK;
        if (scan->wave[i].record == NULL)
            status = read_entry(scan, wait, &scan->wave[i]);
        if (status == STATUS_AGAIN)
            result = status;
        else if (status != STATUS_OK)
            return status;
        else
            size += read_record_size(scan->wave[i].record);
    }
    return result;
}

static enum status step_index(struct state_scan *scan, struct lsm_wait *wait)
{
    enum status status = STATUS_OK;

    while (!is_full(scan)) {
        if (scan->wave_at == scan->wave_count) {
            scan->wave_at = 0;
            scan->wave_count = 0;
        }
        if (scan->wave_at == 0)
            status = fill_wave(scan, wait);
        if (status == STATUS_OK)
            status = read_wave(scan, wait);
        if (status != STATUS_OK || scan->wave_count == 0)
            return status;
        while (scan->wave_at < scan->wave_count && !is_full(scan)) {
            struct scan_entry *entry = &scan->wave[scan->wave_at++];
            status = reply_add(scan, entry->record, entry->tree_key);
            if (status != STATUS_OK)
                return status;
        }
    }
    scan->more = true;
    return STATUS_OK;
}

static enum status resume_make(struct state_scan *scan, Strait__ScanReply *reply)
{
    uint8_t *resume = arena_alloc(scan->arena, scan_resume_header_size + scan->last.size);
    if (resume == NULL)
        return STATUS_NO_MEMORY;
    resume[0] = scan_resume_format;
    resume[1] = (uint8_t)scan->tree;
    bytes_copy(resume + scan_resume_header_size, scan->last);
    reply->resume = field_of_bytes(bytes_of(resume, scan_resume_header_size + scan->last.size));
    return STATUS_OK;
}

enum status state_scan_step(struct state_scan *scan, struct lsm_wait *wait,
                            Strait__ScanReply *reply)
{
    enum status status = scan->index != NULL ? step_index(scan, wait) : step_table(scan, wait);
    if (status != STATUS_OK)
        return status;
    reply->records = scan->records;
    reply->n_records = scan->count;
    reply->more = scan->more;
    return scan->more ? resume_make(scan, reply) : STATUS_OK;
}
