/* SPDX-License-Identifier: Apache-2.0 */
/* libstrait, for those who run a cluster of several regions: which regions there are, which of them
 * is the primary, and how that changes. Applications need strait.h alone, whose conventions hold
 * here too. */
#ifndef STRAIT_REGION_H
#define STRAIT_REGION_H

#include <strait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the primary does when a standby region is further behind than its bounds allow. */
enum strait_guard {
    STRAIT_GUARD_ALERT = 1, /* says so: in the status, the metrics and the log */
    STRAIT_GUARD_SLOW = 2,  /* and delays writers */
    STRAIT_GUARD_REFUSE = 3 /* and refuses writes */
};

/* A region of the cluster. What follows `heard` the primary's leader knows of the other regions,
 * and tells alone: zero where another tells it. */
struct strait_region {
    uint32_t id;
    const char *name;
    const char *const *endpoints; /* HOST:PORT, where its servers take clients and other regions */
    size_t endpoints_count;
    bool primary;
    bool self; /* the region that was asked */
    enum strait_guard guard;
    uint64_t guard_lag_bytes; /* 0: however much */
    uint64_t guard_lag_ms;    /* 0: however long */
    bool heard;               /* since that leader began to lead */
    uint64_t heard_ago_ms;
    uint64_t version; /* that it has applied */
    uint64_t lag_versions;
    uint64_t lag_bytes;
    uint64_t lag_ms;           /* since when there is something that it has not acknowledged */
    bool ready;                /* it could take over */
    bool snapshot;             /* it lacks what the log does not hold any more */
    bool checkpoint;           /* it is being sent one, with the next two */
    uint64_t checkpoint_bytes; /* that it has */
    uint64_t checkpoint_bytes_total; /* 0: not known yet */
    const char *upstream; /* the standby that it pulls from, as one itself; "": the primary */
};

/* What a server knows of its region's leases, where a witness is configured. */
struct strait_lease {
    bool held;            /* of the primary's leader: it may acknowledge */
    uint64_t witness_ms;  /* that the witness's grant holds yet; 0: it is over */
    uint64_t standby_ms;  /* the same of the standby's */
    bool waived;          /* promoted by force, it goes without until it has one */
    bool connected;       /* to the witness */
    uint64_t promised_ms; /* of a standby's leader: it has promised not to be promoted yet */
    bool automatic;       /* a standby promotes itself */
    const char *text;  /* what keeps it from being promoted, or what the witness said; "": none */
    uint32_t lease_ms; /* as it is configured */
};

/* What a region knows of the cluster and itself; after `source`, what a standby's leader does. */
struct strait_regions {
    struct strait_token position; /* of whoever answers */
    uint64_t list_version;        /* that wrote the list */
    uint32_t region_id;           /* of whoever answers */
    bool fenced;                  /* it takes no writes: it knows of this higher epoch */
    uint64_t fence_number;
    uint32_t fence_region;
    const char *source; /* HOST:PORT that it follows; "": none answers */
    bool source_known;  /* the primary was heard: the next three hold */
    uint64_t source_version;
    uint64_t answered_ago_ms;
    uint64_t lag_versions;
    bool age_known;
    uint64_t age_ms;     /* nothing older than this is missing here */
    const char *trouble; /* why it cannot follow, and what to do; "": it can */
    size_t count;
    const struct strait_region *items;
    uint32_t unconfirmed_count; /* at the primary's leader: commits whose answer waits for a standby
                                 * (strait_txn_set_remote()) */
    bool rewinding; /* it gives up what it had committed alone as the primary, and follows then */
    const struct strait_lease *lease; /* NULL: no witness is configured */
    bool checkpoint; /* it catches up by a checkpoint of the primary's, with the next two */
    uint64_t checkpoint_bytes;       /* that have come */
    uint64_t checkpoint_bytes_total; /* 0: not known yet */
};

/* Asks the region that the handle's connection leads to: its leader, or with `any` whichever of its
 * servers answers. To ask a certain region, give the handle endpoints of its servers alone. */
