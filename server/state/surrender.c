/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/surrender.h"

#include <stdio.h>

#include "proto/base/assert.h"
#include "server/state/lost.h"
#include "server/state/state_internal.h"

enum {
    piece_header_size = 8,
    packed_size_max = state_lost_tell_size_max, /* of several, in one entry of the log */
};

_Static_assert((int)state_filing_size_max >=
                   (int)state_lost_body_size + (int)piece_header_size + (int)lost_part_size,
               "any part fits");

/* ---- What can be filed ---- */

/* While a rewind is under way the log is applied again: what it gives up itself it files itself. */
static bool may_surrender(const struct mark_state *mark)
{
    if (mark_is_rewinding(mark))
        return mark->tail_version == mark->rewind_version &&
               epoch_equal(mark->tail_epoch, mark->rewind_epoch);
    return mark->fence_number != 0 && !mark_is_adopting(mark) && !mark_is_surrendered(mark);
}

static enum status refuse(struct apply *apply)
{
    apply->result.status = STATUS_CONFLICT;
    (void)snprintf(apply->result.text, sizeof apply->result.text,
                   "This region has nothing to surrender.");
    return STATUS_OK;
}

static struct epoch epoch_of(const struct entry *entry)
{
    return (struct epoch){.number = entry->epoch_number, .region = entry->epoch_region};
}

/* Whether an entry comes behind all that is filed. */
static bool is_next(const struct lost_tail *tail, const struct entry *entry)
{
    int order = epoch_compare(epoch_of(entry), tail->report.epoch);
    return tail->id == 0 || tail->report.count == 0 || order > 0 ||
           (order == 0 && entry->version > tail->report.last_version);
}

/* ---- FILE ---- */

static enum status file_first(struct apply *apply, struct bytes part)
{
    struct entry entry;
    size_t size;

    if (entry_header_decode(part, &entry, &size) != STATUS_OK ||
        !entry_kind_is_shared(entry.kind) ||
        part.size != (size < lost_part_size ? size : lost_part_size))
        return STATUS_CORRUPT;
    if (!is_next(&apply->lost.tail, &entry) ||
        state_position_check(apply->state, epoch_of(&entry), entry.version) != STATUS_OK)
        return STATUS_OK;
    lost_file_part(apply, &entry, size, 0, part);
    return STATUS_OK;
}

static enum status file_more(struct apply *apply, unsigned number, struct bytes part)
{
    const struct lost_tail *tail = &apply->lost.tail;

    /* Another leader has begun the entry anew, or ended it. */
    if (tail->parts_next != number)
        return STATUS_OK;
    size_t left = tail->part_of_size - (size_t)number * lost_part_size;
    if (part.size != (left < lost_part_size ? left : lost_part_size))
        return STATUS_CORRUPT;
    const struct entry entry = tail->part_of;
    lost_file_part(apply, &entry, tail->part_of_size, number, part);
    return STATUS_OK;
}

enum status surrender_file(struct apply *apply, struct bytes text, uint32_t count)
{
    enum status status = STATUS_OK;

    if (!may_surrender(&apply->next))
        return refuse(apply);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        if (text.size < piece_header_size)
            return STATUS_CORRUPT;
        unsigned number = text.data[0];
        size_t size = load_u32(text.data + 4);
        if (size > text.size - piece_header_size)
            return STATUS_CORRUPT;
        struct bytes part = bytes_of(text.data + piece_header_size, size);
        text = bytes_of(part.data + size, text.size - piece_header_size - size);
        status = number == 0 ? file_first(apply, part) : file_more(apply, number, part);
    }
    if (status != STATUS_OK || text.size != 0)
        return STATUS_CORRUPT;
    return apply->overlay.failure;
}

/* ---- SURRENDER ---- */

static bool is_above(const struct mark_state *mark, const struct rewind *rewind)
{
    return mark->version > rewind->version;
}

enum status surrender_plan(struct apply *apply, struct bytes text)
{
    struct mark_state *next = &apply->next;
    struct rewind rewind;
    enum status status = rewind_decode(text, &rewind);

    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    if (!may_surrender(next) || !is_above(next, &rewind) ||
        epoch_compare(rewind.to, mark_fence(next)) > 0 ||
        epoch_compare(rewind.to, mark_epoch(next)) <= 0 ||
        state_position_check(apply->state, rewind.from, rewind.version) != STATUS_OK)
        return refuse(apply);
    lost_finish_above(apply, rewind.version, rewind.to);
    if (!mark_is_rewinding(next)) {
        next->tail_epoch = rewind.from;
        next->tail_version = rewind.version;
    }
    return apply->overlay.failure;
}

/* ---- For the owner ---- */

bool state_is_surrendered(const struct state *state)
{
    return mark_is_surrendered(&state->mark);
}

bool state_filed(const struct state *state, struct epoch *epoch, uint64_t *version)
{
    const struct lost_tail *tail = &state->lost.tail;
    *epoch = tail->report.epoch;
    *version = tail->report.last_version;
    return tail->id != 0 && tail->report.count != 0;
}

void state_filing_begin(struct state_filing *filing, uint8_t *body)
{
    *filing = (struct state_filing){.body = body, .size = state_lost_body_size};
    lost_filing_encode(0, body);
}

bool state_filing_add(struct state_filing *filing, struct bytes entry, unsigned *part)
{
    size_t at = (size_t)*part * lost_part_size;
    ASSERT(at < entry.size);
    size_t size = entry.size - at < lost_part_size ? entry.size - at : lost_part_size;

    size_t size_max = filing->count == 0 ? state_filing_size_max : packed_size_max;
    if (filing->size + piece_header_size + size > size_max)
        return false;
    uint8_t *to = filing->body + filing->size;
    memset(to, 0, piece_header_size);
    to[0] = (uint8_t)*part;
    store_u32(to + 4, (uint32_t)size);
    memcpy(to + piece_header_size, entry.data + at, size);
    filing->size += piece_header_size + size;
    filing->count++;
    lost_filing_encode(filing->count, filing->body);
    *part = at + size == entry.size ? 0 : *part + 1;
    return true;
}

void state_surrender_encode(const struct rewind *rewind, uint8_t to[state_surrender_size])
{
    lost_surrender_encode(to);
    rewind_encode(rewind, to + state_lost_body_size);
}
