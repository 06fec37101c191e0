/* SPDX-License-Identifier: Apache-2.0 */
/* Leading: one turn reads what came, moves the link on, ends what is due, and writes all that is
 * queued; then the leader waits. See handle.h for who may do what. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/error.h"
#include "client/handle.h"
#include "proto/base/assert.h"

enum { loop_turns_max = 16 };

static const uint64_t millisecond_ns = 1000 * 1000;

void drive_ring(strait *handle)
{
    uint64_t one = 1;
    ssize_t written = write(handle->bell, &one, sizeof one);
    ASSERT(written == sizeof one || errno == EAGAIN);
}

bool drive_may_write(const strait *handle)
{
    return handle->link_ready && !handle->link_broken && !handle->output_left && !handle->io_busy &&
           handle->unused_count != 0 && !list_is_empty(&handle->queue);
}

static uint32_t owed_count(const strait *handle)
{
    return slots_count - handle->unused_count;
}

/* ---- Writing ---- */

static void take_slot(strait *handle, struct call *call)
{
    uint16_t number = handle->unused_slots[--handle->unused_count];
    struct slot *slot = &handle->slots[number];
    *slot = (struct slot){.call = call->forgotten ? NULL : call,
                          .number = ++handle->numbers_count * slots_count + number,
                          .type = call->type};
    call->slot = number;
}

static void free_slot(strait *handle, uint16_t number)
{
    handle->slots[number] = (struct slot){0};
    handle->unused_slots[handle->unused_count++] = number;
}

/* Moves one call from the queue into the connection's output. */
static bool put_call(strait *handle, struct call *call)
{
    if (call_is_commit(call) && call->issued_ns == 0)
        call_stamp(call, handle_issued_ns(handle));
    if (owed_count(handle) == 0) {
        handle->heard_ns = client_now_ns();
        handle->ping_sent = false;
    }
    take_slot(handle, call);
    struct frame_header header = {.body_size = (uint32_t)(call->frame_size - frame_header_size),
                                  .type = call->type,
                                  .request = handle->slots[call->slot].number};
    frame_header_encode(&header, call->frame);
    if (connection_write(&handle->link.connection, bytes_of(call->frame, call->frame_size)) !=
        STATUS_OK) {
        free_slot(handle, (uint16_t)call->slot);
        return false;
    }
    list_remove(&call->link);
    call->state = CALL_SENT;
    call->unanswered_count++;
    if (call->forgotten) {
        call_free(call);
        free(call);
    }
    return true;
}

static void put_queue(strait *handle)
{
    const struct connection *connection = &handle->link.connection;
    struct list_link *first;

    while ((first = list_first(&handle->queue)) != NULL && handle->unused_count != 0 &&
           connection->output_end - connection->output_start < output_size_max) {
        struct call *call = LIST_ENTRY(first, struct call, link);
        if (call->was_refused && call_is_late(call, client_now_ns()))
            handle_expire(handle, call);
        /* Out of memory: what waits is tried again, until its deadline. */
        else if (!put_call(handle, call))
            break;
    }
}

/* With `io_busy` set by the caller. */
static void write_queue(strait *handle)
{
    enum status status;

    do {
        put_queue(handle);
        pthread_mutex_unlock(&handle->lock);
        status = connection_flush(&handle->link.connection, &handle->link.error);
        pthread_mutex_lock(&handle->lock);
    } while (status == STATUS_OK && handle->unused_count != 0 && !list_is_empty(&handle->queue));
    handle->output_left = status == STATUS_AGAIN;
    handle->link_broken = status != STATUS_OK && status != STATUS_AGAIN;
}

void drive_write(strait *handle)
{
    ASSERT(!handle->io_busy);
    handle->io_busy = true;
    write_queue(handle);
    handle->io_busy = false;
    if (handle->io_wanted)
        pthread_cond_signal(&handle->io_free);
    if (handle->output_left || handle->link_broken) {
        if (handle->polling)
            drive_ring(handle);
        else if (handle->loop.epoll != -1 && !handle->led)
            loop_wake(handle);
    }
}

