/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/membership.h"

#include "proto/base/assert.h"

enum { membership_format = 1, header_size = 8, member_header_size = 12 };

_Static_assert(limit_members_count <= 255 && limit_member_name_size <= 255 &&
                   limit_member_address_size <= 255,
               "counts and sizes have one byte each");

static size_t member_size(const struct member *member)
{
    return member_header_size + strlen(member->name) + strlen(member->peers) +
           strlen(member->clients);
}

size_t membership_size(const struct membership *membership)
{
    size_t size = header_size;
    for (unsigned i = 0; i < membership->count; i++)
        size += member_size(&membership->members[i]);
    return size;
}

static bool kinds_are_valid(unsigned kinds)
{
    const unsigned all = MEMBER_VOTER | MEMBER_OUTGOING | MEMBER_LEARNER;
    const unsigned both = MEMBER_VOTER | MEMBER_LEARNER;
    return kinds != 0 && (kinds & ~all) == 0 && (kinds & both) != both;
}

void membership_encode(const struct membership *membership, uint8_t *to)
{
    ASSERT(membership->count <= limit_members_count);
    memset(to, 0, header_size);
    to[0] = membership_format;
    to[1] = (uint8_t)membership->count;
    to += header_size;
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        const struct bytes texts[] = {bytes_of_text(member->name), bytes_of_text(member->peers),
                                      bytes_of_text(member->clients)};
        ASSERT(member->id != 0 && kinds_are_valid(member->kinds));
        ASSERT(i == 0 || membership->members[i - 1].id < member->id);
        ASSERT(texts[0].size <= limit_member_name_size);
        ASSERT(texts[1].size <= limit_member_address_size);
        ASSERT(texts[2].size <= limit_member_address_size);
        store_u64(to, member->id);
        to[8] = (uint8_t)member->kinds;
        to += 9;
        for (unsigned t = 0; t < 3; t++)
            *to++ = (uint8_t)texts[t].size;
        for (unsigned t = 0; t < 3; t++) {
            bytes_copy(to, texts[t]);
            to += texts[t].size;
        }
    }
}

/* Takes `size` bytes of text off the front of `from`. */
static bool text_decode(struct bytes *from, size_t size, size_t size_max, char *to)
{
    if (size > size_max || size > from->size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (from->data[i] <= ' ' || from->data[i] > '~')
            return false;
        to[i] = (char)from->data[i];
    }
    to[size] = '\0';
    *from = bytes_of(from->data + size, from->size - size);
    return true;
}

static bool member_decode(struct bytes *from, struct member *member)
{
    if (from->size < member_header_size)
        return false;
    const uint8_t *header = from->data;
    member->id = load_u64(header);
    member->kinds = header[8];
    *from = bytes_of(header + member_header_size, from->size - member_header_size);
    return member->id != 0 && kinds_are_valid(member->kinds) &&
           text_decode(from, header[9], limit_member_name_size, member->name) &&
           text_decode(from, header[10], limit_member_address_size, member->peers) &&
           text_decode(from, header[11], limit_member_address_size, member->clients);
}

static unsigned count_of_kind(const struct membership *membership, unsigned kind)
{
    unsigned count = 0;
    for (unsigned i = 0; i < membership->count; i++)
        count += (membership->members[i].kinds & kind) != 0;
    return count;
}

static bool members_decode(struct bytes from, unsigned count, struct membership *membership)
{
    if (count > limit_members_count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        struct member *member = &membership->members[i];
        if (!member_decode(&from, member) || (i > 0 && member[-1].id >= member->id))
            return false;
        membership->count++;
    }
    return from.size == 0 && count_of_kind(membership, MEMBER_VOTER) <= limit_voters_count &&
           count_of_kind(membership, MEMBER_OUTGOING) <= limit_voters_count;
}

enum status membership_decode(struct bytes from, struct membership *membership)
{
    *membership = (struct membership){0};
    if (from.size == 0)
        return STATUS_OK;
    if (from.data[0] != membership_format)
        return STATUS_UNSUPPORTED;
    if (from.size < header_size || load_u16(from.data + 2) != 0 || load_u32(from.data + 4) != 0 ||
        !members_decode(bytes_of(from.data + header_size, from.size - header_size), from.data[1],
                        membership)) {
        *membership = (struct membership){0};
        return STATUS_MALFORMED;
    }
    return STATUS_OK;
}

const struct member *membership_find(const struct membership *membership, uint64_t id)
{
    for (unsigned i = 0; i < membership->count; i++) {
        if (membership->members[i].id == id)
            return &membership->members[i];
    }
    return NULL;
}

const struct member *membership_find_name(const struct membership *membership, const char *name)
{
    for (unsigned i = 0; i < membership->count; i++) {
        if (strcmp(membership->members[i].name, name) == 0)
            return &membership->members[i];
    }
    return NULL;
}

bool membership_set(struct membership *membership, const struct member *member)
{
    unsigned at = 0;
    ASSERT(member->id != 0 && kinds_are_valid(member->kinds));
    while (at < membership->count && membership->members[at].id < member->id)
        at++;
    if (at < membership->count && membership->members[at].id == member->id) {
        membership->members[at] = *member;
        return true;
    }
    if (membership->count == limit_members_count)
        return false;
    memmove(&membership->members[at + 1], &membership->members[at],
            (membership->count - at) * sizeof *member);
    membership->members[at] = *member;
    membership->count++;
    return true;
}

void membership_remove(struct membership *membership, uint64_t id)
{
    for (unsigned i = 0; i < membership->count; i++) {
        if (membership->members[i].id != id)
            continue;
        membership->count--;
        memmove(&membership->members[i], &membership->members[i + 1],
                (membership->count - i) * sizeof membership->members[0]);
        return;
    }
}

bool membership_is_joint(const struct membership *membership)
{
    return count_of_kind(membership, MEMBER_OUTGOING) != 0;
}
