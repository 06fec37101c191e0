/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/replication_raft/cluster.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

static void trace(const struct cluster *cluster, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void trace(const struct cluster *cluster, const char *format, ...)
{
    va_list arguments;

    if (cluster->trace == NULL)
        return;
    va_start(arguments, format);
    vfprintf(cluster->trace, format, arguments);
    va_end(arguments);
    fputc('\n', cluster->trace);
}

#define CHECK(cluster, condition, ...)                                                             \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            if ((cluster)->trace != NULL)                                                          \
                fflush((cluster)->trace);                                                          \
            fprintf(stderr, "seed %llu: ", (unsigned long long)(cluster)->options.seed);           \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            ck_abort_msg("%s", #condition);                                                        \
        }                                                                                          \
    } while (0)

/* ---- Logs ---- */

static struct raft_mark log_last(const struct cluster_log *log)
{
    if (log->count == 0)
        return log->base;
    return (struct raft_mark){log->base.index + log->count, log->entries[log->count - 1].term};
}

static uint64_t log_chain_at(const struct cluster_log *log, uint64_t index)
{
    return index == log->base.index ? log->base_chain
                                    : log->entries[index - log->base.index - 1].chain;
}

static const struct cluster_entry *log_at(const struct cluster_log *log, uint64_t index)
{
    if (index <= log->base.index || index > log->base.index + log->count)
        return NULL;
    return &log->entries[index - log->base.index - 1];
}

static bool log_has(const struct cluster_log *log, struct raft_mark mark)
{
    if (mark.index <= log->base.index)
        return true;
    const struct cluster_entry *entry = log_at(log, mark.index);
    return entry != NULL && entry->term == mark.term;
}

static uint64_t chain(uint64_t before, const struct cluster_entry *entry)
{
    uint64_t mixed = before ^ (entry->term * 0x9e3779b97f4a7c15) ^
                     (entry->value + (entry->configuration != NULL)) * 0xbf58476d1ce4e5b9;
    mixed ^= mixed >> 29;
    mixed *= 0x94d049bb133111eb;
    return mixed ^ (mixed >> 32);
}

/* Puts the entry at `index`, dropping what lies there and above. */
static void log_put(struct cluster_log *log, uint64_t index, struct cluster_entry entry)
{
    ck_assert_uint_gt(index, log->base.index);
    ck_assert_uint_le(index, log->base.index + log->count + 1);
    log->count = index - log->base.index;
    ck_assert_uint_le(log->count, cluster_entries_max);
    entry.chain = chain(log_chain_at(log, index - 1), &entry);
    log->entries[log->count - 1] = entry;
}

static void log_cut(struct cluster_log *log, uint64_t index)
{
    size_t gone = index - log->base.index;
    log->base_chain = log_chain_at(log, index);
    log->base.term = gone == 0 ? log->base.term : log->entries[gone - 1].term;
    log->base.index = index;
    for (size_t i = 0; i < gone; i++)
        if (log->entries[i].configuration != NULL)
            log->base_configuration = *log->entries[i].configuration;
    log->count -= gone;
    memmove(log->entries, log->entries + gone, log->count * sizeof(log->entries[0]));
}

/* ---- What always holds ---- */

static void check_committed(struct cluster *cluster, struct cluster_node *node)
{
    uint64_t commit = raft_commit_index(node->raft);

    CHECK(cluster, commit <= log_last(&node->log).index, "%llu commits what it lacks",
          (unsigned long long)node->id);
    for (uint64_t index = node->applied_index + 1; index <= commit; index++) {
        const struct cluster_entry *entry = log_at(&node->log, index);
        ck_assert_ptr_nonnull(entry);
        ck_assert_uint_le(index, cluster_entries_max);
        if (index > cluster->committed_count) {
            ck_assert_uint_eq(index, cluster->committed_count + 1);
            cluster->committed[index] = *entry;
            cluster->committed_count = index;
        }
        CHECK(cluster, cluster->committed[index].chain == entry->chain,
              "%llu commits another entry at %llu", (unsigned long long)node->id,
              (unsigned long long)index);
        if (entry->configuration != NULL && cluster->trace != NULL) {
            fprintf(cluster->trace, "%d: applies %llu/%llu ", (int)node->id,
                    (unsigned long long)index, (unsigned long long)entry->term);
            cluster_print_configuration(cluster->trace, entry->configuration);
            fputc('\n', cluster->trace);
        } else {
            trace(cluster, "%d: applies %llu/%llu %s%.0llu", (int)node->id,
                  (unsigned long long)index, (unsigned long long)entry->term,
                  entry->value == 0 ? "no-op" : "", (unsigned long long)entry->value);
        }
        node->applied_index = index;
        raft_applied(node->raft, index);
    }
}

