/* SPDX-License-Identifier: Apache-2.0 */
/* The replay of what recovery found: the entries above the base in order, each read from where its
 * place says, holes without bytes. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/wal/recovery.h"

struct replay {
    struct wal_recovery *recovery;
    wal_replay_fn *entry;
    void *context;
    struct wal_reader reader; /* of the segment that was read last */
    bool is_open;
    uint64_t offset; /* of the batch that `records` is of; 0: none */
    struct wal_records records;
    struct wal_entry *entries; /* of one place */
    size_t entries_capacity;
    struct error *error;
};

static enum status replay_changed(const struct replay *replay)
{
    return error_set(replay->error, STATUS_CORRUPT, "%s, offset %llu: it changed while it was read",
                     replay->reader.path.text, (unsigned long long)replay->offset);
}

static enum status replay_entry(struct replay *replay, const struct wal_entry *entry)
{
    enum status status = replay->entry(replay->context, entry);
    replay->recovery->entries_count++;
    if (status == STATUS_OK || (replay->error != NULL && replay->error->status != STATUS_OK))
        return status;
    return error_set(replay->error, status, "%s: replaying index %llu: %s%s",
                     replay->recovery->directory, (unsigned long long)entry->index,
                     status_text(status), status == STATUS_NEWER_FORMAT ? ": start that one" : "");
}

static enum status replay_holes(struct replay *replay, const struct wal_place *place,
                                uint64_t first)
{
    enum status status = STATUS_OK;
    for (uint64_t index = first; index <= wal_place_last(place) && status == STATUS_OK; index++) {
        struct wal_entry entry = {.index = index, .hole = wal_place_hole(place)};
        bool found = wal_terms_find(&replay->recovery->outline.terms, index, &entry.term);
        ASSERT(found);
        status = replay_entry(replay, &entry);
    }
    return status;
}

/* Reads the place's batch, unless it was read last. */
static enum status replay_read(struct replay *replay, const struct wal_place *place)
{
    struct wal_recovery *recovery = replay->recovery;
    uint32_t position = place->segment - (uint32_t)recovery->headers[0].id;
    uint64_t offset = (uint64_t)place->block * wal_block_size;
    enum status status = STATUS_OK;
    ASSERT(position < recovery->headers_count);
    if (replay->is_open && replay->reader.header.id != recovery->headers[position].id) {
        replay->is_open = false;
        status = wal_reader_close(&replay->reader);
    }
    if (status == STATUS_OK && !replay->is_open) {
        status = wal_reader_open_to(
            recovery->io, recovery->keyring, recovery->directory, recovery->headers[position].id,
            wal_recovery_segment_end(recovery, position), &replay->reader, replay->error);
        replay->is_open = status == STATUS_OK;
        replay->offset = 0;
    }
    if (status != STATUS_OK || replay->offset == offset)
        return status;
    enum wal_batch_state state;
    struct wal_batch_header header;
    replay->offset = offset;
    status = wal_reader_batch(&replay->reader, offset, replay->reader.header.size, 0, NULL, &state,
                              &header, &replay->records, replay->error);
    return status == STATUS_OK && state != WAL_BATCH_VALID ? replay_changed(replay) : status;
}

/* The last record of an index in its batch is the one that counts. */
static enum status replay_place(struct replay *replay, const struct wal_place *place,
                                uint64_t first)
{
    size_t count = (size_t)(wal_place_last(place) - first + 1);
    struct wal_record record;
    enum status status = replay_read(replay, place);
    if (status != STATUS_OK)
        return status;
    if (count > replay->entries_capacity) {
        free(replay->entries);
        replay->entries = malloc(count * sizeof *replay->entries);
        replay->entries_capacity = replay->entries == NULL ? 0 : count;
    }
    if (replay->entries == NULL)
        return error_set(replay->error, STATUS_NO_MEMORY, "%s: no memory for the replay",
                         replay->recovery->directory);
    memset(replay->entries, 0, count * sizeof *replay->entries);
    struct wal_records records = replay->records;
    while (wal_record_next(&records, &record) == STATUS_OK) {
        if (wal_record_has_entry(record.kind) && record.entry.index >= first &&
            record.entry.index - first < count)
            replay->entries[record.entry.index - first] = record.entry;
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        uint64_t term = 0;
        bool found = wal_terms_find(&replay->recovery->outline.terms, first + i, &term);
        ASSERT(found);
        if (replay->entries[i].index != first + i || replay->entries[i].term != term)
            return replay_changed(replay);
        status = replay_entry(replay, &replay->entries[i]);
    }
    return status;
}

enum status wal_recovery_replay(struct wal_recovery *recovery, wal_replay_fn *entry, void *context,
                                struct error *error)
{
    struct replay replay = {
        .recovery = recovery, .entry = entry, .context = context, .error = error};
    const struct wal_places *places = &recovery->outline.places;
    enum status status = STATUS_OK;
    uint64_t first = recovery->outline.terms.begin.index + 1;
    if (first <= recovery->base.index)
        first = recovery->base.index + 1;
    const struct wal_place *place = wal_places_find(places, first);
    while (place != NULL && status == STATUS_OK) {
        status = place->blocks == 0 ? replay_holes(&replay, place, first)
                                    : replay_place(&replay, place, first);
        place = wal_places_next(places, place);
        first = place == NULL ? 0 : place->first;
    }
    if (replay.is_open) {
        enum status closed = wal_reader_close(&replay.reader);
        if (status == STATUS_OK)
            status = closed;
    }
    free(replay.entries);
    return status;
}
