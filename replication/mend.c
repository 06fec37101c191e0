/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/mend.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/log.h"
#include "replication/replicated_log_internal.h"

enum { ask_again_ms = 500, tell_again_ms = 10 * 1000, names_size = 512 };

/* One lost entry, and what each member said of it. */
struct mend_place {
    struct peer_place place;
    bool suspect;
    bool filling;                      /* its bytes are on their way to the disk */
    uint8_t said[limit_members_count]; /* enum peer_mend, by mend_member's position; 0: nothing */
};

/* Another member of the newest membership that is known. */
struct mend_member {
    uint64_t id;
    uint64_t term;     /* its own, of its newest answer */
    bool answered_end; /* where its log ends */
    struct peer_place end;
};

struct mend {
    struct replicated_log *log;
    uint64_t term; /* this member's, at the start */
    bool begun;    /* Raft has */
    bool dropping; /* entries are being discarded */
    bool failed;
    uint64_t ask_ns;
    uint64_t tell_ns;
    uint64_t filled_count;
    uint64_t dropped_index; /* 0: nothing was discarded */
    unsigned members_count;
    struct mend_member members[limit_members_count];
    unsigned places_count;
    struct mend_place places[peer_places_max]; /* the first of those that are left */
};

/* ---- What is left ---- */

/* Adds one that may be asked, with what it has said so far. */
static void ask_member(const struct mend *mend, uint64_t id, struct mend_member *members,
                       unsigned *count)
{
    if (id == mend->log->self || *count == limit_members_count)
        return;
    for (unsigned i = 0; i < *count; i++) {
        if (members[i].id == id)
            return;
    }
    members[*count] = (struct mend_member){.id = id};
    for (unsigned m = 0; m < mend->members_count; m++) {
        if (mend->members[m].id == id)
            members[*count] = mend->members[m];
    }
    ++*count;
}

/* Those that may be asked: of the newest membership, which may change as entries come back, and
 * whoever else is there. What was lost may be the newer memberships, and the one that is known that
 * of a region whose members have all been replaced since. */
static void follow_membership(struct mend *mend)
{
    const struct replicated_log *log = mend->log;
    const struct membership *membership = memberships_newest(&log->memberships);
    struct mend_member members[limit_members_count] = {0};
    unsigned count = 0;

    for (unsigned i = 0; i < membership->count; i++)
        ask_member(mend, membership->members[i].id, members, &count);
    for (unsigned i = 0; i < log->connected_count; i++)
        ask_member(mend, log->connected[i], members, &count);
    bool same = count == mend->members_count;
    for (unsigned i = 0; same && i < count; i++)
        same = members[i].id == mend->members[i].id;
    memcpy(mend->members, members, sizeof members);
    mend->members_count = count;
    if (same)
        return;
    /* What was said is kept by position. */
    for (unsigned i = 0; i < mend->places_count; i++)
        memset(mend->places[i].said, 0, sizeof mend->places[i].said);
    mend->ask_ns = 0;
}

static const struct mend_place *find_place(const struct mend *mend, uint64_t index)
{
    for (unsigned i = 0; i < mend->places_count; i++) {
        if (mend->places[i].place.index == index)
            return &mend->places[i];
    }
    return NULL;
}

/* The holes that are left, with what is known of them. */
static void load_places(struct mend *mend)
{
    struct mend_place places[peer_places_max];
    unsigned count = 0;
    uint64_t after = 0;
    struct wal_mark mark;
    enum wal_hole hole;

    while (count < peer_places_max && wal_hole_next(mend->log->wal, after, &mark, &hole)) {
        const struct mend_place *known = find_place(mend, mark.index);
        places[count] = known != NULL ? *known
                                      : (struct mend_place){.place = {mark.index, mark.term},
                                                            .suspect = hole == WAL_HOLE_SUSPECT};
        if (known == NULL)
            mend->ask_ns = 0;
        count++;
        after = mark.index;
    }
    memcpy(mend->places, places, count * sizeof places[0]);
    mend->places_count = count;
}

static bool is_unknown(const struct mend *mend)
{
    return wal_suspect(mend->log->wal).is_unknown;
}