static void check_leader(struct cluster *cluster, struct cluster_node *node)
{
    uint64_t term = raft_term(node->raft);

    ck_assert_uint_lt(term, cluster_terms_max);
    if (raft_role(node->raft) != RAFT_LEADER || cluster->leader_of_term[term] == node->id)
        return;
    CHECK(cluster, cluster->leader_of_term[term] == 0, "two leaders in term %llu",
          (unsigned long long)term);
    cluster->leader_of_term[term] = node->id;
    trace(cluster, "%d: leads term %llu", (int)node->id, (unsigned long long)term);
    struct raft_mark last = log_last(&node->log);
    CHECK(cluster, last.index >= cluster->committed_count, "a leader lacks what is committed");
    for (uint64_t index = node->log.base.index + 1; index <= cluster->committed_count; index++)
        CHECK(cluster, log_at(&node->log, index)->chain == cluster->committed[index].chain,
              "a leader has another entry at %llu", (unsigned long long)index);
}

static uint64_t commit_max(const struct cluster *cluster)
{
    uint64_t highest = 0;
    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        const struct cluster_node *node = &cluster->nodes[id];
        if (node->raft != NULL && raft_commit_index(node->raft) > highest)
            highest = raft_commit_index(node->raft);
    }
    return highest > cluster->committed_count ? highest : cluster->committed_count;
}

static void check_leases(struct cluster *cluster)
{
    const struct cluster_node *holder = NULL;

    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        struct cluster_node *node = &cluster->nodes[id];
        if (node->raft == NULL || !raft_lease_holds(node->raft, cluster_time_ns(cluster, node)))
            continue;
        CHECK(cluster, holder == NULL, "%u and %u hold leases", (unsigned)holder->id, id);
        CHECK(cluster, raft_commit_index(node->raft) >= commit_max(cluster),
              "%u holds a lease and does not know what is committed", id);
        holder = node;
        cluster->lease_count++;
    }
}

/* Two logs with the same index and term are the same up to there. */
static void check_matching(struct cluster *cluster, const struct cluster_node *node)
{
    struct raft_mark last = log_last(&node->log);

    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        const struct cluster_log *other = &cluster->nodes[id].log;
        uint64_t index = last.index < log_last(other).index ? last.index : log_last(other).index;
        uint64_t floor =
            node->log.base.index > other->base.index ? node->log.base.index : other->base.index;
        for (; index > floor; index--)
            if (log_at(&node->log, index)->term == log_at(other, index)->term) {
                CHECK(cluster, log_chain_at(&node->log, index) == log_chain_at(other, index),
                      "the logs of %u and %u differ below %llu", (unsigned)node->id, id,
                      (unsigned long long)index);
                break;
            }
    }
}

static void check_message(struct cluster *cluster, const struct cluster_node *node,
                          const struct raft_message *message)
{
    const struct raft_hard_state *state = &node->disk_state;

    if (message->type == RAFT_PREVOTE || message->type == RAFT_PREVOTE_REPLY)
        return;
    CHECK(cluster, state->term >= message->term, "%d speaks of a term that is not durable",
          (int)node->id);
    if (message->type == RAFT_VOTE_REPLY && !message->reject)
        CHECK(cluster, state->term == message->term && state->vote == message->to,
              "%d tells of a vote that is not durable", (int)node->id);
    if (message->type == RAFT_VOTE)
        CHECK(cluster, state->term == message->term && state->vote == node->id,
              "%d stands without its own vote", (int)node->id);
    if (message->type == RAFT_APPEND_REPLY && !message->reject)
        CHECK(cluster, log_has(&node->disk, message->mark), "%d holds %llu/%llu, not on its disk",
              (int)node->id, (unsigned long long)message->mark.index,
              (unsigned long long)message->mark.term);
}

/* ---- Printing ---- */

