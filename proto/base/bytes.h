/* SPDX-License-Identifier: Apache-2.0 */
/* A view of bytes that somebody else owns, and integers of fixed order within bytes.
 *
 * Formats of ours are little-endian; keys whose order matters are big-endian. */
#ifndef PROTO_BASE_BYTES_H
#define PROTO_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* `data` may be NULL only where `size` is 0. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

static inline struct bytes bytes_of_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* Order of unsigned bytes; a prefix comes first. <0, 0, >0. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bytes_has_prefix(struct bytes a, struct bytes prefix)
{
    return a.size >= prefix.size &&
           (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

/* Time depends on `size` alone: for secrets and tags. */
bool bytes_equal_secret(const void *a, const void *b, size_t size);

/* Zeroes in a way that the compiler keeps: for keys. */
void bytes_wipe(void *data, size_t size);

/* memcpy that permits NULL with size 0. */
static inline void bytes_copy(void *to, struct bytes from)
{
    if (from.size != 0)
        memcpy(to, from.data, from.size);
}

static inline void store_u16(void *to, uint16_t value)
{
    memcpy(to, &value, sizeof value);
}
static inline void store_u32(void *to, uint32_t value)
{
    memcpy(to, &value, sizeof value);
}
static inline void store_u64(void *to, uint64_t value)
{
    memcpy(to, &value, sizeof value);
}
static inline uint16_t load_u16(const void *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline uint32_t load_u32(const void *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline uint64_t load_u64(const void *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline void store_u16_be(void *to, uint16_t value)
{
    store_u16(to, __builtin_bswap16(value));
}
static inline void store_u32_be(void *to, uint32_t value)
{
    store_u32(to, __builtin_bswap32(value));
}
static inline void store_u64_be(void *to, uint64_t value)
{
    store_u64(to, __builtin_bswap64(value));
}
static inline uint16_t load_u16_be(const void *from)
{
    return __builtin_bswap16(load_u16(from));
}
static inline uint32_t load_u32_be(const void *from)
{
    return __builtin_bswap32(load_u32(from));
}
static inline uint64_t load_u64_be(const void *from)
{
    return __builtin_bswap64(load_u64(from));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "formats are stored without swapping");

#endif
