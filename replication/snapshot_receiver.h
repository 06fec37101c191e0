/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a snapshot that a leader sends (snapshot_sender.h) into a staging directory, and hands it
 * to the owner to be installed.
 *
 *     IDLE        an offer that is accepted        -> OPENING
 *     OPENING     a worker opens the import        -> RECEIVING
 *     RECEIVING   pieces are queued, and worked off one by one; each is acknowledged
 *                 a piece that does not hold       -> CLOSING, OPENING: the table begins anew
 *                 another snapshot is offered      -> CLOSING, OPENING
 *                 all are there                    -> FINISHING
 *                 the sender stops, or is silent   -> CLOSING, IDLE
 *     FINISHING   a worker writes the manifest     -> STAGED, and `staged` is called
 *     STAGED      the owner installs               -> IDLE by snapshot_receiver_installed()
 *     CLOSING     a worker closes the import       -> OPENING or IDLE
 *
 * What is staged survives the process: where the same checkpoint is offered after a restart, its
 * finished tables are there. Where none is offered for `idle_ms`, the directory is removed.
 *
 * Belongs to one thread: that of its io. Memory: the pieces in flight (snapshot_window_size), and
 * what an import holds. */
#ifndef REPLICATION_SNAPSHOT_RECEIVER_H
#define REPLICATION_SNAPSHOT_RECEIVER_H

#include "replication/bus.h"
#include "replication/snapshot_job.h"
#include "storage/lsm/lsm.h"

struct snapshot_receiver;

enum {
    snapshot_answer_ms = 1000,       /* between two answers, while there is something to say */
    snapshot_silence_ms = 60 * 1000, /* of a sender, after which another's offer is awaited */
    snapshot_failures_max = 5, /* pieces that do not hold, without a finished table in between */
};

enum snapshot_verdict {
    SNAPSHOT_ACCEPT,
    SNAPSHOT_KNOWN,  /* the state is at this mark, or past it */
    SNAPSHOT_IGNORE, /* not from the leader of this term */
};

struct snapshot_receiver_options {
    struct io *io;
    struct keyring *keyring;
    struct lsm *lsm;       /* that will install it: gives the table numbers */
    const char *directory; /* of the staging */
    const struct lsm_tree_options *trees;
    unsigned trees_count;
    uint64_t record_size; /* lsm_import_options has it */
    bool uncompressed;
    uint64_t idle_ms; /* 0: 10 minutes */

    /* False: not connected, or no room. */
    bool (*send)(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                 struct bytes message);
    /* Whether to take it: only the leader of the newest term known is believed, and nothing at or
     * below what is committed here replaces it. */
    enum snapshot_verdict (*judge)(void *context, uint64_t from, uint64_t term,
                                   const struct lsm_mark *mark);
    /* All is there, verified and durable: `directory` is ready for lsm_install(). The owner answers
     * with snapshot_receiver_installed(), at once or later; with OK also where its state has come
     * past the mark meanwhile, and it installs nothing. */
    void (*staged)(void *context, const char *directory, const struct lsm_mark *mark);
    /* There may be a job to take. */
    void (*work)(void *context);
    /* The disk does not do what it is told: the process ends. */
    void (*failed)(void *context, enum status status, const char *text);
    void *context;
};

MUST_CHECK enum status snapshot_receiver_open(const struct snapshot_receiver_options *options,
                                              struct snapshot_receiver **receiver);

/* No job is out. What is staged stays. Blocking. */
void snapshot_receiver_close(struct snapshot_receiver *receiver);

/* A message of enum snapshot_kind that a receiver is meant for (all but SNAPSHOT_ANSWER). */
void snapshot_receiver_received(struct snapshot_receiver *receiver, uint64_t from, uint8_t kind,
                                struct bytes message);

/* What `staged` handed over is the state now, durably, and the log begins there (OK); or it was
 * refused, and the sender is told so. CORRUPT and INVALID_ARGUMENT: the staging directory goes. */
void snapshot_receiver_installed(struct snapshot_receiver *receiver, enum status status);

/* A job for a worker, or NULL. */
struct snapshot_job *snapshot_receiver_job(struct snapshot_receiver *receiver);

struct snapshot_receiver_facts {
    bool active; /* one is being received, or installed */
    uint64_t from;
    uint64_t index; /* of its mark */
    uint64_t written_size;
    uint64_t total_size; /* of the sender's files */
};
struct snapshot_receiver_facts snapshot_receiver_facts(const struct snapshot_receiver *receiver);

#endif
