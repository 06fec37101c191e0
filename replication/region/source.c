/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/source.h"

#include <stdlib.h>

#include "proto/message.h"
#include "replication/region/source_internal.h"

enum {
    turn_size_default = 256 * 1024,
    gather_default_ms = 10,
};

/* ---- Answers ---- */

/* Bytes for the chain digests of an answer's positions. */
struct answer_space {
    uint8_t chain[region_chain_size];
    Strait__RegionPosition position;
};

static void refuse(struct source *source, void *request, enum status status,
                   const struct region_position *common)
{
    const struct source_options *options = &source->options;
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    const char *text = status_text(status);

    if (status == STATUS_NOT_LEADER) {
        text = source->leads ? "This server lacks what its region has sent: another leads by now."
                             : "This server does not lead its region.";
        refusal.leader = source->leader;
    } else if (status == STATUS_NOT_PRIMARY) {
        text = "This region is of an older epoch than the one that asks.";
    } else if (status == STATUS_HISTORY_LOST) {
        text = "The position is none of this region's history.";
        position.epoch_number = common->epoch.number;
        position.epoch_region = common->epoch.region;
        position.version = common->version;
        refusal.position = &position;
        if (options->promotion != NULL)
            refusal.promotion = field_of_bytes(options->promotion(options->context));
    } else if (status == STATUS_SNAPSHOT_TOO_OLD) {
        text = "The log does not reach back to the position: a checkpoint is needed.";
    } else if (status == STATUS_CORRUPT) {
        text = "The chain digest at the position is another one here.";
    } else if (status == STATUS_NOT_FOUND) {
        text = "The cursor is not known: begin with another one.";
    } else if (status == STATUS_MALFORMED) {
        text = "The pull's numbers do not fit.";
    }
    refusal.text = (char *)(uintptr_t)text;
    source->statistics.refused_count++;
    options->answer(options->context, request, status, &refusal.base);
}

/* A second of one clock is at most 1,000 ppm longer than one of another. */
static uint64_t heard_less_age(const struct source *source, uint64_t heard_ns)
{
    const struct source_options *options = &source->options;
    uint64_t age_ns = 0;

    if (options->age_find != NULL && !options->age_find(options->context, &age_ns))
        return 0;
    age_ns += age_ns / 1000;
    return age_ns < heard_ns ? heard_ns - age_ns : 0;
}

static void reply_init(const struct source *source, uint64_t heard_ns, struct answer_space *space,
                       Strait__RegionPullReply *reply)
{
    strait__region_pull_reply__init(reply);
    region_position_to_message(&source->position, space->chain, &space->position);
    reply->position = &space->position;
    /* A leader that was deposed and does not know it yet may lack what the new one has. */
    reply->heard_ns = heard_less_age(source, heard_ns);
    if (source->options.lease_ask != NULL)
        source->options.lease_ask(source->options.context, reply);
}

static void reply(struct source *source, void *request, const Strait__RegionPullReply *message)
{
    source->options.answer(source->options.context, request, STATUS_OK, &message->base);
}

/* ---- Cursors ---- */

static struct waiting_pull *pull_first(struct cursor *cursor)
{
    return &cursor->pulls[cursor->pulls_first];
}

static struct waiting_pull pull_take(struct cursor *cursor)
{
    struct waiting_pull pull = *pull_first(cursor);
    ASSERT(cursor->pulls_count > 0);
    cursor->pulls_first = (cursor->pulls_first + 1) % source_pulls_max;
    cursor->pulls_count--;
    return pull;
}

static void reader_end(struct source *source, const struct cursor *cursor)
{
    const struct source_log *log = &source->options.log;
    log->reader_end(log->context, (unsigned)(cursor - source->cursors));
}

static void cursor_end(struct source *source, struct cursor *cursor, enum status status,
                       const struct region_position *common)
{
    struct cursor ended = *cursor;
    reader_end(source, cursor);
    *cursor = (struct cursor){0};
    while (ended.pulls_count > 0)
        refuse(source, pull_take(&ended).request, status, common);
}

