/* SPDX-License-Identifier: Apache-2.0 */
#include "server/snapshots.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"

/* An id is the slot's number below a count that no two openings share. */
enum { slot_bits = 14 };
_Static_assert(limit_snapshots_count <= 1 << slot_bits, "a slot's number fits");

enum status snapshots_init(struct snapshots *snapshots, uint64_t age_max_ns, uint64_t first)
{
    *snapshots = (struct snapshots){.age_max_ns = age_max_ns, .opened_count = first};
    list_init(&snapshots->open);
    list_init(&snapshots->free);
    snapshots->slots = malloc(limit_snapshots_count * sizeof *snapshots->slots);
    return snapshots->slots == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

void snapshots_free(struct snapshots *snapshots)
{
    free(snapshots->slots);
    snapshots->slots = NULL;
}

/* One that was never used first, so that an id's slot is used again as late as possible. */
static struct snapshot *take_slot(struct snapshots *snapshots)
{
    if (snapshots->touched_count < limit_snapshots_count) {
        struct snapshot *slot = &snapshots->slots[snapshots->touched_count++];
        *slot = (struct snapshot){0};
        return slot;
    }
    struct list_link *link = list_pop_first(&snapshots->free);
    return link == NULL ? NULL : LIST_ENTRY(link, struct snapshot, link);
}

enum status snapshots_open(struct snapshots *snapshots, const char *identity, const char *client,
                           uint64_t version, uint64_t now_ns, struct snapshot **snapshot)
{
    *snapshot = NULL;
    struct snapshot *opened = take_slot(snapshots);
    if (opened == NULL)
        return STATUS_BUSY;

    struct list_link *newest = list_last(&snapshots->open);
    ASSERT(newest == NULL || LIST_ENTRY(newest, struct snapshot, link)->version <= version);
    opened->id = (++snapshots->opened_count << slot_bits) | (uint64_t)(opened - snapshots->slots);
    opened->version = version;
    opened->opened_ns = now_ns;
    opened->deadline_ns = now_ns + snapshots->age_max_ns;
    snprintf(opened->identity, sizeof opened->identity, "%s", identity);
    snprintf(opened->client, sizeof opened->client, "%.*s", snapshot_client_size, client);
    list_push_last(&snapshots->open, &opened->link);
    snapshots->count++;
    *snapshot = opened;
    return STATUS_OK;
}

struct snapshot *snapshots_find(struct snapshots *snapshots, uint64_t id, const char *identity)
{
    uint64_t slot = id & ((1U << slot_bits) - 1);
    if (id == 0 || slot >= snapshots->touched_count || snapshots->slots[slot].id != id)
        return NULL;
    struct snapshot *found = &snapshots->slots[slot];
    return identity == NULL || strcmp(found->identity, identity) == 0 ? found : NULL;
}

void snapshots_renew(struct snapshots *snapshots, struct snapshot *snapshot, uint64_t now_ns)
{
    ASSERT(snapshot->id != 0);
    snapshot->deadline_ns = now_ns + snapshots->age_max_ns;
}

void snapshots_close(struct snapshots *snapshots, struct snapshot *snapshot)
{
    ASSERT(snapshot->id != 0 && snapshots->count > 0);
    snapshot->id = 0;
    list_remove(&snapshot->link);
    /* At the end, as take_slot() says. */
    list_push_last(&snapshots->free, &snapshot->link);
    snapshots->count--;
}

uint32_t snapshots_clear(struct snapshots *snapshots)
{
    return snapshots_expire(snapshots, UINT64_MAX);
}

uint32_t snapshots_expire(struct snapshots *snapshots, uint64_t now_ns)
{
    uint32_t expired = 0;
    LIST_EACH(link, &snapshots->open)
    {
        struct snapshot *snapshot = LIST_ENTRY(link, struct snapshot, link);
        if (snapshot->deadline_ns <= now_ns) {
            snapshots_close(snapshots, snapshot);
            expired++;
        }
    }
    return expired;
}

uint64_t snapshots_oldest(const struct snapshots *snapshots, uint64_t newest)
{
    struct list_link *oldest = list_first(&snapshots->open);
    return oldest == NULL ? newest : LIST_ENTRY(oldest, struct snapshot, link)->version;
}
