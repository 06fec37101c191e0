/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/recovery.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"

/* ---- The table ---- */

#define TAKE    WAL_VERDICT_TAKE
#define END     WAL_VERDICT_END
#define HOLES   WAL_VERDICT_HOLES
#define GAP     WAL_VERDICT_GAP
#define SUSPECT WAL_VERDICT_SUSPECT
#define TORN    WAL_VERDICT_TORN
#define CORRUPT WAL_VERDICT_CORRUPT

static const enum wal_verdict verdicts[2][3][2][2][2] =
    {
        /* [place][batch][successor][known][alone] */
        [WAL_PLACE_INSIDE] =
            {
                [WAL_BATCH_VALID] = {{{TAKE, TAKE}, {TAKE, TAKE}}, {{TAKE, TAKE}, {TAKE, TAKE}}},
                [WAL_BATCH_BLANK] = {{{GAP, CORRUPT}, {HOLES, CORRUPT}},
                                     {{GAP, CORRUPT}, {HOLES, CORRUPT}}},
                [WAL_BATCH_BROKEN] = {{{GAP, CORRUPT}, {HOLES, CORRUPT}},
                                      {{GAP, CORRUPT}, {HOLES, CORRUPT}}},
            },
        [WAL_PLACE_OPEN] =
            {
                [WAL_BATCH_VALID] = {{{TAKE, TAKE}, {TAKE, TAKE}}, {{TAKE, TAKE}, {TAKE, TAKE}}},
                [WAL_BATCH_BLANK] = {{{END, END}, {END, END}}, {{GAP, CORRUPT}, {HOLES, CORRUPT}}},
                [WAL_BATCH_BROKEN] = {{{SUSPECT, TORN}, {SUSPECT, TORN}},
                                      {{GAP, CORRUPT}, {HOLES, CORRUPT}}},
            },
};

#undef TAKE
#undef END
#undef HOLES
#undef GAP
#undef SUSPECT
#undef TORN
#undef CORRUPT

enum wal_verdict wal_recovery_verdict(enum wal_place_kind place, enum wal_batch_state state,
                                      bool has_successor, bool is_known, bool alone)
{
    return verdicts[place][state][has_successor][is_known][alone];
}

/* ---- Findings ---- */

static enum status corrupt_at(const struct wal_reader *reader, uint64_t offset, const char *what,
                              struct error *error)
{
    return error_set(error, STATUS_CORRUPT, "%s, offset %llu: %s", reader->path.text,
                     (unsigned long long)offset, what);
}

/* A status of the outline's, in words. */
static enum status outline_status(const struct wal_reader *reader, uint64_t offset,
                                  enum status status, const char *what, struct error *error)
{
    if (status == STATUS_CORRUPT)
        return corrupt_at(reader, offset, what, error);
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "%s: no memory for the log's outline", reader->path.text);
}

/* ---- Segments ---- */

struct walk {
    struct wal_recovery *recovery;
    struct wal_reader *reader;
    enum wal_place_kind place;
    size_t position; /* of the segment among the headers */
    uint64_t limit;  /* no batch goes past it */
    uint64_t offset;
    uint64_t sequence;
    struct wal_batch_id previous;
    struct wal_segment *segment;
};

static enum status record_apply(struct walk *walk, const struct wal_record *record,
                                const struct wal_batch_id *id, const char **what)
{
    struct wal_outline *outline = &walk->recovery->outline;
    struct wal_place place = wal_place_of(record->entry.index, 1, id, walk->offset);
    switch (record->kind) {
    case WAL_APPEND:
        *what = "an entry does not follow the one before it";
        return wal_outline_append(outline, &place, record->entry.term);
    case WAL_FILL:
        *what = "an entry mends one that the log does not have";
        return wal_outline_fill(outline, &place, record->entry.term);
    case WAL_TRUNCATE:
        if (record->entry.index <= outline->terms.last_index)
            wal_outline_truncate(outline, record->entry.index);
        return STATUS_OK;
    case WAL_SETTLE:
        outline->unknown_first = 0;
        return STATUS_OK;
    }
    UNREACHABLE();
}

