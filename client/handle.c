/* SPDX-License-Identifier: Apache-2.0 */
#include "client/handle.h"

#include <errno.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "client/async.h"
#include "client/error.h"
#include "client/fork.h"
#include "proto/base/assert.h"

uint64_t client_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t handle_deadline_ns(const strait *handle, uint32_t timeout_ms)
{
    uint64_t chosen_ms = timeout_ms != 0 ? timeout_ms : handle->options.timeout_ms;
    return client_now_ns() + chosen_ms * 1000000;
}

enum strait_status handle_check(const strait *handle, struct strait_error *error)
{
    client_error_clear(error);
    if (handle == NULL)
        return client_error_set(error, STATUS_INVALID_ARGUMENT, "There is no handle.");
    if (handle->fork_generation != fork_generation())
        return client_error_set(error, STATUS_UNSUPPORTED,
                                "This handle was opened before fork(): it belongs to the parent. "
                                "Open another one in the child.");
    return STRAIT_OK;
}

static void raise_to(atomic_uint_least64_t *number, uint64_t least)
{
    uint64_t known = atomic_load(number);
    while (least > known && !atomic_compare_exchange_weak(number, &known, least))
        ;
}

void handle_note_log_time(strait *handle, uint64_t log_time_ns)
{
    /* In this order: who reads a log time then finds it seen no earlier than it was. */
    if (log_time_ns > atomic_load(&handle->log_time_ns)) {
        raise_to(&handle->log_time_seen_ns, client_now_ns());
        raise_to(&handle->log_time_ns, log_time_ns);
    }
}

void handle_take_log_time(strait *handle, uint64_t log_time_ns)
{
    atomic_store(&handle->log_time_seen_ns, client_now_ns());
    atomic_store(&handle->log_time_ns, log_time_ns);
}

uint64_t handle_issued_ns(const strait *handle)
{
    uint64_t log_time_ns = atomic_load(&handle->log_time_ns);
    uint64_t seen_ns = atomic_load(&handle->log_time_seen_ns);
    /* Read after `seen_ns`, which another thread may move on meanwhile: never before it. */
    int64_t difference_ns = (int64_t)(client_now_ns() - seen_ns);
    uint64_t elapsed_ns = difference_ns > 0 ? (uint64_t)difference_ns : 0;
    if (elapsed_ns < log_time_stale_ms * UINT64_C(1000000))
        return log_time_ns;
    return log_time_ns + elapsed_ns - elapsed_ns / 64;
}

void handle_enqueue(strait *handle, struct call *call)
{
    ASSERT(call->state == CALL_NEW);
    call->state = CALL_QUEUED;
    list_push_last(&handle->queue, &call->link);
    /* A leader that waits for something else than this server's replies has to look again. */
    if (handle->polling && !handle->link_ready)
        drive_ring(handle);
}

void handle_finish(strait *handle, struct call *call, enum status status, const char *text)
{
    ASSERT(call->state != CALL_DONE);
    call->status = call_outcome(call, status);
    if (text != NULL)
        snprintf(call->text, sizeof call->text, "%s", text);
    else if (call->status != status)
        snprintf(call->text, sizeof call->text,
                 "It is not known whether the commit was done: the server's last answer was %s.",
                 status_name(status));
    call->state = CALL_DONE;
    list_remove(&call->link);
    if (call->complete == NULL) {
        if (list_is_linked(&call->waiting))
            handle->woken_count++;
        list_remove(&call->waiting);
        pthread_cond_signal(&call->changed);
        return;
    }
    list_remove(&call->listed);
    if (list_is_empty(&handle->completed) && !handle->dispatching)
        loop_wake(handle);
    list_push_last(&handle->completed, &call->link);
}

void handle_expire(strait *handle, struct call *call)
{
    char text[call_text_size];
    const char *trouble = handle->trouble;
    enum status status = STATUS_DEADLINE_EXCEEDED;

    if (call->state == CALL_SENT)
        handle->slots[call->slot].call = NULL;
    if (call_is_commit(call) && call->unanswered_count != 0) {
        status = STATUS_OUTCOME_UNKNOWN;
        snprintf(text, sizeof text,
                 "The deadline passed before an answer came: it is not known whether the commit "
                 "was done.%s%.200s",
                 trouble[0] != 0 ? " " : "", trouble);
    } else if (call->is_standby) {
        status = STATUS_NOT_PRIMARY;
        snprintf(text, sizeof text, "The primary region was not found before the deadline.%s%.200s",
                 trouble[0] != 0 ? " " : "", trouble);
    } else if (call->is_astray) {
        status = STATUS_UNREACHABLE;
        snprintf(text, sizeof text, "No leader of the region was found before the deadline.");
    } else if (!handle->link_ready) {
        status = STATUS_UNREACHABLE;
        snprintf(text, sizeof text, "No server could be reached before the deadline.%s%.200s",
                 trouble[0] != 0 ? " " : "", trouble);
    } else {
        snprintf(text, sizeof text, "The deadline passed before an answer came.");
    }
    handle_finish(handle, call, status, text);
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failure = pthread_cond_init(condition, &attributes);
    ASSERT(failure == 0);
    pthread_condattr_destroy(&attributes);
}

