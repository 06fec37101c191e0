/* SPDX-License-Identifier: Apache-2.0 */
/* The types of commands. To add one: a kind in proto/entry.h, a file with its three functions, a
 * line in command.c. */
#ifndef SERVER_STATE_COMMAND_H
#define SERVER_STATE_COMMAND_H

#include "server/state/apply.h"

struct command {
    enum entry_kind kind;
    const char *name;

    /* Takes a version. Else it is the region's own: it changes nothing but the mark and regional
     * trees, and `plan` and `gather`, both or neither, may be NULL. */
    bool versioned;

    /* Waves of look-ups that it needs at most: what it names, what the found records name, ... */
    unsigned depth;

    /* Asks for what it will touch; reads nothing. NO_MEMORY, else OK: a refusal is a result. */
    enum status (*plan)(struct apply *apply);

    /* OK: all that it needs is there. AGAIN with nothing pending in `apply->wait`: there is more
     * to do. Anything else is fatal. */
    enum status (*gather)(struct apply *apply);

    /* Sets the result and fills the overlay's writes. OK, or fatal. Called once. May be NULL where
     * it takes no version. */
    enum status (*execute)(struct apply *apply);

    /* After the publish; may be NULL. */
    void (*published)(struct apply *apply);

    /* Gives back what is not the arenas'; may be NULL. Also of a command that is dropped. */
    void (*end)(struct apply *apply);
};

/* The command for an entry of this kind, which entry_decode() knows. */
const struct command *command_of(enum entry_kind kind);

extern const struct command command_commit;  /* commit.c */
extern const struct command command_tick;    /* tick.c */
extern const struct command command_regions; /* regions.c */
extern const struct command command_epoch;   /* epoch_change.c */
extern const struct command command_fence;   /* fence.c */
extern const struct command command_rewind;  /* rewind.c */
extern const struct command command_version; /* version.c */
extern const struct command command_lost;    /* lost.c */
extern const struct command command_adopt;   /* adopt.c */

#endif