static enum status batch_apply(struct walk *walk, const struct wal_batch_header *header,
                               struct wal_records *records, struct error *error)
{
    uint32_t count = 0;
    for (;;) {
        const char *what = "a record does not follow the grammar";
        struct wal_record record;
        enum status status = wal_record_next(records, &record);
        if (status == STATUS_END)
            break;
        if (status == STATUS_OK)
            status = record_apply(walk, &record, &header->id, &what);
        if (status != STATUS_OK)
            return outline_status(walk->reader, walk->offset, status, what, error);
        if (wal_record_has_entry(record.kind) && record.entry.index > walk->segment->index_max)
            walk->segment->index_max = record.entry.index;
        count++;
    }
    if (count != header->records_count)
        return corrupt_at(walk->reader, walk->offset, "the batch lacks records", error);
    return STATUS_OK;
}

/* ---- A bad batch ---- */

/* What can be found out about it. */
struct bad {
    enum wal_batch_state state;
    struct wal_batch_header own; /* its header; id.segment 0: lost */
    bool has_successor;
    uint64_t successor_at;  /* where one was seen; 0: it follows from elsewhere */
    bool has_next;          /* where the log goes on is known */
    uint64_t next_at;       /* the next header's place, or the segment's recorded end */
    uint64_t next_sequence; /* its number: there, the one past the last */
    struct wal_batch_id before_next;
};

/* The next header that stands where it says. */
static enum status bad_find_next(const struct walk *walk, struct bad *bad, struct error *error)
{
    uint64_t from = walk->offset + wal_block_size;
    for (;;) {
        struct wal_batch_header header;
        bool found = false;
        uint64_t at = 0;
        enum status status = wal_reader_find_successor(
            walk->reader, from, walk->limit, walk->sequence + 1, &found, &at, &header, error);
        if (status != STATUS_OK)
            return status;
        if (!found)
            break;
        if (header.offset == at) {
            bad->has_next = true;
            bad->next_at = at;
            bad->next_sequence = header.id.sequence;
            bad->before_next = header.previous;
            return STATUS_OK;
        }
        from = at + wal_block_size;
    }
    if (walk->place == WAL_PLACE_INSIDE) {
        const struct wal_recovery *recovery = walk->recovery;
        bad->has_next = true;
        bad->next_at = walk->limit;
        bad->before_next = recovery->headers[walk->position + 1].previous;
        bad->next_sequence = bad->before_next.sequence + 1;
    }
    return STATUS_OK;
}

static enum status bad_look(const struct walk *walk, struct bad *bad, struct error *error)
{
    const struct wal_batch_header *own = &bad->own;
    enum status status = STATUS_OK;
    if (own->offset != walk->offset || own->id.sequence != walk->sequence ||
        own->id.size > walk->limit - walk->offset)
        bad->own = (struct wal_batch_header){0};
    bad->has_successor = walk->place == WAL_PLACE_INSIDE;
    if (walk->place == WAL_PLACE_OPEN) {
        struct wal_batch_header header;
        status = wal_reader_find_successor(walk->reader, walk->offset + wal_block_size,
                                           walk->reader->header.size, walk->sequence,
                                           &bad->has_successor, &bad->successor_at, &header, error);
    }
    uint64_t after = walk->offset + own->id.size;
    if (status == STATUS_OK && !bad->has_successor && own->id.segment != 0 &&
        after + wal_block_size <= walk->limit) {
        enum wal_batch_state state;
        struct wal_batch_header header;
        struct wal_records records;
        status = wal_reader_batch(walk->reader, after, walk->limit, walk->sequence + 1, NULL,
                                  &state, &header, &records, error);
        bad->has_successor = state == WAL_BATCH_BROKEN;
        bad->successor_at = after;
    }
    if (status == STATUS_OK && own->id.segment == 0 && bad->has_successor)
        status = bad_find_next(walk, bad, error);
    return status;
}

/* Whether it is known what it carried. */
static bool bad_is_known(const struct walk *walk, const struct bad *bad)
{
    return bad->own.id.segment != 0 ||
           (bad->has_next && bad->before_next.sequence == walk->sequence);
}

