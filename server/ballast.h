/* SPDX-License-Identifier: Apache-2.0 */
/* The ballast: a file in the data directory that holds nothing but space, while there is plenty.
 * Whoever fills the disk to its last block does not get that space: it is let go then, so that the
 * metadata of a start, the log of deletes and the tables of a compaction find room. It is taken
 * again once that leaves the whole reserve free.
 *
 *     HELD   -- less than half of its size is free ----------------> let go
 *     let go -- its size and the reserve are free -----------------> HELD
 *
 * Belongs to the thread of its io. Trouble with it is said in the log and stops nothing. */
#ifndef SERVER_BALLAST_H
#define SERVER_BALLAST_H

#include "storage/io/io.h"

enum ballast_step {
    BALLAST_IDLE,
    BALLAST_CREATE,
    BALLAST_ALLOCATE,
    BALLAST_CLOSE,
    BALLAST_REMOVE,
};

struct ballast {
    struct io *io;
    char path[512];
    uint64_t reserve_size;
    uint64_t size;
    bool held;
    enum ballast_step step;
    enum status status; /* of taking it, until the file is closed */
    struct io_op op;
};

/* Looks for the file in `directory`, and at the space there: then lets go of it, takes it, or
 * leaves it. Its size is three quarters of the reserve, so that without it the disk is still below
 * the reserve. Blocking, for start-up, before anything else is written there. */
void ballast_open(struct ballast *ballast, struct io *io, const char *directory,
                  uint64_t reserve_size);

/* Lets go or takes, as above, in the background. */
void ballast_look(struct ballast *ballast, const struct io_space *space);

/* Waits for what is under way. The file stays. Blocking. */
void ballast_close(struct ballast *ballast);

/* What a log should leave of the free space when it makes files ahead of their use. */
uint64_t ballast_low_size(const struct ballast *ballast);

#endif
