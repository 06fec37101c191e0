/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/link_fork.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/limits.h"

struct branch {
    struct link link;
    struct link_fork *fork;
    struct link_user user; /* no function is set: nobody is attached */
};

/* A request in flight, and whose it is. */
struct place {
    struct branch *branch; /* NULL: free */
    void *request;
};

struct link_fork {
    struct link *link;
    struct branch first;
    struct branch second;
    struct place places[limit_link_requests_count];
};

/* ---- From below ---- */

static void on_connected(void *context, const char *endpoint)
{
    struct link_fork *fork = context;
    if (fork->first.user.connected != NULL)
        fork->first.user.connected(fork->first.user.context, endpoint);
    if (fork->second.user.connected != NULL)
        fork->second.user.connected(fork->second.user.context, endpoint);
}

static void on_disconnected(void *context, const char *reason)
{
    struct link_fork *fork = context;
    if (fork->first.user.disconnected != NULL)
        fork->first.user.disconnected(fork->first.user.context, reason);
    if (fork->second.user.disconnected != NULL)
        fork->second.user.disconnected(fork->second.user.context, reason);
}

static void on_replied(void *context, void *request, enum status status,
                       const ProtobufCMessage *message)
{
    struct place *place = request;
    const struct place told = *place;

    (void)context;
    ASSERT(told.branch != NULL);
    *place = (struct place){0};
    if (told.branch->user.replied != NULL)
        told.branch->user.replied(told.branch->user.context, told.request, status, message);
}

/* ---- From above ---- */

static struct branch *branch_of(struct link *link)
{
    return (struct branch *)(void *)link; /* it begins with it */
}

static void attach(struct link *link, const struct link_user *user)
{
    struct branch *branch = branch_of(link);
    branch->user = user == NULL ? (struct link_user){0} : *user;
}

static void endpoints(struct link *link, const char *const *wanted, size_t count)
{
    struct branch *branch = branch_of(link);
    ASSERT(branch == &branch->fork->first);
    link_endpoints(branch->fork->link, wanted, count);
}

static enum status send(struct link *link, enum frame_type type, const ProtobufCMessage *message,
                        uint32_t timeout_ms, void *request)
{
    struct branch *branch = branch_of(link);
    struct link_fork *fork = branch->fork;
    struct place *place = fork->places;

    while (place < fork->places + limit_link_requests_count && place->branch != NULL)
        place++;
    if (place == fork->places + limit_link_requests_count)
        return STATUS_BUSY;
    enum status status = link_send(fork->link, type, message, timeout_ms, place);
    if (status == STATUS_OK)
        *place = (struct place){.branch = branch, .request = request};
    return status;
}

static void leave(struct link *link, const char *reason)
{
    struct branch *branch = branch_of(link);
    ASSERT(branch == &branch->fork->first);
    link_leave(branch->fork->link, reason);
}

static const char *trouble(const struct link *link)
{
    return link_trouble(((const struct branch *)(const void *)link)->fork->link);
}

static const struct link_operations branch_operations = {
    .attach = attach, .endpoints = endpoints, .send = send, .leave = leave, .trouble = trouble};

/* ---- Life ---- */

enum status link_fork_create(struct link *link, struct link_fork **fork)
{
    struct link_fork *made = calloc(1, sizeof *made);

    *fork = NULL;
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->link = link;
    made->first = (struct branch){.link.operations = &branch_operations, .fork = made};
    made->second = (struct branch){.link.operations = &branch_operations, .fork = made};
    const struct link_user user = {.connected = on_connected,
                                   .disconnected = on_disconnected,
                                   .replied = on_replied,
                                   .context = made};
    link_attach(link, &user);
    *fork = made;
    return STATUS_OK;
}

void link_fork_free(struct link_fork *fork)
{
    if (fork == NULL)
        return;
    ASSERT(fork->first.user.replied == NULL && fork->second.user.replied == NULL);
    link_attach(fork->link, NULL);
    free(fork);
}

struct link *link_fork_first(struct link_fork *fork)
{
    return &fork->first.link;
}

struct link *link_fork_second(struct link_fork *fork)
{
    return &fork->second.link;
}
