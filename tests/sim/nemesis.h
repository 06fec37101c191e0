/* SPDX-License-Identifier: Apache-2.0 */
/* Faults, drawn at random within the atlas of tests/sim/README.md: what they may be together, so
 * that what must survive can survive. */
#ifndef TESTS_SIM_NEMESIS_H
#define TESTS_SIM_NEMESIS_H

#include "tests/sim/decay.h"
#include "tests/sim/network.h"
#include "tests/sim/schedule.h"

struct sim_server;
struct world;

/* X(NAME, name, in a region of one as well) */
#define NEMESIS_FAULTS(X)                                                                          \
    X(KILL, "kill", true)                                                                          \
    X(POWER_LOSS, "power-loss", true)                                                              \
    X(CRASH_AT_STEP, "crash-at-step", true)                                                        \
    X(CRASH_ALL, "crash-all", false)                                                               \
    X(RESTART, "restart", true)                                                                    \
    X(PAUSE, "pause", true)                                                                        \
    X(PARTITION_ONE, "partition-one", false)                                                       \
    X(PARTITION_MINORITY, "partition-halves", false)                                               \
    X(PARTITION_RING, "partition-ring", false)                                                     \
    X(PARTITION_BRIDGE, "partition-bridge", false)                                                 \
    X(PARTITION_SEND_ONLY, "partition-send-only", false)                                           \
    X(PARTITION_RECEIVE_ONLY, "partition-receive-only", false)                                     \
    X(PARTITION_CLIENTS, "partition-clients", true)                                                \
    X(LOSS, "loss", false)                                                                         \
    X(DELAY, "delay", true)                                                                        \
    X(BREAK, "break", false)                                                                       \
    X(DRIFT, "drift", true)                                                                        \
    X(WALL_JUMP, "wall-jump", true)                                                                \
    X(SLOW_DISK, "slow-disk", true)                                                                \
    X(WRITE_ERROR, "write-error", true)                                                            \
    X(FLUSH_ERROR, "flush-error", true)                                                            \
    X(READ_ERROR, "read-error", true)                                                              \
    X(DISK_FULL, "disk-full", true)                                                                \
    X(TRANSFER, "transfer", false)                                                                 \
    X(LOST_DISK, "lost-disk", false)

/* X(NAME, name, in a region of one as well, the option of the world that they need) */
#define NEMESIS_MORE_FAULTS(X)                                                                     \
    X(LOG_BIT, "log-bit", false, decay)                                                            \
    X(LOG_SECTOR, "log-sector", false, decay)                                                      \
    X(LOG_MISDIRECTED, "log-misdirected", false, decay)                                            \
    X(COPY_DECAY, "copy-decay", true, decay)                                                       \
    X(TABLE_BIT, "table-bit", false, decay)                                                        \
    X(TABLE_SECTOR, "table-sector", false, decay)                                                  \
    X(TABLE_MISDIRECTED, "table-misdirected", false, decay)                                        \
    X(MEMBER_REMOVED, "member-removed", false, churn)                                              \
    X(MEMBER_ADDED, "member-added", false, churn)                                                  \
    X(MEMBER_PROMOTED, "member-promoted", false, churn)                                            \
    X(MEMBER_REPLACED, "member-replaced", false, churn)                                            \
    X(LATE_ANSWERS, "late-answers", false, aim)                                                    \
    X(LATE_TRANSFER, "late-transfer", false, aim)                                                  \
    X(BLINK, "blink", false, aim)                                                                  \
    X(STALLED_DISK, "stalled-disk", false, aim)                                                    \
    X(UPGRADE, "upgrade", true, upgrade)

enum nemesis_fault {
#define NEMESIS_ENUM(name, text, alone) NEMESIS_##name,
    NEMESIS_FAULTS(NEMESIS_ENUM)
#undef NEMESIS_ENUM
#define NEMESIS_ENUM(name, text, alone, option) NEMESIS_##name,
        NEMESIS_MORE_FAULTS(NEMESIS_ENUM)
#undef NEMESIS_ENUM
            NEMESIS_FAULTS_END,
};

struct nemesis {
    struct generator generator;
    bool is_active;
    bool has_partition; /* one at a time, and so for the others */
    bool has_loss;
    bool has_slow_disk;
    bool has_full_disk;
    bool has_decay;                      /* until the server that has it is whole again */
    char decayed_table[decay_path_size]; /* empty: it is not a table that decayed */
    unsigned decayed;                    /* server */
    uint64_t decayed_life;               /* of it */
    unsigned aimed;                      /* who led when it was aimed at */
    uint64_t counts[NEMESIS_FAULTS_END];
};

void nemesis_begin(struct world *world);

/* Nothing new happens, and all that can be is healed. */
void nemesis_end(struct world *world);

/* After a turn or a start: counts the error that an operation of the server's may have met. */
void nemesis_look(struct world *world, struct sim_server *server);

const char *nemesis_fault_name(enum nemesis_fault fault);
struct world_options;
bool nemesis_fault_applies(enum nemesis_fault fault, const struct world_options *options);

#endif
