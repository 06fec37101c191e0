/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules drawn at random, each by its seed: messages late, lost, twice and out of order, ways
 * cut, disks slow, members that crash, clocks that run apart, changes of membership, transfers,
 * snapshots. The cluster checks what must always hold after each event; here each schedule ends
 * with everything healed, when the region must come to one leader that commits.
 *
 *     STRAIT_MODEL_SEED=N  this seed alone, with its trace on standard output
 *     STRAIT_MODEL_RUNS=N  so many seeds */
#include <stdlib.h>

#include "proto/base/generator.h"
#include "tests/unit/replication_raft/cluster.h"
#include "tests/unit/unit.h"

static const uint64_t millisecond = 1000000;

enum step_kind {
    STEP_NETWORK,
    STEP_DISK,
    STEP_TIME,
    STEP_LEADER,
    STEP_SNAPSHOT,
    STEP_CRASH,
    STEP_CHANGE,
    STEP_CUT,
    STEP_HOLD,
    STEP_KINDS
};

struct schedule {
    struct cluster *cluster;
    unsigned weights[STEP_KINDS];
    uint64_t time_max_ns; /* of one step */
    bool
        stopped[cluster_nodes_max + 1]; /* takes no step, though its clock runs and others ask it */
    struct generator generator;
    unsigned loss;        /* in a thousand packets */
    unsigned duplication; /* in a thousand packets */
    bool reordering;
};

static uint64_t totals_committed, totals_leases, totals_confirmed, totals_snapshots, totals_terms;

static struct cluster_node *any_node(struct schedule *schedule)
{
    return &schedule->cluster
                ->nodes[1 + generator_below(&schedule->generator, schedule->cluster->nodes_count)];
}

static struct cluster_node *any_leader(struct schedule *schedule)
{
    for (unsigned i = 0; i < 4; i++) {
        struct cluster_node *node = any_node(schedule);
        if (node->raft != NULL && raft_role(node->raft) == RAFT_LEADER)
            return node;
    }
    return NULL;
}

static void step_network(struct schedule *schedule)
{
    struct cluster *cluster = schedule->cluster;
    struct generator *generator = &schedule->generator;

    if (cluster->packets_count == 0)
        return;
    size_t place = schedule->reordering ? generator_below(generator, cluster->packets_count) : 0;
    if (schedule->stopped[cluster->packets[place].message.to])
        place = generator_below(generator, cluster->packets_count);
    if (schedule->stopped[cluster->packets[place].message.to])
        return;
    if (generator_chance(generator, schedule->loss, 1000) ||
        cluster->packets_count > cluster_packets_max / 2) {
        cluster_drop(cluster, place);
        return;
    }
    if (generator_chance(generator, schedule->duplication, 1000))
        cluster_duplicate(cluster, place);
    cluster_deliver(cluster, place);
}

static void step_time(struct schedule *schedule)
{
    struct cluster *cluster = schedule->cluster;

    cluster->now_ns += generator_below(&schedule->generator, schedule->time_max_ns);
    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        struct cluster_node *node = &cluster->nodes[id];
        if (node->raft != NULL && !schedule->stopped[id] &&
            raft_deadline_ns(node->raft) <= cluster_time_ns(cluster, node))
            cluster_tick(cluster, node);
    }
}

static void step_disk(struct schedule *schedule)
{
    struct cluster_node *node = any_node(schedule);
    struct generator *generator = &schedule->generator;

    if (node->raft == NULL || schedule->stopped[node->id])
        return;
    if (generator_chance(generator, 1, 2))
        cluster_write_state(schedule->cluster, node);
    if (generator_chance(generator, 2, 3))
        cluster_write(schedule->cluster, node, generator_below(generator, 8));
    if (generator_chance(generator, 2, 3))
        cluster_report(schedule->cluster, node, generator_below(generator, 8));
}

static void step_crash(struct schedule *schedule)
{
    struct cluster_node *node = any_node(schedule);

    if (node->raft == NULL)
        cluster_start(schedule->cluster, node);
    else if (generator_chance(&schedule->generator, 1, 3))
        cluster_crash(schedule->cluster, node);
}

static void step_cut(struct schedule *schedule)
{
    struct cluster *cluster = schedule->cluster;
    struct generator *generator = &schedule->generator;
    bool heal = generator_chance(generator, 1, 2);
    bool halves = generator_chance(generator, 1, 2);
    uint64_t half = generator_draw(generator);

    for (unsigned id = 1; id <= cluster->nodes_count; id++)
        schedule->stopped[id] = !heal && generator_chance(generator, 1, 5);
    /* Two halves, or single directions. */
    for (unsigned from = 1; from <= cluster->nodes_count; from++)
        for (unsigned to = 1; to <= cluster->nodes_count; to++)
            cluster->cut[from][to] = !heal && (halves ? ((half >> from) & 1) != ((half >> to) & 1)
                                                      : generator_chance(generator, 1, 4));
}

