/* SPDX-License-Identifier: Apache-2.0 */
/* One request on its way, and what became of it. It lives on the stack of a synchronous caller, or
 * in the memory of an asynchronous one.
 *
 *     NEW -> QUEUED -> SENT -> DONE      the plain way
 *     SENT -> QUEUED                     the connection was lost: it is repeated
 *     SENT -> DELAYED -> QUEUED          the server was busy: it is repeated later
 *     QUEUED, SENT, DELAYED -> DONE      the deadline, or no way to the server
 *
 * All requests may be repeated: a commit has an id under which it runs once, and the others change
 * nothing that a second time would change more. */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include <protobuf-c/protobuf-c.h>
#include <pthread.h>

#include "client/promotion.h"
#include "client/strait.h"
#include "proto/base/list.h"
#include "proto/epoch.h"
#include "proto/frame.h"

enum call_state { CALL_NEW, CALL_QUEUED, CALL_SENT, CALL_DELAYED, CALL_DONE };

enum {
    call_text_size = 384,
    call_leader_size = 1152, /* a region's endpoints, or one with the longest name of a host */
    call_follows_max = 4     /* from server to server, before it pauses */
};

struct call {
    struct list_link link; /* in the handle's queue, or among the delayed, or the completed */
    enum call_state state;
    enum frame_type type;
    uint8_t *frame; /* header and body; the header's number is filled in by each send */
    size_t frame_size;
    uint64_t deadline_ns;
    uint64_t due_ns;      /* while DELAYED */
    uint64_t issued_ns;   /* of a commit: goes into the frame with the first send that may count; 0:
                           * there was none yet */
    uint32_t slot;        /* while SENT */
    uint32_t tries_count; /* answers of a server that it cannot now */
    uint32_t unanswered_count; /* sends that no answer came to */
    bool was_refused;          /* an answer came to a send of it */
    uint32_t follows_count;    /* answers since its last pause that led to another server */
    bool is_astray;            /* the last answer was that the server does not lead */
    bool is_standby;           /* the last answer was that another region is the primary */
    bool is_restamped;         /* of a commit: was told that it was issued too long ago, once */
    bool keeps_issued;         /* of a commit: `issued_ns` is part of what it is, whatever comes */

    /* The outcome, once DONE. `text` is empty where the server's own words are in the body. */
    enum status status;
    uint8_t *body;
    size_t body_size;
    char text[call_text_size];

    /* Of a synchronous call. */
    pthread_cond_t changed;   /* it is done, or its thread is wanted to drive */
    struct list_link waiting; /* among the synchronous callers that wait */

    bool forgotten; /* from malloc(); nobody waits: freed when it was written */

    /* Of an asynchronous call; NULL for a synchronous one. Runs in strait_dispatch(), and frees. */
    void (*complete)(struct call *call);
    struct list_link listed; /* among all asynchronous calls that are on their way */
};

/* Encodes the request. NO_MEMORY, TOO_LARGE (with `error`). Whatever the result, call_free(). */
MUST_CHECK enum status call_init(struct call *call, enum frame_type type,
                                 const ProtobufCMessage *message, uint64_t deadline_ns,
                                 struct strait_error *error);

/* The same of a body that is encoded already. */
MUST_CHECK enum status call_init_encoded(struct call *call, enum frame_type type, struct bytes body,
                                         uint64_t deadline_ns, struct strait_error *error);
void call_free(struct call *call);

/* A ping from malloc(); NULL where memory ran out. */
struct call *call_new_ping(void);

/* Whether the body is a commit: it may run though no answer comes. */
static inline bool call_is_commit(const struct call *call)
{
    return call->type == FRAME_COMMIT;
}

/* Where a commit's encoded `issued_ns` is filled in: behind its 16-byte id, in the frame. */
void call_stamp(struct call *call, uint64_t issued_ns);

/* The status that a caller learns, when `status` is what an answer or the library says: that of a
 * commit is OUTCOME_UNKNOWN where an earlier send of it may yet run, or may have. */
enum status call_outcome(const struct call *call, enum status status);

/* Whether a send of it at `now_ns` would do more harm than good: a commit all of whose sends were
 * refused for certain has not run, which is worth more to its caller than a last try whose answer
 * would hardly come before the deadline, and that leaves its outcome unknown. */
bool call_is_late(const struct call *call, uint64_t now_ns);

/* The log's time that a refusal speaks of; 0 where it does not. */
uint64_t call_log_time_ns(struct bytes body);

/* Where a refusal says that the region's leader is, or the servers of the primary region; "" where
 * it does not. `epoch` may be NULL; else it becomes that by which the refusal goes; its number is 0
 * where it is not said. */
void call_leader(struct bytes body, char leader[call_leader_size], struct epoch *epoch);

/* The promotion that a refusal with NOT_PRIMARY tells of, where it does. */
void call_note_promotion(struct bytes body, struct promotion_known *known);

/* Whether a request is for the region that is asked, even where that is not the primary. */
static inline bool call_is_regional(const struct call *call)
{
    switch (call->type) {
    case FRAME_REGION_LIST:
    case FRAME_REGION_PROMOTE:
    case FRAME_REGION_LOST_LIST:
    case FRAME_REGION_LOST_READ:
    case FRAME_REGION_LOST_CLOSE:
        return true;
    default:
        return false;
    }
}

/* How long a call that was answered "not now" waits: what the server asked for, or a pause that
 * doubles from try to try. */
uint32_t call_retry_after_ms(const struct call *call, struct bytes body);

/* Translates the outcome of a call that is DONE and not OK. */
enum strait_status call_error(const struct call *call, struct strait_error *error);

#endif
