/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/pair_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "tests/sim/pair.h"

enum { many_runs = 40 }; /* of so many, each kind of fault is to come in one at least */

struct totals {
    struct pair_result sum;
    uint64_t runs_count;
    uint64_t failed_count;
};

static void add_leases(struct pair_leases_result *sum, const struct pair_leases_result *result)
{
    sum->runs_count += result->runs_count;
    sum->witness_starts_count += result->witness_starts_count;
    sum->grants_count += result->grants_count;
    sum->refusals_count += result->refusals_count;
    sum->acknowledged_count += result->acknowledged_count;
    sum->by_witness_count += result->by_witness_count;
    sum->by_standby_count += result->by_standby_count;
    sum->automatic_count += result->automatic_count;
    for (unsigned i = 0; i < WITNESS_FAULTS_END; i++)
        sum->faults[i] += result->faults[i];
    for (unsigned i = 0; i < TRIALS_END; i++)
        sum->trials[i] += result->trials[i];
}

static void add(struct totals *totals, const struct pair_result *result)
{
    struct pair_result *sum = &totals->sum;
    sum->switchovers_count += result->switchovers_count;
    sum->promotions_count += result->promotions_count;
    sum->epochs_count += result->epochs_count;
    sum->kept_count += result->kept_count;
    sum->given_up_count += result->given_up_count;
    sum->tails_count += result->tails_count;
    sum->compared_count += result->compared_count;
    sum->reads_count += result->reads_count;
    sum->simulated_ns += result->simulated_ns;
    for (unsigned i = 0; i < LINE_FAULTS_END; i++)
        sum->line_faults[i] += result->line_faults[i];
    add_leases(&sum->leases, &result->leases);
    for (unsigned side = 0; side < 2; side++) {
        struct world_result *its = &sum->worlds[side];
        its->transactions_count += result->worlds[side].transactions_count;
        its->unknown_count += result->worlds[side].unknown_count;
        its->elections_count += result->worlds[side].elections_count;
        its->starts_count += result->worlds[side].starts_count;
        its->turns_count += result->worlds[side].turns_count;
        its->snapshots_count += result->worlds[side].snapshots_count;
    }
    totals->runs_count++;
}

static void run_seed(const struct world_options *options, bool twice, struct totals *totals)
{
    struct pair_result result;
    pair_run(options, &result);
    if (twice && !result.failed) {
        struct pair_result again;
        pair_run(options, &again);
        if (again.digest != result.digest || again.simulated_ns != result.simulated_ns) {
            result.failed = true;
            snprintf(result.failure, sizeof result.failure, "two runs of the seed differ");
        }
    }
    add(totals, &result);
    if (!result.failed)
        return;
    totals->failed_count++;
    printf("seed %" PRIu64 " FAILED: %s\n", options->seed, result.failure);
    printf("replay: build/strait-sim --regions --seed %" PRIu64 " --servers %u --seconds %" PRIu64
           "%s%s%s%s%s --verbose\n",
           options->seed, options->servers_count, options->seconds, options->calm ? " --calm" : "",
           options->keep_log ? " --keep-log" : "", options->decay ? " --decay" : "",
           options->churn ? " --churn" : "", options->aim ? " --aim" : "");
    fflush(stdout);
}

static bool tell_faults(const struct pair_result *sum)
{
    bool all = true;
    printf("line:");
    for (unsigned i = 0; i < LINE_FAULTS_END; i++) {
        printf(" %s %" PRIu64, line_fault_name((enum line_fault)i), sum->line_faults[i]);
        all = all && sum->line_faults[i] != 0;
    }
    printf("\n");
    return all;
}

/* Whether all of it came. */
static bool tell_leases(const struct pair_leases_result *sum)
{
    bool all = sum->by_witness_count != 0 && sum->by_standby_count != 0 &&
               sum->automatic_count != 0 && sum->refusals_count != 0;
    printf("of these with a witness %" PRIu64 ": grants %" PRIu64 ", refused %" PRIu64
           ", acknowledgements %" PRIu64 ", by the witness alone %" PRIu64
           ", by the standby alone %" PRIu64 ", promotions by itself %" PRIu64
           ", starts of the witness %" PRIu64 "\n",
           sum->runs_count, sum->grants_count, sum->refusals_count, sum->acknowledged_count,
           sum->by_witness_count, sum->by_standby_count, sum->automatic_count,
           sum->witness_starts_count);
    printf("witness:");
    for (unsigned i = 0; i < WITNESS_FAULTS_END; i++) {
        printf(" %s %" PRIu64, witness_fault_name((enum witness_fault)i), sum->faults[i]);
        all = all && sum->faults[i] != 0;
    }
    for (unsigned i = TRIAL_NONE + 1; i < TRIALS_END; i++) {
        printf(" %s %" PRIu64, trial_name((enum trial_kind)i), sum->trials[i]);
        all = all && sum->trials[i] != 0;
    }
    printf("\n");
    return all;
}

static double processor_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int pair_report(const struct world_options *options, uint64_t from, uint64_t to, bool twice)
{
    struct world_options its = *options;
    struct totals totals = {0};

    for (its.seed = from; its.seed <= to; its.seed++)
        run_seed(&its, twice, &totals);
    const struct pair_result *sum = &totals.sum;
    double simulated = (double)sum->simulated_ns / 1e9;
    double took = processor_seconds();
    printf("%" PRIu64 " runs of two regions, %" PRIu64
           " failed; 2 x %u servers, %.0f simulated seconds, %.0f times real time, %.2f seeds per "
           "second\n",
           totals.runs_count, totals.failed_count, options->servers_count, simulated,
           simulated * (twice ? 2 : 1) / took, (double)totals.runs_count / took);
    printf("transactions %" PRIu64 ", acknowledged commits kept %" PRIu64 ", given up %" PRIu64
           ", switchovers %" PRIu64 ", promotions %" PRIu64 ", epochs %" PRIu64 ", tails %" PRIu64
           ", states compared between regions %" PRIu64 ", reads at a standby %" PRIu64
           ", elections %" PRIu64 ", starts %" PRIu64 ", snapshots %" PRIu64 ", turns %" PRIu64
           "\n",
           sum->worlds[0].transactions_count, sum->kept_count, sum->given_up_count,
           sum->switchovers_count, sum->promotions_count, sum->epochs_count, sum->tails_count,
           sum->compared_count, sum->reads_count,
           sum->worlds[0].elections_count + sum->worlds[1].elections_count,
           sum->worlds[0].starts_count + sum->worlds[1].starts_count,
           sum->worlds[0].snapshots_count + sum->worlds[1].snapshots_count,
           sum->worlds[0].turns_count + sum->worlds[1].turns_count);
    bool all = tell_faults(sum);
    all = tell_leases(&sum->leases) && all;
    bool many = totals.runs_count >= many_runs && !options->calm;
    if (many && (!all || sum->switchovers_count == 0 || sum->promotions_count == 0 ||
                 sum->given_up_count == 0 || sum->reads_count == 0)) {
        printf("FAILED: something that was to come never came\n");
        return 1;
    }
    return totals.failed_count == 0 ? 0 : 1;
}