static void bad_note(const struct walk *walk, const struct bad *bad, struct error *error)
{
    if (error->status != STATUS_OK)
        return;
    if (bad->successor_at == 0)
        (void)corrupt_at(walk->reader, walk->offset,
                         "the batch that stood here does not hold: it was acknowledged, and is "
                         "damaged",
                         error);
    else
        error_set(error, STATUS_CORRUPT,
                  "%s, offset %llu: the batch that stood here does not hold, and has a successor "
                  "at offset %llu: it was acknowledged, and is damaged",
                  walk->reader->path.text, (unsigned long long)walk->offset,
                  (unsigned long long)bad->successor_at);
}

static enum status lost_batch(struct walk *walk, const struct wal_batch_id *id, enum wal_hole hole,
                              struct error *error)
{
    for (uint32_t i = 0; i < id->runs_count; i++) {
        const struct wal_run *run = &id->runs[i];
        if (run->count > 0 && run->index + run->count - 1 > walk->segment->index_max)
            walk->segment->index_max = run->index + run->count - 1;
    }
    enum status status = wal_outline_holes(&walk->recovery->outline, id, hole);
    return outline_status(walk->reader, walk->offset, status,
                          "what the bad batch held does not follow what stands before it", error);
}

/* It was durable. Goes on where the next one stands, or ends the walk. */
static enum status bad_pass(struct walk *walk, const struct bad *bad, bool *ended,
                            struct error *error)
{
    bad_note(walk, bad, &walk->recovery->damage);
    if (bad->own.id.segment != 0) {
        enum status status = lost_batch(walk, &bad->own.id, WAL_HOLE, error);
        walk->offset += bad->own.id.size;
        walk->sequence++;
        walk->previous = bad->own.id;
        return status;
    }
    if (!bad->has_next) {
        wal_outline_gap(&walk->recovery->outline);
        *ended = true;
        return STATUS_OK;
    }
    const struct wal_batch_id *before = &bad->before_next;
    uint64_t size = bad->next_at - walk->offset;
    if (before->segment != walk->reader->header.id || before->sequence < walk->sequence ||
        before->sequence + 1 != bad->next_sequence || before->size > size ||
        (before->sequence == walk->sequence && before->size != size))
        return corrupt_at(walk->reader, bad->next_at,
                          "what stands here does not follow the bad batch before it", error);
    if (before->sequence > walk->sequence)
        wal_outline_gap(&walk->recovery->outline);
    enum status status = lost_batch(walk, before, WAL_HOLE, error);
    walk->offset = bad->next_at;
    walk->sequence = bad->next_sequence;
    walk->previous = *before;
    return status;
}

/* The last one: whether it was ever durable is not known. */
static enum status bad_suspect(struct walk *walk, const struct bad *bad, struct error *error)
{
    struct wal_recovery *recovery = walk->recovery;
    const struct wal_batch_id *id = &bad->own.id;
    recovery->broken_last = true;
    recovery->broken_unknown = id->segment == 0 && !recovery->alone;
    recovery->broken_index = recovery->outline.terms.last_index + 1;
    for (uint32_t i = 0; i < id->runs_count; i++) {
        if (id->runs[i].index < recovery->broken_index)
            recovery->broken_index = id->runs[i].index;
    }
    (void)corrupt_at(walk->reader, walk->offset,
                     "the last batch does not hold, and may have been acknowledged: only other "
                     "members can tell what it held",
                     &recovery->doubt);
    if (recovery->alone || id->runs_count == 0)
        return STATUS_OK;
    recovery->position.suspect = *id;
    return lost_batch(walk, id, WAL_HOLE_SUSPECT, error);
}

/* A place without a valid batch. */
static enum status walk_bad(struct walk *walk, enum wal_batch_state state,
                            const struct wal_batch_header *header, bool *ended, struct error *error)
{
    struct bad bad = {.state = state, .own = *header};
    enum status status = bad_look(walk, &bad, error);
    if (status != STATUS_OK)
        return status;
    switch (wal_recovery_verdict(walk->place, state, bad.has_successor, bad_is_known(walk, &bad),
                                 false)) {
    case WAL_VERDICT_END:
        *ended = true;
        return STATUS_OK;
    case WAL_VERDICT_HOLES:
    case WAL_VERDICT_GAP:
        return bad_pass(walk, &bad, ended, error);
    case WAL_VERDICT_SUSPECT:
        *ended = true;
        return bad_suspect(walk, &bad, error);
    case WAL_VERDICT_TAKE:
    case WAL_VERDICT_TORN:
    case WAL_VERDICT_CORRUPT:
        break;
    }
    UNREACHABLE();
}