/* ---- Reading ---- */

/* Reads up to a batch of replies, without the lock. */
static enum status read_replies(strait *handle, size_t *count)
{
    enum status status = STATUS_OK;

    handle->link.connection.socket.drained = false;
    for (*count = 0; *count < replies_batch_max; ++*count) {
        struct reply *reply = &handle->replies[*count];
        status = connection_read(&handle->link.connection, &reply->header, &reply->body,
                                 &handle->link.error);
        if (status != STATUS_OK)
            break;
    }
    return status;
}

/* Whether the same request may find a server willing, later or elsewhere. A commit whose leader was
 * lost on the way is among them: sent again, it finds its outcome, or is done. */
static bool is_not_now(const struct call *call, enum status status)
{
    switch (status) {
    case STATUS_BUSY:
    case STATUS_SHUTTING_DOWN:
    case STATUS_NOT_LEADER:
        return true;
    case STATUS_OUTCOME_UNKNOWN:
        return call_is_commit(call);
    case STATUS_NOT_PRIMARY:
        return !call_is_regional(call);
    default:
        return false;
    }
}

/* What the replies of one turn say of the server that gave them. */
struct verdict {
    bool turned_away; /* it serves nobody any more */
    bool is_astray;   /* it does not serve, and knows of nobody that could be followed */
    bool is_standby;  /* what is said here is of the primary region, not of a leader */
    char named[call_leader_size]; /* to be followed; else "" */
};

/* Puts a call off until the server may be willing; false where its deadline comes before that, or
 * too soon after it. */
static bool delay(strait *handle, struct call *call, struct bytes body, uint64_t now_ns)
{
    uint64_t pause_ns = call_retry_after_ms(call, body) * millisecond_ns;
    uint64_t due_ns =
        now_ns + pause_ns + generator_below(&handle->link.generator, pause_ns / 2 + 1);

    if (call_is_late(call, due_ns))
        return false;
    call->tries_count++;
    call->follows_count = 0;
    call->due_ns = due_ns;
    call->state = CALL_DELAYED;
    list_push_last(&handle->delayed, &call->link);
    return true;
}

/* Puts a call to the front of the queue: it goes out on the next connection. */
static void requeue(strait *handle, struct call *call)
{
    call->state = CALL_QUEUED;
    list_push_first(&handle->queue, &call->link);
}

/* Whether the refusal leads to another server, or servers, that may be followed: `named`. A region
 * that goes by a lower epoch than one that has refused before is behind: while a switchover is
 * under way, the next primary may still name the old one, which has sent us here. */
static bool leads_on(strait *handle, const struct call *call, enum status status, struct bytes body,
                     uint64_t now_ns, char named[call_leader_size])
{
    struct epoch epoch;

    call_leader(body, named, &epoch);
    if (status == STATUS_NOT_PRIMARY && epoch.number != 0) {
        if (epoch_compare(epoch, handle->refused_epoch) < 0)
            return false;
        handle->refused_epoch = epoch;
    }
    return !call_is_late(call, now_ns) && call->follows_count < call_follows_max &&
           link_may_follow(&handle->link, named, now_ns);
}

/* A server that may not serve this call now. True: the call is taken care of. */
static bool try_again(strait *handle, struct call *call, enum status status, struct bytes body,
                      uint64_t now_ns, struct verdict *verdict)
{
    char named[call_leader_size];

    if (!is_not_now(call, status))
        return false;
    if (status == STATUS_NOT_LEADER || status == STATUS_OUTCOME_UNKNOWN ||
        status == STATUS_NOT_PRIMARY) {
        verdict->is_standby = status == STATUS_NOT_PRIMARY;
        if (verdict->is_standby)
            call_note_promotion(body, &handle->link.promotion);
        if (leads_on(handle, call, status, body, now_ns, named)) {
            memcpy(verdict->named, named, sizeof named);
            call->follows_count++;
            requeue(handle, call);
            return true;
        }
        verdict->is_astray = true;
    }
    return delay(handle, call, body, now_ns);
}

