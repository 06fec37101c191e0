/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/wal.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "storage/wal/hard_state.h"
#include "storage/wal/pool.h"
#include "storage/wal/queue.h"
#include "storage/wal/reads.h"
#include "storage/wal/recovery.h"
#include "storage/wal/writer.h"

enum {
    spare_segments_default = 2,
    spare_segments_max = 7,
    segment_size_default = 64 * 1024 * 1024,
    segment_size_least = 64 * 1024,
    queue_size_default = 32 * 1024 * 1024,
    queue_size_least = 64 * 1024,
};

static const uint64_t segment_size_most = (uint64_t)1 << 31; /* a batch's size has 32 bits */

struct wal {
    struct wal_options options;
    struct wal_path directory;
    struct wal_terms terms;   /* of what was appended */
    struct wal_places places; /* of what is durable */
    uint64_t holes_floor;     /* holes at or below are in the state: they do not count */
    uint64_t mends_pending;   /* records other than APPEND that are not durable yet */
    uint64_t unknown_first;   /* of a suspect tail of unknown extent; 0: none */
    bool settling;            /* a SETTLE record is not durable yet */
    struct wal_segments segments;
    struct wal_queue queue;
    struct wal_pool pool;
    struct wal_writer writer;
    struct wal_reads reads;
    uint64_t durable_index;
    void (*reset_done)(void *context, enum status status); /* NULL: no reset is under way */
    void *reset_context;
    bool failed;
    enum status failure;
    struct twin *twin;
    struct wal_hard_state hard_state; /* durable */
    struct wal_hard_state hard_state_next;
    void (*hard_state_done)(void *context, enum status status);
    void *hard_state_context;
    uint64_t entries_count;
    uint64_t payload_size;
};

/* ---- Failure ---- */

static void reset_finish(struct wal *wal, enum status status)
{
    void (*done)(void *, enum status) = wal->reset_done;
    wal->reset_done = NULL;
    if (done != NULL)
        done(wal->reset_context, status);
}

static void wal_fail(void *context, enum status status, int error_number, const char *path)
{
    struct wal *wal = context;
    char text[wal_path_size + 128];
    if (wal->failed)
        return;
    wal->failed = true;
    wal->failure = status;
    wal_pool_stop(&wal->pool);
    wal_writer_stop(&wal->writer);
    snprintf(text, sizeof text, "%s: %s%s%s", path, status_text(status),
             error_number == 0 ? "" : ": ", error_number == 0 ? "" : strerror(error_number));
    wal->options.failed(wal->options.context, status, text);
    reset_finish(wal, status);
}

/* ---- The hard state ---- */

static void hard_state_written(void *context, enum status status)
{
    struct wal *wal = context;
    void (*done)(void *, enum status) = wal->hard_state_done;
    wal->hard_state_done = NULL;
    if (status == STATUS_OK)
        wal->hard_state = wal->hard_state_next;
    done(wal->hard_state_context, status);
}

void wal_hard_state_write(struct wal *wal, const struct wal_hard_state *state,
                          void (*done)(void *context, enum status status), void *context)
{
    uint8_t encoded[wal_hard_state_size];
    ASSERT(wal->hard_state_done == NULL);
    ASSERT(state->term >= wal->hard_state.term);
    ASSERT(wal->hard_state.member == 0 || state->member == wal->hard_state.member);
    wal->hard_state_next = *state;
    wal->hard_state_done = done;
    wal->hard_state_context = context;
    wal_hard_state_encode(state, encoded);
    twin_write(wal->twin, wal->options.io, bytes_of(encoded, sizeof encoded), hard_state_written,
               wal);
}

struct wal_hard_state wal_hard_state(const struct wal *wal)
{
    return wal->hard_state;
}

/* ---- Opening ---- */

/* What a durable batch does to the places; what was superseded or truncated since is not its any
 * more. */
