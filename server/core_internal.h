/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the core share. */
#ifndef SERVER_CORE_INTERNAL_H
#define SERVER_CORE_INTERNAL_H

#include "proto/base/list.h"
#include "replication/replicated_log.h"
#include "server/ballast.h"
#include "server/core.h"
#include "server/snapshots.h"
#include "server/state/state.h"
#include "server/workers.h"
#include "storage/lsm/lsm.h"

enum {
    core_tick_ms = 1000,     /* how far the horizon may trail, and how often space is looked at */
    core_findings_max = 100, /* of a check, listed; more are counted */

    /* Under pressure a commit of so many bytes holds back the next one for as many nanoseconds as
     * the square of the pressure. Half way that lets 50 MB/s in, and 13 at its end. */
    core_delay_bytes = 128,
    core_delay_overhead_size = 512, /* a commit's own: its outcome, its entries in the tables */
    core_delay_tick_size = 8192,    /* what a tick that removes records counts as */
    core_delay_burst_us = 1000,     /* what may be made up for, and is admitted at once */
    core_delay_step_us = 200,       /* the least wait, for the sake of the waking that it costs */
};

/* A job of the LSM on its way to a worker and back. */
struct core_job {
    struct work work;
    struct core *core;
    struct lsm_job *job; /* NULL: this slot is free */
};

struct core_finding {
    char file[256];
    uint64_t offset;
    char text[256];
};

/* One check of all that is on disk at a time: tables, manifest, registry, write-ahead log. */
struct core_check {
    struct work work; /* the part that is not the LSM's */
    struct core *core;
    bool lsm_running;
    bool rest_running;
    bool rest_wanted;
    uint64_t durable_index; /* the log is judged up to here */
    uint64_t rest_checked_size;
    uint64_t findings_count;
    struct core_finding findings[core_findings_max];
    /* The worker's, until it is returned. */
    uint64_t rest_findings_count;
    struct core_finding rest_findings[core_findings_max];
};

struct core {
    struct core_options options;
    char path_wal[512];
    char path_lsm[512];
    struct lsm *lsm;
    struct state *state;
    struct replicated_log *log;
    struct workers *workers;
    struct snapshots snapshots;
    struct io_timer tick_timer;
    struct io_timer admit_timer;
    uint64_t started_ns;
    bool failed;

    /* Apply. */
    bool apply_ready;      /* the command under way may be stepped again */
    bool apply_waits_room; /* the LSM had no room for it */
    struct log_committed applying;
    bool ticking;      /* a tick is in the log */
    bool ticks_follow; /* one another, while records are due: not while opening and closing */

    /* Reads that were parked and may run again, and all that are under way. */
    struct list_link reads_ready;
    struct list_link reads_parked;

    /* Commits that are held back under pressure, oldest first; and those that are in the log. */
    struct list_link delayed;
    struct list_link logged;
    uint64_t admit_ns; /* when the next one may go */

    /* Jobs. */
    bool work_wanted;
    bool closing; /* no more jobs are handed out */
    struct core_job jobs[workers_max];
    struct core_check check;

    /* Space. */
    struct io_space space;
    struct ballast ballast;
    bool disk_low;        /* below the reserve: deletes only */
    bool log_full;        /* a commit was refused for want of a segment of the log */
    bool job_failed_full; /* a job ran out of space; it is tried again */

    uint64_t requests_count; /* not answered */
    uint64_t commits_count;
    uint64_t refused_count;
    uint64_t reads_count;
    uint64_t reads_parked_count;
};

/* ---- core.c ---- */

/* Ends the process by way of options.failed; the first reason counts. */
void core_fail(struct core *core, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Answers, and counts. */
void core_reply(struct core *core, struct request *request, const ProtobufCMessage *message);
void core_refuse(struct core *core, struct request *request, enum status status,
                 uint32_t retry_after_ms, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* ---- core_commit.c: admission, apply, ticks ---- */

void core_commit(struct core *core, struct request *request);
void core_admit_delayed(struct core *core);
void core_apply(struct core *core);
void core_tick(struct core *core);
void core_commits_refuse(struct core *core); /* all: their outcomes are not known */

/* For replay at open: applies one entry and returns when it is done. */
MUST_CHECK enum status core_apply_now(struct core *core, uint64_t index, uint64_t term,
                                      const struct entry *entry);

/* ---- core_read.c: get, scan, outcomes, tables, snapshots ---- */

void core_read(struct core *core, struct request *request);
void core_reads_run(struct core *core);
void core_reads_refuse(struct core *core); /* all that are under way */

/* ---- core_jobs.c: the LSM's jobs and checks ---- */

void core_jobs_run(struct core *core);
/* Runs jobs on the core's own thread until `enough` says so or none is left: while replaying and
 * closing. */
MUST_CHECK enum status core_jobs_run_here(struct core *core, bool (*enough)(struct core *core),
                                          struct error *error);
MUST_CHECK enum status core_check_start(struct core *core);
void core_space_look(struct core *core);

/* ---- core_admin.c: status, check, txn list and cancel ---- */

void core_admin(struct core *core, struct request *request);

#endif