/* A commit all of whose sends were refused for certain has not run, nor ever will: the next send is
 * its first, and takes the newest log time that is known by then. That of a server which had not
 * caught up yet may have been too old even for that, which is told with the time as it is; that of
 * a region which was lost, and whose clock was ahead, is a time to come where another was promoted.
 */
static bool restamp(strait *handle, struct call *call, enum status status, struct bytes body)
{
    if (!call_is_commit(call) || call->unanswered_count != 0 || call->keeps_issued)
        return false;
    if (status != STATUS_TXN_EXPIRED) {
        if (is_not_now(call, status))
            call->issued_ns = 0;
        return false;
    }
    uint64_t log_time_ns = call_log_time_ns(body);
    if (call->is_restamped || log_time_ns == 0 || log_time_ns == call->issued_ns)
        return false;
    if (log_time_ns < call->issued_ns)
        handle_take_log_time(handle, log_time_ns);
    else
        handle_note_log_time(handle, log_time_ns);
    call->is_restamped = true;
    call->issued_ns = 0;
    requeue(handle, call);
    return true;
}

/* False where the reply belongs to no request: the server has lost its way. */
static bool take_reply(strait *handle, struct reply *reply, uint64_t now_ns,
                       struct verdict *verdict)
{
    uint16_t number = (uint16_t)(reply->header.request % slots_count);
    struct slot *slot = &handle->slots[number];
    struct call *call = slot->call;
    enum status status = reply->header.status;
    struct bytes body = bytes_of(reply->body, reply->header.body_size);

    if (slot->number == 0 || slot->number != reply->header.request ||
        reply->header.type != (enum frame_type)(slot->type | frame_reply))
        return false;
    free_slot(handle, number);
    if (status == STATUS_SHUTTING_DOWN)
        verdict->turned_away = true;
    if (status != STATUS_NOT_LEADER && status != STATUS_OUTCOME_UNKNOWN &&
        status != STATUS_NOT_PRIMARY) {
        handle->astray_ns = 0;
        link_found(&handle->link);
    }
    if (call == NULL)
        return true;
    /* An outcome that is not known is no answer to that send. */
    if (status != STATUS_OUTCOME_UNKNOWN)
        call->unanswered_count--;
    call->was_refused = true;
    call->is_astray = status == STATUS_NOT_LEADER;
    call->is_standby = status == STATUS_NOT_PRIMARY;
    if (restamp(handle, call, status, body) ||
        try_again(handle, call, status, body, now_ns, verdict))
        return true;
    call->body = reply->body;
    call->body_size = reply->header.body_size;
    reply->body = NULL;
    if (status == STATUS_NOT_LEADER && call->unanswered_count == 0)
        handle_finish(handle, call, STATUS_UNREACHABLE,
                      "No leader of the region was found before the deadline.");
    else
        handle_finish(handle, call, status, NULL);
    return true;
}

/* ---- The link, as the calls see it ---- */

/* All that was sent is queued again: nobody will answer it on this connection. */
static void requeue_sent(strait *handle)
{
    loop_unwatch(&handle->loop);
    handle->unused_count = 0;
    for (uint16_t i = slots_count; i-- > 0;) {
        struct call *call = handle->slots[i].call;
        if (call != NULL) {
            call->state = CALL_QUEUED;
            list_push_first(&handle->queue, &call->link);
        }
        free_slot(handle, i);
    }
    handle->link_ready = false;
    handle->link_broken = false;
    handle->output_left = false;
    handle->has_input = false;
    handle->more_input = false;
}

static void keep_trouble(strait *handle)
{
    snprintf(handle->trouble, sizeof handle->trouble, "%.380s", handle->link.error.text);
}

static void lose_link(strait *handle, uint64_t now_ns)
{
    requeue_sent(handle);
    link_lost(&handle->link, now_ns);
    keep_trouble(handle);
}

/* Leaves a server that cannot serve: for the leader or the primary region that it names, or for the
 * next endpoint where it is shutting down, or has known of nobody for longer than an election
 * should take. */
