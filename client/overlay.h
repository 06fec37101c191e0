/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction's own writes within one range, in the order of a scan. */
#ifndef CLIENT_OVERLAY_H
#define CLIENT_OVERLAY_H

#include "client/writes.h"

struct overlay_entry {
    const struct write *write;
    struct bytes index_key; /* of a scan of an index; else empty */
};

/* In a scan of a table: each write to a key of the range, deletes too. In a scan of an index: each
 * entry of a put within the range; an add alone keeps the entries that the record has, and moves
 * nothing. Writes made later do not show. */
struct overlay {
    struct overlay_entry *entries;
    size_t count;
    size_t at;
};

/* False where memory ran out. The entries refer to the writes. */
bool overlay_init(struct overlay *overlay, const struct writes *writes,
                  const struct strait_range *range, bool reverse);
void overlay_free(struct overlay *overlay);

/* NULL at the end. */
static inline const struct overlay_entry *overlay_peek(const struct overlay *overlay)
{
    return overlay->at < overlay->count ? &overlay->entries[overlay->at] : NULL;
}

static inline void overlay_take(struct overlay *overlay)
{
    overlay->at++;
}

#endif
