/* SPDX-License-Identifier: Apache-2.0 */
/* strait-sim: runs a region and its clients under a seed, with faults, and says whether all that
 * was promised held. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "tests/sim/hunt.h"
#include "tests/sim/pair_report.h"

static const char usage[] =
    "strait-sim (--seed N | --seeds FROM-TO) [--servers N] [--seconds N] [--twice] [--calm]\n"
    "           [--keep-log] [--decay] [--churn] [--aim] [--upgrade] [--regions] [--verbose]\n"
    "           [--bug NAME [--hunt]]\n"
    "strait-sim --bugs\n"
    "    --seed N         one run; the same seed and build give the same run\n"
    "    --seeds FROM-TO  one run each, TO included; of 20 or more, one where a kind of fault "
    "never\n"
    "                     came is a failure, or no snapshot was installed\n"
    "    --servers N      1 to 5 (3)\n"
    "    --seconds N      simulated, with faults (60)\n"
    "    --twice          each seed is run twice, and the runs compared\n"
    "    --calm           no faults\n"
    "    --keep-log       memtables are not written, so that logs hold all there is\n"
    "    --decay          disks decay, too\n"
    "    --churn          members are added, promoted, removed and replaced, too\n"
    "    --aim            faults come together, at whoever leads, too\n"
    "    --upgrade        servers start anew with a newer program, one by one, too\n"
    "    --regions        two regions of so many servers each, 2 at least, and their line\n"
    "    --verbose        tells what happens\n"
    "    --bug NAME       puts in a bug; in builds of the preset `planted` alone\n"
    "    --bugs           lists them\n"
    "    --hunt           runs the seeds until an invariant or a checker finds the bug: prints\n"
    "                     `found SEED FAILURE`, or `not found, assertions N, first SEED`\n"
    "Exit status: 0 all held, or found; 1 not; 2 usage.\n";

enum { many_runs = 20 }; /* of so many, each kind of fault is to come in one at least */

struct sim_options {
    struct world_options world;
    uint64_t from;
    uint64_t to;
    bool has_seeds;
    bool twice;
    bool hunts;
    bool lists_bugs;
};

struct totals {
    struct world_result sum;
    uint64_t runs_count;
    uint64_t failed_count;
};

static bool parse_number(const char *text, uint64_t *number, const char **end)
{
    char *stop;
    *number = strtoull(text, &stop, 10);
    *end = stop;
    return stop != text;
}

static bool parse_one(const char *name, const char *value, struct sim_options *options)
{
    uint64_t number;
    const char *end;
    if (strcmp(name, "--bug") == 0)
        return planted_choose(value);
    if (!parse_number(value, &number, &end))
        return false;
    if (strcmp(name, "--seeds") == 0) {
        options->from = number;
        options->has_seeds = true;
        return *end == '-' && parse_number(end + 1, &options->to, &end) && *end == 0 &&
               options->to >= options->from;
    }
    if (*end != 0)
        return false;
    if (strcmp(name, "--seed") == 0) {
        options->from = options->to = number;
        options->has_seeds = true;
    } else if (strcmp(name, "--servers") == 0) {
        options->world.servers_count = (unsigned)number;
        return number >= 1 && number <= 5;
    } else if (strcmp(name, "--seconds") == 0) {
        options->world.seconds = number;
        return number >= 1;
    } else {
        return false;
    }
    return true;
}

static bool parse(int count, char **values, struct sim_options *options)
{
    *options = (struct sim_options){.world = {.servers_count = 3, .seconds = 60}};
    for (int i = 1; i < count; i++) {
        if (strcmp(values[i], "--verbose") == 0)
            options->world.verbose = true;
        else if (strcmp(values[i], "--twice") == 0)
            options->twice = true;
        else if (strcmp(values[i], "--calm") == 0)
            options->world.calm = true;
        else if (strcmp(values[i], "--keep-log") == 0)
            options->world.keep_log = true;
        else if (strcmp(values[i], "--decay") == 0)
            options->world.decay = true;
        else if (strcmp(values[i], "--churn") == 0)
            options->world.churn = true;
        else if (strcmp(values[i], "--aim") == 0)
            options->world.aim = true;
        else if (strcmp(values[i], "--upgrade") == 0)
            options->world.upgrade = true;
        else if (strcmp(values[i], "--regions") == 0)
            options->world.regions = true;
        else if (strcmp(values[i], "--hunt") == 0)
            options->hunts = true;
        else if (strcmp(values[i], "--bugs") == 0)
            options->lists_bugs = true;
        else if (i + 1 == count || !parse_one(values[i], values[i + 1], options))
            return false;
        else
            i++;
    }
    if (options->world.regions && options->world.servers_count < 2)
        return false;
    return options->has_seeds || options->lists_bugs;
}

static void add(struct world_result *sum, const struct world_result *result)
{
    sum->commits_count += result->commits_count;
    sum->transactions_count += result->transactions_count;
    sum->refused_count += result->refused_count;
    sum->unknown_count += result->unknown_count;
    sum->elections_count += result->elections_count;
    sum->starts_count += result->starts_count;
    sum->retries_count += result->retries_count;
    sum->turns_count += result->turns_count;
    sum->messages_count += result->messages_count;
    sum->snapshots_count += result->snapshots_count;
    sum->scrubs_count += result->scrubs_count;
    sum->rebuilds_count += result->rebuilds_count;
    sum->replacements_count += result->replacements_count;
    sum->raises_count += result->raises_count;
    sum->simulated_ns += result->simulated_ns;
    sum->digest = sum->digest * 31 + result->digest + result->final_draw;
    for (unsigned i = 0; i < NEMESIS_FAULTS_END; i++)
        sum->faults[i] += result->faults[i];
}

