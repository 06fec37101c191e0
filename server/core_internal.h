/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the core share. */
#ifndef SERVER_CORE_INTERNAL_H
#define SERVER_CORE_INTERNAL_H

#include "proto/base/histogram.h"
#include "proto/base/list.h"
#include "proto/membership.h"
#include "replication/digest.h"
#include "replication/region/link_fork.h"
#include "replication/region/log_source.h"
#include "replication/region/receiver.h"
#include "replication/region/source.h"
#include "replication/replicated_log.h"
#include "replication/snapshot_receiver.h"
#include "replication/snapshot_sender.h"
#include "server/ballast.h"
#include "server/core.h"
#include "server/core_catchup.h"
#include "server/core_lease.h"
#include "server/core_surrender.h"
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
    core_pace_pressure = 50,        /* below it jobs take their time, for the sake of commits */
    core_failure_size = 384,
    core_delay_step_us = 200, /* the least wait, for the sake of the waking that it costs */

    /* Replies that wait for a standby; past either, commits that ask for it are refused. */
    core_remote_count_max = 4096,
    core_remote_size_max = 64 << 20, /* of their requests' memory */
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
    uint64_t tables_findings_count; /* of these */
    uint64_t installed_count;       /* of snapshots, when it began: of which content it speaks */
    bool is_healed;                 /* the tables that it found damaged have been replaced */
    struct core_finding findings[core_findings_max];
    /* The worker's, until it is returned. */
    uint64_t rest_findings_count;
    struct core_finding rest_findings[core_findings_max];
};

/* A read under way; lives in its request's arena. core_read.c has its states. */
struct core_read {
    struct list_link link; /* of the list that its state names */
    struct core *core;
    struct request *request;
    struct lsm_wait wait;
    struct state_view *view; /* NULL: not begun */
    struct state_scan *scan;
    struct state_lost_walk *lost;
    struct state_refusal refusal;
    uint64_t version;     /* to read at; UINT64_MAX: the newest */
    uint64_t snapshot_id; /* that it opened */

    bool is_linearizable;
    bool is_confirmed;  /* the leader was the leader when the read began */
    uint64_t term;      /* in which it began */
    uint64_t round;     /* that confirms it */
    enum status status; /* its result, while it waits for that */

    /* Of one that is not: how new the state must be for it. */
    uint64_t fresh_ns;        /* moment of our clock up to which all must be there; 0: any */
    uint64_t fresh_version;   /* version that must be there; 0: any */
    struct epoch fresh_epoch; /* of that version */
    uint64_t deadline_ns;     /* of waiting for either */

    union {
        Strait__GetReply get;
        Strait__ScanReply scan;
        Strait__TxnStatusReply txn_status;
        Strait__TableListReply tables;
        Strait__SnapshotOpenReply snapshot;
        Strait__RegionLostReadReply lost;
        ProtobufCMessage base;
    } reply;
};

/* A member asks this leader how new its state is. */
struct core_question {
    uint64_t member;
    uint64_t number; /* the member's, for the answer */
    uint64_t index;  /* the answer: what was committed when it was asked */
    uint64_t round;  /* that makes it true */
    enum { QUESTION_NEW, QUESTION_CONFIRMING, QUESTION_TRUE } state;
};

/* How new this member's state is; core_fresh.c. */
struct core_freshness {
    uint64_t known_ns;     /* the state has all that was acknowledged before; 0: not known */
    uint64_t number;       /* of the question asked last */
    uint64_t asked_ns;     /* when; 0: none is under way */
    uint64_t answer_ns;    /* of the question whose answer is not applied yet; 0: there is none */
    uint64_t answer_index; /* what is to be applied for it */
    uint64_t seen_index;   /* what was applied when reads were looked at last */
    bool look;             /* something has changed since */
    struct io_timer timer;
    struct list_link waiting; /* reads, oldest first */
    struct core_question questions[limit_members_count];
    unsigned questions_count;
};

/* How the sending of a snapshot ended, until the log is told. */
struct core_snapshot_end {
    uint64_t member;
    struct wal_mark mark;
    bool ok;
};

