/* SPDX-License-Identifier: Apache-2.0 */
/* A region that was the primary, and was replaced before all it had committed was shipped, comes
 * back with a tail that the new history lacks. It gives that up by itself, and follows.
 *
 * At the leader of the region, which is fenced by then:
 *
 *     the primary refuses its position, and names one of its own      -> asks whether both have the
 *     history (receiver.h)                                               newest that is below it
 *     the primary has that one                                        -> what the commits above it
 *                                                                        had come to is told in the
 *                                                                        log (core_lost.c), then
 *                                                                        ENTRY_REWIND is proposed,
 *                                                                        where a checkpoint will do
 *
 * A leader without such a checkpoint hands over, once to each voter, as another may have one. Where
 * none has, the tail is reported from the log, and the state replaced (core_surrender.c).
 *
 * On each member, when that entry comes to be applied (server/state/rewind.h):
 *
 *     NONE       the entry was taken, and the state is past the version  -> WANTED
 *     WANTED     apply has paused; nothing looks at the state any more;
 *                no checkpoint will do: a peer's snapshot it is
 *                (core_heal.c)                                           -> NONE
 *                the newest that will do is given to the LSM             -> RESTORING
 *     RESTORING  the manifest names what it did then: the state is
 *                opened anew, and the log is taken again from there      -> NONE
 *                the disk is full: tried again                           -> WANTED
 *                the checkpoint does not hold: it goes                   -> WANTED
 *
 * From then on the mark says that a rewind is under way, until the entry is applied: reads are
 * refused, and nothing is shipped. A crash before the manifest's swap finds the entry again, and a
 * crash after it finds the mark. The log itself is not touched, so this member goes on to append,
 * to vote and to lead. */
#include <inttypes.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"

enum {
    rewind_retry_ms = 1000,
    patience_ms = 10 * 1000, /* with voters that are not there, and may have a checkpoint */
};

#define NS_PER_MS 1000000ULL

bool core_is_rewinding(const struct core *core)
{
    return core->rewind.step != REWIND_NONE || state_is_rewinding(core->state);
}

bool core_state_is_passing(const struct core *core)
{
    return core_is_healing(core) || core_is_rewinding(core) || state_is_adopting(core->state);
}

/* ---- The leader's part ---- */

bool core_rewind_is_wanted(const struct core *core)
{
    return core->rewind.asks;
}

void core_rewind_forget(struct core *core)
{
    core->rewind.asks = false;
    core->rewind.agreed = false;
}

/* The newest position of this history that is not past another one. False: there is none. */
static bool find_before(const struct core *core, const struct region_position *limit,
                        struct region_position *found)
{
    const struct epoch_end *end = state_epoch_end_before(core->state, limit->epoch);
    struct region_position position = core_region_position(core);

    *found = (struct region_position){.epoch = position.epoch, .version = position.version};
    if (epoch_compare(limit->epoch, position.epoch) < 0) {
        if (end == NULL)
            return false;
        *found = (struct region_position){.epoch = end->epoch, .version = end->version};
    }
    if (limit->version < found->version)
        found->version = limit->version;
    return found->version != 0;
}

void core_rewind_lost(struct core *core, const struct region_position *common)
{
    struct core_rewind *rewind = &core->rewind;
    struct region_position found;

    if (rewind->agreed || rewind->proposing || core_is_rewinding(core))
        return;
    rewind->asks = find_before(core, common, &found);
    rewind->common = found;
}

void core_rewind_agreed(struct core *core, const struct region_position *position)
{
    struct core_rewind *rewind = &core->rewind;
    rewind->agreed = rewind->asks && region_position_compare(position, &rewind->common) == 0;
}

static struct rewind wanted_rewind(const struct core *core)
{
    const struct region_position *common = &core->rewind.common;
    return (struct rewind){
        .to = state_fence(core->state), .from = common->epoch, .version = common->version};
}

bool core_rewind_is_possible(const struct core *core)
{
    struct rewind wanted = wanted_rewind(core);
    struct lsm_mark mark;

    if (core_is_rewinding(core))
        return true;
    return core->rewind.asks && state_rewind_is_possible(core->state, &wanted) &&
           core_checkpoint_for((struct core *)(uintptr_t)core, &wanted, UINT64_MAX, &mark) != NULL;
}

/* Another voter may have what this one lacks. False: all have been asked, but for those that have
 * not been there for a while. */
