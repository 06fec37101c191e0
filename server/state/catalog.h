/* SPDX-License-Identifier: Apache-2.0 */
/* The schema: tables, their indexes, and what was dropped and is still to be emptied.
 *
 * A catalog that readers may see never changes: a command that changes the schema copies it,
 * changes the copy, and puts it in place when it is published. The tree of meta holds the same; it
 * is read at open only. Ids are never used again.
 *
 * In the tree (keys.h), a table:
 *     format (1): 1
 *     flags (1): 1, some record of it has had an expiry
 *     created at version (8)
 *     name's size (1), name
 *     number of indexes (1)
 *     each: id (4), created at version (8), flags (1): 1, unique; name's size (1), name
 * and something dropped: no bytes. */
#ifndef SERVER_STATE_CATALOG_H
#define SERVER_STATE_CATALOG_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/limits.h"

enum {
    catalog_drops_max = 4096,
    catalog_meta_key_size_max = 6,
    catalog_table_size_max =
        11 + limit_name_size + 1 + limit_table_indexes_count * (14 + limit_name_size),
};

struct catalog_name {
    uint8_t size;
    char text[limit_name_size + 1]; /* terminated */
};

struct catalog_index {
    uint32_t id;
    bool unique;
    uint64_t created_version;
    struct catalog_name name;
};

struct catalog_table {
    uint32_t id;
    bool expires; /* once set, stays: a put must look for the old record's expiry */
    uint64_t created_version;
    struct catalog_name name;
    unsigned indexes_count;
    struct catalog_index indexes[limit_table_indexes_count]; /* by name */
};

enum catalog_drop_kind { CATALOG_DROP_TABLE = 1, CATALOG_DROP_INDEX = 2 };

struct catalog_drop {
    enum catalog_drop_kind kind;
    uint32_t id;
};

struct catalog {
    unsigned references_count;
    size_t tables_count;
    struct catalog_table *tables; /* by name */
    uint32_t *order;              /* places in `tables`, by id */
    size_t drops_count;
    struct catalog_drop *drops; /* by kind and id */
};

/* Empty, with one reference. NULL: no memory. */
struct catalog *catalog_create(void);

/* A copy to change, with one reference. NULL: no memory. */
struct catalog *catalog_copy(const struct catalog *catalog);

struct catalog *catalog_retain(struct catalog *catalog);
void catalog_release(struct catalog *catalog); /* NULL is fine */

/* NULL where there is none. */
struct catalog_table *catalog_table_find(const struct catalog *catalog, struct bytes name);
struct catalog_table *catalog_table_by_id(const struct catalog *catalog, uint32_t id);
const struct catalog_index *catalog_index_find(const struct catalog_table *table,
                                               struct bytes name);
const struct catalog_index *catalog_index_by_id(const struct catalog_table *table, uint32_t id);

/* ALREADY_EXISTS, TOO_LARGE (too many), NO_MEMORY. Names are valid. */
MUST_CHECK enum status catalog_table_create(struct catalog *catalog, struct bytes name, uint32_t id,
                                            uint64_t version);
MUST_CHECK enum status catalog_index_create(struct catalog *catalog, struct catalog_table *table,
                                            struct bytes name, bool unique, uint32_t id,
                                            uint64_t version);

/* BUSY where too much is being emptied. */
MUST_CHECK enum status catalog_table_drop(struct catalog *catalog, struct catalog_table *table);
MUST_CHECK enum status catalog_index_drop(struct catalog *catalog, struct catalog_table *table,
                                          const struct catalog_index *index);

/* What was dropped is empty now. */
void catalog_drop_finish(struct catalog *catalog, struct catalog_drop drop);

/* ---- In the tree ---- */

size_t catalog_table_key(uint32_t id, uint8_t to[catalog_meta_key_size_max]);
size_t catalog_drop_key(struct catalog_drop drop, uint8_t to[catalog_meta_key_size_max]);
size_t catalog_table_encode(const struct catalog_table *table, uint8_t to[catalog_table_size_max]);

/* Adds what an entry of the tree says; entries come in the tree's order. CORRUPT, NEWER_FORMAT,
 * NO_MEMORY. */
MUST_CHECK enum status catalog_load(struct catalog *catalog, struct bytes key, struct bytes value);

#endif
