/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/lease.h"

#include "proto/base/assert.h"

/* ---- The witness ---- */

bool lease_ask_is_valid(const struct lease_ask *ask)
{
    return ask->region != 0 && ask->epoch.number != 0 && ask->epoch.region != 0 &&
           !(ask->candidate && ask->epoch.region == ask->region);
}

static bool is_primary(const struct lease_ask *ask)
{
    return ask->epoch.region == ask->region;
}

void lease_voter_init(struct lease_voter *voter, uint64_t lease_ns, struct epoch epoch, bool held,
                      uint64_t now_ns)
{
    *voter = (struct lease_voter){
        .lease_ns = lease_ns, .resume_ns = now_ns + lease_ns, .epoch = epoch, .held = held};
    if (PLANTED(lease_witness_at_once))
        voter->resume_ns = now_ns;
}

void lease_voter_next(const struct lease_voter *voter, const struct lease_ask *ask,
                      struct epoch *epoch, bool *held)
{
    bool is_new = epoch_compare(ask->epoch, voter->epoch) > 0;
    *epoch = is_new ? ask->epoch : voter->epoch;
    *held = (!is_new && voter->held) || is_primary(ask);
}

void lease_voter_record(struct lease_voter *voter, struct epoch epoch, bool held)
{
    ASSERT(epoch_compare(epoch, voter->epoch) >= 0);
    voter->epoch = epoch;
    voter->held = held;
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
    int order = epoch_compare(ask->epoch, voter->epoch);
    if (order < 0)
        return LEASE_OLD_EPOCH;
    if (order > 0 || (is_primary(ask) && !voter->held))
        return LEASE_UNRECORDED;
    if (!is_primary(ask) && !ask->candidate) {
        /* Its leader says that the epoch is another's: nothing there acknowledges any more. */
        if (voter->region == ask->region)
            voter->region = 0;
        return LEASE_NOTED;
    }
    if (ask->lease_ns > voter->lease_ns)
        return LEASE_TOO_LONG;
    if (ask->candidate && !voter->held)
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
    if (now < standing->led_ns + standing->lease_ns)
        return LEASE_WAIT_PAST;
    if (standing->by_itself && (!standing->lag_known || standing->lag_ns > standing->lag_max_ns))
        return LEASE_OLD_DATA;
    if (now < standing->promised_ns && !PLANTED(lease_promise_broken))
        return LEASE_WAIT_PROMISE;
    return now < standing->granted_ns ? LEASE_PROMOTE : LEASE_ASK;
}
