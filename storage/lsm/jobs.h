/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: the work that is done aside, in steps of about 1 MiB.
 *
 * A job's life, with the function that makes each transition:
 *
 *     X_begin           begun on the core's thread, where jobs.c finds it the most urgent
 *     lsm_job_take      handed to a worker
 *     lsm_job_step      works; the last step leaves `finished` set, and a status
 *     lsm_job_return    back: unfinished, to the queue; failed, abandoned; else `returned`
 *     installed         for jobs with an edit: a manifest that holds it is durable
 *
 * What a job takes as input is locked (tables) or marked (memtables) from its beginning until it
 * is installed or abandoned, so that several workers never take the same. */
#ifndef STORAGE_LSM_JOBS_H
#define STORAGE_LSM_JOBS_H

#include "storage/lsm/lsm.h"
#include "storage/lsm/version_set.h"

/* Most urgent first. */
enum job_urgency {
    JOB_MANIFEST,
    JOB_REMOVE, /* gives space back, and takes next to no time */
    JOB_REPLACE,
    JOB_FLUSH,
    JOB_LEVEL0,
    JOB_LEVELS,
    JOB_CHECKPOINT,
    JOB_CHECK,
    JOB_SCRUB,
};

struct job_operations {
    /* On a worker. True: finished, with job->status. A failed step leaves no outputs behind. */
    bool (*step)(struct lsm_job *job, struct io *worker_io);

    /* On the core, finished with OK. The job owns itself: frees itself, or joins lsm->finished. */
    enum status (*returned)(struct lsm_job *job, struct error *error);

    /* On the core: its edit is installed. Frees the job. NULL for jobs without an edit. */
    void (*installed)(struct lsm_job *job);

    /* On the core, failed or given up at closing: unlocks its inputs, removes what outputs it still
     * has with `io` (blocking), frees the job. */
    void (*abandon)(struct lsm_job *job, struct io *io);
};

struct attachment;

struct lsm_job {
    const struct job_operations *operations;
    struct lsm *lsm;
    enum job_urgency urgency;
    bool taken;
    bool paced;        /* takes its time: see lsm_job_pace() */
    uint64_t rate_max; /* bytes of entries a second, while it is paced; 0: no bound */
    bool finished;
    enum status status; /* of the work, once finished */
    struct error error; /* names the file where status is not OK */
    struct version_edit edit;
    const struct lsm_mark *mark;         /* that its edit moves the installed one to; NULL: none */
    const struct attachment *attachment; /* of that mark */
    struct list_link link; /* in the queue, the taken ones, or those waiting to be installed */
    size_t worked_size;    /* since it last looked whether to rest */
    uint64_t rest_ns;      /* when it is to rest */
};

/* Fields of a new job. It is put into the queue. */
void job_init(struct lsm_job *job, struct lsm *lsm, const struct job_operations *operations,
              enum job_urgency urgency);

/* Within a step, after `size` bytes of entries: rests where it is time to. */
void job_worked(struct lsm_job *job, struct io *worker_io, size_t size);

/* Ends a step: always true, so that a step can `return job_finish(...)`. The first status stays. */
bool job_finish(struct lsm_job *job, enum status status, const char *doing, const char *path);

/* A job whose edit waits for the next manifest write. */
void job_await_install(struct lsm_job *job);

/* At closing: the new tables of an edit that was never installed are closed. Their files stay: a
 * manifest write that failed half way may name them, and if none does, the next opening removes
 * them. */
void job_close_outputs(struct lsm_job *job);

/* Jobs that take space begin again when the timer has fired. */
void jobs_retry_later(struct lsm *lsm);

/* Range of new table numbers; false: a manifest write must come first, and will. */
bool job_numbers_take(struct lsm *lsm, uint64_t count, uint64_t *first);

/* Each begins a job of its kind where there is work for it now, and puts it into the queue. */
bool install_begin(struct lsm *lsm);
bool remove_begin(struct lsm *lsm);
bool flush_begin(struct lsm *lsm);
bool compaction_begin(struct lsm *lsm, bool level0);
bool checkpoint_begin(struct lsm *lsm);
bool check_begin(struct lsm *lsm);
bool replace_begin(struct lsm *lsm);
bool scrub_begin(struct lsm *lsm);

/* Begins the edits that need no work but a manifest write: whole tables below a discard key. */
void compaction_discard(struct lsm *lsm);

/* The bytes that go with a mark: a copy wherever a mark is kept, so that nothing can fail. */
struct attachment {
    uint32_t size;
    uint8_t bytes[lsm_attachment_size_max];
};

static inline struct bytes attachment_bytes(const struct attachment *attachment)
{
    return bytes_of(attachment->bytes, attachment->size);
}

/* install.c: encodes a set of tables with its mark, on any thread. */
struct manifest_source {
    const struct lsm *lsm; /* its trees */
    const struct version_set *set;
    struct lsm_mark mark;
    struct attachment attachment;
    uint64_t numbers_end;
    uint64_t horizon;
    struct bytes discards[lsm_trees_max]; /* copies; malloc */
};

/* Fixes discard keys, horizon and numbers of now. False: no memory. */
bool manifest_source_init(struct manifest_source *source, const struct lsm *lsm);
void manifest_source_free(struct manifest_source *source);
MUST_CHECK enum status manifest_source_encode(const struct manifest_source *source,
                                              uint8_t **contents, size_t *size);

#endif