/* Snapshots of this leader's for others, and one that takes this state's place; core_install.c. */
struct core_install {
    struct snapshot_sender *sender; /* NULL: a region of one for good; and the receiver */
    struct snapshot_receiver *receiver;
    char path_checkpoint[512];
    char path_staging[512];
    struct work work; /* the job of either that is out */
    struct snapshot_job *job;
    unsigned given_count; /* LSM jobs handed out since the last of these */

    bool serves; /* a member has been served in this term */
    uint64_t needed[limit_members_count];
    unsigned needed_count;
    struct core_snapshot_end ended[limit_members_count];
    unsigned ended_count;

    enum {
        CORE_INSTALL_NONE,
        CORE_INSTALL_STAGED,
        CORE_INSTALL_PREPARING,
        CORE_INSTALL_SWAPPING,
        CORE_INSTALL_LOGGING
    } step;
    char directory[512];
    struct lsm_mark mark;
    bool answered; /* the step is done, with `status` */
    enum status status;
    uint64_t installed_count; /* since the start */
};

/* A member that wants a snapshot above an index. */
struct core_want {
    uint64_t member;
    uint64_t index;
};

/* A state that is of no use is rebuilt from a peer's; core_heal.c. */
struct core_heal {
    enum { CORE_HEAL_NONE, CORE_HEAL_WANTED, CORE_HEAL_WAITING } step;
    uint64_t version; /* at which it is not what a majority has; 0: it is damaged */
    char why[error_text_size];
    uint64_t asked_ns;
    unsigned transfers_count; /* heirs that were asked to lead */
    bool look;                /* it is time to ask, or to hand the leadership over */
    struct io_timer timer;
    uint64_t rebuilt_count;

    /* The mark on the disk, and the worker that makes or removes it. */
    char directory[512];
    char path[512 + 16];
    bool mark_wanted;
    bool mark_stands; /* as far as is known */
    bool mark_is_out;
    struct work work;
    bool mark_work_makes;
    enum status mark_status;

    /* At the leader: who waits until its state is past an index. */
    struct core_want wants[limit_members_count];
    unsigned wants_count;
};

/* Digests of what is on the disk; core_scrub.c. */
struct core_scrub {
    struct digests *digests;
    bool is_wanted; /* by an administrator, at the next tick */
    bool is_running;
    uint64_t version;      /* of the newest; 0: none since the start */
    uint64_t history;      /* of that version */
    enum status status;    /* of that: not OK, it was left out here */
    uint64_t noted_log_ns; /* log time of the last, or of the start */
    uint64_t count;        /* ended since the start */
};

/* A change of the membership under way, one at a time; core_member.c. */
struct core_change {
    struct request *request; /* NULL: there is none */
    struct membership target;
    bool proposed; /* else the new member is being asked who it is */
};

/* A transfer of the leadership under way, one at a time. */
struct core_transfer {
    struct request *request; /* NULL: there is none, or the server hands over while it stops */
    struct io_timer timer;
    bool timed_out;
};

/* What members said of their programs, and the raise under way; core_version.c. */
struct core_version_said {
    uint64_t member;
    uint32_t version_max;
    uint64_t heard_ns;
};

struct core_version {
    struct core_version_said said[limit_members_count];
    unsigned said_count;
    bool raising;            /* an entry of ours is in the log */
    struct request *request; /* whoever asked for it; NULL: nobody */
};

/* A region that is taken out of the list, once the witness knows; core_region_change.c. */
struct core_removal {
    struct request *request; /* NULL: there is none */
    uint64_t until_ns;       /* the witness is waited for no longer */
};

/* The reign handed to a standby; core_regions.c. */
struct core_switchover {
    enum { SWITCHOVER_NONE, SWITCHOVER_DRAINING, SWITCHOVER_GRANTING } step;
    struct request *request;
    uint32_t to;
    uint64_t begun_ns;
    struct io_timer timer;
    bool timed_out;
};

/* This region made the primary; core_regions.c. */
struct core_promotion {
    enum { PROMOTION_NONE, PROMOTION_STOPPING, PROMOTION_PROMOTING } step;
    struct request *request; /* NULL: this region promotes itself */
    bool forced;
    uint64_t until_ns; /* while STOPPING: the witness is waited for no longer */
};