const char *cluster_message_name(enum raft_message_type type)
{
    static const char *const names[] = {[RAFT_PREVOTE] = "prevote",
                                        [RAFT_PREVOTE_REPLY] = "prevote-reply",
                                        [RAFT_VOTE] = "vote",
                                        [RAFT_VOTE_REPLY] = "vote-reply",
                                        [RAFT_APPEND] = "append",
                                        [RAFT_APPEND_REPLY] = "append-reply",
                                        [RAFT_HEARTBEAT] = "heartbeat",
                                        [RAFT_HEARTBEAT_REPLY] = "heartbeat-reply",
                                        [RAFT_TIMEOUT_NOW] = "timeout-now"};
    return names[type];
}

void cluster_print_configuration(FILE *file, const struct raft_configuration *configuration)
{
    const struct raft_configuration *c = configuration;
    fprintf(file, "voters");
    for (unsigned i = 0; i < c->voters_count; i++)
        fprintf(file, " %llu", (unsigned long long)c->voters[i]);
    for (unsigned i = 0; i < c->outgoing_count; i++)
        fprintf(file, "%s %llu", i == 0 ? " outgoing" : "", (unsigned long long)c->outgoing[i]);
    for (unsigned i = 0; i < c->learners_count; i++)
        fprintf(file, "%s %llu", i == 0 ? " learners" : "", (unsigned long long)c->learners[i]);
}

static void trace_message(const struct cluster *cluster, const char *what,
                          const struct cluster_packet *packet)
{
    const struct raft_message *m = &packet->message;
    FILE *file = cluster->trace;

    if (file == NULL)
        return;
    fprintf(file, "%s%llu->%llu %s term %llu", what, (unsigned long long)m->from,
            (unsigned long long)m->to, cluster_message_name(m->type), (unsigned long long)m->term);
    bool marked = m->type != RAFT_HEARTBEAT && m->type != RAFT_TIMEOUT_NOW &&
                  m->type != RAFT_VOTE_REPLY && m->type != RAFT_PREVOTE_REPLY;
    if (marked)
        fprintf(file, " at %llu/%llu", (unsigned long long)m->mark.index,
                (unsigned long long)m->mark.term);
    if (m->type == RAFT_APPEND || m->type == RAFT_HEARTBEAT)
        fprintf(file, " commit %llu", (unsigned long long)m->commit);
    if (m->entries_count > 0) {
        fprintf(file, " entries");
        for (unsigned i = 0; i < m->entries_count; i++)
            fprintf(file, " %llu/%llu%s", (unsigned long long)(m->mark.index + 1 + i),
                    (unsigned long long)packet->entries[i].term,
                    packet->entries[i].configuration != NULL ? "c" : "");
    }
    fprintf(file, "%s%s\n", m->reject ? " NO" : "", m->transfer ? " transfer" : "");
}

/* ---- One node ---- */

uint64_t cluster_time_ns(const struct cluster *cluster, const struct cluster_node *node)
{
    int64_t drift = (int64_t)(cluster->now_ns / 1000) * node->rate_ppm / 1000;
    return 1000000000 + cluster->now_ns + (uint64_t)drift;
}

static void queue_write(struct cluster_node *node, uint64_t index, struct cluster_entry entry)
{
    log_put(&node->log, index, entry);
    ck_assert_uint_lt(node->writes_count, cluster_writes_max);
    node->writes[node->writes_count++] =
        (struct cluster_write){.index = index, .entry = *log_at(&node->log, index)};
}

static void send_packet(struct cluster *cluster, const struct raft_message *message,
                        const struct cluster_entry *entries)
{
    ck_assert_uint_lt(cluster->packets_count, cluster_packets_max);
    struct cluster_packet *packet = &cluster->packets[cluster->packets_count++];
    packet->message = *message;
    packet->entries = NULL;
    if (message->entries_count > 0) {
        packet->entries = calloc(message->entries_count, sizeof(*entries));
        ck_assert_ptr_nonnull(packet->entries);
        memcpy(packet->entries, entries, message->entries_count * sizeof(*entries));
    }
    trace_message(cluster, "  ", packet);
}

static void send_appends(struct cluster *cluster, struct cluster_node *node, uint64_t to)
{
    struct raft_append append;
    uint64_t now_ns = cluster_time_ns(cluster, node);

    while (raft_take_append(node->raft, now_ns, to, &append)) {
        uint64_t count = append.last_index - append.message.mark.index;
        uint64_t fits = append.size_max < 100 ? 1 : append.size_max / 100;
        count = count < fits ? count : fits;
        append.message.entries_count = (unsigned)count;
        send_packet(cluster, &append.message,
                    count == 0 ? NULL : log_at(&node->log, append.message.mark.index + 1));
        raft_append_sent(node->raft, now_ns, to, &append, (unsigned)count, count * 100);
    }
}

