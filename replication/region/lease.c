/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/lease.h"

#include "proto/base/assert.h"

/* ---- The witness ---- */

static int order_of(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int lease_list_compare(const struct lease_list *a, const struct lease_list *b)
{
    if (a->version != b->version)
        return order_of(a->version, b->version);
    return a->term != b->term ? order_of(a->term, b->term) : order_of(a->serial, b->serial);
}

bool lease_list_has(const struct lease_list *list, uint32_t region)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (list->regions[i] == region)
            return true;
    }
    return false;
}

bool lease_ask_is_valid(const struct lease_ask *ask)
{
    const struct lease_list *list = &ask->list;
    bool list_fits = list->version == 0
                         ? list->count == 0
                         : list->count <= limit_regions_count && lease_list_has(list, ask->region);
    return list_fits && ask->lease_ns <= lease_ms_max * UINT64_C(1000000) && ask->region != 0 &&
           ask->epoch.number != 0 && ask->epoch.region != 0 &&
           !(ask->candidate && ask->epoch.region == ask->region);
}

static bool is_primary(const struct lease_ask *ask)
{
    return ask->epoch.region == ask->region;
}

static uint64_t longest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void lease_voter_init(struct lease_voter *voter, uint64_t lease_ns, const struct lease_kept *kept,
                      uint64_t now_ns)
{
    *voter = (struct lease_voter){
        .lease_ns = lease_ns,
        .resume_ns = now_ns + longest(lease_ns, kept->granted_max_ns),
        .kept = *kept,
    };
    if (PLANTED(lease_witness_at_once))
        voter->resume_ns = now_ns;
}

void lease_voter_next(const struct lease_voter *voter, const struct lease_ask *ask, uint64_t now_ns,
                      struct lease_kept *kept)
{
    *kept = voter->kept;
    if (epoch_compare(ask->epoch, kept->epoch) > 0)
        *kept = (struct lease_kept){.epoch = ask->epoch, .granted_max_ns = kept->granted_max_ns};
    /* Once nothing is left of what was granted before the start. */
    if (now_ns >= voter->resume_ns || kept->granted_max_ns < voter->lease_ns)
        kept->granted_max_ns = voter->lease_ns;
    if (!is_primary(ask))
        return;
    kept->held = true;
    kept->asked_max_ns = longest(kept->asked_max_ns, ask->lease_ns);
    if (lease_list_compare(&ask->list, &kept->list) > 0)
        kept->list = ask->list;
}

void lease_voter_record(struct lease_voter *voter, const struct lease_kept *kept)
{
    ASSERT(epoch_compare(kept->epoch, voter->kept.epoch) >= 0);
    voter->kept = *kept;
}

/* Whether it says what is to be kept before it is answered. Its epoch is not below the known one.
 */
static bool is_news(const struct lease_voter *voter, const struct lease_ask *ask, uint64_t now_ns)
{
    const struct lease_kept *kept = &voter->kept;

    if (epoch_compare(ask->epoch, kept->epoch) > 0 || kept->granted_max_ns < voter->lease_ns ||
        (kept->granted_max_ns > voter->lease_ns && now_ns >= voter->resume_ns))
        return true;
    return is_primary(ask) && (!kept->held || ask->lease_ns > kept->asked_max_ns ||
                               lease_list_compare(&ask->list, &kept->list) > 0);
}

/* The first epoch began with nothing that could be signed. */
static bool is_believed(const struct lease_voter *voter, const struct lease_ask *ask)
{
    return ask->proven || (voter->kept.epoch.number == 0 && ask->epoch.number == 1);
}

/* Who is to be primary is none of the list. A region that was added since shows a newer list. */
static bool is_removed(const struct lease_voter *voter, const struct lease_ask *ask)
{
    const struct lease_list *list = &voter->kept.list;
    bool is_later = epoch_compare(ask->epoch, voter->kept.epoch) > 0;

    if (list->version == 0)
        return false;
    if (ask->candidate && !lease_list_has(list, ask->region))
        return true;
    return is_later && !lease_list_has(list, ask->epoch.region) &&
           ask->list.version <= list->version;
}

