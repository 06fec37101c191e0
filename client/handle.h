/* SPDX-License-Identifier: Apache-2.0 */
/* The handle: calls of many threads over one link, and who drives it.
 *
 * At most one thread leads: it waits for the socket and reads what comes, for all. At most one
 * thread at a time does I/O (`io_busy`); only it touches the link, and does so without the lock.
 * While the leader waits in poll(), another thread may take the I/O to write what it queued, so
 * that a request does not wait for the leader to wake; while the leader is awake, the others only
 * queue, and it writes all of that at once at the end of its turn. A synchronous caller leads until
 * its own call is done and then passes the lead to another that waits. Once asynchronous use has
 * begun, a thread of the library leads for good; where the application's loop drives the handle,
 * there is none, and strait_dispatch() leads for as long as it runs. loop.h says how the
 * application learns that it should run again.
 *
 * The leader alone changes the link's state. A writer that finds the connection broken says so in
 * `link_broken` and rings the bell. */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include <stdatomic.h>

#include "client/call.h"
#include "client/link.h"
#include "client/loop.h"
#include "client/options.h"
#include "proto/base/list.h"
#include "proto/limits.h"

enum {
    slots_count = limit_connection_requests_count,
    async_calls_max = 1024,
    async_size_max = 16 * 1024 * 1024,
    output_size_max = 256 * 1024, /* no more calls are encoded into the output past this */
    replies_batch_max = 64,
    silence_ping_ms = 2500,      /* a server that owes answers is asked whether it is there... */
    silence_lost_ms = 6000,      /* ... and given up */
    silence_other_ping_ms = 600, /* the same where there are other servers to go to */
    silence_other_lost_ms = 1800,
    astray_max_ms = 300, /* a server may know of nobody for, before the next one is asked */
    log_time_stale_ms = 60 * 1000
};

/* A request's number on the connection is its slot and a count that makes it unique. */
struct slot {
    struct call *call; /* NULL: nobody waits any more (while `number` is not 0) */
    uint64_t number;   /* 0: unused */
    enum frame_type type;
};

struct reply {
    struct frame_header header;
    uint8_t *body;
};

struct strait {
    /* Constant after strait_open(). */
    struct strait_options options;
    SSL_CTX *context;
    int bell; /* an eventfd that wakes the leader */
    unsigned fork_generation;

    /* Of whoever has `io_busy`. */
    struct link link;
    struct reply replies[replies_batch_max];

    atomic_uint_least64_t log_time_ns;      /* the newest that any reply told... */
    atomic_uint_least64_t log_time_seen_ns; /* ... and when, by this side's clock */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t io_free;
    pthread_cond_t lead_free; /* for the library's thread */
    bool led;                 /* some thread leads */
    bool polling;             /* the leader waits, or is about to */
    bool io_wanted;           /* the leader waits for io_busy to end */
    bool io_busy;
    bool link_ready;              /* what the leader last saw of the link */
    bool link_broken;             /* a writer failed: `link.error` says how */
    bool output_left;             /* the socket was full */
    bool has_input;               /* poll() said that the socket has something */
    bool more_input;              /* the last turn left replies unread */
    unsigned woken_count;         /* synchronous callers that the turn has woken */
    struct session_info session;  /* of the server that answered Hello last */
    char trouble[call_text_size]; /* why there is no connection; "" while there is */
    uint64_t poll_until_ns;       /* while polling: when the leader wakes by itself */
    uint64_t heard_ns;            /* the last reply, or the first request after none were owed */
    bool ping_sent;               /* since `heard_ns` */
    uint64_t astray_ns; /* since when this server has known of nobody to be followed; 0: not so */
    struct epoch refused_epoch; /* the highest by which a region said that it is a standby */
    struct list_link queue;     /* calls that are QUEUED */
    struct list_link delayed;   /* calls that are DELAYED */
    struct list_link waiting;   /* synchronous callers that wait and do not lead */
    struct slot slots[slots_count];
    uint16_t unused_slots[slots_count];
    uint32_t unused_count;
    uint64_t numbers_count; /* of requests sent in the handle's life */

