/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "server/state/command.h"
#include "server/state/state_internal.h"
#include "server/state/surrender.h"

enum { lost_format = 1, lost_format_unlisted = 2, lost_flag_closed = 1, lost_body_format = 1 };

enum lost_action {
    LOST_CLOSE = 1,
    LOST_EMPTY = 2,
    LOST_TELL = 3,
    LOST_FILE = 4,
    LOST_SURRENDER = 5
};

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

struct lost_range lost_range(char letter, uint64_t id)
{
    struct lost_range range;
    id_key(letter, id, range.start);
    id_key(letter, id + 1, range.end);
    return range;
}

void lost_entry_key(uint64_t id, struct epoch epoch, uint64_t version, unsigned part,
                    unsigned parts_count, uint8_t to[lost_entry_key_size])
{
    id_key('T', id, to);
    store_u64_be(to + 9, epoch.number);
    store_u32_be(to + 17, epoch.region);
    store_u64_be(to + 21, version);
    to[29] = (uint8_t)part;
    to[30] = (uint8_t)parts_count;
}

void lost_outcome_key(uint64_t telling_id, uint64_t version, uint8_t to[lost_outcome_key_size])
{
    id_key('O', telling_id, to);
    store_u64_be(to + 9, version);
}

static size_t report_encode(const struct state_lost_report *report, uint64_t telling_id,
                            uint8_t to[lost_report_size_max])
{
    memset(to, 0, lost_report_size_max);
    to[0] = report->unlisted_first != 0 ? lost_format_unlisted : lost_format;
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
    store_u64(to + 72, telling_id);
    store_u64(to + 80, report->unlisted_first);
    store_u64(to + 88, report->unlisted_last);
    return to[0] == lost_format ? lost_report_size : lost_report_size_max;
}

static bool report_is_valid(struct bytes key, struct bytes value)
{
    const uint8_t *from = value.data;
    return key.size == lost_report_key_size && value.size != 0 &&
           value.size == (from[0] == lost_format ? lost_report_size : lost_report_size_max) &&
           from[0] != 0 && from[1] <= lost_flag_closed && load_u16(from + 2) == 0;
}

static enum status item_decode(struct bytes key, struct bytes value, struct lost_item *item)
{
    const uint8_t *from = value.data;

