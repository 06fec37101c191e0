/* SPDX-License-Identifier: Apache-2.0 */
/* The replica: the one thread that owns the state.
 *
 * A commit's way: a request comes from a net loop -> admission -> the replicated log -> committed
 * -> applied -> reply. Reads are answered from a view of the applied state; where a block is not in
 * memory they are parked and run again when it is there. Nothing here blocks but core_open() and
 * core_close().
 *
 * All that it does goes by its io, its bus and its seed: with simulated ones and workers inline it
 * is one thread whose run can be repeated.
 *
 * A turn: io_turn() runs callbacks, which only take note; core_take() takes requests; core_turn()
 * does what is ready, and starts the flush of what was proposed. */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H

#include "proto/base/error.h"
#include "proto/base/hash.h"
#include "proto/membership.h"
#include "proto/epoch.h"
#include "proto/regions.h"
#include "replication/bus.h"
#include "replication/region/link.h"
#include "replication/replicated_log.h"
#include "server/net/mailbox.h"
#include "storage/io/io.h"
#include "storage/seal/registry.h"

struct core;

/* What asking a server who it is has come to: OK with its id, name and addresses, and the highest
 * cluster version that its program can apply; or why not, with a sentence. */
typedef void core_probed_fn(void *context, enum status status, const struct member *member,
                            uint32_t cluster_version_max, const char *text);

struct core_options {
    struct io *io;
    struct keyring *keyring;
    const char *directory; /* the data directory: exists, is locked, has a registry */

    size_t memtable_size; /* 0: the LSM's default; the same for those below */
    size_t cache_size;
    uint64_t segment_size;
    uint64_t table_size;
    unsigned workers_count; /* 0: 1 */
    bool workers_inline;    /* no threads: jobs are stepped by core_turn(), on `io` */
    bool uncompressed;
    uint64_t outcome_retention_ms; /* 0: one hour */
    uint64_t outcomes_size_max;    /* 0: 1 GiB */
    uint32_t snapshot_age_ms;      /* 0: limit_snapshot_age_ms */
    uint64_t disk_reserve_size;    /* 0: 256 MiB; below it only deletes are taken */
    uint64_t scrub_period_ms;      /* between two scrubs, of log time; 0: only when asked for */
    uint32_t cluster_version_max;  /* as in struct state_options: of simulations; else 0 */

    /* The region. */
    uint32_t region_id; /* the same at all its members; 0: 1 */

    /* Other regions. */
    struct link *link;        /* to whichever is the primary; NULL: none can be followed */
    struct link *herald_link; /* to whoever is to know of this region's promotion; NULL: nobody */
    /* The witness (replication/region/lease.h), and where it is: HOST:PORT; they outlive the core.
     * NULL: none, and nothing needs a lease. */
    struct link *witness_link;
    const char *const *witnesses;
    size_t witnesses_count;
    uint32_t lease_ms;           /* lease_ms_min to lease_ms_max; the same at all members of all
                                    regions, at most the witness's */
    bool promote_automatic;      /* a standby that lost its primary promotes itself */
    uint64_t promote_lag_max_ms; /* but not where its data was older than this by then */
    /* Of a region whose store is new: it has nothing of its own, and takes another's history from
     * the first version on, from these endpoints (HOST:PORT) until its list of regions names them.
     * Outlives the core. */
    const char *const *standby_of;
    size_t standby_of_count;         /* 0: a new store begins a history of its own */
    uint64_t shipping_retained_size; /* bytes of log kept for other regions; 0: the default */

    /* Signs the record of a promotion of `self`, which says what `change` does; at most
     * limit_promotion_record_size bytes. Errors are for people. NULL: this region cannot be
     * promoted. */
    enum status (*promotion_sign)(void *context, const struct epoch_change *change,
                                  const struct region *self, uint8_t *record, size_t *size,
                                  struct error *error);
    /* Whether a record that anybody sent is one: the epoch that it begins. NULL: none is. */
    enum status (*promotion_verify)(void *context, struct bytes record, struct epoch *to,
                                    struct error *error);

