/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/memberships.h"

#include <stdlib.h>

#include "proto/base/assert.h"

_Static_assert((int)limit_members_count == (int)raft_members_max &&
                   (int)limit_voters_count == (int)raft_voters_max,
               "every membership is a configuration");

enum status memberships_reserve(struct memberships *memberships, size_t count)
{
    size_t capacity = memberships->capacity == 0 ? 4 : memberships->capacity;
    while (capacity < memberships->count + count)
        capacity *= 2;
    if (capacity == memberships->capacity)
        return STATUS_OK;
    struct membership_at *items = realloc(memberships->items, capacity * sizeof *items);
    if (items == NULL)
        return STATUS_NO_MEMORY;
    memberships->items = items;
    memberships->capacity = capacity;
    return STATUS_OK;
}

enum status memberships_begin(struct memberships *memberships, uint64_t index,
                              const struct membership *base)
{
    *memberships = (struct memberships){0};
    enum status status = memberships_reserve(memberships, 1);
    if (status == STATUS_OK)
        memberships_add(memberships, index, base);
    return status;
}

void memberships_free(struct memberships *memberships)
{
    free(memberships->items);
    *memberships = (struct memberships){0};
}

void memberships_add(struct memberships *memberships, uint64_t index,
                     const struct membership *membership)
{
    size_t at = memberships->count;
    ASSERT(at < memberships->capacity);
    while (at > 0 && memberships->items[at - 1].index > index)
        at--;
    ASSERT(at == 0 || memberships->items[at - 1].index < index);
    memmove(memberships->items + at + 1, memberships->items + at,
            (memberships->count - at) * sizeof memberships->items[0]);
    memberships->items[at] = (struct membership_at){.index = index, .membership = *membership};
    memberships->count++;
}

void memberships_cut(struct memberships *memberships, uint64_t index)
{
    while (memberships->count > 1 && memberships->items[memberships->count - 1].index >= index)
        memberships->count--;
}

void memberships_committed(struct memberships *memberships, uint64_t index)
{
    size_t older = 0;
    while (older + 1 < memberships->count && memberships->items[older + 1].index <= index)
        older++;
    if (older == 0)
        return;
    memberships->count -= older;
    memmove(memberships->items, memberships->items + older,
            memberships->count * sizeof memberships->items[0]);
}

void memberships_install(struct memberships *memberships, uint64_t index,
                         const struct membership *membership)
{
    memberships_committed(memberships, index);
    if (memberships->items[0].index <= index)
        memberships->items[0] = (struct membership_at){.index = index, .membership = *membership};
}

const struct membership *memberships_newest(const struct memberships *memberships)
{
    ASSERT(memberships->count > 0);
    return &memberships->items[memberships->count - 1].membership;
}

struct raft_configuration memberships_configuration(const struct membership *membership)
{
    struct raft_configuration configuration = {0};
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        if (member->kinds & MEMBER_VOTER)
            configuration.voters[configuration.voters_count++] = member->id;
        if (member->kinds & MEMBER_OUTGOING)
            configuration.outgoing[configuration.outgoing_count++] = member->id;
        if (member->kinds & MEMBER_LEARNER)
            configuration.learners[configuration.learners_count++] = member->id;
    }
    return configuration;
}

struct details {
    const struct membership *first;
    const struct membership *second;
};

static bool add_kind(const uint64_t *ids, unsigned count, enum member_kind kind,
                     const struct details *details, struct membership *membership)
{
    for (unsigned i = 0; i < count; i++) {
        const struct member *known = membership_find(membership, ids[i]);
        struct member member;
        if (known != NULL) {
            member = *known;
        } else {
            known = membership_find(details->first, ids[i]);
            if (known == NULL)
                known = membership_find(details->second, ids[i]);
            if (known == NULL)
                return false;
            member = *known;
            member.kinds = 0;
        }
        member.kinds |= kind;
        if (!membership_set(membership, &member))
            return false;
    }
    return true;
}

bool memberships_of_configuration(const struct raft_configuration *configuration,
                                  const struct membership *first, const struct membership *second,
                                  struct membership *membership)
{
    const struct details details = {first, second};
    *membership = (struct membership){0};
    return add_kind(configuration->voters, configuration->voters_count, MEMBER_VOTER, &details,
                    membership) &&
           add_kind(configuration->outgoing, configuration->outgoing_count, MEMBER_OUTGOING,
                    &details, membership) &&
           add_kind(configuration->learners, configuration->learners_count, MEMBER_LEARNER,
                    &details, membership);
}
