/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshots that clients hold: each pins a version, so that the horizon stays at or below it.
 *
 * A snapshot lives at most its age unless it is renewed, and ends early when it is closed or
 * cancelled. It belongs to the identity that opened it. Not part of the replicated state: a restart
 * ends them all. Bounded by limit_snapshots_count. Belongs to the core's thread; times are
 * io_boot_ns(). */
#ifndef SERVER_SNAPSHOTS_H
#define SERVER_SNAPSHOTS_H

#include "proto/base/bytes.h"
#include "proto/base/list.h"
#include "proto/base/status.h"
#include "proto/limits.h"

enum {
    snapshot_client_size = 64,
    snapshots_first_shift = 16, /* leaves `first` room to count in */
};

struct snapshot {
    struct list_link link; /* by version, oldest first; or among the free ones */
    uint64_t id;           /* 0: free */
    uint64_t version;
    uint64_t opened_ns;
    uint64_t deadline_ns;
    char identity[limit_identity_size + 1];
    char client[snapshot_client_size + 1];
};

struct snapshots {
    struct snapshot *slots;
    uint32_t touched_count; /* slots from there on were never used: their memory is not touched */
    struct list_link open;  /* by version */
    struct list_link free;  /* used before */
    uint64_t age_max_ns;
    uint64_t opened_count; /* ever */
    uint32_t count;
};

/* `first`, a random number below 2^(64 - snapshots_first_shift), makes ids differ from those of
 * earlier starts and of other servers. NO_MEMORY. */
MUST_CHECK enum status snapshots_init(struct snapshots *snapshots, uint64_t age_max_ns,
                                      uint64_t first);
void snapshots_free(struct snapshots *snapshots);

/* Versions never go back from one call to the next. BUSY where all are taken. */
MUST_CHECK enum status snapshots_open(struct snapshots *snapshots, const char *identity,
                                      const char *client, uint64_t version, uint64_t now_ns,
                                      struct snapshot **snapshot);

/* NULL where there is none of this id, or it is another identity's; `identity` NULL: anyone's. */
struct snapshot *snapshots_find(struct snapshots *snapshots, uint64_t id, const char *identity);

/* A new deadline, one age from now. */
void snapshots_renew(struct snapshots *snapshots, struct snapshot *snapshot, uint64_t now_ns);
void snapshots_close(struct snapshots *snapshots, struct snapshot *snapshot);

/* Ends all: the versions that they pin are none of the state's any more. Returns how many. */
uint32_t snapshots_clear(struct snapshots *snapshots);

/* Ends those whose deadline has passed; returns how many. */
uint32_t snapshots_expire(struct snapshots *snapshots, uint64_t now_ns);

/* The oldest version that is pinned, or `newest` where none is. */
uint64_t snapshots_oldest(const struct snapshots *snapshots, uint64_t newest);

#endif