/* Standbys that are too far behind; core_guard.c. */
struct core_guard {
    enum region_guard_action action; /* of the strictest that was called upon; 0: none was */
    uint64_t lag_size_most;          /* of any standby */
    uint64_t lag_ms_most;
    char text[320]; /* for people */
};

enum { core_claims_max = 8 };

/* Records of promotions that were looked at, and lead to nothing; core_claim.c. */
struct core_claims {
    struct {
        uint64_t until_ns; /* boot clock: then it is looked at again; 0: this slot is free */
        size_t size;
        uint8_t record[limit_promotion_record_size]; /* whole: hashes can be made to meet */
    } judged[core_claims_max];
    unsigned next;
    uint64_t told_ns; /* when the log was told of a bad one last; 0: never */
    uint64_t untold_count;
};

/* Who is told of this region's promotion; core_herald.c. */
struct core_herald {
    bool open;
    uint32_t region; /* being told; 0: none is */
    uint32_t told;   /* last */
    uint64_t until_ns;
};

/* Replies that wait until a standby has what was committed here; core_remote.c. */
struct core_remote {
    struct list_link waiting; /* requests, by their `link`, in the order of their commits */
    unsigned waiting_count;
    size_t waiting_size;
    bool look; /* a region acknowledged more, one is new, or time has run out */
    bool stopping;
    struct io_timer timer;
    uint64_t confirmed_count; /* since the start, as those below */
    uint64_t unconfirmed_count;
};

enum { core_checkpoints_max = 2 };

struct core_checkpoint {
    enum { CHECKPOINT_NONE, CHECKPOINT_MAKING, CHECKPOINT_READY, CHECKPOINT_DOOMED } step;
    char path[512 + 16];
    bool is_unwanted;     /* while it is being made: it is removed as soon as it stands */
    struct lsm_mark mark; /* once it is ready */
    uint64_t pin;         /* the log above this index is kept for it */
    uint64_t logged_size; /* when it was asked for */
    uint64_t taken_ns;
};

/* Kept for a rewind; core_checkpoints.c. */
struct core_checkpoints {
    struct core_checkpoint all[core_checkpoints_max];
    struct region_position shared; /* what all other regions have; number 0: not known */
    uint64_t logged_size;          /* bytes of the log's entries, counted from anywhere */
    uint64_t retry_ns;
    struct work work; /* removes one */
    struct core_checkpoint *removing;
    enum status removed;
};

/* A tail that another region's history lacks is given up; core_rewind.c. */
struct core_rewind {
    /* At the leader: what both histories share, as far as is known. */
    bool asks;   /* whether they share `common` */
    bool agreed; /* they do */
    struct region_position common;
    bool proposing; /* an entry of ours is in the log */
    unsigned handovers_count;
    uint64_t lacking_ns; /* when a checkpoint was missed first; 0: none was */

    /* On each member, once the entry is committed. */
    enum { REWIND_NONE, REWIND_WANTED, REWIND_RESTORING } step;
    struct rewind rewind;
    uint64_t index; /* of the entry */
    struct core_checkpoint *used;
    bool answered; /* with `status` */
    enum status status;
    uint64_t retry_ns;
    uint64_t floor_index; /* up to here the log was released once, and may not be until the tables
                             are there again */
    uint64_t count;       /* that are through, since the start */
    bool lacks;           /* there was no checkpoint for one */
};

/* What passes between regions; core_ship.c, core_regions.c. */
enum { core_silence_size = 512 };

struct core_ship {
    struct link_fork *fork; /* NULL: no other region can be reached from here */
    struct log_source *log;
    struct source *source;
    struct receiver *receiver; /* NULL: no other region can be reached from here */
    bool roles_look;           /* leadership, the epoch or the list of regions may have changed */
    bool applied;              /* something was, since the last turn */
    bool holds;                /* nothing is shipped before there is a checkpoint */

    /* A valid record of an epoch above the state's and its fence's; number 0: none. */
    struct epoch higher;
    uint8_t record[limit_promotion_record_size];
    size_t record_size;
    bool fencing; /* a fence of ours is in the log */

