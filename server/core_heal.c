/* SPDX-License-Identifier: Apache-2.0 */
/* A state that is damaged, or not what the other replicas have, is rebuilt from a peer's.
 *
 *     NONE       a digest differs from a majority's, or a
 *                table's bytes do not hold                -> WANTED (only taken note of)
 *     WANTED     apply, reads and the tables' jobs end;
 *                what clients wait for is refused         -> WAITING
 *     WAITING    a snapshot took the state's place
 *                (core_install.c)                         -> NONE
 *
 * What is of no use is the state, not the log: this member keeps its identity, its term and its
 * vote, goes on to append and to vote, and so counts for the quorum. It may even be elected, as its
 * log may be the only one that goes far enough; a leader without a state brings another voter up to
 * date and hands the leadership over, again and again until one takes it.
 *
 * While it waits it asks the leader for a snapshot once a second:
 *
 *     want       an index that the snapshot's is to be above    member, to the leader
 *
 * The leader moves its state past that index, by a tick where the log is idle, so that the
 * member's state only ever jumps forward, and serves it as it serves one that lags behind.
 *
 * A mark on the disk, a file without content, says that a rebuild has begun: a start that finds it
 * opens no table (lsm_options.bare), and goes on to ask. It is made and removed by a worker; a
 * crash before it is made leaves a state whose fault is found again, one before it is removed
 * costs another rebuild. Files that are damaged stay where they are until the new content is
 * durable; the log names them.
 *
 * Where nobody else has a vote there is nothing to rebuild from: then the core fails, or a read
 * does, as the finder decides. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "replication/snapshot_message.h"
#include "server/core_internal.h"
#include "storage/io/blocking.h"

#define NS_PER_MS 1000000ULL

enum {
    heal_look_ms = 200, /* whether it leads, and has somebody to hand that over to */
    heal_ask_ms = 1000,
};

bool core_is_healing(const struct core *core)
{
    return core->heal.step != CORE_HEAL_NONE;
}

static bool is_other_voter(const struct core *core, const struct member *member)
{
    return member->id != replicated_log_self(core->log) &&
           (member->kinds & (MEMBER_VOTER | MEMBER_OUTGOING)) != 0;
}

bool core_heal_is_possible(const struct core *core)
{
    if (core->options.bus == NULL || core->log == NULL)
        return false;
    const struct membership *membership = replicated_log_membership(core->log);
    for (unsigned i = 0; i < membership->count; i++) {
        if (is_other_voter(core, &membership->members[i]))
            return true;
    }
    return false;
}

bool core_damaged(struct core *core, uint64_t version, const char *format, ...)
{
    struct core_heal *heal = &core->heal;
    va_list arguments;

    if (core_is_healing(core))
        return true;
    if (!core_heal_is_possible(core))
        return false;
    va_start(arguments, format);
    vsnprintf(heal->why, sizeof heal->why, format, arguments);
    va_end(arguments);
    heal->version = version;
    heal->step = CORE_HEAL_WANTED;
    return true;
}

/* ---- The mark on the disk ---- */

static enum status mark_make(struct io *io, const char *path, const char *directory)
{
    struct io_file *file;
    enum status status = io_open_wait(io, path, IO_READ | IO_WRITE | IO_CREATE, &file);
    if (status != STATUS_OK)
        return status;
    status = io_flush_wait(io, file);
    enum status closed = io_close_wait(io, file);
    if (status == STATUS_OK)
        status = closed;
    return status == STATUS_OK ? io_flush_directory_wait(io, directory) : status;
}

static enum status mark_remove(struct io *io, const char *path, const char *directory)
{
    enum status status = io_unlink_wait(io, path);
    if (status == STATUS_NOT_FOUND)
        status = STATUS_OK;
    return status == STATUS_OK ? io_flush_directory_wait(io, directory) : status;
}

static bool mark_step(struct work *work, struct io *worker_io)
{
    struct core_heal *heal = work->context;
    heal->mark_status = heal->mark_work_makes ? mark_make(worker_io, heal->path, heal->directory)
                                              : mark_remove(worker_io, heal->path, heal->directory);
    return true;
}