static void heed(strait *handle, const struct verdict *verdict, uint64_t now_ns)
{
    if (verdict->named[0] != 0) {
        requeue_sent(handle);
        link_follow(&handle->link, verdict->named, now_ns);
        snprintf(handle->trouble, sizeof handle->trouble, "The %s is said to be %.300s.",
                 verdict->is_standby ? "primary region" : "region's leader", verdict->named);
        return;
    }
    if (verdict->is_astray && handle->astray_ns == 0)
        handle->astray_ns = now_ns;
    bool is_lost = verdict->is_astray && handle->link.endpoints_count > 1 &&
                   now_ns >= handle->astray_ns + astray_max_ms * millisecond_ns;
    if (!verdict->turned_away && !is_lost)
        return;
    requeue_sent(handle);
    link_turn_away(&handle->link, now_ns);
    handle->astray_ns = 0;
    snprintf(handle->trouble, sizeof handle->trouble, "%s",
             verdict->turned_away  ? "The server is shutting down."
             : verdict->is_standby ? "The server's region is a standby."
                                   : "The server knows of no leader of its region.");
}

static void read_link(strait *handle, uint64_t now_ns)
{
    size_t count;
    struct verdict verdict = {0};
    bool sane = true;

    pthread_mutex_unlock(&handle->lock);
    enum status status = read_replies(handle, &count);
    pthread_mutex_lock(&handle->lock);
    for (size_t i = 0; i < count; i++) {
        sane = sane && take_reply(handle, &handle->replies[i], now_ns, &verdict);
        free(handle->replies[i].body);
    }
    handle->has_input = false;
    handle->more_input = status == STATUS_OK;
    if (count != 0) {
        handle->heard_ns = now_ns;
        handle->ping_sent = false;
        handle->link.served = true;
    }
    if (!sane) {
        client_error_set(&handle->link.error, STATUS_MALFORMED,
                         "the server answered what was not asked");
        handle->link.served = false;
        lose_link(handle, now_ns);
    } else if (status != STATUS_OK && status != STATUS_AGAIN) {
        lose_link(handle, now_ns);
    } else {
        heed(handle, &verdict, now_ns);
    }
}

/* No way to any server, for a reason that waiting does not mend: what was never sent is told so at
 * once. What was sent may have run, and is tried until its deadline. */
static void refuse_queue(strait *handle, enum status status)
{
    struct list_link *link = handle->queue.next;
    while (link != &handle->queue) {
        struct call *call = LIST_ENTRY(link, struct call, link);
        link = link->next;
        if (call->unanswered_count == 0 && !call->forgotten)
            handle_finish(handle, call, status, handle->trouble);
    }
}

static void connect_link(strait *handle, uint64_t now_ns)
{
    pthread_mutex_unlock(&handle->lock);
    enum status status = link_connect(&handle->link, now_ns);
    pthread_mutex_lock(&handle->lock);
    if (status == STATUS_OK) {
        handle_note_log_time(handle, handle->link.log_time_ns);
        handle->session = handle->link.session;
        handle->link_ready = true;
        handle->trouble[0] = 0;
    } else if (status != STATUS_AGAIN) {
        keep_trouble(handle);
        if (handle->link.refused)
            refuse_queue(handle, (enum status)handle->link.error.status);
    }
}

/* Sooner where there is another server that may have taken over. */
static uint64_t silence_ping_ns(const strait *handle)
{
    bool others = handle->link.endpoints_count > 1;
    return (others ? silence_other_ping_ms : silence_ping_ms) * millisecond_ns;
}

static uint64_t silence_lost_ns(const strait *handle)
{
    bool others = handle->link.endpoints_count > 1;
    return (others ? silence_other_lost_ms : silence_lost_ms) * millisecond_ns;
}

/* A server that owes answers and says nothing: ask, then give it up. A connection that a NAT box
 * or a sleeping laptop has lost is noticed here long before TCP gives up. */
