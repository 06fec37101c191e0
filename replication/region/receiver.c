/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/receiver.h"

#include <stdlib.h>

#include "proto/base/planted.h"
#include "proto/message.h"
#include "replication/region/receiver_internal.h"

enum {
    pulls_default = 8,
    pull_size_default = 256 * 1024,
    wait_default_ms = 100,
    silence_default_ms = 3000,
    inflight_size_default = 8 * 1024 * 1024,
    busy_retry_ms = 5,
    tell_gap_ms = 5, /* a pull that only tells follows another one not sooner */
    backoff_least_ms = 50,
    backoff_most_ms = 5000,
    backoff_doublings_max = 7,
};

/* ---- Proposed and not applied ---- */

static struct proposed *proposed_at(const struct receiver *receiver, size_t position)
{
    return &receiver->inflight[(receiver->inflight_first + position) & (receiver_inflight_max - 1)];
}

static void proposed_forget(struct receiver *receiver)
{
    receiver->inflight_count = 0;
    receiver->inflight_size = 0;
}

static void proposed_applied(struct receiver *receiver, uint64_t version)
{
    while (receiver->inflight_count > 0 && proposed_at(receiver, 0)->version <= version) {
        receiver->inflight_size -= proposed_at(receiver, 0)->size;
        receiver->inflight_first++;
        receiver->inflight_count--;
    }
}

/* Whether one more may be proposed: one alone always may. */
static bool has_room(const struct receiver *receiver, size_t size)
{
    return receiver->inflight_count == 0 ||
           (receiver->inflight_count < receiver_inflight_max &&
            receiver->inflight_size + size <= receiver->options.inflight_size_max);
}

/* ---- Answers, in their order ---- */

static void slot_free(struct slot *slot)
{
    free(slot->held);
    *slot = (struct slot){0};
}

static void rest_close(struct receiver *receiver)
{
    free(receiver->raw);
    receiver->raw = NULL;
    receiver->rest = (struct bytes){0};
    receiver->rest_count = 0;
    receiver->busy = false;
}

static void malformed(struct receiver *receiver)
{
    receiver->malformed_count++;
    receiver_start_over(receiver);
}

static struct slot *slot_held(struct receiver *receiver, uint64_t sequence)
{
    for (unsigned i = 0; i < receiver_slots_max; i++) {
        struct slot *slot = &receiver->slots[i];
        if (slot->state == SLOT_HELD && slot->sequence == sequence)
            return slot;
    }
    return NULL;
}

/* Takes the next answer, if it has come. False: it has not, or the cursor started over. */
static bool answer_take(struct receiver *receiver)
{
    struct slot *slot = slot_held(receiver, receiver->next_sequence);
    if (slot == NULL)
        return false;
    const struct answer *answer = &slot->answer;
    enum status status = STATUS_OK;
    if (answer->count > 0 && answer->first_version != receiver->successor.version + 1)
        status = STATUS_MALFORMED;
    if (answer->count > 0 && status == STATUS_OK)
        status = batch_open(answer->block, answer->raw_size, &receiver->raw);
    if (status != STATUS_OK) {
        malformed(receiver);
        return false;
    }
    receiver->rest = bytes_of(receiver->raw, answer->raw_size);
    receiver->rest_count = answer->count;
    receiver->raw_size += answer->raw_size;
    if (answer->count == 0)
        receiver->attempts_count = 0;
    receiver->next_sequence++;
    receiver->pulls_count--;
    slot_free(slot);
    return true;
}

/* Proposes the first of the rest. False: not now, or the cursor started over. */
static bool propose_next(struct receiver *receiver)
{
    const struct receiver_options *options = &receiver->options;
    struct batch_successor successor = receiver->successor;
    struct bytes rest = receiver->rest;
    struct bytes bytes;
    struct entry entry;

    enum status status = batch_next(&rest, &bytes, &entry);
    if (status == STATUS_OK)
        status = batch_successor_take(&successor, &entry);
    if (status != STATUS_OK || receiver->rest_count == 0) {
        malformed(receiver);
        return false;
    }
    receiver->busy = true;
    if (!has_room(receiver, bytes.size))
        return false; /* receiver_applied() makes some */
    status = options->propose(options->context, bytes);
    if (status == STATUS_BUSY) {
        receiver->retry_ns = io_boot_ns(options->io) + busy_retry_ms * RECEIVER_NS_PER_MS;
        return false;
    }
    receiver->busy = false;
    if (status != STATUS_OK) {
        receiver_start_over(receiver);
        return false;
    }
    receiver->attempts_count = 0;
    *proposed_at(receiver, receiver->inflight_count++) =
        (struct proposed){.version = entry.version, .size = bytes.size};
    receiver->inflight_size += bytes.size;
    receiver->entries_count++;
    receiver->successor = successor;
    receiver->rest = rest;
    receiver->rest_count--;
    return true;
}