static void mark_returned(struct work *work, bool finished)
{
    struct core *core = LIST_ENTRY(work, struct core, heal.work);
    struct core_heal *heal = &core->heal;

    (void)finished;
    heal->mark_is_out = false;
    heal->mark_stands = heal->mark_work_makes;
    core->work_wanted = true;
    /* Without it a rebuild that is cut short begins anew when the fault is found again; one that
     * stays costs a rebuild at the next start. A full disk is worth no more than that. */
    if (heal->mark_status == STATUS_IO_ERROR)
        core_fail(core, heal->mark_status, "%s could not be %s: %s.", heal->path,
                  heal->mark_work_makes ? "made" : "removed", status_text(heal->mark_status));
    else if (heal->mark_status != STATUS_OK)
        log_warn("rebuild_mark_failed", LOG_TEXT("path", heal->path),
                 LOG_TEXT("reason", status_text(heal->mark_status)));
}

void core_heal_jobs_run(struct core *core)
{
    struct core_heal *heal = &core->heal;

    if (heal->mark_is_out || heal->mark_stands == heal->mark_wanted ||
        !workers_has_idle(core->workers))
        return;
    heal->mark_is_out = true;
    heal->mark_work_makes = heal->mark_wanted;
    heal->work = (struct work){.step = mark_step, .returned = mark_returned, .context = heal};
    workers_give(core->workers, &heal->work);
}

/* ---- Opening ---- */

bool core_heal_open(struct core *core)
{
    struct core_heal *heal = &core->heal;
    struct io_file *file;

    snprintf(heal->directory, sizeof heal->directory, "%s", core->options.directory);
    snprintf(heal->path, sizeof heal->path, "%s/rebuild", core->options.directory);
    enum status status = io_open_wait(core->options.io, heal->path, IO_READ, &file);
    if (status != STATUS_OK)
        return false;
    if (io_close_wait(core->options.io, file) != STATUS_OK)
        log_warn("file_close_failed", LOG_TEXT("path", heal->path));
    heal->mark_stands = true;
    heal->mark_wanted = true;
    core_heal_begin_open(core, "A rebuild that was begun before this start was not ended.");
    return true;
}

void core_heal_begin_open(struct core *core, const char *why)
{
    snprintf(core->heal.why, sizeof core->heal.why, "%s", why);
    core->heal.step = CORE_HEAL_WANTED;
}

/* ---- The leadership ---- */

/* The voter that has the most of the log; after that has not taken over, the next, and so on. */
static const struct member *next_heir(const struct core *core)
{
    const struct membership *membership = replicated_log_membership(core->log);
    const struct member *heirs[limit_members_count];
    struct log_member_facts facts;
    uint64_t best_index = 0;
    unsigned count = 0;
    unsigned best = 0;

    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        if ((member->kinds & MEMBER_VOTER) == 0 ||
            !replicated_log_member_facts(core->log, member->id, &facts) || !facts.connected)
            continue;
        if (facts.match_index > best_index) {
            best = count;
            best_index = facts.match_index;
        }
        heirs[count++] = member;
    }
    return count == 0 ? NULL : heirs[(best + core->heal.transfers_count) % count];
}

static void hand_over(struct core *core)
{
    const struct member *heir = next_heir(core);
    if (heir == NULL)
        return;
    enum status status = replicated_log_transfer(core->log, heir->id);
    if (status == STATUS_BUSY)
        return; /* the one that was asked before has its time */
    core->heal.transfers_count++;
    log_info("leadership_handed_over", LOG_TEXT("to", heir->name),
             LOG_TEXT("reason", status_text(status)));
}

/* ---- Asking ---- */

static void ask(struct core *core)
{
    uint8_t message[snapshot_want_size];
    uint64_t leader = replicated_log_leader_id(core->log);

    if (leader == 0 || leader == replicated_log_self(core->log))
        return;
    /* What was taken out of the log counts as applied. */
    store_u64(message, state_facts(core->state).applied_index + 1);
    /* Lost on its way, it is said again; where it cannot be sent, soon. */
    if (!replicated_log_send(core->log, leader, SNAPSHOT_WANT, BUS_CONTROL,
                             bytes_of(message, sizeof message)))
        core->heal.asked_ns = 0;
}

static void on_timer(struct io_timer *timer)
{
    struct core *core = timer->context;
    core->heal.look = true;
}