static void check_silence(strait *handle, uint64_t now_ns)
{
    if (owed_count(handle) == 0 || now_ns < handle->heard_ns + silence_ping_ns(handle))
        return;
    if (now_ns >= handle->heard_ns + silence_lost_ns(handle)) {
        client_error_set(&handle->link.error, STATUS_DISCONNECTED,
                         "the server has said nothing for %" PRIu64 " ms",
                         silence_lost_ns(handle) / millisecond_ns);
        lose_link(handle, now_ns);
        link_pass_over(&handle->link);
        return;
    }
    if (handle->ping_sent)
        return;
    handle->ping_sent = true;
    struct call *ping = call_new_ping();
    if (ping != NULL) {
        ping->forgotten = true;
        ping->state = CALL_QUEUED;
        list_push_first(&handle->queue, &ping->link);
    }
}

/* ---- Time ---- */

static void end_delays(strait *handle, uint64_t now_ns)
{
    struct list_link *link = handle->delayed.next;
    while (link != &handle->delayed) {
        struct call *call = LIST_ENTRY(link, struct call, link);
        link = link->next;
        if (now_ns < call->due_ns)
            continue;
        list_remove(&call->link);
        call->state = CALL_QUEUED;
        list_push_last(&handle->queue, &call->link);
    }
}