static void step_change(struct schedule *schedule)
{
    struct cluster_node *leader = any_leader(schedule);
    struct generator *generator = &schedule->generator;
    struct raft_configuration target = {0};

    if (leader == NULL)
        return;
    for (unsigned id = 1; id <= schedule->cluster->nodes_count; id++) {
        uint64_t kind = generator_below(generator, 5);
        if (kind <= 2 && target.voters_count < 5)
            target.voters[target.voters_count++] = id;
        else if (kind == 3)
            target.learners[target.learners_count++] = id;
    }
    enum status status = cluster_change(schedule->cluster, leader, &target);
    ck_assert(status == STATUS_OK || status == STATUS_BUSY ||
              (status == STATUS_INVALID_ARGUMENT && target.voters_count == 0));
}

static void step_leader(struct schedule *schedule)
{
    struct cluster *cluster = schedule->cluster;
    struct generator *generator = &schedule->generator;
    struct cluster_node *leader = any_leader(schedule);
    uint64_t round;
    enum status status = STATUS_OK;

    if (leader == NULL)
        return;
    if (generator_chance(generator, 1, 3))
        status = cluster_propose(cluster, leader, 1 + (unsigned)generator_below(generator, 4));
    else if (generator_chance(generator, 1, 2))
        status = cluster_confirm(cluster, leader, &round);
    else if (generator_chance(generator, 1, 12))
        status =
            cluster_transfer(cluster, leader, 1 + generator_below(generator, cluster->nodes_count));
    else if (generator_chance(generator, 1, 20))
        raft_unreachable(leader->raft, 1 + generator_below(generator, cluster->nodes_count));
    ck_assert(status == STATUS_OK || status == STATUS_BUSY || status == STATUS_INVALID_ARGUMENT);
}

static void step_snapshot(struct schedule *schedule)
{
    struct cluster_node *node = any_node(schedule);
    struct cluster *cluster = schedule->cluster;

    if (node->raft == NULL)
        return;
    if (generator_chance(&schedule->generator, 1, 4)) {
        cluster_release(cluster, node, node->applied_index);
        return;
    }
    struct cluster_node *to = &cluster->nodes[node->snapshot_for];
    if (to->id == 0 || to->raft == NULL)
        return;
    node->snapshot_for = 0;
    enum status status = cluster_install(cluster, node, to);
    ck_assert(status == STATUS_OK || status == STATUS_INVALID_ARGUMENT);
}

static void step_hold(struct schedule *schedule)
{
    struct cluster_node *node = any_node(schedule);

    if (node->raft != NULL)
        cluster_hold(schedule->cluster, node, generator_chance(&schedule->generator, 1, 3));
}

/* Each schedule has much of some kinds of step and little of others: what needs many of one kind in
 * a row is reached that way (Groce and others, "Swarm Testing", 2012). */
static void draw_weights(struct schedule *schedule)
{
    static const unsigned usual[STEP_KINDS] = {520, 200, 130, 105, 15, 10, 5, 5, 3};

    for (unsigned i = 0; i < STEP_KINDS; i++)
        schedule->weights[i] =
            usual[i] * 4 >> (i == STEP_NETWORK ? 2 : 2 * generator_below(&schedule->generator, 3));
    schedule->time_max_ns = millisecond << generator_below(&schedule->generator, 7);
}

static enum step_kind draw_kind(struct schedule *schedule)
{
    unsigned total = 0;
    for (unsigned i = 0; i < STEP_KINDS; i++)
        total += schedule->weights[i];
    uint64_t place = generator_below(&schedule->generator, total);
    unsigned kind = 0;
    for (; place >= schedule->weights[kind]; kind++)
        place -= schedule->weights[kind];
    return kind;
}

static void run_schedule(struct schedule *schedule, unsigned steps)
{
    static void (*const take[STEP_KINDS])(struct schedule *) = {
        step_network, step_disk,   step_time, step_leader, step_snapshot,
        step_crash,   step_change, step_cut,  step_hold};

    draw_weights(schedule);
    for (unsigned i = 0; i < steps; i++) {
        if (schedule->cluster->committed_count > cluster_entries_max / 2)
            return;
        take[draw_kind(schedule)](schedule);
    }
}

static void expect(const struct cluster *cluster, bool held, const char *what)
{
    if (!held)
        ck_abort_msg("seed %llu: %s", (unsigned long long)cluster->options.seed, what);
}