static bool hand_over(struct core *core)
{
    struct core_rewind *rewind = &core->rewind;
    const struct membership *membership = replicated_log_membership(core->log);
    const struct member *heirs[limit_members_count];
    uint64_t now = io_boot_ns(core->options.io);
    struct log_member_facts facts;
    unsigned count = 0;
    bool all = true;

    if (rewind->lacking_ns == 0)
        rewind->lacking_ns = now;
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        if ((member->kinds & MEMBER_VOTER) == 0 ||
            !replicated_log_member_facts(core->log, member->id, &facts))
            continue;
        all = all && facts.connected;
        if (facts.connected)
            heirs[count++] = member;
    }
    if (rewind->handovers_count >= count)
        return !all && now - rewind->lacking_ns < patience_ms * NS_PER_MS;
    const struct member *heir = heirs[rewind->handovers_count];
    if (replicated_log_transfer(core->log, heir->id) != STATUS_OK)
        return true; /* the next refusal of the primary's comes here again */
    rewind->handovers_count++;
    log_warn("rewind_handed_over", LOG_TEXT("to", heir->name),
             LOG_TEXT("text", "this server has no checkpoint from before what is to be given up"));
    return true;
}

static void propose(struct core *core, const struct rewind *wanted)
{
    struct core_rewind *rewind = &core->rewind;
    uint8_t body[rewind_size];

    rewind_encode(wanted, body);
    const struct log_proposal proposal = {
        .kind = ENTRY_REWIND, .body = bytes_of(body, sizeof body), .context = &rewind->proposing};
    rewind->proposing = replicated_log_propose(core->log, &proposal) == STATUS_OK;
    if (rewind->proposing)
        log_warn("rewind_proposed", LOG_U64("version", wanted->version),
                 LOG_U64("epoch", wanted->from.number), LOG_U64("to_epoch", wanted->to.number),
                 LOG_U64("to_region", wanted->to.region));
}

void core_rewind_lead(struct core *core)
{
    struct core_rewind *rewind = &core->rewind;
    struct lsm_mark mark;

    if (!rewind->agreed || rewind->proposing || !core_leads(core) || core_surrender_is_active(core))
        return;
    /* What is under way would be given up, or discarded, behind its back. */
    if (state_fence(core->state).number == 0 || replicated_log_inflight_count(core->log) != 0)
        return;
    const struct rewind wanted = wanted_rewind(core);
    bool is_possible = state_rewind_is_possible(core->state, &wanted);
    bool has_checkpoint =
        is_possible && core_checkpoint_for(core, &wanted, UINT64_MAX, &mark) != NULL;
    enum status told = has_checkpoint ? core_lost_tell(core, wanted.version) : STATUS_NOT_FOUND;
    if (told == STATUS_AGAIN)
        return;
    rewind->agreed = false; /* whatever comes of it: the primary is asked anew */
    if (told == STATUS_OK)
        propose(core, &wanted);
    else if (has_checkpoint)
        log_error("rewind_not_told", LOG_TEXT("reason", status_text(told)));
    else if (is_possible && !hand_over(core))
        core_surrender_begin(core, &wanted);
}

/* ---- Each member's ---- */

static void begin(struct core *core, const struct rewind *due, uint64_t index)
{
    struct core_rewind *rewind = &core->rewind;
    struct state_facts facts = state_facts(core->state);

    log_warn("rewind_begun", LOG_U64("version", due->version),
             LOG_U64("from_version", facts.position.version), LOG_U64("index", index));
    rewind->step = REWIND_WANTED;
    rewind->rewind = *due;
    rewind->index = index;
    rewind->retry_ns = 0;
    core_reads_refuse(core, STATUS_NOT_LEADER, "This server goes back to an earlier version.");
    core_validations_refuse(core);
    core_delayed_refuse(core);
    (void)snapshots_clear(&core->snapshots);
    core->fresh.known_ns = 0;
    core->fresh.asked_ns = 0;
    core->fresh.answer_ns = 0;
    if (core->ship.source != NULL)
        source_lead(core->ship.source, false, NULL);
    if (core->ship.receiver != NULL)
        receiver_forget(core->ship.receiver);
    core->work_wanted = true;
}

bool core_rewind_begin(struct core *core, const struct log_committed *committed)
{
    struct rewind due;
    if (!state_rewind_is_due(core->state, &committed->entry, &due))
        return false;
    begin(core, &due, committed->index);
    return true;
}

static void on_restored(void *context, enum status status, const struct lsm_mark *mark)
{
    struct core_rewind *rewind = &((struct core *)context)->rewind;
    (void)mark;
    ASSERT(rewind->step == REWIND_RESTORING);
    rewind->status = status;
    rewind->answered = true;
}