static void cursors_end(struct source *source, enum status status)
{
    const struct region_position none = {0};
    for (unsigned i = 0; i < source_cursors_max; i++) {
        if (source->cursors[i].id != 0)
            cursor_end(source, &source->cursors[i], status, &none);
    }
}

static struct cursor *cursor_find(struct source *source, uint32_t region, uint64_t id)
{
    for (unsigned i = 0; i < source_cursors_max; i++) {
        if (source->cursors[i].id == id && source->cursors[i].region == region)
            return &source->cursors[i];
    }
    return NULL;
}

/* A free place, or that of whoever asked least recently. */
static struct cursor *cursor_place(struct source *source)
{
    const struct region_position none = {0};
    struct cursor *oldest = &source->cursors[0];
    for (unsigned i = 0; i < source_cursors_max; i++) {
        struct cursor *cursor = &source->cursors[i];
        if (cursor->id == 0)
            return cursor;
        if (cursor->used_ns < oldest->used_ns)
            oldest = cursor;
    }
    cursor_end(source, oldest, STATUS_NOT_FOUND, &none);
    return oldest;
}

/* ---- Pulls ---- */

/* Those that a region left behind when it started over: what was read for them is given back. One
 * with pulls may be that of another of its members, which leads, or thinks so. */
static void end_idle(struct source *source, uint32_t region)
{
    const struct region_position none = {0};
    for (unsigned i = 0; i < source_cursors_max; i++) {
        struct cursor *cursor = &source->cursors[i];
        if (cursor->id != 0 && cursor->region == region && cursor->pulls_count == 0)
            cursor_end(source, cursor, STATUS_NOT_FOUND, &none);
    }
}

static enum status cursor_open(struct source *source, const Strait__RegionPull *pull,
                               struct cursor **opened, struct region_position *common)
{
    struct region_position from;

    *opened = NULL;
    enum status status = region_position_of_message(pull->from, &from);
    if (status != STATUS_OK)
        return status;
    end_idle(source, pull->region_id);
    struct cursor *cursor = cursor_place(source);
    *cursor = (struct cursor){.id = pull->cursor, .region = pull->region_id, .sequence = 1};
    status = cursor_begin(source, cursor, &from, common);
    if (status != STATUS_OK) {
        *cursor = (struct cursor){0};
        return status;
    }
    source_note_snapshot(source, cursor->region, false);
    *opened = cursor;
    return STATUS_OK;
}

/* The cursor that the pull belongs to, which it follows or begins. */
static enum status pull_cursor(struct source *source, const Strait__RegionPull *pull,
                               struct cursor **cursor, struct region_position *common)
{
    const struct region_position none = {0};

    *cursor = cursor_find(source, pull->region_id, pull->cursor);
    if (*cursor == NULL && pull->sequence == 1)
        return cursor_open(source, pull, cursor, common);
    if (*cursor != NULL && pull->sequence == (*cursor)->sequence + 1 &&
        (*cursor)->pulls_count < source_pulls_max) {
        (*cursor)->sequence++;
        return STATUS_OK;
    }
    if (*cursor != NULL)
        cursor_end(source, *cursor, STATUS_NOT_FOUND, &none);
    *cursor = NULL;
    return STATUS_NOT_FOUND;
}

static bool pull_is_valid(const Strait__RegionPull *pull)
{
    return pull->region_id != 0 && pull->cursor != 0 && pull->size_max <= batch_size_asked_max &&
           pull->wait_ms <= source_wait_ms_max && pull->acknowledged != NULL;
}

