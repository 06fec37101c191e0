/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints that a rewind may need: each member of a cluster with several regions keeps one that
 * is not past what all other regions have, and its own log from there on, so that it can go back to
 * the end of any history that another region might begin (core_rewind.c).
 *
 * The first is made of the very entry that lists a second region, and a leader ships nothing before
 * it stands: another region cannot be promoted before it has that entry, and so has all that the
 * checkpoint holds. The same goes for a state that a rewind or a snapshot has just put in place.
 *
 *     NONE     the other one's version was passed long enough ago    -> MAKING
 *     MAKING   hard links to all tables, and a manifest              -> READY
 *     READY    the other is newer, and all regions have what is in
 *              it; too much of the log is kept; space is short;
 *              a rewind or a snapshot has made it useless            -> DOOMED
 *     DOOMED   a worker removes the directory                        -> NONE
 *
 * There are at most two: one that can be used, and a newer one that takes its place once the other
 * regions have acknowledged as much. What a checkpoint costs is the files that compaction has
 * replaced since, and the log; so both are bounded: by the time between two, by
 * shipping.retained_size, and by the disk's reserve. Past those it is let go, and a rewind then
 * needs a peer's snapshot.
 *
 * What the other regions have, the leader knows: a primary's by their acknowledgements, a standby's
 * by where it stands itself, as all it has came from the primary. It tells the members once a
 * second:
 *
 *     shared     PEER_SHARED    epoch number (8), epoch region (4), 0 (4), version (8)
 *
 * Little-endian. One that is lost is followed by the next. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/log.h"
#include "proto/peer.h"
#include "server/core_internal.h"

enum {
    shared_size = 24,
    checkpoint_interval_ms = 60 * 1000, /* between two, while there is something new */
    checkpoint_least_ms = 5000,
    checkpoint_retry_ms = 10 * 1000, /* after one that could not be made */
};

#define CHECKPOINT_INTERVAL_SIZE (256ULL << 20) /* or so many bytes of the log */
#define RETAINED_SIZE_DEFAULT    (4ULL << 30)
#define SEGMENT_SIZE_DEFAULT     (64ULL << 20)
#define NS_PER_MS                1000000ULL

static struct core_checkpoint *checkpoint_at(struct core *core, unsigned number)
{
    return &core->checkpoints.all[number];
}

static bool is_held(const struct core_checkpoint *checkpoint)
{
    return checkpoint->step == CHECKPOINT_READY;
}

/* By index; NULL: none is ready. */
static struct core_checkpoint *newest_of(struct core *core)
{
    struct core_checkpoint *found = NULL;
    for (unsigned i = 0; i < core_checkpoints_max; i++) {
        struct core_checkpoint *checkpoint = checkpoint_at(core, i);
        if (is_held(checkpoint) && (found == NULL || checkpoint->mark.index > found->mark.index))
            found = checkpoint;
    }
    return found;
}

static struct core_checkpoint *oldest_of(struct core *core)
{
    struct core_checkpoint *found = NULL;
    for (unsigned i = 0; i < core_checkpoints_max; i++) {
        struct core_checkpoint *checkpoint = checkpoint_at(core, i);
        if (is_held(checkpoint) && (found == NULL || checkpoint->mark.index < found->mark.index))
            found = checkpoint;
    }
    return found;
}

struct core_checkpoint *core_checkpoint_for(struct core *core, const struct rewind *rewind,
                                            uint64_t index, struct lsm_mark *mark)
{
    struct core_checkpoint *found = NULL;
    struct lsm_mark tried;
    for (unsigned i = 0; i < core_checkpoints_max; i++) {
        struct core_checkpoint *checkpoint = checkpoint_at(core, i);
        if (!is_held(checkpoint) || (found != NULL && checkpoint->mark.index < found->mark.index) ||
            state_rewind_mark(&checkpoint->mark, rewind, index, &tried) != STATUS_OK)
            continue;
        found = checkpoint;
        *mark = tried;
    }
    return found;
}

