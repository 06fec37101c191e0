/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lookup.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum lookup_state { LOOKUP_RUNNING, LOOKUP_DONE, LOOKUP_GIVEN_UP };

/* Whoever comes second, its thread with DONE or its owner with GIVEN_UP, frees it. */
struct lookup {
    _Atomic(enum lookup_state) state;
    int descriptor; /* an eventfd */
    struct endpoint endpoint;
    int failure; /* of getaddrinfo() */
    struct addrinfo *addresses;
};

static atomic_uint running_count;

static void lookup_free(struct lookup *lookup)
{
    if (lookup->addresses != NULL)
        freeaddrinfo(lookup->addresses);
    close(lookup->descriptor);
    free(lookup);
}

static void look_up(struct lookup *lookup, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    lookup->failure =
        getaddrinfo(lookup->endpoint.host, lookup->endpoint.port, &hints, &lookup->addresses);
}

static void *lookup_main(void *context)
{
    struct lookup *lookup = context;
    look_up(lookup, 0);
    atomic_fetch_sub(&running_count, 1);
    /* An eventfd takes a first count at any time. */
    eventfd_t once = 1;
    (void)eventfd_write(lookup->descriptor, once);
    if (atomic_exchange(&lookup->state, LOOKUP_DONE) == LOOKUP_GIVEN_UP)
        lookup_free(lookup);
    return NULL;
}

/* Signals are the program's: this one takes none. */
static bool thread_start(struct lookup *lookup)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    sigfillset(&all);
    bool is_made = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                   pthread_attr_setsigmask_np(&attributes, &all) == 0 &&
                   pthread_create(&thread, &attributes, lookup_main, lookup) == 0;
    pthread_attr_destroy(&attributes);
    return is_made;
}

static enum status start_thread(struct lookup *lookup)
{
    if (atomic_fetch_add(&running_count, 1) >= lookups_max) {
        atomic_fetch_sub(&running_count, 1);
        return STATUS_BUSY;
    }
    if (thread_start(lookup))
        return STATUS_OK;
    atomic_fetch_sub(&running_count, 1);
    return STATUS_NO_MEMORY;
}

enum status lookup_start(const struct endpoint *endpoint, struct lookup **lookup)
{
    struct lookup *made = calloc(1, sizeof *made);

    *lookup = NULL;
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->endpoint = *endpoint;
    made->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made->descriptor == -1) {
        free(made);
        return STATUS_NO_MEMORY;
    }
    look_up(made, AI_NUMERICHOST);
    enum status status = STATUS_OK;
    if (made->failure == EAI_NONAME)
        status = start_thread(made);
    else
        atomic_store(&made->state, LOOKUP_DONE);
    if (status == STATUS_OK)
        *lookup = made;
    else
        lookup_free(made);
    return status;
}

int lookup_descriptor(const struct lookup *lookup)
{
    return lookup->descriptor;
}

enum status lookup_take(struct lookup *lookup, struct addrinfo **addresses, const char **why)
{
    *addresses = NULL;
    *why = "";
    if (atomic_load(&lookup->state) != LOOKUP_DONE)
        return STATUS_AGAIN;
    enum status status = lookup->failure == 0 ? STATUS_OK : STATUS_UNREACHABLE;
    if (status == STATUS_OK)
        *addresses = lookup->addresses;
    else
        *why = gai_strerror(lookup->failure);
    lookup->addresses = NULL;
    lookup_free(lookup);
    return status;
}

void lookup_give_up(struct lookup *lookup)
{
    if (lookup != NULL && atomic_exchange(&lookup->state, LOOKUP_GIVEN_UP) == LOOKUP_DONE)
        lookup_free(lookup);
}
