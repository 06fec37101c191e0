/* SPDX-License-Identifier: Apache-2.0 */
/* Where flush and compaction put entries: drops what nobody can see, cuts tables, makes them.
 *
 * Of the entries of one key, which come newest first, it keeps those above the horizon and the
 * first at or below it; what follows is hidden from every version that may still be read. Where
 * that first one is a tombstone, and no table further down can hold the key, it goes too. The
 * entries of one key stay in one table.
 *
 * Made on the core's thread, used by a worker; the job that owns it says who has it. */
#ifndef STORAGE_LSM_OUTPUT_H
#define STORAGE_LSM_OUTPUT_H

#include "storage/lsm/lsm_internal.h"
#include "storage/lsm/table_writer.h"

struct output_table {
    unsigned tree;
    struct table_info info;
    struct table *table;
};

struct output {
    /* Settings: set by the owner after output_init(). */
    uint64_t horizon;     /* fixed when the job began */
    uint64_t number_next; /* table numbers, taken for this job */
    uint64_t numbers_end; /* when they run out, the last table grows on */
    uint64_t cut_size;    /* a table this large is finished at the next key; UINT64_MAX: never */
    struct bytes discard; /* keys below are dropped; empty: none */
    const struct tree_tables *below; /* the tables that tombstones may hide something in; NULL:
                                        anything may be below */
    unsigned below_level;            /* its first level that counts */

    /* The output's own. */
    const struct lsm *lsm;
    struct output_table *tables;
    size_t tables_count;
    size_t tables_max;
    uint64_t written_size; /* of the finished tables' files */
    unsigned tree;
    struct table_writer *writer;
    uint64_t writer_number;
    bool key_known; /* `key`: of the last entry given */
    bool hidden;    /* what follows of `key` is hidden */
    uint64_t key_version;
    uint32_t below_positions[lsm_levels_count];
    size_t key_size;
    uint8_t key[lsm_key_size_max];
};

void output_init(struct output *output, const struct lsm *lsm);

/* Entries of this tree follow. */
void output_tree_begin(struct output *output, unsigned tree);

/* In order; entries of another order are CORRUPT. Else as table_writer_add(). */
MUST_CHECK enum status output_add(struct output *output, struct io *io,
                                  const struct lsm_entry *entry);

/* Finishes the table under way. */
MUST_CHECK enum status output_tree_end(struct output *output, struct io *io, struct error *error);

/* Makes the names durable: after the last tree. */
MUST_CHECK enum status output_flush(struct output *output, struct io *io);

/* On the core: the tables enter the edit and the cache. NO_MEMORY: none did. Call output_free(). */
MUST_CHECK enum status output_install(struct output *output, struct lsm_job *job, unsigned level);

/* Closes and unlinks all that was made. Blocking. */
void output_remove(struct output *output, struct io *io);

#endif