uint64_t core_checkpoints_pin(const struct core *core)
{
    uint64_t pin = UINT64_MAX;
    for (unsigned i = 0; i < core_checkpoints_max; i++) {
        const struct core_checkpoint *checkpoint = &core->checkpoints.all[i];
        if ((checkpoint->step == CHECKPOINT_READY || checkpoint->step == CHECKPOINT_MAKING) &&
            checkpoint->pin < pin)
            pin = checkpoint->pin;
    }
    return pin;
}

/* ---- Letting go ---- */

void core_checkpoint_doom(struct core *core, struct core_checkpoint *checkpoint)
{
    checkpoint->step = CHECKPOINT_DOOMED;
    core->work_wanted = true;
}

void core_checkpoints_doom(struct core *core)
{
    for (unsigned i = 0; i < core_checkpoints_max; i++) {
        struct core_checkpoint *checkpoint = checkpoint_at(core, i);
        if (is_held(checkpoint))
            core_checkpoint_doom(core, checkpoint);
        checkpoint->is_unwanted |= checkpoint->step == CHECKPOINT_MAKING;
    }
}

static void let_go(struct core *core, struct core_checkpoint *checkpoint, const char *why)
{
    log_warn("rewind_checkpoint_let_go", LOG_U64("version", checkpoint->mark.version),
             LOG_TEXT("text", why));
    core_checkpoint_doom(core, checkpoint);
}

static bool remove_step(struct work *work, struct io *worker_io)
{
    struct core_checkpoints *checkpoints = work->context;
    checkpoints->removed = lsm_directory_remove(worker_io, checkpoints->removing->path);
    return true;
}

static void remove_returned(struct work *work, bool finished)
{
    struct core_checkpoints *checkpoints = work->context;
    struct core *core = LIST_ENTRY(checkpoints, struct core, checkpoints);

    (void)finished;
    if (checkpoints->removed != STATUS_OK)
        log_warn("checkpoint_not_removed", LOG_TEXT("path", checkpoints->removing->path),
                 LOG_TEXT("reason", status_text(checkpoints->removed)));
    /* What is left of it is in the way of the next, which is told so and removes it again. */
    checkpoints->removing->step = CHECKPOINT_NONE;
    checkpoints->removing = NULL;
    core->work_wanted = true;
}

void core_checkpoints_jobs_run(struct core *core)
{
    struct core_checkpoints *checkpoints = &core->checkpoints;

    for (unsigned i = 0; i < core_checkpoints_max; i++) {
        if (checkpoints->removing != NULL || !workers_has_idle(core->workers))
            return;
        if (checkpoint_at(core, i)->step != CHECKPOINT_DOOMED)
            continue;
        checkpoints->removing = checkpoint_at(core, i);
        checkpoints->work =
            (struct work){.step = remove_step, .returned = remove_returned, .context = checkpoints};
        workers_give(core->workers, &checkpoints->work);
    }
}

/* ---- Making ---- */

static bool will_do(const struct core *core, const struct lsm_mark *mark)
{
    struct state_mark_facts facts;
    return state_mark_look(mark, &facts) == STATUS_OK && !facts.is_rewinding &&
           !facts.is_adopting && facts.version != 0 &&
           mark->index >= state_rewind_index(core->state);
}

static void made(struct core *core, struct core_checkpoint *checkpoint, enum status status,
                 const struct lsm_mark *mark)
{
    uint64_t now = io_boot_ns(core->options.io);

    checkpoint->taken_ns = now;
    if (status != STATUS_OK) {
        log_warn("rewind_checkpoint_failed", LOG_TEXT("path", checkpoint->path),
                 LOG_TEXT("reason", status_text(status)));
        core->checkpoints.retry_ns = now + checkpoint_retry_ms * NS_PER_MS;
        core_checkpoint_doom(core, checkpoint);
        return;
    }
    checkpoint->step = CHECKPOINT_READY;
    checkpoint->mark = *mark;
    checkpoint->pin = mark->index;
    if (checkpoint->is_unwanted || !will_do(core, mark))
        core_checkpoint_doom(core, checkpoint);
    else
        log_info("rewind_checkpoint", LOG_U64("index", mark->index),
                 LOG_U64("version", mark->version));
}

static void on_made_first(void *context, enum status status, const struct lsm_mark *mark)
{
    struct core *core = context;
    made(core, checkpoint_at(core, 0), status, mark);
}