static void begin(struct core *core)
{
    struct core_heal *heal = &core->heal;
    struct state_facts facts = state_facts(core->state);

    log_error("rebuild_begun", LOG_U64("version", heal->version),
              LOG_U64("applied_index", facts.applied_index), LOG_TEXT("why", heal->why),
              LOG_TEXT("text", "this server applies and serves nothing until a snapshot of another "
                               "member's state has taken the place of its own"));
    heal->step = CORE_HEAL_WAITING;
    heal->mark_wanted = true;
    heal->look = true;
    heal->asked_ns = 0;
    heal->transfers_count = 0;
    heal->timer = (struct io_timer){.fired = on_timer, .context = core};
    lsm_halt(core->lsm);
    core_reads_refuse(core, STATUS_NOT_LEADER, "This server's state is being rebuilt.");
    core_validations_refuse(core);
    core_delayed_refuse(core);
    replicated_log_disown(core->log);
    core->work_wanted = true;
}

/* ---- The leader's side ---- */

void core_heal_received(struct core *core, uint64_t from, struct bytes message)
{
    struct core_heal *heal = &core->heal;
    uint64_t index;
    unsigned i = 0;

    if (!core_leads(core) || snapshot_want_decode(message, &index) != STATUS_OK ||
        membership_find(replicated_log_membership(core->log), from) == NULL)
        return;
    /* It cannot have applied what is not committed: at most two ticks take the state past it. A new
     * leader that knows of less yet is asked again. */
    if (index > replicated_log_commit_index(core->log) + 1)
        return;
    while (i < heal->wants_count && heal->wants[i].member != from)
        i++;
    if (i == limit_members_count)
        return;
    if (i == heal->wants_count)
        heal->wants_count++;
    heal->wants[i] = (struct core_want){.member = from, .index = index};
}

/* A standby has no ticks of its own. */
static void move_on(struct core *core)
{
    const struct log_proposal noop = {.kind = ENTRY_NOOP};

    if (core_is_primary(core) || core_is_adopting(core) ||
        replicated_log_inflight_count(core->log) != 0) {
        core_tick(core);
        return;
    }
    enum status status = replicated_log_propose(core->log, &noop);
    if (status != STATUS_OK && status != STATUS_BUSY)
        log_warn("noop_not_logged", LOG_TEXT("reason", status_text(status)));
}

static void serve_wants(struct core *core)
{
    struct core_heal *heal = &core->heal;
    uint64_t applied = state_facts(core->state).applied_index;
    unsigned kept = 0;

    if (!core_leads(core)) {
        heal->wants_count = 0;
        core->tick_forced = false;
        return;
    }
    for (unsigned i = 0; i < heal->wants_count; i++) {
        if (applied > heal->wants[i].index)
            core_on_snapshot_needed(core, heal->wants[i].member);
        else
            heal->wants[kept++] = heal->wants[i];
    }
    heal->wants_count = kept;
    core->tick_forced = kept != 0;
    if (kept != 0)
        move_on(core);
}

/* ---- Turns ---- */

void core_heal_turn(struct core *core)
{
    struct core_heal *heal = &core->heal;

    if (heal->step == CORE_HEAL_WANTED && !core_is_installing(core))
        begin(core);
    if (heal->step == CORE_HEAL_NONE) {
        if (heal->wants_count != 0)
            serve_wants(core);
        return;
    }
    if (heal->step != CORE_HEAL_WAITING || !heal->look)
        return;
    uint64_t now = io_boot_ns(core->options.io);
    heal->look = false;
    if (core_leads(core)) {
        hand_over(core);
    } else if (now - heal->asked_ns >= heal_ask_ms * NS_PER_MS) {
        heal->asked_ns = now;
        ask(core);
    }
    io_timer_start(core->options.io, &heal->timer, now + heal_look_ms * NS_PER_MS);
}

void core_heal_installed(struct core *core)
{
    struct core_heal *heal = &core->heal;

    if (heal->step != CORE_HEAL_WAITING)
        return;
    heal->step = CORE_HEAL_NONE;
    heal->mark_wanted = false;
    heal->rebuilt_count++;
    io_timer_stop(core->options.io, &heal->timer);
    core->check.is_healed = true;
    core->work_wanted = true;
    log_info("rebuilt", LOG_U64("index", core->install.mark.index),
             LOG_U64("version", core->install.mark.version), LOG_TEXT("why", heal->why));
}

void core_heal_close(struct core *core)
{
    io_timer_stop(core->options.io, &core->heal.timer);
}