void receiver_pump(struct receiver *receiver)
{
    while (receiver->state == RECEIVER_PULLING) {
        if (receiver->rest.size > 0) {
            if (!propose_next(receiver))
                return;
            continue;
        }
        if (receiver->rest_count > 0) {
            malformed(receiver); /* fewer than it said */
            return;
        }
        rest_close(receiver);
        if (!answer_take(receiver))
            return;
    }
}

/* ---- Pulls ---- */

static struct slot *slot_place(struct receiver *receiver)
{
    for (unsigned i = 0; i < receiver_slots_max; i++) {
        if (receiver->slots[i].state == SLOT_FREE)
            return &receiver->slots[i];
    }
    return NULL;
}

/* The messages of what is passed on of other regions. */
struct downstream {
    Strait__RegionPull__Downstream messages[receiver_downstream_max];
    Strait__RegionPull__Downstream *pointers[receiver_downstream_max];
    Strait__RegionPosition acknowledged[receiver_downstream_max];
    uint8_t chains[receiver_downstream_max][region_chain_size];
};

static void fill_downstream(const struct receiver_standing *standing, uint64_t now,
                            struct downstream *downstream, Strait__RegionPull *pull)
{
    ASSERT(standing->downstream_count <= receiver_downstream_max);
    for (unsigned i = 0; i < standing->downstream_count; i++) {
        const struct receiver_downstream *from = &standing->downstream[i];
        Strait__RegionPull__Downstream *message = &downstream->messages[i];
        strait__region_pull__downstream__init(message);
        region_position_to_message(&from->acknowledged, downstream->chains[i],
                                   &downstream->acknowledged[i]);
        message->region_id = from->region;
        message->acknowledged = &downstream->acknowledged[i];
        message->oldest_snapshot = from->oldest_snapshot;
        message->ready = from->ready;
        message->cluster_version_max = from->cluster_version_max;
        message->heard_ago_ms =
            now > from->heard_ns ? (now - from->heard_ns) / RECEIVER_NS_PER_MS : 0;
        downstream->pointers[i] = message;
    }
    pull->downstream = downstream->pointers;
    pull->n_downstream = standing->downstream_count;
}

/* Sends a pull: the next of the cursor, or, with sequence 0, one that only tells. False: not now.
 */
static bool pull_send(struct receiver *receiver, uint64_t sequence)
{
    const struct receiver_options *options = &receiver->options;
    struct receiver_standing standing = {0};
    uint8_t chains[2][region_chain_size];
    Strait__RegionPosition from;
    Strait__RegionPosition acknowledged;
    Strait__RegionPull pull = STRAIT__REGION_PULL__INIT;
    uint64_t now = io_boot_ns(options->io);
    struct slot *slot = slot_place(receiver);
    struct downstream downstream;

    if (slot == NULL)
        return false;
    options->standing(options->context, &standing);
    if (PLANTED(region_told_early)) {
        standing.applied.version += receiver->inflight_count;
        standing.applied.chain_known = receiver->inflight_count == 0;
    }
    region_position_to_message(&standing.applied, chains[0], &acknowledged);
    pull.region_id = options->region;
    pull.cursor = receiver->cursor;
    pull.sequence = sequence;
    pull.acknowledged = &acknowledged;
    pull.oldest_snapshot = standing.oldest_snapshot;
    pull.ready = standing.ready;
    pull.cluster_version_max = standing.cluster_version_max;
    pull.sent_ns = now;
    pull.lease_holder = standing.lease_holder;
    pull.lease_asked_ns = standing.lease_asked_ns;
    fill_downstream(&standing, now, &downstream, &pull);
    if (sequence != 0) {
        pull.size_max = receiver->asking ? 1 : options->pull_size;
        pull.wait_ms = receiver->asking ? 0 : options->wait_ms;
    }
    if (sequence == 1) {
        region_position_to_message(&receiver->first, chains[1], &from);
        pull.from = &from;
        pull.promotion = field_of_bytes(standing.promotion);
    }
    enum status status = link_send(options->link, FRAME_REGION_PULL, &pull.base, 0, slot);
    if (status == STATUS_BUSY)
        return false;
    if (status != STATUS_OK) {
        receiver_start_over(receiver);
        return false;
    }
    *slot = (struct slot){.state = SLOT_FLYING, .cursor = receiver->cursor, .sequence = sequence};
    receiver->told_version = standing.applied.version;
    receiver->told_ns = now;
    receiver->has_downstream_news = false;
    return true;
}

