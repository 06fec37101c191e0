/* SPDX-License-Identifier: Apache-2.0 */
/* Brings members that this leader's log cannot serve a checkpoint of its state.
 *
 * One checkpoint serves all of them: it is made when the first needs one, and removed when the last
 * is done with it. While it stands, snapshot_sender_pin() keeps the log from its mark on, so that a
 * member which has installed it finds there what follows.
 *
 * A session, one for each member:
 *
 *     WAITING   for the checkpoint                    -> OFFERING
 *     OFFERING  the offer is repeated until answered  -> SENDING
 *     SENDING   pieces, at most snapshot_window_count and snapshot_window_size in flight
 *                                                     -> OFFERING after a break, -> ENDED
 *     ENDED     its job is awaited; then it is told, and forgotten
 *
 * It ends well when the member says that its state is at the mark or past it; and with a status
 * when it refuses, says nothing for silence_ms, makes no progress over snapshot_attempts_max
 * attempts, or when the checkpoint cannot be made or read. A break in between costs what was in
 * flight: the member says where it stands.
 *
 * What it takes from the leader is bounded: workers read, in steps, the least urgent work there is;
 * at most `rate_max` bytes a second are sent; and heartbeats overtake what waits on the bus.
 *
 * Belongs to one thread: that of its io. Does nothing by a clock or chance but through `io` and
 * `seed`. */
#ifndef REPLICATION_SNAPSHOT_SENDER_H
#define REPLICATION_SNAPSHOT_SENDER_H

#include "replication/bus.h"
#include "replication/snapshot_job.h"
#include "storage/lsm/lsm.h"

struct snapshot_sender;

enum {
    snapshot_window_count = 8,              /* pieces in flight to one member */
    snapshot_window_size = 4 * 1024 * 1024, /* bytes of them; one piece always goes */
    snapshot_attempts_max = 10,             /* without progress */
    snapshot_retry_ms = 1000,
    snapshot_stall_ms =
        3000, /* pieces in flight, and the member has nothing to do: they are lost */
};

struct snapshot_sender_options {
    struct io *io;
    struct keyring *keyring;
    struct lsm *lsm;
    const char *directory; /* of the checkpoint: not there, or a leftover, which is removed */
    uint64_t seed;
    uint64_t rate_max;   /* bytes a second, over all members; 0: no bound */
    uint64_t silence_ms; /* of a member, after which its session ends; 0: 30 s */

    /* False: not connected, or no room. */
    bool (*send)(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                 struct bytes message);
    /* The member has the state at `mark`, or (not OK) could not be brought to it. Called from turns
     * of the io, returned jobs and received messages. */
    void (*ended)(void *context, uint64_t member, const struct lsm_mark *mark, enum status status);
    /* A table of this leader's own cannot be read: CORRUPT or IO_ERROR. May be NULL. */
    void (*unreadable)(void *context, enum status status, const char *text);
    /* There may be a job to take. */
    void (*work)(void *context);
    void *context;
};

MUST_CHECK enum status snapshot_sender_open(const struct snapshot_sender_options *options,
                                            struct snapshot_sender **sender);

/* No job is out, and none of the LSM's is stepped or returned after this: a checkpoint that was
 * asked for would be told of. The checkpoint goes, with `io` of the options. Blocking. */
void snapshot_sender_close(struct snapshot_sender *sender);

/* Begins a session, unless the member has one. `term` is this leader's. BUSY: too many; asked
 * again, it may do. */
MUST_CHECK enum status snapshot_sender_begin(struct snapshot_sender *sender, uint64_t member,
                                             uint64_t term);

/* Leadership is lost, or nobody is served any more: all sessions end, without a word to `ended`. */
void snapshot_sender_stop(struct snapshot_sender *sender);

/* A message of enum snapshot_kind that a sender is meant for (SNAPSHOT_ANSWER). */
void snapshot_sender_received(struct snapshot_sender *sender, uint64_t from, uint8_t kind,
                              struct bytes message);

/* There is room again where options.send() found none: what waits is sent, rather than tried again
 * after a while. */
void snapshot_sender_room(struct snapshot_sender *sender);

/* A job for a worker, or NULL. */
struct snapshot_job *snapshot_sender_job(struct snapshot_sender *sender);

/* What the owner gives to replicated_log_release() is at most this: a member that installs the
 * checkpoint needs the log from here on. UINT64_MAX: none does. */
uint64_t snapshot_sender_pin(const struct snapshot_sender *sender);

struct snapshot_sender_facts {
    uint64_t total_size;   /* of the checkpoint's tables; 0: not known yet */
    uint64_t written_size; /* of the tables that the member has finished */
    uint64_t sent_size;    /* bytes sent, repetitions included */
    uint32_t attempts_count;
};

/* False: the member has no session. */
bool snapshot_sender_facts(const struct snapshot_sender *sender, uint64_t member,
                           struct snapshot_sender_facts *facts);

#endif
