/* SPDX-License-Identifier: Apache-2.0 */
/* Leases between regions: which region may acknowledge, and when another may be promoted.
 *
 * Voters are the primary region, the standby region and a witness. A primary acknowledges commits
 * and linearizable reads while it has its own region's vote and one other's; a standby is promoted,
 * unless an operator forces it, with its own and the witness's. Any two of these pairs share a
 * voter, and a voter is with one region at a time:
 *
 *     primary + witness  |  standby + witness    the witness grants to one until that is over
 *     primary + standby  |  standby + witness    the standby promises until then not to promote
 *
 * The vote of a region is its leader's. The primary's own is its leadership (its Raft lease, its
 * commits); a standby's leader grants while its Raft lease holds, so that no other leads there, and
 * a new leader waits one full lease before it asks to be promoted: then what an earlier one
 * promised is over. A witness that was restarted waits one full lease before it grants anything; it
 * keeps epochs, not grants.
 *
 * A grant is of an epoch. A candidate's, of the epoch before its own, permits its promotion and no
 * acknowledgement: those need a grant of the new epoch, which the witness has recorded by then. So
 * once the new primary has acknowledged anything, the old one gets no grant from anybody.
 *
 * Time. A holder counts from when it sent its request, a voter from when that came, each by its own
 * clock that runs on while the machine sleeps (CLOCK_BOOTTIME). Clocks may differ in rate by 1,000
 * ppm either way: a holder leaves 1/500 of the lease unused, and a millisecond more. (Gray and
 * Cheriton, Leases, 1989; the bound is that of the Raft lease.)
 *
 * Three or more regions. Two standbys could form pairs with and without the witness that share no
 * voter: the standby's grant counts only while there are two regions in the list; with more it is
 * the witness's that a primary needs, and none is promoted by itself.
 *
 * Pure: no clock, no I/O, no memory of its own. */
#ifndef REPLICATION_REGION_LEASE_H
#define REPLICATION_REGION_LEASE_H

#include "proto/base/planted.h"
#include "proto/epoch.h"

enum {
    lease_ms_min = 500,
    lease_ms_max = 60 * 1000,
    lease_ms_default = 6000, /* recommended: far above any pause of a healthy server or link */
    lease_rate_divisor = 500,
};

/* What a holder makes use of. */
static inline uint64_t lease_usable_ns(uint64_t lease_ns)
{
    uint64_t unused_ns = lease_ns / lease_rate_divisor + 1000 * 1000;
    if (PLANTED(lease_clocks_equal))
        return lease_ns;
    return lease_ns > unused_ns ? lease_ns - unused_ns : 0;
}

/* ---- The witness ---- */

struct lease_ask {
    uint32_t region;    /* who asks; never 0 */
    struct epoch epoch; /* of its state; the number is never 0 */
    bool candidate;     /* it is to be promoted; `epoch` is another region's */
    uint64_t lease_ns;
};

/* Whether a message can say that: its region and epoch are some, and it is no candidate for what it
 * has. */
bool lease_ask_is_valid(const struct lease_ask *ask);

enum lease_answer {
    LEASE_GRANTED = 1,
    LEASE_NOTED,      /* a standby that asks for nothing; what its region held is over */
    LEASE_WAITS,      /* nothing is granted yet */
    LEASE_HELD,       /* by another region */
    LEASE_OLD_EPOCH,  /* a higher one is known */
    LEASE_TOO_LONG,   /* longer than this voter grants */
    LEASE_NEVER_HELD, /* a candidate against a primary that never asked for a lease */
    LEASE_UNRECORDED, /* what it says is new: lease_voter_record() first */
};

struct lease_voter {
    uint64_t lease_ns;  /* the longest that it grants */
    uint64_t resume_ns; /* nothing is granted before */

    /* Kept over restarts. */
    struct epoch epoch; /* the highest that is known; the number 0: none */
    bool held;          /* its primary has asked for a lease */

    /* The grant. */
    uint32_t region; /* 0: there is none */
    bool candidate;
    uint64_t until_ns;
};

/* At the start, with what was kept. */
void lease_voter_init(struct lease_voter *voter, uint64_t lease_ns, struct epoch epoch, bool held,
                      uint64_t now_ns);

/* What comes of it, at `now_ns`, which never goes back. UNRECORDED changes nothing: the caller
 * makes durable what lease_voter_next() gives, calls lease_voter_record(), and asks again. */
enum lease_answer lease_voter_ask(struct lease_voter *voter, const struct lease_ask *ask,
                                  uint64_t now_ns);

/* What is to be kept for the sake of this question. */
void lease_voter_next(const struct lease_voter *voter, const struct lease_ask *ask,
                      struct epoch *epoch, bool *held);

/* That is durable now. A grant of an earlier epoch lasts to its end all the same. */
void lease_voter_record(struct lease_voter *voter, struct epoch epoch, bool held);

/* How long until another region may be granted something; 0: now. */
uint64_t lease_voter_wait_ns(const struct lease_voter *voter, uint32_t region, uint64_t now_ns);

/* ---- The primary's leader ---- */

/* What it was granted, by its own clock; 0: nothing. Cleared whenever it begins to lead, and with
 * each new epoch. */
struct lease_holder {
    uint64_t witness_until_ns;
    uint64_t standby_until_ns;
};

/* Notes a grant of what was asked for at `asked_ns`. Grants may come in any order. */
void lease_holder_granted(uint64_t *until_ns, uint64_t asked_ns, uint64_t lease_ns);

/* Until when it may acknowledge. `regions_count`: of the list. */
uint64_t lease_holder_until_ns(const struct lease_holder *holder, unsigned regions_count);

/* ---- The standby's leader ---- */

/* What it knows when it decides. */
struct lease_standing {
    uint64_t now_ns;
    uint64_t lease_ns;
    uint64_t led_ns;      /* since when it leads */
    uint64_t promised_ns; /* until when it has promised not to promote; 0: it has not */
    uint64_t granted_ns;  /* until when the witness has granted it to be promoted; 0: it has not */

    bool by_itself; /* nobody asks for it */
    unsigned regions_count;
    uint64_t heard_ns; /* when the primary was heard last; 0: never since it leads */
    bool lag_known;
    uint64_t lag_ns;     /* how old the data is, beyond a lease's time */
    uint64_t lag_max_ns; /* older, and an operator has to decide */
};

enum lease_step {
    LEASE_REST,         /* the primary is there, or is to be waited for */
    LEASE_OLD_DATA,     /* by itself it does not: too much may be missing here */
    LEASE_MANY,         /* by itself it does not: there are more than two regions */
    LEASE_WAIT_PAST,    /* what an earlier leader may have promised is not over */
    LEASE_WAIT_PROMISE, /* what it promised itself is not */
    LEASE_ASK,          /* the witness is to be asked, and nothing promised to the primary */
    LEASE_PROMOTE,      /* all is there */
};

enum lease_step lease_standby_step(const struct lease_standing *standing);

#endif