static enum status batch_place(struct wal *wal, const struct wal_batch *batch)
{
    for (uint32_t i = 0; i < batch->runs_count; i++) {
        const struct wal_run *run = &batch->runs[i];
        uint64_t count = run->count;
        if (run->kind == WAL_APPEND || run->kind == WAL_TRUNCATE)
            wal_places_cut(&wal->places, run->index);
        if (count == 0 || run->index > batch->durable)
            continue;
        /* Where it does not go on from there, a later run of this batch supersedes it. */
        if (run->kind == WAL_APPEND && run->index > wal->terms.begin.index + 1 &&
            run->index != wal_places_last(&wal->places) + 1)
            continue;
        if (count > batch->durable - run->index + 1)
            count = batch->durable - run->index + 1;
        struct wal_place place =
            wal_place_of(run->index, (uint32_t)count, &batch->id, batch->offset);
        enum status status = wal_places_reserve(&wal->places, 2);
        if (status != STATUS_OK)
            return status;
        if (run->kind == WAL_APPEND)
            wal_places_append(&wal->places, &place);
        else
            wal_places_fill(&wal->places, &place);
    }
    return STATUS_OK;
}

static void batch_mends(struct wal *wal, const struct wal_batch *batch)
{
    ASSERT(wal->mends_pending >= batch->mends_count);
    wal->mends_pending -= batch->mends_count;
    for (uint32_t i = 0; i < batch->runs_count; i++) {
        if (batch->runs[i].kind == WAL_SETTLE) {
            wal->settling = false;
            wal->unknown_first = 0;
            wal->writer.position.unknown_first = 0;
        }
    }
    if (wal->options.mended != NULL)
        wal->options.mended(wal->options.context);
}

static void batch_durable(void *context, const struct wal_batch *batch)
{
    struct wal *wal = context;
    wal->entries_count += batch->entries_count;
    wal->payload_size += batch->payload_size;
    if (wal->failed || wal->reset_done != NULL)
        return; /* the log begins anew: what this batch holds is not in it */
    enum status status = batch_place(wal, batch);
    if (status != STATUS_OK) {
        wal_fail(wal, status, 0, wal->directory.text);
        return;
    }
    if (batch->durable > wal->durable_index) {
        struct wal_mark mark = {.index = batch->durable};
        bool found = wal_terms_find(&wal->terms, mark.index, &mark.term);
        ASSERT(found); /* what was dropped from the log was taken from what the batch announces */
        wal->durable_index = mark.index;
        ASSERT(wal_places_last(&wal->places) == mark.index);
        wal->options.durable(wal->options.context, mark);
    }
    if (batch->mends_count > 0)
        batch_mends(wal, batch);
}

/* A segment is about to be recycled: what it held is not kept any more. */
static void segment_leaving(void *context, const struct wal_segment *oldest,
                            const struct wal_segment *next)
{
    struct wal *wal = context;
    uint64_t term = 0;
    wal_reads_forget_segment(&wal->reads, oldest->id);
    if (oldest->obsolete || next->base.index <= wal->terms.begin.index ||
        !wal_terms_find(&wal->terms, next->base.index, &term))
        return;
    wal_places_release(&wal->places, next->base.index);
    wal_terms_release(&wal->terms, (struct wal_mark){.index = next->base.index, .term = term});
}

static void segment_unpinned(void *context)
{
    struct wal *wal = context;
    if (!wal->failed)
        wal_pool_kick(&wal->pool);
}

/* The log has begun anew. */
static void writer_reset(void *context)
{
    struct wal *wal = context;
    reset_finish(wal, STATUS_OK);
}

static void spare_ready(void *context)
{
    struct wal *wal = context;
    wal_writer_spare_ready(&wal->writer);
}

static enum status options_take(struct wal *wal, const struct wal_options *options,
                                struct error *error)
{
    struct wal_options *mine = &wal->options;
    *mine = *options;
    if (mine->segment_size == 0)
        mine->segment_size = segment_size_default;
    if (mine->queue_size_max == 0)
        mine->queue_size_max = queue_size_default;
    if (mine->spare_segments == 0)
        mine->spare_segments = spare_segments_default;
    if (mine->spare_segments > spare_segments_max)
        mine->spare_segments = spare_segments_max;
    mine->queue_size_max = (size_t)wal_align_up(mine->queue_size_max);
    if (mine->segment_size % wal_block_size != 0 || mine->segment_size < segment_size_least ||
        mine->segment_size > segment_size_most)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the log's segment size must be a multiple of 4 KiB from 64 KiB to 2 GiB");
    if (mine->queue_size_max < queue_size_least)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the log's queue must have at least 64 KiB");
    if (!wal_path_fits(options->directory))
        return error_set(error, STATUS_INVALID_ARGUMENT, "%.200s: the path is too long",
                         options->directory);
    snprintf(wal->directory.text, sizeof wal->directory.text, "%s", options->directory);
    mine->directory = wal->directory.text;
    return STATUS_OK;
}

