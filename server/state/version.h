/* SPDX-License-Identifier: Apache-2.0 */
/* Gates: what apply does from some cluster version on.
 *
 * Whoever changes what apply does for entries that exist, so that a version, a result, or a byte in
 * the trees comes out otherwise, raises state_cluster_version (version.c) by one, keeps the old
 * way, and takes the new one where version_is_reached():
 *
 *     if (version_is_reached(&apply->next, 3))
 *         ... as from version 3 on ...
 *     else
 *         ... as before ...
 *
 * A new kind of entry is such a change too: none is proposed below its version, and a program that
 * does not know the kind stops before it. Version 1, the first, has all kinds of proto/entry.h: no
 * program was ever released that had less.
 *
 * The mark of the command under way says the version that held before it: a command that raises it
 * is itself carried out in the old way. */
#ifndef SERVER_STATE_VERSION_H
#define SERVER_STATE_VERSION_H

#include "server/state/mark.h"

static inline bool version_is_reached(const struct mark_state *mark, uint32_t version)
{
    return mark->cluster_version >= version;
}

/* The tree's word for it, against the mark's. CORRUPT, NEWER_FORMAT. */
MUST_CHECK enum status version_load(const struct mark_state *mark, struct bytes key,
                                    struct bytes value);

#endif
