/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that decay at rest: what was durable is another thing now. */
#ifndef TESTS_SIM_DECAY_H
#define TESTS_SIM_DECAY_H

#include "proto/base/generator.h"
#include "tests/sim/disk.h"

enum { decay_path_size = 256 };

enum decay {
    DECAY_BIT,         /* one is flipped */
    DECAY_SECTOR,      /* one reads as zeros */
    DECAY_MISDIRECTED, /* a block of its kind was written over another one */
};

/* Within the batch of the write-ahead log in `directory` that holds the entry `index`. `other` is
 * another entry of it, whose block a misdirected write brings. False: there is no such batch, or
 * what came there is what was there. */
bool decay_log(struct sim_disk *disk, const char *directory, uint64_t index, uint64_t other,
               enum decay decay, struct generator *generator);

/* In one of the two copies of a file that is kept twice (storage/seal/twin.h), where both are
 * there. False: none is, or nothing has changed. */
bool decay_copy(struct sim_disk *disk, struct generator *generator);

/* In a table of the store, whose `path` it tells. False: there is none, or nothing has changed. */
bool decay_table(struct sim_disk *disk, enum decay decay, struct generator *generator,
                 char path[decay_path_size]);

#endif
