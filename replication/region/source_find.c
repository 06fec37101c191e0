/* SPDX-License-Identifier: Apache-2.0 */
/* A cursor's way through the log: where a position stands in it, and what comes next. */
#include "replication/region/source_internal.h"

enum {
    looks_max = 4096,          /* entries looked at in one call */
    bisected_least = 32,       /* entries; fewer are read one after another */
    probe_size = 16 * 1024,    /* bytes read to look at one entry */
    follow_size = 1024 * 1024, /* bytes read ahead */
    /* Farther from the log's start than this, nothing stands that precedes what stands there: as
     * much as a receiver has under way at a time, and more. */
    disorder_size_max = 64 * 1024 * 1024,
};

/* ---- Where a cursor may begin ---- */

enum status source_position_check(struct source *source, const struct region_position *position,
                                  struct region_epoch_span *span, struct region_position *common)
{
    const struct source_options *options = &source->options;

    *common = (struct region_position){0};
    if (epoch_compare(position->epoch, source->position.epoch) > 0) {
        *span = (struct region_epoch_span){0};
        return STATUS_NOT_PRIMARY;
    }
    if (!options->epoch_find(options->context, position->epoch, span))
        return STATUS_HISTORY_LOST;
    uint64_t last = span->last < source->position.version ? span->last : source->position.version;
    /* Of a state that has nothing yet no epoch is asked. */
    if (position->version == 0 ||
        (position->version <= last && epoch_compare(position->epoch, span->epoch) == 0))
        return STATUS_OK;
    common->epoch = span->epoch;
    common->version = position->version < last ? position->version : last;
    /* Of an epoch that goes on, none but this region's leaders can have sent what is not here: it
     * is this one that lacks it, because another leads by now. */
    if (span->last == UINT64_MAX && epoch_compare(position->epoch, span->epoch) == 0)
        return STATUS_NOT_LEADER;
    return STATUS_HISTORY_LOST;
}

static void find_begin(struct source *source, struct cursor *cursor)
{
    const struct mark *mark = source_mark_find(source, cursor->version);

    cursor->is_level = false;
    cursor->rescanned_size = 0;
    cursor->rescan_is_late = true;
    cursor->middle = 0;
    if (cursor->version >= source->position.version) {
        cursor->step = CURSOR_FOLLOW;
        cursor->index = source->applied_index + 1;
    } else if (mark != NULL) {
        cursor->step = CURSOR_FOLLOW;
        cursor->index = mark->index + 1;
    } else {
        cursor->step = CURSOR_BISECT;
        cursor->low = source->options.log.first_index(source->options.log.context);
        cursor->high = source->marks[0].index + 1;
    }
}

enum status cursor_begin(struct source *source, struct cursor *cursor,
                         const struct region_position *position, struct region_position *common)
{
    const struct source_options *options = &source->options;
    struct hash128 chain;

    enum status status = source_position_check(source, position, &cursor->span, common);
    if (status != STATUS_OK)
        return status;
    if (position->chain_known && options->chain_at != NULL &&
        options->chain_at(options->context, position->version, &chain) &&
        (chain.low != position->chain.low || chain.high != position->chain.high))
        return STATUS_CORRUPT;
    cursor->version = position->version;
    cursor->history = source->history;
    find_begin(source, cursor);
    return STATUS_OK;
}

enum status cursor_check(struct source *source, struct cursor *cursor,
                         struct region_position *common)
{
    const struct region_position position = {.epoch = cursor->span.epoch,
                                             .version = cursor->version};
    enum status status = source_position_check(source, &position, &cursor->span, common);
    if (status != STATUS_OK)
        return status;
    cursor->history = source->history;
    find_begin(source, cursor);
    return STATUS_OK;
}

/* ---- The log ---- */

static unsigned reader_of(const struct source *source, const struct cursor *cursor)
{
    return (unsigned)(cursor - source->cursors);
}

static enum status look(struct source *source, const struct cursor *cursor, uint64_t index,
                        size_t ahead_size, struct bytes *bytes, struct entry *entry)
{
    const struct source_log *log = &source->options.log;

    ASSERT(index <= source->applied_index);
    *entry = (struct entry){0};
    enum status status =
        log->entry_at(log->context, reader_of(source, cursor), index, ahead_size, bytes);
    if (status != STATUS_OK)
        return status == STATUS_AGAIN ? STATUS_AGAIN : STATUS_NOT_FOUND;
    status = entry_decode(*bytes, entry);
    ASSERT(status == STATUS_OK); /* it was when it was applied */
    return STATUS_OK;
}

/* ---- Bisection ---- */

/* Halves what lies between. By headers alone: entries that are none of the stream are in order too,
 * but for a few (source.h). */
static enum status bisect_once(struct source *source, struct cursor *cursor, unsigned *looks)
{
    struct region_position wanted = {.epoch = cursor->span.epoch, .version = cursor->version + 1};
    struct bytes bytes;
    struct entry entry;

