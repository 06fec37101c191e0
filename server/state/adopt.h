/* SPDX-License-Identifier: Apache-2.0 */
/* An adoption: the shared state of another region's checkpoint takes the place of this region's.
 *
 * An entry of kind ENTRY_ADOPT, in the region's own log, says of which checkpoint. A replica that
 * applies it has the old state still, and a mark that says what it waits for:
 *
 *     regional entries     as ever: the fence, the membership and the tree of what was given up are
 *                          not the checkpoint's
 *     shared entries       discarded; the tail of the mark follows those that a state takes which
 *                          has the checkpoint
 *     another ENTRY_ADOPT  is waited for in its place, unless it is of an earlier position
 *
 * A region that has surrendered a tail (surrender.h) adopts any checkpoint of the history that
 * fences it, also one of a lower version than its own.
 *
 * The replica that holds the checkpoint puts it in place, under a mark of the index that is applied
 * then (state_adoption_mark()); the shared trees are the checkpoint's from there on, the regional
 * ones stay. Nobody takes up the stream before that is done, so what was discarded on the way is
 * nothing that it would have taken. All others are given a snapshot of that replica's. Whether an
 * entry is acted upon depends on the position alone, which is the same for those that wait and
 * those that do not. */
#ifndef SERVER_STATE_ADOPT_H
#define SERVER_STATE_ADOPT_H

#include <stdbool.h>

struct apply;

/* Whether the entry under way, a shared one, finds a state that waits for a checkpoint: then it is
 * discarded. */
bool adopt_passes(struct apply *apply);

#endif
