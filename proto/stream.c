/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/stream.h"

#include "proto/base/assert.h"
#include "proto/base/planted.h"

static struct epoch epoch_of(const struct entry *entry)
{
    return (struct epoch){.number = entry->epoch_number, .region = entry->epoch_region};
}

/* A grant is the last command of the epoch that it ends, and stamped as such; a promotion comes
 * from where the old epoch's primary is not. */
static bool takes_change(const struct stream_position *position, const struct epoch_end *end,
                         const struct entry *entry, struct epoch *next)
{
    struct epoch_change change;

    if (epoch_change_decode(entry->body, &change) != STATUS_OK ||
        !epoch_equal(change.from, position->epoch) || change.version != position->version)
        return false;
    if (!epoch_equal(epoch_of(entry), change.kind == EPOCH_GRANT ? change.from : change.to))
        return false;
    *next = change.to;
    return end == NULL || epoch_equal(end->next, change.to);
}

/* Where there is nothing yet, not even an epoch, the first entry of any history brings its own. */
static bool takes_first(struct stream_position *position, const struct entry *entry)
{
    if (position->version != 0 || entry->version != 1 || entry->kind == ENTRY_EPOCH ||
        !entry_kind_is_shared(entry->kind) || entry->epoch_number == 0)
        return false;
    *position = (struct stream_position){.epoch = epoch_of(entry), .version = 1};
    return true;
}

static bool is_successor(const struct stream_position *position, const struct entry *entry)
{
    if (PLANTED(region_duplicate_taken) && entry->kind != ENTRY_EPOCH &&
        entry->version <= position->version)
        return true;
    if (PLANTED(region_gap_taken) && entry->kind != ENTRY_EPOCH &&
        entry->version == position->version + 2)
        return true;
    return entry->version == position->version + 1;
}

bool stream_takes(struct stream_position *position, const struct epoch_end *end,
                  const struct entry *entry)
{
    struct epoch next = position->epoch;

    if (position->epoch.number == 0)
        return takes_first(position, entry);

    ASSERT(end == NULL || epoch_equal(end->epoch, position->epoch));
    if (!entry_kind_is_shared(entry->kind) || !is_successor(position, entry))
        return false;
    bool has_ended = end != NULL && position->version >= end->version;
    if (entry->kind == ENTRY_EPOCH) {
        if ((end != NULL && !has_ended) || !takes_change(position, end, entry, &next))
            return false;
    } else if (has_ended ||
               (!epoch_equal(epoch_of(entry), position->epoch) && !PLANTED(region_lower_taken))) {
        return false;
    }
    *position = (struct stream_position){.epoch = next, .version = entry->version};
    return true;
}
