/* SPDX-License-Identifier: Apache-2.0 */
/* Reads by any member: how new its state is.
 *
 * A member that is to answer a read of bounded age asks the leader what is committed. The leader
 * answers once it has made sure that it leads (by its lease, or by a round); when the member has
 * applied that much, its state has all that was acknowledged before the question was *sent*: ages
 * are told by one clock alone, and a message that was long on its way makes the state look older,
 * never newer. One question is under way at a time, and only while a read waits for one: a region
 * where nobody asks for such reads sends nothing for them.
 *
 *     question   PEER_FRESHNESS_FIRST      number (8)
 *     answer     PEER_FRESHNESS_FIRST + 1  number (8), index (8), age (8) in nanoseconds
 *
 * In a standby region all is older by what its leader's own state may lack of the primary's: the
 * age in the answer, which is told by the leader's clock, and 0 in the primary region.
 *
 * Where a standby may promote itself, its members ask once a second besides: how old its data is
 * counts once neither the primary nor the leader that knew it can be asked any more.
 *
 * Little-endian. A question or an answer that is lost is asked again after fresh_ask_ms. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/peer.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    fresh_ask = PEER_FRESHNESS_FIRST,
    fresh_answer = PEER_FRESHNESS_FIRST + 1,
    fresh_ask_size = 8,
    fresh_answer_size = 24,
    fresh_ask_ms = 200,
    fresh_wait_ms = 1000, /* a read that cannot be answered by then goes elsewhere */
};

#define NS_PER_MS 1000000ULL

static void on_timer(struct io_timer *timer)
{
    struct core *core = timer->context;
    core->fresh.look = true;
}

void core_fresh_open(struct core *core)
{
    core->fresh.timer = (struct io_timer){.fired = on_timer, .context = core};
    list_init(&core->fresh.waiting);
}

/* ---- The member's side ---- */

bool core_fresh_is_enough(const struct core *core, const struct core_read *read)
{
    if (read->fresh_version != 0)
        return state_position_check(core->state, read->fresh_epoch, read->fresh_version) ==
               STATUS_OK;
    return core->fresh.known_ns >= read->fresh_ns;
}

void core_fresh_wait(struct core_read *read)
{
    struct core *core = read->core;
    read->deadline_ns = io_boot_ns(core->options.io) + fresh_wait_ms * NS_PER_MS;
    list_push_last(&core->fresh.waiting, &read->link);
    core->fresh.look = true;
}

static void ask(struct core *core, uint64_t now)
{
    const struct member *leader = replicated_log_leader(core->log);
    uint8_t body[fresh_ask_size];

    if (leader == NULL || leader->id == replicated_log_self(core->log))
        return;
    store_u64(body, core->fresh.number + 1);
    if (!replicated_log_send(core->log, leader->id, fresh_ask, BUS_CONTROL,
                             bytes_of(body, sizeof body)))
        return;
    core->fresh.number++;
    core->fresh.asked_ns = now;
}

/* No answer is there or on its way. */
static bool may_ask(const struct core *core, uint64_t now)
{
    const struct core_freshness *fresh = &core->fresh;
    return fresh->answer_ns == 0 &&
           (fresh->asked_ns == 0 || now >= fresh->asked_ns + fresh_ask_ms * NS_PER_MS);
}

void core_fresh_look_ahead(struct core *core)
{
    uint64_t now = io_boot_ns(core->options.io);
    if (core->lease.open && core->options.promote_automatic && !core_is_primary(core) &&
        !core_is_healing(core) && may_ask(core, now))
        ask(core, now);
}

/* Whether there is a read that no answer will serve which is there or on its way. */
static bool needs_question(const struct core *core, uint64_t now)
{
    const struct core_freshness *fresh = &core->fresh;

    if (!may_ask(core, now))
        return false;
    LIST_EACH(link, &fresh->waiting)
    {
        if (LIST_ENTRY(link, struct core_read, link)->fresh_version == 0)
            return true;
    }
    return false;
}

static void refuse_stale(struct core_read *read)
{
    struct core *core = read->core;
    struct request *request = read->request;
    struct state_facts facts = state_facts(core->state);
    char why[160];

    if (read->fresh_version != 0)
        snprintf(why, sizeof why,
                 "This server has the state up to version %" PRIu64 ", not yet up to %" PRIu64
                 " as was asked",
                 facts.position.version, read->fresh_version);
    else
        snprintf(why, sizeof why, "This server cannot tell that its state is as new as was asked");
    core_refuse_not_leader(core, request, why);
}

/* What it saw was given up since: it will not come. */
static bool is_lost(const struct core *core, const struct core_read *read)
{
    return read->fresh_version != 0 &&
           state_position_check(core->state, read->fresh_epoch, read->fresh_version) ==
               STATUS_HISTORY_LOST;
}