static enum status walk_batches(struct walk *walk, struct error *error)
{
    bool ended = false;
    while (!ended && walk->offset + wal_block_size <= walk->limit) {
        enum wal_batch_state state;
        struct wal_batch_header header;
        struct wal_records records;
        enum status status =
            wal_reader_batch(walk->reader, walk->offset, walk->limit, walk->sequence,
                             &walk->previous, &state, &header, &records, error);
        if (status != STATUS_OK)
            return status;
        if (state != WAL_BATCH_VALID) {
            status = walk_bad(walk, state, &header, &ended, error);
        } else {
            status = batch_apply(walk, &header, &records, error);
            walk->offset += header.id.size;
            walk->sequence++;
            walk->previous = header.id;
        }
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Whether the segment's header follows what was read up to it, and what it says of that. */
static enum status segment_follows(struct wal_recovery *recovery, const struct wal_reader *reader,
                                   const struct walk *before, struct error *error)
{
    const struct wal_segment_header *header = &reader->header;
    struct wal_outline *outline = &recovery->outline;
    if (header->previous_id != recovery->position.segment_id ||
        header->previous_end != before->offset ||
        !wal_batch_id_equal(&header->previous, &before->previous))
        return corrupt_at(reader, 0, "the segment does not follow the one before it", error);
    outline->unknown_first = header->unknown_first;
    if (header->anew) {
        wal_outline_restart(outline, header->base);
        return STATUS_OK;
    }
    enum status status = wal_outline_holes(outline, &header->suspect, WAL_HOLE_SUSPECT);
    if (status == STATUS_OK)
        status = wal_outline_expect(outline, header->base);
    return outline_status(reader, 0, status,
                          "the segment does not begin where the one before it ends", error);
}

uint64_t wal_recovery_segment_end(const struct wal_recovery *recovery, size_t position)
{
    return position + 1 == recovery->headers_count ? recovery->headers[position].size
                                                   : recovery->headers[position + 1].previous_end;
}

static enum status segment_walk(struct wal_recovery *recovery, size_t position, struct walk *walk,
                                struct wal_reader *reader, struct error *error)
{
    const struct wal_segment_header *header = &recovery->headers[position];
    bool is_last = position + 1 == recovery->headers_count;
    struct wal_segment segment = wal_segment_of(header);
    enum status status = position == 0 ? STATUS_OK : segment_follows(recovery, reader, walk, error);
    if (status != STATUS_OK)
        return status;
    status = wal_segments_add(&recovery->segments, &segment);
    if (status != STATUS_OK)
        return error_set(error, status, "%s: no memory for its outline", reader->path.text);
    if (header->anew)
        wal_segments_obsolete(&recovery->segments);
    *walk = (struct walk){
        .recovery = recovery,
        .reader = reader,
        .place = is_last ? WAL_PLACE_OPEN : WAL_PLACE_INSIDE,
        .position = position,
        .limit = wal_recovery_segment_end(recovery, position),
        .offset = wal_block_size,
        .sequence = 1,
        .previous = header->previous,
        .segment = wal_segments_newest(&recovery->segments),
    };
    if (walk->limit < wal_block_size || walk->limit > header->size)
        return corrupt_at(
            reader, 0, "the next segment's header records an end that is not in this one", error);
    status = walk_batches(walk, error);
    recovery->position.segment_id = header->id;
    recovery->position.end = walk->offset;
    recovery->position.batch = walk->previous;
    return status;
}

static enum status segment_read(struct wal_recovery *recovery, size_t position, struct walk *walk,
                                struct error *error)
{
    struct wal_reader reader;
    enum status status = wal_reader_open_to(
        recovery->io, recovery->keyring, recovery->directory, recovery->headers[position].id,
        wal_recovery_segment_end(recovery, position), &reader, error);
    if (status != STATUS_OK)
        return status;
    status = segment_walk(recovery, position, walk, &reader, error);
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
        enum status status = wal_reader_header(recovery->io, recovery->keyring, recovery->directory,
                                               ids->numbers[i], &recovery->headers[i], error);
        if (status != STATUS_OK)
            return status;
        recovery->headers_count++;
    }
    return STATUS_OK;
}

/* The log ends here. */
static void recovery_end(struct wal_recovery *recovery)
{
    struct wal_outline *outline = &recovery->outline;
    recovery->gap_last = outline->gap;
    wal_outline_end(outline);
    if (recovery->broken_unknown && outline->unknown_first == 0)
        outline->unknown_first = outline->terms.last_index + 1;
    recovery->position.mark = wal_terms_last(&outline->terms);
}

enum status wal_recovery_read(struct wal_recovery *recovery, const struct wal_listing *listing,
                              struct error *error)
{
    const struct wal_numbers *ids = &listing->of[WAL_FILE_SEGMENT];
    wal_outline_restart(&recovery->outline, recovery->base);
    if (ids->count == 0) {
        recovery->position.mark = recovery->base;
        return STATUS_OK;
    }
    enum status status = headers_read(recovery, ids, error);
    if (status != STATUS_OK)
        return status;
    wal_outline_restart(&recovery->outline, recovery->headers[0].base);
    recovery->outline.unknown_first = recovery->headers[0].unknown_first;
    struct walk walk = {.recovery = recovery};
    for (size_t i = 0; i < recovery->headers_count && status == STATUS_OK; i++)
        status = segment_read(recovery, i, &walk, error);
    if (status == STATUS_OK)
        recovery_end(recovery);
    else if (status == STATUS_CORRUPT && recovery->damage.status != STATUS_OK && error != NULL)
        *error = recovery->damage; /* the first finding is the cause of the rest */
    return status;
}

/* ---- Judgement ---- */

enum status wal_recovery_alone(struct wal_recovery *recovery, struct error *error)
{
    struct wal_outline *outline = &recovery->outline;
    const struct wal_place *place = NULL;
    uint64_t index = 0;
    uint64_t count = 0;
    bool lacks = recovery->gap_last || outline->lost;
    /* Suspect holes may be a tail only. */
    while (!lacks &&
           (place = wal_places_hole_next(&outline->places, index, &index, &count)) != NULL) {
        const struct wal_place *next = wal_places_next(&outline->places, place);
        lacks = wal_place_hole(place) == WAL_HOLE ||
                (next != NULL && wal_place_hole(next) != WAL_HOLE_SUSPECT);
        index += count - 1;
    }
    if (!lacks)
        return STATUS_OK;
    if (error != NULL && recovery->damage.status != STATUS_OK)
        *error = recovery->damage;
    else
        error_set(error, STATUS_CORRUPT,
                  "%s: entries of the log are lost that other members had, and there are none",
                  recovery->directory);
    return STATUS_CORRUPT;
}

enum status wal_recovery_fit(struct wal_recovery *recovery, struct error *error)
{
    struct wal_outline *outline = &recovery->outline;
    struct wal_mark last = wal_terms_last(&outline->terms);
    struct wal_mark base = recovery->base;
    uint64_t term = 0;
    bool held = wal_terms_find(&outline->terms, base.index, &term) && term == base.term;
    if (held)
        return STATUS_OK;
    bool superseded = base.index != 0 && base.index == recovery->snapshot.index &&
                      base.term == recovery->snapshot.term;
    if (last.index > base.index && !superseded) {
        if (outline->lost && error != NULL)
            *error = recovery->damage;
        else
            error_set(error, STATUS_CORRUPT,
                      "%s: the log does not fit the state, which is durable up to index %llu of "
                      "term %llu: the log begins after index %llu and ends at index %llu of term "
                      "%llu",
                      recovery->directory, (unsigned long long)base.index,
                      (unsigned long long)base.term, (unsigned long long)outline->terms.begin.index,
                      (unsigned long long)last.index, (unsigned long long)last.term);
        return STATUS_CORRUPT;
    }
    wal_outline_restart(outline, base);
    if (outline->unknown_first != 0 && outline->unknown_first <= base.index)
        outline->unknown_first = base.index + 1;
    recovery->position.mark = base;
    recovery->position.anew = recovery->headers_count > 0;
    recovery->position.suspect = (struct wal_batch_id){0};
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

void wal_recovery_free(struct wal_recovery *recovery)
{
    wal_outline_free(&recovery->outline);
    wal_segments_free(&recovery->segments);
    free(recovery->headers);
    recovery->headers = NULL;
}