static void pulls_send(struct receiver *receiver)
{
    while (receiver->state == RECEIVER_PULLING && !receiver->busy &&
           receiver->pulls_count < (receiver->asking ? 1 : receiver->options.pulls_max)) {
        if (!pull_send(receiver, receiver->asked_sequence + 1))
            return;
        receiver->asked_sequence++;
        receiver->pulls_count++;
    }
}

static bool has_news(const struct receiver *receiver)
{
    return receiver->applied.version != receiver->told_version || receiver->has_downstream_news;
}

/* What was applied since, here or downstream, is acknowledged, where no pull of the cursor is to go
 * out. */
static void tell(struct receiver *receiver)
{
    uint64_t now = io_boot_ns(receiver->options.io);
    if (receiver->state != RECEIVER_PULLING || !receiver->applied_known || receiver->asking ||
        !has_news(receiver) || receiver->tells_count == receiver_tells_max ||
        now < receiver->told_ns + tell_gap_ms * RECEIVER_NS_PER_MS)
        return;
    if (pull_send(receiver, 0))
        receiver->tells_count++;
}

/* ---- Cursors ---- */

static void cursor_forget(struct receiver *receiver)
{
    rest_close(receiver);
    for (unsigned i = 0; i < receiver_slots_max; i++) {
        if (receiver->slots[i].state == SLOT_HELD)
            slot_free(&receiver->slots[i]);
    }
    proposed_forget(receiver);
    receiver->cursor = 0;
    receiver->pulls_count = 0;
    receiver->tells_count = 0;
}

void receiver_start_over(struct receiver *receiver)
{
    unsigned doublings = receiver->attempts_count < backoff_doublings_max ? receiver->attempts_count
                                                                          : backoff_doublings_max;
    uint64_t backoff_ms = (uint64_t)backoff_least_ms << doublings;

    if (receiver->state != RECEIVER_PULLING)
        return;
    cursor_forget(receiver);
    if (backoff_ms > backoff_most_ms)
        backoff_ms = backoff_most_ms;
    receiver->state = RECEIVER_WAITING;
    receiver->attempts_count++;
    receiver->restarts_count++;
    receiver->resume_ns =
        io_boot_ns(receiver->options.io) +
        generator_between(&receiver->generator, backoff_ms / 2, backoff_ms) * RECEIVER_NS_PER_MS;
}

static void cursor_begin(struct receiver *receiver)
{
    const struct receiver_options *options = &receiver->options;
    struct receiver_standing standing = {0};

    options->standing(options->context, &standing);
    do {
        receiver->cursor = generator_draw(&receiver->generator);
    } while (receiver->cursor == 0);
    receiver->state = RECEIVER_PULLING;
    receiver->asked_sequence = 0;
    receiver->next_sequence = 1;
    receiver->answered_ns = io_boot_ns(options->io);
    if (PLANTED(region_gap_taken) && standing.applied.version > 0 && receiver->restarts_count > 0) {
        standing.applied.version++;
        standing.applied.chain_known = false;
    }
    receiver->asking = standing.asks;
    receiver->first = standing.asks ? standing.ask : standing.applied;
    receiver->applied = standing.applied;
    receiver->applied_known = true;
    batch_successor_init(&receiver->successor, &standing.applied);
}

/* ---- Time ---- */