static void parts_fill(struct wal *wal)
{
    const struct wal_options *options = &wal->options;
    wal->pool.io = options->io;
    wal->pool.directory = options->directory;
    wal->pool.segment_size = options->segment_size;
    wal->pool.spares_wanted = options->spare_segments;
    wal->pool.space_kept_size = options->space_kept_size;
    wal->pool.segments = &wal->segments;
    wal->pool.ready = spare_ready;
    wal->pool.leaving = segment_leaving;
    wal->pool.failed = wal_fail;
    wal->pool.context = wal;
    wal->writer.io = options->io;
    wal->writer.keyring = options->keyring;
    wal->writer.directory = options->directory;
    wal->writer.segment_size = options->segment_size;
    wal->writer.queue = &wal->queue;
    wal->writer.pool = &wal->pool;
    wal->writer.segments = &wal->segments;
    wal->writer.durable = batch_durable;
    wal->writer.reset = writer_reset;
    wal->writer.failed = wal_fail;
    wal->writer.context = wal;
    wal->reads.io = options->io;
    wal->reads.keyring = options->keyring;
    wal->reads.directory = options->directory;
    wal->reads.segments = &wal->segments;
    wal->reads.places = &wal->places;
    wal->reads.terms = &wal->terms;
    wal->reads.unpinned = segment_unpinned;
    wal->reads.context = wal;
    wal_reads_init(&wal->reads);
    uint64_t now[3] = {io_boot_ns(options->io), io_wall_ns(options->io), (uint64_t)(uintptr_t)wal};
    struct hash128 boot = hash128(bytes_of(now, sizeof now));
    store_u64(wal->writer.boot, boot.low);
    store_u64(wal->writer.boot + 8, boot.high);
}

static void report_fill(const struct wal *wal, const struct wal_recovery *recovery,
                        struct wal_report *report)
{
    report->entries_count = recovery->entries_count;
    report->segments_count = recovery->headers_count;
    report->holes_count = wal_holes_count(wal);
    report->suspect = wal_suspect(wal);
    report->last = wal_terms_last(&wal->terms);
    report->damage = recovery->damage;
    if (report->damage.status == STATUS_OK && !report->torn)
        report->damage = recovery->doubt;
}

/* What was found becomes the log's own. */
static void recovery_take(struct wal *wal, struct wal_recovery *recovery)
{
    wal->terms = recovery->outline.terms;
    wal->places = recovery->outline.places;
    wal->unknown_first = recovery->outline.unknown_first;
    wal->segments = recovery->segments;
    wal->writer.position = recovery->position;
    wal->writer.position.unknown_first = wal->unknown_first;
    wal->durable_index = wal->terms.last_index;
    wal->holes_floor = recovery->base.index;
    recovery->outline = (struct wal_outline){0};
    recovery->segments = (struct wal_segments){0};
}

/* `alone` is decided by the owner where the option is not set: the replay told it what it needs. */
static enum status recovery_judge(struct wal *wal, struct wal_recovery *recovery, bool *alone,
                                  struct error *error)
{
    const struct wal_options *options = &wal->options;
    bool in_doubt = recovery->damage.status != STATUS_OK || recovery->broken_last ||
                    recovery->outline.places.hole_places_count > 0 ||
                    recovery->outline.unknown_first != 0;
    *alone = in_doubt && options->is_alone != NULL && options->is_alone(options->context);
    return *alone ? wal_recovery_alone(recovery, error) : STATUS_OK;
}

