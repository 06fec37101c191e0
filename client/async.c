/* SPDX-License-Identifier: Apache-2.0 */
#include "client/async.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/error.h"
#include "client/read.h"
#include "client/result.h"
#include "client/txn.h"
#include "proto/base/assert.h"

/* From malloc(); freed by its completion. */
struct async_call {
    struct call call;
    strait *handle;
    strait_txn *txn;   /* of a commit */
    size_t keys_count; /* of a get */
    strait_done done;
    void *context;
};

static void complete(struct call *call)
{
    struct async_call *async = (struct async_call *)call;
    struct strait_commit_result result = {0};
    struct strait_error error = {0};
    struct strait_completion completion = {0};

    switch (call->type) {
    case FRAME_COMMIT:
        async->txn->is_committing = false;
        completion.status = txn_finish(async->handle, async->txn, call, &result, &error);
        completion.commit = completion.status == STRAIT_OK ? &result : NULL;
        break;
    case FRAME_GET:
    case FRAME_SCAN:
        completion.status =
            read_decode(async->handle, call, async->keys_count, &completion.records, &error);
        break;
    default:
        completion.status = call->status != STATUS_OK ? call_error(call, &error) : STRAIT_OK;
        break;
    }
    completion.error = completion.status != STRAIT_OK ? &error : NULL;
    async->done(async->context, &completion);
    call_free(call);
    free(async);
}

static struct async_call *async_new(strait *handle, strait_done done, void *context)
{
    struct async_call *async = calloc(1, sizeof *async);
    if (async != NULL) {
        async->handle = handle;
        async->done = done;
        async->context = context;
    }
    return async;
}

/* Takes the call: submits it where it was encoded, frees it where either fails. */
static enum strait_status submit(struct async_call *async, enum strait_status status)
{
    if (status == STRAIT_OK) {
        async->call.complete = complete;
        status = status_public(handle_submit(async->handle, &async->call));
    }
    if (status != STRAIT_OK) {
        call_free(&async->call);
        free(async);
    }
    return status;
}

enum strait_status strait_commit_async(strait *handle, strait_txn *txn, uint32_t timeout_ms,
                                       strait_done done, void *context)
{
    enum strait_status status = handle_check(handle, NULL);
    if (status != STRAIT_OK)
        return status;
    struct async_call *async = async_new(handle, done, context);
    if (async == NULL)
        return STRAIT_NO_MEMORY;
    async->txn = txn;
    status = txn_encode(txn, &async->call, handle_deadline_ns(handle, timeout_ms), NULL);
    /* Before it is submitted: its completion may run at once, on another thread. */
    if (status == STRAIT_OK)
        txn->is_committing = true;
    bool encoded = status == STRAIT_OK;
    status = submit(async, status);
    if (encoded && status != STRAIT_OK)
        txn->is_committing = false;
    return status;
}

enum strait_status strait_get_async(strait *handle, strait_snapshot *snapshot,
                                    const struct strait_key *keys, size_t keys_count,
                                    uint32_t timeout_ms, strait_done done, void *context)
{
    enum strait_status status = handle_check(handle, NULL);
    if (status == STRAIT_OK)
        status = read_check_keys(keys, keys_count, NULL);
    if (status != STRAIT_OK)
        return status;
    struct async_call *async = async_new(handle, done, context);
    if (async == NULL)
        return STRAIT_NO_MEMORY;
    async->keys_count = keys_count;
    return submit(async,
                  read_encode_get(&async->call, snapshot != NULL ? snapshot->id : 0, NULL, keys,
                                  keys_count, handle_deadline_ns(handle, timeout_ms), NULL));
}

enum strait_status strait_page_async(strait *handle, const struct strait_range *range,
                                     const struct strait_scan_options *options,
                                     struct strait_bytes resume, uint32_t timeout_ms,
                                     strait_done done, void *context)
{
    strait_snapshot *snapshot = options != NULL ? options->snapshot : NULL;
    enum strait_status status = handle_check(handle, NULL);
    if (status == STRAIT_OK)
        status = read_check_range(range, NULL);
    if (status != STRAIT_OK)
        return status;
    struct async_call *async = async_new(handle, done, context);
    if (async == NULL)
        return STRAIT_NO_MEMORY;
    return submit(async,
                  read_encode_page(&async->call, snapshot != NULL ? snapshot->id : 0, NULL, range,
                                   options, options != NULL ? options->page_records : 0, resume,
                                   handle_deadline_ns(handle, timeout_ms), NULL));
}

