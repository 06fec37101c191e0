/* SPDX-License-Identifier: Apache-2.0 */
/* A log on a simulated disk, whose entries' bytes follow from (index, term), as in Raft: so what is
 * replayed is compared without a copy. */
#ifndef TESTS_UNIT_STORAGE_WAL_LOG_FIXTURE_H
#define TESTS_UNIT_STORAGE_WAL_LOG_FIXTURE_H

#include "storage/wal/wal.h"
#include "tests/sim/disk.h"
#include "tests/sim/wal_damage.h"
#include "tests/unit/unit.h"

enum { log_segment_size = 64 * 1024, log_indexes_max = 4096, log_entry_size_max = 12 * 1024 };

struct log_fixture {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct wal *wal;
    struct wal_report report;
    struct error error;
    /* What the next start is given. */
    bool alone;
    bool has_is_alone;
    bool is_alone; /* the answer */
    uint64_t asked_count;
    /* What it replayed. */
    uint64_t first; /* 0: nothing */
    uint64_t last;
    uint64_t terms[log_indexes_max];
    enum wal_hole holes[log_indexes_max];
    /* What it told since. */
    struct wal_mark durable;
    uint64_t mended_count;
    uint64_t failed_count;
    void (*on_durable)(struct log_fixture *fixture, struct wal_mark mark);
    void *context;
};

void log_fixture_begin(struct log_fixture *fixture, uint64_t seed); /* an open, empty log */
void log_fixture_end(struct log_fixture *fixture);

/* Closes where it is open, and opens. */
enum status log_try_open(struct log_fixture *fixture, struct wal_mark base);
void log_open(struct log_fixture *fixture, struct wal_mark base); /* must go */
void log_close(struct log_fixture *fixture);

/* The power goes now: all that was written stays, nothing else happens. */
void log_stop(struct log_fixture *fixture);

struct bytes log_bytes(uint64_t index, uint64_t term, uint8_t *to); /* log_entry_size_max */
enum status log_try_append(struct log_fixture *fixture, uint64_t index, uint64_t term);
enum status log_fill(struct log_fixture *fixture, uint64_t index, uint64_t term);

/* A batch each, durable. */
void log_append(struct log_fixture *fixture, uint64_t first, uint64_t last, uint64_t term);
void log_settle(struct log_fixture *fixture); /* flushes, and waits until all is durable */
void log_idle(struct log_fixture *fixture);   /* long enough for the empty batch */
/* Fills all holes, settles what is suspect, and waits until it is whole. */
void log_mend(struct log_fixture *fixture);
void log_release_wait(struct log_fixture *fixture, uint64_t index); /* and until files have gone */

/* The replay was of `first` to `last`, holes where `holes` has a bit (bit 0: index 1, up to 64). */
void log_check_replay(const struct log_fixture *fixture, uint64_t first, uint64_t last,
                      uint64_t holes);

#endif
