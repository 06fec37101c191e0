/* SPDX-License-Identifier: Apache-2.0 */
/* One member of three, whose peers may say anything: no message makes it assert, take back what is
 * committed, go back in its term, vote twice, or say what is not durable. The input is a sequence
 * of events; what the member asks for is done as its owner would, sooner or later. */
#include "proto/base/assert.h"
#include "proto/base/bytes.h"
#include "replication/raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { entries_max = 24, log_max = 4096 };

struct input {
    const uint8_t *data;
    size_t left;
};

struct member {
    struct raft *raft;
    uint64_t now_ns;
    struct raft_hard_state wanted;
    struct raft_hard_state durable;
    uint64_t durable_index; /* reported, of what is in the log */
    uint64_t commit_index;
};

static uint8_t byte(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->data++;
}

/* Mostly small, so that marks and terms meet. */
static uint64_t number(struct input *input)
{
    uint8_t first = byte(input);
    if (first < 250)
        return first % 12;
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | byte(input);
    return value;
}

static void check(struct member *member)
{
    struct raft *raft = member->raft;

    ASSERT(raft_commit_index(raft) >= member->commit_index);
    ASSERT(raft_commit_index(raft) <= raft_last(raft).index);
    member->commit_index = raft_commit_index(raft);
    if (member->durable_index > raft_last(raft).index)
        member->durable_index = raft_last(raft).index;
}

static void check_message(const struct member *member, const struct raft_message *message)
{
    if (message->type == RAFT_VOTE_REPLY && !message->reject)
        ASSERT(member->durable.term == message->term && member->durable.vote == message->to);
    if (message->type != RAFT_PREVOTE && message->type != RAFT_PREVOTE_REPLY)
        ASSERT(member->durable.term >= message->term);
    if (message->type == RAFT_APPEND_REPLY && !message->reject)
        ASSERT(message->mark.index <= member->durable_index ||
               message->mark.index <= raft_base(member->raft).index);
}

static void take(struct member *member)
{
    struct raft_hard_state state;
    struct raft_own_entry own;
    struct raft_message message;
    struct raft_append append;
    uint64_t number_taken;

    if (raft_take_hard_state(member->raft, &state)) {
        ASSERT(state.term > member->wanted.term ||
               (state.term == member->wanted.term && member->wanted.vote == 0));
        member->wanted = state;
    }
    while (raft_take_own_entry(member->raft, &own))
        ASSERT(own.mark.index <= raft_last(member->raft).index);
    while (raft_take_message(member->raft, &message))
        check_message(member, &message);
    for (uint64_t id = 2; id <= 4; id++)
        for (int i = 0; i < 4 && raft_take_append(member->raft, member->now_ns, id, &append); i++) {
            uint64_t count = append.last_index - append.message.mark.index;
            count = count < raft_append_entries_max ? count : raft_append_entries_max;
            raft_append_sent(member->raft, member->now_ns, id, &append, (unsigned)count,
                             (size_t)count * 100);
        }
    while (raft_take_snapshot(member->raft, &number_taken))
        ASSERT(number_taken != 1);
    while (raft_take_confirmed(member->raft, &number_taken))
        ASSERT(raft_role(member->raft) == RAFT_LEADER);
    check(member);
}

static struct raft_configuration draw_configuration(struct input *input)
{
    struct raft_configuration configuration = {.voters_count = byte(input) % 5,
                                               .outgoing_count = byte(input) % 4 % 3,
                                               .learners_count = byte(input) % 3};
    for (unsigned i = 0; i < configuration.voters_count; i++)
        configuration.voters[i] = byte(input) % 6;
    for (unsigned i = 0; i < configuration.outgoing_count; i++)
        configuration.outgoing[i] = byte(input) % 6;
    for (unsigned i = 0; i < configuration.learners_count; i++)
        configuration.learners[i] = byte(input) % 6;
    return configuration;
}