enum status mend_create(struct replicated_log *log, struct mend **out, struct error *error)
{
    struct mend *mend = calloc(1, sizeof *mend);
    *out = mend;
    if (mend == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for mending the log.");
    mend->log = log;
    mend->term = wal_hard_state(log->wal).term;
    mend->tell_ns = log_now_ns(log) + tell_again_ms * LOG_NS_PER_MS;
    follow_membership(mend);
    load_places(mend);
    struct wal_suspect suspect = wal_suspect(log->wal);
    log_warn("log_mending", LOG_U64("entries", wal_holes_count(log->wal)),
             LOG_U64("first_index", mend->places_count == 0 ? 0 : mend->places[0].place.index),
             LOG_U64("suspect_index", suspect.first),
             LOG_TEXT("text", "entries of the log cannot be read: the other members are asked for "
                              "them; until then this one does not take part"));
    return STATUS_OK;
}

void mend_free(struct mend *mend)
{
    free(mend);
}

/* ---- Asking ---- */

static void ask(struct mend *mend, uint64_t member)
{
    uint8_t rest[peer_places_max * peer_place_size];
    struct peer_message message = {.kind = PEER_MEND_ASK, .to = member};

    for (unsigned i = 0; i < mend->places_count && message.count < peer_places_max - 1; i++) {
        if (mend->places[i].filling)
            continue;
        peer_place_encode(mend->places[i].place, rest + (size_t)message.count * peer_place_size);
        message.count++;
    }
    if (is_unknown(mend)) {
        peer_place_encode((struct peer_place){0}, rest + (size_t)message.count * peer_place_size);
        message.count++;
    }
    /* One that cannot be reached is asked when it can. */
    if (message.count > 0)
        (void)log_send_message(mend->log, &message, BUS_CONTROL,
                               bytes_of(rest, (size_t)message.count * peer_place_size));
}

void mend_connected(struct mend *mend, uint64_t member)
{
    follow_membership(mend);
    for (unsigned i = 0; i < mend->members_count; i++) {
        if (mend->members[i].id == member)
            ask(mend, member);
    }
}

uint64_t mend_deadline_ns(const struct mend *mend)
{
    return mend->ask_ns < mend->tell_ns ? mend->ask_ns : mend->tell_ns;
}

/* Who it waits for, by name. */
static void tell_waiting(const struct mend *mend)
{
    const struct membership *membership = memberships_newest(&mend->log->memberships);
    const struct mend_place *first = mend->places_count == 0 ? NULL : &mend->places[0];
    char names[names_size] = "";
    size_t size = 0;

    for (unsigned i = 0; i < mend->members_count; i++) {
        static const char *const said[] = {"silent",  "has it",      "never had it",
                                           "corrupt", "released it", "suspect"};
        const struct member *member = membership_find(membership, mend->members[i].id);
        unsigned answer = first == NULL ? 0 : first->said[i];
        if (first == NULL && mend->members[i].answered_end)
            answer = PEER_MEND_SUSPECT;
        int more = snprintf(names + size, sizeof names - size, "%s%s: %s", i == 0 ? "" : ", ",
                            member == NULL ? "?" : member->name, said[answer]);
        size += more < 0 || (size_t)more >= sizeof names - size ? 0 : (size_t)more;
    }
    log_warn(
        "log_mending_waits", LOG_U64("entries", wal_holes_count(mend->log->wal)),
        LOG_U64("first_index",
                first == NULL ? wal_suspect(mend->log->wal).first : first->place.index),
        LOG_U64("last_index", first == NULL ? 0 : mend->places[mend->places_count - 1].place.index),
        LOG_TEXT("asked", names),
        LOG_TEXT("text", "no member that answers has what this log has lost: it takes part "
                         "again once one does"));
}

/* ---- Answers ---- */

static struct mend_member *find_member(struct mend *mend, uint64_t id, unsigned *position)
{
    for (unsigned i = 0; i < mend->members_count; i++) {
        *position = i;
        if (mend->members[i].id == id)
            return &mend->members[i];
    }
    return NULL;
}

/* Raft will be told of the entry that has come back. */
static enum status recover(struct replicated_log *log, uint64_t index, struct bytes bytes)
{
    struct entry entry;
    struct log_recovered_entry *recovered =
        &log->recovered.entries[index - log->recovered.base.index - 1];
    enum status status = entry_decode(bytes, &entry);
    if (status != STATUS_OK)
        return status;
    if (entry.kind == ENTRY_MEMBERSHIP && recovered->hole) {
        status = log_recovered_membership(log, index, entry.body);
        if (status != STATUS_OK)
            return status;
    }
    log_clock_observe(&log->clock, entry.log_time_ns);
    recovered->hole = false;
    return STATUS_OK;
}

static void fill(struct mend *mend, struct mend_place *place, struct bytes bytes)
{
    struct entry entry;
    const struct wal_entry filled = {
        .index = place->place.index, .term = place->place.term, .bytes = bytes};

    if (entry_decode(bytes, &entry) != STATUS_OK) {
        mend->log->hostile_count++;
        return;
    }
    /* Full, or without space: it is asked for again. */
    if (wal_fill(mend->log->wal, &filled) != STATUS_OK)
        return;
    enum status status = recover(mend->log, place->place.index, bytes);
    if (status != STATUS_OK) {
        mend->failed = true;
        log_fail(mend->log, status, "an entry that another member holds cannot be taken");
        return;
    }
    place->filling = true;
    mend->filled_count++;
}

void mend_answered(struct mend *mend, const struct peer_message *message)
{
    unsigned position = 0;
    struct mend_member *member = find_member(mend, message->from, &position);

    if (member == NULL)
        return;
    if (message->term > member->term) {
        /* What it never had in an older term it may have got since, before it left that one. */
        for (unsigned i = 0; i < mend->places_count; i++)
            mend->places[i].said[position] = 0;
        member->term = message->term;
    }
    if (message->mend == PEER_MEND_END) {
        member->answered_end = true;
        member->end = message->mark;
        return;
    }
    for (unsigned i = 0; i < mend->places_count; i++) {
        struct mend_place *place = &mend->places[i];
        if (place->place.index != message->mark.index || place->place.term != message->mark.term)
            continue;
        place->said[position] = (uint8_t)message->mend;
        if (message->mend == PEER_MEND_HAVE && !place->filling)
            fill(mend, place, message->rest);
        return;
    }
}

/* ---- Discarding ---- */

/* Whether the voters of this half that certainly never had the entry leave no majority of it. */
static bool excludes_majority(const struct mend *mend, const struct mend_place *place,
                              unsigned kind)
{
    const struct membership *membership = memberships_newest(&mend->log->memberships);
    unsigned voters = 0;
    unsigned never = 0;

    for (unsigned i = 0; i < membership->count; i++)
        voters += (membership->members[i].kinds & kind) != 0;
    for (unsigned i = 0; i < mend->members_count; i++) {
        const struct member *member = membership_find(membership, mend->members[i].id);
        never += member != NULL && (member->kinds & kind) != 0 &&
                 place->said[i] == PEER_MEND_NEVER && mend->members[i].term > mend->term;
    }
    /* Only one half of a joint membership may be empty. */
    return voters == 0 ? kind == MEMBER_OUTGOING : voters - never <= voters / 2;
}

/* Whether all voters have answered and none can hold it. */
static bool nobody_has(const struct mend *mend, const struct mend_place *place)
{
    const struct membership *membership = memberships_newest(&mend->log->memberships);
    if (membership->count == 0)
        return false;
    for (unsigned i = 0; i < mend->members_count; i++) {
        const struct member *member = membership_find(membership, mend->members[i].id);
        bool votes = member != NULL && (member->kinds & (MEMBER_VOTER | MEMBER_OUTGOING)) != 0;
        if (votes && place->said[i] != PEER_MEND_NEVER && place->said[i] != PEER_MEND_SUSPECT)
            return false;
    }
    return true;
}

/* The first entry that is left was not committed: nor was what follows it. */
static void decide(struct mend *mend)
{
    struct replicated_log *log = mend->log;
    const struct mend_place *first = &mend->places[0];
    uint64_t index = first->place.index;

    if (mend->places_count == 0 || first->filling || mend->dropping)
        return;
    bool never = excludes_majority(mend, first, MEMBER_VOTER) &&
                 excludes_majority(mend, first, MEMBER_OUTGOING);
    if (!never && !(first->suspect && nobody_has(mend, first)))
        return;
    /* What is suspect lies at or above it. An unknown tail is settled by other means. */
    enum status status = wal_truncate(log->wal, index);
    if (status != STATUS_OK)
        return; /* no room or space: again with the next turn */
    mend->dropping = true;
    mend->dropped_index = index;
    mend->places_count = 0;
    log_recovered_cut(log, index);
    log_warn("log_suspect_discarded", LOG_U64("from_index", index),
             LOG_TEXT("text", "what cannot be read from there on was never acknowledged by a "
                              "quorum"));
}

/* ---- The unknown tail ---- */

/* Of two logs' last entries, whose log goes farther (3.6.1). */
static bool goes_as_far(struct peer_place a, struct peer_place b)
{
    return a.term > b.term || (a.term == b.term && a.index >= b.index);
}

/* All voters have said how far their logs go. `*farthest`: as far as any, this one's too. */
static bool ends_are_known(const struct mend *mend, struct peer_place *farthest)
{
    const struct membership *membership = memberships_newest(&mend->log->memberships);
    struct raft_mark last = raft_last(mend->log->raft);

    *farthest = (struct peer_place){last.index, last.term};
    if (membership->count == 0)
        return false;
    for (unsigned i = 0; i < mend->members_count; i++) {
        const struct mend_member *member = &mend->members[i];
        const struct member *known = membership_find(membership, member->id);
        if (known == NULL || (known->kinds & (MEMBER_VOTER | MEMBER_OUTGOING)) == 0)
            continue;
        if (!member->answered_end)
            return false;
        if (!goes_as_far(*farthest, member->end))
            *farthest = member->end;
    }
    return true;
}

bool mend_permits(const struct mend *mend, const struct peer_message *message)
{
    struct peer_place farthest;
    if (message->kind == PEER_TIMEOUT_NOW)
        return mend_may_stand(mend);
    if (message->kind != PEER_VOTE && message->kind != PEER_PREVOTE)
        return true;
    return ends_are_known(mend, &farthest) && goes_as_far(message->mark, farthest);
}

bool mend_may_stand(const struct mend *mend)
{
    struct peer_place farthest;
    struct raft_mark last = raft_last(mend->log->raft);
    return ends_are_known(mend, &farthest) &&
           goes_as_far((struct peer_place){last.index, last.term}, farthest);
}

/* A leader of a term in which this member has acknowledged nothing has committed, here too. */
static void settle(struct mend *mend)
{
    struct replicated_log *log = mend->log;
    uint64_t commit = raft_commit_index(log->raft);
    uint64_t term = 0;

    if (mend->dropping || !raft_term_at(log->raft, commit, &term) || term <= mend->term ||
        wal_durable_index(log->wal) < commit)
        return;
    if (wal_discard_suspect(log->wal) == STATUS_OK)
        mend->dropping = true;
}

/* Acknowledgements that this member gave, and may have lost, were given to leaders up to its term.
 * In a newer one they count for nothing. True: it is durable. */
static bool raise_term(struct mend *mend)
{
    struct replicated_log *log = mend->log;
    if (wal_hard_state(log->wal).term > mend->term)
        return true;
    log->term_least = mend->term + 1;
    log_raft_hard_state(log);
    return false;
}

static void begin(struct mend *mend)
{
    struct error error = {0};
    enum status status = log_raft_begin(mend->log, &error);
    mend->begun = status == STATUS_OK;
    mend->failed = !mend->begun;
    if (mend->failed)
        log_fail(mend->log, status, error.text);
}

/* ---- Snapshots ---- */

/* What is lost is in the others' states, and in nobody's log any more. */
static bool needs_snapshot(const struct mend *mend)
{
    const struct mend_place *first = &mend->places[0];
    bool released = false;
    if (mend->places_count == 0 || first->filling)
        return false;
    for (unsigned i = 0; i < mend->members_count; i++)
        released |= first->said[i] == PEER_MEND_RELEASED;
    return released;
}

void mend_heard(struct mend *mend, const struct peer_message *message)
{
    if ((message->kind != PEER_APPEND && message->kind != PEER_HEARTBEAT) || !needs_snapshot(mend))
        return;
    /* A leader that this member has acknowledged entries to counts on them, and would send nothing
     * of what lies below. It learns of the newer term. */
    if (message->term <= mend->term && !raise_term(mend))
        return;
    uint64_t own = wal_hard_state(mend->log->wal).term;
    const struct peer_message refusal = {
        .kind = PEER_APPEND_REPLY,
        .to = message->from,
        .term = message->term > own ? message->term : own,
        .round = message->round,
        .reject = true,
    };
    /* The next message of the leader's is answered alike. */
    (void)log_send_message(mend->log, &refusal, BUS_CONTROL, (struct bytes){0});
}

/* ---- Turns ---- */

void mend_look(struct mend *mend)
{
    mend->dropping = false;
    load_places(mend);
}

static bool finish(struct mend *mend)
{
    if (!mend->begun)
        begin(mend);
    if (mend->failed)
        return false;
    log_info("log_mended", LOG_U64("filled", mend->filled_count),
             LOG_U64("discarded_from", mend->dropped_index));
    return true;
}

bool mend_turn(struct mend *mend)
{
    struct replicated_log *log = mend->log;
    uint64_t now = log_now_ns(log);

    if (mend->failed)
        return false;
    /* Raft begins with the hard state that is durable then. */
    if (wal_is_whole(log->wal) && !log->hard_state_writing && log->snapshot_done == NULL)
        return finish(mend);
    follow_membership(mend);
    if (!mend->begun)
        decide(mend);
    if (now >= mend->ask_ns) {
        mend->ask_ns = now + ask_again_ms * LOG_NS_PER_MS;
        for (unsigned i = 0; i < mend->members_count; i++)
            ask(mend, mend->members[i].id);
    }
    if (now >= mend->tell_ns) {
        mend->tell_ns = now + tell_again_ms * LOG_NS_PER_MS;
        tell_waiting(mend);
    }
    if (wal_holes_count(log->wal) == 0 && !mend->dropping && is_unknown(mend)) {
        if (mend->begun)
            settle(mend);
        else if (raise_term(mend) && !log->hard_state_writing && log->snapshot_done == NULL)
            begin(mend);
    }
    return false;
}