/* Everything is up and answers: there is one leader, and it commits. */
static void heal(struct cluster *cluster)
{
    uint64_t round;

    for (unsigned from = 1; from <= cluster->nodes_count; from++)
        for (unsigned to = 1; to <= cluster->nodes_count; to++)
            cluster->cut[from][to] = false;
    for (unsigned id = 1; id <= cluster->nodes_count; id++) {
        if (cluster->nodes[id].raft == NULL)
            cluster_start(cluster, &cluster->nodes[id]);
        cluster_hold(cluster, &cluster->nodes[id], false);
    }
    cluster_run(cluster, 4000 * millisecond);
    struct cluster_node *leader = cluster_leader(cluster);
    expect(cluster, leader != NULL, "no leader");
    expect(cluster, cluster_propose(cluster, leader, 2) == STATUS_OK, "nothing can be proposed");
    uint64_t confirmed = cluster->confirmed_count;
    expect(cluster, cluster_confirm(cluster, leader, &round) == STATUS_OK, "no round can be had");
    cluster_run(cluster, 200 * millisecond);
    uint64_t index;
    const struct raft_configuration *configuration = raft_configuration(leader->raft, &index);
    expect(cluster, configuration->outgoing_count == 0, "still joint");
    for (unsigned id = 1; id <= cluster->nodes_count; id++)
        if (raft_configuration_has(configuration, id))
            expect(cluster,
                   raft_commit_index(cluster->nodes[id].raft) == raft_last(leader->raft).index,
                   "a member was not brought up to date");
    expect(cluster, cluster->confirmed_count > confirmed, "a read was not confirmed");
}

static void run_seed(uint64_t seed, FILE *trace)
{
    struct schedule schedule = {0};
    struct generator *generator = &schedule.generator;

    generator_init(generator, seed);
    struct cluster_options options = {
        .seed = seed,
        .nodes_count = 3 + (unsigned)generator_below(generator, 4),
        .configuration = {.voters_count = 3, .voters = {1, 2, 3}},
        .clock_bound_ppm = 100000,
        .disk_stall_ns = generator_chance(generator, 1, 4) ? 200 * millisecond : 0,
        .lease_off = generator_chance(generator, 1, 8),
        .append_size_max = generator_chance(generator, 1, 2) ? 300 : 0,
        .inflight_count_max = generator_chance(generator, 1, 2) ? 2 : 0};
    schedule.loss =
        generator_chance(generator, 1, 2) ? 0 : (unsigned)generator_below(generator, 200);
    schedule.duplication = (unsigned)generator_below(generator, 50);
    schedule.reordering = generator_chance(generator, 1, 2);
    schedule.cluster = cluster_create(&options);
    schedule.cluster->trace = trace;
    /* Apart by less than the bound: 1.047 / 0.953 < 1.1. */
    for (unsigned id = 1; id <= options.nodes_count; id++)
        schedule.cluster->nodes[id].rate_ppm = (int64_t)generator_below(generator, 94000) - 47000;
    run_schedule(&schedule, 4000);
    heal(schedule.cluster);
    totals_committed += schedule.cluster->committed_count;
    totals_leases += schedule.cluster->lease_count;
    totals_confirmed += schedule.cluster->confirmed_count;
    totals_snapshots += schedule.cluster->snapshots_count;
    totals_terms += raft_term(cluster_leader(schedule.cluster)->raft);
    cluster_destroy(schedule.cluster);
}

START_TEST(test_what_always_holds_does_in_schedules_drawn_at_random)
{
    const char *seed = getenv("STRAIT_MODEL_SEED");
    const char *runs = getenv("STRAIT_MODEL_RUNS");

    if (seed != NULL) {
        run_seed(strtoull(seed, NULL, 10), stdout);
        return;
    }
    uint64_t count = runs != NULL ? strtoull(runs, NULL, 10) : 1000;
    for (uint64_t i = 1; i <= count; i++)
        run_seed(i, NULL);
    printf("committed %llu, leases %llu, confirmed %llu, snapshots %llu, terms %llu\n",
           (unsigned long long)totals_committed, (unsigned long long)totals_leases,
           (unsigned long long)totals_confirmed, (unsigned long long)totals_snapshots,
           (unsigned long long)totals_terms);
    /* The schedules reach what they are meant to. */
    ck_assert_uint_gt(totals_committed, count * 10);
    ck_assert_uint_gt(totals_leases, count * 50);
    ck_assert_uint_gt(totals_confirmed, count * 2);
    ck_assert_uint_gt(totals_snapshots, count / 10);
    ck_assert_uint_gt(totals_terms, count * 2);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_what_always_holds_does_in_schedules_drawn_at_random);
}