    bool has_trouble; /* with whom this region is to follow */
    enum receiver_trouble trouble;
    char silence[core_silence_size]; /* why nothing is heard of it, and what to do; empty: it is */

    struct request *change; /* of the list of regions, in the log; NULL: none is */
    struct core_removal removal;
    struct core_switchover switchover;
    struct core_promotion promotion;
    struct core_herald herald;
    struct core_guard guard;
    struct core_claims claims;
};

/* Reports of what was given up; core_lost.c. */
struct core_lost {
    struct request *closing; /* in the log; NULL: none is */
    bool logging;            /* what empties a report, or tells, is in the log */

    /* What commits have come to, for a rewind to `told_version`. */
    uint64_t told_version;
    uint64_t told_term;                 /* in which it is told, or was; 0: neither */
    struct state_lost_telling *telling; /* NULL: all was told */
    struct lsm_wait wait;
    bool tells_more;
    size_t tell_size; /* of what could not be logged yet; 0: nothing */
    uint8_t tell_body[state_lost_tell_size_max];
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
    bool answers_none; /* requests were refused that the log has yet: their contexts are gone */

    /* The region: what was seen last of it. */
    bool region_changed; /* the log told so since */
    enum log_role role;
    uint64_t term;
    uint64_t leader;
    struct membership membership; /* as applied */
    struct core_change change;
    struct core_transfer transfer;
    struct core_freshness fresh;
    struct core_version version;
    struct core_install install;
    struct core_heal heal;
    struct core_scrub scrub;
    struct core_lost lost;
    struct core_ship ship;
    struct core_remote remote;
    struct core_lease lease;
    struct core_checkpoints checkpoints;
    struct core_rewind rewind;
    struct core_catchup catchup;
    struct core_surrender surrender;
    struct digests *digests;       /* NULL: not open yet */
    uint64_t digests_differ_count; /* comparisons in which replicas differed */
    uint64_t differs_version;      /* of the last of them, until all are seen to agree later; 0 */
    bool replicas_disagree;        /* no majority agreed */

    /* Apply. */
    bool apply_ready;      /* the command under way may be stepped again */
    bool apply_waits_room; /* the LSM had no room for it */
    struct log_committed applying;
    bool ticking;      /* a tick of ours is in the log */
    bool tick_forced;  /* one is wanted, whether or not anything is due */
    bool ticks_follow; /* one another, while records are due: not while opening and closing */

    /* Reads: those that may run, those that a block is read for, those that have run and wait until
     * a quorum has confirmed the leader, and those for which that is decided. */
    struct list_link reads_ready;
    struct list_link reads_parked;
    struct list_link reads_unconfirmed;
    struct list_link reads_decided;

    /* Commits: those whose reads are being validated, those that may be validated further, those
     * that are held back under pressure, those that are in the log, and those whose leader was lost
     * before they were committed. Oldest first. */
    struct list_link validating;
    struct list_link validatable;
    struct list_link delayed;
    struct list_link logged;
    struct list_link dropped;
    uint64_t admit_ns;      /* when the next one may go */
    uint64_t blocked_count; /* reads of blocks, when it was looked at last... */
    bool prefetches;        /* ... and whether there were any in the last second */

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
    uint64_t commits_dropped_count;
    uint64_t refused_count;
    uint64_t reads_count;
    uint64_t reads_parked_count;
    uint64_t reads_confirmed_count; /* that asked a quorum */
    uint64_t reads_stale_count;     /* that were not linearizable */
    struct histogram commits_ns;    /* from a request's last byte to its answer: what was logged */
    struct histogram reads_ns;      /* what was read */
};

/* ---- core.c ---- */

