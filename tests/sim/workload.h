/* SPDX-License-Identifier: Apache-2.0 */
/* What the clients of a simulated world do, and what comes of it: four tables under load at once.
 *
 * lists     transactions that read lists and append to them: strict serializability
 * accounts  money moved between accounts, and read as a whole: a total that never changes
 * members   unique numbers added to a set that is read whole: nothing acknowledged is missing
 * leases    records that expire: none before its time by the log's own clock
 *
 * Each keeps a history (jepsen/check/history.h); a process whose operation ended without a certain
 * result goes, and the client carries on as another one. */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "jepsen/check/history.h"
#include "jepsen/check/verdict.h"
#include "tests/sim/client.h"

enum {
    workload_lists_count = 8,  /* that are in use at a time */
    workload_list_length = 40, /* one that is longer is put aside */
    workload_accounts_count = 8,
    workload_account_balance = 100,
    workload_mops_max = 4,
};

/* Of two regions: what the results of a history, good and bad, were true of, and when they came. */
struct workload_position {
    struct client_position position;
    uint64_t at_ns; /* 0: the entry is no such result */
    bool is_read;   /* it wrote nothing */
    bool doubtful;  /* another attempt may have been taken elsewhere */
};

struct workload_positions {
    struct workload_position *of; /* by the place in the history */
    uint32_t capacity;
};

/* Shared by the clients of a world. */
struct workload {
    struct history lists;
    struct history accounts;
    struct history members;
    struct workload_positions lists_positions;
    struct workload_positions accounts_positions;
    struct workload_positions members_positions;
    int64_t window[workload_lists_count]; /* the lists in use */
    int64_t lists_count;                  /* ever */
    int64_t numbers_count;                /* ever appended or added */
    int64_t processes_count;
    uint64_t txn_ids_count;
    bool is_stopping; /* clients begin nothing new */
    uint64_t committed_count;
    uint64_t succeeded_count; /* transactions of any kind */
    uint64_t refused_count;
    uint64_t unknown_count;
    uint64_t expired_count;
    uint64_t think_ns; /* between two transactions of a client, on average */
    char failure[512]; /* what was seen that must not be; empty: nothing */
};

/* What one client has under way. */
struct workload_client;

void workload_init(struct workload *workload);
void workload_free(struct workload *workload);

struct workload_client *workload_client_create(struct workload *workload, struct client *client);
void workload_client_free(struct workload_client *own);

/* Makes the tables and accounts; `done` once they are there. */
void workload_prepare(struct workload_client *own, void (*done)(struct client *client));

/* One transaction after the other, until is_stopping. */
void workload_begin(struct workload_client *own);
bool workload_is_idle(const struct workload_client *own);

/* Reads all there is; `done` when it has been read. */
void workload_read_all(struct workload_client *own, void (*done)(struct client *client));

/* Judges the histories. INVALID also where `failure` tells of something. */
void workload_judge(struct workload *workload, struct verdict *verdict, const char **history);

#endif
