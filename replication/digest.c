/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/digest.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum { ask_size = 16, answer_size = 40, verdict_size = 32 };

struct member_answer {
    uint64_t id;
    bool votes;
    bool answered;
    bool known;  /* it had a digest for the version */
    bool judged; /* it was told, or the owner was */
    struct hash128 chain;
};

/* The leader's question, and what was answered. */
struct round {
    uint64_t version; /* 0: none */
    uint64_t history;
    unsigned patience;
    unsigned members_count;
    unsigned voters_count;
    bool closed; /* nothing more can come of it */
    struct member_answer members[limit_members_count];
};

struct kept {
    uint64_t version;
    uint64_t history;
    struct hash128 chain;
};

struct digests {
    struct digests_options options;
    uint64_t history; /* of what is noted now */
    uint32_t first;   /* of those kept, the oldest */
    uint32_t count;

    /* A question for a version that is not applied yet. */
    uint64_t asked_by; /* 0: none */
    uint64_t asked_version;
    uint64_t asked_history;
    uint64_t passed_version; /* what is asked for at or below it, and not kept, will not come */

    struct round round;
    uint64_t agreed_version;
    bool is_odd;                          /* it was told */
    struct kept kept[digests_kept_count]; /* a ring; versions rise */
};

static bool equal(struct hash128 a, struct hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

static const struct kept *kept_at(const struct digests *digests, uint32_t position)
{
    return &digests->kept[(digests->first + position) % digests_kept_count];
}

static uint64_t newest(const struct digests *digests)
{
    return digests->count == 0 ? 0 : kept_at(digests, digests->count - 1)->version;
}

static bool find(const struct digests *digests, uint64_t version, uint64_t history,
                 struct hash128 *chain)
{
    uint32_t low = 0;
    uint32_t high = digests->count;
    *chain = (struct hash128){0};
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (kept_at(digests, middle)->version < version)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == digests->count || kept_at(digests, low)->version != version ||
        kept_at(digests, low)->history != history)
        return false;
    *chain = kept_at(digests, low)->chain;
    return true;
}

/* ---- Answers ---- */

static void send(struct digests *digests, uint64_t to, enum digest_kind kind,
                 const uint8_t *message, size_t size)
{
    /* What is lost is asked for again in the next round. */
    (void)digests->options.send(digests->options.context, to,
                                (uint8_t)((unsigned)digests->options.series + kind), BUS_CONTROL,
                                bytes_of(message, size));
}

static void answer(struct digests *digests, uint64_t to, uint64_t version, uint64_t history)
{
    uint8_t message[answer_size] = {0};
    struct hash128 chain;
    bool known = find(digests, version, history, &chain);
    store_u64(message, version);
    store_u64(message + 8, chain.low);
    store_u64(message + 16, chain.high);
    message[24] = known ? 1 : 0;
    store_u64(message + 32, history);
    send(digests, to, DIGEST_ANSWER, message, sizeof message);
}

static void take_ask(struct digests *digests, uint64_t from, uint64_t version, uint64_t history)
{
    if (version <= newest(digests) || version <= digests->passed_version) {
        answer(digests, from, version, history);
        return;
    }
    digests->asked_by = from;
    digests->asked_version = version;
    digests->asked_history = history;
}

static void become_odd(struct digests *digests, uint64_t version)
{
    if (digests->is_odd)
        return;
    digests->is_odd = true;
    digests->options.odd(digests->options.context, version);
}

static void take_verdict(struct digests *digests, uint64_t version, uint64_t history,
                         struct hash128 right)
{
    struct hash128 chain;
    if (find(digests, version, history, &chain) && !equal(chain, right))
        become_odd(digests, version);
}

/* ---- The leader's side ---- */

/* How many voters have said `chain`. */
static unsigned count_voters(const struct round *round, struct hash128 chain)
{
    unsigned count = 0;
    for (unsigned i = 0; i < round->members_count; i++) {
        const struct member_answer *member = &round->members[i];
        count += member->votes && member->known && equal(member->chain, chain);
    }
    return count;
}