static void take_confirmed(struct cluster *cluster, struct cluster_node *node)
{
    uint64_t round;

    if (node->confirm_term != raft_term(node->raft) || raft_role(node->raft) != RAFT_LEADER) {
        if (node->confirms_count > 0)
            trace(cluster, "%d: %zu reads are refused", (int)node->id, node->confirms_count);
        node->confirms_count = 0;
        node->confirm_term = raft_term(node->raft);
    }
    while (raft_take_confirmed(node->raft, &round)) {
        size_t kept = 0;
        for (size_t i = 0; i < node->confirms_count; i++) {
            if (node->confirms[i].round > round) {
                node->confirms[kept++] = node->confirms[i];
                continue;
            }
            CHECK(cluster, node->confirms[i].good, "%d confirmed a stale read", (int)node->id);
            trace(cluster, "%d: a read is confirmed", (int)node->id);
            cluster->confirmed_count++;
        }
        node->confirms_count = kept;
    }
}

static const struct raft_configuration *keep_configuration(struct cluster *cluster,
                                                           const struct raft_configuration *copied)
{
    ck_assert_uint_lt(cluster->configurations_count, cluster_entries_max);
    struct raft_configuration *kept = &cluster->configurations[cluster->configurations_count++];
    *kept = *copied;
    return kept;
}

void cluster_turn(struct cluster *cluster, struct cluster_node *node)
{
    struct raft_own_entry own;
    struct raft_message message;
    struct raft_hard_state state;

    check_leader(cluster, node);
    if (raft_take_hard_state(node->raft, &state)) {
        trace(cluster, "%d: term %llu vote %llu", (int)node->id, (unsigned long long)state.term,
              (unsigned long long)state.vote);
        node->state = state;
        node->state_wanted = true;
    }
    while (raft_take_own_entry(node->raft, &own)) {
        struct cluster_entry entry = {.term = own.mark.term};
        if (own.is_configuration)
            entry.configuration = keep_configuration(cluster, &own.configuration);
        ck_assert_uint_eq(own.mark.index, log_last(&node->log).index + 1);
        queue_write(node, own.mark.index, entry);
    }
    while (raft_take_message(node->raft, &message)) {
        check_message(cluster, node, &message);
        send_packet(cluster, &message, NULL);
    }
    for (unsigned id = 1; id <= cluster->nodes_count; id++)
        send_appends(cluster, node, id);
    uint64_t member;
    while (raft_take_snapshot(node->raft, &member)) {
        trace(cluster, "%d: %d needs a snapshot", (int)node->id, (int)member);
        if (node->snapshot_for != 0)
            raft_snapshot_sent(node->raft, cluster_time_ns(cluster, node), node->snapshot_for,
                               (struct raft_mark){0}, false);
        node->snapshot_for = member;
    }
    check_committed(cluster, node);
    take_confirmed(cluster, node);
    struct raft_mark last = raft_last(node->raft);
    ck_assert_uint_eq(last.index, log_last(&node->log).index);
    ck_assert_uint_eq(last.term, log_last(&node->log).term);
    check_matching(cluster, node);
    check_leases(cluster);
}

void cluster_tick(struct cluster *cluster, struct cluster_node *node)
{
    raft_tick(node->raft, cluster_time_ns(cluster, node));
    cluster_turn(cluster, node);
}

void cluster_write_state(struct cluster *cluster, struct cluster_node *node)
{
    if (!node->state_wanted)
        return;
    node->state_wanted = false;
    uint64_t *vote = &cluster->vote_of_term[node->id][node->state.term];
    CHECK(cluster, *vote == 0 || *vote == node->state.vote, "%d votes twice", (int)node->id);
    CHECK(cluster, node->state.term >= node->disk_state.term, "%d goes back", (int)node->id);
    *vote = node->state.vote;
    node->disk_state = node->state;
    raft_hard_state_persisted(node->raft, cluster_time_ns(cluster, node), &node->disk_state);
    cluster_turn(cluster, node);
}

