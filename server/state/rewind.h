/* SPDX-License-Identifier: Apache-2.0 */
/* A rewind: the region gives up the versions above one, and the state goes back to it.
 *
 * An entry of kind ENTRY_REWIND, in the region's own log, says which: the last version that the
 * region shares with the history of the epoch that fences it. A replica that comes to the entry, at
 * index R, and whose state is past that version, cannot apply it as it does others: the tables hold
 * what is given up. Its owner (server/core_rewind.c) takes a checkpoint of its own at or below the
 * version instead, under a mark that says what is being done (state_rewind_mark()), opens the state
 * anew, and applies the log from the checkpoint's index on again, up to R:
 *
 *     regional entries, and shared ones up to the version      as ever: the state does not know
 *                                                              that it was there before
 *     shared ones behind it that were taken the first time     filed as given up (lost.h)
 *     all others                                               discarded, as the first time
 *     the entry at R                                           ends it
 *
 * The mark carries this with every publish, so that a crash anywhere goes on where the tables are.
 * After R the state is what a replica has that never applied what was given up. */
#ifndef SERVER_STATE_REWIND_H
#define SERVER_STATE_REWIND_H

#include <stdbool.h>

struct apply;

/* Whether the entry under way, a shared one, lies behind the version that the state goes back to:
 * then it is given up where it was taken once, and discarded in any case. */
bool rewind_passes(struct apply *apply);

#endif
