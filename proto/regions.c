/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/regions.h"

#include "proto/base/assert.h"
#include "proto/name.h"

enum {
    regions_format_plain = 1,
    regions_format_upstream = 2,
    header_size = 16,
    region_header_size = 24,
    upstream_size = 4,
    port_digits_max = 5,
    port_max = 65535,
};

_Static_assert(limit_regions_count <= 255 && limit_region_endpoints_count <= 255 &&
                   limit_name_size <= 255 && limit_member_address_size <= 255,
               "counts and sizes have one byte each");

/* ---- What is valid ---- */

static bool port_is_valid(const char *text)
{
    unsigned port = 0;
    size_t size = strlen(text);

    if (size == 0 || size > port_digits_max)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port != 0 && port <= port_max;
}

bool region_endpoint_is_valid(const char *text)
{
    size_t size = strnlen(text, limit_member_address_size + 1);

    if (size > limit_member_address_size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    const char *colon = strrchr(text, ':');
    return colon != NULL && colon != text && port_is_valid(colon + 1);
}

static bool guard_is_valid(const struct region_guard *guard)
{
    return guard->action == REGION_GUARD_ALERT || guard->action == REGION_GUARD_SLOW ||
           guard->action == REGION_GUARD_REFUSE;
}

bool region_is_valid(const struct region *region)
{
    if (region->id == 0 || region->upstream == region->id || !name_text_is_valid(region->name) ||
        !guard_is_valid(&region->guard) || region->endpoints_count > limit_region_endpoints_count)
        return false;
    for (unsigned i = 0; i < region->endpoints_count; i++) {
        if (!region_endpoint_is_valid(region->endpoints[i]))
            return false;
    }
    return true;
}

/* ---- Writing ---- */

static uint8_t format_of(const struct regions *regions)
{
    for (unsigned i = 0; i < regions->count; i++) {
        if (regions->regions[i].upstream != 0)
            return regions_format_upstream;
    }
    return regions_format_plain;
}

size_t regions_size(const struct regions *regions)
{
    size_t size = header_size;
    if (format_of(regions) == regions_format_upstream)
        size += (size_t)regions->count * upstream_size;
    for (unsigned i = 0; i < regions->count; i++) {
        const struct region *region = &regions->regions[i];
        size += region_header_size + strlen(region->name);
        for (unsigned e = 0; e < region->endpoints_count; e++)
            size += 1 + strlen(region->endpoints[e]);
    }
    return size;
}

static uint8_t *region_encode(const struct region *region, uint8_t format, uint8_t *to)
{
    struct bytes name = bytes_of_text(region->name);

    ASSERT(region_is_valid(region));
    store_u32(to, region->id);
    to[4] = (uint8_t)region->guard.action;
    to[5] = (uint8_t)name.size;
    to[6] = (uint8_t)region->endpoints_count;
    to[7] = 0;
    store_u64(to + 8, region->guard.lag_bytes_max);
    store_u64(to + 16, region->guard.lag_ms_max);
    to += region_header_size;
    if (format == regions_format_upstream) {
        store_u32(to, region->upstream);
        to += upstream_size;
    }
    bytes_copy(to, name);
    to += name.size;
    for (unsigned i = 0; i < region->endpoints_count; i++) {
        struct bytes endpoint = bytes_of_text(region->endpoints[i]);
        *to++ = (uint8_t)endpoint.size;
        bytes_copy(to, endpoint);
        to += endpoint.size;
    }
    return to;
}

void regions_encode(const struct regions *regions, uint8_t *to)
{
    const uint8_t *begin = to;
    uint8_t format = format_of(regions);

    ASSERT(regions->count <= limit_regions_count);
    memset(to, 0, header_size);
    to[0] = format;
    to[1] = (uint8_t)regions->count;
    store_u64(to + 8, regions->version);
    to += header_size;
    for (unsigned i = 0; i < regions->count; i++) {
        ASSERT(i == 0 || regions->regions[i - 1].id < regions->regions[i].id);
        to = region_encode(&regions->regions[i], format, to);
    }
    ASSERT((size_t)(to - begin) <= regions_size_max);
}

/* ---- Reading ---- */

/* Takes `size` bytes off the front of `from`, as a text. */
static bool take_text(struct bytes *from, size_t size, size_t size_max, char *to)
{
    if (size > size_max || size > from->size || memchr(from->data, '\0', size) != NULL)
        return false;
    bytes_copy(to, bytes_of(from->data, size));
    to[size] = '\0';
    *from = bytes_of(from->data + size, from->size - size);
    return true;
}

static bool region_decode(struct bytes *from, uint8_t format, struct region *region)
{
    const uint8_t *header = from->data;
    size_t size = region_header_size + (format == regions_format_upstream ? upstream_size : 0);

    if (from->size < size || header[7] != 0 || header[6] > limit_region_endpoints_count)
        return false;
    region->id = load_u32(header);
    region->guard = (struct region_guard){.action = (enum region_guard_action)header[4],
                                          .lag_bytes_max = load_u64(header + 8),
                                          .lag_ms_max = load_u64(header + 16)};
    region->endpoints_count = header[6];
    if (format == regions_format_upstream)
        region->upstream = load_u32(header + region_header_size);
    *from = bytes_of(header + size, from->size - size);
    if (!take_text(from, header[5], limit_name_size, region->name))
        return false;
    for (unsigned i = 0; i < region->endpoints_count; i++) {
        if (from->size == 0)
            return false;
        size = from->data[0];
        *from = bytes_of(from->data + 1, from->size - 1);
        if (!take_text(from, size, limit_member_address_size, region->endpoints[i]))
            return false;
    }
    return region_is_valid(region);
}

static bool list_decode(struct bytes from, uint8_t format, unsigned count, struct regions *regions)
{
    if (count > limit_regions_count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        struct region *region = &regions->regions[i];
        if (!region_decode(&from, format, region) || (i > 0 && region[-1].id >= region->id) ||
            regions_find_name(regions, region->name) != NULL)
            return false;
        regions->count++;
    }
    /* A list has one form. */
    return from.size == 0 && format_of(regions) == format;
}

enum status regions_decode(struct bytes from, struct regions *regions)
{
    memset(regions, 0, sizeof *regions);
    if (from.size == 0)
        return STATUS_MALFORMED;
    if (from.data[0] != regions_format_plain && from.data[0] != regions_format_upstream)
        return STATUS_UNSUPPORTED;
    if (from.size < header_size || load_u16(from.data + 2) != 0 || load_u32(from.data + 4) != 0 ||
        !list_decode(bytes_of(from.data + header_size, from.size - header_size), from.data[0],
                     from.data[1], regions)) {
        memset(regions, 0, sizeof *regions);
        return STATUS_MALFORMED;
    }
    regions->version = load_u64(from.data + 8);
    return STATUS_OK;
}

/* ---- The list ---- */

const struct region *regions_find(const struct regions *regions, uint32_t id)
{
    for (unsigned i = 0; i < regions->count; i++) {
        if (regions->regions[i].id == id)
            return &regions->regions[i];
    }
    return NULL;
}

const struct region *regions_find_name(const struct regions *regions, const char *name)
{
    for (unsigned i = 0; i < regions->count; i++) {
        if (strcmp(regions->regions[i].name, name) == 0)
            return &regions->regions[i];
    }
    return NULL;
}

enum status regions_set(struct regions *regions, const struct region *region)
{
    unsigned at = 0;

    ASSERT(region_is_valid(region));
    const struct region *named = regions_find_name(regions, region->name);
    if (named != NULL && named->id != region->id)
        return STATUS_ALREADY_EXISTS;
    while (at < regions->count && regions->regions[at].id < region->id)
        at++;
    if (at < regions->count && regions->regions[at].id == region->id) {
        regions->regions[at] = *region;
        return STATUS_OK;
    }
    if (regions->count == limit_regions_count)
        return STATUS_TOO_LARGE;
    memmove(&regions->regions[at + 1], &regions->regions[at],
            (regions->count - at) * sizeof *region);
    regions->regions[at] = *region;
    regions->count++;
    return STATUS_OK;
}

void regions_remove(struct regions *regions, uint32_t id)
{
    for (unsigned i = 0; i < regions->count; i++) {
        if (regions->regions[i].id != id)
            continue;
        regions->count--;
        memmove(&regions->regions[i], &regions->regions[i + 1],
                (regions->count - i) * sizeof regions->regions[0]);
        return;
    }
}