/* The leader's own state is the newest there is; the read asks a quorum like a linearizable one. */
static void look_at_waiting(struct core *core, uint64_t now)
{
    bool may_read =
        replicated_log_may_read(core->log) && core_is_primary(core) && core_lease_is_held(core);

    LIST_EACH(link, &core->fresh.waiting)
    {
        struct core_read *read = LIST_ENTRY(link, struct core_read, link);
        bool is_enough = core_fresh_is_enough(core, read);
        if (!is_enough && may_read && read->fresh_version == 0) {
            read->is_linearizable = true;
            is_enough = true;
        }
        if (is_enough) {
            list_remove(&read->link);
            core_read_begin(read);
        } else if (is_lost(core, read)) {
            list_remove(&read->link);
            core_refuse_history_lost(read);
        } else if (now >= read->deadline_ns) {
            list_remove(&read->link);
            refuse_stale(read);
        }
    }
}

static void set_timer(struct core *core, uint64_t now)
{
    struct core_freshness *fresh = &core->fresh;
    if (list_is_empty(&fresh->waiting)) {
        io_timer_stop(core->options.io, &fresh->timer);
        return;
    }
    uint64_t due_ns = LIST_ENTRY(list_first(&fresh->waiting), struct core_read, link)->deadline_ns;
    /* One that is overdue could not be asked again, as nobody leads, or this member does. */
    uint64_t again_ns = fresh->asked_ns + fresh_ask_ms * NS_PER_MS;
    if (fresh->asked_ns != 0 && again_ns > now && again_ns < due_ns)
        due_ns = again_ns;
    io_timer_start(core->options.io, &fresh->timer, due_ns > now ? due_ns : now);
}

static void serve_waiting(struct core *core)
{
    struct core_freshness *fresh = &core->fresh;
    uint64_t applied = state_facts(core->state).applied_index;
    uint64_t shipped_ns;

    if (!list_is_empty(&fresh->waiting) && !core_is_primary(core) &&
        core_ship_fresh_ns(core, &shipped_ns) && shipped_ns > fresh->known_ns) {
        fresh->known_ns = shipped_ns;
        fresh->look = true;
    }
    if (fresh->answer_ns != 0 && applied >= fresh->answer_index) {
        if (fresh->answer_ns > fresh->known_ns)
            fresh->known_ns = fresh->answer_ns;
        fresh->answer_ns = 0;
        fresh->look = true;
    }
    if (list_is_empty(&fresh->waiting) || (!fresh->look && fresh->seen_index == applied))
        return;
    uint64_t now = io_boot_ns(core->options.io);
    fresh->look = false;
    fresh->seen_index = applied;
    look_at_waiting(core, now);
    if (needs_question(core, now))
        ask(core, now);
    set_timer(core, now);
}

/* ---- The leader's side ---- */

static void answer(struct core *core, const struct core_question *question)
{
    uint8_t body[fresh_answer_size];
    uint64_t now = io_boot_ns(core->options.io);
    uint64_t shipped_ns = now;

    if (core_is_primary(core) ? !core_lease_is_held(core) : !core_ship_fresh_ns(core, &shipped_ns))
        return; /* how old it is, nobody knows: the read goes elsewhere in the end */
    store_u64(body, question->number);
    store_u64(body + 8, question->index);
    store_u64(body + 16, now > shipped_ns ? now - shipped_ns : 0);
    /* Where it cannot be sent, the member asks again. */
    if (!replicated_log_send(core->log, question->member, fresh_answer, BUS_CONTROL,
                             bytes_of(body, sizeof body)))
        return;
}

static void answer_questions(struct core *core)
{
    struct core_freshness *fresh = &core->fresh;
    unsigned kept = 0;

    for (unsigned i = 0; i < fresh->questions_count; i++) {
        struct core_question question = fresh->questions[i];
        if (!replicated_log_may_read(core->log))
            continue;
        if (question.state == QUESTION_NEW) {
            question.index = replicated_log_commit_index(core->log);
            if (replicated_log_lease_holds(core->log))
                question.state = QUESTION_TRUE;
            else if (replicated_log_confirm(core->log, &question.round) == STATUS_OK)
                question.state = QUESTION_CONFIRMING;
            else
                continue;
        }
        if (question.state == QUESTION_TRUE)
            answer(core, &question);
        else
            fresh->questions[kept++] = question;
    }
    fresh->questions_count = kept;
}

static void note_question(struct core_freshness *fresh, uint64_t from, uint64_t number)
{
    unsigned i = 0;
    while (i < fresh->questions_count && fresh->questions[i].member != from)
        i++;
    if (i == limit_members_count)
        return;
    if (i == fresh->questions_count)
        fresh->questions_count++;
    fresh->questions[i] = (struct core_question){.member = from, .number = number};
}

void core_fresh_received(struct core *core, uint64_t from, uint8_t kind, struct bytes message)
{
    struct core_freshness *fresh = &core->fresh;

    if (kind == fresh_ask && message.size == fresh_ask_size) {
        note_question(fresh, from, load_u64(message.data));
    } else if (kind == fresh_answer && message.size == fresh_answer_size && fresh->asked_ns != 0 &&
               load_u64(message.data) == fresh->number) {
        uint64_t age_ns = load_u64(message.data + 16);
        fresh->answer_ns = age_ns < fresh->asked_ns ? fresh->asked_ns - age_ns : 1;
        fresh->answer_index = load_u64(message.data + 8);
        fresh->asked_ns = 0;
        fresh->look = true;
    }
}

void core_fresh_turn(struct core *core)
{
    if (core->fresh.questions_count != 0)
        answer_questions(core);
    serve_waiting(core);
}