void source_pull(struct source *source, const Strait__RegionPull *pull, void *request)
{
    const struct source_options *options = &source->options;
    struct region_position common = {0};
    struct cursor *cursor = NULL;

    source->statistics.pulls_count++;
    enum status status = pull_is_valid(pull) ? source_note_pull(source, pull) : STATUS_MALFORMED;
    if (status != STATUS_OK) {
        refuse(source, request, status, &common);
        return;
    }
    if (pull->promotion.len > 0 && options->promotion_seen != NULL)
        options->promotion_seen(options->context, bytes_of_field(pull->promotion));
    if (!source->leads) {
        refuse(source, request, STATUS_NOT_LEADER, &common);
        return;
    }
    if (pull->sequence == 0) {
        struct answer_space space;
        Strait__RegionPullReply message;
        cursor = cursor_find(source, pull->region_id, pull->cursor);
        if (cursor != NULL && pull->sent_ns > cursor->heard_ns)
            cursor->heard_ns = pull->sent_ns;
        reply_init(source, pull->sent_ns, &space, &message);
        reply(source, request, &message);
        return;
    }
    status = pull_cursor(source, pull, &cursor, &common);
    if (status != STATUS_OK) {
        refuse(source, request, status, &common);
        return;
    }
    cursor->used_ns = io_boot_ns(options->io);
    if (pull->sent_ns > cursor->heard_ns)
        cursor->heard_ns = pull->sent_ns;
    cursor->pulls[(cursor->pulls_first + cursor->pulls_count++) % source_pulls_max] =
        (struct waiting_pull){.request = request,
                              .size_max = pull->size_max,
                              .wait_ns = pull->wait_ms * SOURCE_NS_PER_MS};
}

/* ---- Turns ---- */

static void answer_batch(struct source *source, struct cursor *cursor, uint64_t first_version)
{
    struct batch *batch = &source->batch;
    struct answer_space space;
    Strait__RegionPullReply message;

    reply_init(source, cursor->heard_ns, &space, &message);
    if (batch->count > 0) {
        size_t size = batch_compress(batch, source->block, source->block_size);
        message.first_version = first_version;
        message.count = batch->count;
        message.raw_size = (uint32_t)batch->size;
        message.entries = field_of_bytes(bytes_of(source->block, size));
        source->statistics.batches_count++;
        source->statistics.entries_count += batch->count;
        source->statistics.raw_size += batch->size;
        source->statistics.sent_size += size;
    }
    cursor->answered_ns = io_boot_ns(source->options.io);
    reply(source, pull_take(cursor).request, &message);
}

/* Whether what there is should go out now; else `*wake_ns` is when to look again. */
static bool is_due(const struct source *source, const struct cursor *cursor,
                   const struct waiting_pull *pull, uint64_t now, uint64_t *wake_ns)
{
    uint64_t gathered_ns = cursor->answered_ns + source->options.gather_ms * SOURCE_NS_PER_MS;

    if (cursor->version >= source->position.version) {
        *wake_ns = pull->deadline_ns;
        return now >= pull->deadline_ns;
    }
    if (!cursor->is_level || now >= gathered_ns ||
        source->stream_size - cursor->level_size >= pull->size_max)
        return true;
    *wake_ns = gathered_ns;
    return false;
}

/* Answers one pull. False: no more can be answered now; `*wake_ns` moves to when to look again. */
static bool cursor_answer(struct source *source, struct cursor *cursor, size_t *left,
                          uint64_t *wake_ns)
{
    uint64_t now = io_boot_ns(source->options.io);
    struct waiting_pull *pull = pull_first(cursor);
    struct region_position common = {0};
    uint64_t due_ns = UINT64_MAX;

    if (pull->deadline_ns == 0)
        pull->deadline_ns = now + pull->wait_ns;
    enum status status =
        cursor->history == source->history ? STATUS_OK : cursor_check(source, cursor, &common);
    if (status == STATUS_OK && !is_due(source, cursor, pull, now, &due_ns)) {
        *wake_ns = due_ns < *wake_ns ? due_ns : *wake_ns;
        return false;
    }
    uint64_t first_version = cursor->version + 1;
    if (status == STATUS_OK)
        status = cursor_gather(source, cursor, pull->size_max < *left ? pull->size_max : *left);
    if (status == STATUS_NOT_FOUND) {
        status = STATUS_SNAPSHOT_TOO_OLD;
        source_note_snapshot(source, cursor->region, true);
    }
    if (status != STATUS_OK && status != STATUS_AGAIN) {
        cursor_end(source, cursor, status, &common);
        return false;
    }
    /* The log is being read, or looked through: the one who asks is not left without an answer. */
    if (source->batch.count == 0 && now < pull->deadline_ns) {
        *wake_ns = pull->deadline_ns < *wake_ns ? pull->deadline_ns : *wake_ns;
        return false;
    }
    bool was_level = cursor->version >= source->position.version;
    if (was_level) {
        cursor->level_size = source->stream_size;
        reader_end(source, cursor);
    }
    cursor->is_level = was_level;
    *left -= source->batch.size < *left ? source->batch.size : *left;
    answer_batch(source, cursor, first_version);
    return status == STATUS_OK;
}

