/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the workload share: workload.c (which transaction comes next, the commits),
 * workload_lists.c, workload_accounts.c (accounts and members), workload_leases.c. */
#ifndef TESTS_SIM_WORKLOAD_INTERNAL_H
#define TESTS_SIM_WORKLOAD_INTERNAL_H

#include "tests/sim/workload.h"

enum { workload_value_max = 1024, workload_keys_max = 16 };

/* One list as a transaction sees it: what was read, and what it appended since. */
struct workload_view {
    int64_t list;
    uint64_t version; /* of the record; 0: there is none */
    int64_t numbers[workload_list_length * 4];
    uint32_t read_count; /* of them were read */
    uint32_t count;
};

struct workload_lists {
    struct {
        bool is_append;
        unsigned view;
        int64_t number;
    } mops[workload_mops_max];
    unsigned mops_count;
    unsigned views_count;
    bool writes;
    bool by_snapshot;   /* reads in a snapshot of the server's */
    bool by_conditions; /* guards by conditions in place of reads */
    uint64_t snapshot_id;
    uint64_t version;
    struct epoch epoch; /* of the version */
    int64_t next_list;  /* of the final reads */
    struct history_mop *history_mops;
    struct workload_view views[workload_keys_max]; /* large: those that count are set */
};

struct workload_leases {
    unsigned serial;
    bool is_put;
    uint64_t ttl_ms;
    uint64_t expires_ns; /* by the log's time */
    struct epoch epoch;  /* in which it was put */
};

struct workload_client {
    struct workload *workload;
    struct client *client;
    int64_t process;
    bool busy;
    bool is_final; /* reading all */
    void (*done)(struct client *client);
    int64_t number; /* added to the set */
    struct workload_lists lists;
    struct workload_leases leases;
};

/* ---- workload.c ---- */

/* The transaction ended. */
void workload_ended(struct workload_client *own, enum history_type outcome);

/* What a commit's end means: OK, FAIL (it surely did not happen) or INFO. */
enum history_type workload_outcome(const struct workload_client *own, enum status status);

/* Sends a commit with a new id. Its `operations` and the rest are the caller's. */
void workload_commit(struct workload_client *own, Strait__Commit *commit, client_done_fn *done);

/* The newest entry of the history tells that a transaction happened, or did not. */
void workload_happened(struct workload_client *own, const struct history *history, bool is_read);

void workload_fail(struct workload *workload, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct workload_client *workload_of(const struct client *client);

/* A process of unknown end is never heard of again. */
void workload_retire(struct workload_client *own, enum history_type outcome);

void workload_lists_begin(struct workload_client *own);
void workload_lists_read_next(struct workload_client *own);
void workload_transfer_begin(struct workload_client *own);
void workload_accounts_read(struct workload_client *own);
void workload_add_begin(struct workload_client *own);
void workload_members_read(struct workload_client *own);
void workload_lease_begin(struct workload_client *own);

#endif