static void restore(struct core *core)
{
    struct core_rewind *rewind = &core->rewind;
    uint64_t now = io_boot_ns(core->options.io);
    struct lsm_mark mark;

    if (now < rewind->retry_ns)
        return;
    rewind->used = core_checkpoint_for(core, &rewind->rewind, rewind->index, &mark);
    if (rewind->used == NULL) {
        rewind->step = REWIND_NONE;
        rewind->lacks = true;
        if (!core_damaged(core, 0,
                          "There is no checkpoint from before version %" PRIu64
                          ", to which this region goes back.",
                          rewind->rewind.version))
            core_fail(core, STATUS_NOT_FOUND,
                      "This region gives up what is above version %" PRIu64
                      ", and this server has no checkpoint from before that, nor is there another "
                      "member: set it up anew from an empty directory.",
                      rewind->rewind.version);
        return;
    }
    rewind->step = REWIND_RESTORING;
    rewind->answered = false;
    lsm_restore(core->lsm, rewind->used->path, &mark, on_restored, core);
    core->work_wanted = true;
}

static void open_state(struct core *core)
{
    struct core_rewind *rewind = &core->rewind;
    uint64_t applied = state_facts(core->state).applied_index;
    const struct lsm_mark mark = *lsm_installed_mark(core->lsm);
    struct error error = {0};

    core->applying = (struct log_committed){0};
    core->apply_ready = false;
    core->apply_waits_room = false;
    enum status status = core_state_open(core, &mark, &error);
    if (status != STATUS_OK) {
        core_fail(core, status, "The checkpoint that was gone back to cannot be opened: %s",
                  error.text);
        return;
    }
    status = replicated_log_replay(core->log, mark.index);
    if (status != STATUS_OK) {
        core_fail(core, status, "The log in %s does not reach back to index %" PRIu64 ": %s.",
                  core->path_wal, mark.index, status_text(status));
        return;
    }
    rewind->step = REWIND_NONE;
    rewind->floor_index = applied;
    rewind->used->step = CHECKPOINT_NONE; /* its directory went with the swap */
    core_checkpoints_doom(core);
    core->checkpoints.shared = (struct region_position){0};
    core_ship_pin(core);
    core_state_replaced(core);
    if (core->ship.source != NULL)
        core_ship_reset(core);
    core->fresh.look = true;
    core->work_wanted = true;
}

static void restored(struct core *core)
{
    struct core_rewind *rewind = &core->rewind;
    uint64_t now = io_boot_ns(core->options.io);

    rewind->answered = false;
    if (rewind->status == STATUS_OK) {
        open_state(core);
        return;
    }
    log_error("rewind_not_restored", LOG_TEXT("path", rewind->used->path),
              LOG_TEXT("reason", status_text(rewind->status)));
    rewind->step = REWIND_WANTED;
    rewind->retry_ns = now + rewind_retry_ms * NS_PER_MS;
    if (rewind->status != STATUS_DISK_FULL && rewind->status != STATUS_NO_MEMORY &&
        rewind->status != STATUS_BUSY)
        core_checkpoint_doom(core, rewind->used);
}

void core_rewind_turn(struct core *core)
{
    struct core_rewind *rewind = &core->rewind;

    if (core->failed)
        return;
    if (rewind->step == REWIND_WANTED)
        restore(core);
    if (rewind->step == REWIND_RESTORING && rewind->answered)
        restored(core);
}

void core_rewind_applied(struct core *core, const struct state_result *result)
{
    struct state_facts facts = state_facts(core->state);

    core_rewind_forget(core);
    core->rewind.handovers_count = 0;
    core->rewind.lacking_ns = 0;
    if (!result->rewound)
        return;
    core->rewind.count++;
    core->ship.has_trouble = false;
    log_warn("rewound", LOG_U64("version", facts.position.version),
             LOG_U64("index", facts.applied_index),
             LOG_TEXT("text", "what this region had committed alone is given up: it follows the "
                              "new primary"));
}

/* ---- While opening ---- */

static bool is_answered(struct core *core)
{
    return core->rewind.step != REWIND_RESTORING || core->rewind.answered;
}

enum status core_rewind_now(struct core *core, const struct log_committed *committed,
                            struct error *error)
{
    bool begun = core_rewind_begin(core, committed);

    ASSERT(begun);
    while (core->rewind.step != REWIND_NONE && !core->failed) {
        core->rewind.retry_ns = 0;
        core_rewind_turn(core);
        enum status status = core_jobs_run_here(core, is_answered, error);
        if (status != STATUS_OK)
            return status;
        if (!is_answered(core) || (core->rewind.answered && core->rewind.status != STATUS_OK &&
                                   core->rewind.status != STATUS_CORRUPT))
            return error_set(error, STATUS_IO_ERROR,
                             "The checkpoint in %s could not be gone back to.",
                             core->options.directory);
    }
    return core->failed ? error_set(error, STATUS_NOT_FOUND, "There is nothing to go back to.")
                        : STATUS_OK;
}