/* Ends the process by way of options.failed; the first reason counts. */
void core_fail(struct core *core, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Opens the state that the LSM has at `mark`, in the place of the one there was, if any. Blocking,
 * but short: it reads the catalog; meanwhile the io turns, and who is called finds the old one. */
MUST_CHECK enum status core_state_open(struct core *core, const struct lsm_mark *mark,
                                       struct error *error);

/* The words for a failure to read the state: of one that is CORRUPT, with the file where it is
 * known. `text` holds core_failure_size bytes. */
const char *core_failure_text(const struct core *core, enum status status, char *text);

/* Answers, and counts. */
void core_reply(struct core *core, struct request *request, const ProtobufCMessage *message);
void core_refuse(struct core *core, struct request *request, enum status status,
                 uint32_t retry_after_ms, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* How long it took until now, for `histogram`. */
void core_note_latency(struct core *core, struct histogram *histogram,
                       const struct request *request);

void core_refuse_with(struct core *core, struct request *request, enum status status,
                      const Strait__Refusal *refusal);

/* ---- core_region.c: who leads, and what follows from that ---- */

/* What the log tells; each only takes note. */
void core_on_changed(void *context);
void core_on_dropped(void *context, void *proposal);
void core_on_confirmed(void *context, uint64_t round);
void core_on_unconfirmed(void *context);
void core_on_received(void *context, uint64_t from, uint8_t kind, struct bytes message);

void core_region_turn(struct core *core);
bool core_leads(const struct core *core);

/* A leader of the primary region takes up the stream where the state stands, as soon as it can:
 * until then it proposes nothing that is shared. */
void core_position(struct core *core);

/* The role, in a word. Static. */
const char *core_role_text(const struct core *core);

/* Refuses with NOT_LEADER, and says who does lead. `why` NULL: because this server does not. */
void core_refuse_not_leader(struct core *core, struct request *request, const char *why);

/* Whether nobody may look at the state now; the request is refused then. */
bool core_refuse_while_resting(struct core *core, struct request *request);

/* The same after the fact: with OUTCOME_UNKNOWN, upon which a client asks again under the id. */
void core_refuse_dropped(struct core *core, struct request *request);

/* The same of what is committed here, and was to be confirmed by a standby. */
void core_refuse_unconfirmed(struct core *core, struct request *request);

/* An entry of kind ENTRY_MEMBERSHIP was applied, or the state has been opened. */
void core_membership_applied(struct core *core);

/* ---- core_ship.c: what passes between regions ---- */

MUST_CHECK enum status core_ship_open(struct core *core, struct error *error);
void core_ship_close(struct core *core);
void core_ship_turn(struct core *core);
void core_ship_reset(struct core *core); /* the state is another, or was just opened */
void core_ship_roles_changed(struct core *core);
void core_ship_pull(struct core *core, struct request *request);

/* An entry was applied, with this result. */
void core_ship_applied(struct core *core, const struct log_committed *committed,
                       const struct state_result *result);

bool core_ship_may_tick(const struct core *core);

/* Whether `context` is that of a proposal between regions; then it is done with. `result` NULL: it
 * was dropped. */
bool core_ship_ended(struct core *core, const void *context, const struct state_result *result);

/* A record of a promotion, of whoever: where it is valid, and above what is known, this region
 * takes no more writes. */
void core_promotion_seen(struct core *core, struct bytes record);

/* Whether this region takes writes and linearizable reads. */
bool core_is_primary(const struct core *core);
const struct region *core_primary(const struct core *core); /* as it is known here, or NULL */
void core_refuse_not_primary(struct core *core, struct request *request);

/* The log keeps what other regions need of it, and what a rewind would. */
void core_ship_pin(struct core *core);

/* At a standby's leader: all that the primary acknowledged before then is applied. False: not
 * known. */
bool core_ship_fresh_ns(const struct core *core, uint64_t *fresh_ns);
const char *core_ship_trouble_text(const struct core *core); /* empty: none */
void core_ship_look(struct core *core);                      /* each second */
struct region_position core_region_position(const struct core *core);

/* The oldest version that is read at in another region, as far as is known; `newest` where there is
 * none. */
uint64_t core_ship_oldest_snapshot(const struct core *core, uint64_t newest);

/* Up to which version whoever is at `position` has what this history has; 0: it is no part of it.
 */
uint64_t core_ship_shared_version(const struct core *core, const struct region_position *position);

/* ---- core_remote.c: replies that wait for a standby ---- */

void core_remote_open(struct core *core);
void core_remote_close(struct core *core);

/* A Commit or a TxnStatus that asks for a standby's confirmation, before anything of it is done:
 * from here on `request->context` is not NULL. False: refused. */
bool core_remote_prepare(struct core *core, struct request *request);

/* It is committed here: its reply is told when the standby has it too, or when its time is over. */
void core_remote_hold_commit(struct core *core, struct request *request,
                             const Strait__Position *position, bool repeated_reply);

/* The same of a question; `reply` is in the request's arena. */
void core_remote_hold_status(struct core *core, struct request *request,
                             Strait__TxnStatusReply *reply);

void core_remote_heard(struct core *core); /* a region acknowledged more */
void core_remote_turn(struct core *core);
void core_remote_stop(struct core *core); /* nobody is waited for any more */
void core_remote_refuse(struct core *core);

/* ---- core_claim.c: promotions that clients tell of ---- */

/* The first request of a connection, which may bring one. */
void core_claim_take(struct core *core, const Strait__Promotion *claim);

/* What this server knows; NULL: of none, or there is no memory. The record is valid for the turn.
 */
Strait__Promotion *core_claim_message(const struct core *core, struct arena *arena);

/* The newest promotion that is known here, by its epoch; its number is 0 where there is none. */
struct epoch core_claim_known(const struct core *core, struct bytes *record);

/* Whether the record was judged before, and what came of it: it is not verified again. */
bool core_claim_is_judged(struct core *core, struct bytes record);
void core_claim_is_bad(struct core *core, struct bytes record, const char *why);
void core_claim_is_old(struct core *core, struct bytes record); /* valid, and nothing new */

/* ---- core_checkpoints.c: kept for a rewind ---- */

void core_checkpoints_open(struct core *core); /* blocking */
void core_checkpoints_look(struct core *core); /* each second */

/* Whether there is none, and there will be one soon: until then nothing is shipped. */
bool core_checkpoints_lack(struct core *core);
void core_checkpoints_begin(struct core *core); /* makes that one; each turn, between entries */
void core_checkpoints_jobs_run(struct core *core);
void core_checkpoints_received(struct core *core, uint64_t from, struct bytes message);

/* The newest that will do for the entry at `index`, with the mark to restore it under; NULL. */
struct core_checkpoint *core_checkpoint_for(struct core *core, const struct rewind *rewind,
                                            uint64_t index, struct lsm_mark *mark);
void core_checkpoint_doom(struct core *core, struct core_checkpoint *checkpoint);
void core_checkpoints_doom(struct core *core); /* all */

/* The log above this index is kept for them. */
uint64_t core_checkpoints_pin(const struct core *core);

/* ---- core_rewind.c: a tail is given up ---- */

/* The primary's history lacks what this one has: it has `common`, it says. */
void core_rewind_lost(struct core *core, const struct region_position *common);
void core_rewind_agreed(struct core *core, const struct region_position *position);
void core_rewind_forget(struct core *core); /* this member leads no standby any more */

/* The leader's part: proposes, where all is known. */
void core_rewind_lead(struct core *core);

/* Whether there is a tail to be given up, as far as this leader knows, and it can be. */
bool core_rewind_is_wanted(const struct core *core);
bool core_rewind_is_possible(const struct core *core);

/* An entry was taken: true where it is one that rewinds, and the rest follows with the turns. */
bool core_rewind_begin(struct core *core, const struct log_committed *committed);
void core_rewind_turn(struct core *core);
void core_rewind_applied(struct core *core, const struct state_result *result);

/* While opening: the same, without returning before the checkpoint is in place. */
MUST_CHECK enum status core_rewind_now(struct core *core, const struct log_committed *committed,
                                       struct error *error);

/* The tables are going back, or the log is applied again: nobody is to see the state. */
bool core_is_rewinding(const struct core *core);

/* The state is being rebuilt, or goes back, or waits for another one: it is none to compare with,
 * or to send to anybody. */
bool core_state_is_passing(const struct core *core);

/* ---- core_guard.c: standbys that lag behind ---- */

void core_guard_look(struct core *core); /* each second */

/* What commits are held back by: compaction's, or a guard's; per cent. */
unsigned core_pressure(const struct core *core);

/* ---- core_version.c: what programs can apply, and the cluster version ---- */

void core_version_look(struct core *core); /* each second */
void core_version_received(struct core *core, uint64_t from, uint8_t kind, struct bytes message);
void core_version_applied(const struct core *core, const struct state_result *result);

void core_version_request(struct core *core, struct request *request);
void core_version_refuse(struct core *core); /* what is under way: the core ends */

/* Whether `context` is that of a raise proposed here; then it is done with. `result` NULL: it was
 * dropped. */
bool core_version_ended(struct core *core, const void *context, const struct state_result *result);

/* The highest that the member's program can apply, as it is known here; 0: not known. */
uint32_t core_version_of(const struct core *core, uint64_t member);

/* The highest that all members of the region can apply, as far as is known: at least the present
 * one. */
uint32_t core_version_supported(const struct core *core);

/* ---- core_herald.c: who is to know of a promotion ---- */

void core_herald_open(struct core *core);
void core_herald_close(struct core *core);
void core_herald_turn(struct core *core); /* each second */

/* ---- core_region_change.c: changes of the list of regions ---- */

void core_region_change(struct core *core, struct request *request);
void core_region_change_turn(struct core *core);
void core_region_change_ended(struct core *core, const struct state_result *result);
bool core_regions_are_changing(const struct core *core); /* or a switchover is under way */

/* ---- core_regions.c: the list of regions, switchover, promotion ---- */

void core_regions_request(struct core *core, struct request *request);

/* What a RegionList is answered with, in the arena; NULL where there is no memory. */
Strait__RegionListReply *core_regions_list(struct core *core, struct arena *arena);

/* True: this server may take the request; else it was refused. */
bool core_regions_check_primary(struct core *core, struct request *request);
void core_regions_turn(struct core *core);
bool core_regions_ended(struct core *core, const void *context, const struct state_result *result);
void core_regions_refuse(struct core *core);    /* what is under way: the core ends */
bool core_is_draining(const struct core *core); /* commits wait for a switchover */

/* This region promotes itself; and whether it has what that takes, but for the lease. */
void core_promotion_begin(struct core *core);
bool core_promotion_is_possible(const struct core *core);

/* ---- core_lost.c: what a rewind gave up ---- */

void core_lost_request(struct core *core, struct request *request);
enum status core_lost_read_open(struct core_read *read); /* of a page of a report */
enum status core_lost_read_step(struct core_read *read);
void core_lost_look(struct core *core); /* each second: empties what is closed */
bool core_lost_ended(struct core *core, const void *context, const struct state_result *result);
void core_lost_refuse(struct core *core); /* what is under way: the core ends */

/* By a leader that is about to propose a rewind to `version`, each turn until it is OK: what the
 * commits above it have come to is in the log then, and applied. AGAIN: not yet. Anything else is a
 * failure, after which it begins anew. */
MUST_CHECK enum status core_lost_tell(struct core *core, uint64_t version);
void core_lost_tell_stop(struct core *core);   /* the state is about to be replaced, or closed */
bool core_lost_tells(const struct core *core); /* core_lost_tell() has something to do at once */

/* ---- core_commit.c: admission, validation ---- */

void core_commit(struct core *core, struct request *request);
void core_admit_delayed(struct core *core);
void core_validate(struct core *core);
void core_commits_refuse(struct core *core); /* all: their outcomes are not known */
void core_validations_refuse(struct core *core);
void core_delayed_refuse(struct core *core);

/* ---- core_apply.c: apply, ticks ---- */

void core_apply(struct core *core);
void core_commit_answer(struct core *core, struct request *request,
                        const struct state_result *result);
void core_tick(struct core *core);

/* For what the log of a region of one held at open: applies one entry, and returns when it is done.
 */
MUST_CHECK enum status core_apply_now(struct core *core, uint64_t index, uint64_t term,
                                      const struct entry *entry);

/* Between two commits or ticks, for the tables' lag. */
uint64_t core_delay_ns(unsigned pressure, size_t size);

/* ---- core_read.c: get, scan, outcomes, tables, snapshots ---- */

void core_read(struct core *core, struct request *request);
void core_read_begin(struct core_read *read);          /* the state is new enough for it */
void core_refuse_history_lost(struct core_read *read); /* what it asks for was given up */
void core_reads_run(struct core *core);

/* All that are under way. */
void core_reads_refuse(struct core *core, enum status status, const char *text);

/* ---- core_fresh.c: reads by any member ---- */

void core_fresh_open(struct core *core);
bool core_fresh_is_enough(const struct core *core, const struct core_read *read);
void core_fresh_wait(struct core_read *read);
void core_fresh_turn(struct core *core);
void core_fresh_look_ahead(struct core *core); /* once a second */
void core_fresh_received(struct core *core, uint64_t from, uint8_t kind, struct bytes message);

/* ---- core_member.c: members, their changes, transfers of the leadership ---- */

void core_member(struct core *core, struct request *request);
void core_member_turn(struct core *core);
void core_member_refuse(struct core *core); /* what is under way: the core ends */

/* The members as messages in the arena; NULL where there is no memory. */
Strait__Member **core_member_messages(struct core *core, struct arena *arena, size_t *count);

/* ---- core_install.c: snapshots between members, digests ---- */

MUST_CHECK enum status core_install_open(struct core *core, struct error *error);
void core_install_close(struct core *core);
void core_install_turn(struct core *core);
void core_install_received(struct core *core, uint64_t from, uint8_t kind, struct bytes message);
void core_on_snapshot_needed(void *context, uint64_t member);

/* A snapshot or a checkpoint takes the state's place: nothing is applied or read meanwhile. */
bool core_is_installing(const struct core *core);

/* The log may forget what the tables have, but not what a member that is sent a snapshot needs. */
void core_log_release(struct core *core);
void core_digests_note(struct core *core); /* a version was applied */
void core_digests_reset(struct core *core);
void core_state_replaced(struct core *core); /* what was derived from the one before begins anew */
uint64_t core_digests_history(const struct core *core); /* whose versions are noted now */

/* Compares with the others, where this member leads; once a second. */
void core_digests_lead(struct core *core);

/* ---- core_heal.c: a state that is of no use is rebuilt from a peer's ---- */

/* The state is damaged, or (`version` not 0) is not what a majority has at it; why, in a sentence.
 * Takes note, and the rest follows with the next turn. False: nobody else has a vote, so there is
 * nothing to rebuild from. From anywhere. */
bool core_damaged(struct core *core, uint64_t version, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Nothing is applied or read, and the tables rest. */
bool core_is_healing(const struct core *core);
bool core_heal_is_possible(const struct core *core);

/* Before the tables are opened: true where a rebuild was begun and not ended. Blocking. */
bool core_heal_open(struct core *core);

/* While opening: the tables could not be. */
void core_heal_begin_open(struct core *core, const char *why);
void core_heal_close(struct core *core);
void core_heal_turn(struct core *core);
void core_heal_jobs_run(struct core *core);
void core_heal_received(struct core *core, uint64_t from, struct bytes message);
void core_heal_installed(struct core *core);

/* ---- core_scrub.c: digests of what is on the disk, compared ---- */

/* `like`: the chain's options. NO_MEMORY. */
MUST_CHECK enum status core_scrub_open(struct core *core, const struct digests_options *like);
void core_scrub_close(struct core *core);
void core_scrub_reset(struct core *core); /* the state was opened, or replaced */
bool core_scrub_is_due(const struct core *core);
void core_scrub_want(struct core *core);

/* A tick that asks for one was applied. */
void core_scrub_applied(struct core *core, const struct state_result *result);

/* As this leader knows of the last one; NULL where there is no memory. */
Strait__CheckReply__Scrub *core_scrub_message(struct core *core, struct arena *arena);

/* ---- core_jobs.c: the LSM's jobs and checks ---- */

void core_jobs_run(struct core *core);
/* Runs jobs on the core's own thread until `enough` says so or none is left: while replaying and
 * closing. */
MUST_CHECK enum status core_jobs_run_here(struct core *core, bool (*enough)(struct core *core),
                                          struct error *error);
MUST_CHECK enum status core_check_start(struct core *core);
void core_check_found(struct core *core, const char *path, uint64_t offset, const char *text);
void core_space_look(struct core *core);

/* ---- core_admin.c: status, check, txn list and cancel ---- */

void core_admin(struct core *core, struct request *request);

#endif