void cluster_write(struct cluster *cluster, struct cluster_node *node, size_t count)
{
    (void)cluster;
    count = count < node->writes_count ? count : node->writes_count;
    for (size_t i = 0; i < count; i++) {
        const struct cluster_write *write = &node->writes[i];
        if (write->index <= node->disk.base.index)
            continue; /* a snapshot took its place */
        log_put(&node->disk, write->index, write->entry);
        ck_assert_uint_lt(node->notices_count, cluster_writes_max);
        node->notices[node->notices_count++] = (struct raft_mark){write->index, write->entry.term};
    }
    node->writes_count -= count;
    memmove(node->writes, node->writes + count, node->writes_count * sizeof(node->writes[0]));
}

/* Reports are joined, as those of a batch are. */
void cluster_report(struct cluster *cluster, struct cluster_node *node, size_t count)
{
    count = count < node->notices_count ? count : node->notices_count;
    if (count == 0)
        return;
    struct raft_mark mark = node->notices[count - 1];
    node->notices_count -= count;
    memmove(node->notices, node->notices + count, node->notices_count * sizeof(node->notices[0]));
    trace(cluster, "%d: written up to %llu/%llu", (int)node->id, (unsigned long long)mark.index,
          (unsigned long long)mark.term);
    raft_persisted(node->raft, cluster_time_ns(cluster, node), mark);
    cluster_turn(cluster, node);
}

/* ---- Messages ---- */

struct cluster_packet cluster_take(struct cluster *cluster, size_t place)
{
    ck_assert_uint_lt(place, cluster->packets_count);
    struct cluster_packet packet = cluster->packets[place];
    cluster->packets_count--;
    memmove(cluster->packets + place, cluster->packets + place + 1,
            (cluster->packets_count - place) * sizeof(packet));
    return packet;
}

void cluster_drop(struct cluster *cluster, size_t place)
{
    struct cluster_packet packet = cluster_take(cluster, place);
    trace_message(cluster, "lost ", &packet);
    free(packet.entries);
}

void cluster_duplicate(struct cluster *cluster, size_t place)
{
    FILE *file = cluster->trace;
    cluster->trace = NULL;
    send_packet(cluster, &cluster->packets[place].message, cluster->packets[place].entries);
    cluster->trace = file;
}

void cluster_deliver(struct cluster *cluster, size_t place)
{
    struct cluster_packet packet = cluster_take(cluster, place);
    struct cluster_node *node = &cluster->nodes[packet.message.to];
    struct raft_entry entries[raft_append_entries_max];
    unsigned accepted_from;

    if (node->raft == NULL || cluster->cut[packet.message.from][packet.message.to]) {
        trace_message(cluster, "lost ", &packet);
        free(packet.entries);
        return;
    }
    trace_message(cluster, "got ", &packet);
    for (unsigned i = 0; i < packet.message.entries_count; i++)
        entries[i] = (struct raft_entry){.term = packet.entries[i].term,
                                         .configuration = packet.entries[i].configuration};
    packet.message.entries = entries;
    enum status status =
        raft_step(node->raft, cluster_time_ns(cluster, node), &packet.message, &accepted_from);
    ck_assert_int_eq(status, STATUS_OK);
    for (unsigned i = accepted_from; i < packet.message.entries_count; i++) {
        uint64_t index = packet.message.mark.index + 1 + i;
        if (i == accepted_from && index <= log_last(&node->log).index)
            trace(cluster, "%d: supersedes from %llu", (int)node->id, (unsigned long long)index);
        queue_write(node, index, packet.entries[i]);
    }
    free(packet.entries);
    cluster_turn(cluster, node);
}

/* ---- Crashes ---- */

void cluster_crash(struct cluster *cluster, struct cluster_node *node)
{
    (void)cluster;
    raft_destroy(node->raft);
    node->raft = NULL;
    node->state_wanted = false;
    node->writes_count = 0;
    node->notices_count = 0;
    node->snapshot_for = 0;
    node->confirms_count = 0;
    node->log = node->disk;
    node->applied_index = node->disk.base.index;
}