/* Waits until the call is done, the lead is free, or its deadline has passed. */
static void wait_for(strait *handle, struct call *call)
{
    struct timespec until = {.tv_sec = (time_t)(call->deadline_ns / 1000000000),
                             .tv_nsec = (long)(call->deadline_ns % 1000000000)};
    list_push_last(&handle->waiting, &call->waiting);
    (void)pthread_cond_timedwait(&call->changed, &handle->lock, &until);
    list_remove(&call->waiting);
    if (call->state != CALL_DONE && client_now_ns() >= call->deadline_ns)
        handle_expire(handle, call);
}

/* The lead is free: someone who still waits takes it. */
static void pass_lead(strait *handle)
{
    struct list_link *first = list_first(&handle->waiting);
    if (handle->threaded)
        pthread_cond_signal(&handle->lead_free);
    else if (first != NULL)
        pthread_cond_signal(&LIST_ENTRY(first, struct call, waiting)->changed);
}

void handle_run(strait *handle, struct call *call)
{
    init_condition(&call->changed);
    pthread_mutex_lock(&handle->lock);
    handle_enqueue(handle, call);
    while (call->state != CALL_DONE) {
        if (!handle->led)
            drive_lead(handle, call);
        else if (drive_may_write(handle))
            drive_write(handle);
        else
            wait_for(handle, call);
    }
    if (!handle->led)
        pass_lead(handle);
    pthread_mutex_unlock(&handle->lock);
    pthread_cond_destroy(&call->changed);
}

void handle_forget(strait *handle, struct call *call)
{
    pthread_mutex_lock(&handle->lock);
    if (handle->link_ready && !handle->link_broken) {
        call->forgotten = true;
        handle_enqueue(handle, call);
        if (drive_may_write(handle))
            drive_write(handle);
        call = NULL;
    }
    pthread_mutex_unlock(&handle->lock);
    if (call != NULL) {
        call_free(call);
        free(call);
    }
}

static void *run_thread(void *context)
{
    strait *handle = context;
    pthread_mutex_lock(&handle->lock);
    while (!handle->stopping) {
        if (handle->led)
            pthread_cond_wait(&handle->lead_free, &handle->lock);
        else
            drive_lead(handle, NULL);
    }
    pthread_mutex_unlock(&handle->lock);
    return NULL;
}

static enum status start_async(strait *handle)
{
    sigset_t all;
    sigset_t before;

    if (handle->threaded || handle->loop.epoll != -1)
        return STATUS_OK;
    if (handle->completions == -1)
        handle->completions = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (handle->completions == -1)
        return STATUS_NO_MEMORY;
    if (handle->options.loop)
        return loop_open(&handle->loop, handle->completions) ? STATUS_OK : STATUS_NO_MEMORY;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&handle->thread, NULL, run_thread, handle);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    handle->threaded = failure == 0;
    return failure == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status handle_start_async(strait *handle)
{
    pthread_mutex_lock(&handle->lock);
    enum status status = start_async(handle);
    pthread_mutex_unlock(&handle->lock);
    return status;
}

bool handle_drive_loop(strait *handle, uint64_t until_ns)
{
    pthread_mutex_lock(&handle->lock);
    bool leads = !handle->led;
    if (leads) {
        drive_loop(handle, until_ns, true);
        pass_lead(handle);
    } else {
        if (drive_may_write(handle))
            drive_write(handle);
        loop_quiet_timer(&handle->loop, client_now_ns());
    }
    pthread_mutex_unlock(&handle->lock);
    return leads;
}

void handle_send_loop(strait *handle)
{
    pthread_mutex_lock(&handle->lock);
    if (!handle->led && !list_is_empty(&handle->queue)) {
        drive_loop(handle, 0, false);
        pass_lead(handle);
        if (!list_is_empty(&handle->completed) && !handle->is_woken)
            loop_wake(handle);
    } else if (drive_may_write(handle)) {
        drive_write(handle);
    }
    pthread_mutex_unlock(&handle->lock);
}

bool handle_await_lead(strait *handle)
{
    pthread_mutex_lock(&handle->lock);
    handle->dispatcher_waits = handle->led;
    bool waits = handle->dispatcher_waits;
    pthread_mutex_unlock(&handle->lock);
    return waits;
}