void source_turn(struct source *source)
{
    size_t left = source->options.turn_size_max;
    uint64_t wake_ns = UINT64_MAX;

    if (!source->leads)
        return;
    source->has_more = false;
    for (unsigned i = 0; i < source_cursors_max; i++) {
        struct cursor *cursor = &source->cursors[(source->next_cursor + i) % source_cursors_max];
        while (cursor->pulls_count > 0 && left > 0 && !source->has_more &&
               cursor_answer(source, cursor, &left, &wake_ns))
            ;
        if (left == 0 || source->has_more) {
            source->has_more = true;
            source->next_cursor = (source->next_cursor + i + 1) % source_cursors_max;
            break;
        }
    }
    if (source->has_more)
        wake_ns = io_boot_ns(source->options.io);
    if (wake_ns != UINT64_MAX)
        io_timer_start(source->options.io, &source->timer, wake_ns);
}

static void on_timer(struct io_timer *timer)
{
    source_turn(timer->context);
}

void source_log_ready(struct source *source)
{
    source_turn(source);
}

/* ---- What the owner tells ---- */

void source_reset(struct source *source, const struct region_position *position, uint64_t index)
{
    source->position = *position;
    source->applied_index = index;
    source->history++;
    source_marks_reset(source);
}

void source_applied(struct source *source, const struct region_position *position, uint64_t index,
                    size_t size)
{
    const struct region_position before = source->position;

    ASSERT(index > source->applied_index);
    source->applied_index = index;
    source->position = *position;
    bool is_same_epoch = epoch_compare(before.epoch, position->epoch) == 0;
    if (!is_same_epoch)
        source->history++;
    if (position->version == before.version && is_same_epoch)
        return;
    if (position->version == before.version + 1)
        source_mark_applied(source, index, size);
    else
        source_reset(source, position, index);
}

void source_lead(struct source *source, bool leads, const char *leader)
{
    size_t size = leader == NULL ? 0 : strlen(leader);

    if (size >= sizeof source->leader)
        size = 0;
    memset(source->leader, 0, sizeof source->leader);
    bytes_copy(source->leader, bytes_of(leader, size));
    source->leads = leads;
    if (!leads) {
        io_timer_stop(source->options.io, &source->timer);
        cursors_end(source, STATUS_NOT_LEADER);
    }
}

/* ---- Life ---- */

enum status source_create(const struct source_options *options, struct source **source_out)
{
    struct source *source = calloc(1, sizeof *source);

    *source_out = NULL;
    if (source == NULL)
        return STATUS_NO_MEMORY;
    source->options = *options;
    if (source->options.turn_size_max == 0)
        source->options.turn_size_max = turn_size_default;
    if (source->options.gather_ms == 0)
        source->options.gather_ms = gather_default_ms;
    source->timer = (struct io_timer){.fired = on_timer, .context = source};
    source->block_size = batch_block_size_max(batch_size_max);
    source->block = malloc(source->block_size);
    enum status status = batch_init(&source->batch);
    if (status != STATUS_OK || source->block == NULL) {
        batch_free(&source->batch);
        free(source->block);
        free(source);
        return STATUS_NO_MEMORY;
    }
    source_marks_reset(source);
    *source_out = source;
    return STATUS_OK;
}

void source_free(struct source *source)
{
    if (source == NULL)
        return;
    io_timer_stop(source->options.io, &source->timer);
    cursors_end(source, STATUS_SHUTTING_DOWN);
    batch_free(&source->batch);
    free(source->block);
    free(source);
}

struct source_statistics source_statistics(const struct source *source)
{
    struct source_statistics statistics = source->statistics;
    for (unsigned i = 0; i < source_cursors_max; i++)
        statistics.cursors_count += source->cursors[i].id != 0;
    return statistics;
}