static bool is_flying(const struct receiver *receiver)
{
    for (unsigned i = 0; i < receiver_slots_max; i++) {
        const struct slot *slot = &receiver->slots[i];
        if (slot->state == SLOT_FLYING && slot->cursor == receiver->cursor)
            return true;
    }
    return false;
}

/* The connection stands and nobody answers on it: whoever is there cannot serve us. */
static void look_for_silence(struct receiver *receiver)
{
    uint64_t silence_ns = receiver->options.silence_ms * RECEIVER_NS_PER_MS;
    uint64_t now = io_boot_ns(receiver->options.io);

    if (receiver->state != RECEIVER_PULLING || now < receiver->answered_ns + silence_ns)
        return;
    if (!is_flying(receiver)) {
        receiver->answered_ns = now;
        return;
    }
    receiver_start_over(receiver);
    link_leave(receiver->options.link, "it does not answer");
}

static void timer_start(struct receiver *receiver)
{
    uint64_t silence_ns = receiver->options.silence_ms * RECEIVER_NS_PER_MS;
    uint64_t deadline = UINT64_MAX;

    if (receiver->state == RECEIVER_WAITING && receiver->connected)
        deadline = receiver->resume_ns;
    if (receiver->state == RECEIVER_PULLING) {
        deadline = receiver->answered_ns + silence_ns;
        if (receiver->busy && receiver->retry_ns < deadline &&
            receiver->retry_ns > io_boot_ns(receiver->options.io))
            deadline = receiver->retry_ns;
        uint64_t tell_ns = receiver->told_ns + tell_gap_ms * RECEIVER_NS_PER_MS;
        if (has_news(receiver) && receiver->tells_count < receiver_tells_max && tell_ns < deadline)
            deadline = tell_ns;
    }
    if (deadline == UINT64_MAX)
        io_timer_stop(receiver->options.io, &receiver->timer);
    else
        io_timer_start(receiver->options.io, &receiver->timer, deadline);
}

void receiver_turn(struct receiver *receiver)
{
    if (receiver->state == RECEIVER_WAITING && receiver->connected &&
        io_boot_ns(receiver->options.io) >= receiver->resume_ns)
        cursor_begin(receiver);
    look_for_silence(receiver);
    receiver_pump(receiver);
    pulls_send(receiver);
    tell(receiver);
    timer_start(receiver);
}

static void on_timer(struct io_timer *timer)
{
    receiver_turn(timer->context);
}

/* ---- What the link and the owner tell ---- */

static void on_connected(void *context, const char *endpoint)
{
    struct receiver *receiver = context;
    size_t size = strlen(endpoint);

    receiver->connected = true;
    memset(receiver->endpoint, 0, sizeof receiver->endpoint);
    if (size < sizeof receiver->endpoint)
        memcpy(receiver->endpoint, endpoint, size);
    receiver_turn(receiver);
}

static void on_disconnected(void *context, const char *reason)
{
    struct receiver *receiver = context;
    (void)reason; /* the link's own to tell */
    receiver->connected = false;
    receiver_start_over(receiver);
    timer_start(receiver);
}

static void on_replied(void *context, void *request, enum status status,
                       const ProtobufCMessage *message)
{
    receiver_on_replied(context, request, status, message);
    receiver_turn(context);
}

void receiver_start(struct receiver *receiver)
{
    if (receiver->state != RECEIVER_RESTING)
        return;
    receiver->state = RECEIVER_WAITING;
    receiver->resume_ns = io_boot_ns(receiver->options.io);
    receiver->started_ns = receiver->resume_ns;
    receiver->attempts_count = 0;
}

void receiver_stop(struct receiver *receiver)
{
    cursor_forget(receiver);
    receiver->state = RECEIVER_RESTING;
    receiver->samples_count = 0;
    io_timer_stop(receiver->options.io, &receiver->timer);
}

void receiver_forget(struct receiver *receiver)
{
    receiver_stop(receiver);
    receiver->applied_known = false;
    receiver->source_known = false;
    receiver->fresh = false;
}