static enum status wal_recover(struct wal *wal, struct wal_mark base,
                               const struct wal_listing *listing, wal_replay_fn *replay,
                               void *context, struct wal_report *report, struct error *error)
{
    struct wal_recovery recovery = {
        .io = wal->options.io,
        .keyring = wal->options.keyring,
        .directory = wal->directory.text,
        .alone = wal->options.alone,
        .base = base,
        .snapshot = wal->hard_state.snapshot,
    };
    bool alone = wal->options.alone;
    enum status status = wal_recovery_read(&recovery, listing, error);
    if (status == STATUS_OK && alone)
        status = wal_recovery_alone(&recovery, error);
    if (status == STATUS_OK)
        status = wal_recovery_fit(&recovery, error);
    if (status == STATUS_OK)
        status = wal_recovery_flush(&recovery, error);
    if (status == STATUS_OK)
        status = wal_recovery_replay(&recovery, replay, context, error);
    if (status == STATUS_OK && !alone)
        status = recovery_judge(wal, &recovery, &alone, error);
    if (status == STATUS_OK) {
        recovery_take(wal, &recovery);
        if (alone) /* what is suspect all the same is dropped with the first batch */
            status = wal_discard_suspect(wal);
        report->torn = alone && recovery.broken_last;
        report->torn_index = report->torn ? recovery.broken_index : 0;
        report_fill(wal, &recovery, report);
    }
    wal_recovery_free(&recovery);
    return status;
}

/* Begins the segment of this run, and waits for it. */
static enum status first_segment(struct wal *wal, const struct wal_listing *listing,
                                 struct error *error)
{
    enum status status = wal_pool_adopt(&wal->pool, listing);
    if (status != STATUS_OK)
        return error_set(error, status, "%s: taking over the spare segments: %s",
                         wal->directory.text, status_text(status));
    wal_writer_begin_segment(&wal->writer);
    /* A full disk stops this only where there is no spare either. */
    while (wal->writer.file == NULL && !wal->failed &&
           !(wal->pool.disk_full && wal->writer.step == WAL_WRITER_WAIT_SPARE))
        io_turn(wal->options.io, true);
    if (wal->failed)
        return error_set(error, wal->failure, "%s: beginning a segment: %s", wal->directory.text,
                         status_text(wal->failure));
    if (wal->writer.file == NULL)
        return error_set(error, STATUS_DISK_FULL,
                         "%s: no space for a segment of the log (%llu bytes)", wal->directory.text,
                         (unsigned long long)wal->options.segment_size);
    return STATUS_OK;
}

/* Waits until nothing is under way, and frees all. */
static enum status wal_dismantle(struct wal *wal)
{
    wal_pool_stop(&wal->pool);
    wal_writer_stop(&wal->writer);
    wal_reads_stop(&wal->reads);
    while (wal_pool_is_busy(&wal->pool) || wal_writer_is_busy(&wal->writer) ||
           wal_reads_are_busy(&wal->reads) || wal->hard_state_done != NULL)
        io_turn(wal->options.io, true);
    reset_finish(wal, wal->failed ? wal->failure : STATUS_SHUTTING_DOWN);
    enum status status = wal->failure;
    enum status freed = wal_writer_free(&wal->writer);
    if (status == STATUS_OK)
        status = freed;
    freed = wal_pool_free(&wal->pool);
    if (status == STATUS_OK)
        status = freed;
    freed = wal_reads_free(&wal->reads);
    if (status == STATUS_OK)
        status = freed;
    wal_queue_free(&wal->queue);
    wal_terms_free(&wal->terms);
    wal_places_free(&wal->places);
    wal_segments_free(&wal->segments);
    twin_close(wal->twin);
    free(wal);
    return status;
}

static void ignore_failure(void *context, enum status status, const char *text)
{
    (void)context;
    log_error("wal_failed", LOG_TEXT("status", status_name(status)), LOG_TEXT("text", text));
}