enum strait_status strait_ping_async(strait *handle, uint32_t timeout_ms, strait_done done,
                                     void *context)
{
    Strait__Ping ping = STRAIT__PING__INIT;
    enum strait_status status = handle_check(handle, NULL);
    if (status != STRAIT_OK)
        return status;
    struct async_call *async = async_new(handle, done, context);
    if (async == NULL)
        return STRAIT_NO_MEMORY;
    return submit(async, status_public(call_init(&async->call, FRAME_PING, &ping.base,
                                                 handle_deadline_ns(handle, timeout_ms), NULL)));
}

int strait_poll_fd(strait *handle)
{
    if (handle_check(handle, NULL) != STRAIT_OK || handle_start_async(handle) != STATUS_OK)
        return -1;
    return handle->options.loop ? handle->loop.epoll : handle->completions;
}

/* Takes all that wait at once, and makes the descriptor unreadable. */
static void take_completed(strait *handle, struct list_link *taken)
{
    struct list_link *link;
    uint64_t count;

    list_init(taken);
    pthread_mutex_lock(&handle->lock);
    if (handle->is_woken) {
        handle->is_woken = false;
        ssize_t size = read(handle->completions, &count, sizeof count);
        ASSERT(size == sizeof count || errno == EAGAIN);
    }
    while ((link = list_pop_first(&handle->completed)) != NULL) {
        handle->async_count--;
        handle->async_size -= LIST_ENTRY(link, struct call, link)->frame_size;
        list_push_last(taken, link);
    }
    pthread_mutex_unlock(&handle->lock);
}

int async_run_completions(strait *handle)
{
    struct list_link taken;
    struct list_link *link;
    int count = 0;

    take_completed(handle, &taken);
    while ((link = list_pop_first(&taken)) != NULL) {
        struct call *call = LIST_ENTRY(link, struct call, link);
        call->complete(call);
        count++;
    }
    return count;
}

/* Milliseconds for poll(), rounded up. */
static int wait_ms_until(uint64_t until_ns)
{
    uint64_t now_ns = client_now_ns();
    if (until_ns == UINT64_MAX)
        return -1;
    return until_ns <= now_ns ? 0 : (int)((until_ns - now_ns + 999999) / 1000000);
}

/* On a handle that is driven from here. */
static int dispatch_loop(strait *handle, int wait_ms)
{
    uint64_t until_ns = 0;

    if (wait_ms != 0)
        until_ns = wait_ms < 0 ? UINT64_MAX : client_now_ns() + (uint64_t)wait_ms * 1000000;
    for (;;) {
        bool led = handle_drive_loop(handle, until_ns);
        int count = async_run_completions(handle);
        if (count != 0)
            handle_send_loop(handle);
        if (count != 0 || wait_ms == 0 || client_now_ns() >= until_ns)
            return count;
        /* Another thread drives, within a synchronous call of its own. */
        if (!led && handle_await_lead(handle)) {
            struct pollfd polled = {.fd = handle->completions, .events = POLLIN};
            (void)poll(&polled, 1, wait_ms_until(until_ns));
        }
    }
}

int strait_dispatch(strait *handle, int wait_ms)
{
    int descriptor = strait_poll_fd(handle);
    if (descriptor == -1)
        return 0;
    if (handle->options.loop)
        return dispatch_loop(handle, wait_ms);
    int count = async_run_completions(handle);
    if (count != 0 || wait_ms == 0)
        return count;
    struct pollfd polled = {.fd = descriptor, .events = POLLIN};
    /* A signal ends the wait early, as it does that of poll(). */
    if (poll(&polled, 1, wait_ms) <= 0)
        return 0;
    return async_run_completions(handle);
}
