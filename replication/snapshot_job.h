/* SPDX-License-Identifier: Apache-2.0 */
/* Work of a snapshot's sender or receiver that is done aside, in steps of at most about 1 MiB, as
 * the LSM's jobs are (storage/lsm/jobs.h):
 *
 *     snapshot_sender_job(), snapshot_receiver_job()    the core takes one, if there is any
 *     snapshot_job_step()                               a worker, with its own io
 *     snapshot_job_return()                             back on the core's thread, finished or not
 *
 * While a job is out its worker has all that it touches; what else its owner does meanwhile it does
 * without that. */
#ifndef REPLICATION_SNAPSHOT_JOB_H
#define REPLICATION_SNAPSHOT_JOB_H

#include "proto/base/assert.h"
#include "storage/io/io.h"

struct snapshot_job {
    /* On a worker. True: finished. */
    bool (*step)(struct snapshot_job *job, struct io *worker_io);
    /* On the core's thread, once it has finished. */
    void (*returned)(struct snapshot_job *job);
    bool wanted; /* it is to be taken */
    bool taken;
};

static inline void snapshot_job_want(struct snapshot_job *job)
{
    ASSERT(!job->wanted && !job->taken);
    job->wanted = true;
}

static inline struct snapshot_job *snapshot_job_take(struct snapshot_job *job)
{
    if (!job->wanted || job->taken)
        return NULL;
    job->taken = true;
    return job;
}

static inline bool snapshot_job_step(struct snapshot_job *job, struct io *worker_io)
{
    ASSERT(job->taken);
    return job->step(job, worker_io);
}

static inline void snapshot_job_return(struct snapshot_job *job, bool finished)
{
    ASSERT(job->taken && job->wanted);
    job->taken = false;
    if (!finished)
        return; /* it is wanted still */
    job->wanted = false;
    job->returned(job);
}

#endif