static bool find_majority(const struct round *round, struct hash128 *right)
{
    for (unsigned i = 0; i < round->members_count; i++) {
        const struct member_answer *member = &round->members[i];
        *right = member->chain;
        if (member->votes && member->known &&
            count_voters(round, member->chain) > round->voters_count / 2)
            return true;
    }
    return false;
}

/* Whether two voters have a digest each, and these differ: one that has none says nothing. */
static bool voters_differ(const struct round *round)
{
    const struct member_answer *first = NULL;
    for (unsigned i = 0; i < round->members_count; i++) {
        const struct member_answer *member = &round->members[i];
        if (!member->votes || !member->known)
            continue;
        if (first != NULL && !equal(first->chain, member->chain))
            return true;
        first = member;
    }
    return false;
}

static void judge_member(struct digests *digests, struct member_answer *member,
                         struct hash128 right)
{
    uint8_t message[verdict_size];
    uint64_t version = digests->round.version;
    member->judged = true;
    if (member->id == digests->options.self) {
        become_odd(digests, version);
        return;
    }
    store_u64(message, version);
    store_u64(message + 8, right.low);
    store_u64(message + 16, right.high);
    store_u64(message + 24, digests->round.history);
    send(digests, member->id, DIGEST_VERDICT, message, sizeof message);
    digests->options.differs(digests->options.context, member->id, version);
}

static void judge(struct digests *digests)
{
    struct round *round = &digests->round;
    struct hash128 right;
    unsigned unanswered_count = 0;
    unsigned voters_unanswered_count = 0;
    bool majority = find_majority(round, &right);
    for (unsigned i = 0; i < round->members_count; i++) {
        struct member_answer *member = &round->members[i];
        unanswered_count += !member->answered;
        voters_unanswered_count += member->votes && !member->answered;
        if (!majority || !member->known)
            continue;
        if (!equal(member->chain, right)) {
            if (!member->judged)
                judge_member(digests, member, right);
        } else if (member->id == digests->options.self) {
            digests->agreed_version = round->version;
        }
    }
    if (!majority && voters_unanswered_count == 0 && !round->closed && voters_differ(round))
        digests->options.undecided(digests->options.context, round->version);
    round->closed |= unanswered_count == 0 || (!majority && voters_unanswered_count == 0);
}

static void take_answer(struct digests *digests, uint64_t from, uint64_t version, uint64_t history,
                        bool known, struct hash128 chain)
{
    struct round *round = &digests->round;
    if (round->version == 0 || round->version != version || round->history != history ||
        round->closed)
        return;
    for (unsigned i = 0; i < round->members_count; i++) {
        struct member_answer *member = &round->members[i];
        if (member->id != from || member->answered)
            continue;
        member->answered = true;
        member->known = known;
        member->chain = chain;
        judge(digests);
        return;
    }
}

static void ask_silent(struct digests *digests)
{
    const struct round *round = &digests->round;
    uint8_t message[ask_size];
    store_u64(message, round->version);
    store_u64(message + 8, round->history);
    for (unsigned i = 0; i < round->members_count; i++)
        if (!round->members[i].answered)
            send(digests, round->members[i].id, DIGEST_ASK, message, sizeof message);
}

void digests_lead(struct digests *digests, const struct membership *membership)
{
    struct round *round = &digests->round;
    uint64_t version = newest(digests);
    bool waits = round->version != 0 && !round->closed && round->patience < digests_round_patience;
    if (membership->count < 2 || version == 0)
        return;
    if (waits || (version == round->version && round->closed)) {
        round->patience++;
        return;
    }
    if (version == round->version) {
        round->patience = 0;
        ask_silent(digests);
        return;
    }
    *round = (struct round){.version = version,
                            .history = kept_at(digests, digests->count - 1)->history};
    for (unsigned i = 0; i < membership->count; i++) {
        struct member_answer *member = &round->members[round->members_count++];
        member->id = membership->members[i].id;
        member->votes = (membership->members[i].kinds & MEMBER_VOTER) != 0;
        round->voters_count += member->votes;
        if (member->id == digests->options.self) {
            member->answered = true;
            member->known = find(digests, version, round->history, &member->chain);
        }
    }
    ask_silent(digests);
}