    struct bus *bus;    /* NULL: a region of one for good */
    struct member self; /* name and addresses; the id is made with the store */
    bool bootstrap;     /* of a new store: it is a region of one, and leads; else it waits */
    uint64_t seed;      /* drawn anew for each opening: election timeouts, a new store's id,
                           numbers of snapshots */
    uint64_t election_timeout_ms; /* 0: the log's default */
    bool lease_off;               /* each linearizable read asks a quorum */
    bool upgrade_held;            /* the cluster version rises only when an administrator asks */

    /* Asks the server at a peers' address (hostile text: HOST:PORT is to be checked) who it is, and
     * makes sure that its certificate says `name` and its store is of this cluster. Calls `probed`
     * once, from a turn of the io, within a bounded time; `address` and `name` are valid during the
     * call. NULL: no members can be added. */
    void (*probe)(void *context, const char *address, const char *name, core_probed_fn *probed,
                  void *probed_context);

    /* Processor time of the process, for the status; NULL: not told. */
    uint64_t (*processor_us)(void *context);

    /* The core cannot go on: the process ends, with this reason. Told once. Where the callee does
     * not end the process (a simulation), nothing but core_abandon() follows. */
    void (*failed)(void *context, const struct error *error);
    void *context;
};

/* Opens the storage, starts the workers, and, in a region of one, replays the log and begins its
 * term. Errors name the file and what to do. Blocking. */
MUST_CHECK enum status core_open(const struct core_options *options, struct core **core,
                                 struct error *error);

/* Takes one request; it is answered with request_reply() or request_refuse(), at once or later. */
void core_take(struct core *core, struct request *request);

/* Does what is ready. Returns whether there is more to do at once: then the caller does not wait.
 */
bool core_turn(struct core *core);

/* The server is about to stop: where it leads and another voter answers, that one is asked to take
 * over. Does not wait. */
void core_stop(struct core *core);

/* Refuses all requests that are not answered: for those that a stop cannot wait for. */
void core_refuse_rest(struct core *core);

/* Graceful stop: parked reads and proposals are answered, the memtables are written as tables, so
 * that the next start has nothing to replay. No request comes any more. Blocking. */
MUST_CHECK enum status core_close(struct core *core, struct error *error);

/* The end as by a loss of power: requests are refused, memory is freed, and nothing more is written
 * by intention. For simulation, where the disk is gone or the core has failed. */
void core_abandon(struct core *core);

/* Requests that are not answered yet. */
uint64_t core_requests_count(const struct core *core);

/* Where it stands, for those who compare replicas: a simulation, checks of digests. */
struct core_facts {
    uint64_t member; /* this store's id in its region */
    uint64_t term;
    bool leads;
    const char *role; /* as the status tells it; static */
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t version;
    struct hash128 chain_digest; /* over the write sets of all versions up to it */
    uint64_t snapshots_count;    /* that took the state's place since the start */
    bool is_installing;          /* another state takes its place right now */
    uint64_t rebuilds_count;     /* of these, for a state that was damaged or another one */
    bool is_rebuilding;
    uint64_t odd_version;  /* at which the state was seen to be another one; 0: never */
    uint64_t scrubs_count; /* ended since the start */
    uint32_t cluster_version;
    uint64_t rewinds_count;    /* through since the start */
    uint64_t surrenders_count; /* the same, proposed by this leader */
    bool is_surrendered;       /* a tail is reported, and a checkpoint waited for */
    bool is_rewinding;
    uint64_t adoptions_count; /* of other regions' checkpoints, since the start */
    bool is_adopting;
    bool lacks_checkpoint; /* it was rebuilt, or is, as it had none to go back to */
};
struct core_facts core_facts(const struct core *core);

/* The same of its region's place among others. */
struct core_region_facts {
    struct epoch epoch;   /* the state's */
    struct epoch highest; /* that it knows of: the state's, a fence's, a promotion's */
    bool is_primary;
    bool is_draining;             /* for a switchover */
    bool lease_is_waived;         /* by force: it acknowledges without one */
    const struct epoch_end *ends; /* of epochs before, oldest first; until something is applied */
    size_t ends_count;
    const char *trouble; /* why it cannot follow; empty: none; until the next turn */
};
struct core_region_facts core_region_facts(const struct core *core);

/* Its log, to be looked at; valid as long as the core. */
const struct replicated_log *core_log(const struct core *core);

#endif
