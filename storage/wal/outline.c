/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/outline.h"

#include "proto/base/assert.h"

void wal_outline_restart(struct wal_outline *outline, struct wal_mark mark)
{
    wal_terms_free(&outline->terms);
    wal_places_free(&outline->places);
    wal_terms_init(&outline->terms, mark);
    outline->gap = false;
    outline->lost = false;
}

void wal_outline_free(struct wal_outline *outline)
{
    wal_terms_free(&outline->terms);
    wal_places_free(&outline->places);
    *outline = (struct wal_outline){0};
}

void wal_outline_truncate(struct wal_outline *outline, uint64_t index)
{
    wal_places_cut(&outline->places, index);
    wal_terms_cut(&outline->terms, index);
}

/* The outline's term of `index`, where it is known. */
static bool has_term(const struct wal_outline *outline, uint64_t index, uint64_t term)
{
    uint64_t found = 0;
    return wal_terms_find(&outline->terms, index, &found) && found == term && term != 0;
}

static enum status add(struct wal_outline *outline, const struct wal_place *place, uint64_t term)
{
    enum status status = wal_places_reserve(&outline->places, 1);
    if (status == STATUS_OK)
        status = wal_terms_append(&outline->terms, term, place->count);
    if (status == STATUS_OK)
        wal_places_append(&outline->places, place);
    return status;
}

/* After a gap comes (index, term): the table in the header. */
static enum status gap_close(struct wal_outline *outline, uint64_t index, uint64_t term)
{
    uint64_t last = outline->terms.last_index;
    uint64_t below = last < index ? last : index - 1;
    outline->gap = false;
    if (index == 1 || has_term(outline, index, term))
        return STATUS_OK;
    if (has_term(outline, below, term)) {
        if (index - below - 1 > UINT32_MAX)
            return STATUS_CORRUPT;
        if (index - below == 1)
            return STATUS_OK;
        struct wal_place holes =
            wal_place_of_hole(below + 1, (uint32_t)(index - below - 1), WAL_HOLE);
        return add(outline, &holes, term);
    }
    wal_outline_restart(outline, (struct wal_mark){.index = index - 1});
    outline->lost = true;
    return STATUS_OK;
}

enum status wal_outline_append(struct wal_outline *outline, const struct wal_place *place,
                               uint64_t term)
{
    ASSERT(place->first > 0 && place->count > 0);
    if (outline->gap) {
        enum status status = gap_close(outline, place->first, term);
        if (status != STATUS_OK)
            return status;
    }
    if (place->first > outline->terms.last_index + 1)
        return STATUS_CORRUPT;
    if (place->first <= outline->terms.last_index)
        wal_outline_truncate(outline, place->first);
    return add(outline, place, term);
}

enum status wal_outline_fill(struct wal_outline *outline, const struct wal_place *place,
                             uint64_t term)
{
    uint64_t found = 0;
    if (place->first <= outline->terms.begin.index)
        return STATUS_OK; /* the segment with what it mends was released */
    if (!wal_terms_find(&outline->terms, place->first, &found) || found != term)
        return outline->gap ? STATUS_OK : STATUS_CORRUPT; /* what it mends is in the gap */
    enum status status = wal_places_reserve(&outline->places, 2);
    if (status == STATUS_OK)
        wal_places_fill(&outline->places, place);
    return status;
}

enum status wal_outline_holes(struct wal_outline *outline, const struct wal_batch_id *id,
                              enum wal_hole hole)
{
    for (uint32_t i = 0; i < id->runs_count; i++) {
        const struct wal_run *run = &id->runs[i];
        enum status status = STATUS_OK;
        if (run->index == 0 || run->index > UINT64_MAX - UINT32_MAX - 1 ||
            (run->count == 0) == wal_record_has_entry(run->kind))
            return STATUS_CORRUPT;
        if (run->kind == WAL_APPEND) {
            struct wal_place place = wal_place_of_hole(run->index, run->count, hole);
            status = wal_outline_append(outline, &place, run->term);
        } else if (run->kind == WAL_TRUNCATE && run->index <= outline->terms.last_index) {
            wal_outline_truncate(outline, run->index);
        } else if (run->kind == WAL_SETTLE && hole == WAL_HOLE) {
            outline->unknown_first = 0;
        }
        /* What a FILL of it had mended is a hole again. */
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

void wal_outline_gap(struct wal_outline *outline)
{
    outline->gap = true;
}

enum status wal_outline_expect(struct wal_outline *outline, struct wal_mark mark)
{
    if (outline->gap) {
        /* As if an entry of this term were to come next. */
        enum status status = gap_close(outline, mark.index + 1, mark.term);
        if (status != STATUS_OK)
            return status;
        if (outline->terms.last_index > mark.index)
            wal_outline_truncate(outline, mark.index + 1);
    }
    if (outline->terms.last_index == mark.index && outline->terms.begin.index == mark.index &&
        outline->terms.begin.term == 0)
        outline->terms.begin = mark;
    struct wal_mark last = wal_terms_last(&outline->terms);
    return last.index == mark.index && last.term == mark.term ? STATUS_OK : STATUS_CORRUPT;
}

void wal_outline_end(struct wal_outline *outline)
{
    if (outline->gap && outline->unknown_first == 0)
        outline->unknown_first = outline->terms.last_index + 1;
    outline->gap = false;
}