/* `async_wake_ns` is a bound, so that all deadlines are looked at only when one may have passed. */
static void expire_async(strait *handle, uint64_t now_ns)
{
    if (now_ns < handle->async_wake_ns)
        return;
    handle->async_wake_ns = UINT64_MAX;
    struct list_link *link = handle->async.next;
    while (link != &handle->async) {
        struct call *call = LIST_ENTRY(link, struct call, listed);
        link = link->next;
        if (now_ns >= call->deadline_ns)
            handle_expire(handle, call);
        else if (call->deadline_ns < handle->async_wake_ns)
            handle->async_wake_ns = call->deadline_ns;
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_time_ns(const strait *handle, uint64_t until_ns)
{
    uint64_t wake_ns = earlier(until_ns, handle->async_wake_ns);

    for (struct list_link *link = handle->delayed.next; link != &handle->delayed; link = link->next)
        wake_ns = earlier(wake_ns, LIST_ENTRY(link, struct call, link)->due_ns);
    if (handle->link_ready && owed_count(handle) != 0)
        wake_ns =
            earlier(wake_ns, handle->heard_ns + (handle->ping_sent ? silence_lost_ns(handle)
                                                                   : silence_ping_ns(handle)));
    return wake_ns;
}

/* ---- Leading ---- */

static bool needs_link(const strait *handle)
{
    return !list_is_empty(&handle->queue) || !list_is_empty(&handle->delayed);
}

/* Those who were just woken with an answer often have the next request ready at once: letting them
 * run first lets one write carry all of these. */
static void let_woken_queue(strait *handle)
{
    if (handle->woken_count > 1) {
        pthread_mutex_unlock(&handle->lock);
        sched_yield();
        pthread_mutex_lock(&handle->lock);
    }
    handle->woken_count = 0;
}

static void turn(strait *handle)
{
    uint64_t now_ns = client_now_ns();

    if (handle->link_broken)
        lose_link(handle, now_ns);
    if (handle->link_ready && (handle->has_input || handle->more_input))
        read_link(handle, now_ns);
    end_delays(handle, now_ns);
    expire_async(handle, now_ns);
    if (!handle->link_ready && needs_link(handle))
        connect_link(handle, now_ns);
    if (handle->link_ready)
        check_silence(handle, now_ns);
    if (handle->link_ready) {
        let_woken_queue(handle);
        write_queue(handle);
    }
}

/* A writer may still be at it. */
static void take_io(strait *handle)
{
    handle->io_wanted = true;
    while (handle->io_busy)
        pthread_cond_wait(&handle->io_free, &handle->lock);
    handle->io_wanted = false;
    handle->io_busy = true;
}

/* What to wait for: at most dial_descriptors_max descriptors, and a time, which is not past
 * `until_ns`. */
static unsigned poll_set(const strait *handle, uint64_t until_ns, struct pollfd *polled,
                         uint64_t *wake_ns)
{
    uint64_t link_ns = UINT64_MAX;
    unsigned count = 0;

    *wake_ns = next_time_ns(handle, until_ns);
    if (handle->link_ready || needs_link(handle)) {
        count = link_poll(&handle->link, polled, &link_ns);
        *wake_ns = earlier(*wake_ns, link_ns);
    }
    return count;
}

/* Waits until there is something to do, or `latest_ns`. The I/O is free meanwhile. */
static void wait_for_input(strait *handle, uint64_t latest_ns)
{
    struct pollfd polled[1 + dial_descriptors_max];

    polled[0] = (struct pollfd){.fd = handle->bell, .events = POLLIN};
    unsigned count = 1 + poll_set(handle, latest_ns, polled + 1, &handle->poll_until_ns);
    handle->polling = true;
    handle->io_busy = false;
    uint64_t until_ns = handle->poll_until_ns;
    pthread_mutex_unlock(&handle->lock);

    uint64_t now_ns = client_now_ns();
    struct timespec wait = {0};
    if (until_ns > now_ns)
        wait = (struct timespec){.tv_sec = (time_t)((until_ns - now_ns) / 1000000000),
                                 .tv_nsec = (long)((until_ns - now_ns) % 1000000000)};
    int ready = ppoll(polled, count, until_ns == UINT64_MAX ? NULL : &wait, NULL);

    pthread_mutex_lock(&handle->lock);
    handle->polling = false;
    handle->has_input = false;
    for (unsigned i = 1; ready > 0 && i < count; i++)
        handle->has_input = handle->has_input || (polled[i].revents & ~POLLOUT) != 0;
    if (ready > 0 && polled[0].revents != 0) {
        uint64_t rings;
        ssize_t size = read(handle->bell, &rings, sizeof rings);
        ASSERT(size == sizeof rings || errno == EAGAIN);
    }
    take_io(handle);
}

/* Gives up the lead. */
static void end_lead(strait *handle)
{
    if (handle->loop.epoll != -1) {
        struct pollfd polled[dial_descriptors_max];
        uint64_t wake_ns;
        unsigned count = poll_set(handle, UINT64_MAX, polled, &wake_ns);
        loop_arm(handle, wake_ns, polled, count);
        /* What no socket and no timer tells. */
        if (handle->more_input || handle->link_broken || handle->dispatcher_waits)
            loop_wake(handle);
        handle->dispatcher_waits = false;
    }
    handle->io_busy = false;
    handle->led = false;
}

static bool is_over(const strait *handle, const struct call *call)
{
    return call != NULL ? call->state == CALL_DONE : handle->stopping;
}

void drive_lead(strait *handle, struct call *call)
{
    ASSERT(!handle->led);
    handle->led = true;
    take_io(handle);
    while (!is_over(handle, call)) {
        turn(handle);
        if (!is_over(handle, call) && !handle->more_input && !handle->link_broken)
            wait_for_input(handle, call != NULL ? call->deadline_ns : UINT64_MAX);
        if (call != NULL && call->state != CALL_DONE && client_now_ns() >= call->deadline_ns)
            handle_expire(handle, call);
    }
    end_lead(handle);
}

void drive_loop(strait *handle, uint64_t until_ns, bool look)
{
    ASSERT(!handle->led);
    handle->led = true;
    handle->dispatching = true;
    take_io(handle);
    handle->has_input = look;
    for (unsigned turns_count = 1;; turns_count++) {
        turn(handle);
        bool is_enough = !list_is_empty(&handle->completed) || client_now_ns() >= until_ns;
        if (handle->more_input || handle->link_broken) {
            /* Other threads' calls must not keep the application's loop here. */
            if (is_enough && turns_count >= loop_turns_max)
                break;
            continue;
        }
        if (is_enough)
            break;
        wait_for_input(handle, until_ns);
    }
    handle->dispatching = false;
    end_lead(handle);
}