static void step(struct member *member, struct input *input)
{
    struct raft_entry entries[entries_max];
    struct raft_configuration configurations[2];
    struct raft_message message = {.type = byte(input) % (RAFT_TYPES_END + 1),
                                   .from = byte(input) % 6,
                                   .to = 1,
                                   .term = number(input),
                                   .commit = number(input),
                                   .round = number(input)};
    unsigned used = 0;
    unsigned accepted_from;

    uint8_t flags = byte(input);
    message.reject = flags & 1;
    message.transfer = flags & 2;
    message.mark.index = number(input);
    message.mark.term = number(input);
    /* What the member itself would have sent, at times, so that answers fit. */
    if (flags & 4)
        message.term = raft_term(member->raft) + (message.type == RAFT_PREVOTE_REPLY);
    if (flags & 8)
        message.mark = raft_last(member->raft);
    if (flags & 16 && message.type == RAFT_APPEND)
        message.entries_count = byte(input) % entries_max;
    uint64_t term = message.mark.term;
    for (unsigned i = 0; i < message.entries_count; i++) {
        uint8_t kind = byte(input);
        term = kind & 1 ? message.term : kind & 2 ? number(input) : term;
        entries[i] = (struct raft_entry){.term = term};
        if (kind & 4 && kind & 8 && used < 2) {
            configurations[used] = draw_configuration(input);
            entries[i].configuration = &configurations[used++];
        }
    }
    message.entries = entries;
    enum status status = raft_step(member->raft, member->now_ns, &message, &accepted_from);
    ASSERT(status == STATUS_OK || status == STATUS_NO_MEMORY);
    ASSERT(accepted_from <= message.entries_count);
    /* What is written anew is not durable yet. */
    if (accepted_from < message.entries_count &&
        member->durable_index > message.mark.index + accepted_from)
        member->durable_index = message.mark.index + accepted_from;
}

static void persist(struct member *member, struct input *input)
{
    struct raft_mark mark = raft_last(member->raft);
    uint64_t back = byte(input) % 4;

    if (mark.index < back || !raft_term_at(member->raft, mark.index - back, &mark.term))
        return;
    mark.index -= back;
    if (mark.index > member->durable_index)
        member->durable_index = mark.index;
    raft_persisted(member->raft, member->now_ns, mark);
}

static void request(struct member *member, struct input *input)
{
    struct raft_entry entries[3] = {0};
    struct raft_configuration configuration;
    uint64_t value;
    enum status status = STATUS_OK;

    switch (byte(input) % 8) {
    case 0:
        status = raft_propose(member->raft, member->now_ns, entries, 3, &value);
        break;
    case 1:
        configuration = draw_configuration(input);
        status = raft_change(member->raft, member->now_ns, &configuration);
        break;
    case 2:
        status = raft_transfer(member->raft, member->now_ns, byte(input) % 6);
        break;
    case 3:
        status = raft_confirm(member->raft, member->now_ns, &value);
        break;
    case 4:
        raft_hold(member->raft, byte(input) & 1);
        break;
    case 5:
        raft_unreachable(member->raft, byte(input) % 6);
        break;
    case 6:
        raft_applied(member->raft, raft_commit_index(member->raft));
        value = raft_commit_index(member->raft);
        raft_release(member->raft, value < member->durable_index ? value : member->durable_index);
        break;
    default:
        configuration = draw_configuration(input);
        struct raft_mark mark = {number(input), number(input)};
        status = raft_snapshot_installed(member->raft, mark, &configuration);
        if (status == STATUS_OK && mark.index > member->durable_index)
            member->durable_index = mark.index;
        break;
    }
    ASSERT(status == STATUS_OK || status == STATUS_NOT_LEADER || status == STATUS_BUSY ||
           status == STATUS_INVALID_ARGUMENT || status == STATUS_NO_MEMORY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.data = data, .left = size};
    struct member member = {.now_ns = 1000000000};
    struct raft_options options = {.self = 1,
                                   .now_ns = member.now_ns,
                                   .configuration = {.voters_count = 3, .voters = {1, 2, 3}},
                                   .seed = byte(&input),
                                   .inflight_count_max = 3};

    if (byte(&input) % 4 == 0)
        options.configuration = (struct raft_configuration){.voters_count = 1, .voters = {1}};
    ASSERT(raft_create(&options, &member.raft) == STATUS_OK);
    while (input.left > 0 && raft_last(member.raft).index < log_max) {
        uint8_t kind = byte(&input) % 16;
        if (kind < 8) {
            step(&member, &input);
        } else if (kind < 11) {
            uint64_t deadline_ns = raft_deadline_ns(member.raft);
            if (deadline_ns != UINT64_MAX && deadline_ns > member.now_ns)
                member.now_ns = deadline_ns;
            raft_tick(member.raft, member.now_ns);
        } else if (kind < 13) {
            persist(&member, &input);
        } else if (kind == 13) {
            member.durable = member.wanted;
            raft_hard_state_persisted(member.raft, member.now_ns, &member.wanted);
        } else {
            request(&member, &input);
        }
        take(&member);
    }
    raft_destroy(member.raft);
    return 0;
}