    /* Asynchronous use. */
    bool threaded;
    bool stopping;
    pthread_t thread;
    struct list_link async; /* calls on their way, by `listed` */
    uint32_t async_count;   /* those, and the completed that wait */
    size_t async_size;
    uint64_t async_wake_ns;     /* no asynchronous call's deadline is earlier than this */
    struct list_link completed; /* by `link` */
    int completions;            /* an eventfd; -1 before asynchronous use */
    bool is_woken;              /* `completions` was written to since it was read */
    struct loop loop;
    bool dispatching;      /* strait_dispatch() leads: it needs no waking */
    bool dispatcher_waits; /* it is to be woken when the lead is given up */
};

uint64_t client_now_ns(void);

/* OK, or UNSUPPORTED in a child after fork(), or INVALID_ARGUMENT for NULL. */
enum strait_status handle_check(const strait *handle, struct strait_error *error);

/* The deadline of a call that begins now. */
uint64_t handle_deadline_ns(const strait *handle, uint32_t timeout_ms);

/* Runs one synchronous call to its end: `call->state` is then CALL_DONE. */
void handle_run(strait *handle, struct call *call);

/* Begins an asynchronous call. BUSY past the bounds, NO_MEMORY where the thread cannot be made. */
MUST_CHECK enum status handle_submit(strait *handle, struct call *call);

/* Starts what asynchronous use needs, once: the thread, or the descriptors of a loop. */
MUST_CHECK enum status handle_start_async(strait *handle);

/* For a handle with a loop. Does what there is to do, and waits until `until_ns` for completions
 * where there is none. False where another thread leads: then it writes what is queued. */
bool handle_drive_loop(strait *handle, uint64_t until_ns);

/* For a handle with a loop: sends what its completions have begun. */
void handle_send_loop(strait *handle);

/* For a handle with a loop: true where another thread leads, which from now on makes `completions`
 * readable when it ceases to. */
bool handle_await_lead(strait *handle);

/* Sends a call whose answer nobody waits for, where there is a connection; drops it otherwise.
 * Takes the call, which is from malloc(), in any case. */
void handle_forget(strait *handle, struct call *call);

/* What a commit that is sent first now carries as `issued_ns`: the newest log time that was seen.
 * Where that was long ago, what has passed since is added, less what clocks may differ by, so that
 * a handle that rested for hours does not begin with transactions that have expired. */
uint64_t handle_issued_ns(const strait *handle);

/* Remembers a log time that a reply told. */
void handle_note_log_time(strait *handle, uint64_t log_time_ns);

/* The same, of a log that is behind what was told before: a region was promoted, and what the lost
 * one had told is no time of the log that goes on. */
void handle_take_log_time(strait *handle, uint64_t log_time_ns);

/* ---- Below: with the lock held; between handle.c and drive.c ---- */

/* Puts a call into the queue. */
void handle_enqueue(strait *handle, struct call *call);

/* Ends a call. `text` may be NULL: then the server's words in its body count. */
void handle_finish(strait *handle, struct call *call, enum status status, const char *text);

/* Ends a call whose deadline has passed. */
void handle_expire(strait *handle, struct call *call);

/* Wakes the leader from poll(). */
void drive_ring(strait *handle);

/* Whether the caller, who does not lead, should write what is queued. */
bool drive_may_write(const strait *handle);

/* Writes what is queued, and what is queued meanwhile. Gives the lock up in between. */
void drive_write(strait *handle);

/* Leads until `call` is done or, for the library's thread, which gives NULL, until `stopping`.
 * Gives the lock up in between. */
void drive_lead(strait *handle, struct call *call);

/* Leads until completions wait, and at least once, but not past `until_ns`; for a handle with a
 * loop. With `look`, begins with looking at the socket. Gives the lock up in between. */
void drive_loop(strait *handle, uint64_t until_ns, bool look);

#endif