void cluster_start(struct cluster *cluster, struct cluster_node *node)
{
    struct raft_entry *entries = calloc(node->disk.count + 1, sizeof(*entries));
    struct raft_options options = {.self = node->id,
                                   .now_ns = cluster_time_ns(cluster, node),
                                   .lease_off = cluster->options.lease_off,
                                   .clock_bound_ppm = cluster->options.clock_bound_ppm,
                                   .disk_stall_ns = cluster->options.disk_stall_ns,
                                   .append_size_max = cluster->options.append_size_max,
                                   .inflight_count_max = cluster->options.inflight_count_max,
                                   .seed = cluster->options.seed * 1000 + node->id * 100 +
                                           node->starts_count++,
                                   .hard_state = node->disk_state,
                                   .base = node->disk.base,
                                   .configuration = node->disk.base_configuration};

    ck_assert_ptr_nonnull(entries);
    ck_assert_ptr_null(node->raft);
    for (size_t i = 0; i < node->disk.count; i++)
        entries[i] = (struct raft_entry){.term = node->disk.entries[i].term,
                                         .configuration = node->disk.entries[i].configuration};
    ck_assert_int_eq(raft_create(&options, &node->raft), STATUS_OK);
    ck_assert_int_eq(raft_restore(node->raft, entries, node->disk.count), STATUS_OK);
    free(entries);
    cluster_turn(cluster, node);
}

struct cluster *cluster_create(const struct cluster_options *options)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));

    ck_assert_ptr_nonnull(cluster);
    ck_assert_uint_le(options->nodes_count, cluster_nodes_max);
    cluster->options = *options;
    cluster->nodes_count = options->nodes_count;
    cluster->next_value = 1;
    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        struct cluster_node *node = &cluster->nodes[id];
        node->id = id;
        if (raft_configuration_has(&options->configuration, id))
            node->disk.base_configuration = options->configuration;
        node->log = node->disk;
        cluster_start(cluster, node);
    }
    return cluster;
}

void cluster_destroy(struct cluster *cluster)
{
    cluster->trace = NULL;
    while (cluster->packets_count > 0)
        cluster_drop(cluster, cluster->packets_count - 1);
    for (unsigned id = 1; id <= cluster->nodes_count; id++)
        raft_destroy(cluster->nodes[id].raft);
    free(cluster);
}

/* ---- What an owner asks for ---- */

enum status cluster_propose(struct cluster *cluster, struct cluster_node *node, unsigned count)
{
    struct raft_entry entries[64] = {0};
    uint64_t first;

    ck_assert_uint_le(count, 64);
    enum status status =
        raft_propose(node->raft, cluster_time_ns(cluster, node), entries, count, &first);
    for (unsigned i = 0; status == STATUS_OK && i < count; i++)
        queue_write(
            node, first + i,
            (struct cluster_entry){.term = entries[i].term, .value = cluster->next_value++});
    cluster_turn(cluster, node);
    return status;
}

enum status cluster_change(struct cluster *cluster, struct cluster_node *node,
                           const struct raft_configuration *target)
{
    enum status status = raft_change(node->raft, cluster_time_ns(cluster, node), target);
    cluster_turn(cluster, node);
    return status;
}

enum status cluster_transfer(struct cluster *cluster, struct cluster_node *node, uint64_t to)
{
    enum status status = raft_transfer(node->raft, cluster_time_ns(cluster, node), to);
    cluster_turn(cluster, node);
    return status;
}

enum status cluster_confirm(struct cluster *cluster, struct cluster_node *node, uint64_t *round)
{
    *round = 0;
    if (!raft_may_read(node->raft) || node->confirms_count == cluster_confirms_max)
        return STATUS_BUSY;
    bool good = raft_commit_index(node->raft) >= commit_max(cluster);
    enum status status = raft_confirm(node->raft, cluster_time_ns(cluster, node), round);
    if (status == STATUS_OK)
        node->confirms[node->confirms_count++] =
            (struct cluster_confirm){.round = *round, .good = good};
    cluster_turn(cluster, node);
    return status;
}

void cluster_hold(struct cluster *cluster, struct cluster_node *node, bool held)
{
    raft_hold(node->raft, held);
    cluster_turn(cluster, node);
}

void cluster_release(struct cluster *cluster, struct cluster_node *node, uint64_t index)
{
    if (index > node->applied_index)
        index = node->applied_index;
    /* The state is written with the log. */
    if (index <= node->log.base.index || index > log_last(&node->disk).index ||
        index <= node->disk.base.index || node->writes_count > 0 || node->notices_count > 0)
        return;
    log_cut(&node->disk, index);
    log_cut(&node->log, index);
    raft_release(node->raft, index);
    cluster_turn(cluster, node);
}

