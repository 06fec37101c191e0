/* SPDX-License-Identifier: Apache-2.0 */
/* The scrub: at one version, which a tick of the log names, each replica computes anew from its
 * tables on the disk a digest of all that is visible (lsm_scrub()), aside and slowly, and these are
 * compared like the chain digests (replication/digest.h), as a series of their own. The chain tells
 * what was applied; this tells what the disk, flushes and compactions have made of it since.
 *
 * The leader asks for one each `scrub_period_ms` of log time since the last, and when an
 * administrator wants one. All members note the time of the last, so that its successor keeps the
 * step; a start counts as one. Where a replica is at an earlier one still, it leaves this one out,
 * and says so. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"

#define NS_PER_MS 1000000ULL

/* ---- Opening ---- */

enum status core_scrub_open(struct core *core, const struct digests_options *like)
{
    struct digests_options options = *like;
    options.series = DIGEST_SCRUB;
    enum status status = digests_create(&options, &core->scrub.digests);
    if (status == STATUS_OK)
        core_scrub_reset(core);
    return status;
}

void core_scrub_close(struct core *core)
{
    digests_free(core->scrub.digests);
    core->scrub.digests = NULL;
}

void core_scrub_reset(struct core *core)
{
    struct state_facts facts = state_facts(core->state);
    const struct hash128 none = {0};

    digests_reset(core->scrub.digests, 0, none);
    digests_pass(core->scrub.digests, facts.position.version);
    if (facts.position.log_time_ns > core->scrub.noted_log_ns)
        core->scrub.noted_log_ns = facts.position.log_time_ns;
}

/* ---- One scrub ---- */

static void left_out(struct core *core, uint64_t version, enum status status)
{
    core->scrub.status = status;
    log_warn("scrub_left_out", LOG_U64("version", version),
             LOG_TEXT("reason", status_text(status)));
    digests_pass(core->scrub.digests, version);
}

static void on_done(void *context, enum status status, uint64_t version, struct hash128 digest)
{
    struct core *core = context;
    struct core_scrub *scrub = &core->scrub;

    scrub->is_running = false;
    if (status == STATUS_CORRUPT &&
        !core_damaged(core, 0, "A scrub met a table whose bytes do not hold."))
        core_check_found(core, core->path_lsm, 0, "a scrub met a table whose bytes do not hold");
    if (status != STATUS_OK) {
        left_out(core, version, status);
        return;
    }
    scrub->count++;
    scrub->status = STATUS_OK;
    log_info("scrubbed", LOG_U64("version", version), LOG_U64("digest", digest.low));
    digests_history(scrub->digests, scrub->history);
    digests_note(scrub->digests, version, digest);
    digests_pass(scrub->digests, version);
    if (core_leads(core))
        digests_lead(scrub->digests, &core->membership);
}

void core_scrub_applied(struct core *core, const struct state_result *result)
{
    struct core_scrub *scrub = &core->scrub;
    uint8_t key[state_floor_size_max];
    const struct lsm_scrub_floor floor = state_scrub_floor(core->state, key);

    scrub->noted_log_ns = result->log_time_ns;
    scrub->is_wanted = false;
    scrub->version = result->version;
    scrub->history = core_digests_history(core);
    enum status status = lsm_scrub(core->lsm, &floor, 1, on_done, core);
    scrub->is_running = scrub->is_running || status == STATUS_OK;
    if (status != STATUS_OK)
        left_out(core, result->version, status);
}

/* ---- The leader ---- */

bool core_scrub_is_due(const struct core *core)
{
    const struct core_scrub *scrub = &core->scrub;
    uint64_t period_ns = core->options.scrub_period_ms * NS_PER_MS;

    if (scrub->digests == NULL || core_is_healing(core))
        return false;
    return scrub->is_wanted ||
           (period_ns != 0 && replicated_log_time_ns(core->log) >= scrub->noted_log_ns + period_ns);
}

void core_scrub_want(struct core *core)
{
    core->scrub.is_wanted = true;
    core_tick(core);
}

/* ---- What is told of it ---- */

static bool is_awaited(const struct core *core, uint64_t member)
{
    struct log_member_facts facts;
    return replicated_log_member_facts(core->log, member, &facts) && facts.connected &&
           digests_verdict(core->scrub.digests, member) == DIGEST_SILENT;
}

static bool is_under_way(const struct core *core)
{
    const struct core_scrub *scrub = &core->scrub;
    const struct membership *membership = &core->membership;

    if (scrub->is_wanted || scrub->is_running)
        return true;
    if (scrub->status != STATUS_OK || membership->count < 2 || scrub->version == 0)
        return false;
    if (digests_asked_version(scrub->digests) != scrub->version)
        return true;
    for (unsigned i = 0; i < membership->count; i++) {
        if (is_awaited(core, membership->members[i].id))
            return true;
    }
    return false;
}

Strait__CheckReply__Scrub *core_scrub_message(struct core *core, struct arena *arena)
{
    const struct core_scrub *scrub = &core->scrub;
    const struct membership *membership = &core->membership;
    Strait__CheckReply__Scrub *message = arena_alloc_zeroed(arena, 1, sizeof *message);
    char **differing = arena_alloc_zeroed(arena, limit_members_count, sizeof(char *));

    if (message == NULL || differing == NULL)
        return NULL;
    strait__check_reply__scrub__init(message);
    message->running = is_under_way(core);
    message->version = scrub->version;
    message->failed = scrub->status != STATUS_OK;
    message->members_count = membership->count;
    message->agreed_count = membership->count < 2 && scrub->status == STATUS_OK ? 1 : 0;
    message->differing = differing;
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        enum digest_verdict verdict = digests_verdict(scrub->digests, member->id);
        message->agreed_count += verdict == DIGEST_AGREES;
        if (verdict == DIGEST_DIFFERS)
            differing[message->n_differing++] = (char *)(uintptr_t)member->name;
    }
    return message;
}
