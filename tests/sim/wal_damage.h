/* SPDX-License-Identifier: Apache-2.0 */
/* Damage to one entry of a write-ahead log on the simulated disk: for the tests of what a log with
 * holes comes to. Entries share a batch where they were flushed together: a test that wants to lose
 * exactly one flushes after each. */
#ifndef TESTS_SIM_WAL_DAMAGE_H
#define TESTS_SIM_WAL_DAMAGE_H

#include "storage/wal/segment.h"
#include "storage/wal/wal.h"
#include "tests/sim/disk.h"

enum sim_wal_damage {
    SIM_WAL_BODY,   /* bytes of what is sealed: the header still tells what it was */
    SIM_WAL_HEADER, /* bytes of the header: only a successor tells */
    SIM_WAL_BLANK,  /* zeros throughout, as after a write that was lost */
    SIM_WAL_DAMAGES_END,
};

/* Where the newest batch stands that holds the entry `index`, as APPEND or FILL. False: none does.
 */
struct sim_wal_place {
    struct wal_path path;
    uint64_t offset;
    uint64_t size;
};
bool sim_wal_find(const struct sim_disk *disk, const char *directory, uint64_t index,
                  struct sim_wal_place *place);

/* Damages the newest batch that holds the entry `index`, as APPEND or FILL. False: none does. */
bool sim_wal_damage(struct sim_disk *disk, const char *directory, uint64_t index,
                    enum sim_wal_damage damage);

#endif