void receiver_applied(struct receiver *receiver, const struct region_position *position)
{
    /* A rewind: what the source said of another history does not count in this one. */
    if (receiver->applied_known && region_position_compare(position, &receiver->applied) < 0) {
        receiver->fresh = false;
        receiver->samples_count = 0;
        receiver_start_over(receiver);
    }
    receiver->applied = *position;
    receiver->applied_known = true;
    proposed_applied(receiver, position->version);
    receiver_samples_reached(receiver);
}

void receiver_downstream_heard(struct receiver *receiver)
{
    receiver->has_downstream_news = true;
}

void receiver_discarded(struct receiver *receiver, struct epoch epoch, uint64_t version)
{
    struct receiver_standing standing = {0};

    if (receiver->state != RECEIVER_PULLING)
        return;
    receiver->options.standing(receiver->options.context, &standing);
    if (version > standing.applied.version || epoch_compare(epoch, standing.applied.epoch) > 0)
        receiver_start_over(receiver);
}

/* ---- What it knows ---- */

struct receiver_facts receiver_facts(const struct receiver *receiver)
{
    struct receiver_facts facts = {
        .state = receiver->state,
        .connected = receiver->connected,
        .source_known = receiver->source_known &&
                        !(receiver->applied_known &&
                          epoch_compare(receiver->source.epoch, receiver->applied.epoch) < 0),
        .source = receiver->source,
        .answered_ns = receiver->source_ns,
        .primary_ns = receiver->primary_ns,
        .silent_ns =
            receiver->source_ns > receiver->started_ns ? receiver->source_ns : receiver->started_ns,
        .fresh = receiver->fresh,
        .fresh_ns = receiver->fresh_ns,
        .inflight_size = receiver->inflight_size,
        .pulls_count = receiver->pulls_count,
        .entries_count = receiver->entries_count,
        .raw_size = receiver->raw_size,
        .received_size = receiver->received_size,
        .restarts_count = receiver->restarts_count,
        .malformed_count = receiver->malformed_count,
        .last_refusal = receiver->last_refusal,
    };
    if (receiver->connected)
        memcpy(facts.endpoint, receiver->endpoint, sizeof facts.endpoint);
    if (facts.source_known && receiver->source.version > receiver->applied.version)
        facts.lag_versions = receiver->source.version - receiver->applied.version;
    return facts;
}

uint64_t receiver_age_ns(const struct receiver *receiver)
{
    if (!receiver->fresh)
        return UINT64_MAX;
    return io_boot_ns(receiver->options.io) - receiver->fresh_ns;
}

/* ---- Life ---- */

static void take_options(struct receiver *receiver, const struct receiver_options *options)
{
    struct receiver_options *own = &receiver->options;
    *own = *options;
    if (own->pulls_max == 0)
        own->pulls_max = pulls_default;
    if (own->pulls_max > receiver_pulls_max)
        own->pulls_max = receiver_pulls_max;
    if (own->pull_size == 0)
        own->pull_size = pull_size_default;
    if (own->pull_size > batch_size_asked_max)
        own->pull_size = batch_size_asked_max;
    if (own->wait_ms == 0)
        own->wait_ms = wait_default_ms;
    if (own->silence_ms == 0)
        own->silence_ms = silence_default_ms;
    if (own->inflight_size_max == 0)
        own->inflight_size_max = inflight_size_default;
}

enum status receiver_create(const struct receiver_options *options, struct receiver **receiver_out)
{
    struct receiver *receiver = calloc(1, sizeof *receiver);

    *receiver_out = NULL;
    if (receiver == NULL)
        return STATUS_NO_MEMORY;
    receiver->inflight = malloc(receiver_inflight_max * sizeof *receiver->inflight);
    if (receiver->inflight == NULL) {
        free(receiver);
        return STATUS_NO_MEMORY;
    }
    take_options(receiver, options);
    generator_init(&receiver->generator, options->seed);
    receiver->timer = (struct io_timer){.fired = on_timer, .context = receiver};
    const struct link_user user = {.connected = on_connected,
                                   .disconnected = on_disconnected,
                                   .replied = on_replied,
                                   .context = receiver};
    link_attach(options->link, &user);
    *receiver_out = receiver;
    return STATUS_OK;
}

void receiver_free(struct receiver *receiver)
{
    if (receiver == NULL)
        return;
    link_attach(receiver->options.link, NULL);
    receiver_stop(receiver);
    free(receiver->inflight);
    free(receiver);
}