STRAIT_API enum strait_status strait_region_list(strait *handle, bool any, uint32_t timeout_ms,
                                                 struct strait_regions **list,
                                                 struct strait_error *error);

/* What an administrator says of a region. The caller's own. */
struct strait_region_settings {
    uint32_t id;           /* that its servers are configured with; not 0; never given to another */
    const char *name;      /* as names of tables */
    const char *endpoints; /* "HOST:PORT[,HOST:PORT...]": at most 16, each of at most 64 bytes */
    enum strait_guard guard;
    uint64_t guard_lag_bytes;
    uint64_t guard_lag_ms;
    const char *upstream; /* the standby that it is to pull from; NULL or "": the primary */
};

/* Changes of the list, by the primary. Each answers once it is applied, with the list as it is then
 * (`list` may be NULL). Adding: ALREADY_EXISTS where the id or the name is taken. Setting replaces
 * all that is said of an id; NOT_FOUND where there is none. BUSY, after repeats until the deadline,
 * while another change is under way. OUTCOME_UNKNOWN: the leader changed meanwhile; the list
 * tells. Where there is a witness, it is told first of a region that is removed, so that it grants
 * that one nothing any more: CONDITION_FAILED where it cannot be reached, or has granted that
 * region a promotion; `force` removes all the same, and then nothing but stopping its servers keeps
 * the region, if it is cut off, from being promoted by the witness's grant. */
STRAIT_API enum strait_status strait_region_add(strait *handle,
                                                const struct strait_region_settings *settings,
                                                uint32_t timeout_ms, struct strait_regions **list,
                                                struct strait_error *error);
STRAIT_API enum strait_status strait_region_set(strait *handle,
                                                const struct strait_region_settings *settings,
                                                uint32_t timeout_ms, struct strait_regions **list,
                                                struct strait_error *error);
STRAIT_API enum strait_status strait_region_remove(strait *handle, const char *name, bool force,
                                                   uint32_t timeout_ms,
                                                   struct strait_regions **list,
                                                   struct strait_error *error);

struct strait_switchover {
    struct strait_token position; /* of the grant: the old primary's last */
    uint64_t paused_ms;           /* how long commits had waited by then */
    bool was_primary_before;      /* nothing had to be done */
};

/* Makes the standby `to` the primary, without loss: commits wait while it catches up. Answers once
 * the old primary has handed over. Where `to` does not catch up within `pause_max_ms` (0: 5,000),
 * or could not take over, all stays as it was, and the error says why. May be repeated: where it
 * was done, it is OK. `timeout_ms` 0 stands for the handle's own and `pause_max_ms` together.
 * OUTCOME_UNKNOWN: the leader changed meanwhile; asking again tells. `done` may be NULL. */
STRAIT_API enum strait_status strait_region_switchover(strait *handle, const char *to,
                                                       uint32_t pause_max_ms, uint32_t timeout_ms,
                                                       struct strait_switchover **done,
                                                       struct strait_error *error);

struct strait_promotion {
    bool done;
    bool was_primary_before;      /* nothing had to be done */
    struct strait_token position; /* of this region: after it where it was done, else now */
    bool source_known;            /* the primary was heard: the next three hold */
    uint64_t answered_ago_ms;
    uint64_t source_version;    /* the newest that was heard of there */
    uint64_t lost_versions_min; /* known to be missing here: given up; more may be */
    bool age_known;
    uint64_t age_ms; /* what was acknowledged there within this time may be missing here */
    const struct strait_lease *lease; /* NULL: no witness is configured */
};

/* Asks the region that the handle's connection leads to, a standby, to take over without the
 * primary, which may have acknowledged what has not come here: that is given up. To promote a
 * certain region, give the handle endpoints of its servers alone. With `explain` nothing is done:
 * the result says what it would mean. Without `force` it is refused with CONDITION_FAILED where the
 * primary was heard just now: then a switchover loses nothing; and, where there is a witness, until
 * that has granted it and so the old primary's lease is over. Of a region that is the primary,
 * `force` makes it acknowledge without a lease until it has one. May be repeated: where it was
 * done, it is OK. `made` may be NULL. */
