/* SPDX-License-Identifier: Apache-2.0 */
#include "client/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/handle.h"
#include "proto/base/assert.h"

void loop_init(struct loop *loop)
{
    *loop = (struct loop){.epoll = -1, .timer = -1, .armed_ns = UINT64_MAX};
}

static bool watch(const struct loop *loop, int operation, int descriptor, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    return epoll_ctl(loop->epoll, operation, descriptor, &event) == 0;
}

bool loop_open(struct loop *loop, int completions)
{
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->epoll != -1 && loop->timer != -1 &&
        watch(loop, EPOLL_CTL_ADD, loop->timer, EPOLLIN) &&
        watch(loop, EPOLL_CTL_ADD, completions, EPOLLIN))
        return true;
    loop_close(loop);
    return false;
}

void loop_close(struct loop *loop)
{
    if (loop->epoll != -1)
        close(loop->epoll);
    if (loop->timer != -1)
        close(loop->timer);
    loop_init(loop);
}

/* Setting a timer also takes back that it has come. */
static void set_timer(struct loop *loop, uint64_t wake_ns)
{
    struct itimerspec when = {0};

    /* Zeros would disarm it: a time that is past comes at once. */
    if (wake_ns != UINT64_MAX)
        when.it_value = (struct timespec){.tv_sec = (time_t)(wake_ns / 1000000000),
                                          .tv_nsec = (long)(wake_ns % 1000000000) | 1};
    int failure = timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &when, NULL);
    ASSERT(failure == 0);
    loop->armed_ns = wake_ns;
}

void loop_quiet_timer(struct loop *loop, uint64_t now_ns)
{
    if (loop->armed_ns <= now_ns)
        set_timer(loop, UINT64_MAX);
}

/* A timer that is armed for an earlier time is left: most deadlines are never reached, and to wake
 * once for nothing costs less than to set the timer with each request. */
static void arm_timer(struct loop *loop, uint64_t wake_ns)
{
    if (wake_ns < loop->armed_ns || loop->armed_ns <= client_now_ns())
        set_timer(loop, wake_ns);
}

static bool is_among(const struct pollfd *polled, unsigned count, int descriptor)
{
    for (unsigned i = 0; i < count; i++) {
        if (polled[i].fd == descriptor)
            return true;
    }
    return false;
}

/* Sockets are closed, and their numbers given to others, by those who know nothing of this: what
 * the set holds is found out by trying. */
static bool watch_all(struct loop *loop, const struct pollfd *polled, unsigned count)
{
    bool is_whole = true;

    for (unsigned i = 0; i < loop->watched_count; i++) {
        if (!is_among(polled, count, loop->watched[i].fd))
            (void)watch(loop, EPOLL_CTL_DEL, loop->watched[i].fd, 0);
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t events = ((polled[i].events & POLLIN) != 0 ? (uint32_t)EPOLLIN : 0) |
                          ((polled[i].events & POLLOUT) != 0 ? (uint32_t)EPOLLOUT : 0);
        is_whole = (watch(loop, EPOLL_CTL_MOD, polled[i].fd, events) ||
                    watch(loop, EPOLL_CTL_ADD, polled[i].fd, events)) &&
                   is_whole;
        loop->watched[i] = polled[i];
    }
    loop->watched_count = count;
    return is_whole;
}

void loop_arm(strait *handle, uint64_t wake_ns, const struct pollfd *polled, unsigned count)
{
    struct loop *loop = &handle->loop;
    bool is_same = loop->is_of_ready && handle->link_ready && count == 1 &&
                   loop->watched_count == 1 && loop->watched[0].events == polled[0].events;

    if (!is_same) {
        bool is_whole = watch_all(loop, polled, count);
        loop->is_of_ready = is_whole && handle->link_ready;
        /* The system has no room for a watch: the application looks again and again meanwhile. */
        if (!is_whole)
            loop_wake(handle);
    }
    arm_timer(loop, wake_ns);
}

void loop_unwatch(struct loop *loop)
{
    for (unsigned i = 0; i < loop->watched_count; i++)
        (void)watch(loop, EPOLL_CTL_DEL, loop->watched[i].fd, 0);
    loop->watched_count = 0;
    loop->is_of_ready = false;
}

void loop_wake(strait *handle)
{
    uint64_t one = 1;
    /* Fails only when the counter is full, and then the descriptor is readable as it is. */
    ssize_t written = write(handle->completions, &one, sizeof one);
    ASSERT(written == sizeof one || errno == EAGAIN);
    handle->is_woken = true;
}