static void on_made_second(void *context, enum status status, const struct lsm_mark *mark)
{
    struct core *core = context;
    made(core, checkpoint_at(core, 1), status, mark);
}

static void make(struct core *core, unsigned number)
{
    struct core_checkpoint *checkpoint = checkpoint_at(core, number);

    checkpoint->step = CHECKPOINT_MAKING;
    checkpoint->is_unwanted = false;
    checkpoint->pin = lsm_installed_index(core->lsm);
    checkpoint->logged_size = core->checkpoints.logged_size;
    lsm_checkpoint(core->lsm, checkpoint->path, number == 0 ? on_made_first : on_made_second, core);
    core->work_wanted = true;
}

/* What a region commits that another one has replaced is given up: of that nothing is kept. Nor
 * does it say what the other one has. */
static bool is_replaced(const struct core *core)
{
    return core->ship.higher.number != 0 || state_is_fenced(core->state, core->options.region_id);
}

/* Whether enough has happened since the newest for another one. */
static bool is_due(const struct core *core, const struct core_checkpoint *newest)
{
    uint64_t now = io_boot_ns(core->options.io);
    uint64_t version = state_facts(core->state).position.version;

    if (version == 0 || now < core->checkpoints.retry_ns)
        return false;
    if (newest == NULL)
        return true;
    uint64_t passed_ms = (now - newest->taken_ns) / NS_PER_MS;
    uint64_t size = core->checkpoints.logged_size - newest->logged_size;
    return version > newest->mark.version &&
           (passed_ms >= checkpoint_interval_ms ||
            (passed_ms >= checkpoint_least_ms && size >= CHECKPOINT_INTERVAL_SIZE));
}

static void make_next(struct core *core)
{
    int place = -1;
    if (core->disk_low || is_replaced(core))
        return;
    for (int i = 0; i < core_checkpoints_max; i++) {
        if (checkpoint_at(core, (unsigned)i)->step == CHECKPOINT_MAKING)
            return;
        if (checkpoint_at(core, (unsigned)i)->step == CHECKPOINT_NONE)
            place = i;
    }
    if (place >= 0 && is_due(core, newest_of(core)))
        make(core, (unsigned)place);
}

/* ---- What the other regions have ---- */

static bool is_shared(const struct core *core, const struct core_checkpoint *checkpoint)
{
    const struct region_position *shared = &core->checkpoints.shared;
    struct state_mark_facts facts;
    return shared->epoch.number != 0 && checkpoint->mark.version <= shared->version &&
           state_mark_look(&checkpoint->mark, &facts) == STATUS_OK &&
           epoch_compare(facts.epoch, shared->epoch) <= 0;
}

/* The lowest of what other regions acknowledged; number 0: of some nothing is known. */
static struct region_position shared_by_all(struct core *core)
{
    struct region_position lowest = core_region_position(core);
    struct source_region region;

    for (size_t i = 0; source_region_at(core->ship.source, i, &region); i++) {
        if (!region.heard || state_position_check(core->state, region.acknowledged.epoch,
                                                  region.acknowledged.version) != STATUS_OK)
            return (struct region_position){0};
        if (region_position_compare(&region.acknowledged, &lowest) < 0)
            lowest = region.acknowledged;
    }
    return lowest;
}

static void tell_members(struct core *core)
{
    const struct region_position *shared = &core->checkpoints.shared;
    const struct membership *membership = replicated_log_membership(core->log);
    uint8_t message[shared_size] = {0};

    store_u64(message, shared->epoch.number);
    store_u32(message + 8, shared->epoch.region);
    store_u64(message + 16, shared->version);
    for (unsigned i = 0; i < membership->count; i++) {
        uint64_t member = membership->members[i].id;
        /* What cannot be sent is followed by the next. */
        if (member == replicated_log_self(core->log) ||
            !replicated_log_send(core->log, member, PEER_SHARED, BUS_CONTROL,
                                 bytes_of(message, sizeof message)))
            continue;
    }
}

static void lead(struct core *core)
{
    struct region_position shared = {0};

    if (!core_leads(core) || is_replaced(core) || state_facts(core->state).position.version == 0)
        return;
    if (core_is_primary(core))
        shared = shared_by_all(core);
    else if (state_regions(core->state)->count <= 2)
        shared = core_region_position(core);
    if (shared.epoch.number == 0)
        return;
    core->checkpoints.shared = shared;
    if (core->options.bus != NULL)
        tell_members(core);
}

