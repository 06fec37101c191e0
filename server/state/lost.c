/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "server/state/command.h"
#include "server/state/state_internal.h"

enum { lost_format = 1, lost_flag_closed = 1, lost_body_format = 1, lost_range_key_size = 10 };

enum lost_action { LOST_CLOSE = 1, LOST_EMPTY = 2 };

_Static_assert((int)lost_part_size <= (int)lsm_value_size_max, "a part fits a value");
_Static_assert((limit_txn_size + entry_header_size + limit_identity_size) / lost_part_size < 255,
               "the parts of the largest entry can be counted");

/* ---- Keys and values ---- */

/* `letter` and the id: a report's key, or what those of its entries begin with. */
static void id_key(char letter, uint64_t id, uint8_t to[lost_report_key_size])
{
    to[0] = (uint8_t)letter;
    store_u64_be(to + 1, id);
}

/* Where a report's entries begin and end: `start` and `end` of an iterator. */
struct lost_range {
    uint8_t start[lost_report_key_size];
    uint8_t end[lost_report_key_size];
};

static struct lost_range range_of(uint64_t id)
{
    struct lost_range range;
    id_key('T', id, range.start);
    id_key('T', id + 1, range.end);
    return range;
}

static void entry_key(uint64_t id, struct epoch epoch, uint64_t version, unsigned part,
                      unsigned parts_count, uint8_t to[lost_entry_key_size])
{
    id_key('T', id, to);
    store_u64_be(to + 9, epoch.number);
    store_u32_be(to + 17, epoch.region);
    store_u64_be(to + 21, version);
    to[29] = (uint8_t)part;
    to[30] = (uint8_t)parts_count;
}

static void report_encode(const struct state_lost_report *report, uint8_t to[lost_report_size])
{
    memset(to, 0, lost_report_size);
    to[0] = lost_format;
    to[1] = report->closed ? lost_flag_closed : 0;
    store_u32(to + 4, report->next.region);
    store_u64(to + 8, report->next.number);
    store_u64(to + 16, report->epoch.number);
    store_u32(to + 24, report->epoch.region);
    store_u64(to + 32, report->first_version);
    store_u64(to + 40, report->last_version);
    store_u64(to + 48, report->count);
    store_u64(to + 56, report->size);
    store_u64(to + 64, report->log_time_ns);
}

static enum status report_decode(struct bytes key, struct bytes value,
                                 struct state_lost_report *report)
{
    const uint8_t *from = value.data;
    if (value.size != 0 && from[0] > lost_format)
        return STATUS_NEWER_FORMAT;
    if (key.size != lost_report_key_size || value.size != lost_report_size ||
        from[0] != lost_format || from[1] > lost_flag_closed || load_u16(from + 2) != 0)
        return STATUS_CORRUPT;
    *report = (struct state_lost_report){
        .id = load_u64_be(key.data + 1),
        .epoch = {.number = load_u64(from + 16), .region = load_u32(from + 24)},
        .next = {.number = load_u64(from + 8), .region = load_u32(from + 4)},
        .first_version = load_u64(from + 32),
        .last_version = load_u64(from + 40),
        .count = load_u64(from + 48),
        .size = load_u64(from + 56),
        .log_time_ns = load_u64(from + 64),
        .closed = from[1] == lost_flag_closed,
    };
    return STATUS_OK;
}

/* ---- Filing ---- */

static struct epoch epoch_of(const struct entry *entry)
{
    return (struct epoch){.number = entry->epoch_number, .region = entry->epoch_region};
}

static void tail_add(struct lost_tail *tail, uint64_t id, const struct entry *entry, size_t size)
{
    struct state_lost_report *report = &tail->report;
    if (tail->id == 0)
        *tail = (struct lost_tail){.id = id, .report = {.id = id}};
    ASSERT(tail->id == id);
    if (report->count == 0 || entry->version < report->first_version)
        report->first_version = entry->version;
    if (entry->version > report->last_version) {
        report->last_version = entry->version;
        report->epoch = epoch_of(entry);
        report->log_time_ns = entry->log_time_ns;
    }
    report->count++;
    report->size += size;
}

