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
 * Lengths. Where the lease is shortened in the configuration, what was granted before lasts as long
 * as it was. So a witness keeps the longest that it may have granted until that is over, and the
 * longest that the epoch's primary has asked for, of whomever, and tells the latter with every
 * answer: a standby's new leader waits for that long, whatever it is configured with itself.
 *
 * Epochs. A claim counts for nothing: an epoch above the one that is known is taken where its
 * signed record comes with it, or as the first one of a cluster, where none is known.
 *
 * Regions. A primary that goes on without a standby, because it was taken out of the list, needs no
 * lease from then on; but that standby, cut off, may not know. So the primary tells the witness the
 * list of regions with each question, and before it takes one out, the list without that one: from
 * then on the witness grants it nothing, and takes no epoch from it. Lists are ordered
 * (lease_list), as messages of an earlier leader may come late.
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
#include "proto/limits.h"

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

/* The regions that may be primary, as an epoch's primary tells them. Of two lists of an epoch that
 * one counts which was told later: of a higher version, else by a later leader, else later by that
 * leader. */
struct lease_list {
    uint64_t version; /* of the list in the state; 0: none was told */
    uint64_t term;    /* of the leader that tells it */
    uint64_t serial;  /* drawn by that leader, ascending */
    unsigned count;
    uint32_t regions[limit_regions_count];
};

/* By the order above. <0, 0, >0. */
int lease_list_compare(const struct lease_list *a, const struct lease_list *b);
bool lease_list_has(const struct lease_list *list, uint32_t region);

struct lease_ask {
    uint32_t region;    /* who asks; never 0 */
    struct epoch epoch; /* of its state; the number is never 0 */
    bool candidate;     /* it is to be promoted; `epoch` is another region's */
    bool proven;        /* a signed record of the epoch came with it, and was verified */
    uint64_t lease_ns;
    struct lease_list list; /* of a primary */
};

/* Whether a message can say that: its region and epoch are some, it is no candidate for what it
 * has, the lease is at most lease_ms_max, and a list has no more regions than there can be, the
 * asker among them. */
bool lease_ask_is_valid(const struct lease_ask *ask);

enum lease_answer {
    LEASE_GRANTED = 1,
    LEASE_NOTED,      /* a standby that asks for nothing; what its region held is over */
    LEASE_WAITS,      /* nothing is granted yet */
    LEASE_HELD,       /* by another region */
    LEASE_OLD_EPOCH,  /* a higher one is known */
    LEASE_TOO_LONG,   /* longer than this voter grants */
    LEASE_NEVER_HELD, /* a candidate against a primary that never asked for a lease */
    LEASE_UNPROVEN,   /* its epoch is above the known one, and nothing proves it */
    LEASE_REMOVED,    /* of a region that was taken out of the list, or an epoch of such a one */
    LEASE_UNRECORDED, /* what it says is new: lease_voter_record() first */
};

/* What a voter keeps over restarts. */
struct lease_kept {
    struct epoch epoch;      /* the highest that is known; the number 0: none */
    bool held;               /* its primary has asked for a lease */
    uint64_t granted_max_ns; /* no grant that may not be over is longer */
    uint64_t asked_max_ns;   /* the longest that the epoch's primary has asked for */
    struct lease_list list;  /* as the epoch's primary told it last */
};

struct lease_voter {
    uint64_t lease_ns;  /* the longest that it grants */
    uint64_t resume_ns; /* nothing is granted before */
    struct lease_kept kept;

    /* The grant. */
    uint32_t region; /* 0: there is none */
    bool candidate;
    uint64_t until_ns;
};

/* At the start, with what was kept. */
void lease_voter_init(struct lease_voter *voter, uint64_t lease_ns, const struct lease_kept *kept,
                      uint64_t now_ns);

/* What comes of it, at `now_ns`, which never goes back. UNRECORDED changes nothing: the caller
 * makes durable what lease_voter_next() gives, calls lease_voter_record(), and asks again. */
enum lease_answer lease_voter_ask(struct lease_voter *voter, const struct lease_ask *ask,
                                  uint64_t now_ns);

/* What is to be kept for the sake of this question, which is UNRECORDED. */
void lease_voter_next(const struct lease_voter *voter, const struct lease_ask *ask, uint64_t now_ns,
                      struct lease_kept *kept);

/* That is durable now. A grant of an earlier epoch lasts to its end all the same. */
void lease_voter_record(struct lease_voter *voter, const struct lease_kept *kept);

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
    uint64_t past_ns;     /* how long a promise of an earlier leader may be; 0: as `lease_ns` */
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