void core_checkpoints_received(struct core *core, uint64_t from, struct bytes message)
{
    if (message.size != shared_size || load_u32(message.data + 12) != 0 ||
        from != replicated_log_leader_id(core->log))
        return;
    core->checkpoints.shared = (struct region_position){
        .epoch = {.number = load_u64(message.data), .region = load_u32(message.data + 8)},
        .version = load_u64(message.data + 16)};
}

/* ---- Each turn, and each second ---- */

static uint64_t retained_size_max(const struct core *core)
{
    uint64_t size = core->options.shipping_retained_size;
    return size == 0 ? RETAINED_SIZE_DEFAULT : size;
}

static void look_at_bounds(struct core *core)
{
    struct core_checkpoint *oldest = oldest_of(core);
    struct core_checkpoint *newest = newest_of(core);

    if (oldest == NULL)
        return;
    if (core->disk_low) {
        let_go(core, oldest, "the disk is nearly full");
    } else if (core->checkpoints.logged_size - oldest->logged_size > retained_size_max(core)) {
        let_go(core, oldest, "the log since then is longer than shipping.retained_size");
    } else if (newest != oldest && is_shared(core, newest)) {
        core_checkpoint_doom(core, oldest);
    }
}

/* While the state is away, or about to be replaced, nothing is made of it. */
static bool may_look(const struct core *core)
{
    return !core->failed && !core_is_installing(core) && !core_is_healing(core) &&
           !core_is_rewinding(core) && !core_is_adopting(core);
}

bool core_checkpoints_lack(struct core *core)
{
    return state_regions(core->state)->count >= 2 && newest_of(core) == NULL && !core->disk_low &&
           !is_replaced(core) && io_boot_ns(core->options.io) >= core->checkpoints.retry_ns;
}

void core_checkpoints_begin(struct core *core)
{
    if (core->workers != NULL && !core->closing && may_look(core) && !core_rewind_is_wanted(core) &&
        core_checkpoints_lack(core))
        make_next(core);
}

void core_checkpoints_look(struct core *core)
{
    if (!may_look(core))
        return;
    if (state_regions(core->state)->count < 2) {
        core_checkpoints_doom(core);
        return;
    }
    lead(core);
    /* Where a tail waits to be given up, what it takes is not let go of. */
    if (core_rewind_is_wanted(core))
        return;
    look_at_bounds(core);
    make_next(core);
}

/* ---- Opening ---- */

/* What a checkpoint is good for without the log from there on: nothing. */
static bool is_reached(const struct core *core, const struct lsm_mark *mark)
{
    return will_do(core, mark) && !state_is_rewinding(core->state) &&
           mark->index <= state_facts(core->state).applied_index &&
           replicated_log_first_index(core->log) <= mark->index + 1;
}

void core_checkpoints_open(struct core *core)
{
    struct core_checkpoints *checkpoints = &core->checkpoints;
    uint64_t segment_size = core->options.segment_size;

    /* How long the log is that was written before this start is known by its files alone. */
    checkpoints->logged_size = replicated_log_statistics(core->log).segments_count *
                               (segment_size == 0 ? SEGMENT_SIZE_DEFAULT : segment_size);
    for (unsigned i = 0; i < core_checkpoints_max; i++) {
        struct core_checkpoint *checkpoint = checkpoint_at(core, i);
        snprintf(checkpoint->path, sizeof checkpoint->path, "%s/rewind-%u", core->options.directory,
                 i + 1);
        enum status status = lsm_checkpoint_look(core->options.io, core->options.keyring,
                                                 checkpoint->path, &checkpoint->mark);
        if (status == STATUS_NOT_FOUND)
            continue;
        if (status != STATUS_OK || core_is_healing(core) || !is_reached(core, &checkpoint->mark)) {
            core_checkpoint_doom(core, checkpoint);
            continue;
        }
        checkpoint->step = CHECKPOINT_READY;
        checkpoint->pin = checkpoint->mark.index;
        checkpoint->taken_ns = io_boot_ns(core->options.io);
    }
}