void lost_file(struct apply *apply, uint64_t id, const struct entry *entry)
{
    uint8_t key[lost_entry_key_size];
    struct bytes key_copy;
    size_t size = entry_size(entry);
    uint8_t *value = overlay_alloc(&apply->overlay, size);

    ASSERT(id != 0 && entry_kind_is_shared(entry->kind));
    if (value == NULL)
        return;
    entry_encode(entry, value);
    unsigned parts_count = (unsigned)((size + lost_part_size - 1) / lost_part_size);
    for (unsigned part = 0; part < parts_count; part++) {
        size_t at = (size_t)part * lost_part_size;
        size_t part_size = size - at < lost_part_size ? size - at : lost_part_size;
        entry_key(id, epoch_of(entry), entry->version, part, parts_count, key);
        if (overlay_copy(&apply->overlay, bytes_of(key, sizeof key), &key_copy))
            overlay_write(&apply->overlay, STATE_TREE_LOST, key_copy,
                          bytes_of(value + at, part_size));
    }
    tail_add(&apply->lost.tail, id, entry, size);
}

/* Room for one more, before the publish that cannot fail. */
static bool items_reserve(struct lost *lost)
{
    if (lost->count < lost->capacity)
        return true;
    size_t capacity = lost->capacity == 0 ? 4 : 2 * lost->capacity;
    struct lost_item *items = realloc(lost->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    lost->items = items;
    lost->capacity = capacity;
    return true;
}

static void write_report(struct apply *apply, const struct state_lost_report *report)
{
    uint8_t key[lost_report_key_size];
    uint8_t value[lost_report_size];
    struct bytes key_copy;
    struct bytes value_copy;

    id_key('R', report->id, key);
    report_encode(report, value);
    if (overlay_copy(&apply->overlay, bytes_of(key, sizeof key), &key_copy) &&
        overlay_copy(&apply->overlay, bytes_of(value, sizeof value), &value_copy))
        overlay_write(&apply->overlay, STATE_TREE_LOST, key_copy, value_copy);
}

/* A closed report whose entries are gone says only that it was. */
static void forget_report(struct apply *apply, uint64_t id)
{
    uint8_t key[lost_report_key_size];
    struct bytes copy;

    id_key('R', id, key);
    apply->lost.forgotten_id = id;
    if (overlay_copy(&apply->overlay, bytes_of(key, sizeof key), &copy))
        overlay_write_deletion(&apply->overlay, STATE_TREE_LOST, copy);
}

void lost_finish(struct apply *apply, uint64_t id, struct epoch next)
{
    struct lost_change *change = &apply->lost;
    struct lost *lost = &apply->state->lost;

    if (change->tail.id == 0)
        return;
    ASSERT(change->tail.id == id);
    if (!items_reserve(lost)) {
        apply->overlay.failure = STATUS_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < lost->count && lost->count >= lost_reports_max; i++) {
        if (lost->items[i].report.closed && !lost->items[i].is_left) {
            forget_report(apply, lost->items[i].report.id);
            break;
        }
    }
    change->finished = change->tail.report;
    change->finished.next = next;
    change->finished_id = id;
    change->tail = (struct lost_tail){0};
    write_report(apply, &change->finished);
}

void lost_change_init(struct apply *apply)
{
    apply->lost = (struct lost_change){.tail = apply->state->lost.tail};
}

void lost_published(struct apply *apply)
{
    struct lost *lost = &apply->state->lost;

    lost->tail = apply->lost.tail;
    if (apply->lost.finished_id == 0)
        return;
    for (size_t i = 0; i < lost->count; i++) {
        if (lost->items[i].report.id != apply->lost.forgotten_id)
            continue;
        lost->count--;
        memmove(&lost->items[i], &lost->items[i + 1], (lost->count - i) * sizeof lost->items[0]);
    }
    ASSERT(lost->count < lost->capacity);
    ASSERT(lost->count == 0 || lost->items[lost->count - 1].report.id < apply->lost.finished_id);
    lost->items[lost->count++] = (struct lost_item){.report = apply->lost.finished};
}

/* ---- Opening ---- */

static void wait_done(struct lsm_wait *wait)
{
    (void)wait;
}

static enum status next_blocking(struct io *io, struct lsm_iterator *iterator,
                                 struct lsm_item *item)
{
    struct lsm_wait wait;
    enum status status;

    lsm_wait_init(&wait, wait_done, NULL);
    while ((status = lsm_iterator_next(iterator, &wait, item)) == STATUS_AGAIN) {
        while (wait.pending_count != 0)
            io_turn(io, true);
    }
    lsm_wait_cancel(&wait);
    return status;
}

static enum status load_reports(struct lost *lost, struct io *io, struct lsm_view *view)
{
    struct lsm_iterator *iterator;
    struct lsm_item item;
    enum status status = lsm_iterator_open(view, STATE_TREE_LOST, bytes_of_text("R"),
                                           bytes_of_text("S"), false, &iterator);
    if (status != STATUS_OK)
        return status;
    while ((status = next_blocking(io, iterator, &item)) == STATUS_OK) {
        struct state_lost_report report;
        status = report_decode(item.key, item.value, &report);
        if (status == STATUS_OK && !items_reserve(lost))
            status = STATUS_NO_MEMORY;
        if (status != STATUS_OK)
            break;
        lost->items[lost->count++] = (struct lost_item){.report = report, .is_left = report.closed};
    }
    lsm_iterator_close(iterator);
    return status == STATUS_END ? STATUS_OK : status;
}

static enum status load_part(struct lost_tail *tail, const struct lsm_item *item)
{
    struct entry entry;
    size_t size;

    if (item->key.size != lost_entry_key_size)
        return STATUS_CORRUPT;
    uint64_t id = load_u64_be(item->key.data + 1);
    if (tail->id != 0 && tail->id != id)
        return STATUS_CORRUPT;
    if (item->key.data[29] != 0)
        return STATUS_OK;
    enum status status = entry_header_decode(item->value, &entry, &size);
    if (status == STATUS_OK)
        tail_add(tail, id, &entry, size);
    return status == STATUS_MALFORMED ? STATUS_CORRUPT : status;
}

/* What stands behind the last report is a tail: its rewind is not through. */
static enum status load_tail(struct lost *lost, struct io *io, struct lsm_view *view)
{
    struct lsm_iterator *iterator;
    struct lsm_item item;
    uint64_t last_id = lost->count == 0 ? 0 : lost->items[lost->count - 1].report.id;
    struct lost_range range = range_of(last_id);
    enum status status =
        lsm_iterator_open(view, STATE_TREE_LOST, bytes_of(range.end, sizeof range.end),
                          bytes_of_text("U"), false, &iterator);
    if (status != STATUS_OK)
        return status;
    while (status == STATUS_OK) {
        status = next_blocking(io, iterator, &item);
        if (status == STATUS_OK)
            status = load_part(&lost->tail, &item);
    }
    lsm_iterator_close(iterator);
    return status == STATUS_END ? STATUS_OK : status;
}

enum status lost_load(struct lost *lost, struct io *io, struct lsm_view *view)
{
    enum status status = load_reports(lost, io, view);
    return status == STATUS_OK ? load_tail(lost, io, view) : status;
}

void lost_free(struct lost *lost)
{
    free(lost->items);
    *lost = (struct lost){0};
}

/* ---- The command LOST ---- */

static struct lost_item *item_find(const struct lost *lost, uint64_t id)
{
    for (size_t i = 0; i < lost->count; i++) {
        if (lost->items[i].report.id == id)
            return &lost->items[i];
    }
    return NULL;
}

/* The leader encoded it: bytes that are none mean that the log is not what it was. */
static enum status lost_plan(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    struct bytes body = apply->entry.body;

    if (body.size != 0 && body.data[0] > lost_body_format)
        return STATUS_NEWER_FORMAT;
    if (body.size != state_lost_body_size || body.data[0] != lost_body_format ||
        (body.data[1] != LOST_CLOSE && body.data[1] != LOST_EMPTY))
        return STATUS_CORRUPT;
    uint64_t id = load_u64(body.data + 8);
    change->item = item_find(&apply->state->lost, id);
    if (change->item == NULL) {
        apply->result.status = STATUS_NOT_FOUND;
        (void)snprintf(apply->result.text, sizeof apply->result.text,
                       "There is no report %" PRIu64 " of what was given up.", id);
        return STATUS_OK;
    }
    change->closes = body.data[1] == LOST_CLOSE && !change->item->report.closed;
    if (change->closes || change->item->is_left)
        change->removals_left = lost_removals_max;
    return STATUS_OK;
}

static enum status removals_open(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    const struct keys_buffer *cursor = &change->item->cursor;
    struct lost_range range = range_of(change->item->report.id);
    struct bytes start =
        cursor->size != 0 ? keys_bytes(cursor) : bytes_of(range.start, sizeof range.start);
    return lsm_iterator_open(apply->view, STATE_TREE_LOST, start,
                             bytes_of(range.end, sizeof range.end), false, &change->iterator);
}

static enum status lost_gather(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    struct lsm_item item;
    struct bytes key;
    enum status status = STATUS_OK;

    if (change->removals_left != 0 && change->iterator == NULL)
        status = removals_open(apply);
    while (status == STATUS_OK && change->removals_left != 0) {
        status = lsm_iterator_next(change->iterator, &apply->wait, &item);
        if (status == STATUS_END) {
            change->is_emptied = true;
            return STATUS_OK;
        }
        if (status != STATUS_OK)
            return status;
        if (!overlay_copy(&apply->overlay, item.key, &key))
            return apply->overlay.failure;
        overlay_write_deletion(&apply->overlay, STATE_TREE_LOST, key);
        change->last = key;
        change->removals_left--;
    }
    return status;
}

static enum status lost_execute(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    if (!change->closes)
        return STATUS_OK;
    struct state_lost_report report = change->item->report;
    report.closed = true;
    write_report(apply, &report);
    return STATUS_OK;
}

static void lost_command_published(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    struct lost_item *item = change->item;

    if (item == NULL)
        return;
    if (change->closes) {
        item->report.closed = true;
        item->is_left = true;
    }
    if (change->is_emptied)
        item->is_left = false;
    if (change->last.size == 0)
        return;
    item->cursor.size = change->last.size;
    bytes_copy(item->cursor.data, change->last);
    keys_successor(&item->cursor);
}

static void lost_end(struct apply *apply)
{
    if (apply->lost.iterator != NULL)
        lsm_iterator_close(apply->lost.iterator);
    apply->lost.iterator = NULL;
}

const struct command command_lost = {
    .kind = ENTRY_LOST,
    .name = "lost",
    .depth = 1,
    .plan = lost_plan,
    .gather = lost_gather,
    .execute = lost_execute,
    .published = lost_command_published,
    .end = lost_end,
};

/* ---- Asking ---- */

static void body_encode(enum lost_action action, uint64_t id, uint8_t to[state_lost_body_size])
{
    memset(to, 0, state_lost_body_size);
    to[0] = lost_body_format;
    to[1] = (uint8_t)action;
    store_u64(to + 8, id);
}

void state_lost_close_encode(uint64_t id, uint8_t to[state_lost_body_size])
{
    body_encode(LOST_CLOSE, id, to);
}

bool state_lost_report_at(const struct state *state, size_t place, struct state_lost_report *report)
{
    *report = (struct state_lost_report){0};
    if (place >= state->lost.count)
        return false;
    *report = state->lost.items[place].report;
    return true;
}

bool state_lost_due(const struct state *state, uint8_t to[state_lost_body_size])
{
    for (size_t i = 0; i < state->lost.count; i++) {
        const struct lost_item *item = &state->lost.items[i];
        if (item->report.closed && item->is_left) {
            body_encode(LOST_EMPTY, item->report.id, to);
            return true;
        }
    }
    return false;
}

/* ---- A page of entries ---- */

struct state_lost_walk {
    struct arena *arena;
    struct lsm_iterator *iterator;
    struct state_lost_page page;
    struct bytes *entries;
    size_t count;
    size_t capacity;
    size_t size;
    bool more;

    /* An entry of several parts, of which `parts_count` are here. */
    uint8_t *joined;
    size_t joined_size;
    unsigned parts_count;
};

enum status state_lost_walk_open(struct state_view *view, const struct state_lost_page *page,
                                 struct arena *arena, struct state_lost_walk **opened,
                                 struct state_refusal *refusal)
{
    const struct lost_item *item = item_find(&view->state->lost, page->id);
    struct lost_range range = range_of(page->id);
    uint8_t after[lost_entry_key_size];
    struct bytes start = bytes_of(range.start, sizeof range.start);

    *opened = NULL;
    if (item == NULL || item->report.closed) {
        *refusal = (struct state_refusal){0};
        (void)snprintf(refusal->text, sizeof refusal->text,
                       item == NULL ? "There is no report %" PRIu64 " of what was given up."
                                    : "Report %" PRIu64 " is closed: what it held is gone.",
                       page->id);
        return STATUS_NOT_FOUND;
    }
    struct state_lost_walk *walk = arena_alloc_zeroed(arena, 1, sizeof *walk);
    if (walk == NULL)
        return STATUS_NO_MEMORY;
    walk->arena = arena;
    walk->page = *page;
    if (page->after_epoch.number != 0) {
        /* Above all parts of that entry. */
        entry_key(page->id, page->after_epoch, page->after_version, 255, 255, after);
        start = bytes_of(after, sizeof after);
    }
    enum status status =
        lsm_iterator_open(view->lsm, STATE_TREE_LOST, start, bytes_of(range.end, sizeof range.end),
                          false, &walk->iterator);
    if (status == STATUS_OK)
        *opened = walk;
    return status;
}

void state_lost_walk_close(struct state_lost_walk *walk)
{
    if (walk != NULL && walk->iterator != NULL)
        lsm_iterator_close(walk->iterator);
    if (walk != NULL)
        walk->iterator = NULL;
}

static enum status page_add(struct state_lost_walk *walk, struct bytes entry)
{
    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity == 0 ? 32 : 2 * walk->capacity;
        struct bytes *entries = arena_alloc_zeroed(walk->arena, capacity, sizeof *entries);
        if (entries == NULL)
            return STATUS_NO_MEMORY;
        if (walk->count != 0)
            memcpy(entries, walk->entries, walk->count * sizeof *entries);
        walk->entries = entries;
        walk->capacity = capacity;
    }
    walk->entries[walk->count++] = entry;
    walk->size += entry.size;
    return STATUS_OK;
}