static void tell_replay(const struct sim_options *options, uint64_t seed)
{
    const struct world_options *world = &options->world;
    printf("replay: build/strait-sim --seed %" PRIu64 " --servers %u --seconds %" PRIu64
           "%s%s%s%s%s%s --verbose\n",
           seed, world->servers_count, world->seconds, world->calm ? " --calm" : "",
           world->keep_log ? " --keep-log" : "", world->decay ? " --decay" : "",
           world->churn ? " --churn" : "", world->aim ? " --aim" : "",
           world->upgrade ? " --upgrade" : "");
}

static void run_seed(struct sim_options *options, uint64_t seed, struct totals *totals)
{
    struct world_result result;
    options->world.seed = seed;
    world_run(&options->world, &result);
    if (options->twice && !result.failed) {
        struct world_result again;
        world_run(&options->world, &again);
        if (again.final_draw != result.final_draw || again.digest != result.digest ||
            again.turns_count != result.turns_count || again.failed) {
            result.failed = true;
            snprintf(result.failure, sizeof result.failure, "two runs of the seed differ: %.1024s",
                     again.failed ? again.failure : "draws or digests");
        }
    }
    add(&totals->sum, &result);
    totals->runs_count++;
    if (!result.failed)
        return;
    totals->failed_count++;
    printf("seed %" PRIu64 " FAILED: %s\n", seed, result.failure);
    tell_replay(options, seed);
    fflush(stdout);
}

static bool tell_faults(const struct sim_options *options, const struct totals *totals)
{
    bool all = true;
    printf("faults:");
    for (unsigned i = 0; i < NEMESIS_FAULTS_END; i++) {
        enum nemesis_fault fault = (enum nemesis_fault)i;
        if (!nemesis_fault_applies(fault, &options->world))
            continue;
        printf(" %s %" PRIu64, nemesis_fault_name(fault), totals->sum.faults[i]);
        all = all && totals->sum.faults[i] != 0;
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

static int list_bugs(void)
{
    for (unsigned i = 1; i < PLANTED_END; i++)
        printf("%s: %s\n", planted_name((enum planted)i), planted_text((enum planted)i));
    return 0;
}

static int find_bug(const struct sim_options *options)
{
    struct hunt hunt;
    hunt_run(&options->world, options->from, options->to, &hunt);
    if (hunt.found)
        printf("found %" PRIu64 " %s\n", hunt.seed, hunt.failure);
    else
        printf("not found, assertions %" PRIu64 ", first %" PRIu64 "\n", hunt.assertions_count,
               hunt.asserted_seed);
    return hunt.found ? 0 : 1;
}

int main(int count, char **values)
{
    struct sim_options options;
    struct totals totals = {0};

    if (!parse(count, values, &options)) {
        fputs(usage, stderr);
        return 2;
    }
    if (options.lists_bugs)
        return list_bugs();
    if (options.hunts)
        return find_bug(&options);
    if (options.world.regions)
        return pair_report(&options.world, options.from, options.to, options.twice);
    for (uint64_t seed = options.from; seed <= options.to; seed++)
        run_seed(&options, seed, &totals);
    const struct world_result *sum = &totals.sum;
    double simulated = (double)sum->simulated_ns / 1e9;
    printf("%" PRIu64 " runs, %" PRIu64 " failed; %u servers, %.0f simulated seconds, %.0f times "
           "real time\n",
           totals.runs_count, totals.failed_count, options.world.servers_count, simulated,
           simulated * (options.twice ? 2 : 1) / processor_seconds());
    printf("transactions %" PRIu64 " (%.1f per second), commits %" PRIu64 ", refused %" PRIu64
           ", unknown %" PRIu64 ", retries %" PRIu64 ", elections %" PRIu64 ", starts %" PRIu64
           ", turns %" PRIu64 ", messages %" PRIu64 ", snapshots %" PRIu64 ", replacements %" PRIu64
           ", scrubs %" PRIu64 ", rebuilds %" PRIu64 ", versions raised %" PRIu64
           ", digest %016" PRIx64 "\n",
           sum->transactions_count, (double)sum->transactions_count / simulated, sum->commits_count,
           sum->refused_count, sum->unknown_count, sum->retries_count, sum->elections_count,
           sum->starts_count, sum->turns_count, sum->messages_count, sum->snapshots_count,
           sum->replacements_count, sum->scrubs_count, sum->rebuilds_count, sum->raises_count,
           sum->digest);
    bool all = tell_faults(&options, &totals);
    bool many = totals.runs_count >= many_runs && !options.world.calm;
    if (many && !all) {
        printf("FAILED: a kind of fault never came\n");
        return 1;
    }
    if (many && !options.world.keep_log && options.world.servers_count > 1 &&
        sum->snapshots_count == 0) {
        printf("FAILED: no snapshot was ever installed\n");
        return 1;
    }
    if (many && sum->scrubs_count == 0) {
        printf("FAILED: no replica was ever scrubbed\n");
        return 1;
    }
    if (many && options.world.upgrade && sum->raises_count == 0) {
        printf("FAILED: the cluster version was never raised\n");
        return 1;
    }
    if (many && options.world.decay && options.world.servers_count > 2 &&
        sum->rebuilds_count == 0) {
        printf("FAILED: no damaged replica was ever rebuilt\n");
        return 1;
    }
    return totals.failed_count == 0 ? 0 : 1;
}
