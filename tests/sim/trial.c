/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trial.h"

#include "proto/base/assert.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

enum {
    late_ms = 5000,     /* what was asked before the healing has come by then */
    step_max_s = 20,    /* until both are in step */
    gap_ms = 3000,      /* between two commits, beyond a lease */
    lost_leases = 2,    /* so long one is lost, and */
    lost_ms = 4000,     /* that */
    promoted_ms = 9000, /* beyond two leases: elections, connections anew, clients that move */
    again_ms = 100,     /* between starts of servers */
};

static uint64_t leases_ns(const struct pair *pair, uint64_t count, uint64_t more_ms)
{
    return (count * pair->lease_ms + more_ms) * NS_PER_MS;
}

/* ---- Before ---- */

static bool is_in_step(struct pair *pair)
{
    struct trial *trial = &pair->trial;
    struct epoch epoch = pair_epoch(pair);
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++) {
            const struct chronicle_last *last = &pair->chronicle.last[side][i];
            const struct sim_server *server = &pair->worlds[side].servers[i];
            if (server->state != SIM_SERVER_UP || core_region_facts(server->core).is_draining ||
                !epoch_equal(last->epoch, epoch) || last->is_waived ||
                last->version < trial->versions[epoch.region - 1])
                return false;
        }
    return pair->witness.state == SIM_SERVER_UP && region_operator_is_idle(&pair->operator);
}

/* ---- Losses ---- */

static void lose_witness(struct pair *pair)
{
    if (pair->trial.is_cut) {
        wan_cut(&pair->wan, 0, wan_witness, WAN_SHAPES, true);
        wan_cut(&pair->wan, 1, wan_witness, WAN_SHAPES, true);
    } else {
        sim_disk_clock_advance_to(pair->witness.disk, pair_now_ns(pair));
        sim_witness_crash(&pair->witness, SIM_RESTART_LOSE_UNFLUSHED, UINT64_MAX);
    }
}

static void lose_region(struct pair *pair, unsigned side)
{
    if (pair->trial.is_cut) {
        wan_cut(&pair->wan, 0, 1, WAN_SHAPES, true);
        wan_cut(&pair->wan, side, wan_witness, WAN_SHAPES, true);
        return;
    }
    for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++) {
        struct sim_server *server = &pair->worlds[side].servers[i];
        sim_disk_clock_advance_to(server->disk, pair_now_ns(pair));
        server_crash(server, SIM_RESTART_LOSE_UNFLUSHED, UINT64_MAX);
    }
}

static void return_all(struct pair *pair)
{
    uint64_t now_ns = pair_now_ns(pair);
    wan_heal(&pair->wan);
    if (pair->witness.state != SIM_SERVER_UP)
        pair->witness.restart_ns = now_ns;
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++)
            if (pair->worlds[side].servers[i].state == SIM_SERVER_DOWN)
                pair->worlds[side].servers[i].restart_ns = now_ns + i * again_ms * NS_PER_MS;
}

/* ---- Trials ---- */

static bool has_committed(struct pair *pair)
{
    return pair->worlds[0].workload.committed_count > pair->trial.commits_count;
}

/* For some time it commits, again and again. */
static void go_on(struct pair *pair)
{
    uint64_t until_ns = pair_now_ns(pair) + leases_ns(pair, lost_leases, lost_ms);
    while (pair_now_ns(pair) < until_ns) {
        pair->trial.commits_count = pair->worlds[0].workload.committed_count;
        if (pair_run_until(pair, leases_ns(pair, 1, gap_ms), has_committed))
            continue;
        pair_fail(pair, pair->trial.kind == TRIAL_WITNESS_LOST
                            ? "commits stop where the witness alone is lost"
                            : "commits stop where the standby alone is lost");
        return;
    }
}

static bool is_acknowledged_there(struct pair *pair)
{
    struct epoch epoch = pair_epoch(pair);
    return epoch.region != pair->trial.epoch.region && lease_watch_is_acknowledged(pair, epoch);
}

static void be_promoted(struct pair *pair)
{
    if (!pair_run_until(pair, leases_ns(pair, 2, promoted_ms), is_acknowledged_there))
        pair_fail(pair, "the primary is lost, and the other region does not take over");
}

void trial_run(struct pair *pair)
{
    struct trial *trial = &pair->trial;
    unsigned primary = pair_epoch(pair).region - 1;

    if (trial->kind == TRIAL_NONE)
        return;
    for (unsigned side = 0; side < 2; side++)
        trial->versions[side] = pair->chronicle.reached[side].version;
    (void)pair_run_until(pair, late_ms * NS_PER_MS, NULL);
    if (!pair_run_until(pair, step_max_s * NS_PER_S, is_in_step))
        return;
    world_note(&pair->worlds[0], NULL, "trial: %s, %s", trial_name(trial->kind),
               trial->is_cut ? "cut" : "down");
    primary = pair_epoch(pair).region - 1;
    trial->epoch = pair_epoch(pair);
    switch (trial->kind) {
    case TRIAL_WITNESS_LOST:
        lose_witness(pair);
        go_on(pair);
        break;
    case TRIAL_STANDBY_LOST:
        lose_region(pair, 1 - primary);
        go_on(pair);
        break;
    default:
        lose_region(pair, primary);
        be_promoted(pair);
    }
    return_all(pair);
    trial->is_done = true;
}

const char *trial_name(enum trial_kind kind)
{
    static const char *const names[] = {
#define TRIAL_NAME(name, text) [TRIAL_##name] = text,
        TRIALS(TRIAL_NAME)
#undef TRIAL_NAME
    };
    return names[kind];
}