enum status wal_open(const struct wal_options *options, struct wal_mark base, wal_replay_fn *replay,
                     void *context, struct wal **result, struct wal_report *report,
                     struct error *error)
{
    struct wal_listing listing = {0};
    *result = NULL;
    *report = (struct wal_report){0};
    struct wal *wal = calloc(1, sizeof *wal);
    if (wal == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the log");
    enum status status = options_take(wal, options, error);
    if (status != STATUS_OK) {
        free(wal);
        return status;
    }
    parts_fill(wal);
    /* Until this call has succeeded, its status tells of a failure. */
    wal->options.failed = ignore_failure;
    status = wal_queue_init(&wal->queue, wal->options.queue_size_max,
                            (size_t)wal->options.segment_size - wal_block_size);
    wal_pool_init(&wal->pool);
    if (status == STATUS_OK)
        status = wal_writer_init(&wal->writer);
    if (status != STATUS_OK) {
        error_set(error, status, "no memory for the log's queue");
        goto err;
    }
    status = wal_listing_read(wal->options.io, wal->directory.text, &listing);
    if (status != STATUS_OK) {
        error_set(error, status, "%s: listing: %s", wal->directory.text, status_text(status));
        goto err;
    }
    status = wal_hard_state_open(wal->options.io, wal->options.keyring, wal->directory.text,
                                 listing.of[WAL_FILE_SEGMENT].count > 0, &wal->twin,
                                 &wal->hard_state, report, error);
    if (status == STATUS_OK)
        status = wal_recover(wal, base, &listing, replay, context, report, error);
    if (status == STATUS_OK)
        status = first_segment(wal, &listing, error);
    if (status != STATUS_OK)
        goto err;
    wal_listing_free(&listing);
    wal->options.failed = options->failed;
    wal_pool_kick(&wal->pool);
    *result = wal;
    return STATUS_OK;
err:
    wal_listing_free(&listing);
    wal->failed = true;
    wal->failure = status;
    return wal_dismantle(wal);
}

enum status wal_close(struct wal *wal)
{
    /* What waits for space that does not come was never acknowledged. */
    wal_writer_flush(&wal->writer);
    while (!wal->failed && (wal_queue_first(&wal->queue) != NULL || wal->writer.successor_lack ||
                            wal->reset_done != NULL || wal_writer_is_busy(&wal->writer))) {
        if (wal->pool.disk_full && wal->writer.step == WAL_WRITER_WAIT_SPARE)
            break;
        wal_writer_settle(&wal->writer);
        io_turn(wal->options.io, true);
    }
    return wal_dismantle(wal);
}

/* ---- Appending ---- */

/* Whether `size` more bytes on disk may be taken. With no spare ready and no space for one, only
 * what fits behind all that is queued. */
static enum status space_check(const struct wal *wal, uint64_t size)
{
    if (!wal->pool.disk_full || wal->pool.spares_count > 0)
        return STATUS_OK;
    uint64_t needed = wal_queue_disk_size(&wal->queue) + size + 2 * (uint64_t)wal_block_size;
    return needed <= wal_writer_room(&wal->writer) ? STATUS_OK : STATUS_DISK_FULL;
}

/* Whether records may be queued. */
static enum status queue_status(const struct wal *wal)
{
    if (wal->failed)
        return wal->failure;
    return wal->reset_done != NULL ? STATUS_BUSY : STATUS_OK;
}

/* The log's outline loses what is superseded or truncated. */
static void outline_cut(struct wal *wal, uint64_t index)
{
    if (wal->durable_index >= index)
        wal->durable_index = index - 1;
    wal_places_cut(&wal->places, index);
    wal_terms_cut(&wal->terms, index);
}

enum status wal_append(struct wal *wal, const struct wal_entry *entries, size_t count)
{
    uint64_t size = 0;
    size_t changes = 1;
    enum status status = queue_status(wal);
    if (status != STATUS_OK)
        return status;
    if (count == 0)
        return STATUS_OK;
    ASSERT(entries[0].index > 0 && entries[0].index <= wal->terms.last_index + 1);
    for (size_t i = 0; i < count; i++) {
        ASSERT(entries[i].index == entries[0].index + i);
        if (entries[i].bytes.size > wal_queue_entry_size_max(&wal->queue))
            return STATUS_TOO_LARGE;
        size += wal_record_size(entries[i].bytes.size);
        changes += i > 0 && entries[i].term != entries[i - 1].term;
    }
    status = space_check(wal, size);
    if (status == STATUS_OK)
        status = wal_terms_reserve(&wal->terms, changes);
    if (status == STATUS_OK)
        status = wal_queue_append(&wal->queue, entries, count);
    if (status != STATUS_OK)
        return status;
    outline_cut(wal, entries[0].index);
    for (size_t i = 0; i < count; i++) {
        status = wal_terms_append(&wal->terms, entries[i].term, 1);
        ASSERT(status == STATUS_OK); /* reserved above */
    }
    return STATUS_OK;
}

void wal_flush(struct wal *wal)
{
    if (!wal->failed)
        wal_writer_flush(&wal->writer);
}

enum status wal_truncate(struct wal *wal, uint64_t index)
{
    uint64_t term = 0;
    enum status status = queue_status(wal);
    if (status != STATUS_OK)
        return status;
    ASSERT(index > wal->terms.begin.index);
    if (index > wal->terms.last_index)
        return STATUS_OK;
    bool found = wal_terms_find(&wal->terms, index - 1, &term);
    ASSERT(found);
    struct wal_mark last = {.index = index - 1, .term = term};
    status = space_check(wal, wal_record_size(0));
    if (status == STATUS_OK)
        status = wal_queue_truncate(&wal->queue, index, last);
    if (status != STATUS_OK)
        return status;
    outline_cut(wal, index);
    wal->mends_pending++;
    return STATUS_OK;
}

enum status wal_fill(struct wal *wal, const struct wal_entry *entry)
{
    uint64_t term = 0;
    enum status status = queue_status(wal);
    if (status != STATUS_OK)
        return status;
    if (entry->bytes.size > wal_queue_entry_size_max(&wal->queue))
        return STATUS_TOO_LARGE;
    if (entry->index <= wal->terms.begin.index ||
        !wal_terms_find(&wal->terms, entry->index, &term) || term != entry->term)
        return STATUS_INVALID_ARGUMENT;
    status = space_check(wal, wal_record_size(entry->bytes.size));
    if (status == STATUS_OK)
        status = wal_queue_fill(&wal->queue, entry, wal_terms_last(&wal->terms));
    if (status == STATUS_OK)
        wal->mends_pending++;
    return status;
}

enum status wal_discard_suspect(struct wal *wal)
{
    struct wal_suspect suspect = wal_suspect(wal);
    enum status status = queue_status(wal);
    if (status != STATUS_OK || suspect.first == 0)
        return status;
    struct wal_mark hole;
    enum wal_hole kind = WAL_WHOLE;
    uint64_t after = 0;
    while (wal_hole_next(wal, after, &hole, &kind) && kind != WAL_HOLE_SUSPECT)
        after = hole.index;
    if (kind == WAL_HOLE_SUSPECT)
        status = wal_truncate(wal, hole.index);
    if (status != STATUS_OK || wal->unknown_first == 0 || wal->settling)
        return status;
    status = space_check(wal, wal_record_size(0));
    if (status == STATUS_OK)
        status = wal_queue_settle(&wal->queue, wal->unknown_first, wal_terms_last(&wal->terms));
    if (status == STATUS_OK) {
        wal->mends_pending++;
        wal->settling = true;
    }
    return status;
}

void wal_release(struct wal *wal, uint64_t index)
{
    if (index > wal->durable_index)
        index = wal->durable_index;
    if (index > wal->holes_floor)
        wal->holes_floor = index;
    if (index <= wal->segments.released)
        return;
    wal->segments.released = index;
    if (!wal->failed)
        wal_pool_kick(&wal->pool);
}

void wal_reset(struct wal *wal, struct wal_mark mark,
               void (*done)(void *context, enum status status), void *context)
{
    ASSERT(wal->reset_done == NULL && !wal->failed && mark.index > 0);
    ASSERT(mark.index >= wal->segments.released);
    wal->reset_done = done;
    wal->reset_context = context;
    wal_queue_drop(&wal->queue, wal_writer_is_writing(&wal->writer));
    wal->mends_pending = 0;
    wal->settling = false;
    wal_places_cut(&wal->places, 1);
    wal_terms_free(&wal->terms);
    wal_terms_init(&wal->terms, mark);
    wal->durable_index = mark.index;
    wal->holes_floor = mark.index;
    wal->segments.released = mark.index;
    if (wal->unknown_first != 0 && wal->unknown_first <= mark.index)
        wal->unknown_first = mark.index + 1;
    wal->writer.position.unknown_first = wal->unknown_first;
    wal_writer_reset(&wal->writer, mark);
}

/* ---- Reading ---- */

void wal_read_start(struct wal *wal, struct wal_read *read)
{
    wal_reads_start(&wal->reads, read);
}

/* ---- Asking ---- */

struct wal_mark wal_last(const struct wal *wal)
{
    return wal_terms_last(&wal->terms);
}

uint64_t wal_durable_index(const struct wal *wal)
{
    return wal->durable_index;
}

bool wal_term_at(const struct wal *wal, uint64_t index, uint64_t *term)
{
    return wal_terms_find(&wal->terms, index, term) &&
           (*term != 0 || index == 0 || index > wal->terms.begin.index);
}

uint64_t wal_first_index(const struct wal *wal)
{
    return wal->terms.begin.index + 1;
}

struct wal_mark wal_served_after(const struct wal *wal, uint64_t index)
{
    struct wal_mark mark = {.index = wal->terms.begin.index};
    uint64_t hole = 0;
    uint64_t count = 0;
    ASSERT(index >= mark.index && index <= wal->terms.last_index);
    if (mark.index > 0 && wal->terms.begin.term == 0)
        mark.index++;
    if (mark.index < wal->segments.released)
        mark.index = wal->segments.released;
    /* Those that the state covers are never mended: what it needs no more, a peer may. */
    while (mark.index < index &&
           wal_places_hole_next(&wal->places, mark.index, &hole, &count) != NULL && hole <= index)
        mark.index = hole + count - 1;
    if (mark.index > index)
        mark.index = index;
    bool found = wal_terms_find(&wal->terms, mark.index, &mark.term);
    ASSERT(found);
    return mark;
}

bool wal_hole_next(const struct wal *wal, uint64_t after, struct wal_mark *mark,
                   enum wal_hole *hole)
{
    uint64_t count = 0;
    *mark = (struct wal_mark){0};
    *hole = WAL_WHOLE;
    if (after < wal->holes_floor)
        after = wal->holes_floor;
    const struct wal_place *place = wal_places_hole_next(&wal->places, after, &mark->index, &count);
    if (place == NULL)
        return false;
    bool found = wal_terms_find(&wal->terms, mark->index, &mark->term);
    ASSERT(found);
    *hole = wal_place_hole(place);
    return true;
}

uint64_t wal_holes_count(const struct wal *wal)
{
    uint64_t holes_count = 0;
    uint64_t index = wal->holes_floor;
    uint64_t count = 0;
    while (wal_places_hole_next(&wal->places, index, &index, &count) != NULL) {
        holes_count += count;
        index += count - 1;
    }
    return holes_count;
}

struct wal_suspect wal_suspect(const struct wal *wal)
{
    struct wal_suspect suspect = {
        .first = wal->unknown_first,
        .is_unknown = wal->unknown_first != 0,
    };
    const struct wal_place *place = NULL;
    uint64_t index = wal->holes_floor;
    uint64_t count = 0;
    while ((place = wal_places_hole_next(&wal->places, index, &index, &count)) != NULL) {
        if (wal_place_hole(place) == WAL_HOLE_SUSPECT) {
            if (suspect.first == 0 || index < suspect.first)
                suspect.first = index;
            suspect.last = suspect.is_unknown ? 0 : index + count - 1;
        }
        index += count - 1;
    }
    return suspect;
}

bool wal_is_whole(const struct wal *wal)
{
    return wal->mends_pending == 0 && wal->unknown_first == 0 &&
           (wal->places.hole_places_count == 0 || wal_holes_count(wal) == 0);
}

const struct histogram *wal_flushes_ns(const struct wal *wal)
{
    return &wal->writer.flushes_ns;
}

struct wal_statistics wal_statistics(const struct wal *wal)
{
    return (struct wal_statistics){
        .flushes_count = wal->writer.flushes_count,
        .empty_count = wal->writer.empty_count,
        .entries_count = wal->entries_count,
        .written_size = wal->writer.written_size,
        .payload_size = wal->payload_size,
        .queued_size = wal->queue.body_size,
        .segments_count = wal->segments.count,
        .recycled_count = wal->pool.recycled_count,
        .reads_count = wal->reads.reads_count,
        .read_size = wal->reads.read_size,
    };
}