/* ---- The interface ---- */

enum status digests_create(const struct digests_options *options, struct digests **digests)
{
    ASSERT(options->self != 0);
    struct digests *created = malloc(sizeof *created);
    *digests = created;
    if (created == NULL)
        return STATUS_NO_MEMORY;
    /* The ring is large, and nothing of it is read that was not noted. */
    memset(created, 0, offsetof(struct digests, kept));
    created->options = *options;
    if (options->series == 0)
        created->options.series = DIGEST_CHAIN;
    return STATUS_OK;
}

void digests_free(struct digests *digests)
{
    free(digests);
}

static void answer_asked(struct digests *digests)
{
    if (digests->asked_by == 0 || (digests->asked_version > newest(digests) &&
                                   digests->asked_version > digests->passed_version))
        return;
    uint64_t to = digests->asked_by;
    digests->asked_by = 0;
    answer(digests, to, digests->asked_version, digests->asked_history);
}

void digests_history(struct digests *digests, uint64_t history)
{
    digests->history = history;
}

void digests_note(struct digests *digests, uint64_t version, struct hash128 chain)
{
    ASSERT(version > newest(digests));
    if (digests->count == digests_kept_count)
        digests->first = (digests->first + 1) % digests_kept_count;
    else
        digests->count++;
    digests->kept[(digests->first + digests->count - 1) % digests_kept_count] =
        (struct kept){.version = version, .history = digests->history, .chain = chain};
    answer_asked(digests);
}

void digests_pass(struct digests *digests, uint64_t version)
{
    if (version > digests->passed_version)
        digests->passed_version = version;
    answer_asked(digests);
}

void digests_reset(struct digests *digests, uint64_t version, struct hash128 chain)
{
    digests->count = 0;
    digests->is_odd = false;
    digests->passed_version = 0;
    digests->round = (struct round){0};
    if (version != 0)
        digests_note(digests, version, chain);
}

void digests_received(struct digests *digests, uint64_t from, uint8_t kind, struct bytes message)
{
    static const size_t sizes[] = {
        [DIGEST_ASK] = ask_size, [DIGEST_ANSWER] = answer_size, [DIGEST_VERDICT] = verdict_size};
    unsigned first = digests->options.series;
    if (kind < first || kind > first + DIGEST_VERDICT || message.size != sizes[kind - first])
        return;
    kind = (uint8_t)(kind - first);
    uint64_t version = load_u64(message.data);
    if (kind == DIGEST_ASK) {
        take_ask(digests, from, version, load_u64(message.data + 8));
        return;
    }
    struct hash128 chain = {.low = load_u64(message.data + 8), .high = load_u64(message.data + 16)};
    if (kind == DIGEST_ANSWER)
        take_answer(digests, from, version, load_u64(message.data + 32), message.data[24] == 1,
                    chain);
    else
        take_verdict(digests, version, load_u64(message.data + 24), chain);
}

uint64_t digests_agreed_version(const struct digests *digests)
{
    return digests->agreed_version;
}

enum digest_verdict digests_verdict(const struct digests *digests, uint64_t member)
{
    const struct round *round = &digests->round;
    struct hash128 right;
    bool majority = find_majority(round, &right);
    for (unsigned i = 0; i < round->members_count; i++) {
        const struct member_answer *answer = &round->members[i];
        if (answer->id != member || !answer->answered)
            continue;
        if (!answer->known || !majority)
            return DIGEST_UNKNOWN;
        return equal(answer->chain, right) ? DIGEST_AGREES : DIGEST_DIFFERS;
    }
    return DIGEST_SILENT;
}

uint64_t digests_asked_version(const struct digests *digests)
{
    return digests->round.version;
}