/* The first part says how many follow, so that memory is taken once. */
static enum status take_part(struct state_lost_walk *walk, const struct lsm_item *item)
{
    unsigned part = item->key.data[29];
    unsigned parts_count = item->key.data[30];
    struct bytes copy;

    if (part != walk->parts_count || part >= parts_count ||
        (part + 1 < parts_count && item->value.size != lost_part_size))
        return STATUS_CORRUPT;
    if (parts_count == 1)
        return arena_copy(walk->arena, item->value, &copy) ? page_add(walk, copy)
                                                           : STATUS_NO_MEMORY;
    if (part == 0) {
        walk->joined = arena_alloc(walk->arena, (size_t)parts_count * lost_part_size);
        walk->joined_size = 0;
        if (walk->joined == NULL)
            return STATUS_NO_MEMORY;
    }
    if (item->value.size > lost_part_size)
        return STATUS_CORRUPT;
    bytes_copy(walk->joined + walk->joined_size, item->value);
    walk->joined_size += item->value.size;
    walk->parts_count++;
    if (walk->parts_count < parts_count)
        return STATUS_OK;
    walk->parts_count = 0;
    return page_add(walk, bytes_of(walk->joined, walk->joined_size));
}

/* Whether an entry that begins with this part is left to the next page. */
static bool is_full(const struct state_lost_walk *walk, const struct lsm_item *item)
{
    size_t size = (size_t)(item->key.data[30] - 1) * lost_part_size + item->value.size;
    if (walk->count == 0 || walk->parts_count != 0)
        return false;
    return (walk->page.count_max != 0 && walk->count >= walk->page.count_max) ||
           walk->size + size > walk->page.size_max;
}

enum status state_lost_walk_step(struct state_lost_walk *walk, struct lsm_wait *wait,
                                 const struct bytes **entries, size_t *count, bool *more)
{
    struct lsm_item item;
    enum status status = STATUS_OK;

    *entries = NULL;
    *count = 0;
    while (status == STATUS_OK && !walk->more) {
        status = lsm_iterator_next(walk->iterator, wait, &item);
        if (status == STATUS_OK && item.key.size != lost_entry_key_size)
            status = STATUS_CORRUPT;
        if (status == STATUS_OK && is_full(walk, &item))
            walk->more = true;
        else if (status == STATUS_OK)
            status = take_part(walk, &item);
    }
    if (status == STATUS_END)
        status = walk->parts_count == 0 ? STATUS_OK : STATUS_CORRUPT;
    if (status != STATUS_OK)
        return status;
    *entries = walk->entries;
    *count = walk->count;
    *more = walk->more;
    return STATUS_OK;
}
