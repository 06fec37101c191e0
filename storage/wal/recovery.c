/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/recovery.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"

/* ---- The table ---- */

static const enum wal_verdict verdicts[2][3][2][2] = {
    /* [place][batch][successor][alone] */
    [WAL_PLACE_INSIDE] =
        {
            [WAL_BATCH_VALID] = {{WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
                                 {WAL_VERDICT_TAKE, WAL_VERDICT_TAKE}},
            [WAL_BATCH_BLANK] = {{WAL_VERDICT_CORRUPT, WAL_VERDICT_CORRUPT},
                                 {WAL_VERDICT_CORRUPT, WAL_VERDICT_CORRUPT}},
            [WAL_BATCH_BROKEN] = {{WAL_VERDICT_CORRUPT, WAL_VERDICT_CORRUPT},
                                  {WAL_VERDICT_CORRUPT, WAL_VERDICT_CORRUPT}},
        },
    [WAL_PLACE_OPEN] =
        {
            [WAL_BATCH_VALID] = {{WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
                                 {WAL_VERDICT_TAKE, WAL_VERDICT_TAKE}},
            [WAL_BATCH_BLANK] = {{WAL_VERDICT_END, WAL_VERDICT_END},
                                 {WAL_VERDICT_CORRUPT, WAL_VERDICT_CORRUPT}},
            [WAL_BATCH_BROKEN] = {{WAL_VERDICT_SUSPECT, WAL_VERDICT_TORN},
                                  {WAL_VERDICT_CORRUPT, WAL_VERDICT_CORRUPT}},
        },
};

enum wal_verdict wal_recovery_verdict(enum wal_place place, enum wal_batch_state state,
                                      bool has_successor, bool alone)
{
    return verdicts[place][state][has_successor][alone];
}

/* ---- The log's entries ---- */

static enum status corrupt_at(const struct wal_reader *reader, uint64_t offset, const char *what,
                              struct error *error)
{
    return error_set(error, STATUS_CORRUPT, "%s, offset %llu: %s", reader->path.text,
                     (unsigned long long)offset, what);
}

static enum status pieces_reserve(struct wal_recovery *recovery, size_t more, struct error *error)
{
    if (recovery->pieces_count + more <= recovery->pieces_capacity)
        return STATUS_OK;
    size_t capacity = recovery->pieces_capacity == 0 ? 256 : 2 * recovery->pieces_capacity;
    struct wal_piece *larger = realloc(recovery->pieces, capacity * sizeof *larger);
    if (larger == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for the log's outline",
                         recovery->directory);
    recovery->pieces = larger;
    recovery->pieces_capacity = capacity;
    return STATUS_OK;
}

static void entries_cut(struct wal_recovery *recovery, uint64_t index)
{
    while (recovery->pieces_count > 0 &&
           recovery->pieces[recovery->pieces_count - 1].first >= index)
        recovery->pieces_count--;
    if (recovery->pieces_count > 0 && recovery->pieces[recovery->pieces_count - 1].last >= index) {
        struct wal_piece *last = &recovery->pieces[recovery->pieces_count - 1];
        last->last = index - 1;
        last->record_end = 0; /* nothing extends it */
    }
    wal_terms_cut(&recovery->terms, index);
}

static enum status entry_append(struct wal_recovery *recovery, const struct wal_piece *piece,
                                struct error *error)
{
    if (piece->first <= recovery->terms.last_index)
        entries_cut(recovery, piece->first);
    if (wal_terms_append(&recovery->terms, piece->term, 1) != STATUS_OK)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for the log's outline",
                         recovery->directory);
    if (piece->first <= recovery->base.index)
        return STATUS_OK;
    struct wal_piece *last =
        recovery->pieces_count == 0 ? NULL : &recovery->pieces[recovery->pieces_count - 1];
    if (last != NULL && last->segment == piece->segment && last->term == piece->term &&
        last->batch_offset == piece->batch_offset && last->record_end == piece->record_offset) {
        last->last = piece->last;
        last->record_end = piece->record_end;
        return STATUS_OK;
    }
    enum status status = pieces_reserve(recovery, 1, error);
    if (status == STATUS_OK)
        recovery->pieces[recovery->pieces_count++] = *piece;
    return status;
}

/* Puts `fill` in the place of the one entry that it mends. */
static enum status entry_fill(struct wal_recovery *recovery, const struct wal_piece *fill,
                              struct error *error)
{
    if (fill->first <= recovery->base.index)
        return STATUS_OK;
    enum status status = pieces_reserve(recovery, 2, error);
    if (status != STATUS_OK)
        return status;
    size_t at = 0;
    while (recovery->pieces[at].last < fill->first)
        at++;
    ASSERT(at < recovery->pieces_count && recovery->pieces[at].first <= fill->first);
    struct wal_piece old = recovery->pieces[at];
    struct wal_piece parts[3];
    size_t count = 0;
    if (old.first < fill->first) {
        parts[count] = old;
        parts[count].last = fill->first - 1;
        parts[count++].record_end = 0;
    }
    parts[count] = *fill;
    parts[count++].record_end = 0;
    if (old.last > fill->first) {
        /* Its records are found by walking from the old beginning. */
        parts[count] = old;
        parts[count++].first = fill->first + 1;
    }
    memmove(recovery->pieces + at + count, recovery->pieces + at + 1,
            (recovery->pieces_count - at - 1) * sizeof *recovery->pieces);
    memcpy(recovery->pieces + at, parts, count * sizeof *parts);
    recovery->pieces_count += count - 1;
    return STATUS_OK;
}

static enum status record_apply(struct wal_recovery *recovery, const struct wal_record *record,
                                const struct wal_piece *piece, const char **what,
                                struct error *error)
{
    uint64_t index = record->entry.index;
    uint64_t term = 0;
    switch (record->kind) {
    case WAL_APPEND:
        if (index <= recovery->terms.last_index + 1)
            return entry_append(recovery, piece, error);
        *what = "an entry does not follow the one before it";
        return STATUS_CORRUPT;
    case WAL_FILL:
        if (index <= recovery->terms.begin.index)
            return STATUS_OK; /* the segment with what it mends was released */
        if (wal_terms_find(&recovery->terms, index, &term) && term == record->entry.term)
            return entry_fill(recovery, piece, error);
        *what = "an entry mends one that the log does not have";
        return STATUS_CORRUPT;
    case WAL_TRUNCATE:
        if (index <= recovery->terms.last_index)
            entries_cut(recovery, index);
        return STATUS_OK;
    }
    UNREACHABLE();
}

/* ---- Segments ---- */

struct walk {
    struct wal_recovery *recovery;
    struct wal_reader *reader;
    size_t position; /* of the segment among the headers */
    uint64_t offset;
    uint64_t sequence;
    struct wal_batch_id previous;
    struct wal_segment *segment;
};

static enum status batch_apply(struct walk *walk, const struct wal_batch_header *header,
                               struct wal_records *records, struct error *error)
{
    struct wal_recovery *recovery = walk->recovery;
    uint32_t count = 0;
    for (;;) {
        const char *what = "a record does not follow the grammar";
        struct wal_record record;
        size_t record_offset = records->offset;
        enum status status = wal_record_next(records, &record);
        if (status == STATUS_END)
            break;
        if (status == STATUS_OK) {
            struct wal_piece piece = {
                .first = record.entry.index,
                .last = record.entry.index,
                .term = record.entry.term,
                .batch_offset = walk->offset,
                .sequence = walk->sequence,
                .segment = walk->position,
                .record_offset = (uint32_t)record_offset,
                .record_end = (uint32_t)records->offset,
            };
            status = record_apply(recovery, &record, &piece, &what, error);
        }
        if (status == STATUS_CORRUPT)
            return corrupt_at(walk->reader, walk->offset, what, error);
        if (status != STATUS_OK)
            return status;
        if (record.kind != WAL_TRUNCATE && record.entry.index > walk->segment->index_max)
            walk->segment->index_max = record.entry.index;
        count++;
    }
    if (count != header->records_count)
        return corrupt_at(walk->reader, walk->offset, "the batch lacks records", error);
    return STATUS_OK;
}

/* The newest segment's first place without a valid batch. */
static enum status walk_ends(struct walk *walk, enum wal_batch_state state,
                             const struct wal_batch_header *header, struct error *error)
{
    struct wal_recovery *recovery = walk->recovery;
    bool found = false;
    uint64_t at = 0;
    uint64_t at_sequence = 0;
    enum status status =
        wal_reader_find_successor(walk->reader, walk->offset + wal_block_size, walk->sequence,
                                  &found, &at, &at_sequence, error);
    if (status != STATUS_OK)
        return status;
    switch (wal_recovery_verdict(WAL_PLACE_OPEN, state, found, recovery->alone)) {
    case WAL_VERDICT_END:
        return STATUS_OK;
    case WAL_VERDICT_TORN:
        recovery->torn = true;
        recovery->torn_index = recovery->terms.last_index + 1;
        for (uint32_t i = 0; i < header->id.runs_count; i++) {
            if (header->id.runs[i].index < recovery->torn_index)
                recovery->torn_index = header->id.runs[i].index;
        }
        return STATUS_OK;
    case WAL_VERDICT_SUSPECT:
        return corrupt_at(walk->reader, walk->offset,
                          "the last batch does not hold, and may have been acknowledged: only "
                          "other members can tell what it held",
                          error);
    case WAL_VERDICT_CORRUPT:
        return error_set(error, STATUS_CORRUPT,
                         "%s, offset %llu: the batch that stood here does not hold, and has a "
                         "successor at offset %llu: it was acknowledged, and is damaged",
                         walk->reader->path.text, (unsigned long long)walk->offset,
                         (unsigned long long)at);
    case WAL_VERDICT_TAKE:
        break;
    }
    UNREACHABLE();
}

/* Reads batches up to `limit`; `place` says what stands there. */
static enum status walk_batches(struct walk *walk, enum wal_place place, uint64_t limit,
                                struct error *error)
{
    while (walk->offset + wal_block_size <= limit) {
        enum wal_batch_state state;
        struct wal_batch_header header;
        struct wal_records records;
        enum status status = wal_reader_batch(walk->reader, walk->offset, limit, walk->sequence,
                                              &walk->previous, &state, &header, &records, error);
        if (status != STATUS_OK)
            return status;
        if (state != WAL_BATCH_VALID) {
            if (place == WAL_PLACE_OPEN)
                return walk_ends(walk, state, &header, error);
            ASSERT(wal_recovery_verdict(place, state, true, true) == WAL_VERDICT_CORRUPT);
            return corrupt_at(walk->reader, walk->offset,
                              "the batch that stood here does not hold: it was acknowledged, and "
                              "is damaged",
                              error);
        }
        status = batch_apply(walk, &header, &records, error);
        if (status != STATUS_OK)
            return status;
        walk->offset += header.id.size;
        walk->sequence++;
        walk->previous = header.id;
    }
    return STATUS_OK;
}

/* Whether the segment's header follows what was read up to it. */
static enum status segment_follows(struct wal_recovery *recovery, const struct wal_reader *reader,
                                   const struct walk *before, struct error *error)
{
    const struct wal_segment_header *header = &reader->header;
    struct wal_mark last = wal_terms_last(&recovery->terms);
    if (header->previous_id != recovery->position.segment_id ||
        header->previous_end != before->offset ||
        !wal_batch_id_equal(&header->previous, &before->previous))
        return corrupt_at(reader, 0, "the segment does not follow the one before it", error);
    if (header->base.index < last.index)
        return corrupt_at(reader, 0, "the segment begins below the end of the one before it",
                          error);
    if (header->base.index == last.index && header->base.term == last.term)
        return STATUS_OK;
    /* The log began anew, at a state that was past its end. */
    recovery->pieces_count = 0;
    wal_terms_free(&recovery->terms);
    wal_terms_init(&recovery->terms, header->base);
    return STATUS_OK;
}

static enum status segment_read(struct wal_recovery *recovery, size_t position, struct walk *walk,
                                struct error *error)
{
    const struct wal_segment_header *header = &recovery->headers[position];
    bool is_last = position + 1 == recovery->headers_count;
    struct wal_reader reader;
    enum status status = wal_reader_open(recovery->io, recovery->keyring, recovery->directory,
                                         header->id, &reader, error);
    if (status != STATUS_OK)
        return status;
    struct wal_segment segment = {
        .id = header->id,
        .size = header->size,
        .base = header->base,
        .index_max = header->base.index,
    };
    if (position > 0)
        status = segment_follows(recovery, &reader, walk, error);
    if (status == STATUS_OK)
        status = wal_segments_add(&recovery->segments, &segment);
    if (status == STATUS_OK) {
        walk->recovery = recovery;
        walk->reader = &reader;
        walk->position = position;
        walk->offset = wal_block_size;
        walk->sequence = 1;
        walk->previous = header->previous;
        walk->segment = wal_segments_newest(&recovery->segments);
        uint64_t limit = is_last ? header->size : recovery->headers[position + 1].previous_end;
        if (limit < wal_block_size || limit > header->size)
            status = corrupt_at(&reader, 0,
                                "the next segment's header records an end that is not "
                                "in this one",
                                error);
        else
            status = walk_batches(walk, is_last ? WAL_PLACE_OPEN : WAL_PLACE_INSIDE, limit, error);
        recovery->position.segment_id = header->id;
        recovery->position.end = walk->offset;
        recovery->position.batch = walk->previous;
    }
    enum status closed = wal_reader_close(&reader);
    return status != STATUS_OK ? status : closed;
}

/* All headers first: each records where the one before it ends. */
static enum status headers_read(struct wal_recovery *recovery, const struct wal_numbers *ids,
                                struct error *error)
{
    recovery->headers = calloc(ids->count, sizeof *recovery->headers);
    if (recovery->headers == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for %zu segments",
                         recovery->directory, ids->count);
    for (size_t i = 0; i < ids->count; i++) {
        struct wal_path path = wal_path(recovery->directory, WAL_FILE_SEGMENT, ids->numbers[i]);
        if (i > 0 && ids->numbers[i] != ids->numbers[i - 1] + 1)
            return error_set(error, STATUS_CORRUPT, "%s: the segment before it is missing",
                             path.text);
        struct wal_reader reader;
        enum status status = wal_reader_open(recovery->io, recovery->keyring, recovery->directory,
                                             ids->numbers[i], &reader, error);
        if (status != STATUS_OK)
            return status;
        recovery->headers[recovery->headers_count++] = reader.header;
        status = wal_reader_close(&reader);
        if (status != STATUS_OK)
            return error_set(error, status, "%s: closing: %s", path.text, status_text(status));
    }
    return STATUS_OK;
}

enum status wal_recovery_read(struct wal_recovery *recovery, const struct wal_listing *listing,
                              struct error *error)
{
    const struct wal_numbers *ids = &listing->of[WAL_FILE_SEGMENT];
    wal_terms_init(&recovery->terms, recovery->base);
    if (ids->count == 0) {
        recovery->position.mark = recovery->base;
        return STATUS_OK;
    }
    enum status status = headers_read(recovery, ids, error);
    if (status != STATUS_OK)
        return status;
    wal_terms_init(&recovery->terms, recovery->headers[0].base);
    struct walk walk = {.recovery = recovery};
    for (size_t i = 0; i < recovery->headers_count && status == STATUS_OK; i++)
        status = segment_read(recovery, i, &walk, error);
    recovery->position.mark = wal_terms_last(&recovery->terms);
    return status;
}

enum status wal_recovery_fit(struct wal_recovery *recovery, struct error *error)
{
    struct wal_mark last = wal_terms_last(&recovery->terms);
    struct wal_mark base = recovery->base;
    uint64_t term = 0;
    bool held = wal_terms_find(&recovery->terms, base.index, &term) && term == base.term;
    if (last.index > base.index && !held)
        return error_set(error, STATUS_CORRUPT,
                         "%s: the log does not fit the state, which is durable up to index %llu of "
                         "term %llu: the log begins after index %llu and ends at index %llu of "
                         "term %llu",
                         recovery->directory, (unsigned long long)base.index,
                         (unsigned long long)base.term,
                         (unsigned long long)recovery->terms.begin.index,
                         (unsigned long long)last.index, (unsigned long long)last.term);
    if (!held) {
        recovery->pieces_count = 0;
        wal_terms_free(&recovery->terms);
        wal_terms_init(&recovery->terms, base);
        recovery->position.mark = base;
    }
    return STATUS_OK;
}

enum status wal_recovery_flush(struct wal_recovery *recovery, struct error *error)
{
    struct wal_segment *newest = wal_segments_newest(&recovery->segments);
    enum status status = io_flush_directory_wait(recovery->io, recovery->directory);
    if (status != STATUS_OK)
        return error_set(error, status, "%s: flushing: %s", recovery->directory,
                         status_text(status));
    if (newest == NULL)
        return STATUS_OK;
    struct wal_path path = wal_path(recovery->directory, WAL_FILE_SEGMENT, newest->id);
    struct io_file *file = NULL;
    status = io_open_wait(recovery->io, path.text, IO_READ | IO_WRITE | IO_DIRECT, &file);
    if (status == STATUS_OK) {
        status = io_flush_wait(recovery->io, file);
        enum status closed = io_close_wait(recovery->io, file);
        if (status == STATUS_OK)
            status = closed;
    }
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "%s: flushing: %s", path.text, status_text(status));
}