STRAIT_API enum strait_status strait_region_promote(strait *handle, bool explain, bool force,
                                                    uint32_t timeout_ms,
                                                    struct strait_promotion **made,
                                                    struct strait_error *error);

/* ---- The witness ---- */

enum strait_lease_answer {
    STRAIT_LEASE_NONE = 0, /* not known to this library */
    STRAIT_LEASE_GRANTED = 1,
    STRAIT_LEASE_NOTED = 2,      /* nothing was asked for */
    STRAIT_LEASE_WAITS = 3,      /* the witness was restarted */
    STRAIT_LEASE_HELD = 4,       /* by another region */
    STRAIT_LEASE_OLD_EPOCH = 5,  /* a higher one is known */
    STRAIT_LEASE_TOO_LONG = 6,   /* longer than it grants */
    STRAIT_LEASE_NEVER_HELD = 7, /* to be promoted against a primary that goes without leases */
    STRAIT_LEASE_UNPROVEN = 8,   /* it came without a valid record of its epoch */
    STRAIT_LEASE_REMOVED = 9     /* of a region that the primary has taken out of the list */
};

/* What a region's leader asked last. */
struct strait_witness_region {
    uint32_t id;
    const char *server; /* its identity */
    uint64_t asked_ago_ms;
    bool candidate; /* to be promoted */
    enum strait_lease_answer answer;
};

struct strait_witness {
    uint64_t epoch_number; /* the highest that it knows; 0: none */
    uint32_t epoch_region;
    bool epoch_held;     /* that epoch's primary goes by leases */
    uint32_t granted_to; /* a region; 0: none holds a grant */
    bool candidate;      /* to be promoted */
    uint64_t granted_ms; /* for how long yet */
    uint64_t waits_ms;   /* after its start: until it grants anything */
    uint32_t lease_ms;   /* the longest that it grants */
    uint64_t up_ms;
    uint64_t granted_count; /* since its start */
    uint64_t refused_count;
    uint64_t list_version; /* of the list of regions that the primary told; 0: none */
    size_t listed_count;
    const uint32_t *listed; /* the regions that may be primary */
    size_t count;
    const struct strait_witness_region *items;
};

/* Asks the witness that the handle's connection leads to: give the handle its endpoint alone.
 * UNSUPPORTED: that is no witness. */
STRAIT_API enum strait_status strait_witness_status(strait *handle, uint32_t timeout_ms,
                                                    struct strait_witness **witness,
                                                    struct strait_error *error);

/* ---- What was given up ----
 *
 * A region that comes back as a standby after another was promoted without it gives up what the
 * other never had. All of it is kept, in a report, until that is closed. These calls ask the region
 * that the handle's connection leads to: give the handle endpoints of its servers alone. */

struct strait_lost_report {
    uint64_t id;
    struct strait_token position; /* of the last entry that was given up */
    uint64_t next_epoch_number;   /* of the epoch that it gave way to */
    uint32_t next_epoch_region;
    uint64_t first_version;
    uint64_t last_version;
    uint64_t count; /* of entries */
    uint64_t size;  /* their bytes */
    uint64_t log_time_ns;
    bool closed; /* its entries are gone */

    /* Of these versions, which were given up too, some are not among the entries: the region's log
     * did not hold them any more. 0: all are. */
    uint64_t unlisted_first_version;
    uint64_t unlisted_last_version;
};

struct strait_lost_reports {
    uint32_t region_id; /* of whoever answers */
    size_t count;
    const struct strait_lost_report *items; /* oldest first */
};

STRAIT_API enum strait_status strait_region_lost_list(strait *handle, uint32_t timeout_ms,
                                                      struct strait_lost_reports **reports,
                                                      struct strait_error *error);

