/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"

/* Belongs to both threads until one of them has left, then to the other, who frees it. */
struct resolver_lookup {
    pthread_mutex_t lock; /* of what follows, until `is_done` */
    bool is_abandoned;
    bool is_done;
    struct resolver *resolver;
    char host[limit_member_address_size + 1];
    struct resolved resolved;
};

static void lookup_free(struct resolver_lookup *lookup)
{
    pthread_mutex_destroy(&lookup->lock);
    free(lookup);
}

/* ---- The look-up's thread ---- */

static void look_up(struct resolver_lookup *lookup)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct resolved *resolved = &lookup->resolved;
    struct addrinfo *found = NULL;
    int result = getaddrinfo(lookup->host, NULL, &hints, &found);
    for (const struct addrinfo *each = result == 0 ? found : NULL;
         each != NULL && resolved->count < resolver_addresses_max; each = each->ai_next) {
        if (getnameinfo(each->ai_addr, each->ai_addrlen, resolved->addresses[resolved->count],
                        resolver_address_size, NULL, 0, NI_NUMERICHOST) == 0)
            resolved->count++;
    }
    if (found != NULL)
        freeaddrinfo(found);
    resolved->status = resolved->count > 0 ? STATUS_OK : STATUS_UNREACHABLE;
    if (resolved->count == 0)
        snprintf(resolved->reason, sizeof resolved->reason, "%s",
                 result != 0 ? gai_strerror(result) : "it has no address");
}

static void *lookup_main(void *context)
{
    struct resolver_lookup *lookup = context;
    look_up(lookup);
    pthread_mutex_lock(&lookup->lock);
    bool is_abandoned = lookup->is_abandoned;
    lookup->is_done = true;
    /* Under the lock, so that the bell is still open. */
    if (!is_abandoned)
        io_bell_ring(lookup->resolver->io, &lookup->resolver->bell);
    pthread_mutex_unlock(&lookup->lock);
    if (is_abandoned)
        lookup_free(lookup);
    return NULL;
}

/* Signals are the main thread's: this one takes none. */
static bool thread_start(struct resolver_lookup *lookup)
{
    pthread_t thread;
    pthread_attr_t attributes;
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

/* ---- The resolver's thread ---- */

static void rung(struct io_bell *bell)
{
    struct resolver *resolver = bell->context;
    struct resolver_lookup *lookup = resolver->lookup;
    /* The ring may be one of a look-up that was abandoned just after it. */
    if (lookup == NULL)
        return;
    pthread_mutex_lock(&lookup->lock);
    bool is_done = lookup->is_done;
    pthread_mutex_unlock(&lookup->lock);
    if (!is_done)
        return;
    const struct resolved resolved = lookup->resolved;
    resolver->lookup = NULL;
    lookup_free(lookup);
    resolver->done(resolver->context, &resolved);
}

enum status resolver_open(struct resolver *resolver, struct io *io)
{
    *resolver = (struct resolver){.io = io, .bell = {.rung = rung, .context = resolver}};
    return io_bell_open(io, &resolver->bell);
}

void resolver_abandon(struct resolver *resolver)
{
    struct resolver_lookup *lookup = resolver->lookup;
    if (lookup == NULL)
        return;
    resolver->lookup = NULL;
    pthread_mutex_lock(&lookup->lock);
    bool is_done = lookup->is_done;
    lookup->is_abandoned = true;
    pthread_mutex_unlock(&lookup->lock);
    if (is_done)
        lookup_free(lookup);
}

void resolver_close(struct resolver *resolver)
{
    resolver_abandon(resolver);
    io_bell_close(resolver->io, &resolver->bell);
}

enum status resolver_start(struct resolver *resolver, const char *host, resolver_done_fn *done,
                           void *context)
{
    ASSERT(resolver->lookup == NULL);
    ASSERT(strlen(host) <= limit_member_address_size);
    struct resolver_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL)
        return STATUS_NO_MEMORY;
    if (pthread_mutex_init(&lookup->lock, NULL) != 0) {
        free(lookup);
        return STATUS_NO_MEMORY;
    }
    lookup->resolver = resolver;
    snprintf(lookup->host, sizeof lookup->host, "%s", host);
    resolver->done = done;
    resolver->context = context;
    if (!thread_start(lookup)) {
        lookup_free(lookup);
        return STATUS_NO_MEMORY;
    }
    resolver->lookup = lookup;
    return STATUS_OK;
}