enum status cluster_install(struct cluster *cluster, struct cluster_node *from,
                            struct cluster_node *to)
{
    uint64_t index = from->applied_index;
    struct raft_mark mark = {.index = index};
    struct raft_configuration configuration = from->log.base_configuration;

    for (uint64_t i = from->log.base.index + 1; i <= index; i++)
        if (log_at(&from->log, i)->configuration != NULL)
            configuration = *log_at(&from->log, i)->configuration;
    /* What everybody began with, which those that were added later have not seen. */
    if (configuration.voters_count == 0)
        configuration = cluster->options.configuration;
    mark.term =
        index == from->log.base.index ? from->log.base.term : log_at(&from->log, index)->term;
    uint64_t base_chain = log_chain_at(&from->log, index);
    enum status status = raft_snapshot_installed(to->raft, mark, &configuration);
    if (status == STATUS_OK) {
        struct raft_mark last = raft_last(to->raft);
        uint64_t kept = last.index - mark.index;
        memmove(to->log.entries, to->log.entries + (to->log.count - kept),
                kept * sizeof(to->log.entries[0]));
        to->log.base = mark;
        to->log.base_chain = base_chain;
        to->log.base_configuration = configuration;
        to->log.count = kept;
        /* The disk keeps what it held above, if it held the mark; writes under way go on. */
        size_t above = log_has(&to->disk, mark) && log_last(&to->disk).index > mark.index
                           ? log_last(&to->disk).index - mark.index
                           : 0;
        memmove(to->disk.entries, to->disk.entries + (to->disk.count - above),
                above * sizeof(to->disk.entries[0]));
        to->disk.base = mark;
        to->disk.base_chain = base_chain;
        to->disk.base_configuration = configuration;
        to->disk.count = above;
        if (kept == 0) {
            to->disk.count = 0;
            to->writes_count = 0;
        }
        to->applied_index = mark.index;
        cluster->snapshots_count++;
    }
    cluster_turn(cluster, to);
    raft_snapshot_sent(from->raft, cluster_time_ns(cluster, from), to->id, mark,
                       status == STATUS_OK);
    cluster_turn(cluster, from);
    return status;
}

/* ---- Whole runs ---- */

static bool write_all(struct cluster *cluster)
{
    bool moved = false;

    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        struct cluster_node *node = &cluster->nodes[id];
        if (node->raft == NULL)
            continue;
        moved = moved || node->state_wanted || node->writes_count > 0 || node->notices_count > 0;
        cluster_write_state(cluster, node);
        cluster_write(cluster, node, SIZE_MAX);
        cluster_report(cluster, node, SIZE_MAX);
        struct cluster_node *to = &cluster->nodes[node->snapshot_for];
        if (to->id != 0 && to->raft != NULL && !cluster->cut[id][to->id]) {
            node->snapshot_for = 0;
            enum status status = cluster_install(cluster, node, to);
            ck_assert(status == STATUS_OK || status == STATUS_INVALID_ARGUMENT);
            moved = true;
        }
    }
    return moved;
}

void cluster_settle(struct cluster *cluster)
{
    bool moved = true;

    while (moved) {
        moved = write_all(cluster);
        for (; cluster->packets_count > 0; moved = true)
            cluster_deliver(cluster, 0);
    }
}

void cluster_run(struct cluster *cluster, uint64_t duration_ns)
{
    uint64_t end_ns = cluster->now_ns + duration_ns;

    cluster_settle(cluster);
    for (; cluster->now_ns < end_ns; cluster->now_ns += 1000000) {
        for (unsigned id = 1; id <= cluster->nodes_count; id++) {
            struct cluster_node *node = &cluster->nodes[id];
            if (node->raft != NULL &&
                raft_deadline_ns(node->raft) <= cluster_time_ns(cluster, node))
                cluster_tick(cluster, node);
        }
        cluster_settle(cluster);
    }
}

struct cluster_node *cluster_leader(struct cluster *cluster)
{
    struct cluster_node *leader = NULL;

    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        struct cluster_node *node = &cluster->nodes[id];
        if (node->raft != NULL && raft_role(node->raft) == RAFT_LEADER &&
            (leader == NULL || raft_term(node->raft) > raft_term(leader->raft)))
            leader = node;
    }
    return leader;
}
