/* SPDX-License-Identifier: Apache-2.0 */
/* Dialling: members until they answer, and strangers once. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "server/net/peers_internal.h"

/* ---- Members ---- */

/* Between half of the back-off and all of it, so that members that lost each other at one time do
 * not all come back at one time. */
static uint64_t back_off_draw(struct peer_member *member)
{
    const struct peers_options *options = &member->peers->options;
    uint32_t least = options->back_off_min_ms;
    uint32_t most = options->back_off_max_ms;
    uint32_t doubled = member->back_off_ms * 2;
    member->back_off_ms = doubled < least ? least : doubled < most ? doubled : most;
    return generator_between(&member->peers->generator, member->back_off_ms / 2,
                             member->back_off_ms);
}

void peers_dial_soon(struct peer_member *member, bool at_once)
{
    struct peers *peers = member->peers;
    if (peers->is_closing || member->about.id == 0 || member->out != NULL)
        return;
    if (at_once) {
        member->back_off_ms = 0;
        peers_timer_start(peers, &member->dial_timer, 0);
    } else if (!member->dial_timer.started) {
        peers_timer_start(peers, &member->dial_timer, back_off_draw(member));
    }
}

void peers_dial_fired(struct io_timer *timer)
{
    struct peer_member *member = timer->context;
    struct peers *peers = member->peers;
    if (peers->is_closing || member->about.id == 0 || member->out != NULL)
        return;
    enum status status = peer_connection_dial(peers, member->about.peers, member, NULL);
    if (status == STATUS_OK) {
        struct list_link *last = list_last(&peers->connections);
        member->out = LIST_ENTRY(last, struct peer_connection, link);
        return;
    }
    snprintf(member->trouble, sizeof member->trouble, "cannot dial %s: %s", member->about.peers,
             status_text(status));
    peers_dial_soon(member, false);
}

/* ---- Probes ---- */

enum status peers_probe(struct peers *peers, const char *address, peers_probed_fn *done,
                        void *context)
{
    if (peers->hello.member == 0 || peers->is_closing ||
        peers->probes_count >= limit_peer_probes_count)
        return STATUS_BUSY;
    struct peer_probe *probe = calloc(1, sizeof *probe);
    if (probe == NULL)
        return STATUS_NO_MEMORY;
    probe->done = done;
    probe->context = context;
    enum status status = peer_connection_dial(peers, address, NULL, probe);
    if (status != STATUS_OK)
        free(probe);
    else
        peers->probes_count++;
    return status;
}

void peers_probe_done(struct peer_connection *connection, enum status status, const char *reason)
{
    struct peer_probe *probe = connection->probe;
    struct peers *peers = connection->peers;
    connection->probe = NULL;
    ASSERT(peers->probes_count > 0);
    peers->probes_count--;
    if (peers->is_closing)
        status = STATUS_CANCELLED;
    probe->result.status = status;
    snprintf(probe->result.reason, sizeof probe->result.reason, "%s", reason);
    probe->done(probe->context, &probe->result);
    free(probe);
}