    if (cursor->middle == 0) {
        cursor->middle = cursor->low + (cursor->high - cursor->low) / 2;
        cursor->probe = cursor->middle;
    }
    for (; cursor->probe < cursor->high; cursor->probe++) {
        if (++*looks > looks_max)
            return STATUS_END;
        enum status status = look(source, cursor, cursor->probe, probe_size, &bytes, &entry);
        if (status != STATUS_OK)
            return status;
        if (!entry_kind_is_shared(entry.kind))
            continue;
        const struct region_position found = {.epoch = {entry.epoch_number, entry.epoch_region},
                                              .version = entry.version};
        if (region_position_compare(&found, &wanted) < 0)
            cursor->low = cursor->probe + 1;
        else
            cursor->high = cursor->middle;
        cursor->middle = 0;
        return STATUS_OK;
    }
    cursor->high = cursor->middle;
    cursor->middle = 0;
    return STATUS_OK;
}

/* OK: `index` is where to look on from. END: in another turn. */
static enum status bisect(struct source *source, struct cursor *cursor, unsigned *looks)
{
    while (cursor->high > cursor->low && cursor->high - cursor->low > bisected_least) {
        enum status status = bisect_once(source, cursor, looks);
        if (status != STATUS_OK)
            return status;
    }
    cursor->step = CURSOR_FOLLOW;
    cursor->index = cursor->low;
    return STATUS_OK;
}

/* ---- Following ---- */

/* Whether an entry is the one after the cursor's version. A grant is under the epoch that it ends,
 * as is told from one that was given up by the epoch that it begins. The first epoch of all begins
 * without an entry of its own. */
static bool is_next(const struct cursor *cursor, const struct entry *entry)
{
    const struct region_epoch_span *span = &cursor->span;
    const struct epoch epoch = {entry->epoch_number, entry->epoch_region};
    struct epoch to;

    if (!entry_kind_is_shared(entry->kind) || entry->version != cursor->version + 1)
        return false;
    if (cursor->version != span->last)
        return epoch_compare(epoch, span->epoch) == 0;
    if (span->epoch.number == 0)
        return epoch_compare(epoch, span->next) == 0;
    return batch_epoch_begun(entry, &to) && epoch_compare(to, span->next) == 0;
}

static void step_over(struct source *source, struct cursor *cursor)
{
    const struct source_options *options = &source->options;
    bool begins = cursor->version == cursor->span.last;

    cursor->version++;
    cursor->step = CURSOR_FOLLOW;
    if (begins) {
        struct epoch next = cursor->span.next;
        bool found = options->epoch_find(options->context, next, &cursor->span);
        ASSERT(found && epoch_compare(next, cursor->span.epoch) == 0);
    }
}

/* The whole log above is looked through, and the next version was not there. NOT_FOUND: nor is it
 * anywhere below. */
static enum status rescan(struct source *source, struct cursor *cursor)
{
    if (cursor->step == CURSOR_RESCAN)
        return STATUS_NOT_FOUND;
    cursor->step = CURSOR_RESCAN;
    cursor->index = source->options.log.first_index(source->options.log.context);
    cursor->rescanned_size = 0;
    cursor->rescan_is_late = true;
    source->statistics.rescans_count++;
    return STATUS_OK;
}

/* False: the log begins too late, as far as can be told. */
static bool rescan_goes_on(struct cursor *cursor, const struct entry *entry, size_t size)
{
    if (cursor->step != CURSOR_RESCAN)
        return true;
    cursor->rescanned_size += size;
    if (entry_kind_is_shared(entry->kind) && entry->version <= cursor->version)
        cursor->rescan_is_late = false;
    return !cursor->rescan_is_late || cursor->rescanned_size <= disorder_size_max;
}

enum status cursor_gather(struct source *source, struct cursor *cursor, size_t size_max)
{
    struct batch *batch = &source->batch;
    unsigned looks = 0;
    enum status status = STATUS_OK;
    struct bytes bytes;
    struct entry entry;

    batch_clear(batch);
    if (cursor->step == CURSOR_BISECT && cursor->version < source->position.version) {
        status = bisect(source, cursor, &looks);
        if (status == STATUS_NOT_FOUND) { /* released meanwhile */
            find_begin(source, cursor);
            status = STATUS_END;
        }
        source->has_more |= status == STATUS_END;
        if (status != STATUS_OK)
            return status == STATUS_END ? STATUS_OK : status;
    }
    while (cursor->version < source->position.version) {
        if (cursor->index > source->applied_index) {
            status = rescan(source, cursor);
            if (status != STATUS_OK)
                return batch->count > 0 ? STATUS_OK : status;
        }
        if (++looks > looks_max) {
            source->has_more = true;
            break;
        }
        status = look(source, cursor, cursor->index, follow_size, &bytes, &entry);
        if (status == STATUS_NOT_FOUND && batch->count > 0)
            return STATUS_OK;
        if (status != STATUS_OK)
            return status;
        if (is_next(cursor, &entry)) {
            if (!batch_add(batch, bytes, size_max))
                break;
            step_over(source, cursor);
        } else if (!rescan_goes_on(cursor, &entry, bytes.size)) {
            return batch->count > 0 ? STATUS_OK : STATUS_NOT_FOUND;
        }
        cursor->index++;
    }
    return STATUS_OK;
}