/* ---- Replay ---- */

static enum status piece_replay(struct wal_recovery *recovery, const struct wal_piece *piece,
                                const struct wal_reader *reader, struct wal_records records,
                                wal_replay_fn *replay, void *context, struct error *error)
{
    uint64_t index = piece->first;
    records.offset = piece->record_offset;
    while (index <= piece->last) {
        struct wal_record record;
        enum status status = wal_record_next(&records, &record);
        if (status != STATUS_OK)
            return corrupt_at(reader, piece->batch_offset, "it changed while it was read", error);
        if (record.entry.index < index)
            continue; /* the piece lost its beginning to a fill */
        if (record.entry.index != index || record.entry.term != piece->term)
            return corrupt_at(reader, piece->batch_offset, "it changed while it was read", error);
        status = replay(context, &record.entry);
        if (status != STATUS_OK)
            return error != NULL && error->status != STATUS_OK
                       ? status
                       : error_set(error, status, "%s: replaying index %llu: %s",
                                   recovery->directory, (unsigned long long)index,
                                   status_text(status));
        recovery->entries_count++;
        index++;
    }
    return STATUS_OK;
}

enum status wal_recovery_replay(struct wal_recovery *recovery, wal_replay_fn *replay, void *context,
                                struct error *error)
{
    struct wal_reader reader = {0};
    struct wal_batch_header header;
    struct wal_records records = {0};
    enum status status = STATUS_OK;
    size_t open_segment = SIZE_MAX;
    uint64_t open_batch = UINT64_MAX;
    for (size_t i = 0; i < recovery->pieces_count && status == STATUS_OK; i++) {
        const struct wal_piece *piece = &recovery->pieces[i];
        if (piece->segment != open_segment) {
            if (open_segment != SIZE_MAX)
                status = wal_reader_close(&reader);
            open_segment = SIZE_MAX;
            open_batch = UINT64_MAX;
            if (status == STATUS_OK)
                status = wal_reader_open(recovery->io, recovery->keyring, recovery->directory,
                                         recovery->headers[piece->segment].id, &reader, error);
            if (status != STATUS_OK)
                break;
            open_segment = piece->segment;
        }
        if (piece->batch_offset != open_batch) {
            enum wal_batch_state state;
            status = wal_reader_batch(&reader, piece->batch_offset, reader.header.size,
                                      piece->sequence, NULL, &state, &header, &records, error);
            if (status == STATUS_OK && state != WAL_BATCH_VALID)
                status =
                    corrupt_at(&reader, piece->batch_offset, "it changed while it was read", error);
            open_batch = piece->batch_offset;
        }
        if (status == STATUS_OK)
            status = piece_replay(recovery, piece, &reader, records, replay, context, error);
    }
    if (open_segment != SIZE_MAX) {
        enum status closed = wal_reader_close(&reader);
        if (status == STATUS_OK)
            status = closed;
    }
    return status;
}

void wal_recovery_free(struct wal_recovery *recovery)
{
    wal_terms_free(&recovery->terms);
    wal_segments_free(&recovery->segments);
    free(recovery->headers);
    free(recovery->pieces);
    recovery->headers = NULL;
    recovery->pieces = NULL;
}