enum status handle_submit(strait *handle, struct call *call)
{
    ASSERT(call->complete != NULL);
    pthread_mutex_lock(&handle->lock);
    enum status status = start_async(handle);
    if (status == STATUS_OK && (handle->async_count >= async_calls_max ||
                                call->frame_size > async_size_max - handle->async_size))
        status = STATUS_BUSY;
    if (status == STATUS_OK) {
        handle->async_count++;
        handle->async_size += call->frame_size;
        list_push_last(&handle->async, &call->listed);
        handle_enqueue(handle, call);
        if (call->deadline_ns < handle->async_wake_ns)
            handle->async_wake_ns = call->deadline_ns;
        /* Where a loop drives and nobody leads now, the next strait_dispatch() writes all that was
         * begun until then at once. */
        if ((!handle->options.loop || handle->polling) && drive_may_write(handle))
            drive_write(handle);
        else if (handle->polling && call->deadline_ns < handle->poll_until_ns)
            drive_ring(handle);
    }
    pthread_mutex_unlock(&handle->lock);
    return status;
}

static enum strait_status check_options(const strait_options *options, struct strait_error *error)
{
    if (options == NULL || options->endpoints_count == 0)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "No endpoint is set: say where the server is, or load a profile.");
    return STRAIT_OK;
}

static void init_queues(strait *handle)
{
    list_init(&handle->queue);
    list_init(&handle->delayed);
    list_init(&handle->waiting);
    list_init(&handle->async);
    list_init(&handle->completed);
    handle->async_wake_ns = UINT64_MAX;
    handle->unused_count = slots_count;
    for (uint16_t i = 0; i < slots_count; i++)
        handle->unused_slots[i] = i;
    int failure = pthread_mutex_init(&handle->lock, NULL);
    ASSERT(failure == 0);
    init_condition(&handle->io_free);
    init_condition(&handle->lead_free);
}

enum strait_status strait_open(const strait_options *options, strait **handle,
                               struct strait_error *error)
{
    uint64_t seed;

    client_error_clear(error);
    *handle = NULL;
    enum strait_status status = check_options(options, error);
    if (status != STRAIT_OK)
        return status;
    strait *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    opened->options = *options;
    opened->completions = -1;
    loop_init(&opened->loop);
    opened->fork_generation = fork_generation();
    status = tls_context_open(options, &opened->context, error);
    if (status == STRAIT_OK && RAND_bytes((unsigned char *)&seed, sizeof seed) != 1)
        status = client_error_set(error, STATUS_INTERNAL, "OpenSSL has no random bytes.");
    if (status == STRAIT_OK) {
        opened->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (opened->bell == -1)
            status = client_error_set(error, STATUS_NO_MEMORY, "No descriptor is left: %s.",
                                      strerror(errno));
    }
    if (status != STRAIT_OK) {
        SSL_CTX_free(opened->context);
        free(opened);
        return status;
    }
    init_queues(opened);
    link_init(&opened->link, &opened->options, opened->context, seed);
    *handle = opened;
    return STRAIT_OK;
}

/* A child's copy of a handle: its locks may be held by threads that are not there, so that memory
 * is left alone. */
static void close_descriptors(strait *handle)
{
    if (handle->link.connection.socket.descriptor != -1)
        close(handle->link.connection.socket.descriptor);
    for (unsigned i = 0; i < dial_attempts_max; i++) {
        if (handle->link.dial.attempts[i].descriptor != -1)
            close(handle->link.dial.attempts[i].descriptor);
    }
    if (handle->link.dial.lookup != NULL)
        close(lookup_descriptor(handle->link.dial.lookup));
    loop_close(&handle->loop);
    if (handle->completions != -1)
        close(handle->completions);
    close(handle->bell);
}

/* What is still on its way ends here; only asynchronous and forgotten calls can be. */
static void cancel_all(strait *handle)
{
    struct list_link *link;

    while ((link = list_first(&handle->async)) != NULL) {
        struct call *call = LIST_ENTRY(link, struct call, listed);
        bool unknown = call_is_commit(call) && call->unanswered_count != 0;
        handle_finish(handle, call, unknown ? STATUS_OUTCOME_UNKNOWN : STATUS_CANCELLED,
                      "The handle was closed before an answer came.");
    }
    while ((link = list_pop_first(&handle->queue)) != NULL) {
        struct call *call = LIST_ENTRY(link, struct call, link);
        ASSERT(call->forgotten);
        call_free(call);
        free(call);
    }
}

void strait_close(strait *handle)
{
    if (handle == NULL)
        return;
    if (handle_check(handle, NULL) != STRAIT_OK) {
        close_descriptors(handle);
        return;
    }
    pthread_mutex_lock(&handle->lock);
    handle->stopping = true;
    drive_ring(handle);
    pthread_cond_signal(&handle->lead_free);
    pthread_mutex_unlock(&handle->lock);
    if (handle->threaded)
        pthread_join(handle->thread, NULL);
    pthread_mutex_lock(&handle->lock);
    cancel_all(handle);
    pthread_mutex_unlock(&handle->lock);
    async_run_completions(handle);
    link_free(&handle->link, false);
    SSL_CTX_free(handle->context);
    loop_close(&handle->loop);
    if (handle->completions != -1)
        close(handle->completions);
    close(handle->bell);
    pthread_cond_destroy(&handle->io_free);
    pthread_cond_destroy(&handle->lead_free);
    pthread_mutex_destroy(&handle->lock);
    free(handle);
}