uint64_t lease_voter_wait_ns(const struct lease_voter *voter, uint32_t region, uint64_t now_ns)
{
    uint64_t from_ns = voter->resume_ns;
    if (voter->region != 0 && voter->region != region && voter->until_ns > from_ns)
        from_ns = voter->until_ns;
    return from_ns > now_ns ? from_ns - now_ns : 0;
}

static enum lease_answer grant(struct lease_voter *voter, const struct lease_ask *ask,
                               uint64_t now_ns)
{
    uint64_t until_ns = now_ns + ask->lease_ns;

    if (now_ns < voter->resume_ns)
        return LEASE_WAITS;
    if (lease_voter_wait_ns(voter, ask->region, now_ns) != 0 && !PLANTED(lease_witness_both))
        return LEASE_HELD;
    /* One that lasts longer, perhaps to another of its servers, is not made shorter. */
    if (voter->region == ask->region && voter->until_ns > until_ns)
        until_ns = voter->until_ns;
    voter->region = ask->region;
    voter->candidate = ask->candidate;
    voter->until_ns = until_ns;
    return LEASE_GRANTED;
}

enum lease_answer lease_voter_ask(struct lease_voter *voter, const struct lease_ask *ask,
                                  uint64_t now_ns)
{
    ASSERT(lease_ask_is_valid(ask));
    int order = epoch_compare(ask->epoch, voter->kept.epoch);
    bool tells = !is_primary(ask) && !ask->candidate;

    if (order < 0)
        return LEASE_OLD_EPOCH;
    /* Its leader says that the epoch is another's: nothing there acknowledges any more. That is so
     * whether it can prove the epoch or not. */
    if (tells && voter->region == ask->region)
        voter->region = 0;
    if (is_removed(voter, ask))
        return LEASE_REMOVED;
    if (order > 0 && !is_believed(voter, ask))
        return tells ? LEASE_NOTED : LEASE_UNPROVEN;
    if (is_news(voter, ask, now_ns))
        return LEASE_UNRECORDED;
    if (tells)
        return LEASE_NOTED;
    if (ask->lease_ns > voter->lease_ns)
        return LEASE_TOO_LONG;
    if (ask->candidate && !voter->kept.held)
        return LEASE_NEVER_HELD;
    return grant(voter, ask, now_ns);
}

/* ---- The primary's leader ---- */

void lease_holder_granted(uint64_t *until_ns, uint64_t asked_ns, uint64_t lease_ns)
{
    uint64_t granted_ns = asked_ns + lease_usable_ns(lease_ns);
    if (granted_ns > *until_ns)
        *until_ns = granted_ns;
}

uint64_t lease_holder_until_ns(const struct lease_holder *holder, unsigned regions_count)
{
    bool counts = regions_count <= 2 && holder->standby_until_ns > holder->witness_until_ns;
    return counts ? holder->standby_until_ns : holder->witness_until_ns;
}

/* ---- The standby's leader ---- */

enum lease_step lease_standby_step(const struct lease_standing *standing)
{
    uint64_t now = standing->now_ns;

    if (standing->by_itself) {
        if (standing->regions_count > 2)
            return LEASE_MANY;
        if (standing->heard_ns != 0 && now < standing->heard_ns + standing->lease_ns)
            return LEASE_REST;
    }
    if (now < standing->led_ns + longest(standing->lease_ns, standing->past_ns))
        return LEASE_WAIT_PAST;
    if (standing->by_itself && (!standing->lag_known || standing->lag_ns > standing->lag_max_ns))
        return LEASE_OLD_DATA;
    if (now < standing->promised_ns && !PLANTED(lease_promise_broken))
        return LEASE_WAIT_PROMISE;
    return now < standing->granted_ns ? LEASE_PROMOTE : LEASE_ASK;
}