enum strait_lost_kind {
    STRAIT_LOST_COMMIT = 1,  /* a transaction */
    STRAIT_LOST_TICK = 2,    /* the region's own housekeeping: what was due was removed */
    STRAIT_LOST_REGIONS = 3, /* a change of the list of regions */
    STRAIT_LOST_EPOCH = 4    /* a hand-over that came to nothing */
};

struct strait_lost_entry {
    enum strait_lost_kind kind;
    struct strait_token position; /* where it stood in the history that was given up */
    uint64_t log_time_ns;
    const char *identity; /* who asked for it; "": nobody did */

    /* Of a transaction. */
    bool has_outcome;           /* what it had come to there is known */
    enum strait_status outcome; /* OK: it was done; else why it was refused, and nothing was */
    struct strait_bytes commit; /* as it came from its client */
};

struct strait_lost_entries {
    bool more;
    size_t count;
    const struct strait_lost_entry *items; /* by position, ascending */
};

/* A page of a report: what follows `after` (NULL: from the first on), at most `entries_max` of it
 * (0: as many as a reply holds). NOT_FOUND: there is no such report, or it is closed. */
STRAIT_API enum strait_status strait_region_lost_read(strait *handle, uint64_t report_id,
                                                      const struct strait_token *after,
                                                      uint32_t entries_max, uint32_t timeout_ms,
                                                      struct strait_lost_entries **entries,
                                                      struct strait_error *error);

enum strait_lost_operation_kind {
    STRAIT_LOST_PUT = 1,
    STRAIT_LOST_DELETE = 2,
    STRAIT_LOST_ADD = 3,
    STRAIT_LOST_TABLE_CREATE = 4,
    STRAIT_LOST_TABLE_DROP = 5,
    STRAIT_LOST_INDEX_CREATE = 6,
    STRAIT_LOST_INDEX_DROP = 7
};

struct strait_lost_operation {
    enum strait_lost_operation_kind kind;
    const char *table;
    struct strait_bytes key;                  /* of PUT, DELETE, ADD */
    struct strait_bytes value;                /* of PUT */
    uint64_t ttl_ms;                          /* of PUT; 0: it does not expire */
    const struct strait_index_entry *indexes; /* of PUT */
    size_t indexes_count;
    int64_t amount;                /* of ADD */
    struct strait_add_options add; /* of ADD */
    const char *index;             /* of INDEX_CREATE, INDEX_DROP; else "" */
    bool unique;                   /* of INDEX_CREATE */
};

struct strait_lost_commit {
    char txn[STRAIT_TXN_TOKEN_SIZE]; /* as strait_txn_status() takes it */
    size_t conditions_count;
    size_t reads_count; /* keys and ranges that it had read */
    size_t count;
    const struct strait_lost_operation *operations;
};

/* What a transaction was to do. MALFORMED: the bytes are no commit. Asks nobody. */
STRAIT_API enum strait_status strait_lost_commit_of(const struct strait_lost_entry *entry,
                                                    struct strait_lost_commit **commit,
                                                    struct strait_error *error);

/* Commits the transaction again as it is, under its old id: `handle` leads to the primary. It runs
 * at most once: where it is known there, `repeated` of the result says so; where it is too old for
 * that to be told, TXN_EXPIRED, and nothing is done. Also without effect: HISTORY_LOST, where it
 * goes by what it read in the history that was given up; CONDITION_FAILED, where it was refused at
 * its time, or that is not known. Else as strait_commit(). */
STRAIT_API enum strait_status
strait_region_lost_replay(strait *handle, const struct strait_lost_report *report,
                          const struct strait_lost_entry *entry, uint32_t timeout_ms,
                          struct strait_commit_result *result, struct strait_error *error);

/* Gives up the entries of a report for good. May be repeated. NOT_FOUND: there is no such report.
 */
STRAIT_API enum strait_status strait_region_lost_close(strait *handle, uint64_t report_id,
                                                       uint32_t timeout_ms,
                                                       struct strait_error *error);

#ifdef __cplusplus
}
#endif

#endif