    *item = (struct lost_item){0};
    if (value.size != 0 && from[0] > lost_format_unlisted)
        return STATUS_NEWER_FORMAT;
    if (!report_is_valid(key, value))
        return STATUS_CORRUPT;
    *item = (struct lost_item){.telling_id = load_u64(from + 72)};
    item->report = (struct state_lost_report){
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
    if (from[0] == lost_format_unlisted) {
        item->report.unlisted_first = load_u64(from + 80);
        item->report.unlisted_last = load_u64(from + 88);
    }
    item->left = item->report.closed ? 'O' : 0;
    return STATUS_OK;
}

/* ---- Filing ---- */

static struct epoch epoch_of(const struct entry *entry)
{
    return (struct epoch){.number = entry->epoch_number, .region = entry->epoch_region};
}

static void tail_begin(struct lost_tail *tail, uint64_t id)
{
    if (tail->id == 0)
        *tail = (struct lost_tail){.id = id, .report = {.id = id}};
    ASSERT(tail->id == id);
}

static void tail_add(struct lost_tail *tail, const struct entry *entry, size_t size)
{
    struct state_lost_report *report = &tail->report;

    if (report->count == 0 || entry->version != report->last_version + 1)
        tail->run_first = entry->version;
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

/* Notes a part that is in the tree, or is about to be. */
static void tail_add_part(struct lost_tail *tail, const struct entry *header, size_t size,
                          unsigned number)
{
    unsigned parts_count = lost_parts_count(size);

    ASSERT(number < parts_count);
    if (number + 1 == parts_count) {
        tail_add(tail, header, size);
        tail->parts_next = 0;
        return;
    }
    tail->part_of = *header;
    tail->part_of.identity = (struct bytes){0};
    tail->part_of.body = (struct bytes){0};
    tail->part_of_size = size;
    tail->parts_count = parts_count;
    tail->parts_next = number + 1;
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

/* A key and a value of this file's, both short. */
static void write_copied(struct apply *apply, struct bytes key, struct bytes value)
{
    struct bytes key_copy;
    struct bytes value_copy;

    if (overlay_copy(&apply->overlay, key, &key_copy) &&
        overlay_copy(&apply->overlay, value, &value_copy))
        overlay_write(&apply->overlay, STATE_TREE_LOST, key_copy, value_copy);
}

static void write_removal(struct apply *apply, struct bytes key)
{
    struct bytes copy;
    if (overlay_copy(&apply->overlay, key, &copy))
        overlay_write_deletion(&apply->overlay, STATE_TREE_LOST, copy);
}

static void write_report(struct apply *apply, const struct state_lost_report *report,
                         uint64_t telling_id)
{
    uint8_t key[lost_report_key_size];
    uint8_t value[lost_report_size_max];

    id_key('R', report->id, key);
    size_t size = report_encode(report, telling_id, value);
    write_copied(apply, bytes_of(key, sizeof key), bytes_of(value, size));
}

/* A closed report whose entries are gone says only that it was. */
static void forget_report(struct apply *apply, uint64_t id)
{
    uint8_t key[lost_report_key_size];

    id_key('R', id, key);
    apply->lost.forgotten_id = id;
    write_removal(apply, bytes_of(key, sizeof key));
}

static void write_part(struct apply *apply, uint64_t id, const struct entry *header, size_t size,
                       unsigned number, struct bytes part)
{
    uint8_t key[lost_entry_key_size];
    struct bytes copy;

    lost_entry_key(id, epoch_of(header), header->version, number, lost_parts_count(size), key);
    if (overlay_copy(&apply->overlay, bytes_of(key, sizeof key), &copy))
        overlay_write(&apply->overlay, STATE_TREE_LOST, copy, part);
}

/* From `first` on, of an entry that was begun, and will not be ended, or begins anew. */
static void drop_parts(struct apply *apply, unsigned first)
{
    struct lost_tail *tail = &apply->lost.tail;
    uint8_t key[lost_entry_key_size];

    for (unsigned part = first; part < tail->parts_next; part++) {
        lost_entry_key(tail->id, epoch_of(&tail->part_of), tail->part_of.version, part,
                       tail->parts_count, key);
        write_removal(apply, bytes_of(key, sizeof key));
    }
    tail->parts_next = 0;
}

/* What was filed becomes a report. */
static void finish(struct apply *apply, struct epoch next, uint64_t telling_id)
{
    struct lost_change *change = &apply->lost;
    struct lost *lost = &apply->state->lost;

    drop_parts(apply, 0);
    if (change->tail.report.last_version == 0) {
        change->tail = (struct lost_tail){0};
        return;
    }
    if (!items_reserve(lost)) {
        apply->overlay.failure = STATUS_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < lost->count && lost->count >= lost_reports_max; i++) {
        if (lost->items[i].report.closed && lost->items[i].left == 0) {
            forget_report(apply, lost->items[i].report.id);
            break;
        }
    }
    change->finished = change->tail.report;
    change->finished.next = next;
    change->finished_id = change->tail.id;
    change->finished_telling_id = telling_id;
    change->tail = (struct lost_tail){0};
    write_report(apply, &change->finished, change->finished_telling_id);
}

void lost_file(struct apply *apply, uint64_t id, const struct entry *entry)
{
    struct lost_change *change = &apply->lost;
    size_t size = entry_size(entry);
    uint8_t *value = overlay_alloc(&apply->overlay, size);

    ASSERT(id != 0 && entry_kind_is_shared(entry->kind));
    if (value == NULL)
        return;
    /* Filed once for what was then not done: it is kept, as a report of its own. */
    if (change->tail.id != 0 && change->tail.id != id)
        finish(apply, mark_fence(&apply->next), 0);
    tail_begin(&change->tail, id);
    entry_encode(entry, value);
    for (unsigned part = 0; part < lost_parts_count(size); part++) {
        size_t at = (size_t)part * lost_part_size;
        size_t part_size = size - at < lost_part_size ? size - at : lost_part_size;
        write_part(apply, id, entry, size, part, bytes_of(value + at, part_size));
        tail_add_part(&change->tail, entry, size, part);
    }
}

void lost_file_part(struct apply *apply, const struct entry *header, size_t size, unsigned number,
                    struct bytes part)
{
    struct lost_tail *tail = &apply->lost.tail;

    tail_begin(tail, tail->id == 0 ? apply->index : tail->id);
    bool is_same = tail->part_of.version == header->version &&
                   epoch_equal(epoch_of(&tail->part_of), epoch_of(header));
    if (number == 0)
        drop_parts(apply, is_same ? 1 : 0);
    write_part(apply, tail->id, header, size, number, part);
    tail_add_part(tail, header, size, number);
}

void lost_finish(struct apply *apply, uint64_t id, struct epoch next)
{
    struct lost_change *change = &apply->lost;
    uint64_t telling_id = change->telling_id;

    if (change->tail.id == 0)
        return;
    ASSERT(change->tail.id == id);
    if (telling_id != 0)
        write_removal(apply, bytes_of_text("P"));
    change->telling_id = 0;
    finish(apply, next, telling_id);
}

void lost_finish_above(struct apply *apply, uint64_t version, struct epoch next)
{
    struct lost_tail *tail = &apply->lost.tail;
    struct state_lost_report *report = &tail->report;
    const struct mark_state *mark = &apply->next;

    tail_begin(tail, tail->id == 0 ? apply->index : tail->id);
    if (report->last_version < mark->version) {
        report->unlisted_first = version + 1;
        report->unlisted_last = mark->version;
        report->last_version = mark->version;
        report->epoch = mark_epoch(mark);
        report->log_time_ns = mark->log_time_ns;
    } else if (tail->run_first > version + 1) {
        report->unlisted_first = version + 1;
        report->unlisted_last = tail->run_first - 1;
    }
    if (report->count == 0 || report->first_version > version + 1)
        report->first_version = version + 1;
    if (PLANTED(region_range_unsaid))
        report->unlisted_first = 0;
    lost_finish(apply, tail->id, next);
}

void lost_change_init(struct apply *apply)
{
    const struct lost *lost = &apply->state->lost;
    apply->lost = (struct lost_change){.tail = lost->tail, .telling_id = lost->telling_id};
}

void lost_published(struct apply *apply)
{
    struct lost *lost = &apply->state->lost;

    lost->tail = apply->lost.tail;
    lost->telling_id = apply->lost.telling_id;
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
    lost->items[lost->count++] = (struct lost_item){.report = apply->lost.finished,
                                                    .telling_id = apply->lost.finished_telling_id};
}

/* ---- Opening ---- */

static enum status load_item(struct lost *lost, const struct lsm_item *item)
{
    if (item->key.data[0] == 'P') {
        lost->telling_id = item->value.size == 8 ? load_u64(item->value.data) : 0;
        return lost->telling_id != 0 ? STATUS_OK : STATUS_CORRUPT;
    }
    if (!items_reserve(lost))
        return STATUS_NO_MEMORY;
    enum status status = item_decode(item->key, item->value, &lost->items[lost->count]);
    lost->count += status == STATUS_OK;
    return status;
}

/* "P" and "R". */
static enum status load_reports(struct lost *lost, struct io *io, struct lsm_view *view)
{
    struct lsm_iterator *iterator;
    struct lsm_item item;
    enum status status = lsm_iterator_open(view, STATE_TREE_LOST, bytes_of_text("P"),
                                           bytes_of_text("S"), false, &iterator);
    if (status != STATUS_OK)
        return status;
    while (status == STATUS_OK) {
        status = state_next_blocking(io, iterator, &item);
        if (status == STATUS_OK)
            status = load_item(lost, &item);
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
    unsigned number = item->key.data[29];
    if (tail->id != 0 && tail->id != id)
        return STATUS_CORRUPT;
    tail_begin(tail, id);
    if (number != 0) {
        if (tail->parts_next != number || tail->part_of.version != load_u64_be(item->key.data + 21))
            return STATUS_CORRUPT;
        entry = tail->part_of;
        tail_add_part(tail, &entry, tail->part_of_size, number);
        return STATUS_OK;
    }
    enum status status = entry_header_decode(item->value, &entry, &size);
    if (status == STATUS_OK && tail->parts_next == 0)
        tail_add_part(tail, &entry, size, 0);
    else if (status == STATUS_OK)
        status = STATUS_CORRUPT;
    return status == STATUS_MALFORMED ? STATUS_CORRUPT : status;
}

/* What stands behind the last report is a tail: its rewind, or its surrender, is not through. */
static enum status load_tail(struct lost *lost, struct io *io, struct lsm_view *view)
{
    struct lsm_iterator *iterator;
    struct lsm_item item;
    uint64_t last_id = lost->count == 0 ? 0 : lost->items[lost->count - 1].report.id;
    struct lost_range range = lost_range('T', last_id);
    enum status status =
        lsm_iterator_open(view, STATE_TREE_LOST, bytes_of(range.end, sizeof range.end),
                          bytes_of_text("U"), false, &iterator);
    if (status != STATUS_OK)
        return status;
    while (status == STATUS_OK) {
        status = state_next_blocking(io, iterator, &item);
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

struct lost_item *lost_item_find(const struct lost *lost, uint64_t id)
{
    for (size_t i = 0; i < lost->count; i++) {
        if (lost->items[i].report.id == id)
            return &lost->items[i];
    }
    return NULL;
}

static void plan_removal(struct apply *apply, enum lost_action action, uint64_t id)
{
    struct lost_change *change = &apply->lost;

    change->item = lost_item_find(&apply->state->lost, id);
    if (change->item == NULL) {
        apply->result.status = STATUS_NOT_FOUND;
        (void)snprintf(apply->result.text, sizeof apply->result.text,
                       "There is no report %" PRIu64 " of what was given up.", id);
        return;
    }
    change->closes = action == LOST_CLOSE && !change->item->report.closed;
    change->left = change->closes ? 'O' : change->item->left;
    change->removals_left = lost_removals_max;
}

/* One that was cut short goes on under its id: what it tells of has not changed since. */
static void plan_telling(struct apply *apply, struct bytes told)
{
    struct lost_change *change = &apply->lost;
    uint8_t key[lost_outcome_key_size];
    uint8_t begun[8];

    if (change->telling_id == 0) {
        change->telling_id = apply->index;
        store_u64(begun, apply->index);
        write_copied(apply, bytes_of_text("P"), bytes_of(begun, sizeof begun));
    }
    for (size_t at = 0; at < told.size; at += lost_told_size) {
        lost_outcome_key(change->telling_id, load_u64(told.data + at), key);
        write_copied(apply, bytes_of(key, sizeof key), bytes_of(told.data + at + 8, 2));
    }
}

/* The leader encoded it: bytes that are none mean that the log is not what it was. */
static enum status lost_plan(struct apply *apply)
{
    struct bytes body = apply->entry.body;

    if (body.size != 0 && body.data[0] > lost_body_format)
        return STATUS_NEWER_FORMAT;
    if (body.size < state_lost_body_size || body.data[0] != lost_body_format)
        return STATUS_CORRUPT;
    uint32_t count = load_u32(body.data + 4);
    uint64_t id = load_u64(body.data + 8);
    struct bytes told =
        bytes_of(body.data + state_lost_body_size, body.size - state_lost_body_size);
    if (body.data[1] == LOST_FILE)
        return surrender_file(apply, told, count);
    if (body.data[1] == LOST_SURRENDER)
        return surrender_plan(apply, told);
    if (count > lost_tell_count_max || told.size != (size_t)count * lost_told_size)
        return STATUS_CORRUPT;
    switch (body.data[1]) {
    case LOST_CLOSE:
    case LOST_EMPTY:
        plan_removal(apply, (enum lost_action)body.data[1], id);
        return STATUS_OK;
    case LOST_TELL:
        plan_telling(apply, told);
        return apply->overlay.failure;
    default:
        return STATUS_CORRUPT;
    }
}

static enum status removals_open(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    const struct lost_item *item = change->item;
    struct lost_range range =
        lost_range(change->left, change->left == 'O' ? item->telling_id : item->report.id);
    struct bytes start = bytes_of(range.start, sizeof range.start);
    if (item->cursor.size != 0 && item->left == change->left)
        start = keys_bytes(&item->cursor);
    change->last = (struct bytes){0};
    return lsm_iterator_open(apply->view, STATE_TREE_LOST, start,
                             bytes_of(range.end, sizeof range.end), false, &change->iterator);
}

static void removals_close(struct lost_change *change)
{
    if (change->iterator != NULL)
        lsm_iterator_close(change->iterator);
    change->iterator = NULL;
}

static enum status remove_next(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    struct lsm_item item;
    enum status status = change->iterator == NULL ? removals_open(apply) : STATUS_OK;

    if (status == STATUS_OK)
        status = lsm_iterator_next(change->iterator, &apply->wait, &item);
    if (status == STATUS_END) {
        removals_close(change);
        change->left = change->left == 'O' ? 'T' : 0;
        return STATUS_OK;
    }
    if (status != STATUS_OK)
        return status;
    write_removal(apply, item.key);
    if (apply->overlay.failure != STATUS_OK)
        return apply->overlay.failure;
    change->last = apply->overlay.writes[apply->overlay.writes_count - 1].key;
    change->removals_left--;
    return STATUS_OK;
}

static enum status lost_gather(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && change->left != 0 && change->removals_left != 0)
        status = remove_next(apply);
    return status;
}

static enum status lost_execute(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    if (!change->closes)
        return STATUS_OK;
    struct state_lost_report report = change->item->report;
    report.closed = true;
    write_report(apply, &report, change->item->telling_id);
    return STATUS_OK;
}

static void lost_command_published(struct apply *apply)
{
    struct lost_change *change = &apply->lost;
    struct lost_item *item = change->item;

    if (item == NULL)
        return;
    if (item->left != change->left)
        item->cursor.size = 0;
    item->report.closed = item->report.closed || change->closes;
    item->left = change->left;
    if (change->last.size == 0)
        return;
    item->cursor.size = change->last.size;
    bytes_copy(item->cursor.data, change->last);
    keys_successor(&item->cursor);
}

static void lost_end(struct apply *apply)
{
    removals_close(&apply->lost);
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

static void body_encode(enum lost_action action, uint64_t id, uint32_t count,
                        uint8_t to[state_lost_body_size])
{
    memset(to, 0, state_lost_body_size);
    to[0] = lost_body_format;
    to[1] = (uint8_t)action;
    store_u32(to + 4, count);
    store_u64(to + 8, id);
}

void lost_tell_encode(uint32_t count, uint8_t to[state_lost_body_size])
{
    body_encode(LOST_TELL, 0, count, to);
}

void lost_filing_encode(uint32_t count, uint8_t to[state_lost_body_size])
{
    body_encode(LOST_FILE, 0, count, to);
}

void lost_surrender_encode(uint8_t to[state_lost_body_size])
{
    body_encode(LOST_SURRENDER, 0, 0, to);
}

void state_lost_close_encode(uint64_t id, uint8_t to[state_lost_body_size])
{
    body_encode(LOST_CLOSE, id, 0, to);
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
        if (item->report.closed && item->left != 0) {
            body_encode(LOST_EMPTY, item->report.id, 0, to);
            return true;
        }
    }
    return false;
}
