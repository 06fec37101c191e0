/* SPDX-License-Identifier: Apache-2.0 */
/* The command FENCE: a region that has lost its reign stops. */
#ifndef SERVER_STATE_FENCE_H
#define SERVER_STATE_FENCE_H

#include "proto/entry.h"
#include "server/state/mark.h"

/* Whether the entry is a command of the region that is fenced, of an epoch below the fence. */
bool fence_stops(const struct mark_state *mark, const struct entry *entry);

#endif
