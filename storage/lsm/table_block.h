/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a data block: entries in order.
 *
 *     body    = entry {entry}, {u32 restart}, trailer
 *     trailer = u64 base version, u32 entries, u32 restarts                    (16)
 *
 * Kind bytes: keys share their start with the key before.
 *     entry   = varint shared, varint rest, varint (value size << 1 | deletion),
 *               varint zigzag(version - base version), `rest` bytes of key, value
 *     Each 16th entry, from the first on, is a restart point: it shares nothing. Its offset in the
 *     body is in `restart`. A varint is LEB128: 7 bits a byte, lowest first, at most 10 bytes.
 *
 * Kind fixed: base version and restarts are zero.
 *     entry   = key, value (zeros where deleted), u64 (version | deletion << 63) */
#ifndef STORAGE_LSM_TABLE_BLOCK_H
#define STORAGE_LSM_TABLE_BLOCK_H

#include "proto/base/status.h"
#include "storage/lsm/entry.h"
#include "storage/lsm/lsm.h"

enum {
    table_block_trailer_size = 16,
    table_block_restart_interval = 16,
    table_block_restarts_max = 128,
};

/* CORRUPT unless every byte of the body is as described, and the order strict: what a cursor then
 * relies on. */
MUST_CHECK enum status table_block_check(const struct lsm_tree_options *tree, struct bytes body);

/* ---- Making ---- */

struct table_block_builder {
    const struct lsm_tree_options *tree;
    uint8_t *body; /* malloc */
    size_t size;
    size_t capacity;
    uint32_t entries_count;
    uint32_t restarts_count;
    uint32_t restarts[table_block_restarts_max];
    uint64_t version_base; /* of the first entry */
    uint64_t version_min;
    uint64_t version_max;
    uint32_t key_size; /* of the last entry */
    uint8_t key[lsm_key_size_max];
};

void table_block_builder_init(struct table_block_builder *builder,
                              const struct lsm_tree_options *tree);
void table_block_builder_free(struct table_block_builder *builder);

/* Whether the entry goes into this block: always the first one; else up to the target size. */
bool table_block_builder_takes(const struct table_block_builder *builder,
                               const struct lsm_entry *entry);
MUST_CHECK enum status table_block_builder_add(struct table_block_builder *builder,
                                               const struct lsm_entry *entry);

/* Adds the trailer: the whole body, valid until the next call. At least one entry. */
MUST_CHECK enum status table_block_builder_finish(struct table_block_builder *builder,
                                                  struct bytes *body);
void table_block_builder_reset(struct table_block_builder *builder);

/* ---- Reading ---- */

/* A place in a body that table_block_check() found good. Not to be copied: `entry` points into it.
 */
struct table_block_cursor {
    const struct lsm_tree_options *tree;
    const uint8_t *body;
    uint32_t entries_size; /* where the entries end */
    uint32_t entries_count;
    uint32_t restarts_count;
    uint64_t version_base;
    uint32_t position;      /* of the entry stood on: an offset; kind fixed: an ordinal */
    uint32_t position_next; /* of the one after it */
    struct lsm_entry entry; /* stood on; valid where the last call gave true */
    uint32_t key_size;
    uint8_t key[lsm_key_size_max]; /* kind bytes: of the entry stood on */
};

void table_block_cursor_init(struct table_block_cursor *cursor, const struct lsm_tree_options *tree,
                             struct bytes body);

/* True: stands on an entry, which is in cursor->entry. False: there is none; where it stands is
 * then undefined, but after next and previous: where it stood. */
bool table_block_cursor_first(struct table_block_cursor *cursor);
bool table_block_cursor_last(struct table_block_cursor *cursor);
bool table_block_cursor_seek(struct table_block_cursor *cursor, struct bytes key, uint64_t version);
bool table_block_cursor_seek_before(struct table_block_cursor *cursor, struct bytes key,
                                    uint64_t version);
bool table_block_cursor_next(struct table_block_cursor *cursor);
bool table_block_cursor_previous(struct table_block_cursor *cursor);

#endif
